"""A cluster of one machine listens on that machine only.

TensorFlow's server takes connections on all interfaces whatever the host in TF_CONFIG, and
answers anyone. When all hosts are loopback, its listening socket is bound to the loopback device;
the moment between its start and this call remains.
"""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from launcher.contract import ENV_TF_CONFIG


def keep_to_loopback() -> None:
    """Call it when the strategy is made. Does nothing for a cluster of several machines.

    Raises OSError when the system refuses (a Linux before 5.7, without the capability).
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
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")


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
