"""Where the time of a start and of a training step goes.

    .venv/bin/python bench/step_profile.py [--batch 32] [--threads 2] [--kernels 12]

In this process, on the demo's model (SSD-MobileNetV2 x0.35, 128 px): the parts of the start; then
the whole step as the worker takes it, and its parts as functions of their own over one fixed batch.
What has no function of its own is a difference: backward = forward and backward - forward. The
all-reduce is that of two processes over loopback, of a vector of the model's size (with --threads
each, so 1 on two cores). The kernels are TensorFlow's own profile of ten steps, by operation; of
those that overlap, the sum may be more than the step.

Times are medians in ms; `CPU` is what this process used on all its threads meanwhile, and depends
little on what else the machine does. The last line is JSON: `ours` is the sum of the parts, `peer`
the whole step, so `ratio` says how much of the step is explained.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.backends.processes import free_hosts
from launcher.contract import ENV_CPU_THREADS, ENV_TF_CONFIG, tf_config
from launcher.data import make_shapes
from launcher.odapi import compat
from tests.runtime.small_pipelines import demo_pipeline


class Clock:
    """Wall and CPU milliseconds between calls."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        lap = 1000 * (wall - self._wall), 1000 * (cpu - self._cpu)
        self._wall, self._cpu = wall, cpu
        return lap


def show(name: str, lap: tuple[float, float]) -> None:
    print(f"  {name:<34} {lap[0]:>9.1f} {lap[1]:>9.1f}", flush=True)


def repeated(function: Callable[[], Any], times: int) -> tuple[float, float]:
    for _ in range(3):
        function()
    laps = []
    for _ in range(times):
        clock = Clock()
        function()
        laps.append(clock.lap())
    return median(lap[0] for lap in laps), median(lap[1] for lap in laps)


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--batch", type=int, default=32, help="images of a micro-batch")
    arguments.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments.add_argument("--kernels", type=int, default=12, help="lines of the kernels' table")
    arguments.add_argument("--repeats", type=int, default=25, help="of each measurement")
    arguments.add_argument("--reduce", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.reduce:
        print(reduce_milliseconds(options.reduce, options.threads, options.repeats))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "shapes"
        make_shapes(data, train_images=256, val_images=8, image_size=128, seed=0)
        return profile(options, data, Path(folder))


def profile(options: Any, data: Path, folder: Path) -> int:
    print(f"  {'start':<34} {'ms':>9} {'CPU':>9}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    clock = Clock()
    compat.load()
    show("import TensorFlow", clock.lap())
    from launcher.runtime import loop
    from launcher.runtime.__main__ import quiet_libraries

    quiet_libraries()

    show("import the OD API and the worker", clock.lap())
    del loop
    trainer = Trainer(options, data, clock)
    parts = trainer.parts()
    reduce = all_reduce(trainer.values, options.threads, options.repeats)
    whole = parts.pop("whole step")
    print(f"\n  {'step of ' + str(options.batch) + ' images':<34} {'ms':>9} {'CPU':>9}")
    for name, lap in parts.items():
        show(name, lap)
    explained = sum(lap[0] for lap in parts.values())
    show("sum of the parts", (explained, sum(lap[1] for lap in parts.values())))
    show("whole step, the input included", whole)
    print(f"  all-reduce of {trainer.values:,} values, two processes: {reduce:.1f} ms")
    trainer.kernels(folder / "profile", options.kernels)
    print(
        json.dumps(
            {
                "name": "step_profile",
                "ratio": round(explained / whole[0], 3),
                "ours": round(explained, 1),
                "peer": round(whole[0], 1),
                "unit": "ms, sum of the parts against the whole step",
                "parts": {name: round(lap[0], 1) for name, lap in parts.items()},
                "all_reduce": round(reduce, 2),
                "parameters": trainer.values,
            }
        )
    )
    return 0


class Trainer:
    """The worker's model, optimizer, input and step, its start timed part by part."""

    def __init__(self, options: Any, data: Path, clock: Clock) -> None:
        import tensorflow as tf

        from launcher.odapi.normalizers import normalizer_of
        from launcher.runtime import devices
        from launcher.runtime.inputs import train_dataset
        from launcher.runtime.model import build_model, build_optimizer
        from launcher.runtime.step import Requests, TrainStep

        devices.limit_threads(options.threads)
        pipeline = demo_pipeline(data, batch=options.batch, steps=500)
        strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
        with strategy.scope():
            done = tf.Variable(0, dtype=tf.int64, trainable=False)
            self.model = build_model(pipeline, strategy)
            show("build the model, blank pass", clock.lap())
            optimizer, _ = build_optimizer(pipeline, done, self.model.trainable_variables)
            show("make the optimizer's slots", clock.lap())
            self._step = TrainStep(
                strategy,
                self.model,
                optimizer,
                done,
                pipeline.train_config,
                1,
                normalizer=normalizer_of(pipeline.model, "global"),
            )
        self.values = sum(v.shape.num_elements() for v in self.model.trainable_variables)
        dataset = strategy.distribute_datasets_from_function(
            lambda _: train_dataset(
                pipeline, self.model, batch=options.batch, threads=options.threads
            )
        )
        show("trace the input", clock.lap())
        self._stream = iter(dataset)
        self._batch = next(self._stream)
        show("start the input, first batch", clock.lap())
        self._ask = Requests()
        self._repeats = options.repeats
        self._step(self._stream, self._ask)
        show("trace the step, run it once", clock.lap())
        devices.keep_freed_memory()
        self._tf = tf

    def parts(self) -> dict[str, tuple[float, float]]:
        """The whole step, and its parts in their order."""
        from launcher.runtime.model import set_training

        tf, step = self._tf, self._step
        features, labels = self._batch
        sums = tf.zeros([self.values + 32])
        asked, begun = tf.zeros([2]), tf.zeros([], tf.float64)

        @tf.function(autograph=False)
        def network() -> Any:
            set_training(self.model, True)
            found = self.model.predict(features["image"], features["true_image_shape"])
            return [t for t in tf.nest.flatten(found) if tf.is_tensor(t)]

        @tf.function(autograph=False)
        def forward() -> Any:
            return step._losses.part(features, labels).total

        @tf.function(autograph=False)
        def both() -> Any:
            return step._micro_batch(features, labels)

        @tf.function(autograph=False)
        def update() -> Any:
            return step._update(sums, asked, begun)

        whole = self._repeated(lambda: step(self._stream, self._ask))
        fixed = iter(tf.data.Dataset.from_tensors(self._batch).repeat())
        without = self._repeated(lambda: step(fixed, self._ask))
        ran = [self._repeated(lambda f=f: wait(f())) for f in (network, forward, both, update)]
        return {
            "whole step": whole,
            "input that the step waits for": less(whole, without),
            "forward: the network": ran[0],
            "forward: targets and losses": less(ran[1], ran[0]),
            "backward": less(ran[2], ran[1]),
            "clip and apply": ran[3],
        }

    def _repeated(self, function: Callable[[], Any]) -> tuple[float, float]:
        return repeated(function, self._repeats)

    def kernels(self, folder: Path, lines: int) -> None:
        """TensorFlow's profile of ten steps, the longest operations first."""
        from tensorflow.tsl.profiler.protobuf import xplane_pb2

        fixed = iter(self._tf.data.Dataset.from_tensors(self._batch).repeat())
        self._step(fixed, self._ask)
        self._tf.profiler.experimental.start(str(folder))
        for _ in range(10):
            self._step(fixed, self._ask)
        self._tf.profiler.experimental.stop()
        space = xplane_pb2.XSpace()
        space.ParseFromString(next(folder.rglob("*.xplane.pb")).read_bytes())
        total: Counter[str] = Counter()
        count: Counter[str] = Counter()
        for plane in space.planes:
            for event in (e for line in plane.lines for e in line.events):
                name = plane.event_metadata[event.metadata_id].name
                if "/" in name and ":" in name and "::" not in name:  # node:Operation
                    operation = name.rsplit(":", 1)[1]
                    total[operation] += event.duration_ps / 1e10
                    count[operation] += 1
        print(f"\n  {'kernels of a step':<34} {'ms':>9} {'calls':>9}")
        for operation, milliseconds in total.most_common(lines):
            print(f"  {operation:<34} {milliseconds:>9.1f} {count[operation] / 10:>9.0f}")


def wait(value: Any) -> None:
    """Functions return before their kernels have run."""
    import tensorflow as tf

    for tensor in tf.nest.flatten(value):
        tensor.numpy()


def less(whole: tuple[float, float], part: tuple[float, float]) -> tuple[float, float]:
    return max(0.0, whole[0] - part[0]), max(0.0, whole[1] - part[1])


def all_reduce(values: int, threads: int, repeats: int) -> float:
    """Median milliseconds of one all-reduce of `values` float32 between two new processes."""
    each = max(1, threads // 2)
    hosts = free_hosts(2)
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                __file__,
                f"--reduce={values}",
                f"--threads={each}",
                f"--repeats={repeats}",
            ],
            env={
                **os.environ,
                ENV_TF_CONFIG: tf_config(hosts, i),
                ENV_CPU_THREADS: str(each),
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for i in range(2)
    ]
    told = [process.communicate(timeout=300)[0] for process in processes]
    return float(told[0].split()[-1])


def reduce_milliseconds(values: int, threads: int, repeats: int) -> float:
    compat.load()
    import tensorflow as tf

    from launcher.runtime import devices

    devices.limit_threads(threads)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    vector = tf.zeros([values])

    @tf.function(autograph=False)
    def reduced() -> Any:
        def replica() -> Any:
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, vector)

        return strategy.run(replica)

    found = repeated(lambda: strategy.experimental_local_results(reduced())[0].numpy(), repeats)[0]
    if os.environ[ENV_TF_CONFIG].endswith('"index":0}}'):
        time.sleep(1)  # the chief hosts the coordination service: it leaves last
    print(found, flush=True)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
