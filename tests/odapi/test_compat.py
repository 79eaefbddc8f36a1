"""Each shim is needed: without it, its symptom is there. With all, the OD API imports."""

import os
import re
import subprocess
import sys

import pytest

from launcher.errors import ConfigError, MissingExtraError
from launcher.odapi import compat

USE = {
    "legacy_keras": ("import tensorflow as tf; tf.keras.layers.experimental.SyncBatchNormalization",
                     "tf_keras|keras|experimental"),
    "generated_messages": ("from object_detection.protos import ssd_pb2",
                           "Descriptors cannot be created directly"),
    "estimator": ("from object_detection import inputs", "estimator"),
    "control_flow": ("import tensorflow as tf; from tf_slim import tfexample_decoder;"
                     "jpeg = tf.io.encode_jpeg(tf.zeros([8, 8, 3], tf.uint8));"
                     "image = tfexample_decoder.Image(image_key='e', format_key='f');"
                     "image.tensors_to_item({'e': jpeg, 'f': tf.constant('jpeg')})",
                     "control_flow_ops.*has no attribute"),
    "tensorflow_io": ("from object_detection.meta_architectures import deepmac_meta_arch",
                      "No module named 'tensorflow_io'|tensorflow_io"),
    "resnet_blocks": ("from object_detection.models.keras_models import resnet_v1;"
                      "resnet_v1.resnet_v1_50(batchnorm_training=False, weights=None)",
                      "keras|layers"),
}  # fmt: skip


def run(without: str | None, use: str) -> subprocess.CompletedProcess[str]:
    code = (
        "from launcher.odapi import compat\n"
        f"compat.SHIMS = tuple(s for s in compat.SHIMS if s.__name__ != {without!r})\n"
        f"compat.load()\n{use}"
    )
    clean = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=clean,
    )


def test_every_shim_is_tested() -> None:
    assert {shim.__name__ for shim in compat.SHIMS} == set(USE)


@pytest.mark.tensorflow
def test_with_all_shims_every_use_works() -> None:
    result = run(None, "\n".join(use for use, _ in USE.values()))
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.tensorflow
@pytest.mark.parametrize("shim", USE)
def test_without_the_shim_its_symptom_is_there(shim: str) -> None:
    use, symptom = USE[shim]
    result = run(shim, use)
    assert result.returncode != 0
    assert re.search(symptom, result.stderr), result.stderr[-1500:]


def test_an_untried_version_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "installed_version", lambda names: "3.0.1")
    with pytest.raises(ConfigError) as e:
        compat.check_versions()
    assert str(e.value) == (
        "this Python environment: tensorflow 3.0.1 was never tried with the Object Detection API, "
        "2.21 was. pip install 'tensorflow==2.21.*'"
    )


def test_a_longer_version_number_is_not_a_tried_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "installed_version", lambda names: "2.210")
    with pytest.raises(ConfigError, match=r"2\.210 was never tried"):
        compat.check_versions()


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "installed_version", lambda names: None)
    with pytest.raises(MissingExtraError, match=r"tensorflow is not installed. pip install"):
        compat.check_versions()


def test_what_is_installed_here_was_tried() -> None:
    compat.check_versions()
