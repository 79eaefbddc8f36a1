"""From kill -9 of a worker to the next finished step, against the start of the same run.

    .venv/bin/python bench/recovery.py [--victim 1] [--kills 1]

A real run of the demo as `launcher submit` starts it: two workers, the evaluator, the supervisor,
a checkpoint every 20 steps. A worker gets SIGKILL some steps after a checkpoint; the others lose
their peer, the supervisor stops them and starts the group again, which continues from the
checkpoint. `peer` is the time from the call of submit to the end of the first step, `ours` from the
kill to the end of the first step after it. The parts are read off the supervisor's log, a poll of
0.05 s. The last line is JSON; ratio is ours / peer, of several kills the median.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import _training as training

import launcher
from launcher.contract import RunPaths
from launcher.storage import read_json, read_jsonl

NEEDED = 1.5
CHECKPOINT_STEPS, STEPS_AFTER = 20, 3
_POLL_SECONDS = 0.05


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--victim", type=int, default=1, choices=(0, 1), help="0 is the chief")
    arguments.add_argument("--kills", type=int, default=1)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # The list of runs of this account is none of a bench's business.
        os.environ["XDG_STATE_HOME"] = str(Path(folder) / "state")
        start, recoveries = measured(Path(folder), options.victim, options.kills)
    ratio = median(recoveries) / start
    print(
        training.result(
            "recovery",
            ratio,
            round(median(recoveries), 2),
            round(start, 2),
            "s to the next finished step, after kill -9 against from submit",
        )
    )
    return 0 if ratio <= NEEDED else 1


def measured(folder: Path, victim: int, kills: int) -> tuple[float, list[float]]:
    spec = launcher.load(
        training.ROOT / "configs" / "demo.yaml",
        [
            "name=recovery",
            f"run_dir={folder}",
            f"train.checkpoint_every.steps={CHECKPOINT_STEPS}",
            f"restart.max_restarts={kills}",
        ],
    )
    training.demo_plan(folder, "data-only")  # draws the records, which do not count
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the run is cancelled
    began = time.time()
    run = launcher.submit(spec)
    try:
        first = wait(lambda: rows(run.paths, 0), "a first step")[0]
        start = first["time"] - began
        training.say(f"submit to the first finished step: {start:.1f} s")
        return start, [after_kill(run.paths, victim, number) for number in range(kills)]
    finally:
        run.cancel(timeout=60)


def after_kill(paths: RunPaths, victim: int, attempt: int) -> float:
    """Kills, waits for the next attempt's first step and says where the time went."""
    saved = int(rows(paths, attempt)[-1]["step"]) + CHECKPOINT_STEPS
    saved -= saved % CHECKPOINT_STEPS
    wait(lambda: rows(paths, attempt)[-1]["step"] >= saved + STEPS_AFTER, f"step {saved}")
    pid = read_json(paths.progress(victim))["pid"]
    os.kill(pid, signal.SIGKILL)
    killed = time.time()
    seen: dict[str, float] = {}

    def look() -> list[dict[str, Any]]:
        for number in (attempt, attempt + 1):
            log = paths.supervisor_log(number)
            for line in log.read_text().splitlines() if log.exists() else []:
                seen.setdefault(line, time.time())
        return rows(paths, attempt + 1)

    look()
    for line in seen:
        seen[line] = 0.0  # from before the kill
    first = wait(look, "a step after the kill")[0]
    training.say(f"worker {victim} killed at step {saved + STEPS_AFTER} or a little later:")
    for line, when in seen.items():
        if when:
            training.say(f"  {when - killed:6.1f} s  {line[20:110]}")
    seconds = float(first["time"] - killed)
    training.say(f"  {seconds:6.1f} s  step {first['step']} finished")
    return seconds


def rows(paths: RunPaths, attempt: int) -> list[dict[str, Any]]:
    return [row for row in read_jsonl(paths.train_metrics) if row["attempt"] == attempt]


def wait(condition: Callable[[], Any], what: str, seconds: float = 400.0) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {seconds:g} s")
        time.sleep(_POLL_SECONDS)
    return value


if __name__ == "__main__":
    sys.exit(main())
