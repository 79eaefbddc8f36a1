"""File systems that fail as real ones do: a full one, one whose server has gone, one without
locks."""

import contextlib
import ctypes
import os
import platform
import shutil
import struct
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
def gone(folder: Path) -> Iterator[None]:
    """A FUSE mount that nobody serves stands in place of the folder until the block ends: every use
    of it fails with ENOTCONN, as of a network file system. Skips where this user may not mount."""
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


def without_flock(code: int) -> None:
    """The kernel refuses flock to this process from now on with the error `code`, as it does for
    files of a file system without locks: for subprocess's preexec_fn."""
    number = {"x86_64": 73, "aarch64": 32}[platform.machine()]
    steps = (
        (0x20, 0, 0, 0),  # load the number of the system call
        (0x15, 0, 1, number),  # another one: skip the next step
        (0x06, 0, 0, 0x00050000 | code),  # SECCOMP_RET_ERRNO
        (0x06, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    )
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    described = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, described, 0, 0):
        raise OSError(ctypes.get_errno(), "this kernel has no seccomp")
