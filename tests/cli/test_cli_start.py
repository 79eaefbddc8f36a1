"""What the command line costs before it does anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ["tensorflow", "ray", "kubernetes", "numpy", "matplotlib", "pydantic", "rich", "yaml"]


def loaded(statement: str) -> list[str]:
    """Which of the heavy modules are loaded when a command line has run to its exit."""
    code = (
        "import atexit, json, sys\n"
        f"heavy = {HEAVY!r}\n"
        "atexit.register(lambda: print(json.dumps([m for m in heavy if m in sys.modules]),"
        " file=sys.stderr))\n"
        f"{statement}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    found = json.loads(done.stderr.splitlines()[-1])
    assert isinstance(found, list)
    return found


def command(*args: str) -> str:
    return f"sys.argv = {['launcher', *args]!r}; from launcher.cli.main import main; main()"


def test_help_loads_no_heavy_module() -> None:
    assert loaded(command("--help")) == []


@pytest.mark.parametrize("args", [("submit", "--help"), ("data", "--help"), ("recipes", "--json")])
def test_commands_load_what_they_use(args: tuple[str, ...]) -> None:
    assert loaded(command(*args)) in ([], ["pydantic"])  # typer reads arguments with pydantic


def test_import_loads_nothing() -> None:
    assert loaded("import launcher; print(launcher.__all__)") == []


def test_the_probe_sees_what_is_loaded() -> None:
    assert loaded("import yaml") == ["yaml"]


def test_plan_loads_no_training_package(tmp_path: Path) -> None:
    config = tmp_path / "spec.yaml"
    config.write_text("name: d3\nrecipe: efficientdet_d3\n")
    assert set(loaded(command("plan", str(config)))) == {"pydantic", "rich", "yaml"}


def test_start_costs_at_most_15_bare_interpreters() -> None:
    bench = Path(__file__).parents[2] / "bench" / "cli_start.py"
    done = subprocess.run(
        [sys.executable, str(bench)], capture_output=True, text=True, check=True, timeout=120
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result) == {"name", "ratio", "ours", "peer", "unit"}
    assert result["ratio"] <= 15, result
