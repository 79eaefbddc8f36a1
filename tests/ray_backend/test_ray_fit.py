"""Whether a real cluster fits a run: a head with 1 CPU and 1 GPU, as it is told.

What a cluster cannot be made to be here, another Ray, Python or TensorFlow, is put into its answers
on the way.
"""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from launcher import load, plan
from launcher.api import draw
from launcher.backends.ray.backend import BACKEND
from launcher.backends.ray.fit import crowded
from launcher.backends.ray.rest import Dashboard
from launcher.contract import Reason, RunPaths, State
from launcher.errors import UsageError
from launcher.planning import Plan
from launcher.planning.elastic import elastic_plans
from launcher.render import ray as render
from launcher.storage import write_json
from tests.ray_backend.nodes import Nodes
from tests.ray_backend.test_ray_rest import Quiet, server

pytestmark = pytest.mark.timeout(900)

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"
ONE_WORKER = ("cluster.workers=1", "batch.per_replica_batch=8")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with Nodes(cpus=1, gpus=1) as cluster:
        deadline = time.monotonic() + 240
        while not cluster.autoscaling_status():
            assert time.monotonic() < deadline, "the monitor has not said anything"
            time.sleep(0.5)
        yield cluster


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So that the cluster is asked once, as by one user."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def _own_state(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(state))


@pytest.fixture
def made(cluster: Nodes, tmp_path: Path) -> Callable[..., Plan]:
    def make(*overrides: str, address: str = cluster.url) -> Plan:
        place = [f"run_dir={tmp_path / 'runs'}", f"backend.ray.address={address}"]
        return plan(load(DEMO, ["backend.kind=ray", *place, *overrides]))

    return make


@pytest.fixture
def refused(made: Callable[..., Plan]) -> Callable[..., str]:
    def refuse(*overrides: str, address: str | None = None) -> str:
        with pytest.raises(UsageError) as caught:
            BACKEND.check(made(*overrides, **({"address": address} if address else {})))
        return str(caught.value)

    return refuse


IMPOSSIBLE = [
    ("cluster.gpus_per_worker=4", "1 CPU, 4 GPU", "1 CPU, 1 GPU"),
    ("backend.ray.resources={no_such_thing: 1}", "1 no_such_thing", "0 no_such_thing"),
    ("cluster.cpus_per_worker=64", "64 CPU", "1 CPU"),
]


@pytest.mark.parametrize(("override", "asked", "there"), IMPOSSIBLE)
def test_what_no_node_has_is_refused_on_a_cluster_without_an_autoscaler(
    cluster: Nodes, made: Callable[..., Plan], refused: Callable[..., str],
    override: str, asked: str, there: str,
) -> None:  # fmt: skip
    assert cluster.autoscaling_status()
    text = refused(override, *ONE_WORKER)
    assert text.startswith(f"--set {override.partition('=')[0]}: a worker asks for ")
    assert asked in text
    assert "no node of 1 has that" in text
    assert there in text
    assert "backend.ray.wait_for_nodes" in text
    BACKEND.check(made(override, *ONE_WORKER, "backend.ray.wait_for_nodes=true"))


def test_what_there_is_is_taken(made: Callable[..., Plan]) -> None:
    BACKEND.check(made(*ONE_WORKER, "cluster.gpus_per_worker=1", "evaluate.gpus=0"))


def test_the_evaluator_that_no_node_can_hold(refused: Callable[..., str]) -> None:
    text = refused(*ONE_WORKER, "backend.ray.evaluator_resources={no_such_thing: 2}")
    assert "backend.ray.evaluator_resources: the evaluator asks for 2 no_such_thing" in text
    text = refused(*ONE_WORKER, "evaluate.gpus=3")
    assert "evaluate.gpus: the evaluator asks for 3 GPU" in text


def waits(made: Plan) -> str:
    plans = elastic_plans(made)
    address = str(made.spec.backend.ray.address)
    job = render.job(made, tuple(sorted(plans, reverse=True)), made.name, address)
    return crowded(Dashboard(address), job, made)


def test_what_would_wait_on_the_cluster_as_it_is(made: Callable[..., Plan]) -> None:
    assert not waits(made(*ONE_WORKER))
    text = waits(made("cluster.workers=2"))
    assert "room for 1 of 2 workers with 1 CPU each (pack): the run waits" in text
    crowd = (*ONE_WORKER, "backend.ray.evaluator_cpus=1")
    text = waits(made(*crowd))
    assert "the evaluator asks for 1 CPU, for which there is no room beside 1 worker" in text
    assert "launcher evaluate demo" in text
    assert not waits(made(*crowd, "backend.ray.wait_for_nodes=true"))


def test_submit_says_what_the_run_waits_for_and_what_is_not_followed(
    made: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    waiting = made("cluster.workers=2", "data.synthetic.train_images=64")
    draw(waiting.spec)
    handle = BACKEND.submit(waiting)
    try:
        lines = capsys.readouterr().err.splitlines()
        waits = "warning: demo: the cluster has room for 1 of 2 workers"
        assert any(line.startswith(waits) for line in lines)
        assert any(line.startswith("warning: RAY_ADDRESS says ray://head:10001") for line in lines)
        deadline = time.monotonic() + 240
        while (status := handle.status()).reason is not Reason.WAITING:
            assert time.monotonic() < deadline, status
            assert not status.state.ended, status
            time.sleep(0.3)
        assert "2 workers with 1 CPU each" in status.message
    finally:
        ended = handle.cancel(timeout=60.0)
        BACKEND.delete(handle.root)
    assert ended.state is State.CANCELLED, ended


def test_cancelled_before_its_driver_has_come(made: Callable[..., Plan]) -> None:
    """It has no data either, of which it says nothing any more; nor of the pods that had given it
    up, which it continues."""
    plan = made(*ONE_WORKER)
    paths = RunPaths(plan.root)
    for path in (paths.plan, paths.given_up):
        write_json(path, {})
    handle = BACKEND.submit(plan, resume=True)
    try:
        assert not paths.given_up.exists()
        ended = handle.cancel()
    finally:
        BACKEND.delete(handle.root)
    assert ended.state is State.CANCELLED, ended
    assert not ended.message


@pytest.fixture
def through(cluster: Nodes) -> Iterator[Callable[[bytes, bytes], str]]:
    """The address of the same cluster, with `old` in its answers replaced by `new`."""
    changes: list[tuple[bytes, bytes]] = []

    class Changed(Quiet):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            request = urllib.request.Request(  # noqa: S310
                cluster.url + self.path,
                data=self.rfile.read(length) if length else None,
                headers={"Content-Type": "application/json"},
                method=self.command,
            )
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                body = answer.read()
            for old, new in changes:
                body = body.replace(old, new)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

    handler: type[BaseHTTPRequestHandler] = Changed
    with server(handler) as address:

        def change(old: bytes, new: bytes) -> str:
            changes[:] = [(old, new)]
            return address

        yield change


def said_by(cluster: Nodes, name: str) -> bytes:
    """A version as the cluster itself gives it."""
    import importlib.metadata
    import platform

    python = platform.python_version()
    return (python if name == "python" else importlib.metadata.version(name)).encode()


@pytest.mark.parametrize(
    ("what", "field", "package"),
    [
        ("Ray", b'"ray_version": "%s"', "ray"),
        ("Python", b'"pythonVersion": "%s"', "python"),
        ("Python", b'\\"python\\": \\"%s\\"', "python"),
        ("TensorFlow", b'\\"tensorflow\\": \\"%s\\"', "tensorflow"),
    ],
)
def test_another_version_is_refused_with_both(
    cluster: Nodes, refused: Callable[..., str], through: Callable[[bytes, bytes], str],
    what: str, field: bytes, package: str,
) -> None:  # fmt: skip
    package = "tensorflow-cpu" if package == "tensorflow" and not has("tensorflow") else package
    ours = said_by(cluster, package)
    address = through(field % ours, field % b"1.7.0")
    text = refused(*ONE_WORKER, address=address)
    assert f"the cluster has {what} 1.7.0, this launcher {what} {ours.decode()}" in text
    assert text.startswith(address)


def has(package: str) -> bool:
    import importlib.metadata

    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def probes(cluster: Nodes) -> int:
    return sum("launcher-probe" in str(job["submission_id"]) for job in cluster.jobs())


def test_only_an_answer_that_fits_is_remembered(
    cluster: Nodes, made: Callable[..., Plan], refused: Callable[..., str],
    through: Callable[[bytes, bytes], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    address = through(b'\\"missing\\": []', b'\\"missing\\": [\\"tf_keras\\"]')
    assert "lacks packages that the workers need (tf_keras)" in refused(address=address)
    through(b"", b"")  # it has been installed, and the head is the same
    before = probes(cluster)
    BACKEND.check(made(*ONE_WORKER, address=address))
    BACKEND.check(made(*ONE_WORKER, address=address))
    assert probes(cluster) == before + 1, "what fits is asked once"
    (memory,) = (tmp_path / "state" / "launcher" / "ray-clusters").iterdir()
    memory.write_text(json.dumps({**json.loads(memory.read_text()), "missing": ["official"]}))
    BACKEND.check(made(*ONE_WORKER, address=address))
    assert probes(cluster) == before + 2, "one that was remembered and does not fit is asked again"
