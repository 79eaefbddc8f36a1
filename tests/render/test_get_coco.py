"""The Job that downloads COCO: its own program, against a server of small archives on loopback."""

import io
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from tests.render import kube

ADDRESSES = ("http://images.cocodataset.org", "http://download.tensorflow.org")


@cache
def container() -> Any:
    job = yaml.safe_load((kube.ROOT / "manifests" / "get-coco.yaml").read_text())
    return job["spec"]["template"]["spec"]["containers"][0]


def zipped(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as files:
        for name in names:
            files.writestr(name, name * 1000)
    return made.getvalue()


def tarred(name: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as files:
        entry = tarfile.TarInfo(name)
        entry.size = len(name)
        files.addfile(entry, io.BytesIO(name.encode()))
    return made.getvalue()


ARCHIVES = {
    "annotations_trainval2017.zip": zipped("annotations/instances_train2017.json"),
    "val2017.zip": zipped("val2017/000000000139.jpg"),
    "train2017.zip": zipped(*(f"train2017/{i:012}.jpg" for i in range(20))),
    "efficientnet_b0.tar.gz": tarred("efficientnet_b0/ckpt-0.index"),
    "efficientnet_b3.tar.gz": tarred("efficientnet_b3/ckpt-0.index"),
}


class Server(BaseHTTPRequestHandler):
    """As S3 answers: parts when they are asked for. `cut`: the connection breaks off there."""

    cut: ClassVar[int | None] = None
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        body = ARCHIVES[self.path.rsplit("/", 1)[1]]
        have = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.asked.append(f"{self.path.rsplit('/', 1)[1]} from {have}")
        self.send_response(206 if have else 200)
        self.send_header("Content-Length", str(len(body) - have))
        self.end_headers()
        self.wfile.write(body[have : self.cut])

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    Server.cut, Server.asked = None, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run(address: str, root: Path) -> "subprocess.CompletedProcess[str]":
    """As the container: its command and arguments, the addresses and the mount replaced."""
    _, flag, program = container()["command"]
    mount, *lines = container()["args"]
    assert mount == "/mnt"
    for known in ADDRESSES:
        lines = [line.replace(known, address) for line in lines]
    assert all(line.startswith(address) for line in lines), "no address that is not known"
    argv = [sys.executable, flag, program, str(root), *lines]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def test_all_is_where_configs_and_the_conversion_look_for_it(address: str, tmp_path: Path) -> None:
    done = run(address, tmp_path)
    assert done.returncode == 0, done.stderr
    jobs = list(yaml.safe_load_all((kube.ROOT / "manifests" / "convert-coco.yaml").read_text()))
    for job in jobs[:1]:
        command = job["spec"]["template"]["spec"]["containers"][0]["command"]
        for path in command[3:5]:
            assert (tmp_path / path.removeprefix("/mnt/")).exists()
    for model in ("efficientdet_d0", "efficientdet_d3"):
        spec = yaml.safe_load((kube.ROOT / "configs" / f"{model}.yaml").read_text())
        checkpoint = spec["train"]["fine_tune_checkpoint"].removeprefix("/data/")
        assert (tmp_path / f"{checkpoint}.index").exists()
    assert len(list((tmp_path / "coco" / "train2017").iterdir())) == 20
    assert not [p for p in (tmp_path / ".fetched").iterdir() if p.stat().st_size], "removed"
    asked = len(Server.asked)
    assert run(address, tmp_path).stdout.endswith("all is there\n")
    assert len(Server.asked) == asked, "nothing is fetched twice"


def test_a_download_that_broke_off_goes_on_where_it_was(address: str, tmp_path: Path) -> None:
    Server.cut = 100
    done = run(address, tmp_path)
    assert done.returncode == 1
    assert "only 100 of " in done.stderr
    assert "Traceback" not in done.stderr
    Server.cut = None
    assert run(address, tmp_path).returncode == 0
    assert Server.asked[:2] == [f"annotations_trainval2017.zip from {n}" for n in (0, 100)]
    assert (tmp_path / "coco" / "annotations" / "instances_train2017.json").exists()


def test_storage_that_cannot_be_written_is_told(address: str, tmp_path: Path) -> None:
    (tmp_path / ".fetched").write_text("a file")
    done = run(address, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {address}/annotations/annotations_trainval2017.zip: ")
    assert f"Can user 10001 write to {tmp_path}" in done.stderr
