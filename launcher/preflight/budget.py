"""image-budget: the images of the whole training against the recipe's; num_steps and its end."""

from collections.abc import Iterator
from fractions import Fraction

from launcher.odapi.schedule import rate_at
from launcher.planning.departures import image_share, millions, percent
from launcher.planning.schedule import Facts, schedule_end
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.subject import Subject

NAME = "image-budget"

_WASTED = Fraction(1, 4)
_ENOUGH = Fraction(9, 10)
_PLENTY = Fraction(3, 2)
_COCO = 118_287
"""Train images of COCO 2017, which all recipes were published on."""
_MANY = 10


def check(subject: Subject) -> Iterator[Finding]:
    yield from _budget(subject)
    yield from _own_end(subject)


def _budget(subject: Subject) -> Iterator[Finding]:
    reference, own = subject.reference, subject.own
    if reference is None:
        return
    yield from _judged(subject, subject.run, reference, of_run=True)
    if own is not None and subject.source.follows_recipe:
        yield from _judged(subject, own, reference, of_run=False)


def _judged(subject: Subject, facts: Facts, reference: Facts, *, of_run: bool) -> Iterator[Finding]:
    share = image_share(facts, reference)
    if _ENOUGH <= share <= _PLENTY:
        return
    few = share < _ENOUGH
    yield Finding(
        name=NAME,
        severity=_severity(subject, share) if of_run else subject.mended,
        place=subject.place_in_file("train_config", "num_steps"),
        evidence=(
            f"{facts.total_steps:,} steps x {facts.batch:,} images = {millions(facts.images)} of "
            f"{subject.recipe}'s {millions(reference.images)} images: {percent(share)}"
        ),
        cost=_cost(subject, facts, reference) if few else _cost_of_more(subject, facts, reference),
        remedy=_remedy(subject, facts, reference, of_run),
        edits=_edits(subject, of_run),
    )


def _severity(subject: Subject, share: Fraction) -> Severity:
    if not subject.trains_from_scratch or share > 1:
        return Severity.INFO  # a fine-tuning has a budget of its own
    return Severity.ERROR if share < _WASTED else Severity.WARNING


def _cost(subject: Subject, facts: Facts, reference: Facts) -> Cost:
    text = f"{millions(reference.images - facts.images)} images are not seen"
    if train := subject.plan.data.train_images:
        text += f": {facts.images / train:,.1f} epochs in place of {reference.images / train:,.1f}"
    return Cost(text, float(1 - image_share(facts, reference)))


def _cost_of_more(subject: Subject, facts: Facts, reference: Facts) -> Cost:
    share = float(image_share(facts, reference))
    return Cost(f"{share:.3g} times the days; no gain in mAP is known", 0.0)


def _remedy(subject: Subject, facts: Facts, reference: Facts, of_run: bool) -> str:
    steps = -(-reference.images // facts.batch)
    if not of_run:
        run = subject.run
        return (
            f"Nothing: this run has {run.total_steps:,} steps x {run.batch:,}. Without launcher: "
            f"num_steps: {steps} at batch {facts.batch:,}"
        )
    if not subject.trains_from_scratch:
        return "Nothing, where your data need no more"
    return (
        f"batch.lr_scaling: linear takes the recipe's ({steps:,} steps of {facts.batch:,} images)"
    )


def _edits(subject: Subject, of_run: bool) -> tuple[str, ...]:
    if not of_run:
        return (f"batch.global_batch={subject.run.batch}",)
    return ("batch.lr_scaling=linear",) if subject.trains_from_scratch else ()


def epochs(subject: Subject, train_images: int | None) -> Iterator[Finding]:
    """Data of one's own are seldom as many as COCO's: the recipe's budget is a hundred lives then.

    `train_images` are those that were counted.
    """
    reference, run = subject.reference, subject.run
    if reference is None or not train_images or subject.has_own_recipe:
        return
    own_target = subject.spec.evaluate.target_map is not None
    if subject.plan.data.is_coco and (own_target or not subject.plan.data.unlike_coco):
        return
    published = reference.images / _COCO
    times = run.images / train_images
    if times <= _MANY * published:
        return
    yield Finding(
        name=NAME,
        severity=Severity.WARNING,
        place=subject.place_of_run("batch.lr_scaling", "train_config", "num_steps"),
        evidence=(
            f"{run.total_steps:,} steps x {run.batch:,} images are {times:,.0f} epochs of "
            f"{train_images:,} train images, {subject.recipe} has {published:,.0f} of COCO's"
        ),
        cost=Cost("days of training; no mAP is known: so few images are learned by heart", 0.05),
        remedy=(
            "A pipeline_config of your own with fewer num_steps and batch.lr_scaling: none, from "
            "the weights of a detector (train.fine_tune_type: full)"
        ),
    )


def _own_end(subject: Subject) -> Iterator[Finding]:
    """A file whose num_steps is not where its schedule ends; a plan makes both equal."""
    if subject.file is None:
        return
    config = subject.file.train_config
    end, steps = schedule_end(config), config.num_steps
    if end is None or not steps or end == steps:
        return
    if steps > end:
        share = Fraction(steps - end, steps)
        what = f"the rate is 0 in the last {steps - end:,} steps"
        cost = Cost(f"{percent(share)} of the steps train nothing", float(share) / 2)
    else:
        left = rate_at(config.optimizer, steps) / max(rate_at(config.optimizer, end // 2), 1e-30)
        what = f"the training stops while the rate is {left:.2g} times that of mid-way"
        cost = Cost("no figure is known: the rate does not fall to its end", 0.1)
    run = subject.run.total_steps
    yield Finding(
        name=NAME,
        severity=subject.mended,
        place=subject.place_in_file("train_config", "num_steps"),
        evidence=f"num_steps is {steps:,}, its schedule's total_steps {end:,}: {what}",
        cost=cost,
        remedy=f"Nothing: both are {run:,} in this run. Without launcher: make both equal",
        edits=(f"batch.global_batch={subject.run.batch}",),
    )
