"""A disk that fails for a while: before a group begins, and when a worker's end is written down."""

import errno
import importlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher import load, plan
from launcher.backends.files import write_files
from launcher.backends.lock import RunLock, Work
from launcher.backends.processes import Child, wait
from launcher.backends.ray import agent, proof, replan
from launcher.backends.ray.agent import Agent, Order, WorkerLeftError
from launcher.backends.ray.channel import Channel
from launcher.backends.ray.rest import Dashboard
from launcher.contract import Reason
from launcher.errors import ConfigError, DataError, StorageError, WorkerExit
from launcher.odapi import compat
from launcher.planning.elastic import elastic_plans
from launcher.render import ray as render
from launcher.render.supervised import WORKER, Process
from launcher.storage import read_json, write_json
from tests.backends.test_unreadable_files import broken
from tests.disks import gone, small
from tests.ray_backend.test_ray_truth import DEMO, written

NODE = "node 10.0.0.7 (4f1d22ab, worker-1)"


@pytest.fixture
def channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Channel:
    monkeypatch.setattr(proof, "SEE_SECONDS", 0.2)
    monkeypatch.setattr(proof, "_OTHERS_SECONDS", 0.3)
    return Channel(tmp_path / "run")


def check(channel: Channel, *, seen: bool = False) -> None:
    proof.check_folder(channel, 1, "token", 1, 2, NODE, seen=seen)


def test_a_node_that_saw_the_folder_before_has_trouble_and_no_other_folder(
    channel: Channel,
) -> None:
    for who in ("driver", "worker-0"):
        said = f"{NODE} does not see what {who.replace('driver', 'the driver')} has written there"
        with pytest.raises(ConfigError, match="run_dir is not the same place for all ") as other:
            check(channel)
        assert said in str(other.value)
        with pytest.raises(StorageError) as caught:
            check(channel, seen=True)
        assert f"{said}, as it did in an earlier attempt. See whether " in str(caught.value)
        write_json(channel.token(1, who), {"token": "token"})
    check(channel)


def test_a_folder_that_does_not_answer_is_shared_nevertheless(channel: Channel) -> None:
    for who in ("driver", "worker-0"):
        write_json(channel.token(1, who), {})
        with gone(channel.token(1, who)), pytest.raises(StorageError) as caught:
            check(channel)
        assert f"{NODE} does not see what " in str(caught.value)
        assert "(cannot read (Transport endpoint is not connected))" in str(caught.value)
        write_json(channel.token(1, who), {"token": "token"})


def test_a_full_disk_has_room_another_time(channel: Channel) -> None:
    with small(channel.root, "1m") as disk:
        proof.offer(channel, 1, "token")
        fill(disk)
        with pytest.raises(StorageError, match="No space left on device") as caught:
            check(channel)
        assert NODE in str(caught.value)


def test_a_folder_that_may_not_be_written_is_a_mistake(channel: Channel) -> None:
    proof.offer(channel, 1, "token")
    channel.token(1, "worker-1").mkdir()
    with pytest.raises(ConfigError, match=r"cannot write there .*Mount run_dir for writing"):
        check(channel)


def test_data_that_cannot_be_looked_at_now_is_not_missing(tmp_path: Path) -> None:
    record = tmp_path / "a.record"
    record.write_bytes(b"1234")
    sizes = proof.data_sizes([str(tmp_path / "*.record")], NODE)
    assert sizes == {str(record): 4}
    with gone(record):
        for look in (
            lambda: proof.check_data(sizes, NODE),
            lambda: proof.data_sizes([str(record)], NODE),
        ):
            with pytest.raises(
                StorageError, match=r"node 10.0.0.7 .*Transport endpoint is not con"
            ):
                look()
    record.unlink()
    for look in (
        lambda: proof.check_data(sizes, NODE),
        lambda: proof.data_sizes([str(record)], NODE),
    ):
        with pytest.raises(DataError, match="Put the data where all nodes see the same"):
            look()


@pytest.fixture
def group() -> Any:
    """The module. Ray's trainer imports TensorFlow: as our workers do, for other tests."""
    compat.load()
    return importlib.import_module("launcher.backends.ray.group")


@pytest.fixture
def driver(tmp_path: Path, group: Any) -> Iterator[Any]:
    """Of a run whose cluster it has not asked anything yet."""
    from launcher.backends.ray.driver import Driver

    root = written(tmp_path, "http://127.0.0.1:1")
    lock = RunLock.acquire(root, Work.SUPERVISE)
    assert lock is not None
    job = render.RayJob.read(root / render.JOB_FILE)
    yield Driver(job, lock, Dashboard("http://127.0.0.1:1"))
    lock.release()


@pytest.mark.tensorflow
def test_a_disk_that_fails_before_a_group_begins_costs_a_restart(driver: Any) -> None:
    broken(driver._paths.pipeline)
    verdict = driver._attempt()
    assert verdict is not None
    assert (verdict.reason, verdict.final, verdict.counts) == (Reason.STORAGE, False, True)
    said = f"the supervisor: {driver._paths.pipeline}: cannot read (Input/output error). "
    assert str(verdict.cause).startswith(said)


@pytest.mark.tensorflow
def test_a_group_whose_orders_cannot_be_written_is_closed(driver: Any, group: Any) -> None:
    """It never came to a start."""
    order = Order(str(driver._paths.root), 1, ("-c", ""), None, 0, "token")
    one = group.Group(driver._ray, 1, order, print)
    (driver._channel.orders(1)).mkdir(parents=True)
    with pytest.raises(StorageError):
        one.start()
    one.close()


def test_a_plan_that_cannot_be_read_now_changes_nothing(tmp_path: Path) -> None:
    made = plan(load(DEMO, [f"run_dir={tmp_path}", "cluster.workers={min: 1, max: 2}"]))
    plans = elastic_plans(made)
    job = render.job(made, tuple(plans), "demo-0", "http://127.0.0.1:1")
    write_files(made.root, render.files(made, job, plans))
    channel, told = Channel(made.root), list[str]()
    before = channel.paths.plan.read_text()
    smaller = made.root / render.size_folder(1) / "plan.json"
    kept = smaller.read_text()
    broken(smaller)
    with pytest.raises(StorageError, match="cannot read"):
        replan.take(channel, "demo-0", 1, 1, told.append)
    assert (channel.paths.plan.read_text(), told) == (before, [])
    smaller.unlink()
    smaller.write_text(kept)
    replan.take(channel, "demo-0", 1, 1, told.append)
    assert read_json(channel.paths.plan)["workers"] == 1
    assert told[0].startswith("re-planned: 1 worker x ")


def agent_of(channel: Channel) -> Agent:
    """Without Ray, which gives it its place."""
    made = object.__new__(Agent)
    order = Order(str(channel.root), 1, (), None, 0, "token")
    values: dict[str, Any] = {
        "_order": order, "_worker": 0, "_channel": channel, "_ip": "10.0.0.7", "_node": "4f1d22ab",
        "_applied": 0, "_told": {},
    }  # fmt: skip
    made.__dict__.update(values)
    return made


def ended(folder: Path, code: int) -> Child:
    argv = (sys.executable, "-c", f"raise SystemExit({code})")
    child = Child(Process(WORKER, 0, argv, {}, str(folder / "log")))
    assert wait([child], 30)
    return child


def fill(disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        (disk / "filler").write_bytes(bytes(4 << 20))


def test_the_end_of_a_worker_is_written_down_when_there_is_room(
    channel: Channel, tmp_path: Path
) -> None:
    child = ended(tmp_path, WorkerExit.STORAGE)
    with small(channel.root, "1m") as disk:
        write_json(channel.state(1, 0), {})
        fill(disk)
        room = threading.Timer(1.0, (disk / "filler").unlink)
        room.start()
        assert agent_of(channel)._tell_end(child)
        assert read_json(channel.state(1, 0))["code"] == WorkerExit.STORAGE
        room.join()


@pytest.mark.tensorflow
def test_the_driver_hears_of_it_from_ray_when_there_is_none(
    channel: Channel, tmp_path: Path, group: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "_TELL_SECONDS", 0.5)
    child, began = ended(tmp_path, WorkerExit.STORAGE), time.monotonic()
    with small(channel.root, "1m") as disk:
        write_json(channel.state(1, 0), {})
        fill(disk)
        one = agent_of(channel)
        with pytest.raises(WorkerLeftError) as caught:
            one._end(child, one._tell_end(child))
    assert time.monotonic() - began < 60, "not after the time in which it lets the others speak"
    assert str(caught.value) == "worker-0 left with exit code 74"
    assert group._code_and_text(caught.value) == (WorkerExit.STORAGE, "")


@pytest.mark.tensorflow
def test_a_disk_that_ray_finds_full_is_no_lost_worker(group: Any) -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    code, told = group._code_and_text(error)
    assert (code, told) == (74, "could not be run by Ray ([Errno 28] No space left on device)")
