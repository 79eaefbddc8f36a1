"""Which records `launcher data view` shows: the worst first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from launcher.odapi import pipeline as pipelines
from launcher.planning import Plan
from launcher.preflight.anchors import MATCHED
from launcher.preflight.boxes import in_pixels, match
from launcher.preflight.contents import Fault
from launcher.preflight.geometry import resizer_of
from launcher.preflight.reading import DataRead, Split
from launcher.records import examine
from launcher.records.framing import read_record

TITLES = {
    "smallest": "Smallest objects",
    "crowded": "Most objects",
    "unmatched": "Objects without an anchor over 0.5 IoU",
    "ordinary": "Others, evenly from all files",
}


@dataclass(frozen=True)
class Chosen:
    """A record to show. `data`: the record itself."""

    section: str
    place: str
    source_id: str
    why: str
    data: bytes


def choose(plan: Plan, read: DataRead, split: Split, count: int) -> list[Chosen]:
    """At most `count` records for each section, each record once. Those with a fault are left to
    `flagged`: training would stop at them."""
    c = split.contents
    model = pipelines.parse(plan.pipeline_text, plan.name).model
    faulty = {(fault.path, fault.number) for fault in c.faults}
    usable = [
        i for i in range(len(c.objects))
        if (split.files[int(c.file[i])].path, int(c.number[i])) not in faulty
    ]  # fmt: skip
    taken: set[int] = set()
    chosen = []
    for section, order in _orders(split, model, usable).items():
        for i, why in _first(order, taken, count):
            data = _data(split, i)
            if not examine(data, read.labels.num_classes, read.labels.texts):
                place = c.place(i, split.files).partition(", source id")[0]
                chosen.append(Chosen(section, place, c.source[i], why, data))
    return chosen


def flagged(split: Split, count: int) -> list[tuple[Fault, bytes]]:
    """Records with a fault whose data can be read: (what is wrong, data)."""
    found: list[tuple[Fault, bytes]] = []
    for fault in split.contents.faults:
        if len(found) < count and fault.kind != "frame":
            file = next(file for file in split.files if file.path == fault.path)
            size = int(file.sizes[fault.number])
            found.append((fault, read_record(fault.path, fault.number, fault.offset, size)))
    return found


def _orders(split: Split, model: object, usable: Sequence[int]) -> dict[str, list[tuple[int, str]]]:
    """Of each section the entries, worst first, with the reason."""
    c = split.contents
    can_use = np.zeros(len(c.objects), bool)
    can_use[list(usable)] = True
    orders: dict[str, list[tuple[int, str]]] = {}
    if resizer := resizer_of(model):
        boxes, entries = in_pixels(c, resizer)
        side = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
        by_size = np.argsort(side, kind="stable")
        orders["smallest"] = [
            (int(c.owner[entries[i]]), f"an object of {side[i]:.1f} px") for i in by_size
        ]
    by_count = np.argsort(-c.objects, kind="stable")
    orders["crowded"] = [(int(i), f"{c.objects[i]} objects") for i in by_count if c.objects[i] > 1]
    if found := match(c, model):
        owner = c.owner[found.entries]
        bad = np.bincount(owner[found.iou < MATCHED], minlength=len(c.objects))
        share = bad / np.maximum(c.objects, 1)
        worst = np.lexsort((-bad, -share))
        orders["unmatched"] = [
            (int(i), f"{bad[i]} of {c.objects[i]} without an anchor") for i in worst if bad[i]
        ]
    rng = np.random.default_rng(0)
    orders["ordinary"] = [(int(i), "") for i in rng.permutation(len(c.objects))]
    return {name: [(i, why) for i, why in order if can_use[i]] for name, order in orders.items()}


def _first(order: Iterable[tuple[int, str]], taken: set[int], count: int) -> list[tuple[int, str]]:
    """The first `count` that no section before has."""
    found: list[tuple[int, str]] = []
    for i, why in order:
        if len(found) == count:
            break
        if i not in taken:
            taken.add(i)
            found.append((i, why))
    return found


def _data(split: Split, entry: int) -> bytes:
    c = split.contents
    file, number = split.files[int(c.file[entry])], int(c.number[entry])
    return read_record(file.path, number, int(file.offsets[number]), int(file.sizes[number]))
