"""The records that one worker reads: which, in which order, and what is wrong with them.

tf.data calls `Source.read` from its threads. That it is Python has three reasons: the position of
the input is a number (records/index.py), a damaged record is named at once, and a read that never
returns stands in the stacks that the watchdog prints.
"""

import math
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from launcher.errors import DataError, LauncherError
from launcher.records import Example, source_id
from launcher.records.fingerprint import Fingerprint, of_index
from launcher.records.index import Order, RecordIndex
from launcher.storage import read_json, write_json

_NAMED = 64
"""Source ids in a message: more make it unreadable; the log has all of them."""


@dataclass(frozen=True)
class Share:
    """Which images of the group's order are this worker's.

    Of the `step_images` of every step, worker 0 takes the first part, worker 1 the next, ...
    """

    workers: int
    worker: int
    step_images: int

    @property
    def images(self) -> int:
        """Of one step."""
        return self.step_images // self.workers

    def position(self, count: Any) -> Any:
        """In the group's order, of the worker's image number `count` from the run's beginning.

        Both are numbers or tensors.
        """
        step, image = count // self.images, count % self.images
        return step * self.step_images + self.worker * self.images + image


class Source:
    """Reads by count: image 0, 1, 2, ... of this worker since the run's beginning."""

    def __init__(
        self,
        index: RecordIndex,
        order: Order,
        share: Share,
        *,
        num_classes: int,
        texts: dict[str, int] | None = None,
        max_bad_records: int = 0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._index = index
        self._order = order
        self.share = share
        self._num_classes = num_classes
        self._texts = texts
        self._max_bad = max_bad_records
        self._say = say or _to_stderr
        self._lock = threading.Lock()
        self._handed_out = 0
        self._reading: dict[int, tuple[float, int]] = {}  # by thread: since when, which image
        self.bad: dict[int, DataError] = {}
        """The records that were skipped, by their number in the index."""
        self.failure: LauncherError | None = None
        """What `read` or `skip` raised: an exception does not cross TensorFlow as itself."""

    @property
    def tolerant(self) -> bool:
        return self._max_bad > 0

    def require_same_records(self, known: Path, *, done: int, worker: int) -> None:
        """Raises DataError when a run that has trained began with another number of records.

        A shard that is gone is not missed by a pattern, and all positions would name other images.
        """
        now = {"records": len(self._index), "files": len(self._index.files)}
        before = read_json(known)
        if done and isinstance(before, dict) and before != now:
            raise DataError(
                f"{now['records']:,} train records in {now['files']:,} files, the run began with "
                f"{before.get('records'):,} in {before.get('files'):,}",
                place=str(self._index.files[0].parent),
                remedy="Put the files back as they were; or, if they were changed on purpose, "
                f"delete {known} and submit with --resume: another order of images begins",
            )
        if worker == 0 and before != now:
            write_json(known, now)

    def fingerprint(self) -> Fingerprint:
        """Of all train records, whoever reads them. Raises StorageError."""
        return of_index(self._index)

    def record(self, count: int) -> int:
        return self._order.at(self.share.position(count))

    def read(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
        """The records' data. A damaged one is "" when some may be skipped: decoding finds it."""
        data = np.empty(len(counts), dtype=object)
        with self._remembered():
            for i, count in enumerate(counts.tolist()):
                self._handed_out = max(self._handed_out, count + 1)
                self._reading[threading.get_ident()] = (time.monotonic(), count)
                try:
                    data[i] = self._index.read(self.record(count))
                except DataError:
                    if not self.tolerant:
                        raise
                    data[i] = b""
                finally:
                    del self._reading[threading.get_ident()]
        return data

    def stuck(self, seconds: float) -> str:
        """The place of the record whose reading takes longest, if it takes longer than that."""
        since, count = min(list(self._reading.values()), default=(math.inf, 0))
        late = time.monotonic() - since > seconds
        return self._index.place(self.record(count)) if late else ""

    def skip(self, start: int, end: int) -> None:
        """Count the images `start` to `end`, which could not be decoded.

        Raises DataError when there are more of them than max_bad_records allows.
        """
        with self._remembered(), self._lock:
            if self.failure:  # the reader stopped for another reason than a damaged record
                raise self.failure
            for count in range(start, end):
                self._count(self.record(count))

    def _count(self, record: int) -> None:
        if record in self.bad:
            return  # met in an earlier epoch, or as a stand-in
        error = self._examined(record) or DataError(
            "cannot be decoded by TensorFlow", place=self._index.place(record)
        )
        self.bad[record] = error
        if len(self.bad) > self._max_bad:
            (problem,) = error.problems
            raise DataError(
                f"{problem.what}: bad record {len(self.bad)} of this worker, "
                f"data.max_bad_records allows {self._max_bad}",
                place=problem.place,
                remedy=problem.remedy,
            )
        self._say(f"skipped bad record {len(self.bad)} of at most {self._max_bad}: {error}")

    def find_damage(self, since_step: int) -> DataError | None:
        """The first bad record among those read for the steps after `since_step`.

        They are as many as lie between reading and training: a few batches.
        """
        for count in range(since_step * self.share.images, self._handed_out):
            try:
                if error := self._examined(self.record(count)):
                    return error
            except LauncherError:
                return None  # it cannot be read any more: the disk, not the record
        return None

    def _examined(self, record: int) -> DataError | None:
        return self._index.damage(record, self._num_classes, self._texts)

    def source_ids(self, step: int) -> list[str]:
        """Of the whole group's images in a step (1 is the first), in their order."""
        first = (step - 1) * self.share.step_images
        return [
            source_id(Example.FromString(self._index.read(self._order.at(position))))
            for position in range(first, first + self.share.step_images)
        ]

    def describe(self, step: int) -> str:
        """The images of a step for a message, or why they cannot be named."""
        try:
            ids = self.source_ids(step)
        except Exception as e:  # a message about another fault must not fail for this one
            return f"its images cannot be named ({e})"
        more = f" and {len(ids) - _NAMED} more (all in the log)" if len(ids) > _NAMED else ""
        if more:
            self._say(f"source ids of step {step}: {' '.join(ids)}")
        return f"source ids of its {len(ids)} images: {', '.join(ids[:_NAMED])}{more}"

    def _remembered(self) -> "_Remembered":
        return _Remembered(self)


class _Remembered:
    """Keeps the error that leaves the block, the first one of them."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, LauncherError) and self._source.failure is None:
            self._source.failure = error


def _to_stderr(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201
