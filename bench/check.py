"""Time and memory of `launcher check` on 118,287 records, against counting them with tf.data.

    .venv/bin/python bench/check.py [--rounds 3] [--records 118287] [--keep DIR]

118,287 train records in 100 shards and 5,000 val records in 50 are drawn: small images (96 x 64
pixels, 2 KB), no two alike, with one to three objects. Then, in turn, each as a process of its own,
from its start to its end, with the files put out of the system's memory before:

ours      `launcher check` on the pipeline.config of tensorflow/models#10530 with these records
          named. It counts all of them, looks for repeated ones, decodes 500 of each set, and judges
          the configuration
loop      a script that counts the records with `for _ in tf.data.TFRecordDataset(files)`
reduce    the same with `.reduce`, which is the fastest way that tf.data has

`ratio` is loop / ours. `ratio_reduce` is reduce / ours; `ratio_count` is of counting alone, in one
process, with all imports and TensorFlow's start left out: the loop against `read_frames`. Memory is
the process's largest resident set, and again for a tenth of the records: it should not grow. The
last line is JSON; the exit code is 1 when ours takes 10 s or more, or its memory grows by 20 MB.
"""

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.records import frame, make_example, shard_name
from launcher.records.frames import read_frames

ROOT = Path(__file__).resolve().parents[1]
SEED_FILE = ROOT.parent / "shared" / "seed" / "pipeline.config"
PICTURES = 24
SHARDS = {"train": 100, "val": 50}
VAL_PART = 5000 / 118_287
LIMIT_SECONDS = 10.0
LIMIT_GROWTH_MB = 20.0
COUNT = """
import glob, sys, time
import tensorflow as tf
files = sorted(glob.glob(sys.argv[2]))
started = time.perf_counter()
data = tf.data.TFRecordDataset(files)
if sys.argv[1] == "loop":
    count = 0
    for _ in data:
        count += 1
else:
    count = int(data.reduce(tf.constant(0, tf.int64), lambda n, _: n + 1))
print(count, time.perf_counter() - started)
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="of each, in turn (default 3)")
    parser.add_argument("--records", type=int, default=118_287, help="of the train set")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="draw there, or use what is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        whole, tenth = folder / "whole", folder / "tenth"
        for place, records in ((whole, options.records), (tenth, options.records // 10)):
            if not place.exists():
                draw(place, records)
        return measure(whole, tenth, options.records, options.rounds)


def measure(whole: Path, tenth: Path, records: int, rounds: int) -> int:
    pattern = str(whole / "*.record-*")
    total = sum(read_frames(path).count for path in whole.glob("*.record-*"))
    commands = {
        "ours": check_command(whole, records),
        "loop": [sys.executable, "-c", COUNT, "loop", pattern],
        "reduce": [sys.executable, "-c", COUNT, "reduce", pattern],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    alone: dict[str, list[float]] = {"loop": [], "reduce": [], "ours": []}
    memory: list[float] = []
    for number in range(rounds):
        for name, command in commands.items():
            evict(whole)
            took, megabytes, said = run(command)
            seconds[name].append(took)
            if name == "ours":
                require_counted(said, records)
                memory.append(megabytes)
            else:
                counted, inner = said.split()[-2:]
                if int(counted) != total:
                    raise SystemExit(f"tf.data counts {counted} records, {total} were written")
                alone[name].append(float(inner))
            print(f"round {number + 1}, {name:6} {took:7.2f} s {megabytes:7.0f} MB", flush=True)
        evict(whole)
        started = time.perf_counter()
        for path in sorted(whole.glob("*.record-*")):
            read_frames(path)
        alone["ours"].append(time.perf_counter() - started)
    evict(tenth)
    _, small, _ = run(check_command(tenth, records // 10))
    times = {name: statistics.median(values) for name, values in seconds.items()}
    counting = {name: statistics.median(values) for name, values in alone.items()}
    growth = max(memory) - small
    print(f"counting alone: {', '.join(f'{n} {s:.2f} s' for n, s in counting.items())}")
    print(f"memory: {max(memory):.0f} MB, of a tenth of the records {small:.0f} MB")
    result = {
        "name": "check",
        "ratio": round(times["loop"] / times["ours"], 2),
        "ours": round(times["ours"], 2),
        "peer": round(times["loop"], 2),
        "unit": "s",
        "records": total,
        "ratio_reduce": round(times["reduce"] / times["ours"], 2),
        "ratio_count": round(counting["loop"] / counting["ours"], 2),
        "ratio_count_reduce": round(counting["reduce"] / counting["ours"], 2),
        "memory_mb": round(max(memory)),
        "memory_growth_mb": round(growth, 1),
    }
    print(json.dumps(result))
    return int(times["ours"] >= LIMIT_SECONDS or growth >= LIMIT_GROWTH_MB)


def check_command(folder: Path, records: int) -> list[str]:
    named = {
        "data.train": folder / "train.record-?????-of-00100",
        "data.val": folder / "val.record-?????-of-00050",
        "data.label_map": folder / "label_map.pbtxt",
        "data.train_images": records,
        "data.val_images": val_records(records),
        "cluster.gpus_per_worker": 1,
    }
    sets = [part for key, value in named.items() for part in ("--set", f"{key}={value}")]
    file = SEED_FILE if SEED_FILE.exists() else folder / "spec.yaml"
    return [sys.executable, "-m", "launcher", "check", str(file), "--json", *sets]


def require_counted(said: str, records: int) -> None:
    found = json.loads(said)["summary"]["data"]
    if (found["train"]["images"], found["val"]["images"]) != (records, val_records(records)):
        raise SystemExit(f"check counts {found}, not {records} train images")


def run(command: list[str]) -> tuple[float, float, str]:
    """Seconds from start to end, MB at its largest, what it printed."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(
            command, stdout=out, stderr=subprocess.DEVNULL, cwd=ROOT,
            env=environment(),
        )  # fmt: skip
        _, _, usage = os.wait4(child.pid, 0)
        child.returncode = 0
        took = time.perf_counter() - started
        out.seek(0)
        return took, usage.ru_maxrss / 1024, out.read()


def environment() -> dict[str, str]:
    """With compiled modules, as an installed package has them."""
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def evict(folder: Path) -> None:
    """Puts the files out of the system's memory, as far as it lets go of them."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def val_records(records: int) -> int:
    return max(50, round(records * VAL_PART))


def draw(folder: Path, records: int) -> None:
    """Complete or not at all."""
    print(f"drawing {records:,} records", flush=True)
    making = folder.with_name(f".{folder.name}")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    pictures = [picture(number) for number in range(PICTURES)]
    for prefix, count, base in (("train", records, 0), ("val", val_records(records), 10**6)):
        shards = SHARDS[prefix]
        for shard in range(shards):
            numbers = range(base + shard, base + count, shards)
            data = b"".join(frame(example(n, pictures[n % PICTURES])) for n in numbers)
            path = making / shard_name(prefix, shard, shards)
            with path.open("wb") as file:
                file.write(data)
                os.fsync(file.fileno())
    items = (f'item {{ id: {i} name: "c{i}" }}' for i in range(1, 91))
    (making / "label_map.pbtxt").write_text("\n".join(items))
    (making / "spec.yaml").write_text("name: d3\nrecipe: efficientdet_d3\n")
    making.rename(folder)


def picture(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (16, 24, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((96, 64)).save(file, "JPEG", quality=60)
    return file.getvalue()


def example(number: int, encoded: bytes) -> bytes:
    """`encoded` with its number in a comment, so that no two images are the same."""
    comment = str(number).encode()
    own = encoded[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + encoded[2:]
    count = 1 + number % 3
    sides = {"xmin": 0.1, "ymin": 0.2, "xmax": 0.7, "ymax": 0.9}
    features: dict[str, Any] = {
        f"image/object/bbox/{side}": [value] * count for side, value in sides.items()
    }
    features |= {
        "image/encoded": own,
        "image/format": "jpeg",
        "image/source_id": str(number),
        "image/height": 64,
        "image/width": 96,
        "image/object/class/label": [1 + (number + i) % 90 for i in range(count)],
        "image/object/is_crowd": [0] * count,
    }
    data: bytes = make_example(features).SerializeToString()
    return data


if __name__ == "__main__":
    sys.exit(main())
