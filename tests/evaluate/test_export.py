"""A run's checkpoint exported by the real process, loaded by another, against the evaluator."""

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from launcher.contract import RunPaths
from launcher.errors import ConfigError, StorageError, UsageError
from launcher.evaluate import export as exporter
from launcher.odapi import compat, pipeline
from launcher.records import values
from launcher.storage import read_json, write_json
from launcher.worker_config import WorkerConfig

from .conftest import Val

SIZES = [(100, 50), (64, 128), (150, 150)]
ZOO_OUTPUTS = {
    "detection_anchor_indices", "detection_boxes", "detection_classes",
    "detection_multiclass_scores", "detection_scores", "num_detections", "raw_detection_boxes",
    "raw_detection_scores",
}  # fmt: skip
RELOAD = """
import io, os, pathlib, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
serving = model.signatures["serving_default"]
spec, = serving.structured_input_signature[1].values()
assert (spec.name, spec.dtype, spec.shape[3]) == ("input_tensor", tf.uint8, 3), spec
out = {}
for path in sys.argv[3:]:
    image = tf.io.decode_image(pathlib.Path(path).read_bytes(), channels=3)[tf.newaxis]
    for name, value in model(image).items():
        assert value.dtype == tf.float32, name
        out[f"{pathlib.Path(path).stem}/{name}"] = value[0].numpy()
    named = serving(input_tensor=image)
    assert sorted(named) == sorted(model(image))
twice = tf.repeat(image, 2, axis=0)
both = model(twice)
for name, value in model(image).items():
    np.testing.assert_allclose(both[name][1], value[0], atol=1e-5)
np.savez(sys.argv[2], **out)
"""


@dataclass
class Exported:
    paths: RunPaths
    folder: Path
    val: Val
    records: Path
    sources: dict[str, bytes]  # by source id
    log: str


def make_run(paths: RunPaths, text: str, **changed: Any) -> WorkerConfig:
    config = WorkerConfig(
        name="run", workers=1, gpus_per_worker=0, replicas=1, global_batch=4, per_replica_batch=4,
        accumulation_steps=1, learning_rate=0.1, warmup_learning_rate=0.01, warmup_steps=1,
        total_steps=9, **changed,
    )  # fmt: skip
    write_json(paths.plan, {"worker_config": config.to_json()})
    paths.pipeline.write_text(text)
    return config


def start(*args: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "launcher.evaluate.export", *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def jpeg(val: Val, size: tuple[int, int]) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(val.picture(size, [val.box(1, 9, 9, 30, 30)]))).save(out, "JPEG")
    return out.getvalue()


def save_checkpoints(text: str, folder: Path) -> None:
    """Steps 7 and 9, saved as a worker saves its own: random weights, and other averages."""
    import tensorflow as tf
    from object_detection.builders import model_builder

    from launcher.odapi import averages

    model = model_builder.build(pipeline.parse(text, "test").model, is_training=True)
    model.predict(tf.zeros([1, 128, 128, 3]), tf.constant([[128, 128, 3]]))
    kept = averages.Averages(model, 0.9)
    step = tf.Variable(7, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(step=step, model=model, averages=kept.saved)
    manager = tf.train.CheckpointManager(checkpoint, str(folder), 7, checkpoint_name="ckpt")
    for number in (7, 9):
        random = np.random.default_rng(number)
        for variable in (*model.variables, *(average for average, _ in kept._pairs)):
            numbers = random.normal(0, 0.2, variable.shape).astype("float32")
            is_scale = "variance" in variable.name or "gamma" in variable.name
            variable.assign(np.abs(numbers) + 0.5 if is_scale else numbers)
        manager.save(checkpoint_number=step.assign(number))


@pytest.fixture(scope="module")
def exported(ssd: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A run that keeps averages, and its newest checkpoint exported."""
    compat.load()
    val = Val(tmp_path_factory.mktemp("val"))
    examples = [
        val.record(f"png-{i}", [val.box(1 + i, 5, 5, 40, 30)], size) for i, size in enumerate(SIZES)
    ]
    examples.append(val.record("jpeg", size=(90, 128), image__encoded=jpeg(val, (90, 128))))
    records = val.write(*examples)
    sources = {e.source_id: e.encoded for e in map(_Encoded, examples)}
    paths = RunPaths(tmp_path_factory.mktemp("runs") / "run")
    text = ssd(val.folder)
    make_run(paths, text, ema_decay=0.9)
    save_checkpoints(text, paths.checkpoints)
    process = start(str(paths.root))
    out, log = process.communicate(timeout=300)
    assert process.returncode == 0, log
    return Exported(paths, Path(out.strip()), val, records, sources, log)


class _Encoded:
    def __init__(self, example: Any) -> None:
        self.source_id = values(example, "image/source_id")[0].decode()
        self.encoded = values(example, "image/encoded")[0]


@pytest.mark.tensorflow
def test_the_folder_is_as_a_tarball_of_the_zoo(exported: Exported) -> None:
    folder = exported.folder
    assert folder == exported.paths.root / "export" / "step-9"
    assert {p.name for p in folder.iterdir()} == {
        "saved_model", "checkpoint", "pipeline.config", "export.json",
    }  # fmt: skip
    assert {p.name for p in (folder / "checkpoint").iterdir()} == {
        "checkpoint", "ckpt-0.index", "ckpt-0.data-00000-of-00001",
    }  # fmt: skip
    assert (folder / "saved_model" / "saved_model.pb").is_file()
    assert pipeline.read(folder / "pipeline.config") == pipeline.read(exported.paths.pipeline)
    told = read_json(folder / "export.json")
    assert (told["run"], told["step"]) == ("run", 9)
    assert told["inputs"] == {"input_tensor": {"dtype": "uint8", "shape": [None, None, None, 3]}}
    assert set(told["outputs"]) == ZOO_OUTPUTS
    assert not list(folder.parent.glob(".*")), "nothing half made is left"
    assert f"{folder}: step 9, " in exported.log
    assert "Traceback" not in exported.log


@pytest.mark.tensorflow
def test_its_detections_are_the_evaluators(exported: Exported, tmp_path: Path) -> None:
    from launcher.evaluate.detector import Detector

    images = []
    for source_id, encoded in exported.sources.items():
        images.append(tmp_path / f"{source_id}.image")
        images[-1].write_bytes(encoded)
    saved, out = exported.folder / "saved_model", tmp_path / "out.npz"
    done = subprocess.run(
        [sys.executable, "-c", RELOAD, str(saved), str(out), *map(str, images)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = np.load(out)

    model = pipeline.read(exported.paths.pipeline)
    detector = Detector(model, [exported.records], 4, None, averaged=True)
    detector.restore(exported.paths.checkpoints / "ckpt-9")
    found = [one for some in detector.detect() for one in some]
    assert [f.source_id for f in found] == list(exported.sources)
    for ours in found:
        of = {n: theirs[f"{ours.source_id}/{n}"] for n in ZOO_OUTPUTS}
        count = int(of["num_detections"])
        assert len(ours.scores) == count > 20
        with Image.open(io.BytesIO(exported.sources[ours.source_id])) as image:
            width, height = image.size
        ymin, xmin, ymax, xmax = of["detection_boxes"][:count].T
        sides = np.stack([xmin, ymin, xmax - xmin, ymax - ymin], axis=1)
        np.testing.assert_allclose(ours.boxes / [width, height, width, height], sides, atol=1e-4)
        np.testing.assert_allclose(ours.scores, of["detection_scores"][:count], atol=1e-4)
        np.testing.assert_array_equal(ours.classes, of["detection_classes"][:count])


@pytest.mark.tensorflow
def test_it_is_what_fine_tuning_starts_from(exported: Exported) -> None:
    import tensorflow as tf
    from object_detection.builders import model_builder

    from launcher.runtime import fine_tune

    model = pipeline.read(exported.paths.pipeline)
    built = model_builder.build(model.model, is_training=True)
    built.predict(tf.zeros([1, 128, 128, 3]), tf.constant([[128, 128, 3]]))
    model.train_config.fine_tune_checkpoint = str(exported.folder / "checkpoint" / "ckpt-0")
    model.train_config.fine_tune_checkpoint_type = "full"
    restored = fine_tune.restore(built, model.train_config)
    assert restored.to_json()["restored"] == restored.to_json()["variables"] > 300

    # The averages were exported, not the weights of the last step.
    last = tf.train.load_checkpoint(str(exported.paths.checkpoints / "ckpt-9"))
    values = tf.train.load_checkpoint(model.train_config.fine_tune_checkpoint)
    key = next(
        k for k in values.get_variable_to_shape_map() if k.startswith("model/_box_predictor")
    )
    assert not np.array_equal(last.get_tensor(key), values.get_tensor(key))


def test_a_checkpoint_that_is_not_there(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        exporter.choose_step(exported.paths, 8)
    assert str(caught.value) == (
        f"{exported.paths.checkpoints}: no checkpoint of step 8: there are those of 7, 9. "
        "Give one of these with --step"
    )
    assert exporter.choose_step(exported.paths, 7) == 7
    process = start(str(tmp_path))
    out, log = process.communicate(timeout=60)
    assert (process.returncode, out) == (64, "")
    assert log == (
        f"error: {tmp_path}/checkpoints: the run has no checkpoint yet. Train it first: the last "
        "step always has one\n"
    )
    assert not list(tmp_path.iterdir())


def test_the_newest_is_the_newest_when_the_model_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = RunPaths(tmp_path)
    steps = [5, 6]

    def write(*args: Any) -> dict[str, Any]:
        step, folder = args[-2:]
        if step == 5:
            raise exporter.DeletedError("deleted")
        (folder / "saved_model.pb").touch()
        return {"step": step}

    make_run(paths, "model { ssd { num_classes: 3 } }")
    monkeypatch.setattr(exporter, "choose_step", lambda paths, step: step or steps.pop(0))
    monkeypatch.setattr(exporter, "_write", write)
    folder = exporter.export(paths, None, None, replace=False)
    assert folder == paths.root / "export" / "step-6"
    assert [path.name for path in folder.parent.iterdir()] == ["step-6"]
    with pytest.raises(ConfigError, match="deleted"):
        exporter.export(paths, 5, None, replace=False)


def test_nothing_is_overwritten_by_accident(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds an exported model already"):
        exporter.check_output(exported.folder, replace=False)
    exporter.check_output(exported.folder, replace=True)
    (tmp_path / "thesis.tex").touch()
    for replace in (False, True):
        with pytest.raises(UsageError, match="exists and is not an exported model"):
            exporter.check_output(tmp_path, replace=replace)
    (tmp_path / "empty").mkdir()
    exporter.check_output(tmp_path / "empty", replace=False)
    with pytest.raises(StorageError), exporter.Hidden(tmp_path / "thesis.tex" / "model"):
        pass


def test_a_replaced_folder_is_whole_at_any_time(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for number in (1, 2):
        with exporter.Hidden(folder) as hidden:
            (hidden / "export.json").write_text(json.dumps(number))
            exporter.put(hidden, folder)
        assert json.loads((folder / "export.json").read_text()) == number
        assert [p.name for p in tmp_path.iterdir()] == ["model"]
    with exporter.Hidden(folder) as hidden:
        (hidden / "half").touch()  # and never put in place
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_sigterm_leaves_nothing(exported: Exported, tmp_path: Path) -> None:
    process = start(str(exported.paths.root), "--step", "7", "-o", str(tmp_path / "model"))
    while not list(tmp_path.iterdir()):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 143, log
    assert "Traceback" not in log
    assert not list(tmp_path.iterdir())
