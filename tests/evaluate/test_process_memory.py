"""The garbage collector leaves alone what was there when scoring begins."""

import subprocess
import sys

SCRIPT = """
import gc
from launcher.evaluate.process import keep_objects
cycle = []
cycle.append(cycle)
del cycle
gc.disable()
before = len(gc.get_objects())
keep_objects()
print(before, gc.get_freeze_count(), len(gc.get_objects()))
"""


def test_objects_that_stay() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    before, frozen, watched = map(int, done.stdout.split())
    assert 0.9 * before < frozen
    assert watched < 0.1 * before
