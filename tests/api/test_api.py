"""The Python interface, with scripts for workers."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import launcher
from launcher import api, planning
from launcher.contract import Reason, State
from launcher.errors import LauncherError, SpecError, UsageError

WORKER = """
import json, pathlib, sys, time
root = pathlib.Path(sys.argv[1])
print("hello")
if {stays}:
    (root / "ready").touch()
    time.sleep(60)
"""

EVALUATOR = """
import json, pathlib, sys
root = pathlib.Path(sys.argv[1])
total = json.loads((root / "plan.json").read_text())["total_steps"]
(root / "metrics").mkdir(exist_ok=True)
with (root / "metrics" / "eval.jsonl").open("a") as file:
    for step in (10, total):
        file.write(json.dumps({"step": step, "mAP": 0.4, "AP50": 0.7}) + "\\n")
"""

Scripts = Callable[..., None]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def spec(tmp_path: Path) -> launcher.JobSpec:
    path = tmp_path / "demo.yaml"
    path.write_text(
        "name: demo\nrecipe: ssd_mobilenet_v2_fpnlite_320\n"
        "data: {synthetic: {train_images: 8, val_images: 2}}\nbatch: {per_replica_batch: 64}\n"
    )
    return launcher.load(path, ["cluster.workers=2", "evaluate.target_map=35"])


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Scripts]:
    """Plans whose workers end at once, or stay until they are stopped."""
    real = planning.make_plan

    def set_up(stays: bool = False) -> None:
        code = {"worker": WORKER.format(stays=stays), "evaluator": EVALUATOR}

        def make_plan(spec: launcher.JobSpec) -> launcher.Plan:
            plan = real(spec)
            roles = tuple(
                role.model_copy(update={"argv": ("-c", code[role.name], str(plan.root))})
                for role in plan.roles
            )
            return plan.model_copy(update={"roles": roles})

        monkeypatch.setattr(planning, "make_plan", make_plan)

    yield set_up
    for handle in launcher.runs(tmp_path / "runs"):
        handle.cancel(timeout=1)


def test_a_text_in_place_of_a_list_of_overrides_is_one_message(
    spec: launcher.JobSpec, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as caught:
        launcher.load(tmp_path / "demo.yaml", "batch.per_replica_batch=2")
    assert str(caught.value) == (
        "overrides: must be a list of texts, not 'batch.per_replica_batch=2'. "
        "Write ['batch.per_replica_batch=2']"
    )


def test_load_and_plan_write_nothing(spec: launcher.JobSpec, tmp_path: Path) -> None:
    plan = launcher.plan(spec)
    assert (plan.global_batch, plan.workers, plan.root) == (128, 2, tmp_path / "runs" / "demo")
    assert [p.name for p in tmp_path.iterdir()] == ["demo.yaml"]


def test_submit_wait_results(spec: launcher.JobSpec, scripted: Scripts) -> None:
    scripted()
    handle = launcher.submit(spec)
    assert isinstance(handle, launcher.JobHandle)
    status = handle.wait(timeout=30)
    assert (status.state, status.reason) == (State.SUCCEEDED, Reason.SCORED)
    results = handle.results()
    assert results.final is not None
    assert (results.final["mAP"], results.target_met, len(results.history)) == (0.4, True, 2)
    assert list(handle.logs("worker-1")) == ["hello"]
    assert list(handle.logs("worker-1", attempt=7)) == []
    assert json.loads(handle.paths.plan.read_text())["data"]["num_classes"] == 3


def test_wait_gives_up_and_cancel_ends_it(spec: launcher.JobSpec, scripted: Scripts) -> None:
    scripted(stays=True)
    handle = launcher.submit(spec)
    with pytest.raises(TimeoutError, match="demo is"):
        handle.wait(timeout=0.1)
    assert handle.cancel().state is State.CANCELLED
    assert handle.cancel().state is State.CANCELLED


def test_found_again_by_name(
    spec: launcher.JobSpec, scripted: Scripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted()
    launcher.submit(spec).wait(timeout=30)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert launcher.find("demo").status().state is State.SUCCEEDED
    assert [handle.name for handle in launcher.runs()] == ["demo"]
    with pytest.raises(UsageError, match="Did you mean demo"):
        launcher.find("dem0")
    assert api.delete("demo") == tmp_path / "runs" / "demo"
    assert api.delete("demo") is None
    assert launcher.runs() == []


def test_running_name_is_refused_before_data_is_drawn(
    spec: launcher.JobSpec, scripted: Scripts, tmp_path: Path
) -> None:
    scripted(stays=True)
    launcher.submit(spec)
    other = launcher.load(tmp_path / "demo.yaml", ["data.synthetic.seed=5", "cluster.workers=2"])
    with pytest.raises(UsageError, match="is already running"):
        launcher.submit(other)
    assert len(list((tmp_path / "runs" / "data").iterdir())) == 1


def test_missing_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d3.yaml"
    path.write_text("name: d3\nrecipe: efficientdet_d3\ndata: {train: x, val: y, label_map: z}\n")
    with pytest.raises(SpecError) as caught:
        launcher.submit(launcher.load(path))
    assert len(caught.value.problems) == 3
    assert not (tmp_path / "runs").exists()


def test_errors_have_one_base() -> None:
    with pytest.raises(launcher.LauncherError):
        launcher.load("nope.yaml")
    assert issubclass(SpecError, LauncherError)


def test_every_export_is_there() -> None:
    missing: list[Any] = [name for name in launcher.__all__ if not hasattr(launcher, name)]
    assert missing == []
    assert set(launcher.__all__) <= set(dir(launcher))
    with pytest.raises(AttributeError, match="no attribute 'lood'"):
        launcher.lood  # noqa: B018


def test_exports_are_typed(tmp_path: Path) -> None:
    """A user's mypy knows what the lazy exports are."""
    path = tmp_path / "user.py"
    path.write_text(
        "import launcher\n"
        "handle = launcher.submit(launcher.load('x.yaml'))\n"
        "reveal_type(handle)\n"
        "reveal_type(handle.results().final)\n"
        "reveal_type(launcher.plan)\n"
    )
    cache = Path(__file__).parents[2] / ".mypy_cache"
    argv = [sys.executable, "-m", "mypy", "--cache-dir", str(cache), "--strict", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert 'Revealed type is "launcher.backends.base.JobHandle"' in done.stdout
    assert "dict[str, Any]" in done.stdout.replace("builtins.", "").replace("str, Any", "str, Any")
    assert "def (spec: launcher.spec.model.JobSpec) -> launcher.planning.plan.Plan" in done.stdout
