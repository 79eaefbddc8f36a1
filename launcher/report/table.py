"""Results for people, as lines of text."""

from collections.abc import Sequence
from pathlib import Path

from launcher.contract import RunPaths
from launcher.preflight.finding import Finding
from launcher.report.results import Results, picture
from launcher.run_record import damaged_checkpoints, read_bad_records

HISTORY_ROWS = 10
FAILURE_ROWS = 3


def summary(
    results: Results,
    paths: RunPaths,
    seconds: float | None = None,
    health: Sequence[Finding] = (),
) -> list[str]:
    """mAP, AP50, step, target, time, picture, findings; `seconds` is what the whole run took."""
    rows = [("state", str(results.state))]
    if (final := results.final) is None:
        rows.append(("mAP", "no checkpoint is scored yet"))
    else:
        rows += [
            ("mAP", score(final.get("mAP"))),
            ("AP50", score(final.get("AP50"))),
            ("step", f"{final['step']:,} of {results.total_steps:,}"),
        ]
    rows.append(("target", target(results)))
    for row in results.not_scored[-FAILURE_ROWS:]:
        rows.append(("unscored", f"step {row['step']:,}: {row['error']}"))
    if seconds is not None:
        rows.append(("time", duration(seconds)))
    if (shown := picture(results, paths)) is not None:
        rows.append(("picture", nearest_path(shown)))
    rows += losses(paths)
    rows += health_rows(health)
    return [results.name, *(f"  {label:<8} {value}" for label, value in rows)]


def losses(paths: RunPaths) -> list[tuple[str, str]]:
    """What the run went on without: records that were skipped, checkpoints that were set aside."""
    rows = []
    if skipped := read_bad_records(paths):
        first = next(iter(skipped))
        more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
        rows.append(("skipped", f"bad records: {first}{more} (metrics/bad-records-*.jsonl)"))
    if damaged := damaged_checkpoints(paths):
        rows.append(("damaged", f"{', '.join(damaged)} (set aside in checkpoints/damaged)"))
    return rows


def health_rows(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """What the run shows of itself: its evidence, its cost, its remedy, a line each."""
    rows = []
    for finding in findings:
        rows.append((str(finding.severity), f"{finding.name}: {finding.evidence}"))
        rows.append(("", f"cost: {finding.cost.text}"))
        rows.append(("", f"remedy: {finding.remedy}"))
    return rows


def history(results: Results) -> list[str]:
    """The newest scored checkpoints, one a line; nothing for a single one."""
    rows = results.history[-HISTORY_ROWS:]
    if len(rows) < 2:
        return []
    lines = [
        f"  {row['step']:>10,}  {score(row.get('mAP')):>6}  {score(row.get('AP50')):>6}"
        for row in rows
    ]
    return [f"  {'step':>10}  {'mAP':>6}  {'AP50':>6}", *lines]


def score(value: float | None) -> str:
    """A fraction with three digits; `-` where pycocotools has nothing to score (-1)."""
    return "-" if value is None or value < 0 else f"{value:.3f}"


def target(results: Results) -> str:
    if results.target_map is None:
        return "none"
    text = f"{results.target_map:g} COCO points (tolerance {results.tolerance:g})"
    if results.target_met is None:
        return text
    return f"{text}: {'reached' if results.target_met else 'missed'}"


def duration(seconds: float) -> str:
    """`45s`, `3m05s`, `2h04m`, `6d03h`."""
    whole = max(0, round(seconds))
    for size, unit, smaller, name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // smaller:02d}{name}"
    return f"{whole}s"


def nearest_path(path: Path) -> str:
    """Relative to the current directory where it is below that."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def columns(rows: Sequence[Sequence[str]], gap: int = 2) -> list[str]:
    """Left-aligned columns, each as wide as its widest cell."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        (" " * gap)
        .join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        .rstrip()
        for row in rows
    ]
