"""The OD API 2.8 on TensorFlow 2.21: one call, `load()`, before anything imports either.

The installed packages stay as they are. Each shim below stands beside the symptom that it mends;
tests/odapi/test_compat.py takes each away and sees the symptom come back. (One more symptom is
mended by not calling the code: the OD API's drawing wants Pillow < 10, we draw ourselves.)
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from types import ModuleType

from google.protobuf.internal import builder

from launcher.errors import ConfigError, MissingExtraError
from launcher.odapi import protos

TRIED = {
    ("tensorflow", "tensorflow-cpu"): "2.21",
    ("tf-keras",): "2.21",
    ("protobuf",): "7.36",
    ("tf-models-research-object-detection",): "2.8.0.post1",
}
"""The versions under which the test suite ran, by the names of the distributions that give them."""

INSTALL = (
    "pip install 'launcher[train]' && pip install --no-deps "
    "tf-models-research-object-detection==2.8.0.post1 tf-models-official==2.20.0 lvis==0.5.3"
)


def load() -> None:
    """Make `import tensorflow` and `import object_detection...` work in this process.

    Raises MissingExtraError when a package is missing, and ConfigError under a version that was
    never tried. Calling it again does nothing.
    """
    check_versions()
    for shim in SHIMS:
        shim()


def installed_version(distributions: Sequence[str]) -> str | None:
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def check_versions() -> None:
    for distributions, tried in TRIED.items():
        version = installed_version(distributions)
        name = distributions[0]
        if version is None:
            raise MissingExtraError(f"{name} is not installed", remedy=INSTALL)
        if version != tried and not version.startswith(f"{tried}."):
            raise ConfigError(
                f"{name} {version} was never tried with the Object Detection API, {tried} was",
                place="this Python environment",
                remedy=f"pip install '{name}=={tried}{'' if 'post' in tried else '.*'}'",
            )


def legacy_keras() -> None:
    """Keras 3: `keras.layers has no attribute 'experimental'`."""
    if "tensorflow" in sys.modules and os.environ.get("TF_USE_LEGACY_KERAS") != "1":
        raise ConfigError(
            "TensorFlow was imported with Keras 3 before the compatibility layer",
            place="TF_USE_LEGACY_KERAS",
            remedy="Call launcher.odapi.compat.load() before importing tensorflow",
        )
    os.environ["TF_USE_LEGACY_KERAS"] = "1"


def generated_messages() -> None:
    """Modules of an old protoc: `Descriptors cannot be created directly`."""
    if not any(isinstance(finder, _MessageFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _MessageFinder())


def estimator() -> None:
    """TensorFlow >= 2.16: `cannot import name 'estimator' from 'tensorflow.compat.v1'`."""
    import tensorflow.compat.v1 as tf

    if not hasattr(tf, "estimator"):
        module = ModuleType("tensorflow.compat.v1.estimator")
        module.ModeKeys = type(  # type: ignore[attr-defined]
            "ModeKeys", (), {"TRAIN": "train", "EVAL": "eval", "PREDICT": "infer"}
        )
        tf.estimator = module


def control_flow() -> None:
    """tf_slim 1.1.0: `control_flow_ops has no attribute 'case'` (or 'cond', 'while_loop')."""
    import tensorflow.compat.v1 as tf
    from tensorflow.python.ops import control_flow_ops

    for name in ("case", "cond", "while_loop", "switch_case"):
        if not hasattr(control_flow_ops, name):
            setattr(control_flow_ops, name, getattr(tf, name, None) or getattr(tf.compat.v2, name))


def tensorflow_io() -> None:
    """DeepMAC's module wants it at import time only: `No module named 'tensorflow_io'`."""
    if "tensorflow_io" not in sys.modules:
        module = ModuleType("tensorflow_io")
        module.__spec__ = importlib.machinery.ModuleSpec("tensorflow_io", None)
        sys.modules["tensorflow_io"] = module


def resnet_blocks() -> None:
    """ResNet backbones import `keras.applications`: Keras 3's, which takes no `layers`, or none."""
    import tf_keras

    aliases = {"keras": tf_keras, "keras.applications": tf_keras.applications}
    before = {name: sys.modules.get(name) for name in aliases}
    sys.modules.update(aliases)
    try:
        importlib.import_module("object_detection.models.keras_models.resnet_v1")
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


SHIMS: tuple[Callable[[], None], ...] = (
    legacy_keras,
    generated_messages,
    estimator,
    control_flow,
    tensorflow_io,
    resnet_blocks,
)


class _MessageFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves `object_detection.protos.<name>_pb2` from the schema in protobuf's default pool."""

    PREFIX, SUFFIX = "object_detection.protos.", "_pb2"

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.startswith(self.PREFIX) and fullname.endswith(self.SUFFIX):
            return importlib.util.spec_from_loader(fullname, self)
        return None

    def exec_module(self, module: ModuleType) -> None:
        stem = module.__name__.removeprefix(self.PREFIX).removesuffix(self.SUFFIX)
        try:
            descriptor = protos.file_descriptor(stem)
        except KeyError:
            raise ImportError(f"no schema for {module.__name__}") from None
        names = vars(module)
        names["DESCRIPTOR"] = descriptor
        builder.BuildMessageAndEnumDescriptors(descriptor, names)
        builder.BuildTopDescriptorsAndMessages(descriptor, module.__name__, names)
