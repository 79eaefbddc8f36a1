"""The evaluator's images a second against the OD API's `eager_eval_loop`.

    .venv/bin/python bench/evaluator.py [--images 512] [--rounds 3] [--size 128]
    .venv/bin/python bench/evaluator.py --profile

One process, the demo's SSD-MobileNetV2 x0.35, one checkpoint (fresh weights: each image has its 100
detections) and one set of val records, scored in turn by both:

- ours: `launcher.evaluate.scoring.Scorer.score`, the whole of what the evaluator does for a
  checkpoint: SHA-256, restore, detect, the 12 numbers, pictures, TensorBoard, eval.jsonl
- the peer: restore and `object_detection.model_lib_v2.eager_eval_loop` with the COCO metrics and
  TensorBoard, at eval_config.batch_size 1 as the published configs have it. Its side-by-side
  pictures are off: their code breaks on today's Pillow

The peer traces its function again for each checkpoint, which has a fixed cost. `ratio` is of the
steady state, without the peer's trace and first batch; `ratio_whole` is with them. The time of
ours is always the whole. A second figure of the peer is with our batch size, for comparison.
With --profile ours alone is taken apart: wall and CPU time of each part of a checkpoint.
The last line is JSON.
"""

import argparse
import contextlib
import gc
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.contract import RunPaths
from launcher.data import make_shapes
from launcher.odapi import compat
from tests.runtime.small_pipelines import demo_pipeline

STEP = 1
BATCH = 16  # launcher.evaluate.app.MAX_BATCH, what the evaluator takes on a large replica


@dataclass(frozen=True)
class Timing:
    whole: float  # seconds of one checkpoint
    steady: float  # images a second once the first batch is done
    map: float


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=512, help="val images (default 512)")
    parser.add_argument("--rounds", type=int, default=3, help="of each, in turn (default 3)")
    parser.add_argument("--size", type=int, default=128, help="pixels of an image's side")
    parser.add_argument("--skip-batched", action="store_true", help="leave the second peer out")
    parser.add_argument("--profile", action="store_true", help="only where the time of ours goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "shapes"
        make_shapes(
            data, train_images=8, val_images=options.images, image_size=options.size, seed=0
        )
        pipeline = demo_pipeline(data, batch=BATCH, steps=STEP)
        pipeline.eval_config.num_visualizations = 0
        measure(pipeline, data, RunPaths(Path(folder) / "run"), options)
    return 0


def measure(pipeline: Any, data: Path, paths: RunPaths, options: argparse.Namespace) -> None:
    compat.load()
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    ours, certified = our_evaluator(pipeline, data, paths)
    if options.profile:
        profile(ours, paths, options)
        return
    peers = {"peer": Peer(pipeline, paths, batch=1)}
    if not options.skip_batched:
        peers["peer, batched"] = Peer(pipeline, paths, batch=BATCH)
    times: dict[str, list[Timing]] = {name: [] for name in ("ours", *peers)}
    for number in range(options.rounds):
        times["ours"].append(run_ours(ours, options.images))
        tell(number, "ours", times)
        for name, peer in peers.items():
            times[name].append(peer.run(options.images))
            tell(number, name, times)
    with_pycocotools = run_ours(certified, options.images).whole
    report(times, with_pycocotools, options.images)


def tell(number: int, name: str, times: dict[str, list[Timing]]) -> None:
    last = times[name][-1]
    print(
        f"round {number + 1}, {name:14} {last.whole:7.2f} s a checkpoint,"
        f" {last.steady:7.1f} images/s, mAP {last.map:.4f}",
        flush=True,
    )


def report(times: dict[str, list[Timing]], with_pycocotools: float, images: int) -> None:
    whole = {n: images / statistics.median(t.whole for t in all_) for n, all_ in times.items()}
    steady = {n: statistics.median(t.steady for t in all_) for n, all_ in times.items()}
    print(f"ours with pycocotools' certificate as well: {images / with_pycocotools:.1f} images/s")
    result = {
        "name": "evaluator",
        "ratio": round(whole["ours"] / steady["peer"], 2),
        "ours": round(whole["ours"], 1),
        "peer": round(steady["peer"], 1),
        "unit": "images/s",
        "ratio_whole": round(whole["ours"] / whole["peer"], 2),
        "peer_whole": round(whole["peer"], 1),
        "ours_certified": round(images / with_pycocotools, 1),
        "images": images,
    }
    if batched := steady.get("peer, batched"):
        result["peer_batched"] = round(batched, 1)
        result["ratio_batched"] = round(whole["ours"] / batched, 2)
    print(json.dumps(result))


def our_evaluator(pipeline: Any, data: Path, paths: RunPaths) -> tuple[Any, Any]:
    """Two scorers of one detector, the second with pycocotools; and the checkpoint, saved."""
    import tensorflow as tf

    from launcher.evaluate import ground_truth
    from launcher.evaluate.both_modes import IMAGES, BothModes
    from launcher.evaluate.detector import Detector
    from launcher.evaluate.process import keep_objects
    from launcher.evaluate.scoring import Scorer

    labels = ground_truth.Labels.read(data / "label_map.pbtxt")
    truth = ground_truth.read([str(data / "val.record-*")], labels, 3, None)
    started = time.perf_counter()
    detector = Detector(pipeline, sorted({i.path for i in truth.images}), BATCH, None)
    print(
        f"ours: model and trace, once in a run: {time.perf_counter() - started:.1f} s", flush=True
    )
    checkpoint = tf.train.Checkpoint(model=detector.model)
    manager = tf.train.CheckpointManager(checkpoint, str(paths.checkpoints), max_to_keep=1)
    manager.save(checkpoint_number=STEP)

    def scorer(certified_from: int) -> Any:
        return Scorer(
            paths,
            truth,
            detector,
            lambda: None,
            total_steps=STEP,
            certified_from=certified_from,
            modes=modes,
        )

    modes = BothModes(detector, truth.images, IMAGES)
    detector.restore(Path(manager.latest_checkpoint))
    modes.measure()  # its traces, once in a run too
    scorers = scorer(STEP + 1), scorer(0)
    keep_objects()
    return scorers


def run_ours(scorer: Any, images: int) -> Timing:
    started = time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):
        row = scorer.score(STEP)
    seconds = time.perf_counter() - started
    return Timing(seconds, images / seconds, row["mAP"])


def profile(scorer: Any, paths: RunPaths, options: argparse.Namespace) -> None:
    """A table of what a checkpoint is made of; the parts of detection are parts of it too."""
    import tensorflow as tf

    from launcher.evaluate import coco, follow, pictures
    from launcher.evaluate.writers import write_png

    detector = scorer._detector
    predict = tf.function(
        lambda images, shapes: detector.model.predict(images, shapes),
        autograph=False,
        input_signature=detector._infer.input_signature,
    )
    prefix = follow.prefix(paths.checkpoints, STEP)
    detector.restore(prefix)
    batches = [batch[2:] for batch in detector.dataset]
    results = scorer._detect()
    scores = coco.score_fast(scorer._dataset, results)
    drawn = scorer._draw(results)
    sheet = pictures.contact_sheet(drawn)
    parts: dict[str, Callable[[], Any]] = {
        "SHA-256 of the checkpoint": lambda: follow.digest(paths.checkpoints, STEP),
        "restore it": lambda: detector.restore(prefix),
        "detect": scorer._detect,
        "  input alone: read, decode, resize": lambda: [None for _ in detector.dataset],
        "  network alone": lambda: [predict(*batch) for batch in batches],
        "  network, boxes, suppression": lambda: [detector._infer(*batch) for batch in batches],
        "the 12 numbers": lambda: coco.score_fast(scorer._dataset, results),
        "losses in both modes": lambda: scorer._modes.measure(),
        "draw the pictures": lambda: scorer._draw(results),
        "write the contact sheet": lambda: write_png(paths.picture(STEP), sheet),
        "write TensorBoard's file": lambda: scorer._board.write(STEP, scores.numbers, drawn),
        "whole checkpoint": lambda: run_ours(scorer, options.images),
    }
    times = {name: fastest(part, options.rounds) for name, part in parts.items()}
    print(f"{options.images} images\n  {'':<36} {'wall ms':>9} {'CPU ms':>9} {'share':>7}")
    whole = times["whole checkpoint"][0]
    for name, (wall, cpu) in times.items():
        print(f"  {name:<36} {wall:>9.1f} {cpu:>9.1f} {wall / whole:>7.1%}")
    result = {"name": "evaluator_profile", "ratio": round(times["detect"][0] / whole, 3)}
    result |= {"ours": round(times["detect"][0], 1), "peer": round(whole, 1)}
    print(json.dumps(result | {"unit": "ms to detect, of ms a checkpoint"}))


def fastest(part: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Milliseconds of wall and of CPU time; one call before does not count."""
    part()
    times = []
    for _ in range(rounds):
        began, cpu = time.perf_counter(), time.process_time()
        part()
        times.append((time.perf_counter() - began, time.process_time() - cpu))
    wall, cpu = min(times)
    return wall * 1e3, cpu * 1e3


class Peer:
    """What `model_lib_v2.eval_continuously` does before and for each checkpoint."""

    def __init__(self, pipeline: Any, paths: RunPaths, batch: int) -> None:
        import tensorflow as tf
        from object_detection import inputs
        from object_detection.builders import model_builder
        from object_detection.utils import config_util

        pipeline.eval_config.batch_size = batch
        reader = pipeline.eval_input_reader[0]
        reader.num_epochs, reader.shuffle = 1, False
        copy = type(pipeline).FromString(pipeline.SerializeToString())
        self._configs = config_util.create_configs_from_pipeline_proto(copy)
        self._configs["eval_input_config"] = self._configs["eval_input_configs"][0]
        self._model = model_builder.build(copy.model, is_training=True)
        self._input = inputs.eval_input(
            eval_config=copy.eval_config,
            eval_input_config=copy.eval_input_reader[0],
            model_config=copy.model,
            model=self._model,
        )
        self._batch = batch
        self._step = tf.Variable(STEP, trainable=False, dtype=tf.int64)
        self._prefix = str(paths.checkpoints / f"ckpt-{STEP}")
        self._board = str(paths.tensorboard / f"peer-{batch}")

    def run(self, images: int) -> Timing:
        import tensorflow as tf
        from object_detection import model_lib_v2

        clock = Clock(self._input)
        gc.unfreeze()  # ours has told the garbage collector what stays; the peer does not
        started = time.perf_counter()
        checkpoint = tf.train.Checkpoint(model=self._model)
        status = checkpoint.restore(self._prefix).expect_partial()
        writer = tf.summary.create_file_writer(self._board)
        with writer.as_default(), contextlib.redirect_stdout(io.StringIO()):
            metrics = model_lib_v2.eager_eval_loop(
                self._model, self._configs, clock, global_step=self._step
            )
        status.assert_existing_objects_matched()
        ended = time.perf_counter()
        gc.freeze()
        assert clock.batches == -(-images // self._batch), "the loop left images out"
        steady = (images - self._batch) / (ended - clock.second)
        return Timing(ended - started, steady, float(metrics["DetectionBoxes_Precision/mAP"]))


class Clock:
    """A data set that notes when its second batch is asked for: when the first one is done."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self.batches = 0
        self.second = 0.0

    def __iter__(self) -> Iterator[Any]:
        for batch in self._dataset:
            if self.batches == 1:
                self.second = time.perf_counter()
            self.batches += 1
            yield batch


if __name__ == "__main__":
    sys.exit(main())
