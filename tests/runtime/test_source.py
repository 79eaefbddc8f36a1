"""A worker's records without TensorFlow: what it takes for the same data after a restart."""

from pathlib import Path

import pytest

from launcher.errors import DataError, StorageError
from launcher.records import RecordWriter, make_example
from launcher.records.index import Order, index_records
from launcher.runtime.source import Share, Source


def source(files: list[Path]) -> Source:
    index = index_records(files)
    return Source(index, Order(len(index), 0), Share(2, 1, 8), num_classes=3)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "data" / f"train.record-0000{i}-of-00002" for i in range(2)]
    paths[0].parent.mkdir()
    for path in paths:
        with RecordWriter(path) as writer:
            for r in range(10):
                writer.write(make_example({"image/source_id": f"{path.name[-10]}/{r}"}))
    return paths


def test_a_run_goes_on_with_the_records_it_began_with(files: list[Path], tmp_path: Path) -> None:
    known = tmp_path / "run" / "records.json"
    source(files).require_same_records(known, done=0, worker=1)
    assert not known.exists(), "worker 0 writes it"
    source(files).require_same_records(known, done=0, worker=0)
    for worker in range(2):
        source(files).require_same_records(known, done=7, worker=worker)
    with pytest.raises(DataError) as caught:
        source(files[:1]).require_same_records(known, done=7, worker=1)
    (problem,) = caught.value.problems
    assert problem.place == str(tmp_path / "data")
    assert problem.what == "10 train records in 1 files, the run began with 20 in 2"
    assert f"delete {known} and submit with --resume" in problem.remedy
    # Nothing was trained yet: the data may be put right.
    source(files[:1]).require_same_records(known, done=0, worker=0)
    source(files[:1]).require_same_records(known, done=1, worker=0)


def test_a_step_that_cannot_be_read_is_told_and_nothing_raised(files: list[Path]) -> None:
    ours = source(files)
    assert len(ours.source_ids(1)) == 8
    files[0].unlink()
    files[1].unlink()
    assert ours.describe(1).startswith("its images cannot be named (")
    with pytest.raises(StorageError):
        ours.source_ids(1)
    assert ours.find_damage(0) is None


def test_many_source_ids_are_in_the_log(files: list[Path]) -> None:
    said: list[str] = []
    index = index_records(files)
    ours = Source(index, Order(20, None), Share(1, 0, 100), num_classes=3, say=said.append)
    told = ours.describe(2)
    assert told.startswith("source ids of its 100 images: 0/0, 0/1, ")
    assert told.endswith(" and 36 more (all in the log)")
    assert said[0].startswith("source ids of step 2: 0/0 0/1 ")
    assert len(said[0].split()) == 105
