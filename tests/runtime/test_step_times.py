"""How long a step waits for its input, and how long it takes to its own gradients."""

import time
from pathlib import Path
from typing import Any

import pytest

from launcher.contract import RunPaths
from launcher.odapi import compat
from launcher.odapi.pipeline import parse
from launcher.storage import read_json, read_jsonl
from launcher.worker_config import WorkerConfig
from tests.disks import gone

pytestmark = pytest.mark.tensorflow

LATE = 0.15
APART = 0.005  # s: nothing orders the op that reads the clock when a batch came and the one that
# reads it when its gradients are there, so that the first may read it last (40 us were seen)
TRAIN_CONFIG = """
train_config { batch_size: 4 add_regularization_loss: false
  optimizer { momentum_optimizer {
    learning_rate { constant_learning_rate { learning_rate: 0.01 } } momentum_optimizer_value: 0 } }
}"""


def steps(accumulation: int, input_seconds: float, count: int = 3) -> list[Any]:
    """All but the first, which traces."""
    compat.load()
    from tests.runtime.tiny_model import TinyTraining

    train_config = parse(TRAIN_CONFIG, "here").train_config
    training = TinyTraining(train_config, accumulation=accumulation, input_seconds=input_seconds)
    return [training.one() for _ in range(count + 1)][1:]


@pytest.mark.parametrize("accumulation", [1, 3])
def test_the_wait_of_all_micro_batches_is_told(accumulation: int) -> None:
    wait = accumulation * LATE
    for result in steps(accumulation, LATE):
        assert 0.5 * wait < result.input_seconds < 2.5 * wait
        assert result.own_seconds > result.input_seconds - APART


@pytest.mark.parametrize("accumulation", [1, 3])
def test_an_input_that_is_there_is_not_waited_for(accumulation: int) -> None:
    assert min(result.input_seconds for result in steps(accumulation, 0.0)) < 0.2 * LATE


def training(accumulation: int = 1) -> Any:
    compat.load()
    from tests.runtime.tiny_model import TinyTraining

    return TinyTraining(parse(TRAIN_CONFIG, "here").train_config, accumulation=accumulation)


@pytest.mark.parametrize("accumulation", [1, 3])
def test_the_clock_is_read_when_the_gradients_are_there(accumulation: int) -> None:
    """In the graph as it runs: after a number that was made of them on the host and is returned. An
    identity that only the clock waits for is optimized away."""
    from tensorflow.python.eager import context

    one = training(accumulation).one
    context.enable_run_metadata()
    try:
        one()
        graphs = context.export_run_metadata().function_graphs
    finally:
        context.disable_run_metadata()
    nodes = {n.name: n for g in graphs for n in g.post_optimization_graph.node}
    ready = nodes["gradients_ready"]
    made = [n.name for n in nodes.values() if ready.name in n.input]
    clocks = [n for n in nodes.values() if n.op == "Timestamp"]
    assert any(f"^{name}" in n.input for n in clocks for name in [ready.name, *made]), clocks
    assert any(name in n.input for n in nodes.values() for name in made), "is returned"
    (source,) = ready.input
    assert nodes[source].op == "StridedSlice"
    assert nodes[nodes[source].input[0]].op == "ConcatV2", "of all gradients"


def test_one_number_is_copied_to_the_host_and_not_all_gradients() -> None:
    import tensorflow as tf

    step = training().step

    @tf.function(autograph=False)
    def update(sums: Any, asked: Any, begun: Any) -> Any:
        with tf.device("/gpu:0"):  # traced only: there need not be one
            return step._update(sums, asked, begun)

    graph = update.get_concrete_function(
        tf.zeros([1 + 32]), tf.zeros([2]), tf.zeros([], tf.float64)
    ).graph
    ready = graph.get_operation_by_name("gradients_ready")
    assert ready.device.endswith("CPU:0")
    (copied,) = ready.inputs
    assert copied.shape == []
    assert copied.op.device.endswith("GPU:0")


CONFIG = WorkerConfig(
    name="x", workers=1, gpus_per_worker=0, replicas=1, global_batch=4, per_replica_batch=4,
    accumulation_steps=1, learning_rate=0.01, warmup_learning_rate=0.01, warmup_steps=0,
    total_steps=2,
)  # fmt: skip


def result_of(step: int, *, input_seconds: float = 9.0, own_seconds: float = 0.05) -> Any:
    from launcher.runtime.step import StepResult

    return StepResult(
        step=step, images=4, micro_batches=1, learning_rate=0.01, gradient_norm=1.0,
        losses={"Loss/total_loss": 1.0}, save=False, stop=False,
        input_seconds=input_seconds, own_seconds=own_seconds,
    )  # fmt: skip


def test_they_are_written_down_once_there_are_two_steps(tmp_path: Path) -> None:
    compat.load()
    from launcher.runtime.writers import Writers

    paths = RunPaths(tmp_path)
    writers = Writers(paths, CONFIG, worker=0)
    for step in (1, 2):
        writers.step(result_of(step))
        time.sleep(0.1)
    writers.close()
    first, second = read_jsonl(paths.train_metrics)
    assert (first["input_share"], first["own_seconds"]) == (None, None)
    assert (second["input_share"], second["own_seconds"]) == (1.0, 0.05)  # never above 1
    assert read_json(paths.progress(0))["own_seconds"] == 0.05


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_is_set_within_a_step_makes_no_worker_slow(jump: float) -> None:
    """The graph reads the wall clock at a step's begin and when its gradients are there."""
    compat.load()
    from launcher.runtime.writers import _Waits

    waits = _Waits()
    waits.after_step(result_of(1))
    time.sleep(0.05)
    share, own = waits.after_step(result_of(2, input_seconds=jump, own_seconds=jump))
    assert share == (1.0 if jump > 0 else 0.0)
    assert own == 0.0 if jump < 0 else 0.05 <= own < 60.0


def test_a_heartbeat_that_a_network_file_system_loses_costs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compat.load()
    from launcher.runtime.writers import Writers

    paths = RunPaths(tmp_path)
    writers = Writers(paths, CONFIG, worker=1)
    paths.progress(1).parent.mkdir()
    with gone(paths.progress(1).parent):
        writers.step(result_of(2))
    assert "cannot write (Transport endpoint is not connected)" in capsys.readouterr().err
    writers.step(result_of(2))
    assert read_json(paths.progress(1))["step"] == 2
