"""`python -m launcher.backends.ray.evaluator_job ROOT SUBMISSION ...`: the evaluator as a Ray job.

It starts `python -m launcher.evaluate` and shows its log. When the driver is gone without a word,
it says so in status.json, with which the evaluator scores the last checkpoint and leaves. When Ray
itself is gone, which started this process, it stops the evaluator.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from launcher.backends.evaluation import NICE
from launcher.backends.processes import Child
from launcher.backends.ray import proof, truth
from launcher.backends.ray.channel import Channel, mapping
from launcher.backends.ray.relay import Relay, say
from launcher.backends.ray.rest import Dashboard
from launcher.backends.ray.words import lost_message
from launcher.backends.status import read_status, write_last
from launcher.contract import (
    ENV_ATTEMPT,
    ENV_CPU_THREADS,
    ENV_PARENT_PID,
    Reason,
    RunPaths,
    State,
)
from launcher.errors import DataError, LauncherError, StorageError
from launcher.odapi import pipeline
from launcher.render import ray as render
from launcher.render.supervised import EVALUATOR, Process
from launcher.storage import is_gone, write_json

_POLL_SECONDS = 0.3
_DRIVER_SECONDS = 5.0
_KILL_SECONDS = 8.0
_SIGNALLED = 128


class Stops:
    def __init__(self) -> None:
        self.asked: float | None = None

    def ask(self) -> None:
        self.asked = self.asked or time.monotonic()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.ask()


def main(args: argparse.Namespace) -> int:
    """Exit code of the evaluator, or that of what is wrong with this node."""
    try:
        proof.check_there(args.root, args.submission, "what the driver has written there")
        job = render.RayJob.read(args.root / render.JOB_FILE)
        if args.dashboard:
            check_data(job, args.attempt)
        return run(job, args)
    except LauncherError as e:
        say(f"error: {e}")
        _note(args.root, e)
        return int(e.worker_exit)


def check_data(job: render.RayJob, attempt: int) -> None:
    """Raises DataError, which names the node, when the val records are others than the driver's."""
    sizes = mapping(Channel(job.paths.root).data(attempt))
    patterns = proof.val_files(pipeline.read(job.paths.pipeline))
    try:
        proof.check_data(proof.only(sizes, patterns), "the evaluator's node")
    except DataError:
        proof.check_data(proof.only(sizes, patterns), f"{proof.this_node()}, the evaluator's,")
        raise


def _note(root: Path, error: LauncherError) -> None:
    """For the driver, where this node sees the folder."""
    if not is_gone(root):
        with contextlib.suppress(StorageError):
            said = {"exit": int(error.worker_exit), "message": str(error)}
            write_json(RunPaths(root).failure(EVALUATOR), said)


def run(job: render.RayJob, args: argparse.Namespace) -> int:
    stops = Stops()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stops)
    parent = os.getppid()
    child = Child(process(job, args), NICE)
    relay = Relay(Path(child.process.log))
    looked = time.monotonic()
    sent = False
    while child.poll() is None:
        relay.pass_on()
        if os.getppid() != parent:
            stops.ask()
        if stops.asked is not None and not sent:
            child.signal(signal.SIGTERM)
            child.signal(signal.SIGCONT)
            sent = True
        if stops.asked is not None and time.monotonic() - stops.asked > _KILL_SECONDS:
            child.signal(signal.SIGKILL)
        if args.dashboard and time.monotonic() - looked > _DRIVER_SECONDS:
            note_lost_driver(job, Dashboard(args.dashboard))
            looked = time.monotonic()
        time.sleep(_POLL_SECONDS)
    relay.pass_on()
    code = child.code or 0
    return code if code >= 0 else _SIGNALLED - code


def process(job: render.RayJob, args: argparse.Namespace) -> Process:
    role = job.role(EVALUATOR)
    if role is None:
        raise ValueError("no evaluator to start")
    needs = job.evaluator_needs
    cores = len(os.sched_getaffinity(0))
    threads = int(needs.cpus) or max(1, cores // job.workers)
    env = {
        **role.env,
        ENV_ATTEMPT: str(args.attempt),
        ENV_CPU_THREADS: str(threads),
        ENV_PARENT_PID: str(os.getpid()),
        "PYTHONUNBUFFERED": "1",
    }
    if not needs.gpus:
        env["CUDA_VISIBLE_DEVICES"] = "-1"
    argv = (sys.executable, *role.argv, *(["--once"] if args.once else []))
    return Process(EVALUATOR, 0, argv, env, str(job.paths.evaluator_log(args.attempt)))


def note_lost_driver(job: render.RayJob, dashboard: Dashboard) -> None:
    """A full disk, or a cluster that does not answer now, is no reason to end the scoring."""
    with contextlib.suppress(LauncherError, OSError):
        status = read_status(job.paths.root)
        if status is None or status.state.ended or not truth.driver_is_gone(job, dashboard):
            return
        again = read_status(job.paths.root)  # its last word may have come meanwhile
        if again is not None and truth.is_current(job):
            with contextlib.suppress(StorageError):
                message = lost_message(again.state)
                write_last(again, State.FAILED, Reason.SUPERVISOR_LOST, message)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="evaluator_job")
    parser.add_argument("root", type=Path)
    parser.add_argument("submission")
    parser.add_argument("--attempt", type=int, default=0)
    parser.add_argument("--dashboard", default="")
    parser.add_argument("--once", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main(arguments()))
