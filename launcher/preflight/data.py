"""All checks of the data: read once, judged by each module in turn."""

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.odapi import pipeline as pipelines
from launcher.planning import Plan
from launcher.planning.data import NAME_LABELS, NAME_RECORDS, UNSET
from launcher.preflight import boxes, counts, dataset, faults, images, labels, shards
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.reading import SAMPLE, DataRead, Split, read_data
from launcher.preflight.shards import Place


@dataclass(frozen=True)
class SplitSummary:
    """What a set is, for other checks. Of objects, what the decoded records show."""

    files: int
    images: int | None
    """None: not all of it can be read here."""
    expected: int | None
    decoded: int
    """Records looked at whose picture could be decoded."""
    is_whole: bool
    """Whether all records were looked at: then the numbers below are of the whole set."""
    objects: int
    most_objects: int
    """In one image."""
    most_objects_place: str
    crowds: int
    empty_images: int


@dataclass(frozen=True)
class DataSummary:
    train: SplitSummary
    val: SplitSummary


@dataclass(frozen=True)
class DataFindings:
    findings: tuple[Finding, ...]
    summary: DataSummary
    read: DataRead


def data_findings(
    plan: Plan,
    *,
    sample: int = SAMPLE,
    full: bool = False,
    progress: bool = True,
    place: Place | None = None,
    template: bool = False,
) -> DataFindings:
    """Reads the plan's data and judges it.

    `sample` records of each set are decoded, with `full` all of them; `progress` shows a bar on
    stderr after two seconds. `place` names data.train, data.val and data.label_map in findings
    (default: the spec's own names). Of a `template`, a published file as it is, nobody expects
    records. Raises StorageError when the disk fails, MissingExtraError without Pillow or
    google-crc32c.
    """
    read = read_data(plan, sample=sample, full=full, progress=progress)
    return DataFindings(
        tuple(judge(plan, read, place or plan.spec.place, template=template)),
        DataSummary(_summary(read.train), _summary(read.val)),
        read,
    )


def judge(plan: Plan, read: DataRead, place: Place, *, template: bool = False) -> list[Finding]:
    """All findings about what was read. Pure."""
    if read.to_draw:
        what, remedy = "the synthetic set is not drawn yet", "`launcher submit` draws it"
        return [_nothing_seen(place("data.synthetic"), what, remedy)]
    if template and not any(split.patterns for split in read.splits):
        remedy = "Name the record files in data.train and data.val, as *.record-*"
        return [_nothing_seen(place("data.train"), "no records are named yet", remedy)]
    allowed = plan.worker_config.max_bad_records
    pipeline = pipelines.parse(plan.pipeline_text, plan.name)
    published = plan.published is not None and plan.data.is_coco
    return [
        *_unset(plan, read, place),
        *shards.judge(read, place),
        *dataset.judge(plan, read, place),
        *counts.judge(read, place, plan.workers, coco=plan.data.is_coco),
        *faults.judge(read, allowed),
        *labels.judge(read, pipeline, place, allowed),
        *boxes.judge(read, pipeline, allowed, published=published),
        *images.judge(read, pipeline),
    ]


def _nothing_seen(where: str, what: str, remedy: str) -> Finding:
    return Finding(
        shards.NAME,
        Severity.INFO,
        where,
        f"{what}: nothing of the data was looked at",
        Cost("what the data would cost is not known"),
        remedy,
    )


def _unset(plan: Plan, read: DataRead, place: Place) -> Iterator[Finding]:
    """What `submit` misses of data that is named in part."""
    keys = [(shards.NAME, s.key, NAME_RECORDS) for s in read.splits if not s.patterns]
    if not plan.data.label_map:
        keys.append((labels.NAME, "data.label_map", NAME_LABELS))
    for name, key, remedy in keys:
        cost = Cost("the run cannot start", 1.0)
        yield Finding(name, Severity.ERROR, place(key), f"{key} {UNSET}", cost, remedy)


def _summary(split: Split) -> SplitSummary:
    contents = split.contents
    most = int(contents.objects.argmax()) if len(contents.objects) else -1
    return SplitSummary(
        files=len(split.files),
        images=split.count if split.is_known else None,
        expected=split.expected,
        decoded=sum(kind != "" for kind in contents.kind),
        is_whole=split.is_whole,
        objects=len(contents.boxes),
        most_objects=int(contents.objects[most]) if most >= 0 else 0,
        most_objects_place=contents.place(most, split.files) if most >= 0 else "",
        crowds=int(contents.crowd.sum()),
        empty_images=int((contents.objects == 0).sum()),
    )
