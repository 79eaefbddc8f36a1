"""Images a second of `launcher data convert` against the OD API's create_coco_tf_record.

    .venv/bin/python bench/convert.py [--images 6000] [--rounds 5] [--commands 2]
    .venv/bin/python bench/convert.py --coco instances_val2017.json val2017

The same annotations file and the same image files, converted in turn by both in this process, into
the same number of shards: the peer's `_create_tf_record_from_coco_annotations`, without masks, and
`launcher.data.convert` on all cores, its processes started anew each time. `ratio` is of these:
neither Python's nor TensorFlow's start is in it. `ratio_command` is of the two as commands, from
start to end, as a user waits for them; it falls to `ratio` as the set grows. Ours has its files on
the disk when it ends, the peer's are on their way: `ratio_on_disk` is with the time that syncing
them takes. Without --coco the images are drawn: noise of photographs' size (640 x 480 pixels),
with 7 boxes and outlines each.

What the two promise is not the same: the peer reads an image's header only, and drops a box that
sticks out by a rounding error in silence; ours finds out that the image is whole, checks every
annotation, and syncs the files to the disk. The last line is JSON.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.data import convert
from launcher.odapi import compat
from launcher.records import sync_file

ROOT = Path(__file__).resolve().parents[1]
PEER = """
import sys
from launcher.odapi import compat
compat.load()
from object_detection.dataset_tools import create_coco_tf_record as peer
peer._create_tf_record_from_coco_annotations(*sys.argv[1:4], False, int(sys.argv[4]))
"""
SHARDS = 10
DRAWN = 24  # different pictures
SIZE = (640, 480)
BOXES = 7
CATEGORIES = 80


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=6000, help="about 1 GB (default 6000)")
    parser.add_argument("--rounds", type=int, default=5, help="of each, in turn (default 5)")
    parser.add_argument("--commands", type=int, default=2, help="rounds of whole commands")
    parser.add_argument("--processes", type=int, help="of ours (default: one a core)")
    parser.add_argument(
        "--coco",
        nargs=2,
        type=Path,
        metavar=("ANNOTATIONS", "FOLDER"),
        help="a real set; its images are copied under other ids until there are enough",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        source = options.coco or drawn(data)
        annotations, images = repeated(*source, data, options.images)
        measure(annotations, images, data, options)
    return 0


def measure(annotations: Path, images: Path, data: Path, options: argparse.Namespace) -> None:
    compat.load()
    from object_detection.dataset_tools import create_coco_tf_record

    peer = create_coco_tf_record._create_tf_record_from_coco_annotations

    def ours() -> None:
        convert(annotations, images, data / "ours", "val", SHARDS, options.processes)

    def theirs() -> None:
        (data / "theirs").mkdir()
        peer(str(annotations), str(images), str(data / "theirs/val.record"), False, SHARDS)

    times: dict[str, list[float]] = {"ours": [], "theirs": [], "synced": []}
    for number in range(options.rounds):
        for name, function in (("ours", ours), ("theirs", theirs)):
            os.sync()
            started = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - started)
            speed = options.images / times[name][-1]
            print(f"round {number + 1}, {name:7} {speed:8.1f} images/s", flush=True)
            if name == "theirs":
                for path in (data / name).iterdir():
                    sync_file(path)
                times["synced"].append(time.perf_counter() - started)
            shutil.rmtree(data / name)
    mine, peers, synced = (
        options.images / statistics.median(times[n]) for n in ("ours", "theirs", "synced")
    )
    result = {
        "name": "convert",
        "ratio": round(mine / peers, 2),
        "ours": round(mine, 1),
        "peer": round(peers, 1),
        "unit": "images/s",
        "images": options.images,
        "peer_on_disk": round(synced, 1),
        "ratio_on_disk": round(mine / synced, 2),
    }
    if options.commands:
        seconds = command_seconds(annotations, images, data, options)
        result["ratio_command"] = round(seconds["theirs"] / seconds["ours"], 2)
        result["ours_command_seconds"] = round(seconds["ours"], 2)
        result["peer_command_seconds"] = round(seconds["theirs"], 2)
    print(json.dumps(result))


def command_seconds(
    annotations: Path, images: Path, data: Path, options: argparse.Namespace
) -> dict[str, float]:
    """Medians of whole processes."""
    commands = {
        "ours": [sys.executable, "-m", "launcher", "data", "convert", str(annotations), str(images),
                 "-o", str(data / "ours"), "--shards", str(SHARDS)],
        "theirs": [sys.executable, "-c", PEER, str(annotations), str(images),
                   str(data / "theirs/val.record"), str(SHARDS)],
    }  # fmt: skip
    if options.processes:
        commands["ours"] += ["--processes", str(options.processes)]
    whole: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(options.commands):
        for name, command in commands.items():
            if name == "theirs":
                (data / name).mkdir()
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
            whole[name].append(time.perf_counter() - started)
            shutil.rmtree(data / name)
            print(f"command {number + 1}, {name:7} {whole[name][-1]:6.1f} s", flush=True)
    return {name: statistics.median(all_) for name, all_ in whole.items()}


def drawn(data: Path) -> tuple[Path, Path]:
    """A small set in COCO's form."""
    from PIL import Image, ImageFilter

    folder = data / "drawn"
    folder.mkdir()
    rng = random.Random(0)
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for i in range(1, DRAWN + 1):
        channels = [Image.effect_noise(SIZE, 90) for _ in "RGB"]
        picture = Image.merge("RGB", channels).filter(ImageFilter.GaussianBlur(0.75))
        picture.save(folder / f"{i}.jpg", quality=88)
        images.append({"id": i, "file_name": f"{i}.jpg", "width": SIZE[0], "height": SIZE[1]})
        for _ in range(BOXES):
            x, y = rng.uniform(0, 400), rng.uniform(0, 300)
            width, height = rng.uniform(10, 200), rng.uniform(10, 150)
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": i,
                    "category_id": rng.randint(1, CATEGORIES),
                    "bbox": [round(v, 2) for v in (x, y, width, height)],
                    "area": round(width * height * 0.6, 2),
                    "iscrowd": 0,
                    "segmentation": [[round(rng.uniform(0, 400), 2) for _ in range(40)]],
                }
            )
    categories = [{"id": i, "name": f"category {i}"} for i in range(1, CATEGORIES + 1)]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (data / "drawn.json").write_text(json.dumps(content))
    return data / "drawn.json", folder


def repeated(annotations: Path, folder: Path, data: Path, count: int) -> tuple[Path, Path]:
    """`count` images of the set, each a file and an id of its own."""
    content = json.loads(annotations.read_bytes())
    target = data / "images"
    target.mkdir()
    of_image: dict[int, list[dict[str, Any]]] = {}
    for box in content["annotations"]:
        of_image.setdefault(box["image_id"], []).append(box)
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    total = 0
    for number in range(1, count + 1):
        source = content["images"][number % len(content["images"])]
        name = f"{number:012}.jpg"
        shutil.copyfile(folder / source["file_name"], target / name)
        total += (target / name).stat().st_size
        images.append({**source, "id": number, "file_name": name})
        for box in of_image.get(source["id"], []):
            boxes.append({**box, "id": len(boxes) + 1, "image_id": number})
    result = {**content, "images": images, "annotations": boxes}
    (data / "annotations.json").write_text(json.dumps(result))
    kilobytes = total / count / 1e3
    print(f"{count} images of {kilobytes:.0f} kB on average, {len(boxes)} boxes", flush=True)
    return data / "annotations.json", target


if __name__ == "__main__":
    sys.exit(main())
