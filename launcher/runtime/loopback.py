"""A cluster of one machine listens on that machine only.

TensorFlow's server takes connections on all interfaces whatever the host in TF_CONFIG, and
answers anyone. When all hosts are loopback, its listening socket is bound to the loopback device,
or has a filter that drops what comes over another one; the moment between its start and this call
remains.
"""

import ctypes
import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from launcher.contract import ENV_TF_CONFIG
from launcher.errors import ConfigError

_LOOPBACK = "lo"
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_STEP = struct.Struct("HBBI")  # struct sock_filter
_DEVICE = 0x1_0000_0000 - 0x1000 + 8  # SKF_AD_OFF + SKF_AD_IFINDEX


def keep_to_loopback() -> None:
    """Call it when the strategy is made. Does nothing for a cluster of several machines.

    Raises ConfigError when the system refuses both: who reaches the port may run what he likes as
    this account, so that an open one is no choice to be made for anybody.
    """
    text = os.environ.get(ENV_TF_CONFIG)
    if not text:
        return
    description = json.loads(text)
    hosts: list[str] = description["cluster"]["worker"]
    if not all(host.startswith(("127.", "localhost:", "[::1]:")) for host in hosts):
        return
    own_port = int(hosts[description["task"]["index"]].rsplit(":", 1)[1])
    for listener in _listeners():
        with listener:
            if listener.getsockname()[1] == own_port:
                try:
                    _close_to_others(listener)
                except OSError as e:
                    raise ConfigError(
                        f"the port of TensorFlow's server, {own_port}, cannot be closed to other "
                        f"machines ({e.strerror or e}), and it obeys anyone who reaches it",
                        place="cluster.workers",
                        remedy="Train with 1 worker, which has no server and drives all GPUs of "
                        "the machine (cluster.gpus_per_worker), or on Linux 5.7 or newer",
                    ) from e


def _close_to_others(listener: socket.socket) -> None:
    """Before Linux 5.7 a socket is bound to a device with CAP_NET_RAW only; a filter takes no right
    at all. Connections inherit it."""
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _LOOPBACK.encode() + b"\0")
    except OSError:
        program = _loopback_only(socket.if_nametoindex(_LOOPBACK))
        steps = ctypes.create_string_buffer(program)
        described = struct.pack("HP", len(program) // _STEP.size, ctypes.addressof(steps))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def _loopback_only(index: int) -> bytes:
    """A classic BPF program (linux/filter.h): a packet of another device's is cut to no bytes."""
    return b"".join(
        _STEP.pack(*step)
        for step in (
            (0x20, 0, 0, _DEVICE),  # load the index of the device it came over
            (0x15, 0, 1, index),  # another one: skip a step
            (0x06, 0, 0, 0xFFFFFFFF),  # return all of it
            (0x06, 0, 0, 0),
        )
    )


def _listeners() -> Iterator[socket.socket]:
    """Duplicates of this process's listening internet sockets."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not str(entry.readlink()).startswith("socket:"):
                continue
            found = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:  # closed in between
            continue
        internet = found.family in (socket.AF_INET, socket.AF_INET6)
        if internet and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            yield found
        else:
            found.close()
