"""`submit --resume` with another spec: what is refused, and what --allow-change lets through."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.backends import local
from launcher.backends.status import true_status

Submit = Callable[..., "subprocess.CompletedProcess[str]"]
Scripts = Callable[[str, str], None]


@pytest.fixture
def submit(
    env: dict[str, str], work: Path, spec_file: Path, submit_argv: list[str], scripts: Scripts
) -> Submit:
    """The real command with workers that are done at once; the run of the spec has ended."""
    scripts("beat(total)", "score(total, 42)")

    def run(*options: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*submit_argv, *options],
            cwd=work, env=env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert run().returncode == 0
    return run


def test_a_spec_that_differs_is_refused_field_by_field(submit: Submit, work: Path) -> None:
    before = (work / "runs" / "demo" / "plan.json").read_text()
    text = (work / "demo.yaml").read_text()
    (work / "demo.yaml").write_text(
        text.replace("target_map: 35", "target_map: 30").replace("train_images: 8", "seed: 4")
        + "train: {ema_decay: 0.9998}\n"
    )
    done = submit("--resume", "--set", "restart.max_restarts=9")
    assert done.returncode == 2
    assert done.stdout == ""
    unsafe = "Set it back, or submit under another name:"
    data = "the position in the records and the scores belong to the run's data"
    safe = "Set it back, or give --allow-change to continue with it"
    assert sorted(done.stderr.splitlines()) == sorted(
        [
            "error: demo.yaml:4: data.synthetic.train_images: is 2000, the run has 8. "
            f"{unsafe} {data}",
            f"error: demo.yaml:4: data.synthetic.seed: is 4, the run has 0. {unsafe} {data}",
            "error: demo.yaml:8: train.ema_decay: is 0.9998, the run has not set. "
            f"{unsafe} it would change what a step computes in the middle of the run",
            f"error: demo.yaml:7: evaluate.target_map: is 30, the run has 35. {safe}",
            f"error: --set restart.max_restarts: is 9, the run has 3. {safe}",
        ]
    )
    assert (work / "runs" / "demo" / "plan.json").read_text() == before
    assert [p.name for p in (work / "runs" / "demo" / "logs").iterdir()] == ["attempt-0"]

    # What is not safe stays refused, and is all that is told then.
    done = submit("--resume", "--allow-change", "--set", "restart.max_restarts=9")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 3
    assert "Set it back, or give" not in done.stderr


def test_a_safe_change_is_allowed_and_written_down(submit: Submit, work: Path) -> None:
    changes = ["--set", "evaluate.every=checkpoint", "--set", "cluster.workers=1"]
    assert submit("--resume", *changes).returncode == 2
    done = submit("--resume", "--allow-change", *changes)
    assert done.returncode == 0, done.stderr
    told = [
        "evaluate.every is checkpoint, the run has newest: continued with it (--allow-change)",
        "cluster.workers is 1, the run has 2: continued with it (--allow-change)",
    ]
    assert all(f"warning: {line}" in done.stderr.splitlines() for line in told)
    plan = json.loads((work / "runs" / "demo" / "plan.json").read_text())
    assert (plan["workers"], plan["global_batch"]) == (1, 128)
    assert set(told) <= set(plan["warnings"])
    assert submit("--resume", *changes).returncode == 0  # it is the run's own spec now


def test_the_same_spec_is_continued_from_anywhere(submit: Submit, work: Path) -> None:
    shutil.copy(work / "runs" / "demo" / "spec.yaml", work / "demo.yaml")
    done = submit("--resume")
    assert done.returncode == 0, done.stderr


def test_a_plan_of_another_version_is_told(submit: Submit, work: Path) -> None:
    path = work / "runs" / "demo" / "plan.json"
    plan = json.loads(path.read_text())
    path.write_text(json.dumps({**plan, "spec": {**plan["spec"], "futur": 1}}))
    done = submit("--resume")
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"error: {path}: the run was planned by another version of launcher (unknown key). "
    )
    assert len(done.stderr.splitlines()) == 1


def test_allow_change_is_for_resume(submit: Submit) -> None:
    done = submit("--replace", "--allow-change")
    assert (done.returncode, done.stderr) == (
        2,
        "error: --allow-change is for --resume. Give both, or none\n",
    )


@pytest.mark.parametrize("option", [(), ("--resume",)])
def test_what_was_never_submitted_is_checked(
    env: dict[str, str],
    work: Path,
    spec_file: Path,
    submit_argv: list[str],
    scripts: Scripts,
    option: tuple[str, ...],
) -> None:
    """A new or mistyped name: --resume is no way round the preflight, and does not start silently
    at step 0."""
    scripts("beat(total)", "score(total, 42)")

    def submit(*more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*submit_argv, *option, *more],
            cwd=work, env=env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    wrong = ("--set", "recipe=efficientdet_d0", "--set", "train.norm=batch", "--set")
    wrong += ("batch.per_replica_batch=2", "--set", "cluster.workers=1")
    done = submit(*wrong)
    assert done.returncode == 3, done.stderr
    assert not (work / "runs" / "demo").exists()
    done = submit(*wrong, "--force")
    assert done.returncode == 0, done.stderr
    told = (
        f"warning: demo: there is no plan of an earlier run in {work / 'runs' / 'demo'}: --resume "
        "checks and submits it as a new one"
    )
    assert (told in done.stderr.splitlines()) is bool(option)
    assert (work / "runs" / "demo" / "check.json").is_file()


def test_what_cannot_be_written_is_told_before_anything_starts(
    env: dict[str, str], work: Path, spec_file: Path, submit_argv: list[str], scripts: Scripts
) -> None:
    scripts("forever()", "forever()")
    root = work / "runs" / "demo"
    (root / "check.json").mkdir(parents=True)
    (root / "lock").touch()
    done = subprocess.run(
        [*submit_argv, "--resume", "--detach"],
        cwd=work, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    now = true_status(root)
    local.cancel(root)  # for a test that fails
    assert done.returncode == 1
    said = f"error: {root / 'check.json'}: cannot write (Is a directory)"
    assert done.stderr.splitlines()[-1].startswith(said)
    assert now.state.ended
    assert not (root / "logs").exists()
