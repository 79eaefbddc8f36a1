"""`--replace`: the earlier run's files go when nobody writes them any more, and the server has said
that it takes the new run."""

from pathlib import Path

import pytest

from launcher.backends.kubernetes import BACKEND
from launcher.contract import RunPaths
from launcher.errors import UsageError
from launcher.planning import Plan
from launcher.render.kubernetes import objects
from tests.backends.kubernetes_server import Server, pod


@pytest.fixture
def checkpoint(api_server: Server, cluster_plan: Plan) -> Path:
    """Of a run that has FAILED, and whose evaluator is at work."""
    for item in objects(cluster_plan):
        api_server.add(item)
    workers = next(i for i in objects(cluster_plan) if i["metadata"]["name"] == "d0-worker")
    failed = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": "66"}
    api_server.add({**workers, "status": {"conditions": [failed]}})
    scorer = pod("d0-evaluator-x", "Running", job="d0-evaluator")
    api_server.add({**scorer, "spec": {"terminationGracePeriodSeconds": 60}})
    cluster_plan.write(cluster_plan.root)
    path = RunPaths(cluster_plan.root).checkpoints / "ckpt-5.index"
    path.parent.mkdir()
    path.touch()
    return path


def test_the_folder_is_emptied_after_the_pods_have_left_and_before_others_come(
    api_server: Server, cluster_plan: Plan, checkpoint: Path
) -> None:
    there: list[tuple[str, bool]] = []

    def watch(request: str) -> None:
        there.append((request, checkpoint.exists()))
        deleted = any(asked.startswith("DELETE ") for asked in api_server.requests)
        if deleted and sum(asked.endswith("/pods") for asked, _ in there) == 5:
            api_server.remove("Pod")

    api_server.watch = watch
    BACKEND.submit(cluster_plan, replace=True)
    assert not checkpoint.exists()
    made = [exists for asked, exists in there if asked.startswith("PATCH ")]
    count = len(objects(cluster_plan))
    assert made == [True] * count + [False] * count, "asked, emptied, applied"
    removed = [i for i, (asked, _) in enumerate(there) if asked.startswith("DELETE ")]
    asked = next(i for i, (asked, _) in enumerate(there) if asked.endswith("?dryRun"))
    assert max(removed) < asked
    assert sum(asked.endswith("/pods") for asked, _ in there[:asked]) == 5, "until it has left"


def test_a_submit_that_the_server_refuses_deletes_no_checkpoint(
    api_server: Server, cluster_plan: Plan, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api_server.remove("Pod")
    api_server.refuse = r"PATCH .*/jobs/d0-evaluator"
    with pytest.raises(UsageError, match="refuses jobs/d0-evaluator"):
        BACKEND.submit(cluster_plan, replace=True)
    assert checkpoint.exists()
    assert all(a.endswith("?dryRun") for a in api_server.requests if a.startswith("PATCH "))
    assert "d0: its files are left as they were" in capsys.readouterr().err


def test_an_interrupted_submit_of_the_same_plan_is_not_continued_in_an_emptied_folder(
    api_server: Server, cluster_plan: Plan
) -> None:
    """What it had made would have written there meanwhile."""
    for item in objects(cluster_plan)[:3]:
        api_server.add(item)
    BACKEND.submit(cluster_plan, replace=True)
    assert any(asked.startswith("DELETE ") for asked in api_server.requests)
