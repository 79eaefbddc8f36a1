"""Workers find each other before TensorFlow starts: real sockets on loopback, a thread each."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.backends.processes import free_hosts
from launcher.contract import RunPaths
from launcher.errors import ConfigError, LauncherError, PeerLostError, StorageError
from launcher.pod import greeting, meeting
from launcher.pod.greeting import Greeting
from launcher.pod.identity import Identity

PLAN, VERSION = "a" * 64, "0123 (TensorFlow 2.21.0)"
BOUND = 1.5
"""Seconds; waiting for a pod that has not come yet has none."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(meeting, "_TOLD_SECONDS", 0.2)
    monkeypatch.setattr(meeting, "_STORAGE_SECONDS", 0.5)
    monkeypatch.setattr(greeting, "_ANSWER_SECONDS", 0.3)
    monkeypatch.setenv(meeting.ENV_SECONDS, str(BOUND))


class Group:
    """Workers that meet, each with what it said and how it ended (None: they met)."""

    def __init__(self, hosts: list[str], root: Path) -> None:
        self.hosts = tuple(hosts)
        self.root = root
        self.paths = RunPaths(root)
        self.ends: dict[int, LauncherError | None] = {}
        self.said: dict[int, list[str]] = {}
        self._threads: list[threading.Thread] = []

    def start(self, index: int, **changed: str | Path) -> None:
        paths = RunPaths(Path(changed.get("root", self.root)))
        plan, version = str(changed.get("plan", PLAN)), str(changed.get("version", VERSION))
        me = Identity("worker", index, self.hosts)
        said = self.said[index] = []

        def run() -> None:
            try:
                meeting.meet(paths, me, plan, version, said.append)
                self.ends[index] = None
            except LauncherError as e:
                self.ends[index] = e

        thread = threading.Thread(target=run)
        self._threads.append(thread)
        thread.start()

    def ended(self, *indexes: int) -> dict[int, LauncherError | None]:
        """When those have ended; none named: all. The others may wait for them."""
        deadline = time.monotonic() + 20
        while not self.ends.keys() >= set(indexes or self.said):
            assert time.monotonic() < deadline, (self.ends, self.said)
            time.sleep(0.02)
        return dict(self.ends)

    def any_ended(self) -> list[LauncherError | None]:
        deadline = time.monotonic() + 20
        while not self.ends:
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)
        return list(self.ends.values())

    def dismiss(self) -> None:
        """Whoever still waits for somebody finds another plan there, and leaves."""
        gone = [i for i in range(len(self.hosts)) if i not in self.said or i in self.ends]
        ports = {i: int(self.hosts[i].rsplit(":", 1)[1]) for i in gone}
        listeners = [
            greeting.Listener(port, lambda i=i: Greeting(i, "none", VERSION))
            for i, port in ports.items()
            if len(self.ends) < len(self.said)
        ]
        for thread in self._threads:
            thread.join(20)
        for listener in listeners:
            listener.close()


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Callable[[int], Group]]:
    made: list[Group] = []

    def make(workers: int) -> Group:
        made.append(Group(free_hosts(workers), tmp_path))
        return made[-1]

    yield make
    for each in made:
        each.dismiss()


def test_all_meet_and_give_their_ports_back(group: Callable[[int], Group]) -> None:
    met = group(5)
    for index in reversed(range(5)):
        met.start(index)
    assert met.ended() == dict.fromkeys(range(5))
    again = Group(list(met.hosts), met.root)  # TensorFlow listens on the same ports next
    for index in range(5):
        again.start(index)
    assert again.ended() == dict.fromkeys(range(5))


def test_a_pod_that_has_not_come_yet_is_waited_for_beyond_the_bound(
    group: Callable[[int], Group],
) -> None:
    """It waits for a node with GPUs: to leave would bring it no sooner, and 75 counts."""
    met = group(3)
    met.start(0)
    met.start(1)
    time.sleep(2 * BOUND)
    assert met.ends == {}
    assert any(
        f"s: worker 2 ({met.hosts[2]}) does not answer (Connection refused)" in line
        for line in met.said[0]
    )
    assert any(line.endswith("s: it waits for another worker") for line in met.said[1])
    met.start(2)
    assert met.ended() == dict.fromkeys(range(3))


def test_worker_0_that_has_not_come_yet_is_waited_for(group: Callable[[int], Group]) -> None:
    met = group(2)
    met.start(1)
    time.sleep(2 * BOUND)
    assert met.ends == {}
    met.start(0)
    assert met.ended() == dict.fromkeys(range(2))


def test_a_name_that_does_not_resolve_is_of_a_pod_that_has_not_come() -> None:
    host = "d3-worker-2.nowhere.invalid:2222"
    found = meeting._ask(2, host, Greeting(0, PLAN, VERSION))
    assert found == meeting._Absent("does not resolve", coming=True)
    assert meeting._list({2: found.why}, {2: host}) == f"worker 2 ({host}) does not resolve"


def test_worker_0_that_is_there_and_says_nothing_is_left_after_the_bound(
    group: Callable[[int], Group],
) -> None:
    """TensorFlow has its port, or a closed network lies between: nobody will say go."""
    met = group(2)
    listener = greeting.Listener(
        port := int(met.hosts[0].rsplit(":", 1)[1]),
        lambda: Greeting(0, PLAN, VERSION, ready=True, token=meeting._leave_token(met.paths)),
    )
    met.start(1)
    while not any("it waits for another worker" in line for line in met.said[1]):
        time.sleep(0.02)
    listener.close()
    with socket.create_server(("", port)):
        (end,) = met.ended().values()
    assert isinstance(end, PeerLostError)
    assert int(end.worker_exit) == 75
    assert f"worker 0 ({met.hosts[0]}) did not say go, and gives no answer for" in str(end)


def test_another_plan_is_refused(group: Callable[[int], Group]) -> None:
    met = group(2)
    met.start(0)
    met.start(1, plan="b" * 64)
    refused = [e for e in met.any_ended() if isinstance(e, ConfigError)]
    assert refused, met.ends
    assert "has plan" in str(refused[0])
    assert int(refused[0].worker_exit) == 64


def test_another_version_is_refused(group: Callable[[int], Group]) -> None:
    met = group(2)
    met.start(0)
    met.start(1, version="4567 (TensorFlow 2.20.0)")
    refused = [e for e in met.any_ended() if isinstance(e, ConfigError)]
    assert "4567 (TensorFlow 2.20.0)" in str(refused[0])
    assert "one image" in str(refused[0])


def test_a_folder_that_is_not_shared_is_told(group: Callable[[int], Group], tmp_path: Path) -> None:
    met = group(2)
    met.start(0)
    met.start(1, root=tmp_path / "another volume")
    ends = met.ended(1)
    assert isinstance(ends[1], StorageError)
    assert "the pods do not share this folder" in str(ends[1])
    assert "ReadWriteMany" in str(ends[1])


def test_a_port_that_is_taken_is_told(group: Callable[[int], Group]) -> None:
    met = group(2)
    with socket.create_server(("", int(met.hosts[0].rsplit(":")[1]))):
        met.start(0)
        ends = met.ended()
    assert isinstance(ends[0], PeerLostError)
    assert "cannot be listened on" in str(ends[0])


def test_a_stranger_on_the_port_is_no_worker(group: Callable[[int], Group]) -> None:
    met = group(2)
    with socket.create_server(("127.0.0.1", int(met.hosts[1].rsplit(":")[1]))) as server:
        accepted = threading.Thread(target=lambda: server.accept()[0].sendall(b"HTTP/1.1 400\n"))
        accepted.start()
        met.start(0)
        ends = met.ended()
        accepted.join(5)
    assert isinstance(ends[0], PeerLostError)
    assert f"worker 1 ({met.hosts[1]}) does not answer" in str(ends[0])
