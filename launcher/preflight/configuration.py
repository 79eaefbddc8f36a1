"""The checks of a job's configuration, in one list."""

from collections.abc import Callable, Iterable

from launcher.preflight import (
    batch,
    budget,
    evaluation,
    fine_tune,
    ignored,
    normalization,
    rates,
    recipe,
    schedule,
)
from launcher.preflight.finding import Finding
from launcher.preflight.subject import Subject

CHECKS: tuple[Callable[[Subject], Iterable[Finding]], ...] = (
    batch.check,
    normalization.check,
    rates.check,
    recipe.check,
    budget.check,
    schedule.check,
    evaluation.check,
    ignored.check,
    fine_tune.check,
)


def configuration_findings(subject: Subject) -> list[Finding]:
    """Pure: nothing is read but the subject."""
    return [finding for check in CHECKS for finding in check(subject)]
