"""`python -m launcher.backends.local_supervisor RUN_ROOT [LOCK_FD]`: watches one local run.

It starts the workers and the evaluator, restarts the workers as a group when one dies, and says
in status.json what became of the run. SIGTERM cancels: the workers save a checkpoint first. A
second SIGTERM does not wait for that.
"""

import os
import signal
import sys
from pathlib import Path

from launcher.backends import orphans
from launcher.backends.evaluation import NICE
from launcher.backends.lock import RunLock, Work
from launcher.backends.processes import Child, Member, free_hosts
from launcher.backends.supervising import Supervisor
from launcher.backends.supervisor_log import log
from launcher.errors import StorageError
from launcher.render import local as render
from launcher.storage import discard


class LocalSupervisor(Supervisor):
    def __init__(self, job: render.LocalJob, lock: RunLock) -> None:
        self._local = job
        super().__init__(job, lock)

    def _start_workers(self) -> None:
        hosts = free_hosts(self._local.workers)
        attempt = self._status.attempt
        for i in range(self._local.workers):
            discard(self._paths.failure(render.WORKER, i))
        for i in range(self._local.workers):
            child = Child(render.worker(self._local, hosts, i, attempt, os.getpid()))
            self._workers.append(child)
            log(f"{child.label} (pid {child.pid}): started, attempt {attempt}, {hosts[i]}")

    def _start_evaluator(self, attempt: int) -> Member:
        process = render.evaluator(self._local, attempt, os.getpid())
        if process is None:
            raise ValueError("no evaluator to start")
        return Child(process, NICE)

    def _record(self) -> None:
        """The pids, for whoever finds this run without a supervisor."""
        children = [*self._workers, *([self._evaluator.child] if self._evaluator.child else [])]
        try:
            orphans.record(self._paths, os.getpid(), [c for c in children if isinstance(c, Child)])
        except StorageError as e:
            log(f"error: {e}")


def main() -> int:
    root = Path(sys.argv[1])
    if len(sys.argv) > 2:
        lock: RunLock | None = RunLock.inherited(root, int(sys.argv[2]))
    else:
        lock = RunLock.acquire(root, Work.SUBMIT)
    if lock is None:
        log(f"error: {root}: another supervisor has this run")
        return 1
    job = render.LocalJob.read(root / render.JOB_FILE)
    supervisor = LocalSupervisor(job, lock)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.on_signal)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    lock.tell(Work.SUPERVISE)  # from now on a SIGTERM is heard
    supervisor.run()
    if not lock.lost:  # else the folder is another run's by now
        orphans.forget(job.paths)
    return 0


if __name__ == "__main__":
    sys.exit(main())
