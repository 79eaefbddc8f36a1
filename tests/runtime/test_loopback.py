"""Whom the port of a worker answers: two machines, which are network namespaces with a wire."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIND, FILTER = 25, 26  # SO_BINDTODEVICE, SO_ATTACH_FILTER

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"),
    reason="needs network namespaces of its own",
)

PROGRAM = """
import errno, os, socket, subprocess, sys
from launcher.contract import tf_config
from launcher.errors import ConfigError
from launcher.runtime.loopback import keep_to_loopback
from tests.disks import refused

other = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 100"], stdout=-1)
other.stdout.readline()
there = ["nsenter", "-t", str(other.pid), "-n"]
for command in (
    "ip link set lo up",
    "ip link add here type veth peer name there",
    f"ip link set there netns {other.pid}",
    "ip addr add 10.9.0.1/24 dev here",
    "ip link set here up",
):
    subprocess.run(command.split(), check=True)
for command in ("ip addr add 10.9.0.2/24 dev there", "ip link set there up"):
    subprocess.run([*there, *command.split()], check=True)

def answers(address, *where):
    code = f"import socket; socket.create_connection({address!r}, 2).recv(1)"
    return not subprocess.run([*where, sys.executable, "-c", code], stderr=-3).returncode

def look(when):
    for who, found in (("itself", answers(("127.0.0.1", port))),
                       ("another", answers(("10.9.0.1", port), *there))):
        print(when, who, found, flush=True)

server = socket.create_server(("0.0.0.0", 0))
port = server.getsockname()[1]
if not os.fork():
    while True:
        server.accept()[0].send(b"x")
os.environ["TF_CONFIG"] = tf_config([f"127.0.0.1:{port}", "127.0.0.1:1"], 0)
look("before")
for option in sys.argv[1:]:
    refused(errno.EPERM, "setsockopt", third=int(option))
try:
    keep_to_loopback()
except ConfigError as e:
    print(int(e.worker_exit), e)
look("after")
other.kill()
os.killpg(0, 9)
"""


def looked(*refused: int) -> list[str]:
    argv = ["unshare", "--net", sys.executable, "-u", "-c", PROGRAM, *map(str, refused)]
    done = subprocess.run(
        argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60, start_new_session=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("refused", [(), (BIND,)], ids=["", "a kernel before 5.7"])
def test_a_run_of_one_machine_is_reached_from_that_machine_only(refused: tuple[int, ...]) -> None:
    assert looked(*refused) == [
        "before itself True",
        "before another True",
        "after itself True",
        "after another False",
    ]


def test_a_port_that_cannot_be_closed_ends_the_run_with_the_remedy() -> None:
    said = looked(BIND, FILTER)[2]
    assert said.startswith("64 cluster.workers: the port of TensorFlow's server, ")
    assert "cannot be closed to other machines (Operation not permitted)" in said
    assert "Train with 1 worker" in said
