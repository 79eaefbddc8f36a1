"""What a process says of itself when it starts."""

from importlib import metadata
from pathlib import Path

import pytest

from launcher.contract import ENV_ATTEMPT, RunPaths
from launcher.odapi import provenance
from launcher.records.fingerprint import Fingerprint
from launcher.storage import read_jsonl


def test_versions_are_those_that_are_installed() -> None:
    found = provenance.versions()
    assert found["tf-keras"] == metadata.version("tf-keras")
    assert found["numpy"] == metadata.version("numpy")
    assert found["tensorflow"].startswith("2.")  # of tensorflow or tensorflow-cpu
    assert len(found["launcher source"]) == 12


def test_one_line_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = RunPaths(tmp_path)
    monkeypatch.setenv(ENV_ATTEMPT, "2")
    provenance.record(paths, "worker", Fingerprint(3, 1, 59, "abc"), ["A100"])
    provenance.record(paths, "evaluator", Fingerprint(2, 1, 40, "def"))
    worker, evaluator = read_jsonl(paths.provenance)
    assert (worker["role"], worker["attempt"]) == ("worker", 2)
    assert worker["data"] == {"records": 3, "files": 1, "bytes": 59, "digest": "abc"}
    assert worker["machine"]["accelerators"] == ["A100"]
    assert worker["machine"]["cores"] >= 1
    assert evaluator["data"]["digest"] == "def"
