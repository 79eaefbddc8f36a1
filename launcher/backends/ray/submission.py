"""Giving Ray a job, with this package in its environment. The one place that imports Ray here."""

import contextlib
import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from launcher.backends.ray.address import clean_environment
from launcher.backends.ray.rest import Dashboard, authorization, token_refused
from launcher.errors import LauncherError, RunFailedError, UnreachableError, UsageError

_PACKAGE = Path(__file__).parents[2]
"""launcher: its code is the cluster's, whatever version may be installed there."""

_EXCLUDED = ["**/__pycache__", "**/*.pyc"]


def submit(address: str, request: dict[str, Any]) -> None:
    """Raises UsageError when Ray has such a job already, RunFailedError when it refuses it,
    UnreachableError when it does not answer."""
    Dashboard(address).version()  # our own message, and our own patience
    environment = {
        **request["runtime_env"],
        "py_modules": [str(_PACKAGE)],
        "excludes": _EXCLUDED,
    }
    from ray.exceptions import AuthenticationError, RayError
    from ray.job_submission import JobSubmissionClient
    from requests import RequestException

    with clean_environment(address), _quiet():
        try:
            client = JobSubmissionClient(address, headers=authorization(os.environ))
            client.submit_job(**{**request, "runtime_env": environment})
        except (RequestException, ConnectionError) as e:
            raise UnreachableError(
                f"the connection was lost while the job was submitted ({type(e).__name__})",
                place=address,
                remedy="See whether its head is alive, and submit again",
            ) from None
        except AuthenticationError:
            raise token_refused(address) from None
        except (RuntimeError, ValueError, OSError, RayError) as e:
            raise _refused(request["submission_id"], str(e)) from None


def _refused(submission: str, text: str) -> LauncherError:
    if "already exists" in text or "already been" in text:
        return UsageError(
            f"was submitted at the same moment by somebody else (Ray job {submission})",
            place=submission,
            remedy="`launcher status` shows that run",
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return RunFailedError(
        f"Ray did not take the job: {lines[-1] if lines else 'no reason given'}",
        place=submission,
        remedy="See the dashboard",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray's own progress and notes are nothing that the user asked for. Some of its loggers have a
    level of their own."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
