"""The run's folder as pods find it: theirs, another run's, one that cannot be written."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from launcher.contract import RunPaths
from launcher.errors import ConfigError, StorageError
from launcher.pod import ending, folder
from launcher.pod.identity import Identity, read
from launcher.run_record import begin_again
from launcher.storage import write_json


def files(pipeline: str = "model {}\n", **config: Any) -> dict[str, str]:
    values = {"name": "d3", "global_batch": 128, "workers": 8, "per_replica_batch": 4, **config}
    return {
        "spec.yaml": "name: d3\n",
        "plan.json": json.dumps({"worker_config": values}),
        "pipeline.config": pipeline,
    }


def test_the_plan_is_published_once(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "runs" / "d3")
    assert folder.publish(paths, files())
    before = paths.plan.stat().st_ino
    assert not folder.publish(paths, files()), "the others find it there"
    assert paths.plan.stat().st_ino == before
    assert {p.name for p in paths.root.iterdir()} == set(files())


def test_all_pods_may_publish_at_once(tmp_path: Path) -> None:
    """Whichever of the files another pod has already written."""
    made = files()
    for there in range(8):
        paths = RunPaths(tmp_path / str(there))
        paths.root.mkdir()
        for i, name in enumerate(made):
            if there >> i & 1:
                (paths.root / name).write_text(made[name])
        assert folder.publish(paths, made) is (there != 7)
        assert {name: (paths.root / name).read_text() for name in made} == made
    with ThreadPoolExecutor(16) as pool:
        crowd = [RunPaths(tmp_path / "crowd")] * 64
        assert any(pool.map(lambda paths: folder.publish(paths, made), crowd))


def test_another_division_of_the_same_batch_continues_the_run(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    folder.publish(paths, files())
    changed = files(workers=4, per_replica_batch=8)
    assert folder.publish(paths, changed)
    assert paths.plan.read_text() == changed["plan.json"]


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (files(global_batch=64), "global_batch is 64, there 128"),
        (files(pipeline="model { ssd {} }\n"), "pipeline.config is another one"),
    ],
)
def test_another_run_is_left_alone(tmp_path: Path, other: dict[str, str], what: str) -> None:
    paths = RunPaths(tmp_path)
    folder.publish(paths, files())
    with pytest.raises(ConfigError, match=what):
        folder.publish(paths, other)
    assert paths.plan.read_text() == files()["plan.json"]


def test_what_is_not_mounted_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ConfigMap"):
        folder.mounted(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_storage(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError):
        folder.publish(RunPaths(tmp_path / "d3"), files())


def test_a_place_that_is_no_folder_is_storage(tmp_path: Path) -> None:
    (tmp_path / "progress").write_text("a file")
    with pytest.raises(StorageError):
        folder.check_writable(RunPaths(tmp_path), "worker-0")


def test_each_start_has_a_log_of_its_own(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    for expected in (0, 1, 2):
        attempt, log = folder.claim(paths, "worker-1")
        os.write(log, b"x")
        os.close(log)
        assert attempt == expected
        assert paths.worker_log(attempt, 1).read_text() == "x"
    attempt, log = folder.claim(paths, "evaluator")
    os.close(log)
    assert attempt == 0, "it counts its own starts"


def test_the_identity_is_the_environments() -> None:
    env = {"JOB_COMPLETION_INDEX": "3", "LAUNCHER_HOSTS": "d3-worker-{index}.d3.ns.svc:2222"}
    me = read("worker", 8, env)
    assert (me.who, me.index, me.port, len(me.hosts)) == ("worker-3", 3, 2222, 8)
    assert me.hosts[7] == "d3-worker-7.d3.ns.svc:2222"
    assert read("worker", 8, {**env, "LAUNCHER_INDEX": "5"}).index == 5, "a TFJob's own"
    assert read("worker", 1, {"JOB_COMPLETION_INDEX": "0"}).hosts == ()
    assert read("evaluator", 8, {}).who == "evaluator"


@pytest.mark.parametrize(
    ("env", "what"),
    [
        ({}, "JOB_COMPLETION_INDEX: is not set"),
        ({"JOB_COMPLETION_INDEX": "x"}, 'JOB_COMPLETION_INDEX: "x" is not a whole number'),
        ({"LAUNCHER_INDEX": "2"}, "LAUNCHER_INDEX: 2 is not the index of one of 2 workers"),
        ({"LAUNCHER_INDEX": "0"}, "LAUNCHER_HOSTS: names 0 hosts, the plan has 2"),
        ({"LAUNCHER_INDEX": "0", "LAUNCHER_HOSTS": "a,b"}, "LAUNCHER_HOSTS: a has no port"),
        ({"LAUNCHER_INDEX": "0", "LAUNCHER_HOSTS": "a:1"}, "names 1 hosts, the plan has 2"),
    ],
)
def test_what_the_manifest_should_have_said(env: dict[str, str], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        read("worker", 2, env)


def test_the_last_checkpoint_says_that_all_is_done(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    assert not folder.is_trained(paths, 500)
    paths.checkpoints.mkdir()
    state = paths.checkpoints / "checkpoint"
    state.write_text('all_model_checkpoint_paths: "ckpt-1500"\n')
    (paths.checkpoints / "ckpt-500.index").touch()
    assert not folder.is_trained(paths, 500), "it is being written: not in the list yet"
    for listed in ("ckpt-500", "/mnt/runs/d3/checkpoints/ckpt-500"):
        state.write_text(f'all_model_checkpoint_paths: "{listed}"\n')
        assert folder.is_trained(paths, 500)
    assert not folder.is_trained(paths, 50)


# Exit codes


def job_pod(failures: int) -> Identity:
    return Identity("worker", 0, failures=failures, max_restarts=2)


TFJOB = Identity("worker", 0, max_restarts=2, exit_offset=128)


@pytest.mark.parametrize(
    ("failures", "code", "last"),
    [(0, 75, False), (1, 1, False), (2, 75, True), (2, 143, False), (2, 0, False), (0, 66, True)],
)
def test_a_job_that_will_not_start_it_again_is_given_up(
    tmp_path: Path, failures: int, code: int, last: bool
) -> None:
    paths = RunPaths(tmp_path)
    write_json(paths.failure("worker"), {"exit": code, "message": "why"})
    assert ending.end(paths, job_pod(failures), 0, code) == code
    assert paths.given_up.exists() is last
    if last:
        said = json.loads(paths.given_up.read_text())
        assert (said["worker"], said["exit"], said["message"]) == (0, code, "why")
    assert json.loads(paths.exit(0, "worker-0").read_text())["exit"] == code


def started(paths: RunPaths, me: Identity = TFJOB) -> int:
    """One more start of a pod: its number."""
    attempt, log = folder.claim(paths, me.who)
    os.close(log)
    return attempt


def test_a_tfjob_starts_again_what_is_above_127(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    for code, left in ((0, 0), (143, 143), (75, 203), (137, 137)):
        assert ending.end(paths, TFJOB, started(paths), code) == left
        assert not paths.given_up.exists()
    assert ending.end(paths, TFJOB, started(paths), 75) == 75, "two restarts are used up"
    assert paths.given_up.exists()
    assert ending.end(paths, TFJOB, started(paths), 64) == 64
    assert ending.end(RunPaths(tmp_path / "other"), TFJOB, None, 64) == 64


@pytest.mark.parametrize(
    ("code", "left"),
    [
        *((137, 9), (139, 11), (134, 6), (129, 1), (255, 127), (128, 1), (192, 1), (203, 1)),
        *((1, 1), (74, 74), (75, 75), (64, 64), (143, 143)),
    ],
)
def test_the_last_start_of_a_tfjobs_worker_leaves_with_what_is_not_retried(
    tmp_path: Path, code: int, left: int
) -> None:
    """IsRetryableExitCode of the training-operator is `>= 128`: a worker that a signal ends every
    time would be started for ever. What it leaves with means nothing else: 192 is no 64."""
    paths, me = RunPaths(tmp_path), Identity("worker", 0, max_restarts=0, exit_offset=128)
    assert ending.end(paths, me, started(paths, me), code) == left
    assert left < 128 or code == 143
    assert paths.given_up.exists() == (code != 143)
    assert json.loads(paths.exit(0, "worker-0").read_text())["exit"] == code, "what it really was"


def test_a_start_that_was_killed_with_its_container_is_counted(tmp_path: Path) -> None:
    """Out of memory, a lost node: no exit.json. Nobody else would ever end such a worker."""
    paths = RunPaths(tmp_path)
    for _ in range(2):
        assert not ending.used_up(paths, TFJOB, started(paths))
    assert ending.end(paths, TFJOB, started(paths), 75) == 75, "two were killed before"
    other = RunPaths(tmp_path / "other")
    for _ in range(3):
        assert not ending.used_up(other, TFJOB, started(other))
    why = ending.used_up(other, TFJOB, attempt := started(other))
    assert why.startswith("worker-0 has failed 3 times, the last time killed with its container")
    assert ending.end(other, TFJOB, attempt, ending.UNKNOWN) == 1
    assert other.given_up.exists()


def test_only_a_tfjobs_pods_count_their_starts(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    for _ in range(9):
        attempt = started(paths)
    for me in (job_pod(0), Identity("worker", 0, max_restarts=2), Identity("evaluator")):
        assert not ending.used_up(paths, me, attempt)
        assert not ending.is_last(paths, me, attempt, 75)


def test_a_tfjob_that_was_given_up_and_is_applied_again_has_its_restarts_again(
    tmp_path: Path,
) -> None:
    paths = RunPaths(tmp_path)
    for _ in range(3):
        started(paths)
    assert ending.end(paths, TFJOB, started(paths), 137) == 9
    second = started(paths, Identity("worker", 1, max_restarts=2, exit_offset=128))
    begin_again(paths)
    assert not paths.given_up.exists()
    attempt = started(paths)
    assert not ending.used_up(paths, TFJOB, attempt)
    assert ending.end(paths, TFJOB, attempt, 75) == 203
    assert second == 0
    begin_again(paths)
    assert ending.counted(paths, TFJOB, started(paths)) == 1, "it was not given up this time"


def test_a_start_without_a_place_for_its_log_is_a_tfjobs_last(tmp_path: Path) -> None:
    """A volume that cannot be written: nothing there would ever count it."""
    assert ending.end(RunPaths(tmp_path), TFJOB, None, 74) == 74
    assert ending.end(RunPaths(tmp_path), job_pod(0), None, 74) == 74


def test_a_jobset_does_not_tell_its_pods_how_many_restarts_it_counted(tmp_path: Path) -> None:
    paths, me = RunPaths(tmp_path), Identity("worker", 0, max_restarts=0)
    for attempt in range(5):
        assert ending.end(paths, me, attempt, 75) == 75
    assert not paths.given_up.exists()
