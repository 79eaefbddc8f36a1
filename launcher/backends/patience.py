"""How long a group may take to save a checkpoint and leave."""

from launcher.backends.status import heartbeats
from launcher.render.supervised import SupervisedJob
from launcher.storage import peek_json

_STEPS = 3
"""The wish to stop travels with a step: the one under way and the next are taken before the save,
and steps differ."""
_SAVE_SECONDS = 30.0


def stop_seconds(job: SupervisedJob) -> float:
    """From SIGTERM to SIGKILL. Longer than `job.stop_seconds` where the workers' steps are long, up
    to the time after which their own watchdogs end them."""
    plan = peek_json(job.paths.plan)
    images = plan.get("global_batch") if isinstance(plan, dict) else None
    speeds = [beat.get("images_per_second") for beat in heartbeats(job.paths.root)]
    slowest = min((s for s in speeds if isinstance(s, int | float) and s > 0), default=None)
    if not isinstance(images, int) or slowest is None:
        return job.stop_seconds
    needed = _STEPS * images / slowest + _SAVE_SECONDS
    return max(job.stop_seconds, min(needed, job.silence_seconds))


def cancel_seconds(job: SupervisedJob) -> float:
    """The same for who waits for the supervisor: it stops the workers, then the evaluator."""
    return stop_seconds(job) + job.stop_seconds
