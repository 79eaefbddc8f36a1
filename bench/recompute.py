"""Peak memory and time of a training step with gradient checkpointing, and without.

    .venv/bin/python bench/recompute.py [--recipe efficientdet_d0] [--side 512] [--batch 4]

Each measurement is a process of its own on one core: the model is built and its forward and
backward pass traced, the kernel's high-water mark of resident memory is set back, then the pass
runs three times. The peak is that mark less what was resident before the first pass, so it is
activations, gradients and scratch, without program and weights. glibc hands every block above
64 kB back to the system at once, so that the mark shows what TensorFlow holds, not what the
allocator keeps. `ours` is with train.recompute, `peer` without; the last line is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PASSES = 3
_BLOCK = str(64 * 1024)
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": _BLOCK, "MALLOC_TRIM_THRESHOLD_": _BLOCK}


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--recipe", default="efficientdet_d0", help="see `launcher recipes`")
    arguments.add_argument("--side", type=int, default=512, help="of the square images, in pixels")
    arguments.add_argument("--batch", type=int, default=4, help="images a pass")
    arguments.add_argument("--one", choices=("with", "without"), help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.one:
        print(json.dumps(measured(options, options.one == "with")))
        return 0
    return compared(options)


def compared(options: Any) -> int:
    found = {}
    for which in ("without", "with"):
        print(f"{options.recipe}, {options.side} px, {options.batch} images, {which} recompute ...")
        sys.stdout.flush()
        found[which] = in_a_process(options, which)
    ours, peer = found["with"], found["without"]
    if "parts" in ours:
        print(ours["parts"])
    print(f"{'':>20} {'peak MB':>9} {'s a pass':>9} {'gradient norm':>14}")
    for which, row in found.items():
        print(
            f"{which + ' recompute':>20} {row['peak_mb']:>9.0f} {row['seconds']:>9.2f} "
            f"{row['gradient_norm']:>14.6g}"
        )
    result = {
        "name": f"recompute-{options.recipe}",
        "ratio": round(ours["peak_mb"] / peer["peak_mb"], 3),
        "ours": round(ours["peak_mb"], 1),
        "peer": round(peer["peak_mb"], 1),
        "unit": "MB",
        "step_time_ratio": round(ours["seconds"] / peer["seconds"], 3),
        "side": options.side,
        "batch": options.batch,
    }
    print(json.dumps(result))
    return 0


def in_a_process(options: Any, which: str) -> dict[str, Any]:
    command = [
        sys.executable, __file__, "--recipe", options.recipe, "--side", str(options.side),
        "--batch", str(options.batch), "--one", which,
    ]  # fmt: skip
    done = subprocess.run(
        command, env=os.environ | _ALLOCATOR, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def measured(options: Any, with_recompute: bool) -> dict[str, Any]:
    from launcher.odapi import compat

    compat.load()
    import numpy as np
    import tensorflow as tf

    from launcher.odapi import recompute
    from launcher.runtime.model import build_model
    from tests.runtime.checkpointed import backward_pass, images, pipeline_of

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(0)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        model = build_model(pipeline_of(options.recipe, options.side, options.batch), strategy)
        parts = str(recompute.apply(model)) if with_recompute else None
    step = backward_pass(model, strategy)
    batch = images(options.side, options.batch)
    step.get_concrete_function(batch)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back
    seconds, norm = [], 0.0
    for _ in range(PASSES):
        began = time.perf_counter()
        norm = float(np.linalg.norm(step(batch).numpy()))
        seconds.append(time.perf_counter() - began)
    row = {
        "peak_mb": memory("VmHWM") - before,
        "seconds": sorted(seconds[1:])[len(seconds[1:]) // 2],
        "gradient_norm": norm,
    }
    return row | ({"parts": parts} if parts else {})


def memory(field: str) -> float:
    """In MB, of this process: VmRSS or VmHWM."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise ValueError(field)


if __name__ == "__main__":
    sys.exit(main())
