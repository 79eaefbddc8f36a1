"""A real Ray cluster of several nodes on the loopback device: a head, mostly without CPUs, and
workers.

Each node is a `ray start --block` with raylet and agents of its own, under an address of its own
(127.0.0.3, ...), so that one can be lost as a machine is. The head is 127.0.0.2, because Ray
replaces 127.0.0.1 as a node's address by that of the network device.
"""

import contextlib
import ctypes
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from launcher.backends.processes import free_hosts

HEAD = "127.0.0.2"
_DASHBOARD = "127.0.0.1"
_START_SECONDS = 240.0
_OBJECT_STORE_BYTES = 80_000_000
_PR_SET_PDEATHSIG = 1


class Nodes:
    """`with Nodes() as cluster: cluster.add()`; `cluster.url` is the dashboard's. CPUs and GPUs
    are the head's, by Ray's word alone. With a `token`, all who speak to it must have it.
    `without`: folders that the head sees empty (needs root); `env` of all nodes."""

    def __init__(
        self,
        *,
        cpus: int = 0,
        gpus: int = 0,
        token: str = "",
        without: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._head = ("--num-cpus", str(cpus), "--num-gpus", str(gpus))
        self._head_without = without
        self._token = token
        self._env = dict(env or {})

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self._ports = [host.rpartition(":")[2] for host in free_hosts(5)]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._log = (self._folder / "nodes.log").open("ab")
        try:
            self.start_head()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for process in self._processes.values():
            process.terminate()
        for ip in list(self._processes):
            self._end(ip, 15.0)
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"http://{_DASHBOARD}:{self._ports[1]}"

    def start_head(self) -> None:
        """Again, after `kill_head`: at the same address."""
        gcs, dashboard, agent, agent_grpc, client = self._ports
        self._start_and_wait(
            HEAD, "--head", "--port", gcs, *self._head,
            "--dashboard-host", _DASHBOARD, "--dashboard-port", dashboard,
            "--dashboard-agent-listen-port", agent, "--dashboard-agent-grpc-port", agent_grpc,
            "--ray-client-server-port", client, "--temp-dir", str(self._folder),
            without=self._head_without,
        )  # fmt: skip

    def add(self, *, cpus: int = 1, gpus: int = 0, without: Path | None = None) -> str:
        """A node more; its IP address. `without`: a folder that it sees empty, as one where the
        shared storage is not mounted (needs root)."""
        number = 3
        while f"127.0.0.{number}" in self._processes:
            number += 1
        ip = f"127.0.0.{number}"
        agent, agent_grpc = (host.rpartition(":")[2] for host in free_hosts(2))
        arguments = [
            "--address", f"{HEAD}:{self._ports[0]}", "--num-cpus", str(cpus),
            "--num-gpus", str(gpus),
            "--dashboard-agent-listen-port", agent, "--dashboard-agent-grpc-port", agent_grpc,
        ]  # fmt: skip
        self._start_and_wait(ip, *arguments, without=[without] if without else [])
        return ip

    def kill_raylet(self, ip: str) -> None:
        """SIGKILL, as when the machine is gone; the rest of its Ray ends with it."""
        for pid in _descendants(self._processes[ip].pid):
            if Path(f"/proc/{pid}/comm").read_text().startswith("raylet"):
                os.kill(pid, signal.SIGKILL)
        self._end(ip, 30.0)

    def kill_head(self) -> None:
        """SIGKILL to all that Ray runs on the head node."""
        pids = _descendants(self._processes[HEAD].pid)
        self._processes[HEAD].kill()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._end(HEAD, 5.0)

    def autoscaling_status(self) -> str:
        """What Ray's monitor writes on every cluster, whether it has an autoscaler or not."""
        return str(self._get("/api/cluster_status")["data"]["autoscalingStatus"] or "")

    @contextlib.contextmanager
    def stopped_dashboard(self) -> Iterator[None]:
        """Within it connections are taken, and requests answered afterwards."""
        found = [
            pid
            for pid in _descendants(self._processes[HEAD].pid)
            if b"dashboard/dashboard.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        for pid in found:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in found:
                os.kill(pid, signal.SIGCONT)

    def hold(self, **asked: float) -> str:
        """A job of somebody else that takes these resources (`entrypoint_num_gpus=1`); its id."""
        request = {"entrypoint": "sleep 3600", **asked}
        return str(self._ask("POST", "/api/jobs/", request)["submission_id"])

    def let_go(self, submission: str) -> None:
        self._ask("POST", f"/api/jobs/{submission}/stop")

    def jobs(self) -> list[dict[str, Any]]:
        return list(self._get("/api/jobs/"))

    def log_of(self, submission: str) -> str:
        """As the Jobs page shows it."""
        return str(self._get(f"/api/jobs/{submission}/logs")["logs"])

    def metrics(self) -> dict[str, float]:
        """Our gauges by name, from the metrics ports of all nodes."""
        return our_metrics(self._folder)

    def alive(self) -> set[str]:
        """IP addresses of the nodes that the head counts on."""
        try:
            found = self._get("/api/v0/nodes?detail=1")["data"]["result"]["result"]
        except (OSError, ValueError, TypeError, KeyError):
            return set()
        return {node["node_ip"] for node in found if node["state"] == "ALIVE"}

    def others(self) -> list[str]:
        """The nodes that were started and not taken away, without the head."""
        return [ip for ip in self._processes if ip != HEAD]

    def tell(self) -> str:
        return (self._folder / "nodes.log").read_text(errors="replace")[-4000:]

    def _get(self, path: str) -> Any:
        return self._ask("GET", path)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)

    def _start_and_wait(self, ip: str, *arguments: str, without: Sequence[Path] = ()) -> None:
        for trial in range(3):
            self._start(ip, *arguments, without=without)
            try:
                self._until(ip)
                break
            except AssertionError:  # Ray gives a node 30 s to start, whatever the machine does
                if trial == 2:
                    raise
                self._end(ip, 5.0)

    def _start(self, ip: str, *arguments: str, without: Sequence[Path] = ()) -> None:
        here = Path(sys.executable).parent
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self._token} if self._token else {}
        common = (
            "--block", "--node-ip-address", ip, "--disable-usage-stats",
            "--min-worker-port", "0", "--max-worker-port", "0",
            "--object-store-memory", str(_OBJECT_STORE_BYTES),
        )  # fmt: skip
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTEST_"))}
        mounts = " && ".join(f"mount -t tmpfs none {shlex.quote(str(p))}" for p in without)
        hide = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$0" "$@"']
        self._processes[ip] = subprocess.Popen(
            [
                *(hide if without else []),
                *[str(here / "ray"), "start", *arguments, *common],
            ],
            env={
                **kept,
                **token,
                "PATH": os.pathsep.join([str(here), kept.get("PATH", os.defpath)]),
                # A node is given up after 6 s of silence instead of 30.
                "RAY_health_check_initial_delay_ms": "2000",
                "RAY_health_check_period_ms": "2000",
                "RAY_health_check_failure_threshold": "3",
                **self._env,
            },
            preexec_fn=_end_with_parent,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _until(self, ip: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while ip not in self.alive():
            assert self._processes[ip].poll() is None, f"node {ip} did not start\n{self.tell()}"
            assert time.monotonic() < deadline, f"node {ip} is not seen\n{self.tell()}"
            time.sleep(0.2)

    def remove(self, ip: str) -> None:
        """As when its machine is shut down."""
        self._processes[ip].terminate()
        self._end(ip, 20.0)

    def _end(self, ip: str, seconds: float) -> None:
        process = self._processes.pop(ip)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def our_metrics(folder: Path) -> dict[str, float]:
    """As Prometheus would find the ports of the Ray with this --temp-dir, and read them."""
    listed = json.loads((folder / "prom_metrics_service_discovery.json").read_text())
    found = {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for target in {t for group in listed for t in group["targets"]}:
        with (
            contextlib.suppress(OSError),
            opener.open(f"http://{target}/metrics", timeout=10) as answer,
        ):
            for line in answer.read().decode().splitlines():
                if line.startswith("ray_launcher_"):
                    name, _, value = line.rpartition(" ")
                    found[name.partition("{")[0].removeprefix("ray_launcher_")] = float(value)
    return found


def _end_with_parent() -> None:
    """A test that is killed takes its cluster with it (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *_descendants(child)]
    return found
