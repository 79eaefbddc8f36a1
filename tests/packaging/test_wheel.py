"""A wheel in an empty environment: the parts without TensorFlow are the checkout's own."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PINS = ROOT / "requirements" / "runtime.txt"
OUTSIDE = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
TWO_WORKERS = ("--set", "cluster.workers=2", "--set", "cluster.gpus_per_worker=0")


def run(*argv: str | Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        list(map(str, argv)), capture_output=True, text=True, cwd=cwd, env=OUTSIDE, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what belongs to the package, so that the checkout stays clean."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(
        ROOT / "launcher", source / "launcher", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    built = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", ".", cwd=source)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(source.glob("*.whl"))


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment with the wheel and what it declares, no extras.

    In the pinned versions, so that a new release of one of them cannot change an answer.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    done = run(folder / "bin" / "pip", "install", "-q", "-c", PINS, wheel, cwd=folder)
    if "NewConnectionError" in done.stderr or "Failed to establish" in done.stderr:
        pytest.skip("the package registry cannot be reached")
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_the_wheel_has_its_data_files(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "launcher/odapi/object_detection.binpb",
        "launcher/py.typed",
        "launcher/report/page.css",
    } <= names


def test_only_light_packages_come_with_it(empty: Path, tmp_path: Path) -> None:
    listed = run(empty / "pip", "list", cwd=tmp_path).stdout.lower()
    assert "pydantic" in listed
    for heavy in ("tensorflow", "numpy", "object", "ray", "kubernetes", "matplotlib"):
        assert heavy not in listed
    for module in ("tensorflow", "numpy", "object_detection"):
        found = run(empty / "python", "-c", f"import {module}", cwd=tmp_path)
        assert f"No module named '{module}'" in found.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["recipes", "--json"],
        ["schema"],
        ["init", "efficientdet_d3"],
        ["plan", "d3.yaml"],
        ["plan", "d3.yaml", "--json"],
        ["plan", "pipeline.config"],
    ],
    ids=" ".join,
)
def test_the_same_answers_as_the_checkout(empty: Path, tmp_path: Path, command: list[str]) -> None:
    spec = run(sys.executable, "-m", "launcher", "init", "efficientdet_d3", cwd=tmp_path).stdout
    (tmp_path / "d3.yaml").write_text(spec)
    shutil.copy(ROOT / "configs" / "demo.config", tmp_path / "pipeline.config")
    ours = run(sys.executable, "-m", "launcher", *command, cwd=tmp_path)
    theirs = run(empty / "launcher", *command, cwd=tmp_path)
    module = run(empty / "python", "-m", "launcher", *command, cwd=tmp_path)
    assert ours.returncode == theirs.returncode == module.returncode == 0, theirs.stderr
    assert theirs.stdout == module.stdout == ours.stdout


def test_render_shows_the_processes(empty: Path, tmp_path: Path) -> None:
    """The checkout's own, but for the interpreter and the ports, which are chosen anew."""
    spec = run(empty / "launcher", "init", "efficientdet_d3", cwd=tmp_path).stdout
    (tmp_path / "d3.yaml").write_text(spec)
    shown = []
    for python in (empty / "python", Path(sys.executable)):
        done = run(python, "-m", "launcher", "render", "d3.yaml", *TWO_WORKERS, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "launcher.runtime" in done.stdout
        shown.append(re.sub(r"127\.0\.0\.1:\d+", "HOST", done.stdout.replace(str(python), "PY")))
    assert shown[0] == shown[1]
    assert "HOST" in shown[0]


TRAIN_EXTRA = "pip install 'launcher[train]'"
REFUSED = {
    ("submit", "d3.yaml"): (
        "training needs packages that are not installed (tensorflow, tf_keras, object_detection, "
        f"official). Run `{TRAIN_EXTRA}` and `pip install --no-deps "
        "tf-models-research-object-detection==2.8.0.post1 tf-models-official==2.20.0 lvis==0.5.3`"
    ),
    ("data", "shapes", "out"): None,  # which of its packages it misses first is no contract
    ("data", "stats", "d3.yaml"): None,
    ("data", "view", "d3.yaml"): None,
}


@pytest.mark.parametrize("command", REFUSED, ids=" ".join)
def test_a_missing_extra_is_named_with_its_command(
    empty: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    spec = run(empty / "launcher", "init", "efficientdet_d3", cwd=tmp_path).stdout
    (tmp_path / "d3.yaml").write_text(spec)
    refused = run(empty / "launcher", *command, cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {REFUSED[command] or ''}")
    assert refused.stderr.count("\n") == 1
    assert TRAIN_EXTRA in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "out").exists()
