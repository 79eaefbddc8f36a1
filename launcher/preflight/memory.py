"""memory: whether the images of a replica fit into an accelerator, and how many do at most.

The figures are of tensors alone, a lower bound: what is above the memory cannot fit. What is below
may not: a GPU adds cuDNN's workspace and the pieces of the allocator, which were not measured.
"""

from collections.abc import Iterator

from launcher.planning.memory import Fit, fit_of
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.subject import Subject

NAME = "memory"
_KEY = "batch.per_replica_batch"


def check(subject: Subject, gib: float | None) -> Iterator[Finding]:
    """`gib` is the memory of one accelerator; without it there is nothing to compare."""
    if gib is None:
        return
    fit = fit_of(subject.plan, gib)
    if fit is None:
        yield _unknown(subject)
        return
    if fit.cannot:
        severity = Severity.ERROR
    else:
        severity = Severity.WARNING if fit.images > fit.largest else Severity.INFO
    yield Finding(
        name=NAME,
        severity=severity,
        place=subject.place_in_spec(_KEY),
        evidence=(
            f"the tensors of {fit.images:,} images at once need {fit.needed:.1f} of {gib:g} GiB"
            + (", by the estimate's error more than that" if severity is Severity.WARNING else "")
            + f"; {_fit(fit.largest)}"
        ),
        cost=Cost("the run ends at its first step: out of memory", 1.0)
        if severity is not Severity.INFO
        else Cost("nothing that is known: what a GPU adds was not measured"),
        remedy=_remedy(subject, fit),
        edits=(f"{_KEY}={fit.dividing}",) if 0 < fit.largest < fit.images else (),
    )


def _unknown(subject: Subject) -> Finding:
    model = subject.plan.published or "this model"
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


def _remedy(subject: Subject, fit: Fit) -> str:
    ways = []
    if not subject.spec.train.recompute:
        again = fit_of(subject.plan, fit.available, recompute=True)
        if again is None and fit.largest < fit.images:
            ways.append("train.recompute: true first, whose saving was not traced for this model")
        elif again is not None and again.largest > fit.largest:
            ways.append(f"train.recompute: true, with which at most {again.largest:,} fit")
    if fit.largest and fit.largest != fit.images:
        ways.append(f"{_KEY}: {fit.dividing}")
    return ", or ".join(ways) if ways else "Keep it"
