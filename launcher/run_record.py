"""What a run's files say of it: the parts of its record that count, whoever reads them.

The files are described in `contract.RunPaths`; the rules of reading them are here, once.
"""

from typing import Any

from launcher.contract import RunPaths
from launcher.storage import read_jsonl


def read_train_rows(paths: RunPaths) -> list[dict[str, Any]]:
    """The rows of `train.jsonl` that count, by step, each step at most once.

    A restart trains the steps since its checkpoint again: what an earlier attempt wrote of them is
    of weights that are gone.
    """
    rows: list[dict[str, Any]] = []
    for row in read_jsonl(paths.train_metrics):
        if not isinstance(row.get("step"), int):
            continue
        while rows and rows[-1]["step"] >= row["step"]:
            rows.pop()
        rows.append(row)
    return rows


def read_bad_records(paths: RunPaths) -> dict[str, str]:
    """What is wrong with each record that was skipped, by its place; of all workers, each once."""
    files = sorted((paths.root / "metrics").glob("bad-records-*.jsonl"))
    rows = [row for path in files for row in read_jsonl(path)]
    return {str(row["place"]): str(row.get("what")) for row in rows if "place" in row}


def damaged_checkpoints(paths: RunPaths) -> list[str]:
    """The names of those that were set aside, `ckpt-5`, by step."""
    found = {path.name.split(".")[0] for path in paths.damaged.glob("ckpt-*")}
    return sorted(found, key=lambda name: (len(name), name))
