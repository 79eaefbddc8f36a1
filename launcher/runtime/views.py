"""`python -m launcher.runtime.views PIPELINE OUT`: images as the model gets them, and their boxes.

`launcher data view` starts it. The images go through the worker's own input (decoding, augmentation
drawn from seed and position, resizing), up to the model's normalization of colours, which would
only make them hard to look at. No model is built. OUT is a folder; it gets `N-DRAW.png`, draw 0
without augmentation, and `boxes.json`.
"""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from launcher.errors import LauncherError, WorkerExit
from launcher.odapi import compat, pipeline
from launcher.odapi.protos import Message
from launcher.storage import write_json

BOXES = "boxes.json"
BUG = 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--draws", type=int, default=2, help="with augmentation, of each image")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        compat.check_versions()
        compat.load()
        from launcher.runtime.__main__ import quiet_libraries

        quiet_libraries()
        write_json(args.out / BOXES, look(pipeline.read(args.pipeline), args))
    except LauncherError as e:
        print(f"error: {e}", file=sys.stderr)  # noqa: T201
        return int(e.worker_exit)
    except Exception:
        traceback.print_exc()
        return BUG
    return int(WorkerExit.DONE)


def look(config: Message, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Writes the pictures; returns what is in them, those without augmentation first."""
    from PIL import Image

    rows = []
    plain = type(config)()
    plain.CopyFrom(config)
    del plain.train_config.data_augmentation_options[:]
    for one, first, draws in ((plain, 0, 1), (config, 1, args.draws)):
        if not draws:
            continue
        for i, draw, image, row in _images(one, first, draws, args.seed):
            name = f"{i}-{draw}.png"
            Image.fromarray(image).save(args.out / name)
            rows.append(row | {"image": i, "draw": draw, "file": name})
            print(json.dumps({"done": len(rows)}), flush=True)  # noqa: T201
    return rows


def _images(
    config: Message, first: int, draws: int, seed: int
) -> Iterator[tuple[int, int, Any, dict[str, Any]]]:
    """(number of the record, draw, pixels, boxes in parts of the picture with its padding), each
    record `draws` times."""
    import numpy as np
    from object_detection.core.standard_fields import InputDataFields as Fields

    from launcher.records import expand
    from launcher.records.index import index_records
    from launcher.runtime.inputs import make_source, train_dataset
    from launcher.runtime.source import Share

    files = expand(config.train_input_reader.tf_record_input_reader.input_path)
    count = len(index_records(files))
    config.train_input_reader.shuffle = False
    source = make_source(config, Share(1, 0, 1), seed=seed)
    data = train_dataset(
        config, _resizing(config.model), batch=1, seed=seed, step_images=1, source=source
    )
    for number, (features, labels) in enumerate(data.take(count * draws)):
        draw, i = divmod(number, count)
        pixels = np.clip(np.rint(features[Fields.image][0].numpy()), 0, 255).astype(np.uint8)
        objects = int(labels[Fields.num_groundtruth_boxes][0])
        boxes = labels[Fields.groundtruth_boxes][0][:objects].numpy()
        classes = labels[Fields.groundtruth_classes][0][:objects].numpy()
        row = {
            "boxes": boxes.round(5).tolist(),
            "labels": (classes.argmax(axis=1) + 1).tolist(),
        }
        yield i, first + draw, pixels, row


def _resizing(model: Message) -> Any:
    """What stands in for the model: its resizing without its normalization."""
    from object_detection.builders import image_resizer_builder
    from object_detection.utils import shape_utils

    part = getattr(model, model.WhichOneof("model"))
    resize = image_resizer_builder.build(part.image_resizer)

    def preprocess(images: Any) -> Any:
        return shape_utils.resize_images_and_return_shapes(images, resize)

    return SimpleNamespace(preprocess=preprocess)


if __name__ == "__main__":
    sys.exit(main())
