"""What Ray costs: speed and start of the same run on Ray and on the local backend, and a status.

    .venv/bin/python bench/ray_overhead.py [--pairs 2] [--steps 40] [--finished 200]

The demo's model (SSD-MobileNetV2 x0.35, 128 px, global batch 32, two workers, an evaluator) is
submitted as a user does, in turns with `--backend local` and to a Ray cluster that is there
already: a head without CPUs and one node, on loopback. Who is first changes from pair to pair, and
each side has a first run that does not count, in which it reads its files from the disk. Images/s
are over `--steps` steps after the first 10; the start is from the call of `launcher submit` to the
end of the first step. Then `launcher status` asks for one run that goes on, in a folder with 200
runs on Ray that have ended; a proxy before Ray's dashboard counts the requests.

The last line is JSON; ratio is images/s on Ray / on the local backend, the median over the pairs.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import _training as training

from launcher.contract import RunPaths
from launcher.storage import read_jsonl
from tests.ray_backend.nodes import Nodes

NEEDED = 0.97
SKIPPED = 10
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Measured:
    first_step: float  # seconds from the call of submit
    images_per_second: float
    others: float  # share of the machine that other programs took meanwhile


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--pairs", type=int, default=2)
    arguments.add_argument("--steps", type=int, default=40, help="that are counted")
    arguments.add_argument("--finished", type=int, default=200, help="runs that have ended")
    arguments.add_argument("--no-warm-up", action="store_true", help="count the first pair, too")
    options = arguments.parse_args()
    rows: dict[str, list[Measured]] = {"local": [], "ray": []}
    with tempfile.TemporaryDirectory() as name, Nodes() as cluster, counting(cluster.url) as proxy:
        cluster.add(cpus=training.cores())
        bench = Bench(Path(name), proxy, options.steps)
        training.demo_plan(bench.folder, "data-only")  # draws the records, which do not count
        if not options.no_warm_up:
            for backend in rows:
                training.say(f"{backend}, once, not counted: {bench.run(backend)}")
        for number in range(options.pairs):
            for backend in list(rows) if number % 2 == 0 else list(rows)[::-1]:
                rows[backend].append(bench.run(backend))
                training.say(f"{backend}: {rows[backend][-1]}")
        requests, seconds = bench.status_among(options.finished)
    starts = {k: median(m.first_step for m in found) for k, found in rows.items()}
    more = starts["ray"] - starts["local"]
    training.say(
        f"submit to the end of the first step: {starts['ray']:.1f} s on Ray, "
        f"{starts['local']:.1f} s on the local backend: {more:.1f} s more"
    )
    training.say(
        f"status of one run among {options.finished} that have ended: {requests} request(s) to "
        f"Ray, {seconds:.2f} s with the start of Python"
    )
    ratio = median(
        on_ray.images_per_second / local.images_per_second
        for on_ray, local in zip(rows["ray"], rows["local"], strict=True)
    )
    ours, peer = (
        round(median(m.images_per_second for m in rows[side]), 2) for side in ("ray", "local")
    )
    print(
        training.result(
            "ray_overhead",
            ratio,
            ours,
            peer,
            "images/s on Ray against the local backend",
            first_step_seconds_more=round(more, 1),
            status_requests=requests,
            pairs=options.pairs,
        )
    )
    return 0 if ratio >= NEEDED and requests == 1 else 1


class Bench:
    def __init__(self, folder: Path, proxy: "Proxy", steps: int) -> None:
        self.folder = folder
        self._proxy = proxy
        self._last = SKIPPED + steps
        self._runs = 0

    def run(self, backend: str) -> Measured:
        """Submitted, measured, cancelled and deleted."""
        self._runs += 1
        name = f"{backend}-{self._runs}"
        paths = RunPaths(self.folder / name)
        began = time.time()
        self._submit(name, backend)
        try:
            first = self._reach(paths, 1)[0]
            start = self._reach(paths, SKIPPED)[SKIPPED - 1]
            load = training.Load.now()
            own = self._cpu_seconds(paths)
            end = self._reach(paths, self._last)[self._last - 1]
            others = training.Load.now().others_since(load, self._cpu_seconds(paths) - own)
        finally:
            self._launcher("cancel", name)
            self._launcher("delete", name)
        seconds = (end["time"] - start["time"]) / (end["step"] - start["step"])
        return Measured(first["time"] - began, training.IMAGES / seconds, others)

    def status_among(self, finished: int) -> tuple[int, float]:
        """Requests to Ray and seconds of `launcher status` for one that runs among `finished`."""
        self._submit("going-on", "ray")
        try:
            paths = RunPaths(self.folder / "going-on")
            self._reach(paths, 1)
            self._copy_as_finished(paths, finished)
            before, began = self._proxy.requests, time.monotonic()
            done = self._launcher("status", "going-on", "--json")
            seconds = time.monotonic() - began
            asked = self._proxy.requests - before
            state = json.loads(done.stdout)["state"]
            if state != "RUNNING":
                raise SystemExit(f"the run that goes on is {state}")
            return asked, seconds
        finally:
            self._launcher("cancel", "going-on")

    def _copy_as_finished(self, paths: RunPaths, count: int) -> None:
        status = json.loads(paths.status.read_text())
        job = json.loads((paths.root / "ray.json").read_text())
        for number in range(count):
            root = self.folder / f"ended-{number}"
            root.mkdir()
            for name in ("spec.yaml", "plan.json", "pipeline.config"):
                shutil.copyfile(paths.root / name, root / name)
            ended = {"name": root.name, "state": "SUCCEEDED", "reason": "scored"}
            (root / "status.json").write_text(json.dumps({**status, **ended}))
            named = {"name": root.name, "root": str(root), "submission": f"{root.name}-0"}
            (root / "ray.json").write_text(json.dumps({**job, **named}))

    def _submit(self, name: str, backend: str) -> None:
        where = ["--address", self._proxy.url] if backend == "ray" else []
        sets = [f"name={name}", f"run_dir={self.folder}", "train.checkpoint_every.steps=1000"]
        done = self._launcher(
            "submit", str(training.ROOT / "configs" / "demo.yaml"), "--backend", backend, *where,
            "--detach", *(word for one in sets for word in ("--set", one)),
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stderr)

    def _launcher(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        env = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        return subprocess.run(
            [sys.executable, "-m", "launcher", *arguments],
            cwd=self.folder,
            env={
                **env,
                "XDG_STATE_HOME": str(self.folder / "state"),
                "PYTHONPATH": str(training.ROOT),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def _reach(self, paths: RunPaths, step: int, seconds: float = 400.0) -> list[dict[str, Any]]:
        deadline = time.monotonic() + seconds
        while len(rows := read_jsonl(paths.train_metrics)) < step:
            if time.monotonic() > deadline:
                raise SystemExit(f"{paths.root.name}: no step {step} within {seconds:g} s")
            time.sleep(_POLL_SECONDS)
        return rows

    def _cpu_seconds(self, paths: RunPaths) -> float:
        """Of the two workers."""
        beats = (json.loads(paths.progress(i).read_text()) for i in (0, 1))
        return sum(training.cpu_seconds_of(beat["pid"]) for beat in beats)


@dataclass
class Proxy:
    url: str = ""
    requests: int = 0


@contextmanager
def counting(target: str) -> Iterator[Proxy]:
    """A server that hands all requests on to `target`, and counts them."""
    proxy = Proxy()

    class Handler(BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            proxy.requests += 1
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
            kept = {
                k: v for k, v in self.headers.items() if k.lower() in ("content-type", "accept")
            }
            request = urllib.request.Request(  # noqa: S310 (the cluster that was just started)
                target + self.path, data=body, method=self.command, headers=kept
            )
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            try:
                answer = direct.open(request, timeout=60)
            except urllib.error.HTTPError as e:
                answer = e
            with answer:
                data = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _pass_on  # noqa: N815 (their names are given)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield proxy
        server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
