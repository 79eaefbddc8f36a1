"""The machine's clock, set back by a day in the middle of a run: we decide nothing by it."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.run_record import read_train_rows
from launcher.storage import read_jsonl
from tests.end_to_end.small_run import GLOBAL_BATCH, SmallRun, make_run

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler"),
]

STEPS = 30
DAY = 86_400

CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The wall clock of a process and all that it starts, a day behind once the file is there. */
static long behind(void) {
  int kept = errno;
  const char* file = getenv("CLOCK_IS_SET_BACK");
  long seconds = file && access(file, F_OK) == 0 ? 86400 : 0;
  errno = kept;
  return seconds;
}
int clock_gettime(clockid_t id, struct timespec* t) {
  static int (*real)(clockid_t, struct timespec*);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(id, t);
  if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec -= behind();
  return result;
}
int gettimeofday(struct timeval* restrict t, void* restrict zone) {
  static int (*real)(struct timeval*, void*);
  if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
  int result = real(t, zone);
  if (result == 0 && t) t->tv_sec -= behind();
  return result;
}
time_t time(time_t* out) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  if (out) *out = t.tv_sec;
  return t.tv_sec;
}
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[SmallRun]:
    run = make_run(tmp_path, steps=STEPS, checkpoint_steps=10, stall_seconds=60.0)
    yield run
    run.end_all()


def test_a_clock_that_is_set_back(run: SmallRun, tmp_path: Path) -> None:
    (tmp_path / "clock.c").write_text(CLOCK)
    library = tmp_path / "clock.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "clock.c"), "-ldl"],
        check=True,
    )
    set_back = tmp_path / "set-back"
    run.submit(env={"LD_PRELOAD": str(library), "CLOCK_IS_SET_BACK": str(set_back)})
    run.wait(lambda: len(run.saved()) >= 1, "a checkpoint")
    set_back.touch()
    told = run.wait_end()

    assert (told["state"], told["step"]) == ("SUCCEEDED", STEPS)
    times = [row["time"] for row in run.rows()]
    assert times[0] - times[-1] > DAY / 2, "the clock of the workers was set back"
    assert told["updated"] < time.time() - DAY / 2, "and that of the supervisor"
    # TensorFlow's own heartbeats go by the wall clock: where a supervisor watches there are none.
    assert (told["attempt"], told["restarts"]) == (0, 0)
    rows = read_train_rows(run.paths)
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert rows[-1]["images_seen"] == STEPS * GLOBAL_BATCH
    scores = [row["step"] for row in read_jsonl(run.paths.eval_metrics) if "mAP" in row]
    assert scores[-1] == STEPS
    assert run.launcher("results", run.name).returncode == 0
    assert run.launcher("status", run.name).returncode == 0
