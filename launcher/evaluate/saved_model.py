"""A scored checkpoint as the model zoo publishes one. Needs TensorFlow, see detector.py.

    saved_model/      `input_tensor`, uint8 [batch, height, width, 3], to the zoo's outputs
    checkpoint/       ckpt-0 with the key `model`: what fine_tune_checkpoint takes
    pipeline.config   the run's

The inference is exporter_lib_v2's, on the model and weights that the evaluator scores: a detector
of this package. Two things differ from what the OD API exports. A batch may have more than one
image where the resizer gives all images one shape (the zoo's signature has 1, which fits too). And
the saved object holds variables only, not Keras layers: loading takes a fraction of the time, and
layers of another class than Keras knows can be saved.
"""

import os
import re
from pathlib import Path
from typing import Any

import tensorflow as tf
from object_detection.exporter_lib_v2 import DetectionInferenceModule

from launcher.evaluate.detector import Detector
from launcher.odapi import pipeline as pipelines

SIGNATURE = "serving_default"


def write(folder: Path, detector: Detector, pipeline: Any) -> dict[str, Any]:
    """All three into `folder`, which exists. Returns inputs and outputs by name, with their
    shapes. Raises OSError when it cannot be written.
    """
    model = detector.model
    module, function = _module(model, detector.image_shape)
    try:
        tf.saved_model.save(module, os.fspath(folder / "saved_model"), signatures=function)
        checkpoint = tf.train.Checkpoint(model=model)
        manager = tf.train.CheckpointManager(checkpoint, os.fspath(folder / "checkpoint"), 1)
        manager.save(checkpoint_number=0)
    except tf.errors.OpError as e:  # a full disk: ResourceExhausted, or Unknown
        # `{{node}} a long path; No space left on device [Op:SaveV2]`
        reason = re.search(r"; ([^;]+?)(?: \[Op:\w+\])?$", str(e).strip())
        raise OSError(reason[1] if reason else str(e).strip()[-200:]) from e
    pipelines.write(folder / "pipeline.config", pipeline)
    outputs = {name: _shape(t) for name, t in sorted(function.structured_outputs.items())}
    image = function.structured_input_signature[0][0]
    return {"inputs": {image.name: _shape(image)}, "outputs": outputs}


def _module(model: Any, shape: tf.TensorShape) -> tuple[tf.Module, Any]:
    """`shape`: of a resized image. Without one for all a batch is of one image, as the OD API's."""
    inference = DetectionInferenceModule(model)
    batch = None if shape.is_fully_defined() else 1

    def detect(input_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        images, shapes = inference._preprocess_input(input_tensor, lambda image: image)
        images.set_shape([batch, *shape])  # as the evaluator's are
        found = inference._run_inference_on_images(images, shapes)
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    image = tf.TensorSpec([batch, None, None, 3], tf.uint8, name="input_tensor")
    module = tf.Module()
    module.variables_of_model = list(model.variables)
    # The OD API's code needs no AutoGraph, and converting it takes most of the time.
    module.__call__ = tf.function(detect, input_signature=[image], autograph=False)
    return module, module.__call__.get_concrete_function()


def _shape(tensor: Any) -> dict[str, Any]:
    return {"dtype": tensor.dtype.name, "shape": tensor.shape.as_list()}
