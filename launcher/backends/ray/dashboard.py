"""Where the dashboard shows a run."""

from pathlib import Path

from launcher.backends.ray.rest import Dashboard, NotThereError
from launcher.backends.ray.truth import address_of
from launcher.errors import UsageError
from launcher.render import ray as render


def url_of(root: Path) -> str:
    """The page of the run's job. Raises UsageError when its own Ray has ended with it, or when the
    cluster has forgotten it, UnreachableError when the cluster does not answer."""
    job = render.RayJob.read(root / render.JOB_FILE)
    address = address_of(job)
    if job.own:
        from launcher.backends.ray.head import is_alive

        if not is_alive(root):  # or on another machine
            raise UsageError(
                "its Ray was started for the run, and has ended with it",
                place=root.name,
                remedy=f"`launcher results {root.name} --html` has the run's own page; give "
                "--address to use a Ray that stays",
            )
    dashboard = Dashboard(address)
    dashboard.version()
    try:
        dashboard.job(job.submission)
    except NotThereError:
        raise UsageError(
            f"the cluster at {address} does not know its job (any more: its head has restarted)",
            place=root.name,
            remedy=f"`launcher status {root.name}` says what became of the run",
        ) from None
    return f"{address}/#/jobs/{job.submission}"
