"""No pod of a test stays behind."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.pod import pods


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Of a test that failed: a pod's child has its process group."""
    yield
    for process in pods.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    pods.started.clear()
