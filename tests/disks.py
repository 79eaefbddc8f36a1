"""File systems that fail as real ones do: full, gone with their server, hanging, without locks."""

import contextlib
import ctypes
import os
import platform
import select
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

_INIT = 26


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
    device = _open_fuse()
    try:
        _mount(device, place)
    finally:
        os.close(device)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextlib.contextmanager
def hanging(folder: Path) -> Iterator[threading.Event]:
    """A FUSE mount that takes every request and answers none stands in place of the folder until
    the block ends: who uses it waits in the kernel, where not even SIGKILL reaches it. The event
    says that somebody does. Skips where this user may not mount."""
    device = _open_fuse()
    asked, over = threading.Event(), threading.Event()
    server = threading.Thread(target=_take_requests, args=[device, asked, over])
    server.start()
    try:
        _mount(device, folder)
        try:
            yield asked
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
    finally:
        over.set()
        server.join()
        os.close(device)  # which ends the waiting


def _take_requests(device: int, asked: threading.Event, over: threading.Event) -> None:
    """linux/fuse.h: only the first, FUSE_INIT, is answered."""
    ready = select.poll()
    ready.register(device, select.POLLIN)
    while not over.wait(0.02):
        if ready.poll(0) != [(device, select.POLLIN)]:
            continue  # not mounted yet, or nobody asks
        request = os.read(device, 1 << 17)
        _, opcode, unique = struct.unpack_from("<IIQ", request)
        if opcode != _INIT:
            asked.set()
        else:
            answer = struct.pack("<IIIIHHIIHHI28x", 7, 31, 1 << 16, 0, 16, 12, 1 << 16, 1, 0, 0, 0)
            os.write(device, struct.pack("<IiQ", 16 + len(answer), 0, unique) + answer)


def _open_fuse() -> int:
    try:
        return os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
    except OSError as e:
        pytest.skip(f"/dev/fuse cannot be opened ({e.strerror})")


def _mount(device: int, place: Path) -> None:
    mode = "100000" if place.is_file() else "40000"
    options = f"fd={device},rootmode={mode},user_id={os.getuid()},group_id={os.getgid()}"
    mount = ["mount", "-i", "-t", "fuse", "-o", options, "nobody", str(place)]
    done = subprocess.run(mount, pass_fds=[device], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a FUSE file system cannot be mounted here ({done.stderr.strip()})")


def without_flock(code: int) -> None:
    """The kernel refuses flock to this process from now on with the error `code`, as it does for
    files of a file system without locks: for subprocess's preexec_fn."""
    refused(code, "flock")


_CALLS = {
    "x86_64": {"flock": 73, "clone": 56, "fork": 57, "vfork": 58, "setsockopt": 54},
    "aarch64": {"flock": 32, "clone": 220, "setsockopt": 208},
}


def refused(code: int, *calls: str, third: int | None = None) -> None:
    """The kernel refuses these system calls to this process from now on with the error `code`;
    `third`: only those with this third argument."""
    known = _CALLS[platform.machine()]
    steps = [(0x20, 0, 0, 0)]  # load the number of the system call
    for number in (known[call] for call in calls if call in known):
        if third is None:
            steps.append((0x15, 0, 1, number))  # another one: skip the next step
        else:
            steps.append((0x15, 0, 3, number))
            steps.append((0x20, 0, 0, 32))  # load the low half of the third argument
            steps.append((0x15, 0, 1, third))
        steps.append((0x06, 0, 0, 0x00050000 | code))  # SECCOMP_RET_ERRNO
    steps.append((0x06, 0, 0, 0x7FFF0000))  # SECCOMP_RET_ALLOW
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    described = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, described, 0, 0):
        raise OSError(ctypes.get_errno(), "this kernel has no seccomp")
