"""One checkpoint, from its weights to its written scores. Needs TensorFlow, see detector.py."""

import io
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from PIL import Image

from launcher import records
from launcher.contract import RunPaths
from launcher.errors import (
    ConfigError,
    DataError,
    LauncherError,
    OutOfMemoryError,
    StorageError,
)
from launcher.evaluate import coco, examples, follow, pictures
from launcher.evaluate.attempts import Comparison
from launcher.evaluate.both_modes import BothModes, Modes
from launcher.evaluate.detector import CheckpointGone, Detections, Detector
from launcher.evaluate.drawings import Drawings
from launcher.evaluate.ground_truth import GroundTruth, ValImage, encoded_images
from launcher.evaluate.process import say
from launcher.evaluate.writers import TensorBoard, write_png
from launcher.storage import append_jsonl, is_of_the_disk, write_json

SHOWN = 8  # val images in the picture, the same ones for all steps
REPORT_SECONDS = 60.0  # between two progress lines

CocoResult = dict[str, Any]


class Scorer:
    """Scores one checkpoint after the other. `between` is called between batches."""

    def __init__(
        self,
        paths: RunPaths,
        truth: GroundTruth,
        detector: Detector,
        between: Callable[[], None],
        dump: Path | None = None,
        *,
        total_steps: int,
        certified_from: int = 0,
        modes: BothModes | None = None,
    ) -> None:
        """`total_steps`: of the run, over which drawings are spread. `certified_from`: checkpoints
        of earlier steps get their numbers from the fast engine."""
        self._modes = modes
        self._comparison = Comparison(paths)
        self._paths = paths
        self._truth = truth
        self._dataset = truth.to_coco()
        self._by_source_id = {image.source_id: image for image in truth.images}
        self._detector = detector
        self._between = between
        self._dump = dump
        self._certified_from = certified_from
        self._had_room = False  # a whole val set was detected
        self._drawings = Drawings(paths, total_steps)
        self._board = TensorBoard(paths.tensorboard / "eval")
        self._shown = choose(truth.images, SHOWN)
        encoded = encoded_images(self._shown)
        self._pixels = {i: Image.open(io.BytesIO(data)) for i, data in encoded.items()}

    def score(self, step: int, *, certified: bool = False) -> dict[str, Any] | None:
        """The line of eval.jsonl that it wrote; None when the checkpoint is gone. `certified`: the
        numbers are pycocotools', whatever the step."""
        folder = self._paths.checkpoints
        started = time.monotonic()
        say(f"scoring ckpt-{step} on {len(self._truth.images)} images")
        try:
            sha256 = follow.digest(folder, step)
            self._detector.restore(follow.prefix(folder, step))
        except (FileNotFoundError, CheckpointGone):
            say(f"ckpt-{step} was deleted before it could be read: skipped")
            return None
        results = self._detect()
        self._between()
        images = len(self._truth.images)
        speed = images / (time.monotonic() - started)
        scores = self._numbers(results, certified=certified or step >= self._certified_from)
        self._between()
        drawn = self._draw(results)
        picture = self._paths.picture(step)
        write_png(picture, pictures.contact_sheet(drawn))
        self._board.write(step, scores.numbers, drawn if self._drawings.stays(step) else [])
        self._write_dump(step, results)
        self._write_examples(step, results)
        self._between()
        modes = self._compare(step)  # last of all: it may end the process
        row = {
            "step": step,
            "checkpoint": f"{folder.name}/ckpt-{step}",
            "sha256": sha256,
            "time": time.time(),
            "seconds": round(time.monotonic() - started, 3),
            "images": images,
            "detections": len(results),
            "engine": scores.engine,
            **scores.numbers,
            "per_category": scores.per_category,
            "modes": modes.to_json() if modes else None,
            "picture": str(picture.relative_to(self._paths.root)),
        }
        append_jsonl(self._paths.eval_metrics, row)
        self._drawings.thin_out(step)
        say(
            f"step {step}: mAP {row['mAP']:.4f}, AP50 {row['AP50']:.4f}, {len(results)} detections "
            f"({speed:.1f} images/s, {row['seconds']:.1f} s with the scores)"
        )
        return row

    def close(self) -> None:
        self._board.close()

    def _compare(self, step: int) -> Modes | None:
        if self._modes is None or self._modes.impossible or not self._comparison.allowed(step):
            return None
        with self._comparison.begun(step):
            return self._modes.measure()

    def _numbers(self, results: Sequence[CocoResult], *, certified: bool) -> coco.Scores:
        """Of a certified step from both engines: so the curve that led to it is checked too."""
        fast = coco.score_fast(self._dataset, results)
        if not certified:
            return fast
        self._between()
        slow = coco.score(self._dataset, results)
        if (apart := coco.difference(fast, slow)) > coco.EQUAL:
            say(
                f"warning: {fast.engine} and {slow.engine} differ by {apart:.2g} here: trust"
                f" only the rows of eval.jsonl whose engine is {slow.engine}"
            )
        return slow

    def _detect(self) -> list[CocoResult]:
        results: list[CocoResult] = []
        done, started = 0, time.monotonic()
        report = started + REPORT_SECONDS
        try:
            for batch in self._detector.detect():
                self._between()
                for found in batch:
                    results.extend(self._coco_results(found))
                done += len(batch)
                if time.monotonic() >= report:
                    say(f"{done} images, {done / (time.monotonic() - started):.1f} images/s")
                    report += REPORT_SECONDS
        except tf.errors.OpError as e:
            if error := self._explain(e):
                raise error from e
            raise
        if done != len(self._truth.images):
            raise self._changed(f"{done} images, {len(self._truth.images)} before")
        self._had_room = True
        return results

    def _explain(self, error: tf.errors.OpError) -> LauncherError | None:
        """None when neither records nor settings are known to be at fault: a device may fail once,
        and another evaluator is started."""
        text = next(iter(str(error).splitlines()), type(error).__name__)[:300]
        folder = str(self._truth.images[0].path.parent)
        if is_of_the_disk(str(error)):
            return StorageError(
                f"the val records cannot be read now ({text})",
                place=folder,
                remedy="See whether this storage answers",
            )
        if isinstance(error, tf.errors.ResourceExhaustedError):
            much = f"out of memory with {self._detector.batch} images at a time"
            if self._had_room:
                return OutOfMemoryError(
                    f"{much}, which had enough before ({text})",
                    place="the evaluator's device",
                    remedy="See what else uses it",
                )
            return ConfigError(
                much,
                place="batch.per_replica_batch",
                remedy="Lower it, or give the evaluator a larger accelerator",
            )
        if damage := self._find_damage():
            return damage
        if "IteratorGetNext" in str(error) or isinstance(error, tf.errors.DataLossError):
            return DataError(f"the val records cannot be read ({text})", place=folder)
        return None

    def _coco_results(self, found: Detections) -> list[CocoResult]:
        image = self._by_source_id.get(found.source_id)
        if image is None:
            raise self._changed(f'image/source_id "{found.source_id}" is new')
        return [
            {
                "image_id": image.id,
                "category_id": category,
                "bbox": box,
                "score": score,
            }
            for box, score, category in zip(
                found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
            )
        ]

    def _find_damage(self) -> DataError | None:
        """Names the record that TensorFlow could not decode."""
        files = sorted({image.path for image in self._truth.images})
        labels = self._truth.labels
        return records.locate_damage(files, self._truth.num_classes, texts=labels.ids)

    def _changed(self, what: str) -> DataError:
        return DataError(
            f"the val records changed while they were scored: {what}",
            place=str(self._truth.images[0].path.parent),
            remedy="Leave them as they are until the run has ended, then start the evaluator again",
        )

    def _draw(self, results: Sequence[CocoResult]) -> list[Image.Image]:
        wanted: dict[int, list[pictures.Shown]] = {image.id: [] for image in self._shown}
        for result in results:
            if result["image_id"] in wanted:
                wanted[result["image_id"]].append(_shown(result))
        return [
            pictures.draw(
                self._pixels[image.id], _truth_of(image), wanted[image.id], self._truth.categories
            )
            for image in self._shown
        ]

    def _write_examples(self, step: int, results: Sequence[CocoResult]) -> None:
        chosen = examples.choose(examples.rank(self._truth.images, results))
        wanted = [ranked.image for each in chosen.values() for ranked in each]
        pixels = encoded_images(wanted)
        shown = examples.to_json(step, chosen, pixels, self._truth.categories)
        write_json(self._paths.examples, shown)

    def _write_dump(self, step: int, results: Sequence[Mapping[str, Any]]) -> None:
        """The very input of the scores, for pycocotools run by hand."""
        if self._dump is not None:
            write_json(self._dump / "ground_truth.json", self._dataset)
            write_json(self._dump / f"detections-{step}.json", list(results))


def choose(images: Sequence[ValImage], count: int) -> list[ValImage]:
    """`count` images that have boxes, spread over the whole set."""
    with_boxes = [image for image in images if image.boxes]
    if len(with_boxes) <= count:
        return with_boxes
    return [with_boxes[i * len(with_boxes) // count] for i in range(count)]


def _truth_of(image: ValImage) -> list[pictures.Shown]:
    return [pictures.Shown(b.x, b.y, b.width, b.height, b.category) for b in image.boxes]


def _shown(result: CocoResult) -> pictures.Shown:
    x, y, width, height = result["bbox"]
    return pictures.Shown(x, y, width, height, result["category_id"], result["score"])
