"""Standard streams that are closed, and readers that have gone."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report import made_run

CLOSED = (">&-", ">&- 2>&-", "<&- >&- 2>&-")
GONE = ("| true", "| head -1", "| { sleep 3; }")


def shell(
    line: str, work: Path, env: dict[str, str], encoding: str | None = None
) -> "subprocess.CompletedProcess[str]":
    """By bash; the exit code is that of the launcher in a pipe, too."""
    line = line.replace("launcher", shlex.join([sys.executable, "-m", "launcher"]))
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=work, env=env, capture_output=True, text=True, encoding=encoding, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["recipes", "--help", "plan demo.yaml"])
@pytest.mark.parametrize("end", [*CLOSED, *GONE])
def test_a_command_ends_as_it_would_have(
    env: dict[str, str], work: Path, spec_file: Path, command: str, end: str
) -> None:
    done = shell(f"launcher {command} {end}", work, env)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_stdout_keeps_the_exit_code(env: dict[str, str], work: Path) -> None:
    done = shell("launcher status nope >&-", work, env)
    assert done.returncode == 2
    assert done.stderr.startswith("error: nope: no such run")
    assert shell("launcher status nope >&- 2>&-", work, env).returncode == 2


def test_a_file_does_not_become_stdout(env: dict[str, str], work: Path, spec_file: Path) -> None:
    done = shell("launcher plan demo.yaml -o there >&- <&- && cat there/plan.json", work, env)
    assert done.stdout.startswith("{")


def test_a_reader_that_has_gone_keeps_a_failure_s_code(env: dict[str, str], work: Path) -> None:
    made_run.make(work / "runs" / "low", 20.0, name="low")
    done = shell("launcher results low | true", work, env)
    assert done.returncode == 4
    assert "below the target" in done.stderr
    assert shell("launcher status nope 2>&1 | true", work, env).returncode == 2


@pytest.mark.parametrize("encoding", ["utf-8:strict", "utf-8", "latin-1"])
def test_a_name_that_the_encoding_does_not_have(
    env: dict[str, str], work: Path, encoding: str
) -> None:
    (work / "set").mkdir()
    for name in (b"a\xff\xc3\xa9.record", b"b.record"):
        Path(os.fsdecode(os.fsencode(work / "set") + b"/" + name)).touch()
    (work / "labels.pbtxt").write_text('item { id: 1 name: "cat" }')
    (work / "job.yaml").write_text(
        "name: job\nrecipe: ssd_mobilenet_v2_fpnlite_320\ndata: {dataset: custom, "
        "train: set/a*, val: set/b.record, label_map: labels.pbtxt}\n"
    )
    said_in = {**env, "PYTHONIOENCODING": encoding}
    done = shell("launcher data audit job.yaml", work, said_in, "latin-1")
    assert (done.returncode, done.stderr) == (3, "")
    known = "\xe9" if encoding == "latin-1" else "\xc3\xa9"
    assert f"error {work}/set/a\\udcff{known}.record: an empty shard" in done.stdout


def test_logs_end_with_their_reader(
    env: dict[str, str],
    work: Path,
    spec_file: Path,
    scripts: Callable[[str, str], None],
    submit_argv: list[str],
) -> None:
    scripts("while True: print('tick', flush=True); time.sleep(0.02)", "forever()")
    subprocess.run([*submit_argv, "--detach"], cwd=work, env=env, check=True, timeout=60)
    try:
        done = shell("timeout 30 launcher logs demo worker-0 -f | head -1", work, env)
        assert (done.returncode, done.stdout, done.stderr) == (0, "tick\n", "")
    finally:
        assert shell("launcher cancel demo", work, env).returncode == 0
