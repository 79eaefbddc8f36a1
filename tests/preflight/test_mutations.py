"""Every check has a mutation that a test fails for: mutations.py, in a copy of the code.

    .venv/bin/pytest tests/preflight/test_mutations.py -m slow

The tests must pass on the copy as it is. Then one mutation at a time is made there, and its test
runs in a process of its own. All of it takes 3 minutes of one core (21 where ten others wanted it).
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.preflight import (
    batch,
    boxes,
    budget,
    counts,
    dataset,
    evaluation,
    fine_tune,
    ignored,
    images,
    labels,
    memory,
    normalization,
    rates,
    schedule,
    shards,
)
from tests.preflight.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("launcher", "tests", "configs", "docs", "bench", "pyproject.toml")
CHECKS = (
    batch, boxes, budget, counts, dataset, evaluation, fine_tune, ignored, images, labels, memory,
    normalization, rates, schedule, shards,
)  # fmt: skip

OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib")
_FAILED = 1
"""pytest's exit code when tests ran and one failed; 2 and above: they did not run."""
_TIMEOUT = 300


def test_every_check_has_one() -> None:
    assert {check.NAME for check in CHECKS} <= {mutation.check for mutation in MUTATIONS}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_it_still_finds_its_place(mutation: Mutation) -> None:
    mutated(ROOT, mutation)
    name, _, test = mutation.test.partition("::")
    assert f"def {test}(" in (ROOT / "tests" / "preflight" / name).read_text(), mutation.test


def mutated(root: Path, mutation: Mutation) -> tuple[Path, str]:
    """The file of the mutation below a checkout, and its text with it."""
    path = root / "launcher" / "preflight" / mutation.file
    text = path.read_text()
    count = text.count(mutation.old)
    assert count == 1, (
        f"{mutation.old!r} stands {count} times in {mutation.file}, not once: the code has moved "
        "on. Write the mutation of tests/preflight/mutations.py for what it is now"
    )
    return path, text.replace(mutation.old, mutation.new)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutated")
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored_files = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored_files)
        else:
            shutil.copy(ROOT / name, folder / name)
    code = "import launcher; print(launcher.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder, env=environment(folder), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(done.stdout.strip()).is_relative_to(folder)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Without pytest's plugins, of which these tests need none: half the time is theirs."""
    return os.environ | {"PYTHONPATH": str(folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def run(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    paths = [f"tests/preflight/{test}" for test in tests]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *paths],
        cwd=folder, env=environment(folder), capture_output=True, text=True, check=False,
        timeout=_TIMEOUT,
    )  # fmt: skip


@pytest.fixture
def broken(copy: Path, mutation: Mutation) -> Iterator[Path]:
    """The copy with the mutation, which is taken back."""
    path, text = mutated(copy, mutation)
    before = path.read_text()
    write(path, text)
    yield copy
    write(path, before)


def write(path: Path, text: str) -> None:
    """Bytecode is found by size and second of its source: both may be those of another mutation."""
    path.write_text(text)
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("file", sorted({m.test.partition("::")[0] for m in MUTATIONS}))
def test_without_a_mutation_they_pass(copy: Path, file: str) -> None:
    tests = sorted({m.test for m in MUTATIONS if m.test.startswith(f"{file}::")})
    done = run(copy, *tests)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_a_mutation_is_noticed(broken: Path, mutation: Mutation) -> None:
    done = run(broken, mutation.test)
    assert done.returncode == _FAILED, (
        f"{mutation.test} passes in spite of it, or did not run:\n{done.stdout}{done.stderr}"
    )
    assert "FAILED" in done.stdout
