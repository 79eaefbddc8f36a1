"""`python -m launcher.backends.ray.keeper RUN_ROOT`: the Ray of one run.

Ray's own processes are children of `ray start --block`, which end with it. All of them listen on
the loopback device only. Whoever ends the run need not know of this process: it looks by itself.
"""

import contextlib
import ctypes
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from launcher.backends.machine import this_machine
from launcher.backends.processes import LOOPBACK, free_hosts
from launcher.backends.ray import leftovers
from launcher.backends.ray.channel import Channel, mapping
from launcher.backends.ray.rest import ENDED, Dashboard, NotThereError
from launcher.backends.ray.words import lost_message
from launcher.backends.status import read_status, write_last
from launcher.contract import Reason, State
from launcher.errors import ConfigError, LauncherError, StorageError, UnreachableError
from launcher.render import ray as render
from launcher.storage import write_json, write_text

START_SECONDS = 90.0
_UNUSED_SECONDS = 120.0
"""For a submit that died before it gave this cluster its job."""
_LOOK_SECONDS = 1.0
_LINGER_SECONDS = 2.0
"""After the run's last word: the driver leaves, and Ray notes it."""
_RAY_SECONDS = 8.0
"""From SIGTERM, with which Ray drains its node for up to 30 s, to SIGKILL, with which its processes
go with `ray start`."""
_OBJECT_STORE_BYTES = 100_000_000  # TensorFlow needs the memory; Ray passes a few kB around
_PR_SET_PDEATHSIG = 1


class Keeper:
    def __init__(self, job: render.RayJob) -> None:
        self._job = job
        self._root = job.paths.root
        self._asked = False
        self._ended: float | None = None
        self._gone = 0
        self._started = time.monotonic()
        self._seen = False

    def on_signal(self, number: int, frame: object) -> None:
        self._asked = True

    def run(self) -> int:
        with leftovers.ray_folder() as folder:
            dashboard, argv = _command(self._job, folder)
            say(f"starting {' '.join(argv)}")
            ray = subprocess.Popen(
                argv,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                preexec_fn=_end_with_parent,
            )
            try:
                self._keep(ray, Dashboard(dashboard))
            finally:
                _end(ray)
        return 0

    def _keep(self, ray: "subprocess.Popen[bytes]", dashboard: Dashboard) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(dashboard):
            if ray.poll() is not None or self._asked or time.monotonic() > deadline:
                say("Ray did not start")
                return
            time.sleep(0.2)
        head = {"pid": os.getpid(), "address": dashboard.address, "host": socket.gethostname()}
        write_json(Channel(self._root).head, head)
        say(f"Ray is ready: {dashboard.address}")
        while ray.poll() is None and not self._asked and not self._over(dashboard):
            time.sleep(_LOOK_SECONDS)
        say("stopping Ray")

    def _over(self, dashboard: Dashboard) -> bool:
        """Whether nobody needs this Ray any more."""
        now = time.monotonic()
        try:
            job = render.RayJob.read(self._root / render.JOB_FILE)
            status = read_status(self._root)
        except ConfigError:
            return True  # the run was deleted
        except StorageError:
            return False  # its storage does not answer just now
        if job.submission != self._job.submission:
            return True
        ended = status is None or status.state.ended
        if not ended and self._driver_is_gone(dashboard):
            self._note_lost(self._last_words(dashboard))
        if not ended or self._scores(dashboard):
            self._ended = None
            return False
        self._ended = self._ended or now
        return now - self._ended > _LINGER_SECONDS

    def _driver_is_gone(self, dashboard: Dashboard) -> bool:
        """Twice in a row, because its last word may be on its way to the disk."""
        try:
            gone = dashboard.job(self._job.submission).get("status") in ENDED
            self._seen = True
        except NotThereError:
            gone = self._seen or time.monotonic() - self._started > _UNUSED_SECONDS
        except UnreachableError:
            gone = False
        self._gone = self._gone + 1 if gone else 0
        return self._gone > 2

    def _last_words(self, dashboard: Dashboard) -> str:
        """Of a driver that left without a word in the folder; its log goes there with it."""
        with contextlib.suppress(LauncherError, NotThereError):
            text = dashboard.logs(self._job.submission)
            log = Channel(self._root).driver_log
            write_text(log, text)
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            return f'. Its log, {log}, ends "{lines[-1][:300]}"' if lines else ""
        return ""

    def _note_lost(self, words: str) -> None:
        with contextlib.suppress(LauncherError):
            if status := read_status(self._root):
                message = lost_message(status.state) + words
                write_last(status, State.FAILED, Reason.SUPERVISOR_LOST, message)

    def _scores(self, dashboard: Dashboard) -> bool:
        submission = mapping(Channel(self._root).evaluator).get("submission")
        if not submission:
            return False
        try:
            return dashboard.job(submission).get("status") not in ENDED
        except (NotThereError, UnreachableError):
            return False


def _command(job: render.RayJob, folder: Path) -> tuple[str, list[str]]:
    """The dashboard's URL, and what starts a head on this machine alone. All ports are free ones,
    so that it does not meet another Ray."""
    ports = [host.rpartition(":")[2] for host in free_hosts(4)]
    needs, machine = job.worker_needs, this_machine()
    cpus = max(machine.cores, math.ceil(job.workers * needs.cpus + job.evaluator_needs.cpus))
    custom: dict[str, float] = {}
    for count, asked in ((job.workers, needs), (1, job.evaluator_needs)):
        for name, amount in (asked.resources or {}).items():
            custom[name] = custom.get(name, 0.0) + count * amount
    dashboard, agent, agent_grpc, client = ports
    argv = [
        str(Path(sys.executable).parent / "ray"), "start", "--head", "--block",
        "--node-ip-address", LOOPBACK, "--port", "0",
        "--min-worker-port", "0", "--max-worker-port", "0",
        "--dashboard-host", LOOPBACK, "--dashboard-port", dashboard,
        "--dashboard-agent-listen-port", agent, "--dashboard-agent-grpc-port", agent_grpc,
        "--ray-client-server-port", client,
        "--num-cpus", str(cpus), "--num-gpus", str(len(machine.gpus)),
        "--object-store-memory", str(_OBJECT_STORE_BYTES),
        "--disable-usage-stats", "--temp-dir", str(folder),
    ]  # fmt: skip
    if custom:
        argv += ["--resources", json.dumps(custom)]
    return f"http://{LOOPBACK}:{dashboard}", argv


def _environment() -> dict[str, str]:
    """With this Python first on PATH, where jobs look for it, and without another Ray's address."""
    kept = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    here = str(Path(sys.executable).parent)
    return {
        **kept,
        "PATH": os.pathsep.join([here, kept.get("PATH", os.defpath)]),
        # Ray's name for "no other machine joins": then it binds to the loopback device only.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _end_with_parent() -> None:
    """A killed keeper takes Ray with it (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(ray: "subprocess.Popen[bytes]") -> None:
    ray.terminate()
    try:
        ray.wait(_RAY_SECONDS)
    except subprocess.TimeoutExpired:
        ray.kill()
        ray.wait()


def _answers(dashboard: Dashboard) -> bool:
    """Also that it knows a node that can take a job."""
    try:
        dashboard.version()
        return bool(dashboard.nodes())
    except (UnreachableError, NotThereError):
        return False


def say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    sys.stderr.flush()


def main() -> int:
    keeper = Keeper(render.RayJob.read(Path(sys.argv[1]) / render.JOB_FILE))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, keeper.on_signal)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return keeper.run()


if __name__ == "__main__":
    sys.exit(main())
