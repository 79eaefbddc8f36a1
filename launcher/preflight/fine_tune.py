"""fine-tune: the weights that training starts from, their kind, and the rate they are trained at.

How much of a checkpoint fits is counted by the worker before its first step (docs/weights.md),
which has the model's variables. Here its names are looked at, and the pipeline.config beside it.
"""

import re
from collections.abc import Iterator

from launcher.contract import pattern_matches
from launcher.odapi.protos import Message
from launcher.planning.data import PLACEHOLDER
from launcher.planning.departures import rate_rule
from launcher.preflight.evidence import FROZEN_FROM_NOTHING
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.subject import Subject
from launcher.spec.overrides import setting

NAME = "fine-tune"

_FROM_SCRATCH = 0.5
"""A peak from this share of the recipe's on is one for training from a backbone."""
_CHECKPOINT, _TYPE = "train.fine_tune_checkpoint", "train.fine_tune_type"


def check(subject: Subject) -> Iterator[Finding]:
    yield from _from_nothing(subject)
    yield from _unreadable(subject)
    yield from _type_unsaid(subject)
    yield from _version_unsaid(subject)
    yield from _other_kind(subject)
    yield from _other_model(subject)
    yield from _other_backbone(subject)
    yield from _rate(subject)
    yield from _all_frozen(subject)


def _from_nothing(subject: Subject) -> Iterator[Finding]:
    plan = subject.plan
    published = subject.source.recipe_facts or subject.source.reference
    if plan.fine_tune is not None or not published.start:
        return
    named = subject.source.pipeline.train_config.fine_tune_checkpoint
    unset = f" ({PLACEHOLDER} in the file)" if subject.file and PLACEHOLDER in named else ""
    frozen = not plan.norm.trained
    yield Finding(
        name=NAME,
        severity=Severity.ERROR if frozen else Severity.WARNING,
        place=_place(subject),
        evidence=(
            f"training starts from random weights{unset}, "
            f"{subject.recipe or 'the recipe'} from a {published.start} checkpoint"
            + (", and its batch normalization is frozen as it is drawn" if frozen else "")
        ),
        cost=FROZEN_FROM_NOTHING
        if frozen
        else Cost("no figure of this project; the published mAP was reached with it", 0.15),
        remedy=f"{_CHECKPOINT} and {_TYPE}: {published.start} (tf2_detection_zoo.md has them)",
    )


def _unreadable(subject: Subject) -> Iterator[Finding]:
    if subject.weights is None or subject.weights.flaw is None or subject.plan.fine_tune is None:
        return
    what, remedy = subject.weights.flaw
    yield Finding(
        name=NAME,
        severity=Severity.ERROR,
        place=_place(subject),
        evidence=what
        if subject.plan.fine_tune.checkpoint in what
        else f"{subject.plan.fine_tune.checkpoint}: {what}",
        cost=Cost("the run does not start", 1.0),
        remedy=remedy,
    )


def _type_unsaid(subject: Subject) -> Iterator[Finding]:
    config = _own_config(subject)
    if config is None or config.fine_tune_checkpoint_type or config.from_detection_checkpoint:
        return
    yield Finding(
        name=NAME,
        severity=Severity.WARNING,
        place=subject.place_in_file("train_config", "fine_tune_checkpoint"),
        evidence="fine_tune_checkpoint_type is not set: the OD API takes it for classification",
        cost=Cost("a detector's weights restore nothing as classification", 0.15),
        remedy=f"{_TYPE}: classification for a backbone, detection or full for a detector's",
    )


def _version_unsaid(subject: Subject) -> Iterator[Finding]:
    config = _own_config(subject)
    if config is None or config.HasField("fine_tune_checkpoint_version"):
        return
    yield Finding(
        name=NAME,
        severity=Severity.INFO,
        place=subject.place_in_file("train_config", "fine_tune_checkpoint"),
        evidence="fine_tune_checkpoint_version is not set, which is V1: the OD API stops at it",
        cost=Cost("nothing here: V2 is taken"),
        remedy="fine_tune_checkpoint_version: V2",
    )


def _own_config(subject: Subject) -> Message | None:
    """The file's train_config, when its checkpoint is the run's."""
    file, plan = subject.file, subject.plan
    if file is None or plan.fine_tune is None or subject.spec.train.fine_tune_checkpoint:
        return None
    return file.train_config


def _other_kind(subject: Subject) -> Iterator[Finding]:
    """A detector's weights lie below `model`, a classifier's below `feature_extractor`."""
    fine_tune, weights = subject.plan.fine_tune, subject.weights
    if fine_tune is None or weights is None or weights.roots is None:
        return
    roots, kind = weights.roots, fine_tune.kind
    wanted, other = ("feature_extractor", "model")
    meant, what = "detection", "a detector"
    if kind != "classification":
        wanted, other = other, wanted
        meant, what = "classification", "a classifier"
    if wanted in roots or not roots:
        return
    is_other = other in roots
    yield Finding(
        name=NAME,
        severity=Severity.ERROR,
        place=_place(subject),
        evidence=f"{fine_tune.checkpoint} "
        + (f"is {what}'s" if is_other else f"has {', '.join(sorted(roots))}")
        + f": as {kind} it restores nothing",
        cost=Cost("the worker stops at it before its first step", 0.9),
        remedy=f"{_TYPE}: {meant}" if is_other else "Another checkpoint",
        edits=(setting(_CHECKPOINT, fine_tune.checkpoint), f"{_TYPE}={meant}") if is_other else (),
    )


def _other_model(subject: Subject) -> Iterator[Finding]:
    """By the pipeline.config that the zoo's tarballs, exports and runs have beside a checkpoint."""
    fine_tune, weights = subject.plan.fine_tune, subject.weights
    if fine_tune is None or fine_tune.kind == "classification":
        return
    if weights is None or weights.beside is None:
        return
    there, ours = _extractor(weights.beside), _extractor(subject.effective)
    if not there or there == ours:
        return
    yield Finding(
        name=NAME,
        severity=Severity.ERROR,
        place=_place(subject),
        evidence=f"{fine_tune.checkpoint} is of {there}, this model is {ours}",
        cost=Cost("the worker stops at it before its first step", 0.9),
        remedy="The checkpoint of this architecture, or a classifier's of its backbone",
    )


_EFFICIENTNET_STEMS = (32, 32, 32, 40, 48, 48, 56, 64)
"""Filters of the first convolution of B0 to B7 (efficientnet_model.py of tf-models-official)."""


def _other_backbone(subject: Subject) -> Iterator[Finding]:
    """By the convolution that reads the image, whose size is known of EfficientNets and ResNets.
    Backbones that begin alike, as B0, B1 and B2 or all ResNets, only the worker tells apart."""
    fine_tune, weights = subject.plan.fine_tune, subject.weights
    ours = _extractor(subject.effective)
    expected = _first_of(ours)
    if fine_tune is None or weights is None or expected is None or len(weights.first) != 1:
        return
    (there,) = weights.first
    if there == expected or any(True for _ in _other_model(subject)):
        return
    yield Finding(
        name=NAME,
        severity=Severity.ERROR,
        place=_place(subject),
        evidence=(
            f"{fine_tune.checkpoint} begins with {_convolution(there)}, "
            f"{ours} with {_convolution(expected)}: another backbone"
        ),
        cost=Cost("the worker stops at it before its first step", 0.9),
        remedy="The checkpoint of this architecture, or a classifier's of its backbone",
    )


def _first_of(extractor: str) -> tuple[int, ...] | None:
    if found := re.search(r"efficientnet-b([0-7])", extractor):
        return 3, 3, _EFFICIENTNET_STEMS[int(found[1])]
    return (7, 7, 64) if re.search(r"(?<!inception_)resnet_?(v1_)?\d", extractor) else None


def _convolution(first: tuple[int, ...]) -> str:
    height, width, filters = first
    return f"{filters} filters of {height} x {width}"


def _extractor(pipeline: Message) -> str:
    kind = pipeline.model.WhichOneof("model")
    model = getattr(pipeline.model, kind) if kind else None
    if model is None or "feature_extractor" not in model.DESCRIPTOR.fields_by_name:
        return ""
    return str(model.feature_extractor.type)


def _rate(subject: Subject) -> Iterator[Finding]:
    """A detector's weights at the rate that trains one from a backbone."""
    fine_tune, run = subject.plan.fine_tune, subject.run
    reference = subject.reference
    if fine_tune is None or reference is None or fine_tune.kind == "classification":
        return
    if reference.start in ("detection", "full", "fine_tune"):
        return  # the recipe itself starts from a detector's
    by_rule = rate_rule(run.batch, reference)
    if run.optimizer != reference.optimizer or run.learning_rate < _FROM_SCRATCH * by_rule.low:
        return
    yield Finding(
        name=NAME,
        severity=Severity.WARNING,
        place=subject.place_of_run("batch.lr_scaling", "train_config", "learning_rate_base"),
        evidence=(
            f"the weights of a trained detector ({fine_tune.kind}) are trained at "
            f"{run.learning_rate:g}, {subject.recipe}'s rate for a bare backbone"
        ),
        cost=Cost(
            "they are forgotten in the first steps. At a tenth of the peak a small detector kept "
            "its mAP: 0.51 before, 0.52 after 300 steps",
            0.1,
        ),
        remedy=(
            f"A pipeline_config of your own with a rate of about {run.learning_rate / 10:g} and "
            "fewer steps, and batch.lr_scaling: none"
        ),
    )


_ANY = ("backbone/?/kernel", "backbone/?/gamma", "neck/?/kernel", "heads/?/kernel", "heads/?/bias")
"""Names of variables, by what all models have of them."""


def _all_frozen(subject: Subject) -> Iterator[Finding]:
    frozen = [pattern for pattern in subject.plan.frozen if not pattern.startswith("not ")]
    whole = [p for p in frozen if all(pattern_matches(p, name) for name in _ANY)]
    if not whole:
        return
    yield Finding(
        name=NAME,
        severity=Severity.ERROR,
        place=subject.place_of_run("train.freeze", "train_config", "freeze_variables"),
        evidence=f'"{whole[0]}" freezes every variable: nothing is left to train',
        cost=Cost("the worker stops at it before its first step", 1.0),
        remedy="Freeze less, as ['^backbone/'] (`launcher variables` lists the names)",
    )


def _place(subject: Subject) -> str:
    if subject.spec.train.fine_tune_checkpoint or not subject.file:
        return subject.place_in_spec(_CHECKPOINT)
    return subject.place_in_file("train_config", "fine_tune_checkpoint")
