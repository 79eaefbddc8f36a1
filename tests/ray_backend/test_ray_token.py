"""A real Ray that wants a token of everybody who speaks to it."""

import os
import shlex
import time
from collections.abc import Iterator

import pytest

from launcher.backends.ray import submission
from launcher.backends.ray.rest import ENDED, Dashboard
from launcher.errors import UnreachableError
from tests.ray_backend.nodes import Nodes

pytestmark = pytest.mark.timeout(400)

TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 (of a cluster on the loopback device)
ASKS = """
import ray
from launcher.backends.ray.rest import Dashboard
context = ray.init()
print("jobs seen:", len(Dashboard("http://" + context.dashboard_url).jobs()))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with Nodes(cpus=1, token=TOKEN) as cluster:
        yield cluster


def request(name: str) -> dict[str, object]:
    return {
        "entrypoint": shlex.join(["python", "-c", ASKS]),
        "submission_id": name,
        "runtime_env": {},
    }


@pytest.mark.parametrize("token", ["", "another-0123456789abcdef01234567"])
def test_without_the_token_it_is_one_message(
    cluster: Nodes, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    with pytest.raises(UnreachableError, match="Set RAY_AUTH_TOKEN to the cluster's token"):
        submission.submit(cluster.url, request("refused"))


def test_a_job_is_submitted_with_the_token_and_speaks_to_its_cluster(
    cluster: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the driver does, which has the token of the node that it runs on."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    submission.submit(cluster.url, request("asks"))
    dashboard = Dashboard(cluster.url, seconds=30.0)
    deadline = time.monotonic() + 200
    while (job := dashboard.job("asks"))["status"] not in ENDED:
        assert time.monotonic() < deadline, job
        time.sleep(0.5)
    assert job["status"] == "SUCCEEDED", (job, dashboard.logs("asks"))
    assert "jobs seen: " in dashboard.logs("asks")
    assert "RAY_AUTH_MODE" not in os.environ
