"""Our Example is TensorFlow's on the wire."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.records import Example, RecordWriter, make_example, values

FEATURES: dict[str, Any] = {
    "bytes": b"\x00\xff",
    "text": "Straße",
    "texts": ["a", b"b", ""],
    "int": -7,
    "ints": [2**40, 0, -1],
    "float": 0.5,
    "floats": [1, 0.25],
    "array": np.array([1.5, 2.5], np.float32),
    "numbers": np.arange(3),
    "empty": [],
}


def test_values_come_back() -> None:
    example = Example.FromString(make_example(FEATURES).SerializeToString())
    read = {name: list(values(example, name)) for name in [*FEATURES, "missing"]}
    assert read == {
        "bytes": [b"\x00\xff"],
        "text": ["Straße".encode()],
        "texts": [b"a", b"b", b""],
        "int": [-7],
        "ints": [2**40, 0, -1],
        "float": [0.5],
        "floats": [1.0, 0.25],
        "array": [1.5, 2.5],
        "numbers": [0, 1, 2],
        "empty": [],
        "missing": [],
    }
    assert "missing" not in example.features.feature


def test_kinds_are_not_mixed() -> None:
    with pytest.raises(TypeError, match="labels: a feature holds one kind of value, not int, str"):
        make_example({"labels": [1, "two"]})


def test_the_same_features_are_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    for name, features in {"a": FEATURES, "b": dict(reversed(FEATURES.items()))}.items():
        with RecordWriter(tmp_path / name) as writer:
            writer.write(make_example(features))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_records_and_data_load_no_tensorflow(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "import launcher.records, launcher.data, launcher.odapi.label_map\n"
        "light = {'tensorflow', 'object_detection', 'numpy', 'PIL', 'rich'} & set(sys.modules)\n"
        "from launcher.data import make_shapes\n"
        "from launcher.records import expand, locate_damage\n"
        "report = make_shapes(Path(sys.argv[1]), train_images=4, val_images=1)\n"
        "assert locate_damage(expand([report.train, report.val]), 3) is None\n"
        "heavy = {'tensorflow', 'object_detection', 'tf_keras'} & set(sys.modules)\n"
        "print(sorted(light), sorted(heavy))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "shapes")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "[] []\n"


@pytest.mark.tensorflow
def test_tensorflow_reads_our_files_and_we_read_its(tmp_path: Path) -> None:
    from launcher.odapi import compat

    compat.load()
    import tensorflow as tf

    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    with RecordWriter(ours) as writer:
        writer.write(make_example(FEATURES))
        writer.write(b"plain")
    with tf.io.TFRecordWriter(str(theirs)) as tf_writer:
        tf_writer.write(make_example(FEATURES).SerializeToString(deterministic=True))
        tf_writer.write(b"plain")
    assert ours.read_bytes() == theirs.read_bytes()

    first, second = (r.numpy() for r in tf.data.TFRecordDataset(str(ours)))
    assert second == b"plain"
    example = tf.train.Example.FromString(first)
    assert Example.FromString(example.SerializeToString()) == make_example(FEATURES)
    parsed = tf.io.parse_single_example(
        first,
        {
            "ints": tf.io.VarLenFeature(tf.int64),
            "floats": tf.io.VarLenFeature(tf.float32),
            "texts": tf.io.VarLenFeature(tf.string),
            "empty": tf.io.VarLenFeature(tf.float32),
        },
    )
    assert parsed["ints"].values.numpy().tolist() == [2**40, 0, -1]
    assert parsed["floats"].values.numpy().tolist() == [1.0, 0.25]
    assert parsed["texts"].values.numpy().tolist() == [b"a", b"b", b""]
    assert parsed["empty"].values.numpy().tolist() == []
