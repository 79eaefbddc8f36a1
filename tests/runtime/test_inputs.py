"""Over one epoch the workers together read every record exactly once."""

from collections import Counter
from pathlib import Path

import pytest

from launcher.odapi import compat
from launcher.records import RecordWriter

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """100 files of 1 to 7 records, each record its own name."""
    folder = tmp_path_factory.mktemp("records")
    paths = [folder / f"train.record-{i:05d}-of-00100" for i in range(100)]
    for i, path in enumerate(paths):
        with RecordWriter(path) as writer:
            for r in range(1 + i % 7):
                writer.write(f"{i}/{r}".encode())
    return paths


def everything(files: list[Path]) -> Counter[bytes]:
    return Counter(f"{i}/{r}".encode() for i in range(len(files)) for r in range(1 + i % 7))


def read(files: list[Path], workers: int, worker: int, **more: int) -> list[bytes]:
    compat.load()
    from launcher.runtime.inputs import sharded_records

    dataset = sharded_records(files, workers=workers, worker=worker, **({"seed": 0} | more))
    return list(dataset.as_numpy_iterator())


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_one_epoch_of_100_files(files: list[Path], workers: int) -> None:
    parts = [read(files, workers, w, epochs=1) for w in range(workers)]
    assert sum(map(Counter, parts), Counter()) == everything(files)
    assert all(parts), "a worker without records would hold up the others"


@pytest.mark.parametrize(("count", "workers"), [(1, 2), (3, 8), (7, 8)])
def test_fewer_files_than_workers(files: list[Path], count: int, workers: int) -> None:
    some = files[6 : 6 + count]  # the first of them has 7 records
    parts = [read(some, workers, w, epochs=1) for w in range(workers)]
    expected = Counter(
        f"{6 + i}/{r}".encode() for i in range(count) for r in range(1 + (6 + i) % 7)
    )
    assert sum(map(Counter, parts), Counter()) == expected


def test_three_epochs_read_everything_three_times(files: list[Path]) -> None:
    parts = [read(files, 4, w, epochs=3) for w in range(4)]
    assert sum(map(Counter, parts), Counter()) == Counter(dict.fromkeys(everything(files), 3))


def test_order_is_the_seeds_and_changes_from_epoch_to_epoch(files: list[Path]) -> None:
    first = read(files, 2, 0, epochs=1)
    assert first == read(files, 2, 0, epochs=1)
    assert first != read(files, 2, 0, epochs=1, seed=1)
    assert first != read(files, 2, 0, epochs=1, first_epoch=5)
    assert first != sorted(first)
