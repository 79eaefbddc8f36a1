"""What a report says in rows: the 12 numbers, plan against applied, data and hashes, findings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.report.curves import rate_function
from launcher.report.record import RunRecord
from launcher.report.results import POINTS, Results

MEANINGS = {
    "mAP": "AP, mean over IoU 0.50 to 0.95",
    "AP50": "AP at IoU 0.50",
    "AP75": "AP at IoU 0.75",
    "APs": "AP of small objects, below 32 x 32 pixels",
    "APm": "AP of medium objects",
    "APl": "AP of large objects, above 96 x 96 pixels",
    "AR1": "recall with 1 detection an image",
    "AR10": "recall with 10 detections an image",
    "AR100": "recall with 100 detections an image",
    "ARs": "recall of small objects",
    "ARm": "recall of medium objects",
    "ARl": "recall of large objects",
}
"""pycocotools' numbers, as cocodataset.org explains them."""


@dataclass(frozen=True)
class Applied:
    """One quantity: what the plan says and what the run recorded of itself. `differs` is None
    where nothing is recorded yet."""

    what: str
    planned: str
    applied: str
    differs: bool | None = None


def verdict(results: Results) -> tuple[str, str]:
    """A word for the page's colours (good, bad, open) and a sentence."""
    final, target = results.final, results.target_map
    if final is None:
        return "open", "No checkpoint is scored yet."
    score = points(final["mAP"])
    at = f"at step {final['step']:,} of {results.total_steps:,}"
    if target is None:
        return "open", f"mAP {score} {at}; the run has no target."
    wanted = f"the target of {target:g}" + (
        f" (tolerance {results.tolerance:g})" if results.tolerance else ""
    )
    if results.target_met is None:
        return "open", f"mAP {score} {at}; {wanted} is compared with the last step's."
    if results.target_met:
        return "good", f"mAP {score} {at} reaches {wanted}."
    return "bad", f"mAP {score} {at} misses {wanted}."


def points(value: Any) -> str:
    """A fraction of 1 as COCO points with one digit; `-` where nothing can be scored."""
    if not isinstance(value, int | float) or value < 0:
        return "-"
    return f"{value * POINTS:.1f}"


def categories(results: Results) -> list[tuple[str, float | None]]:
    """AP of each category at the newest checkpoint, best first; those without truth last."""
    found = (results.final or {}).get("per_category") or {}
    scored = sorted(
        ((str(k), float(v)) for k, v in found.items() if v is not None), key=lambda p: (-p[1], p[0])
    )
    return [*scored, *((str(k), None) for k, v in sorted(found.items()) if v is None)]


def applied(run: RunRecord) -> list[Applied]:
    """The plan's numbers beside those that the workers and the evaluator really used."""
    rows = [
        _same(run, "global batch", run.plan.get("global_batch"), "global_batch"),
        _same(run, "accumulation steps", run.plan.get("accumulation_steps"), "accumulation_steps"),
        *_rates(run),
        _steps(run),
    ]
    data, planned = run.data(), run.plan.get("data") or {}
    for what, key in (("train", "train_images"), ("val", "val_images")):
        found, wanted = data.get(what, {}).get("records"), planned.get(key)
        differs = None if found is None or wanted is None else found != wanted
        rows.append(Applied(f"{what} images", _count(wanted), _count(found), differs))
    return rows


def _same(run: RunRecord, what: str, planned: Any, key: str) -> Applied:
    used = sorted({row[key] for row in run.train if isinstance(row.get(key), int)})
    text = " to ".join(_count(v) for v in dict.fromkeys((used[0], used[-1]))) if used else "-"
    return Applied(what, _count(planned), text, used != [planned] if used else None)


def _rates(run: RunRecord) -> list[Applied]:
    rows = [r for r in run.train if isinstance(r.get("learning_rate"), float)]
    peak = run.plan.get("learning_rate")
    if not rows or not isinstance(peak, int | float):
        return []
    highest = max(r["learning_rate"] for r in rows)
    past_warmup = rows[-1]["step"] > int(run.plan.get("warmup_steps") or 0)
    wrong = abs(highest - peak) > 0.01 * peak if past_warmup else None
    found = [Applied("highest rate", f"{peak:g}", f"{highest:.4g}", wrong)]
    if rate := rate_function(run.paths):
        apart = max(abs(r["learning_rate"] - rate(r["step"])) for r in rows) / peak
        found.append(
            Applied("rate at every step", "the schedule", f"within {apart:.1e} of it", apart > 1e-3)
        )
    return found


def _steps(run: RunRecord) -> Applied:
    total = run.results.total_steps
    done = int(run.train[-1]["step"]) if run.train else 0
    text = f"{done:,} ({run.images_at(done):,} images)"
    differs = done != total if run.results.state.ended else None
    return Applied("steps", f"{total:,} ({run.images_at(total):,} images)", text, differs)


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"


def facts(run: RunRecord) -> list[tuple[str, str]]:
    """What the plan chose, for people."""
    plan, config = run.plan, run.plan.get("worker_config") or {}
    norm = config.get("norm")
    values: list[tuple[str, Any, Callable[[Any], str]]] = [
        ("recipe", plan.get("recipe"), str),
        ("backend", run.status.get("backend"), str),
        ("workers", plan.get("workers"), _count),
        ("GPUs a worker", plan.get("gpus_per_worker"), _count),
        ("images a replica", plan.get("per_replica_batch"), _count),
        ("normalization", norm, str),
        ("precision", config.get("precision"), str),
        ("seed", config.get("seed"), str),
        ("epochs", plan.get("epochs"), str),
        ("restarts", run.restarts, str),
    ]
    return [(name, write(value)) for name, value, write in values if value is not None]


def findings(run: RunRecord) -> list[dict[str, Any]]:
    """Of the run itself first, then those of `check` before it; each as Finding.to_json."""
    return [*(finding.to_json() for finding in run.health), *run.checked]


def digests(run: RunRecord) -> list[tuple[str, str, str]]:
    """What, its hash, and what is known of its size."""
    rows = [
        (
            f"{what} records",
            str(data.get("digest", "-")),
            f"{_count(data.get('records'))} records, {_count(data.get('files'))} files, "
            f"{_count(data.get('bytes'))} bytes",
        )
        for what, data in run.data().items()
    ]
    rows += [(name, digest, "") for name, digest in run.hashes.items()]
    if final := run.results.final:
        rows.append((str(final.get("checkpoint", "-")), str(final.get("sha256", "-"))[:16], ""))
    return rows


def first_lines(rows: Sequence[str], most: int) -> list[str]:
    """At most `most` of them, and how many more there are."""
    more = len(rows) - most
    return [*rows[:most], *([f"and {more} more"] if more > 0 else [])]
