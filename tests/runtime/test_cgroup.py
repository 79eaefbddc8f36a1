"""What a container may take of the machine's memory, in both versions of control groups."""

import os
from pathlib import Path

import pytest

from launcher.runtime.cgroup import memory_limit

HOST = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
NONE_IN_V1 = str((1 << 63) - 4096)


@pytest.mark.parametrize(
    ("line", "files", "expected"),
    [
        pytest.param("0::/", {"memory.max": "4096000"}, 4096000, id="v2, in a container"),
        pytest.param("0::/", {"memory.max": "max"}, None, id="v2, no limit"),
        pytest.param("0::/", {}, None, id="v2, the machine's own root"),
        pytest.param(
            "0::/a/b", {"a/memory.max": "4096", "a/b/memory.max": "8192"}, 4096, id="v2, around it"
        ),
        pytest.param("4:cpu,memory:/a", {"memory/a/memory.limit_in_bytes": "4096"}, 4096, id="v1"),
        pytest.param(
            "4:memory:/not/here", {"memory/memory.limit_in_bytes": "4096"}, 4096, id="v1, in one"
        ),
        pytest.param(
            "4:memory:/", {"memory/memory.limit_in_bytes": NONE_IN_V1}, None, id="v1, no limit"
        ),
        pytest.param("4:cpu:/", {"cpu/memory.max": "4096"}, None, id="another controller"),
        pytest.param("0::/", {"memory.max": str(HOST)}, None, id="more than there is"),
    ],
)
def test_the_limit_is_read(
    tmp_path: Path, line: str, files: dict[str, str], expected: int | None
) -> None:
    own = tmp_path / "self"
    own.write_text(f"1:name=systemd:/x\n{line}\n")
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert memory_limit(tmp_path / "root", own) == expected


def test_no_control_groups_are_no_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path, tmp_path / "missing") is None


def test_this_process_has_less_than_the_machine_or_no_limit() -> None:
    limit = memory_limit()
    assert limit is None or 0 < limit < HOST
