"""records, images: what a record's bytes are, where they are no image that can be trained on."""

from collections.abc import Iterator, Sequence

from launcher.preflight.contents import Fault
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.reading import DataRead, Split

NAMES = {"frame": "records", "record": "records", "image": "images", "source_id": "images"}
"""Of the findings, by the kind of fault. Those of boxes and labels are judged with the others of
their kind."""


def judge(read: DataRead, allowed: int) -> Iterator[Finding]:
    """`allowed`: data.max_bad_records."""
    for split in read.splits:
        for kind, name in NAMES.items():
            faults = of_kind(split, kind)
            if faults:
                yield finding(split, name, faults, allowed, what=_first(faults))


def of_kind(split: Split, kind: str) -> list[Fault]:
    return [fault for fault in split.contents.faults if fault.kind == kind]


def finding(
    split: Split, name: str, faults: Sequence[Fault], allowed: int, what: str, remedy: str = ""
) -> Finding:
    """One finding about all of `faults`, at the place of the first."""
    spared = split.key == "data.train" and expected_faults(split, faults) <= allowed
    if spared:
        cost = Cost(f"these images are skipped: data.max_bad_records allows {allowed:,}")
    elif split.key == "data.train" and faults[0].kind == "source_id":
        cost = Cost("submit refuses them: no message could name the image", 1.0)
    elif split.key == "data.train":
        cost = Cost("training ends when it comes to the first of them", 1.0)
    else:
        cost = Cost("the evaluator stops at the first of them: no mAP", 1.0)
    return Finding(
        name,
        Severity.WARNING if spared else Severity.ERROR,
        faults[0].place,
        f"{how_many(split, faults)}: {what}",
        cost,
        remedy or faults[0].remedy,
    )


def how_many(split: Split, faults: Sequence[Fault]) -> str:
    """Of the records that were looked at, and what that means for all of them."""
    looked = split.contents.looked_at
    text = f"{len(faults):,} of {looked:,} {split.name} records"
    if not split.is_whole:
        text += f" looked at, so about {expected_faults(split, faults):,} of all {split.count:,}"
    return text


def expected_faults(split: Split, faults: Sequence[Fault]) -> int:
    """In all records. All damaged lengths are known; other faults are, in a sample, a sample."""
    if split.is_whole or faults[0].kind == "frame":
        return len(faults)
    return max(len(faults), round(len(faults) * split.count / split.contents.looked_at))


def _first(faults: Sequence[Fault]) -> str:
    """What is wrong with the first, and where the next ones are."""
    others = [f"{fault.path.name} record {fault.number}" for fault in faults[1:4]]
    also = f" (also {', '.join(others)}{', ...' if len(faults) > 4 else ''})" if others else ""
    return faults[0].what + also
