"""labels: do the records' classes, the label map and the model's head mean the same?"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from launcher.odapi.protos import Message
from launcher.planning.data import model_classes
from launcher.preflight import faults
from launcher.preflight.data_cost import percent
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.reading import DataRead, Split
from launcher.preflight.shards import Place
from launcher.preflight.subject import Subject

NAME = "labels"
MANY_ABSENT = 0.5
"""Of the map's classes: with so many in no train record it is probably another set's map."""
TELLING_OBJECTS = 20
"""A class, in a sample that tells anything about absent ones: a rare one of many may be missed."""
COCO_GAPS = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]
"""Ids that COCO 2017 does not use."""
VAST_GAPS = 10_000
"""Outputs that learn nothing, of a map that was hardly meant so: LVIS has 1,203 classes in all."""
_SHOWN = 8


def judge(read: DataRead, pipeline: Message, place: Place, allowed: int) -> Iterator[Finding]:
    """`pipeline`: the effective one."""
    if read.label_error:
        yield _unreadable(read, place)
        return
    for split in read.splits:
        yield from _unknown(read, split, allowed)
        yield from _disagreeing(read, split)
    if read.labels.names:
        yield from _head(read, model_classes(pipeline), place)
        yield from _absent(read, place)
        yield from _gaps(read, place)


def _unreadable(read: DataRead, place: Place) -> Finding:
    problem = read.label_error.problems[0] if read.label_error else None
    what = f"{problem.place}: {problem.what}" if problem else ""
    cost = Cost("the run cannot start", 1.0)
    remedy = problem.remedy if problem else ""
    return Finding(NAME, Severity.ERROR, place("data.label_map"), what, cost, remedy)


def _unknown(read: DataRead, split: Split, allowed: int) -> Iterator[Finding]:
    """Ids and names outside of the map."""
    found = faults.of_kind(split, "labels")
    if not found:
        return
    contents, labels = split.contents, read.labels
    what = ""
    if contents.unknown_texts:
        names = _listed(contents.unknown_texts, '"{}" ({:,})')
        what = f"names that the label map lacks, with their objects: {names}"
    else:
        outside = (contents.own_label < 1) | (contents.own_label > labels.num_classes)
        ids, counts = np.unique(contents.own_label[outside], return_counts=True)
        listed = _listed(dict(zip(ids.tolist(), counts.tolist(), strict=True)), "{} ({:,})")
        what = f"ids outside 1..{labels.num_classes}, with their objects: {listed}"
        if 0 in ids:
            what += "; 0 is the background: were classes numbered from 0?"
    yield faults.finding(
        split, NAME, found, allowed, what, "Use the label map that the records were made with"
    )


def _disagreeing(read: DataRead, split: Split) -> Iterator[Finding]:
    wrong = split.contents.disagreeing
    if not wrong:
        return
    c = split.contents
    differ = (c.own_label != -1) & (c.label > 0) & (c.own_label != c.label)
    first = int(c.owner[int(np.argmax(differ))])
    texts = read.labels.texts or {}
    (text, label), _ = max(wrong.items(), key=lambda item: item[1])
    objects = sum(wrong.values())
    share = objects / max(1, len(split.contents.boxes))
    named = read.labels.names.get(label)
    own = f'"{named}"' if named else "no class"
    yield Finding(
        NAME,
        Severity.WARNING,
        c.place(first, split.files),
        f'{objects:,} of {len(split.contents.boxes):,} {split.name} objects have a name and an id '
        f'of two classes: "{text}" is {texts.get(text)} in the label map, the record says {label}, '
        f"which is {own} there",
        Cost("the name counts here; whoever reads the ids learns other classes", 0.5 * share),
        "Use the label map that the records were made with",
    )  # fmt: skip


def _head(read: DataRead, classes: int | None, place: Place) -> Iterator[Finding]:
    highest = max(read.labels.names)
    if classes is None or classes == highest:
        return
    few = classes < highest
    what = f"num_classes {classes}, and the label map's highest id is {highest}"
    lost = sum(id_ > classes for id_ in read.labels.names) / len(read.labels.names)
    yield Finding(
        NAME,
        Severity.ERROR if few else Severity.INFO,
        place("data.label_map"),
        what,
        Cost(f"{percent(lost)} of the classes have no output", lost)
        if few
        else Cost(f"hardly anything: {classes - highest} outputs that never learn a class"),
        f"Set data.num_classes to {highest}" if few else "Nothing",
        (f"data.num_classes={highest}",) if few else (),
    )


def of_file(subject: Subject, read: DataRead) -> Iterator[Finding]:
    """The user's own file against the map whose number of classes this run has in its place."""
    file, spec = subject.file, subject.spec
    if file is None or spec.data.num_classes or not read.labels.names:
        return
    own, run = model_classes(file), model_classes(subject.effective)
    if own is None or own == run:
        return
    highest = max(read.labels.names)
    lost = sum(id_ > own for id_ in read.labels.names) / len(read.labels.names)
    few = own < highest
    text = f"as the OD API reads it, {percent(lost)} of the classes have no output" if few else ""
    other = f"; here it is another set than {subject.recipe}'s: no target mAP"
    published = subject.source.recipe and subject.source.recipe.published_map
    has_target = published is not None and subject.plan.target_map is None
    yield Finding(
        NAME,
        Severity.WARNING if few else Severity.INFO,
        subject.place_in_file("model", "num_classes"),
        f"num_classes {own}, and the label map's highest id is {highest}: this run has {run}",
        Cost((text or "outputs that never learn a class") + (other if has_target else ""), lost),
        f"num_classes: {highest} in the file, or data.num_classes: {run}",
        (f"data.num_classes={run}",) if few else (),
    )


def _absent(read: DataRead, place: Place) -> Iterator[Finding]:
    """Classes without an object, where that is known or all but."""
    train = read.train
    if not train.is_known or not train.contents.boxes.size:
        return
    names = read.labels.names
    seen = set(np.unique(train.contents.label).tolist())
    absent = [id_ for id_ in names if id_ not in seen]
    share = len(absent) / len(names)
    telling = len(train.contents.label) >= TELLING_OBJECTS * len(names) and share >= MANY_ABSENT
    if not absent or not (train.is_whole or telling):
        return
    looked = "train records" if train.is_whole else "train records looked at"
    shown = ", ".join(f'{id_} "{names[id_]}"' for id_ in absent[:_SHOWN])
    more = f" and {len(absent) - _SHOWN:,} more" if len(absent) > _SHOWN else ""
    many = share >= MANY_ABSENT
    yield Finding(
        NAME,
        Severity.WARNING if many else Severity.INFO,
        place("data.label_map"),
        f"{len(absent):,} of {len(names):,} classes are in none of the "
        f"{train.contents.looked_at:,} {looked}: {shown}{more}",
        Cost(f"{percent(share)} of the classes cannot be learned", share),
        "Use the label map of these records" if many else "Nothing, if the set is meant so",
    )


def _gaps(read: DataRead, place: Place) -> Iterator[Finding]:
    ids = read.labels.names
    count = max(ids) - len(ids)  # ids start at 1: one number may leave out any number of others
    first = list(islice((n for n in range(1, max(ids)) if n not in ids), len(COCO_GAPS)))
    if not count or (count == len(COCO_GAPS) and first == COCO_GAPS):
        return
    shown = ", ".join(map(str, first[:_SHOWN]))
    more = f" and {count - _SHOWN:,} more" if count > _SHOWN else ""
    vast = count >= VAST_GAPS
    yield Finding(
        NAME,
        Severity.WARNING if vast else Severity.INFO,
        place("data.label_map"),
        f"ids without a class: {shown}{more}",
        Cost("memory and time: the head has an output for each", 0.3)
        if vast
        else Cost(f"hardly anything: {count:,} outputs that never learn a class"),
        f"{'' if vast else 'Nothing, or '}number the classes from 1 without a gap".capitalize(),
    )


def _listed(counts: Mapping[Any, int], form: str) -> str:
    most = sorted(counts.items(), key=lambda item: -item[1])
    shown = ", ".join(form.format(key, count) for key, count in most[:_SHOWN])
    return shown + (f" and {len(most) - _SHOWN:,} more" if len(most) > _SHOWN else "")
