"""images: their formats and sizes, and whether two are one."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from launcher.odapi.protos import Message
from launcher.preflight import copies
from launcher.preflight.contents import Contents
from launcher.preflight.data_cost import percent
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.geometry import resizer_of
from launcher.preflight.reading import DataRead, Split
from launcher.records.exif import TURNED, UPRIGHT

NAME = "images"
STRETCHED = 2.0
"""How far an image's aspect is changed by fixed_shape_resizer: 640 x 480 to a square is 1.33."""
ENLARGED = 4.0
"""How many times an image's side grows by resizing: there is no detail for such an input."""
WORTH_A_WORD = 0.1
"""Of the images."""
MODES = {
    "alpha": ("a transparent part", "what is below it, often black, is trained on"),
    "CMYK": ("four printing colours (CMYK)", "colours are guessed"),
}
SERIOUS_SHARE = 0.01
"""Of the val images that are train images too."""
_SHOWN = 3


def judge(read: DataRead, pipeline: Message) -> Iterator[Finding]:
    for split in read.splits:
        yield from _modes(split)
        yield from _said_sizes(split)
        yield from _turned(split)
        yield from _said_formats(split)
        yield from _repeated(split)
        yield from _repeated_ids(split)
    yield from _in_both(read)
    yield from _resized(read.train, pipeline.model)


def _modes(split: Split) -> Iterator[Finding]:
    """What becomes of transparency and printing colours is seldom what was meant."""
    contents = split.contents
    for word, (what, cost) in MODES.items():
        found = [i for i, kind in enumerate(contents.kind) if word in kind]
        if found:
            share = len(found) / len(contents.kind)
            yield Finding(
                NAME,
                Severity.WARNING,
                contents.place(found[0], split.files),
                f"{len(found):,} of {len(contents.kind):,} {split.name} images have {what}: "
                f"{percent(share)}",
                Cost(cost, 0.05 * share),
                "Save them as RGB and convert again",
            )


def other_sizes(c: Contents) -> npt.NDArray[np.int64]:
    """Entries whose record tells a size that the picture has not."""
    both = (c.width > 0) & (c.said_width > 0) & (c.said_height > 0)
    return np.flatnonzero(both & ((c.width != c.said_width) | (c.height != c.said_height)))


def _said_sizes(split: Split) -> Iterator[Finding]:
    """Boxes may have been made for that other size."""
    c = split.contents
    wrong = other_sizes(c)
    if not len(wrong):
        return
    i = int(wrong[0])
    turned = (c.width[wrong] == c.said_height[wrong]) & (c.height[wrong] == c.said_width[wrong])
    why = f", {int(turned.sum()):,} of them turned (an EXIF mark?)" if turned.any() else ""
    share = len(wrong) / len(c.width)
    yield Finding(
        NAME,
        Severity.WARNING,
        c.place(i, split.files),
        f"{len(wrong):,} of {len(c.width):,} {split.name} records tell a size that their picture "
        f"has not{why}; the first: {c.said_width[i]} x {c.said_height[i]}, the picture "
        f"{c.width[i]} x {c.height[i]}",
        Cost("boxes that were made for another size or turn are beside their objects", share),
        "Look at them (`launcher data view`), and convert again from the same pictures",
    )


def turned(c: Contents) -> npt.NDArray[np.int64]:
    """Entries that a viewer turns or mirrors, and whose sizes do not tell already."""
    marked = (c.width > 0) & (c.orientation != UPRIGHT)
    return np.setdiff1d(np.flatnonzero(marked), other_sizes(c))


def _turned(split: Split) -> Iterator[Finding]:
    """Boxes were drawn on what a viewer showed, or on the pixels: only a look can tell."""
    c, found = split.contents, turned(split.contents)
    if not len(found):
        return
    i, share = int(found[0]), len(found) / len(c.width)
    yield Finding(
        NAME,
        Severity.WARNING,
        c.place(i, split.files),
        f"{len(found):,} of {len(c.width):,} {split.name} images have an EXIF mark by which "
        "viewers turn or mirror them, and training does not; the first is shown "
        f"{TURNED[int(c.orientation[i])]}",
        Cost("boxes that were drawn on the turned picture are beside their objects", share),
        "Look at them (`launcher data view`). Where boxes are beside their objects turn the pixels "
        "as the mark says (mogrify -auto-orient), else remove the mark; convert again",
    )


def _said_formats(split: Split) -> Iterator[Finding]:
    """The OD API reads the bytes, not the field; other readers may not."""
    c = split.contents
    names = {"jpg": "jpeg", "mpo": "jpeg"}
    wrong = []
    for i, (kind, said) in enumerate(zip(c.kind, c.said_format, strict=True)):
        own = kind.partition(" ")[0].lower()
        if own and said and names.get(own, own) != names.get(said, said):
            wrong.append(i)
    if wrong:
        i = wrong[0]
        yield Finding(
            NAME,
            Severity.INFO,
            c.place(i, split.files),
            f"{len(wrong):,} of {len(c.kind):,} {split.name} records say another format than their "
            f'picture has; the first: image/format is "{c.said_format[i]}", the picture '
            f"{c.kind[i].partition(' ')[0]}",
            Cost("nothing here: the bytes count"),
            "Nothing",
        )


def _repeated(split: Split) -> Iterator[Finding]:
    same = copies.repeated_records(split)
    if not same:
        return
    total = len(copies.keys(split))
    first, again = same[0]
    val = split.name == "val"
    yield Finding(
        NAME,
        Severity.ERROR if val else Severity.WARNING,
        copies.place(split, again),
        f"{len(same):,} of {total:,} {split.name} records are there before, byte by byte: "
        f"{percent(len(same) / total)}; the first is {copies.place(split, first)}",
        Cost("the evaluator stops at a source id that is there twice", 1.0)
        if val
        else Cost("these images count twice as much as others", 0.1 * len(same) / total),
        "Name each file once, or convert again",
    )


def _repeated_ids(split: Split) -> Iterator[Finding]:
    c = split.contents
    again = copies.repeated_ids(split)
    if not again:
        return
    first, i = again[0]
    val = split.name == "val"
    yield Finding(
        NAME,
        Severity.ERROR if val else Severity.WARNING,
        c.place(i, split.files),
        f"{len(again):,} of {len(c.source):,} {split.name} records have the source id of another "
        f"one; the first is that of {c.place(first, split.files)}",
        Cost("the evaluator stops at the first of them: it tells images apart by it", 1.0)
        if val
        else Cost("nothing in training; messages cannot tell the images apart"),
        "Convert again with an id of its own for every image",
    )


def _in_both(read: DataRead) -> Iterator[Finding]:
    """Val images that are train images too: whole records of all, pictures of those decoded."""
    val = read.val
    records, pictures = copies.records_in_both(read), copies.pictures_in_both(read)
    if copies.share_files(read) or not (len(records) or len(pictures)):
        return  # data-shards tells of files in both
    if len(records) >= len(pictures):
        count, of, looked = len(records), len(copies.keys(val)), ""
    else:
        count, of = len(pictures), len(val.contents.picture)
        looked = "" if val.is_whole else " looked at"
    share = count / max(1, of)
    yield Finding(
        NAME,
        Severity.ERROR if share >= SERIOUS_SHARE else Severity.WARNING,
        copies.place(val, int(records[0]))
        if len(records)
        else val.contents.place(int(pictures[0]), val.files),
        f"{count:,} of {of:,} val images{looked} are train images too: {percent(share)}",
        Cost("the mAP is too high by an unknown amount: these images were trained on", share),
        "Take them out of one of the two sets",
    )


def _resized(train: Split, model: Message) -> Iterator[Finding]:
    resizer, c = resizer_of(model), train.contents
    good = np.flatnonzero(c.width > 0)
    if resizer is None or not len(good):
        return
    height, width = c.height[good].astype(float), c.width[good].astype(float)
    new_height, new_width = resizer.resized(height, width)
    stretch = (new_width / width) / (new_height / height)
    stretch = np.maximum(stretch, 1 / stretch)
    grown = np.minimum(new_width / width, new_height / height)
    for values, limit, what, cost in (
        (stretch, STRETCHED, "are stretched", "objects look unlike those of other images"),
        (grown, ENLARGED, "are enlarged", "time for pixels without detail: a smaller input does"),
    ):
        far = np.flatnonzero(values > limit)
        share = len(far) / len(good)
        if share < WORTH_A_WORD:
            continue
        worst = int(good[int(np.argmax(values))])
        yield Finding(
            NAME,
            Severity.INFO,
            c.place(worst, train.files),
            f"{percent(share)} of {len(good):,} train images {what} more than {limit:g} times at "
            f"{resizer} px; the most: {c.width[worst]} x {c.height[worst]}, "
            f"{values.max():.1f} times",
            Cost(cost),
            "keep_aspect_ratio_resizer keeps the aspect" if values is stretch else "Nothing",
        )
