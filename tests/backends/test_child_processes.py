"""What a child process gets of the machine."""

import os
import sys
import time
from pathlib import Path

from launcher.backends.evaluation import NICE
from launcher.backends.processes import Child, stop
from launcher.render.supervised import EVALUATOR, WORKER, Process

BURN = "import os; os.sched_setaffinity(0, {int(os.environ['CORE'])})\nwhile True: pass"
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(child: Child) -> float:
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def test_scoring_yields_to_training_on_the_same_core(tmp_path: Path) -> None:
    """Both lead sessions of their own, between which a nice value alone may count for nothing."""
    env = {"CORE": str(min(os.sched_getaffinity(0)))}

    def burning(role: str, nice: int) -> Child:
        argv = (sys.executable, "-c", BURN)
        return Child(Process(role, 0, argv, env, str(tmp_path / f"{role}.log")), nice)

    both = [burning(WORKER, 0), burning(EVALUATOR, NICE)]
    try:
        deadline = time.monotonic() + 60
        while cpu_seconds(both[0]) < 1.5 and time.monotonic() < deadline:
            time.sleep(0.1)
        training, scoring = map(cpu_seconds, both)
    finally:
        stop(both, 1.0, lambda _: None)
    assert training > 3 * scoring
