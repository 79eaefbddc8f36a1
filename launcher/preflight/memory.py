"""memory: whether the images of a replica fit into an accelerator, and how many do at most.

The figures are of tensors alone, a lower bound: what is above the memory cannot fit. What is below
may not: a GPU adds cuDNN's workspace and the pieces of the allocator, which were not measured.
"""

from collections.abc import Iterator

from launcher.planning.arithmetic import largest_divisor
from launcher.planning.memory import Footprint, footprint
from launcher.planning.memory_table import WORST
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.subject import Subject

NAME = "memory"
_KEY = "batch.per_replica_batch"


def check(subject: Subject, gib: float | None) -> Iterator[Finding]:
    """`gib` is the memory of one accelerator; without it there is nothing to compare."""
    if gib is None:
        return
    plan, recompute = subject.plan, subject.spec.train.recompute
    found = footprint(plan.recipe, recompute=recompute)
    if found is None:
        yield _unknown(subject)
        return
    images, accumulates = plan.per_replica_batch, plan.accumulation_steps > 1
    needed = found.gib(images, accumulates=accumulates)
    fitting = found.largest(gib / (1 + WORST), accumulates=accumulates)
    if needed > gib:
        severity = Severity.ERROR
    else:
        severity = Severity.WARNING if images > fitting else Severity.INFO
    yield Finding(
        name=NAME,
        severity=severity,
        place=subject.place_in_spec(_KEY),
        evidence=(
            f"the tensors of {images:,} images at once need {needed:.1f} of {gib:g} GiB"
            + (", by the estimate's error more than that" if severity is Severity.WARNING else "")
            + f"; {_fit(fitting)}"
        ),
        cost=Cost("the run ends at its first step: out of memory", 1.0)
        if severity is not Severity.INFO
        else Cost("nothing that is known: what a GPU adds was not measured"),
        remedy=_remedy(subject, gib, fitting),
        edits=_edits(subject, fitting),
    )


def _unknown(subject: Subject) -> Finding:
    model = subject.recipe or "this model"
    again = " with train.recompute" if subject.spec.train.recompute else ""
    return Finding(
        name=NAME,
        severity=Severity.INFO,
        place=subject.place_in_spec(_KEY),
        evidence=f"the memory of {model}{again} was not traced yet: nothing can be said",
        cost=Cost("not known"),
        remedy="Try it; `bench/memory.py --trace` adds a published model to the table",
    )


def _fit(images: int) -> str:
    return f"at most {images:,} fit" if images else "not one fits"


def _remedy(subject: Subject, gib: float, fitting: int) -> str:
    plan = subject.plan
    again = footprint(plan.recipe, recompute=True)
    ways = []
    if again is None and fitting < plan.per_replica_batch and not subject.spec.train.recompute:
        ways.append("train.recompute: true first, whose saving was not traced for this model")
    if again is not None and not subject.spec.train.recompute:
        more = _largest(again, gib, subject)
        if more > fitting:
            ways.append(f"train.recompute: true, with which at most {more:,} fit")
    if fitting and fitting != plan.per_replica_batch:
        ways.append(f"{_KEY}: {_dividing(subject, fitting)}")
    return ", or ".join(ways) if ways else "Keep it"


def _largest(found: Footprint, gib: float, subject: Subject) -> int:
    return found.largest(gib / (1 + WORST), accumulates=subject.plan.accumulation_steps > 1)


def _edits(subject: Subject, fitting: int) -> tuple[str, ...]:
    if not 0 < fitting < subject.plan.per_replica_batch:
        return ()
    return (f"{_KEY}={_dividing(subject, fitting)}",)


def _dividing(subject: Subject, fitting: int) -> int:
    """The largest that fits and of which a step has a whole number."""
    plan = subject.plan
    share = plan.global_batch // plan.replicas
    return largest_divisor(share, min(fitting, share))
