"""Whether an elastic group can grow: the room when it has given back what it holds."""

from pathlib import Path

import pytest

from launcher.backends.ray.growth import given_back, room_for_group
from launcher.backends.ray.size import Node
from launcher.contract import State
from launcher.render.ray import Needs
from launcher.storage import read_jsonl
from tests.end_to_end.small_run import make_run
from tests.ray_backend.nodes import Nodes
from tests.ray_backend.ray_run import RayRun

ONE = Needs(cpus=1)
A, B = "10.0.0.1", "10.0.0.2"


def node(ip: str, total: float, free: float) -> Node:
    return Node(ip, {"CPU": total}, {"CPU": free})


@pytest.mark.parametrize(
    ("placement", "count"), [("PACK", 8), ("SPREAD", 8), ("STRICT_PACK", 4), ("STRICT_SPREAD", 2)]
)
def test_two_workers_on_two_nodes_of_four_cores(placement: str, count: int) -> None:
    nodes = [node(A, 4, 3), node(B, 4, 3)]
    assert room_for_group(nodes, [A, B], ONE, placement) == count


def test_a_packed_group_grows_only_on_one_node() -> None:
    assert room_for_group([node(A, 2, 0), node(B, 3, 3)], [A, A], ONE, "STRICT_PACK") == 3
    assert room_for_group([node(A, 4, 2), node(B, 2, 2)], [A, A], ONE, "STRICT_PACK") == 4


def test_a_spread_group_grows_by_nodes() -> None:
    nodes = [node(A, 4, 3), node(B, 4, 3), node("10.0.0.3", 4, 4)]
    assert room_for_group(nodes, [A, B], ONE, "STRICT_SPREAD") == 3


def test_room_that_others_take_is_not_the_groups() -> None:
    """A worker asks for 2: half of a node's free cores and half of its own make one more."""
    nodes = [node(A, 5, 1), node(B, 2, 0)]
    assert room_for_group(nodes, [A], Needs(cpus=2), "PACK") == 1


def test_nodes_of_one_address_are_told_apart_by_what_they_have_in_use() -> None:
    assert [
        n.free["CPU"] for n in given_back([node(A, 1, 1), node(A, 2, 0)], [(A, ONE.bundle)])
    ] == [
        1,
        1,
    ]


def test_what_is_not_yet_told_as_used_is_not_given_back_twice() -> None:
    assert room_for_group([node(A, 2, 2)], [A], ONE, "PACK") == 2


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.timeout(900)
def test_a_spread_group_with_idle_cores_beside_it_is_not_restarted(tmp_path: Path) -> None:
    """Two nodes of two cores hold two workers, one each, however many cores are left."""
    make_run(
        tmp_path,
        steps=60,
        checkpoint_steps=20,
        stall_seconds=300.0,
        sections="backend: {ray: {resize_seconds: 1, placement: strict_spread}}",
    )
    with Nodes() as cluster:
        run = RayRun(tmp_path, patience=400.0, address=cluster.url)
        text = run.spec.read_text().replace("{workers: 2}", "{workers: {min: 1, max: 4}}")
        text = text.replace("per_replica_batch: 4", "per_replica_batch: 2")
        run.spec.write_text(text.replace("train: {", "train: {norm: batch, "))
        ours = {cluster.add(cpus=2), cluster.add(cpus=2)}
        try:
            run.submit()
            told = run.wait_end(700)
            assert told["state"] == State.SUCCEEDED, run.tell()
            assert (told["attempt"], told["restarts"]) == (0, 0)
            (plan,) = run.replans()
            assert (plan["workers"], plan["accumulation_steps"]) == (2, 2)
            assert {run.placed(worker, attempt=0) for worker in (0, 1)} == ours
            assert "resized" not in {row["reason"] for row in read_jsonl(run.paths.events)}
        finally:
            run.end_all()
