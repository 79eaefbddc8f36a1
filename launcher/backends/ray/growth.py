"""The room that there is when some processes leave: what they hold, back on their nodes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from launcher.backends.ray.size import Node, room_free
from launcher.render.ray import Needs

_ROUNDING = 1e-6


def given_back(
    nodes: Sequence[Node], held: Sequence[tuple[str, Mapping[str, float]]]
) -> list[Node]:
    """`held` is what each process holds, with the IP address of its node. A node that does not
    have so much in use gets nothing back: what is free is told a second late."""
    found = list(nodes)
    for ip, bundle in held:
        for i, node in enumerate(found):
            if node.ip == ip and _uses(node, bundle):
                more = {k: node.free.get(k, 0.0) + v for k, v in bundle.items()}
                found[i] = replace(node, free={**node.free, **more})
                break
    return found


def room_for_group(
    nodes: Sequence[Node], placed: Sequence[str], needs: Needs, placement: str
) -> int:
    """How many workers fit once those that are `placed`, by the addresses of their nodes, have
    stopped: as many as the next group can have."""
    return room_free(given_back(nodes, [(ip, needs.bundle) for ip in placed]), needs, placement)


def _uses(node: Node, bundle: Mapping[str, float]) -> bool:
    used = {k: node.total.get(k, 0.0) - node.free.get(k, 0.0) for k in bundle}
    return all(used[k] >= v - _ROUNDING for k, v in bundle.items())
