"""Small micro-batches at one global batch: mAP by normalization, images per statistic, background.

    .venv/bin/python bench/small_batch.py [--seeds 0 1 2] [--limit 4]     train what is missing
    .venv/bin/python bench/small_batch.py --table                         print what is there

Every cell trains SSD-MobileNetV2 x0.35 (configs/demo.config, 60 norm layers) at 128 px with 32
images a step and scores the last checkpoint on 200 images. The moments of normalization are
taken over 2, 4, 8 or 32 images: in one pass over 32 with `train.statistics_images`, which gives the
gradients of a loop over 32/n micro-batches of n images (tests/runtime/test_norm_layers.py) in a
fraction of the time. Finished cells are kept in the results file, so that the command can be
stopped and given again. The last line is JSON: the best normalization over 2 images
against batch normalization over 32, the mean over seeds of the worse background.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from _scoring import BACKGROUNDS, GLOBAL_BATCH, ROOT, STEPS, measured, score, score_all

RESULTS = ROOT / "bench" / "results" / "small_batch.jsonl"
NORMS = ("batch", "moving", "renorm", "group")
IMAGES = (2, 4, 8, 32)


@dataclass(frozen=True)
class Cell:
    """One training run."""

    norm: str
    images: int  # of one set of moments
    background: str
    seed: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.norm}-{self.images}-{self.background}-{self.seed}-{self.steps}"


def main() -> int:
    options = _arguments()
    wanted = [
        Cell(norm, images, background, seed, options.steps)
        # What decides comes first: the smallest and the reference, one seed of all.
        for seed, images, background, norm in product(
            options.seeds,
            sorted(options.images, key=lambda n: (n != 2, n != GLOBAL_BATCH, n)),
            options.backgrounds,
            options.norms,
        )
        if norm != "group" or images == GLOBAL_BATCH
    ]
    if not options.table:
        missing = [c for c in wanted if c not in measured(Cell, options.results)]
        score_all(missing[: options.limit], options.results, len(missing), train)
    found = measured(Cell, options.results)
    scored = {c: m for c, m in found.items() if c.steps == options.steps}
    print("\n".join(table(scored)))
    print(json.dumps(summary(scored)))
    return 0


def train(cell: Cell, folder: Path) -> float:
    # Group normalization takes each image by itself.
    over = {} if cell.norm == "group" else {"statistics_images": cell.images}
    return score(
        folder,
        cell.name,
        background=cell.background,
        steps=cell.steps,
        per_replica_batch=GLOBAL_BATCH,
        train={"norm": cell.norm, **over, "seed": cell.seed},
    )


def table(scored: dict[Cell, float]) -> list[str]:
    """Markdown: mean over the seeds, and how many there are of each."""
    lines = []
    for background in BACKGROUNDS:
        images = sorted({c.images for c in scored if c.background == background})
        if not images:
            continue
        lines += [
            f"| {background} backgrounds | " + " | ".join(f"{n} images" for n in images) + " |",
            "|---|" + "---|" * len(images),
        ]
        norms = sorted({c.norm for c in scored}, key=[*NORMS, *_others(scored)].index)
        for norm in norms:
            values = [of(scored, norm, n, background) for n in images]
            lines.append(f"| {norm} | " + " | ".join(_shown(v) for v in values) + " |")
        lines.append("")
    return lines


def of(scored: dict[Cell, float], norm: str, images: int, background: str) -> list[float]:
    return [
        score
        for c, score in sorted(scored.items(), key=lambda item: item[0].seed)
        if (c.norm, c.images, c.background) == (norm, images, background)
    ]


def summary(scored: dict[Cell, float]) -> dict[str, object]:
    """The best normalization over 2 images against batch normalization over 32."""
    best: tuple[float, str, float, float] | None = None
    for norm in sorted({c.norm for c in scored}):
        pairs = [
            (of(scored, norm, 2, b), of(scored, "batch", GLOBAL_BATCH, b)) for b in BACKGROUNDS
        ]
        if not all(ours and any(peer) for ours, peer in pairs):
            continue
        worst = min(
            (statistics.mean(o) / statistics.mean(p), norm, statistics.mean(o), statistics.mean(p))
            for o, p in pairs
        )
        best = max(best, worst) if best else worst
    ratio, norm, ours, peer = best or (None, None, None, None)
    return {
        "name": "small_batch",
        "ratio": ratio,
        "ours": ours,
        "peer": peer,
        "unit": "mAP over 2 images against batch norm over 32",
        "norm": norm,
        "cells": len(scored),
    }


def _others(scored: Iterable[Cell]) -> list[str]:
    return sorted({c.norm for c in scored} - set(NORMS))


def _shown(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ({min(values):.2f}-{max(values):.2f}, {len(values)} seeds)"
    return f"{statistics.mean(values):.3f}" + (spread if len(values) > 1 else "")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--norms", nargs="+", default=NORMS, metavar="KIND", help="of train.norm")
    parser.add_argument("--images", nargs="+", type=int, default=IMAGES, metavar="N")
    parser.add_argument("--backgrounds", nargs="+", default=BACKGROUNDS, choices=BACKGROUNDS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2), metavar="N")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--limit", type=int, help="train at most this many cells")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON lines, appended to")
    parser.add_argument("--table", action="store_true", help="train nothing, print the table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
