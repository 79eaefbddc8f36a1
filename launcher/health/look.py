"""All checks of a running or an ended job."""

from collections.abc import Callable

from launcher.contract import RunPaths
from launcher.health import losses, modes, rates, scores, speed
from launcher.health.facts import Facts, read_facts
from launcher.preflight.finding import Finding, ordered

CHECKS: tuple[Callable[[Facts], list[Finding]], ...] = (
    losses.not_falling,
    losses.oscillating,
    losses.at_prior,
    rates.unlike_plan,
    rates.nothing_left,
    rates.always_clipped,
    speed.input_bound,
    speed.slow_worker,
    scores.behind,
    modes.apart,
)


def look(facts: Facts) -> list[Finding]:
    """Errors first, then by cost."""
    return ordered(finding for check in CHECKS for finding in check(facts))


def of_run(paths: RunPaths) -> list[Finding]:
    """Of the run as its files are now. Never raises for what they lack: a job that begins has
    written next to nothing."""
    return look(read_facts(paths))
