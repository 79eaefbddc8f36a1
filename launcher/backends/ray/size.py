"""How many workers a cluster has room for, and which number to take. Pure but for `look`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launcher.render.ray import Needs

_SHOWN = 4
_HIDDEN = ("node:", "object_store_memory", "accelerator_type:")


@dataclass(frozen=True)
class Node:
    ip: str
    total: Mapping[str, float]
    free: Mapping[str, float]

    def __str__(self) -> str:
        names = [n for n in self.total if not n.startswith(_HIDDEN) and n != "memory"]
        parts = [f"{self.free.get(n, 0.0):g} of {self.total[n]:g} {n}" for n in names]
        return f"{self.ip} has {', '.join(parts) or 'nothing'} free"


def look() -> list[Node]:
    """The living nodes of the cluster that we are connected to."""
    import ray
    from ray._private.state import available_resources_per_node

    free = available_resources_per_node()  # type: ignore[no-untyped-call]
    return [
        Node(n["NodeManagerAddress"], n["Resources"], free.get(n["NodeID"], {}))
        for n in ray.nodes()  # type: ignore[no-untyped-call]
        if n["Alive"]
    ]


def room(resources: Sequence[Mapping[str, float]], needs: Needs, placement: str) -> int:
    """How many such workers fit on nodes with these resources."""
    each = [_fitting(node, needs.bundle) for node in resources]
    if placement == "STRICT_PACK":
        return max(each, default=0)
    if placement == "STRICT_SPREAD":
        return sum(count > 0 for count in each)
    return sum(each)


def room_free(nodes: Sequence[Node], needs: Needs, placement: str) -> int:
    return room([node.free for node in nodes], needs, placement)


def room_in_all(nodes: Sequence[Node], needs: Needs, placement: str) -> int:
    """With nothing else running there."""
    return room([node.total for node in nodes], needs, placement)


def has_room_beside(
    resources: Sequence[Mapping[str, float]],
    needs: Needs,
    workers: int,
    placement: str,
    one: Needs,
) -> bool:
    """Whether one more process fits in with so many workers, with nothing else running there."""
    for i, node in enumerate(resources):
        if not _fitting(node, one.bundle):
            continue
        rest = {k: v - one.bundle.get(k, 0.0) for k, v in node.items()}
        if room([*resources[:i], rest, *resources[i + 1 :]], needs, placement) >= workers:
            return True
    return False


def largest(sizes: Sequence[int], fitting: int) -> int | None:
    """The most workers that fit, of those that a plan was made for."""
    return max((size for size in sizes if size <= fitting), default=None)


def why_waiting(
    nodes: Sequence[Node], needs: Needs, placement: str, sizes: Sequence[int], free: int
) -> str:
    """What is asked, and what is there."""
    fewest = min(sizes)
    asked = f"{fewest} worker{'s' if fewest > 1 else ''} with {needs} each"
    asked += f" ({placement.lower()})" if placement.startswith("STRICT") else ""
    lacks = [k for k, v in needs.bundle.items() if all(n.total.get(k, 0.0) < v for n in nodes)]
    none = f"; no node has {', '.join(f'{needs.bundle[k]:g} {k}' for k in lacks)}" if lacks else ""
    listed = "; ".join(map(str, nodes[:_SHOWN]))
    more = f"; and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    return f"waiting for room for {asked}: there is room for {free}{none}. {listed}{more}"


def _fitting(node: Mapping[str, float], bundle: Mapping[str, float]) -> int:
    """Copies of `bundle` in what a node has. A worker that takes nothing fits a thousand times."""
    return min((math.floor(node.get(k, 0.0) / v + 1e-6) for k, v in bundle.items()), default=1000)
