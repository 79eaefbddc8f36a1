"""Mistakes on the command line: one line, what to do, the exit code, no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Launcher

CASES: list[tuple[list[str], int, str]] = [
    (["sbmit"], 2, "error: No such command 'sbmit'. Did you mean 'submit'? See `launcher --help`"),
    (
        ["status", "demo", "--jsn"],
        2,
        "error: No such option: --jsn (Possible options: --json). See `launcher status --help`",
    ),
    (["status"], 2, "error: Missing argument 'NAME'. See `launcher status --help`"),
    (
        ["plan", "demo.yaml", "--gpu-memory", "24GB"],
        2,
        "error: Invalid value for '--gpu-memory': '24GB' is no number: use one, as 24. "
        "See `launcher plan --help`",
    ),
    (
        ["logs", "demo", "--tail", "-1"],
        2,
        "error: Invalid value for '--tail': -1 is too low: use 0 or more. "
        "See `launcher logs --help`",
    ),
    (
        ["logs", "demo", "--tail", "1.5"],
        2,
        "error: Invalid value for '--tail': '1.5' is no whole number: use one, as 8. "
        "See `launcher logs --help`",
    ),
    (
        ["data", "view", "demo.yaml", "--images", "x"],
        2,
        "error: Invalid value for '--images': 'x' is no whole number: use one, as 8. "
        "See `launcher data view --help`",
    ),
    (
        ["data", "view", "demo.yaml", "--images", "101"],
        2,
        "error: Invalid value for '--images': 101 is too high: use 100 or less. "
        "See `launcher data view --help`",
    ),
    (
        ["submit", "demo.yaml", "--dry-run=servr"],
        2,
        "error: Invalid value for '--dry-run': 'servr' must be server or client. "
        "See `launcher submit --help`",
    ),
    (
        ["logs", "demo", "--tail"],
        2,
        "error: Option '--tail' requires an argument. See `launcher logs --help`",
    ),
    (
        ["data", "convert", "a.json", "b", "-o", "c", "--prefix"],
        2,
        "error: Option '--prefix' requires an argument. See `launcher data convert --help`",
    ),
    (
        ["plan", "nope.yaml"],
        2,
        "error: nope.yaml: no such file. Give the path of a job spec (YAML) or of a "
        "pipeline.config",
    ),
    (
        ["status", "demo"],
        2,
        "error: demo: no such run in ./runs or on the list of runs. `launcher list` shows all runs",
    ),
    (
        ["submit", "demo.yaml", "--backend", "ray", "--address", "ray://head:10001"],
        2,
        "error: --address: 'ray://head:10001' is not the address of a Ray dashboard. Write it as "
        "http://HOST:8265",
    ),
    (
        ["submit", "demo.yaml", "--backend", "lokal"],
        2,
        'error: backend: "lokal" is not a backend. Use local, ray, kubernetes',
    ),
    (
        ["submit", "demo.yaml", "--detach", "--wait"],
        2,
        "error: --detach and --wait exclude each other. Give one of them",
    ),
    (
        ["submit", "demo.yaml", "--resume", "--replace"],
        2,
        "error: --resume and --replace exclude each other. Give one of them",
    ),
    (
        ["submit", "demo.yaml", "--set", "cluster.gpus_per_worker=1"],
        2,
        "error: --set cluster.gpus_per_worker: 2 GPUs are asked for (2 x 1 for the workers), this "
        "machine has 0. Lower it (0 trains on the CPU), or name the GPUs in CUDA_VISIBLE_DEVICES "
        "when they are not /dev/nvidia0, /dev/nvidia1, ...",
    ),
    (
        ["submit", "demo.yaml", "--run-dir", "demo.yaml"],
        1,
        "error: {work}/demo.yaml/demo: cannot write (Not a directory). "
        "Remove the file that is in the way, or choose another place with run_dir",
    ),
]


@pytest.mark.parametrize(("args", "code", "text"), CASES, ids=[" ".join(case[0]) for case in CASES])
def test_mistake(
    launcher: Launcher, spec_file: Path, work: Path, args: list[str], code: int, text: str
) -> None:
    done = launcher(*args, CUDA_VISIBLE_DEVICES="")
    assert (done.stdout, done.stderr.splitlines()) == ("", [text.replace("{work}", str(work))])
    assert done.returncode == code
    assert not (work / "runs" / "demo").exists()


def test_all_problems_of_a_spec_one_line_each(launcher: Launcher, work: Path) -> None:
    (work / "bad.yaml").write_text("name: Bad Name\nrecipe: efficientdet_d3\nclustr: {}\n")
    done = launcher("plan", "bad.yaml")
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert len(lines) == 2
    assert all(line.startswith("error: bad.yaml:") for line in lines)


def test_missing_data_starts_nothing(launcher: Launcher, work: Path) -> None:
    (work / "d3.yaml").write_text(
        "name: d3\nrecipe: efficientdet_d3\ndata: {train: no/*.record, val: no/val.record,"
        " label_map: no/map.pbtxt}\n"
    )
    done = launcher("submit", "d3.yaml")
    assert done.returncode == 2
    assert [line.split(": ")[2] for line in done.stderr.splitlines()] == [
        "data.train",
        "data.val",
        "data.label_map",
    ]
    assert not (work / "runs").exists()


def test_no_command_prints_the_help(launcher: Launcher) -> None:
    for args in ([], ["data"]):
        done = launcher(*args)
        assert done.returncode == 2
        assert done.stderr.startswith("Usage: launcher")
        assert "Traceback" not in done.stderr


def test_every_command_has_an_example(inside: Launcher) -> None:
    overview = inside("--help").stdout
    listed = overview.split("Commands:\n")[1].splitlines()
    names = [line.split()[0] for line in listed if line.startswith("  ") and line.split()]
    assert len(names) >= 13
    data = [["data", "convert"], ["data", "shapes"]]
    for command in [*([n] for n in names if n != "data"), *data]:
        text = inside(*command, "--help").stdout
        assert "Example" in text, command


@pytest.mark.parametrize("args", [("--help",), ("data", "--help")], ids=" ".join)
def test_no_summary_is_cut_at_80_columns(launcher: Launcher, args: tuple[str, ...]) -> None:
    done = launcher(*args, COLUMNS="80")
    assert "..." not in done.stdout.split("Commands:")[1]


def test_version(launcher: Launcher) -> None:
    from importlib.metadata import version

    assert launcher("--version").stdout == f"launcher {version('launcher')}\n"


def test_closed_pipe_is_quiet(env: dict[str, str], work: Path) -> None:
    """`launcher schema | head -1`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "launcher", "schema"],
        cwd=work,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait(timeout=30)
    process.stderr.close()


def test_full_stdout_is_told(launcher: Launcher, env: dict[str, str], work: Path) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 (a device)
        done = subprocess.run(
            [sys.executable, "-m", "launcher", "recipes"],
            cwd=work, env=env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "error: cannot write the output (No space left on device)\n"


def test_completion_script(launcher: Launcher) -> None:
    done = launcher(_LAUNCHER_COMPLETE="complete_bash", COMP_WORDS="launcher sub", COMP_CWORD="1")
    assert done.stdout.split() == ["submit"]


@pytest.mark.parametrize(
    "args", [["list"], ["plan", "{spec}"], ["check", "{spec}"], ["results", "demo"]]
)
def test_a_current_folder_that_is_gone(tmp_path: Path, spec_file: Path, args: list[str]) -> None:
    here = tmp_path / "here"
    here.mkdir()
    script = "import os, sys; os.rmdir(os.getcwd()); from launcher.cli.main import main; main()"
    words = [arg.format(spec=spec_file) for arg in args]
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=here, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == (
        "error: the current folder is gone. Change to one that is there, as with cd\n"
    )
    assert done.returncode == 2
