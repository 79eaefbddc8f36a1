"""One folder, and two backends that would run in it: the second is refused, whichever it is."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

import launcher
from launcher.backends import registry, run_folder
from launcher.backends.base import RunStatus
from launcher.backends.kubernetes import BACKEND
from launcher.backends.lock import RunLock, Work
from launcher.backends.status import write_status
from launcher.cli.main import run
from launcher.contract import Reason, RunPaths, State
from launcher.errors import CliExit, UnreachableError, UsageError
from launcher.planning import Plan
from launcher.render.kubernetes import objects
from launcher.spec import from_mapping, to_yaml
from tests.backends.kubernetes_server import Server, configure, pod


@pytest.fixture
def on_cluster(api_server: Server, cluster_plan: Plan) -> Plan:
    """All its objects are there, and both workers run."""
    for item in objects(cluster_plan):
        api_server.add(item)
    for index in (0, 1):
        api_server.add(pod(f"d0-worker-{index}", "Running", index))
    return cluster_plan


def listed(plan: Plan) -> None:
    where = {"context": "c", "namespace": "default"}
    assert registry.remember("d0", plan.root, "kubernetes", where)


def published(plan: Plan) -> None:
    """As the pods do."""
    plan.write(plan.root)


STARTS = [{"resume": True, "replace": False}, {"resume": False, "replace": True}]


@pytest.mark.parametrize("how", STARTS)
@pytest.mark.parametrize("written", [True, False])
def test_a_run_on_a_cluster_is_not_continued_here(
    on_cluster: Plan, how: dict[str, bool], written: bool
) -> None:
    """Nor before its pods have written anything into the folder."""
    listed(on_cluster)
    if written:
        published(on_cluster)
    with pytest.raises(UsageError) as caught:
        run_folder.check_name(on_cluster.root, **how)
    assert str(caught.value) == (
        "d0: is already running: RUNNING in namespace default of c. Stop it with `launcher cancel "
        "d0`; after that `submit --resume` continues it and `submit --replace` starts anew"
    )


def test_the_command_says_so_in_one_line(
    on_cluster: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed(on_cluster)
    (tmp_path / "d0.yaml").write_text(to_yaml(on_cluster.spec))
    argv = ["submit", str(tmp_path / "d0.yaml"), "--backend", "local", "--resume"]
    assert run([*argv, "--allow-change"]) == CliExit.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: d0: is already running: RUNNING in namespace default of c. ")
    configure(tmp_path / "kubeconfig", "http://127.0.0.1:1")
    assert run(argv) == CliExit.UNREACHABLE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: d0: is a run of Kubernetes, and whether it still goes on")


def test_a_run_that_another_account_has_submitted(on_cluster: Plan) -> None:
    published(on_cluster)
    with pytest.raises(UsageError) as caught:
        run_folder.check_name(on_cluster.root, resume=True, replace=False)
    assert "d0: is already running: RUNNING in namespace default of c. " in str(caught.value)
    assert "`launcher list --backend kubernetes --context c -n default`" in str(caught.value)
    assert "launcher cancel d0" in str(caught.value)


def test_a_run_whose_pods_still_leave(api_server: Server, on_cluster: Plan) -> None:
    published(on_cluster)
    api_server.remove("Pod")
    api_server.add(pod("d0-evaluator-x", "Running", job="d0-evaluator"))
    workers = next(i for i in objects(on_cluster) if i["metadata"]["name"] == "d0-worker")
    failed = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": "66"}
    api_server.add({**workers, "status": {"conditions": [failed]}})
    with pytest.raises(UsageError, match=r"1 of its pods are still at work .*\(d0-evaluator-x\)"):
        run_folder.check_name(on_cluster.root, resume=True, replace=False)
    api_server.remove("Pod")
    run_folder.check_name(on_cluster.root, resume=True, replace=False)


def test_a_namesake_in_another_folder_is_another_run(on_cluster: Plan, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "d0"
    moved = on_cluster.model_copy(update={"root": other})
    published(moved)
    run_folder.check_name(other, resume=True, replace=False)


def test_a_run_that_went_on_here_asks_no_cluster(api_server: Server, on_cluster: Plan) -> None:
    listed(on_cluster)
    registry.remember("d0", on_cluster.root, "local", {})
    on_cluster.root.mkdir()
    RunPaths(on_cluster.root).plan.write_text(json.dumps({"spec": {"backend": {"kind": "local"}}}))
    run_folder.check_name(on_cluster.root, resume=True, replace=False)
    assert api_server.requests == []


def test_a_cluster_that_does_not_answer_is_not_taken_for_an_ended_run(
    api_server: Server, cluster_plan: Plan, tmp_path: Path
) -> None:
    configure(tmp_path / "kubeconfig", "http://127.0.0.1:1")
    listed(cluster_plan)
    with pytest.raises(UnreachableError) as caught:
        run_folder.check_name(cluster_plan.root, resume=True, replace=False)
    (problem,) = caught.value.problems
    assert problem.what.startswith("is a run of Kubernetes, and whether it still goes on in ")
    assert "could not be asked (http://127.0.0.1:1: the API server does not answer" in problem.what
    assert problem.remedy.endswith(f"gone for good, remove {registry.entry_file('d0')}")
    registry.forget("d0", cluster_plan.root)
    run_folder.check_name(cluster_plan.root, resume=True, replace=False)
    published(cluster_plan)
    with pytest.raises(UnreachableError, match=r"write local for its backend\.kind into "):
        run_folder.check_name(cluster_plan.root, resume=True, replace=False)


@pytest.mark.parametrize("how", [*STARTS, {}])
def test_a_run_of_this_machine_is_not_continued_on_a_cluster(
    api_server: Server, cluster_plan: Plan, how: dict[str, bool]
) -> None:
    held = RunLock.acquire(cluster_plan.root, Work.SUPERVISE)
    assert held is not None
    status = RunStatus(
        "d0", cluster_plan.root, State.RUNNING, Reason.STARTED, step=7, total_steps=40
    )
    write_status(status)
    for start in (BACKEND.check, BACKEND.submit):
        with pytest.raises(UsageError) as caught:
            start(cluster_plan, **how)
        assert str(caught.value).startswith("d0: is already running: RUNNING at step 7 of 40 (")
        assert "`launcher cancel d0`" in str(caught.value)
    assert not [asked for asked in api_server.requests if not asked.startswith("GET ")]
    write_status(replace(status, state=State.CANCELLED, updated=time.time()))
    held.release()
    BACKEND.check(cluster_plan, **how)


def test_a_context_of_someone_elses_kubeconfig_hinders_no_other_account(
    api_server: Server, cluster_plan: Plan
) -> None:
    """Who continues the run on the same cluster, and has another name for it."""
    spec = cluster_plan.spec.model_dump(mode="json", exclude_none=True)
    theirs = from_mapping(spec, overrides=["backend.kubernetes.context=theirs"])
    published(launcher.plan(theirs))
    BACKEND.check(cluster_plan, resume=True)
    with pytest.raises(UnreachableError, match='there is no context "theirs"'):
        run_folder.check_name(cluster_plan.root, resume=True, replace=False)


def test_a_run_of_another_namespace_is_not_continued_in_this_one(on_cluster: Plan) -> None:
    listed(on_cluster)
    spec = from_mapping(
        on_cluster.spec.model_dump(mode="json", exclude_none=True),
        overrides=["backend.kubernetes.namespace=vision"],
    )
    with pytest.raises(UsageError, match="is already running: RUNNING in namespace default of c"):
        BACKEND.check(launcher.plan(spec), resume=True)
