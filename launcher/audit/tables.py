"""Stats as lines of text."""

from collections.abc import Iterator

from launcher.audit.stats import SplitStats, Stats
from launcher.preflight.data_cost import many, percent

CLASSES = 20
"""Lines about classes; --json has all."""
_COLUMNS = ("min", "p5", "p25", "p50", "p75", "p95", "max")


def lines(stats: Stats) -> Iterator[str]:
    yield from _sets(stats)
    yield from _numbers(stats)
    yield from _sizes(stats)
    yield from _classes(stats)


def _sets(stats: Stats) -> Iterator[str]:
    yield stats.name
    for s in stats.splits:
        part = "all of them" if s.looked_at >= s.images else f"{s.looked_at:,} of them"
        yield (
            f"  {s.name:<6} {s.images:>9,} images in {many(s.files, 'file')}, "
            f"{_bytes(s.file_bytes)}; {part} looked at:"
        )
        bad = f", {s.unusable:,} cannot be used" if s.unusable else ""
        yield (
            f"         {s.objects:>9,} objects, {s.crowds:,} crowds, "
            f"{s.empty_images:,} images without an object{bad}"
        )
    for one in stats.unread:
        yield f"  {one.split:<6} is without {one.file}: {one.what}. {one.remedy}"


def _numbers(stats: Stats) -> Iterator[str]:
    yield ""
    yield f"  {'':<34}" + "".join(f"{name:>8}" for name in _COLUMNS)
    rows = (
        ("objects an image", "objects_per_image", 0),
        ("image width, px", "widths", 0),
        ("image height, px", "heights", 0),
        (f"object size at {stats.input_size or '?'}, px", "sides", 0),
        ("object width / height", "aspects", 2),
    )
    for split in stats.splits:
        for title, field, digits in rows:
            values = getattr(split, field)
            if values:
                cells = "".join(f"{values[name]:>8,.{digits}f}" for name in _COLUMNS)
                yield f"  {split.name + ': ' + title:<34}{cells}"


def _sizes(stats: Stats) -> Iterator[str]:
    """How many objects are of which size, and whether there are anchors for them."""
    yield ""
    if stats.anchors:
        a = stats.anchors
        yield (
            f"  {a['count']:,.0f} anchors of {a['smallest']:.0f} to {a['largest']:.0f} px at "
            f"{stats.input_size} px"
        )
    names = "".join(f"{s.name:>10}{'matched':>10}" for s in stats.splits)
    yield f"  {'object size, px':<20}{names}"
    for rows in zip(*(s.bins for s in stats.splits), strict=True):
        if not any(one.objects for one in rows):
            continue
        span = f"{rows[0].low} to {rows[0].high}"
        cells = "".join(
            f"{one.objects:>10,}{percent(one.matched) if one.matched is not None else '':>10}"
            for one in rows
        )
        yield f"  {span:<20}{cells}"
    for s in stats.splits:
        if s.unmatched is not None:
            yield f"  {s.name}: {percent(s.unmatched)} of the objects have no anchor over 0.5 IoU"
        if s.coco_areas:
            shares = ", ".join(f"{percent(v)} {k}" for k, v in s.coco_areas.items())
            yield f"  {s.name}: {shares} as COCO counts them (32 and 96 px)"


def _classes(stats: Stats) -> Iterator[str]:
    labels = _by_count(stats.splits, set(stats.names))
    yield ""
    heads = "".join(f"{s.name + ' objects':>16}{'images':>9}" for s in stats.splits)
    yield f"  {'id':>4} {'class':<20}{heads}"
    shown = labels if len(labels) <= CLASSES + 1 else labels[:CLASSES]
    for label in shown:
        cells = "".join(
            f"{s.classes.get(label, 0):>16,}{s.class_images.get(label, 0):>9,}"
            for s in stats.splits
        )
        yield f"  {label:>4} {stats.names.get(label, '?')[:20]:<20}{cells}"
    if len(labels) > len(shown):
        yield f"  ... and {len(labels) - len(shown):,} classes with fewer (--json has all)"


def _by_count(splits: tuple[SplitStats, ...], known: set[int]) -> list[int]:
    found = known | {label for s in splits for label in s.classes}
    return sorted(found, key=lambda label: (-max(s.classes.get(label, 0) for s in splits), label))


def _bytes(count: int) -> str:
    value, unit = float(count), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
