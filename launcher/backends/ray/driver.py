"""`python -m launcher.backends.ray.driver RUN_ROOT SUBMISSION`: the supervisor of a run on Ray.

A Ray job. Each attempt is a worker group of Ray Train; everything else - when to restart, what
counts, what the verdict is - is as on one machine (backends/supervising.py). Before each attempt it
waits until the cluster has room, and an elastic run takes the plan for the workers that fit.
"""

import secrets
import signal
import sys
import time
from pathlib import Path

import ray

from launcher.backends.evaluation import NotYetError
from launcher.backends.lock import RunLock, Work
from launcher.backends.processes import Member
from launcher.backends.ray import channel, growth, proof, replan, size
from launcher.backends.ray.agent import Order
from launcher.backends.ray.channel import Channel
from launcher.backends.ray.evaluator import RayEvaluator, end_earlier
from launcher.backends.ray.group import Group
from launcher.backends.ray.progress import Shown
from launcher.backends.ray.replan import counted
from launcher.backends.ray.rest import Dashboard
from launcher.backends.supervising import Supervisor
from launcher.backends.supervisor_log import copy_log_to, log
from launcher.backends.verdict import Verdict
from launcher.contract import Reason, State
from launcher.errors import ConfigError, LauncherError
from launcher.render import ray as render
from launcher.render.supervised import WORKER
from launcher.storage import discard, write_json

_ROOM_SECONDS = 1.0
"""Between two looks at the cluster while it has no room."""
_RELEASE_SECONDS = 15.0
"""How long Ray may take to give back what the last group had."""
_TELL_AFTER_SECONDS = 3.0
_LOCK_SECONDS = 20.0
_CONTROL_SECONDS = 0.3
_GROWTH_SECONDS = 5.0
"""Between two looks whether an elastic run can grow."""


class Driver(Supervisor):
    def __init__(self, job: render.RayJob, lock: RunLock, dashboard: Dashboard) -> None:
        self._ray = job
        self._channel = Channel(job.paths.root)
        self._dashboard = dashboard
        self._group: Group | None = None
        self._size = job.workers
        self._evaluators = 0
        self._asked, self._asked_at = 0, 0.0
        self._looked = 0.0
        self._room_since: float | None = None
        self._grow = ""
        self._seen_on: set[str] = set()
        """The nodes whose workers have found the run's folder and the data there."""
        self._shown = Shown(job.name, log)
        super().__init__(job, lock)

    def run(self) -> None:
        super().run()
        self._shown.last(self._status)

    def _tick(self) -> None:
        super()._tick()
        self._shown.look(self._status)

    def succeeded(self) -> bool:
        return self._status.state is State.SUCCEEDED

    @property
    def attempt(self) -> int:
        return self._status.attempt

    def _log_to(self, path: Path) -> None:
        """What Ray shows as the job's log has all attempts; so has the folder, each by itself."""
        copy_log_to(path)

    def _stop_wanted(self) -> int:
        """SIGTERM is Ray's own stop; the others ask by the control file."""
        now = time.monotonic()
        if now - self._asked_at > _CONTROL_SECONDS:
            asked = channel.stops(self._channel.root, self._ray.submission)
            self._asked, self._asked_at = 1 if asked is None else asked, now
        return max(self._signals, self._asked)

    def _attempt(self) -> Verdict | None:
        self._grow, self._room_since = "", None
        verdict = super()._attempt()
        self._close_group()
        return verdict

    def _stop_all(self) -> None:
        super()._stop_all()
        self._close_group()

    def _group_size(self) -> int:
        return self._size

    def _close_group(self) -> None:
        if self._group is not None:
            self._seen_on |= {member.node for member in self._group.members if member.node}
            self._group.close()
            self._group = None

    def _start_workers(self) -> None:
        attempt, role = self._status.attempt, self._ray.role(WORKER)
        if role is None:
            raise ValueError("no workers to start")
        self._write_data()  # at once, and again when it has waited
        self._make_room()
        if self._ray.elastic:
            replan.take(self._channel, self._ray.submission, attempt, self._size, log)
        for i in range(self._size):
            discard(self._paths.failure(WORKER, i))
        order = Order(
            root=self._ray.root,
            attempt=attempt,
            argv=role.argv,
            threads=self._ray.cpu_threads,
            gpus=self._ray.worker_needs.gpus,
            token=secrets.token_hex(16),
            seen_on=tuple(sorted(self._seen_on)),
        )
        self._write_data()
        proof.offer(self._channel, attempt, order.token)
        self._group = Group(self._ray, self._size, order, log)
        self._group.start()
        self._workers = [*self._group.members]
        log(f"attempt {attempt}: {counted(self._size)} with {self._ray.worker_needs} each")

    def _write_data(self) -> None:
        """What the others' nodes must see, too. Raises DataError when this one does not,
        StorageError when its disk does not say."""
        effective = replan.read_pipeline(self._paths)
        patterns = [*proof.train_files(effective), *proof.val_files(effective)]
        sizes = proof.data_sizes(patterns, f"{proof.this_node()}, the driver's,")
        write_json(self._channel.data(self._status.attempt), sizes)

    def _start_evaluator(self, attempt: int) -> Member:
        """Raises NotYetError while workers need the room, and UnreachableError: then Ray may have
        taken it or not, and is asked again for a job of the same name, of which it has one."""
        self._check_turn()
        number = self._evaluators + 1
        submission = render.evaluator_request(self._ray, number)["submission_id"]
        write_json(self._channel.evaluator, {"submission": submission})
        started = RayEvaluator(self._ray, self._dashboard, number, attempt)
        self._evaluators = number
        return started

    def _check_turn(self) -> None:
        """While there is training to do, the evaluator has what the workers leave free; a group
        that it kept from starting would wait for it, and it for checkpoints."""
        needs = self._ray.evaluator_needs
        if not needs.bundle or self._status.state is State.EVALUATING:
            return
        if self._group is None or not self._group.placed:
            raise NotYetError
        if not size.room_free(size.look(), needs, self._ray.placement):
            raise NotYetError(
                f"the evaluator waits for {needs}, which no node has free beside the workers"
            )

    def _make_way(self, nodes: list[size.Node]) -> bool:
        """The evaluator stops where a group can start with what it holds."""
        evaluator = self._evaluator.child
        if not isinstance(evaluator, RayEvaluator) or not evaluator.ip:
            return False
        more = growth.given_back(nodes, [(evaluator.ip, self._ray.evaluator_needs.bundle)])
        room = size.room_free(more, self._ray.worker_needs, self._ray.placement)
        if size.largest(self._ray.sizes, room) is None:
            return False
        self._evaluator.give_way()
        return True

    def _record(self) -> None:
        """The agents find leftovers by themselves, on their own nodes (leftovers.py)."""

    # How many workers

    def _make_room(self) -> None:
        """Until so many workers fit that there is a plan for. Sets `_size`."""
        started, told, looked, made_way = time.monotonic(), False, 0.0, False
        message = self._status.message

        def fits() -> bool:
            nonlocal told, looked, made_way
            now = time.monotonic()
            if now - looked < _ROOM_SECONDS:
                return False
            looked = now
            nodes, needs, placement = size.look(), self._ray.worker_needs, self._ray.placement
            free = size.room_free(nodes, needs, placement)
            found = size.largest(self._ray.sizes, free)
            hoped = size.largest(self._ray.sizes, size.room_in_all(nodes, needs, placement))
            if found is not None and (found == hoped or now - started > _RELEASE_SECONDS):
                self._size = found
                return True
            if now - started > _TELL_AFTER_SECONDS and found is None:
                why = size.why_waiting(nodes, needs, placement, self._ray.sizes, free)
                if not told:
                    log(why)
                told = True
                made_way = made_way or self._make_way(nodes)
                self._set(self._waiting_state(), Reason.WAITING, why)
            return False

        self._until(fits)
        if told:
            self._set(self._waiting_state(), Reason.WAITING, message)

    def _waiting_state(self) -> State:
        return State.RESTARTING if self._status.state is State.RESTARTING else State.PENDING

    def _regroup_wanted(self) -> str:
        now = time.monotonic()
        if self._grow or not self._ray.elastic or self._size >= max(self._ray.sizes):
            return self._grow
        if now - self._looked < _GROWTH_SECONDS or self._status.step <= self._start_step:
            return ""
        self._looked = now
        placed = [member.ip for member in self._group.members] if self._group else []
        needs, placement = self._ray.worker_needs, self._ray.placement
        fitting = growth.room_for_group(size.look(), placed, needs, placement)
        found = size.largest(self._ray.sizes, fitting) or self._size
        if found <= self._size:
            self._room_since = None
        elif self._room_since is None:
            self._room_since = now
        elif now - self._room_since >= self._ray.resize_seconds:
            self._grow = f"the cluster has room for {counted(found)} instead of {self._size}"
        return self._grow


def _lock(root: Path) -> RunLock | None:
    """Whoever submitted holds it until Ray has taken the job."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while (lock := RunLock.acquire(root, Work.SUPERVISE)) is None and time.monotonic() < deadline:
        pass  # each look takes half a second
    return lock


def main() -> int:
    root, submission = Path(sys.argv[1]), sys.argv[2]
    proof.check_there(root, submission, "what `launcher submit` has written there")
    job = render.RayJob.read(root / render.JOB_FILE)
    if job.submission != submission:
        log(f"error: {root} is {job.submission}'s by now, and not {submission}'s")
        return 1
    lock = _lock(root)
    if lock is None:
        log(f"error: {root}: another driver has this run")
        return 1
    context = ray.init(log_to_driver=True)
    dashboard = Dashboard(f"http://{context.dashboard_url}")
    end_earlier(root, dashboard)
    driver = Driver(job, lock, dashboard)
    copy_log_to(job.paths.supervisor_log(driver.attempt))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, driver.on_signal)
    driver.run()
    lock.release()  # the run has ended; to leave Ray takes this process seconds more
    return 0 if driver.succeeded() else 1


if __name__ == "__main__":
    try:
        code = main()
    except LauncherError as e:
        log(f"error: {e}")
        # A run that cannot be read is told from a driver that was lost (truth.py).
        code = int(e.worker_exit if isinstance(e, ConfigError) else e.cli_exit)
    sys.exit(code)
