"""A real run of two workers, continued by one: the same global batch, split otherwise."""

from collections.abc import Iterator

import pytest

from launcher.storage import read_jsonl
from tests.end_to_end.small_run import GLOBAL_BATCH, SmallRun, make_run

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = 40


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallRun]:
    run = make_run(
        tmp_path_factory.mktemp("resume"), steps=STEPS, checkpoint_steps=10, stall_seconds=60.0
    )
    # Statistics of 4 images in both: auto would choose by their number, and that may not change.
    norm = "norm: batch, sync_batch_norm: false"
    run.spec.write_text(run.spec.read_text().replace("train: {", f"train: {{{norm}, "))
    yield run
    run.end_all()


def test_a_run_goes_on_with_another_division_and_its_name_is_free_after_delete(
    run: SmallRun,
) -> None:
    assert run.running() == 0
    run.wait(lambda: len(run.saved()) >= 1, "a checkpoint")
    assert run.launcher("cancel", run.name).returncode == 0
    done = run.steps_of(0)[-1]
    assert done < STEPS

    fewer = ["--set", "cluster.workers=1"]
    refused = run.launcher("submit", run.spec.name, "--resume", *fewer)
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: --set cluster.workers: is 1, the run has 2. Set it back, or give --allow-change "
        "to continue with it\n",
    )
    halved = ["--set", "batch.global_batch=4", "--allow-change"]
    refused = run.launcher("submit", run.spec.name, "--resume", *fewer, *halved)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: --set batch.global_batch: is 4, the run has 8. ")

    run.submit("--resume", "--allow-change", *fewer)
    told = run.wait_end()
    assert (told["state"], told["step"]) == ("SUCCEEDED", STEPS)
    rows = [row for row in run.rows() if row["attempt"] == 1]
    assert [row["step"] for row in rows] == list(range(done + 1, STEPS + 1))
    assert {(row["global_batch"], row["accumulation_steps"]) for row in rows} == {(GLOBAL_BATCH, 2)}
    assert rows[-1]["images_seen"] == STEPS * GLOBAL_BATCH
    assert read_jsonl(run.paths.eval_metrics)[-1]["step"] == STEPS

    # The name is free after that, and nothing of the old run is in the new one.
    assert run.launcher("delete", run.name).returncode == 0
    assert not run.paths.root.exists()
    assert run.launcher("status", run.name).returncode == 2
    run.submit()
    run.wait(run.rows, "the first step")
    assert (run.rows()[0]["step"], run.rows()[0]["attempt"]) == (1, 0)
    assert not run.paths.eval_metrics.exists()
    assert "starting from random weights" in run.log(0, "worker-0")
