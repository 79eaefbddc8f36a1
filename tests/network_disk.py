"""A folder whose network file system has gone: every use of it fails with ENOTCONN.

It is a FUSE mount that nobody serves, in place of the folder until the block ends.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def gone(folder: Path) -> Iterator[None]:
    """Skips where this user may not mount."""
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as e:
        pytest.skip(f"/dev/fuse cannot be opened ({e.strerror})")
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    mount = ["mount", "-i", "-t", "fuse", "-o", options, "nobody", str(folder)]
    done = subprocess.run(mount, pass_fds=[device], capture_output=True, text=True, check=False)
    os.close(device)
    if done.returncode:
        pytest.skip(f"a FUSE file system cannot be mounted here ({done.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
