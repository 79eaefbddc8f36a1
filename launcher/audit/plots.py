"""Stats as pictures: classes, sizes against the anchors, aspects, objects an image."""

from pathlib import Path
from typing import Any

import numpy as np

from launcher.audit.stats import Stats
from launcher.errors import MissingExtraError, StorageError
from launcher.records import write_error

_CLASSES = 40
_BLUE, _ORANGE = "#4269d0", "#efb118"
"""Told apart by all eyes, on white."""


def draw(stats: Stats, folder: Path) -> list[Path]:
    """Writes the PNGs into `folder`, which is made. Raises StorageError, MissingExtraError."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise MissingExtraError(
            "matplotlib, which draws the plots, is not installed",
            remedy="pip install 'launcher[train]'",
        ) from None
    makers = {
        "classes": _classes,
        "object-sizes": _object_sizes,
        "aspects": _aspects,
        "objects-per-image": _objects,
        "image-sizes": _image_sizes,
    }
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, make in makers.items():
            figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=120, layout="constrained")
            make(stats, axes)
            axes.spines[["top", "right"]].set_visible(False)
            paths.append(folder / f"{name}.png")
            figure.savefig(paths[-1])
            pyplot.close(figure)
    except OSError as e:
        error: StorageError = write_error(e, folder)
        raise error from e
    return paths


def _colours(stats: Stats) -> list[tuple[Any, str]]:
    return list(zip(stats.splits, (_BLUE, _ORANGE), strict=False))


def _classes(stats: Stats, axes: Any) -> None:
    """Shares, so that a train and a val set of different sizes can be compared."""
    totals = {label: sum(s.classes.get(label, 0) for s in stats.splits) for label in stats.names}
    labels = sorted(totals, key=lambda label: -totals[label])[:_CLASSES]
    width = 0.8 / max(1, len(stats.splits))
    for i, (split, colour) in enumerate(_colours(stats)):
        shares = [100 * split.classes.get(label, 0) / max(1, split.objects) for label in labels]
        at = np.arange(len(labels)) + i * width
        axes.bar(at, shares, width, label=f"{split.name}, {split.objects:,} objects", color=colour)
    axes.set_xticks(range(len(labels)), [stats.names[n] for n in labels], rotation=90, fontsize=7)
    axes.set(ylabel="% of the objects", title=f"Classes, the {len(labels)} most frequent")
    axes.legend(frameon=False)


def _object_sizes(stats: Stats, axes: Any) -> None:
    edges = np.geomspace(1, 2048, 45)
    for split, colour in _colours(stats):
        _steps(axes, split.side_values, edges, split.name, colour)
    if stats.anchors:
        low, high = stats.anchors["smallest"], stats.anchors["largest"]
        axes.axvspan(
            low, high, color="0.92", zorder=0, label=f"anchors, {low:.0f} to {high:.0f} px"
        )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(
        xlabel=f"root of the area at {stats.input_size} px",
        ylabel="% of the objects",
        title="Object sizes as the model sees them, before augmentation",
    )
    axes.legend(frameon=False)


def _aspects(stats: Stats, axes: Any) -> None:
    edges = np.geomspace(1 / 16, 16, 45)
    for split, colour in _colours(stats):
        _steps(axes, split.aspect_values, edges, split.name, colour)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(xlabel="width / height", ylabel="% of the objects", title="Object aspects")
    axes.legend(frameon=False)


def _objects(stats: Stats, axes: Any) -> None:
    most = max((int(s.counts.max()) for s in stats.splits if len(s.counts)), default=1)
    edges = np.arange(0, most + 2) - 0.5
    for split, colour in _colours(stats):
        _steps(axes, split.counts, edges, split.name, colour)
    axes.set(xlabel="objects in an image", ylabel="% of the images", title="Objects an image")
    axes.legend(frameon=False)


def _image_sizes(stats: Stats, axes: Any) -> None:
    for split, colour in _colours(stats):
        sizes, counts = np.unique(split.image_sizes, axis=0, return_counts=True)
        area = 20 + 400 * counts / max(1, counts.sum())
        axes.scatter(
            sizes[:, 0], sizes[:, 1], area, alpha=0.5, color=colour, label=split.name, linewidths=0
        )
    axes.set(xlabel="width, px", ylabel="height, px", title="Image sizes (area: how many)")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def _steps(axes: Any, values: Any, edges: Any, name: str, colour: str) -> None:
    counts, _ = np.histogram(values, edges)
    axes.stairs(
        100 * counts / max(1, len(values)), edges, label=name, color=colour, fill=False, lw=2
    )
