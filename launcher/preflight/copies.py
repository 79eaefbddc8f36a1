"""Records that are there twice: in one set, or in train and val.

By length and sum all records of a set are compared without reading one (2^-32 of the pairs of one
length would be taken for the same by chance); pictures and source ids among those that were
decoded.
"""

import numpy as np
import numpy.typing as npt

from launcher.preflight.reading import DataRead, Split
from launcher.records import record_place

Keys = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]


def keys(split: Split) -> Keys:
    """Length and sum of every record, file after file. Bad ones get keys of their own."""
    parts = []
    for number, file in enumerate(split.files):
        sizes = file.sizes.astype(np.uint64)
        own = (sizes << np.uint64(32)) | file.sums.astype(np.uint64)
        for bad in file.bad:
            own[bad.number] = (np.uint64(number) << np.uint64(40)) + np.uint64(bad.number)
        parts.append(own)
    return np.concatenate([np.zeros(0, np.uint64), *parts])


def numbers(split: Split) -> Indices:
    """Of each entry of the contents its record, counted through all files."""
    counts = np.array([0, *(len(file.offsets) for file in split.files)], np.int64)
    found: Indices = np.cumsum(counts)[split.contents.file] + split.contents.number
    return found


def where(split: Split, record: int) -> tuple[int, int]:
    """File and number in it, of a record that is counted through all files."""
    for index, file in enumerate(split.files):
        if record < len(file.offsets):
            return index, record
        record -= len(file.offsets)
    raise IndexError(record)


def place(split: Split, record: int) -> str:
    index, number = where(split, record)
    file = split.files[index]
    return record_place(file.path, number, int(file.offsets[number]))


def repeated_records(split: Split) -> list[tuple[int, int]]:
    """(first, again) of records that are the same bytes, counted through all files."""
    own = keys(split)
    if not len(own):
        return []
    order = np.argsort(own, kind="stable")
    sorted_keys = own[order]
    starts = np.flatnonzero(np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]]))
    firsts = np.repeat(order[starts], np.diff(np.append(starts, len(order))))
    again = np.flatnonzero(firsts != order)
    return sorted((int(firsts[i]), int(order[i])) for i in again)


def repeated_ids(split: Split) -> list[tuple[int, int]]:
    """(first, again) of entries with one source id whose records differ."""
    c = split.contents
    own = keys(split)[numbers(split)]
    seen: dict[str, int] = {}
    again = []
    for i, source in enumerate(c.source):
        first = seen.setdefault(source, i) if source else i
        if first != i and own[i] != own[first]:
            again.append((first, i))
    return again


def records_in_both(read: DataRead) -> Indices:
    """Val records, counted through all files, that are train records too."""
    return np.flatnonzero(np.isin(keys(read.val), np.unique(keys(read.train))))


def pictures_in_both(read: DataRead) -> Indices:
    """Val entries whose picture a train record has, among those that were decoded."""
    train, val = read.train.contents.picture, read.val.contents.picture
    return np.flatnonzero(np.isin(val, np.unique(train)))


def share_files(read: DataRead) -> bool:
    files = {identity for identity, _ in read.train.identities}
    return any(identity in files for identity, _ in read.val.identities)
