"""The operations of a traced function, those of the functions that it calls included."""

from collections.abc import Iterator
from typing import Any


def nodes(concrete: Any) -> Iterator[Any]:
    graph = concrete.graph.as_graph_def()
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def products(concrete: Any) -> set[str]:
    """The names of all products of matrices, which GPUs round to TF32."""
    return {n.name for n in nodes(concrete) if "MatMul" in n.op or n.op == "Einsum"}
