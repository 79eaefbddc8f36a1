"""Workers find each other before TensorFlow starts: real sockets on loopback, a thread each."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.backends.processes import free_hosts
from launcher.contract import RunPaths
from launcher.errors import ConfigError, LauncherError, PeerLostError, StorageError
from launcher.pod import greeting, meeting
from launcher.pod.identity import Identity

PLAN, VERSION = "a" * 64, "0123 (TensorFlow 2.21.0)"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(meeting, "_TOLD_SECONDS", 0.2)
    monkeypatch.setattr(meeting, "_STORAGE_SECONDS", 0.5)
    monkeypatch.setattr(greeting, "_ANSWER_SECONDS", 0.3)
    monkeypatch.setenv(meeting.ENV_SECONDS, "1.5")


class Group:
    """Workers that meet, each with what it said and how it ended (None: they met)."""

    def __init__(self, hosts: list[str], root: Path) -> None:
        self.hosts = tuple(hosts)
        self.root = root
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

    def ended(self) -> dict[int, LauncherError | None]:
        for thread in self._threads:
            thread.join(20)
        return self.ends


@pytest.fixture
def group(tmp_path: Path) -> Callable[[int], Group]:
    return lambda workers: Group(free_hosts(workers), tmp_path)


def test_all_meet_and_give_their_ports_back(group: Callable[[int], Group]) -> None:
    met = group(5)
    for index in reversed(range(5)):
        met.start(index)
    assert met.ended() == dict.fromkeys(range(5))
    again = Group(list(met.hosts), met.root)  # TensorFlow listens on the same ports next
    for index in range(5):
        again.start(index)
    assert again.ended() == dict.fromkeys(range(5))


def test_nobody_goes_before_the_last_has_come(group: Callable[[int], Group]) -> None:
    met = group(3)
    met.start(0)
    met.start(1)
    threading.Event().wait(0.6)
    assert met.ends == {}
    assert any(f"worker 2 ({met.hosts[2]}) does not answer" in line for line in met.said[0])
    assert "waiting for worker 0, which waits for another worker" in met.said[1]
    met.start(2)
    assert met.ended() == dict.fromkeys(range(3))


def test_who_is_missing_is_named(group: Callable[[int], Group]) -> None:
    met = group(3)
    met.hosts = (*met.hosts[:2], "d3-worker-2.nowhere.invalid:2222")
    met.start(0)
    met.start(1)
    ends = met.ended()
    assert isinstance(ends[0], PeerLostError)
    assert int(ends[0].worker_exit) == 75
    assert str(ends[0]).startswith(
        "worker 0: worker 2 (d3-worker-2.nowhere.invalid:2222) does not resolve, after 2 s"
    )
    assert isinstance(ends[1], PeerLostError)
    assert "worker 0" in str(ends[1])


def test_another_plan_is_refused(group: Callable[[int], Group]) -> None:
    met = group(2)
    met.start(0)
    met.start(1, plan="b" * 64)
    ends = met.ended()
    refused = [e for e in ends.values() if isinstance(e, ConfigError)]
    assert refused, ends
    assert "has plan" in str(refused[0])
    assert int(refused[0].worker_exit) == 64


def test_another_version_is_refused(group: Callable[[int], Group]) -> None:
    met = group(2)
    met.start(0)
    met.start(1, version="4567 (TensorFlow 2.20.0)")
    refused = [e for e in met.ended().values() if isinstance(e, ConfigError)]
    assert "4567 (TensorFlow 2.20.0)" in str(refused[0])
    assert "one image" in str(refused[0])


def test_a_folder_that_is_not_shared_is_told(group: Callable[[int], Group], tmp_path: Path) -> None:
    met = group(2)
    met.start(0)
    met.start(1, root=tmp_path / "another volume")
    ends = met.ended()
    assert isinstance(ends[1], StorageError)
    assert "the pods do not share this folder" in str(ends[1])
    assert "ReadWriteMany" in str(ends[1])


def test_a_port_that_is_taken_is_told(group: Callable[[int], Group]) -> None:
    import socket

    met = group(2)
    with socket.create_server(("", int(met.hosts[0].rsplit(":")[1]))):
        met.start(0)
        ends = met.ended()
    assert isinstance(ends[0], PeerLostError)
    assert "cannot be listened on" in str(ends[0])


def test_a_stranger_on_the_port_is_no_worker(group: Callable[[int], Group]) -> None:
    import socket

    met = group(2)
    with socket.create_server(("127.0.0.1", int(met.hosts[1].rsplit(":")[1]))) as server:
        accepted = threading.Thread(target=lambda: server.accept()[0].sendall(b"HTTP/1.1 400\n"))
        accepted.start()
        met.start(0)
        ends = met.ended()
        accepted.join(5)
    assert isinstance(ends[0], PeerLostError)
    assert f"worker 1 ({met.hosts[1]}) does not answer" in str(ends[0])
