"""How many workers fit, and what is said when they do not."""

import pytest

from launcher.backends.ray.size import (
    Node,
    has_room_beside,
    largest,
    room,
    room_free,
    room_in_all,
    why_waiting,
)
from launcher.render.ray import Needs

BIG = {"CPU": 16.0, "GPU": 4.0, "memory": 64e9}
SMALL = {"CPU": 4.0}


@pytest.mark.parametrize(
    ("placement", "count"), [("PACK", 5), ("SPREAD", 5), ("STRICT_PACK", 4), ("STRICT_SPREAD", 2)]
)
def test_room_by_placement(placement: str, count: int) -> None:
    assert room([BIG, SMALL], Needs(cpus=4), placement) == count


def test_room_is_what_the_scarcest_resource_allows() -> None:
    assert room([BIG], Needs(cpus=1, gpus=2), "PACK") == 2
    assert room([BIG], Needs(cpus=1, memory=30 * 10**9), "PACK") == 2
    assert room([BIG], Needs(cpus=1, resources={"fast_disk": 1}), "PACK") == 0


def test_fractions_add_up_to_a_whole_node() -> None:
    assert room([{"CPU": 2.0}], Needs(cpus=0.1), "PACK") == 20


def test_free_room_is_less_than_all_room() -> None:
    nodes = [Node("10.0.0.1", BIG, {"CPU": 4.0, "GPU": 4.0})]
    assert room_free(nodes, Needs(cpus=4), "PACK") == 1
    assert room_in_all(nodes, Needs(cpus=4), "PACK") == 4


@pytest.mark.parametrize(
    ("evaluator", "placement", "workers", "fits"),
    [
        (Needs(), "PACK", 5, True),
        (Needs(cpus=4), "PACK", 5, False),
        (Needs(cpus=4), "PACK", 4, True),
        (Needs(cpus=8), "PACK", 3, True),
        (Needs(gpus=4), "PACK", 5, True),
        (Needs(gpus=5), "PACK", 1, False),
        (Needs(cpus=1), "STRICT_PACK", 4, True),
        (Needs(cpus=5), "STRICT_PACK", 4, False),
        (Needs(cpus=12), "STRICT_SPREAD", 2, True),
        (Needs(cpus=13), "STRICT_SPREAD", 2, False),
    ],
)
def test_room_for_the_evaluator_beside_workers_of_four_cores(
    evaluator: Needs, placement: str, workers: int, fits: bool
) -> None:
    found = has_room_beside([BIG, SMALL], Needs(cpus=4), workers, placement, evaluator)
    assert found is fits


def test_largest_size_that_fits() -> None:
    assert largest((8, 4, 2), 5) == 4
    assert largest((8, 4, 2), 8) == 8
    assert largest((8, 4, 2), 1) is None


def test_waiting_names_what_is_asked_and_what_is_there() -> None:
    nodes = [Node("10.0.0.1", SMALL, {"CPU": 1.0}), Node("10.0.0.2", BIG, {"CPU": 16.0})]
    told = why_waiting(nodes, Needs(cpus=1, gpus=8), "PACK", (2,), 0)
    assert "2 workers with 1 CPU, 8 GPU each" in told
    assert "no node has 8 GPU" in told
    assert "10.0.0.1 has 1 of 4 CPU free" in told
    assert "10.0.0.2 has 16 of 16 CPU, 0 of 4 GPU free" in told


def test_waiting_for_busy_nodes_does_not_say_that_they_lack_anything() -> None:
    told = why_waiting([Node("10.0.0.1", SMALL, {})], Needs(cpus=1), "PACK", (4, 2), 0)
    assert "2 workers" in told
    assert "no node has" not in told
