"""What the summed loss is divided by, and the mAP that comes of it: train.loss_normalizer.

    .venv/bin/python bench/loss_normalizer.py [--seeds 0 1 2] [--limit 2]     train what is missing
    .venv/bin/python bench/loss_normalizer.py --table                         print what is there

`global` divides by the matched anchors of the whole global batch, `micro_batch` each micro-batch's
loss by its own, as the OD API does. SSD-MobileNetV2 x0.35 at 128 px on 2,000 drawn images of one
to four objects, 32 images a step in a real loop of 16 micro-batches of 2, where the two differ
most, normalized as `auto` does there (moving). Finished cells are kept in the results file, so that
the command can be stopped and given again. The last line is JSON; a ratio of 1 is the same mAP.
"""

import argparse
import json
import statistics
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from _scoring import BACKGROUNDS, ROOT, STEPS, measured, score, score_all

RESULTS = ROOT / "bench" / "results" / "loss_normalizer.jsonl"
NORMALIZERS = ("global", "micro_batch")
IMAGES = 2
"""Of a micro-batch."""


@dataclass(frozen=True)
class Cell:
    """One training run."""

    normalizer: str
    background: str
    seed: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.normalizer.replace('_', '-')}-{self.background}-{self.seed}-{self.steps}"


def main() -> int:
    options = _arguments()
    wanted = [
        Cell(normalizer, background, seed, options.steps)
        for seed, background, normalizer in product(options.seeds, options.backgrounds, NORMALIZERS)
    ]
    if not options.table:
        missing = [c for c in wanted if c not in measured(Cell, options.results)]
        score_all(missing[: options.limit], options.results, len(missing), train)
    found = {c: m for c, m in measured(Cell, options.results).items() if c.steps == options.steps}
    print("\n".join(table(found)))
    print(json.dumps(summary(found)))
    return 0


def train(cell: Cell, folder: Path) -> float:
    return score(
        folder,
        cell.name,
        background=cell.background,
        steps=cell.steps,
        per_replica_batch=IMAGES,
        train={"loss_normalizer": cell.normalizer, "norm": "moving", "seed": cell.seed},
    )


def table(found: dict[Cell, float]) -> list[str]:
    """Markdown: a line of each set and normalizer, a column of each seed, the mean."""
    seeds = sorted({c.seed for c in found})
    lines = [
        "| backgrounds | divisor | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean |",
        "|---|---|" + "---|" * (len(seeds) + 1),
    ]
    for background, normalizer in product(BACKGROUNDS, NORMALIZERS):
        scores = of(found, normalizer, background)
        if scores:
            cells = [f"{scores[seed]:.3f}" if seed in scores else "" for seed in seeds]
            mean = f"{statistics.mean(scores.values()):.3f}"
            lines.append("| " + " | ".join([background, normalizer, *cells, mean]) + " |")
    return lines


def of(found: dict[Cell, float], normalizer: str, background: str) -> dict[int, float]:
    """mAP by seed."""
    return {
        c.seed: found[c] for c in found if (c.normalizer, c.background) == (normalizer, background)
    }


def summary(found: dict[Cell, float]) -> dict[str, object]:
    """Means over the runs that both have."""
    both = {
        (c.background, c.seed)
        for c in found
        if all(Cell(n, c.background, c.seed, c.steps) in found for n in NORMALIZERS)
    }
    ours, peer = (
        [m for c, m in found.items() if c.normalizer == n and (c.background, c.seed) in both]
        for n in NORMALIZERS
    )
    means = (statistics.mean(ours), statistics.mean(peer)) if both else (None, None)
    return {
        "name": "loss_normalizer",
        "ratio": means[0] / means[1] if means[0] is not None and means[1] else None,
        "ours": means[0],
        "peer": means[1],
        "unit": "mAP divided by the global batch's matches against each micro-batch's",
        "pairs": len(both),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backgrounds", nargs="+", default=BACKGROUNDS, choices=BACKGROUNDS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2), metavar="N")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--limit", type=int, help="train at most this many cells")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON lines, appended to")
    parser.add_argument("--table", action="store_true", help="train nothing, print the table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
