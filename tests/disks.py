"""File systems that fail as real ones do: a full one, and one whose server has gone."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small(folder: Path, size: str) -> Iterator[Path]:
    """A file system of `size`, as 4m, in place of the folder until the block ends. Skips where this
    user may not mount."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs takes a right that this user does not have")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def gone(place: Path) -> Iterator[None]:
    """A FUSE mount that nobody serves stands in place of the folder or the file until the block
    ends: every use of it fails with ENOTCONN, as of a network file system. Skips where this user
    may not mount."""
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as e:
        pytest.skip(f"/dev/fuse cannot be opened ({e.strerror})")
    mode = "100000" if place.is_file() else "40000"
    options = f"fd={device},rootmode={mode},user_id={os.getuid()},group_id={os.getgid()}"
    mount = ["mount", "-i", "-t", "fuse", "-o", options, "nobody", str(place)]
    done = subprocess.run(mount, pass_fds=[device], capture_output=True, text=True, check=False)
    os.close(device)
    if done.returncode:
        pytest.skip(f"a FUSE file system cannot be mounted here ({done.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
