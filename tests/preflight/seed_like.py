"""The file of tensorflow/models#10530 on stand-ins of its data: COCO's shards, tiny images."""

import io
from pathlib import Path

from PIL import Image

from launcher.odapi import label_map
from launcher.records import RecordWriter, make_example

SEED = Path(__file__).resolve().parents[3] / "shared" / "seed" / "pipeline.config"

COCO_IDS = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]

_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_TRAIN, _VAL = "coco_train.record-00000-of-00100", "coco_val.record-00000-of-00050"


def name_of(id_: int) -> str:
    """The first and the last as COCO has them."""
    return {1: "person", 90: "toothbrush"}.get(id_, f"class {id_}")


def make_data(folder: Path, images: int = 2) -> None:
    """100 train shards and 50 val shards of a few images each, a label map, a checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    label_map.write(folder / "classes.pbtxt", {i: name_of(i) for i in COCO_IDS})
    for split, shards in (("train", 100), ("val", 50)):
        for shard in range(shards):
            with RecordWriter(folder / f"coco_{split}.record-{shard:05}-of-{shards:05}") as writer:
                for i in range(images):
                    writer.write(_record(f"{split}-{shard}-{i}"))
    (folder / "ckpt-0.index").write_bytes(b"_CHECKPOINTABLE_OBJECT_GRAPH" + _MAGIC)
    (folder / "ckpt-0.data-00000-of-00001").write_bytes(b"")


def config(folder: Path, data: Path) -> Path:
    """The file itself, with the paths of `data`: `folder`/d3/pipeline.config."""
    text = SEED.read_text()
    for old, new in (
        ("/DATASETS/COCO", str(data)),
        (_between(text, 'fine_tune_checkpoint: "', '"'), str(data / "ckpt-0")),
    ):
        text = text.replace(old, new)
    path = folder / "d3" / "pipeline.config"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def _record(name: str) -> bytes:
    number = hash_of(name)
    picture = io.BytesIO()
    color = (number % 256, number // 256 % 256, number // 65536 % 256)
    Image.new("RGB", (96, 64), color).save(picture, "PNG")
    label = COCO_IDS[number % len(COCO_IDS)]
    features = {
        "image/encoded": picture.getvalue(),
        "image/format": "png",
        "image/source_id": str(number),
        "image/filename": f"{name}.png",
        "image/height": 64,
        "image/width": 96,
        "image/object/bbox/xmin": [0.1],
        "image/object/bbox/ymin": [0.1],
        "image/object/bbox/xmax": [0.8],
        "image/object/bbox/ymax": [0.9],
        "image/object/class/label": [label],
        "image/object/class/text": [name_of(label)],
        "image/object/is_crowd": [0],
        "image/object/area": [3000.0],
    }
    data: bytes = make_example(features).SerializeToString()
    return data


def hash_of(name: str) -> int:
    """The same in every process, unlike Python's."""
    import hashlib

    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "little")
