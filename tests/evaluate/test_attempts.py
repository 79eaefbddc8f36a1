"""Checkpoints that cannot be scored: how often they are tried, and what comes after."""

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from launcher.contract import RunPaths
from launcher.errors import (
    DataError,
    PeerLostError,
    StorageError,
    UnreadableCheckpointError,
)
from launcher.evaluate import app, attempts, follow
from launcher.evaluate.process import Environment, Stopped
from launcher.storage import append_jsonl, read_jsonl, write_json
from launcher.worker_config import WorkerConfig

TOTAL = 20
WHY = "ckpt: the checkpoint cannot be read (Checksum does not match)"


class Died(BaseException):
    """Stands for the end of the process, which nothing catches."""


class Scorer:
    """Writes the line of a score without a model. `faults` are raised, in order, by step."""

    def __init__(self, paths: RunPaths, faults: dict[int, list[BaseException]]) -> None:
        self.paths = paths
        self.faults = faults
        self.steps: list[int] = []
        self.certified: list[int] = []

    def score(self, step: int, *, certified: bool = False) -> dict[str, Any] | None:
        self.steps.append(step)
        if certified:
            self.certified.append(step)
        if self.faults.get(step):
            raise self.faults[step].pop(0)
        sha256 = follow.digest(self.paths.checkpoints, step)
        row = {"step": step, "sha256": sha256, "mAP": 0.1}
        append_jsonl(self.paths.eval_metrics, row)
        return row


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPaths:
    """A run of 20 steps with the checkpoints 5, 10, 15 and 20, each to be scored."""
    monkeypatch.setattr(app, "RETRY_SECONDS", 0.0)
    paths = RunPaths(tmp_path)
    config = WorkerConfig(
        name="run", workers=1, gpus_per_worker=0, replicas=1, global_batch=4, per_replica_batch=4,
        accumulation_steps=1, learning_rate=0.1, warmup_learning_rate=0.01, warmup_steps=1,
        total_steps=TOTAL, evaluate_every="checkpoint",
    )  # fmt: skip
    write_json(paths.plan, {"worker_config": config.to_json()})
    write_json(paths.status, {"state": "RUNNING"})
    save(paths, 5, 10, 15, TOTAL)
    return paths


def save(paths: RunPaths, *steps: int) -> None:
    paths.checkpoints.mkdir(exist_ok=True)
    for step in steps:
        for name in ("index", "data-00000-of-00001"):
            file = paths.checkpoints / f"ckpt-{step}.{name}.tmp"
            file.write_bytes(os.urandom(8))
            file.replace(file.with_suffix(""))
    lines = [f'all_model_checkpoint_paths: "ckpt-{step}"\n' for step in steps]
    (paths.checkpoints / "checkpoint").write_text("".join(lines))


def evaluate(paths: RunPaths, **faults: list[BaseException]) -> list[int]:
    """One evaluator; the steps that it tried."""
    scorer: Any = Scorer(paths, {int(k.removeprefix("at_")): v for k, v in faults.items()})
    with contextlib.suppress(Died, Stopped, PeerLostError):
        app.follow_run(paths, WorkerConfig.read(paths.plan), scorer, Environment({}))
    return scorer.steps


def scored(paths: RunPaths) -> list[int]:
    return [row["step"] for row in read_jsonl(paths.eval_metrics) if "mAP" in row]


def given_up(paths: RunPaths) -> list[tuple[int, str]]:
    rows = read_jsonl(paths.eval_metrics)
    return [(row["step"], row["error"]) for row in rows if "error" in row]


def unreadable(count: int) -> list[BaseException]:
    return [UnreadableCheckpointError(WHY) for _ in range(count)]


def test_what_is_readable_at_the_second_try_is_scored(paths: RunPaths) -> None:
    assert evaluate(paths, at_10=unreadable(1)) == [5, 10, 10, 15, TOTAL]
    assert (scored(paths), given_up(paths)) == ([5, 10, 15, TOTAL], [])


def test_an_unreadable_one_is_reported_and_the_others_are_scored(
    paths: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(paths, at_10=unreadable(9)) == [5, 10, 10, 10, 15, TOTAL]
    assert (scored(paths), given_up(paths)) == ([5, 15, TOTAL], [(10, WHY)])
    told = capsys.readouterr().err
    assert f"ckpt-10 cannot be scored (try 1 of 3): {WHY}" in told
    assert f"ckpt-10 is passed over after 3 tries: {WHY}" in told
    assert evaluate(paths) == []  # another evaluator does not begin again with it


def test_one_that_ends_the_process_is_passed_over_by_its_fourth_evaluator(
    paths: RunPaths,
) -> None:
    for expected in ([5, 10], [10], [10]):
        assert evaluate(paths, at_10=[Died()]) == expected
    assert evaluate(paths) == [15, TOTAL]
    assert given_up(paths) == [(10, "the evaluator died while it scored it")]


def test_being_stopped_is_no_try(paths: RunPaths) -> None:
    for _ in range(5):
        evaluate(paths, at_10=[Stopped()])
    assert evaluate(paths) == [10, 15, TOTAL]
    assert given_up(paths) == []


def test_the_last_one_is_never_passed_over(paths: RunPaths) -> None:
    for _ in range(2):
        with pytest.raises(UnreadableCheckpointError, match="Checksum"):
            evaluate(paths, at_20=unreadable(9))
    for _ in range(5):
        assert evaluate(paths, at_20=[Died()]) == [TOTAL]
    assert evaluate(paths) == [TOTAL]
    assert (scored(paths), given_up(paths)) == ([5, 10, 15, TOTAL], [])


def test_of_the_last_one_a_disk_that_does_not_answer_is_waited_for(paths: RunPaths) -> None:
    why = "ckpt-20: the checkpoint cannot be read (Input/output error)"
    with pytest.raises(StorageError, match=r"ckpt-20: .*\(Input/output error\)"):
        evaluate(paths, at_20=[UnreadableCheckpointError(why) for _ in range(9)])
    assert evaluate(paths) == [TOTAL]


def test_the_last_one_without_its_data_is_no_checkpoint_to_wait_for(paths: RunPaths) -> None:
    (paths.checkpoints / f"ckpt-{TOTAL}.data-00000-of-00001").unlink()
    with pytest.raises(UnreadableCheckpointError, match="its data file is missing"):
        evaluate(paths)
    assert scored(paths) == [5, 10, 15]


def test_by_hand_the_newest_that_can_be_read_is_scored_again(paths: RunPaths) -> None:
    evaluate(paths, at_15=unreadable(3))
    scorer: Any = Scorer(paths, {TOTAL: unreadable(1)})
    app.score_one(paths, scorer, None)
    assert scorer.steps == [TOTAL, 15], "though it was passed over"
    scorer = Scorer(paths, {step: unreadable(1) for step in (5, 10, 15, TOTAL)})
    with pytest.raises(UnreadableCheckpointError, match="Checksum"):
        app.score_one(paths, scorer, None)


def test_the_newest_of_a_run_that_ended_early_is_certified(paths: RunPaths) -> None:
    write_json(paths.status, {"state": "CANCELLED"})
    save(paths, 5, 10)
    scorer: Any = Scorer(paths, {})
    with pytest.raises(PeerLostError, match=r"CANCELLED.*the last step, 20, has no score"):
        app.follow_run(paths, WorkerConfig.read(paths.plan), scorer, Environment({}))
    assert (scorer.steps, scorer.certified) == ([10], [10])


def test_one_that_was_trained_again_is_tried_again(paths: RunPaths) -> None:
    write_json(paths.status, {"state": "FAILED"})
    save(paths, 5, 10)
    assert evaluate(paths, at_10=unreadable(9)) == [10, 10, 10, 5]
    write_json(paths.status, {"state": "RUNNING"})
    save(paths, 5, 10, TOTAL)
    assert evaluate(paths) == [5, 10, TOTAL]  # 5 was saved again, too


def test_one_that_is_gone_for_a_while_is_scored_when_it_is_saved_again(paths: RunPaths) -> None:
    """As one that a restarted group sets aside and trains again."""

    class Gone(Scorer):
        def score(self, step: int, *, certified: bool = False) -> dict[str, Any] | None:
            if step == TOTAL and self.steps.count(TOTAL) == 0:
                self.steps.append(step)
                save(self.paths, 5, 10, 15, TOTAL)  # by whoever trained it again meanwhile
                return None
            return super().score(step)

    scorer: Any = Gone(paths, {})
    write_json(paths.status, {"state": "FAILED"})  # it leaves rather than waits for ever
    app.follow_run(paths, WorkerConfig.read(paths.plan), scorer, Environment({}))
    assert scorer.steps == [TOTAL, TOTAL]
    assert scored(paths) == [TOTAL]


def test_a_fault_of_the_val_records_is_told_at_once(paths: RunPaths) -> None:
    with pytest.raises(DataError, match="changed"):
        evaluate(paths, at_5=[DataError("the val records changed")])
    assert given_up(paths) == []


def test_one_that_the_disk_does_not_give_is_passed_over(paths: RunPaths) -> None:
    data = paths.checkpoints / "ckpt-10.data-00000-of-00001"
    data.unlink()
    data.mkdir()  # read(2) fails, as of a bad sector
    assert evaluate(paths) == [5, 10, 10, 10, 15, TOTAL]
    assert (scored(paths), [step for step, _ in given_up(paths)]) == ([5, 15, TOTAL], [10])
    assert evaluate(paths) == []


def test_a_full_disk_is_no_try(paths: RunPaths) -> None:
    for _ in range(attempts.MOST_TRIES + 1):  # as many evaluators
        with pytest.raises(StorageError):
            evaluate(paths, at_10=[StorageError("cannot write (No space left on device)")])
    assert evaluate(paths) == [10, 15, TOTAL]
    assert given_up(paths) == []


def test_the_tries_of_one_checkpoint_are_not_those_of_another(paths: RunPaths) -> None:
    tries = attempts.Attempts(paths)
    assert [tries.begin(5), tries.begin(5), tries.begin(10), tries.begin(5)] == [1, 2, 1, 1]
