"""Names of a checkpoint's index, read without TensorFlow."""

import random
from pathlib import Path

import pytest

from launcher.records import checkpoint_table


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that TensorFlow wrote, with names that share their beginnings."""
    from launcher.odapi import compat

    compat.load()
    import tensorflow as tf

    model = tf.Module()
    model.layers = [tf.Variable(tf.zeros([2])) for _ in range(300)]
    folder = tmp_path_factory.mktemp("saved")
    prefix = tf.train.Checkpoint(model=model, step=tf.Variable(0)).write(str(folder / "ckpt"))
    return Path(f"{prefix}.index")


@pytest.mark.tensorflow
def test_all_names_are_read(saved: Path) -> None:
    import tensorflow as tf

    expected = sorted(
        tf.train.load_checkpoint(str(saved.with_suffix(""))).get_variable_to_dtype_map()
    )
    assert checkpoint_table.names(saved) == expected
    assert len(expected) > 300
    assert checkpoint_table.roots(saved) == {"model", "step"}


@pytest.mark.tensorflow
def test_damage_is_no_names_and_never_an_exception(saved: Path, tmp_path: Path) -> None:
    good, path = saved.read_bytes(), tmp_path / "damaged.index"
    chance = random.Random(0)
    for _ in range(100):
        damaged = bytearray(good)
        damaged[chance.randrange(len(good))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(damaged))
        assert checkpoint_table.names(path) is None or checkpoint_table.roots(path) is not None
        path.write_bytes(good[: chance.randrange(len(good))])
        checkpoint_table.names(path)


def test_what_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "no.index"
    assert checkpoint_table.names(path) is None
    for content in (b"", b"x" * 47, b"\xff" * 100, b"\0" * 100):
        path.write_bytes(content)
        assert not checkpoint_table.names(path)


@pytest.mark.tensorflow
def test_shapes_are_those_that_tensorflow_reads(tmp_path: Path) -> None:
    import tensorflow as tf

    made = {"kernel": [3, 3, 3, 300], "scalar": [], "none": [0], "long": [70_000, 1]}
    variables = {name: tf.Variable(tf.zeros(shape)) for name, shape in made.items()}
    prefix = tf.train.Checkpoint(**variables).write(str(tmp_path / "ckpt"))
    found = checkpoint_table.shapes(Path(f"{prefix}.index"))
    expected = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    assert found == {name: tuple(shape) for name, shape in expected.items()}
    assert found["kernel/.ATTRIBUTES/VARIABLE_VALUE"] == (3, 3, 3, 300)
    good = Path(f"{prefix}.index").read_bytes()
    chance = random.Random(1)
    for _ in range(300):
        damaged = bytearray(good)
        damaged[chance.randrange(len(good))] ^= 1 << chance.randrange(8)
        (tmp_path / "damaged.index").write_bytes(bytes(damaged))
        checkpoint_table.shapes(tmp_path / "damaged.index")
