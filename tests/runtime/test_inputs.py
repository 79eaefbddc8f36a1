"""The stream of images: one order for the whole group, from any position, past bad records."""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.errors import ConfigError, DataError
from launcher.odapi import compat
from launcher.records import Example, RecordWriter, read_records
from launcher.records.index import Order, index_records
from tests.runtime.small_pipelines import demo_pipeline, small_recipe

pytestmark = pytest.mark.tensorflow

STEP = 24  # images of a step in the tests of the order
SIDE = 128
SIZES = {"PrefetchDataset": 1, "ParallelMapDatasetV2": -1}  # the input that says how many

# Together these have all the augmentations of published recipes.
AUGMENTED = (
    "efficientdet_d0",
    pytest.param("faster_rcnn_resnet50_v1_1024", marks=pytest.mark.slow),
    pytest.param("ssd_mobilenet_v2_320", marks=pytest.mark.slow),
    pytest.param("centernet_hourglass104_512", marks=pytest.mark.slow),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """100 files of 1 to 7 records, 397 in all, each record its own name."""
    folder = tmp_path_factory.mktemp("records")
    paths = [folder / f"train.record-{i:05d}-of-00100" for i in range(100)]
    for i, path in enumerate(paths):
        with RecordWriter(path) as writer:
            for r in range(1 + i % 7):
                writer.write(f"{i}/{r}".encode())
    return paths


def read(
    files: Sequence[Path], count: int, *, workers: int = 1, worker: int = 0, step: int = 0
) -> list[bytes]:
    """This worker's next `count` records after `step`."""
    compat.load()
    from launcher.runtime.inputs import serialized
    from launcher.runtime.source import Share, Source

    index = index_records(files)
    share = Share(workers, worker, STEP)
    source = Source(index, Order(len(index), 0), share, num_classes=3)
    stream = serialized(source, step * share.images).take(count)
    return [data for _, data in stream.as_numpy_iterator()]


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_the_images_of_a_step_do_not_depend_on_the_workers(files: list[Path], workers: int) -> None:
    steps = 40
    whole = read(files, steps * STEP)
    share = STEP // workers
    parts = [read(files, steps * share, workers=workers, worker=w) for w in range(workers)]
    for step in range(steps):
        together = [x for part in parts for x in part[step * share : (step + 1) * share]]
        assert together == whole[step * STEP : (step + 1) * STEP]


@pytest.mark.parametrize("some", [1, 3, 100])
def test_each_epoch_reads_every_record_once(files: list[Path], some: int) -> None:
    """With fewer files than workers as well: they share records, not files."""
    expected = Counter(f"{i}/{r}".encode() for i in range(some) for r in range(1 + i % 7))
    records = read(files[:some], 3 * expected.total())
    for epoch in range(3):
        part = records[epoch * expected.total() : (epoch + 1) * expected.total()]
        assert Counter(part) == expected


def test_a_resumed_stream_goes_on_where_it_was(files: list[Path]) -> None:
    """Step 17 is in the second epoch of 397 records."""
    whole = read(files, 40 * 12, workers=2, worker=1)
    assert read(files, 23 * 12, workers=2, worker=1, step=17) == whole[17 * 12 :]


def test_more_or_fewer_workers_go_on_at_the_same_image(files: list[Path]) -> None:
    whole = read(files, 20 * STEP)
    after = [read(files, 10 * 8, workers=3, worker=w, step=10) for w in range(3)]
    assert [x for part in after for x in part[:8]] == whole[10 * STEP : 11 * STEP]


def test_memory_and_files_do_not_grow_with_the_shards(tmp_path: Path) -> None:
    """1,000 files, 60 MB in all, read one and a half times: held are those on their way."""
    record = np.random.default_rng(0).bytes(15_000)
    paths = [tmp_path / f"train.record-{i:05d}-of-01000" for i in range(1000)]
    for i, path in enumerate(paths):
        with RecordWriter(path) as writer:
            for r in range(4):
                writer.write(f"{i}/{r}".encode() + record)
    read(paths[:10], 400)  # what TensorFlow takes once
    compat.load()
    from launcher.runtime.inputs import serialized
    from launcher.runtime.source import Share, Source

    index = index_records(paths)
    source = Source(index, Order(len(index), 0), Share(1, 0, STEP), num_classes=3)
    before, most = resident_bytes(), 0
    for i, _ in enumerate(serialized(source).take(6000)):
        if i % 500 == 0:
            most = max(most, resident_bytes())
            assert len(list(Path("/proc/self/fd").iterdir())) < 100
    assert most - before < 30e6, f"{(most - before) / 1e6:.0f} MB"


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Squares:
    """What the input needs of a model: images of one size."""

    def preprocess(self, images: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        return tf.image.resize(images, [SIDE, SIDE]) / 255.0, tf.constant([[SIDE, SIDE, 3]])


@pytest.fixture(scope="module")
def model() -> Squares:
    compat.load()
    return Squares()


def elements(message: Any, model: Any, count: int, **more: Any) -> list[tuple[Any, Any]]:
    from launcher.runtime.inputs import train_dataset

    stream = train_dataset(message, model, batch=4, step_images=8, seed=1, **more)
    return list(stream.take(count).as_numpy_iterator())


def same(one: Any, other: Any) -> bool:
    return all(
        part.keys() == again.keys() and all(np.array_equal(part[k], again[k]) for k in part)
        for part, again in zip(one, other, strict=True)
    )


def test_augmentation_that_the_od_api_cannot_build_is_told(shapes: Path, model: Any) -> None:
    message = small_recipe(AUGMENTED[0], shapes, side=SIDE, batch=8)
    message.train_config.data_augmentation_options.add()
    with pytest.raises(ConfigError, match=r"cannot make its input .Unknown preprocessing step"):
        elements(message, model, 1)


@pytest.mark.parametrize("recipe", AUGMENTED)
def test_augmented_images_are_those_of_their_position(
    shapes: Path, model: Any, recipe: str
) -> None:
    """Resumed, on two workers, with other threads: the same pictures and boxes."""
    message = small_recipe(recipe, shapes, side=SIDE, batch=8)
    whole = elements(message, model, 20)
    resumed = elements(message, model, 6, first_step=3, workers=2, worker=1, threads=1)
    assert all(same(a, b) for a, b in zip(whole[7::2], resumed, strict=False))
    # Nor are two looks at one image the same: the second epoch begins after 64 images.
    looks = [(int(h), i) for f, _ in whole for h, i in zip(f["hash"], f["image"], strict=True)]
    first, again = dict(looks[:64]), looks[64:]
    assert len(first) == 64
    # (Where nothing but a flip is drawn, chance gives some the same picture.)
    assert sum(np.array_equal(first[h], image) for h, image in again) <= 4


def test_what_is_read_ahead_stays_within_its_bound(shapes: Path, model: Any) -> None:
    """Under a consumer that lets all of it fill up and then empties it, again and again: a prefetch
    that tunes itself doubles each time."""
    from launcher.runtime import inputs
    from launcher.runtime.input_count import InputCount

    message = demo_pipeline(shapes, batch=8, steps=4)
    source = source_of(message, [], 0)
    batch, threads, taken, most = 6, 2, 0, 0
    stream = iter(
        InputCount(1).counted(
            inputs.train_dataset(message, model, batch=batch, threads=threads, source=source)
        )
    )
    pulled = 1
    for _ in range(8):
        for _ in range(pulled):
            next(stream)
            taken += batch
        ahead = settled(lambda: source._handed_out) - taken
        most = max(most, ahead)
        pulled = 2 * ahead // batch
    encoded = inputs._CHUNK * (inputs._CALLS + 1)
    decoding = 2 * threads
    assert encoded < most <= encoded + decoding + batch * inputs._READY, most


def settled(number: Callable[[], int]) -> int:
    """Once it has not changed for a while."""
    last, since = number(), time.monotonic()
    while time.monotonic() < since + 0.5:
        time.sleep(0.05)
        if number() != last:
            last, since = number(), time.monotonic()
    return last


def test_nothing_in_the_input_grows_by_itself(
    shapes: Path, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    from launcher.runtime import cgroup, inputs

    monkeypatch.setattr(cgroup, "memory_limit", lambda: 6 << 30)
    message = demo_pipeline(shapes, batch=8, steps=4)
    stream = inputs.train_dataset(message, model, batch=2, threads=3)
    graph = tf.compat.v1.GraphDef.FromString(stream._as_serialized_graph().numpy())
    nodes = {n.name: n for n in graph.node}
    sizes = [
        (n.op, int(tf.make_ndarray(nodes[n.input[SIZES[n.op]]].attr["value"].tensor)))
        for n in graph.node
        if n.op in SIZES
    ]
    assert sizes == [
        ("ParallelMapDatasetV2", inputs._CALLS),
        ("ParallelMapDatasetV2", 3),
        ("ParallelMapDatasetV2", 3),
        ("PrefetchDataset", inputs._READY),
    ]
    options = stream.options()
    assert options.autotune.ram_budget == 3 << 30
    assert options.experimental_optimization.apply_default_optimizations is False
    monkeypatch.setattr(cgroup, "memory_limit", lambda: None)
    stream = inputs.train_dataset(message, model, batch=2, threads=3)
    assert stream.options().autotune.ram_budget is None


def changed(path: Path, number: int, change: Callable[[Any], None]) -> None:
    """One record of a file, rewritten."""
    records = [Example.FromString(r.data) for r in read_records(path)]
    change(records[number].features.feature)
    with RecordWriter(path) as writer:
        for record in records:
            writer.write(record)


def no_image(features: Any) -> None:
    encoded = features["image/encoded"].bytes_list.value
    encoded[0] = encoded[0][: len(encoded[0]) // 2]


def no_box(features: Any) -> None:
    features["image/object/bbox/xmax"].float_list.value[0] = float("nan")


@pytest.fixture
def damaged(shapes: Path, tmp_path: Path) -> Path:
    """The drawn data with three bad records of 64: half an image, no box, a flipped bit."""
    for file in shapes.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    paths = sorted(tmp_path.glob("train.record-*"))
    changed(paths[0], 5, no_image)
    changed(paths[1], 0, no_box)
    content = bytearray(paths[2].read_bytes())
    content[index_records(paths[2:3]).where(9)[2] + 40] ^= 4
    paths[2].write_bytes(content)
    return tmp_path


def source_of(message: Any, said: list[str], max_bad_records: int) -> Any:
    from launcher.runtime.inputs import make_source
    from launcher.runtime.source import Share

    share = Share(1, 0, 8)
    return make_source(message, share, seed=1, max_bad_records=max_bad_records, say=said.append)


def test_bad_records_are_counted_and_skipped(shapes: Path, damaged: Path, model: Any) -> None:
    """Two epochs: each is counted once, and the images around them are those of a good data set."""
    said: list[str] = []
    message = demo_pipeline(damaged, batch=8, steps=4)
    source = source_of(message, said, 3)
    found = elements(message, model, 32, source=source)
    places = sorted(map(source._index.place, source.bad))
    paths = sorted(damaged.glob("train.record-*"))
    assert [p.split(" at byte")[0] for p in places] == [
        f"{paths[0]}: record 5", f"{paths[1]}: record 0", f"{paths[2]}: record 9"
    ]  # fmt: skip
    lines = [line for line in said if "skipped" in line]
    assert len(lines) == 3
    for what in ("image that cannot be decoded", "box 0 (ymin", "damaged data: its"):
        assert sum(what in line for line in lines) == 1, lines
    assert lines[0].startswith("skipped bad record 1 of at most 3: ")

    bad = {source.record(count) for count in range(128)} & set(source.bad)
    good = elements(demo_pipeline(shapes, batch=8, steps=4), model, 32)
    hashes = [int(h) for features, _ in found for h in features["hash"]]
    expected = [int(h) for features, _ in good for h in features["hash"]]
    differ = [i for i, (a, b) in enumerate(zip(hashes, expected, strict=True)) if a != b]
    assert {source.record(i) for i in differ} == bad
    assert len(differ) == 6, "three records in each of two epochs"
    for i in differ:
        later = next(n for n in range(i + 1, 128) if n not in differ)
        assert hashes[i] == expected[later], "the next good one stands in"


def test_one_bad_record_too_many_ends_with_its_place(damaged: Path, model: Any) -> None:
    import tensorflow as tf

    from launcher.runtime import failures

    message = demo_pipeline(damaged, batch=8, steps=4)
    source = source_of(message, [], 2)
    with pytest.raises(tf.errors.OpError) as caught:
        elements(message, model, 16, source=source)
    error = failures.explain(caught.value, workers=1, source=source, done=0)
    assert isinstance(error, DataError)
    assert "bad record 3 of this worker, data.max_bad_records allows 2" in str(error)


@pytest.mark.parametrize(
    ("shard", "what"),
    [
        (0, r"record 5 at byte \d+, source id \d+: image/encoded is an image that cannot be"),
        (1, r"record 0 at byte \d+, source id \d+: box 0 \(ymin .* is outside its image"),
        (2, r"record 9 at byte \d+: damaged data: its \d+ bytes have the masked CRC-32C"),
    ],
)
def test_without_leave_to_skip_it_ends_with_its_place(
    shapes: Path, damaged: Path, model: Any, shard: int, what: str
) -> None:
    import tensorflow as tf

    from launcher.runtime import failures

    for path in damaged.glob("train.record-*"):
        if not path.name.startswith(f"train.record-0000{shard}"):
            path.write_bytes((shapes / path.name).read_bytes())
    message = demo_pipeline(damaged, batch=8, steps=4)
    source = source_of(message, [], 0)
    with pytest.raises(tf.errors.OpError) as caught:
        elements(message, model, 16, source=source)
    error = failures.explain(caught.value, workers=1, source=source, done=0)
    assert isinstance(error, DataError)
    assert error.problems[0].place.startswith(f"{damaged}/train.record-0000{shard}-of-00004: rec")
    assert re.search(what, str(error)), error


def test_source_ids_name_the_images_of_a_step(shapes: Path, model: Any) -> None:
    import tensorflow as tf

    message = demo_pipeline(shapes, batch=8, steps=4)
    source = source_of(message, [], 0)
    ids = source.source_ids(3)
    assert len(set(ids)) == 8
    trained = elements(message, model, 2, source=source, first_step=2)
    hashes = {int(h) for features, _ in trained for h in features["hash"]}
    assert {int(tf.strings.to_hash_bucket_fast(i, 1 << 31)) for i in ids} == hashes
    assert source.describe(3) == f"source ids of its 8 images: {', '.join(ids)}"
