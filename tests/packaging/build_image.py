"""Builds the Dockerfile's image where none can be pulled, and tries it as a pod would run it.

    make image-test                                  (as root, on Debian)
    .venv/bin/python tests/packaging/build_image.py --help

The base is made by debootstrap (once: it is kept), the image by buildah without a daemon. Then the
image's user runs in it, on a read-only root: `launcher --help`, `launcher plan`, twenty training
steps with a score, and a Ray node with KubeRay's health probe.
"""

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SUITE = "bookworm"
BASE = f"localhost/launcher-base:{SUITE}"
NEEDED = {"buildah": "buildah", "debootstrap": "debootstrap", "ip": "iproute2"}
CA = "/run/secrets/ca.crt"
"""Where the build sees the authorities that this machine's pip trusts (Dockerfile)."""
KEPT_PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "timeout", "retries", "proxy")


def main() -> int:
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves as Ctrl-C does: tidied up
    missing = [package for tool, package in NEEDED.items() if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        why = f"apt-get install {' '.join(missing)}" if missing else "it has to run as root"
        print(f"skipped: the image was not built: {why}", file=sys.stderr)
        return 0
    work = Path(args.work).expanduser()
    (work / "tmp").mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(work / "tmp")
    store = Store(work, args.storage_driver)
    try:
        if not args.no_build:
            if args.base == BASE:
                store.make_base()
            store.build(args.image, args.base, args.tensorflow)
        failed = Trials(store, args.image, shlex.split(args.wrap)).all()
    except subprocess.CalledProcessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        store.tidy(None if args.keep else args.image)
    return failed


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--tensorflow", choices=("cpu", "gpu"), default="cpu", help="the build argument")
    add("--base", default=BASE, help="BASE_IMAGE; by default debootstrap makes one")
    add("--image", default="localhost/launcher:test", help="its name in the store")
    add("--work", default="~/.cache/launcher-image", help="store and logs; %(default)s")
    add("--storage-driver", default="overlay", help="vfs where an overlay cannot be mounted")
    add("--keep", action="store_true", help="keep the image (the base is always kept)")
    add("--no-build", action="store_true", help="try the image that --keep left")
    add("--wrap", default="", metavar="COMMAND", help="run training and Ray under it, as 'nice'")
    return parser.parse_args()


@dataclass(frozen=True)
class Store:
    """buildah's images and containers in a folder of their own, beside the logs."""

    work: Path
    driver: str

    def buildah(self, *argv: str) -> list[str]:
        store = ["--root", f"{self.work}/storage", "--runroot", f"{self.work}/run"]
        return ["buildah", *store, "--storage-driver", self.driver, *argv]

    def ask(self, *argv: str) -> str:
        return subprocess.run(
            self.buildah(*argv), check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    def make_base(self) -> None:
        """A Debian with Python, as small as it gets: what python:3.11-slim-bookworm gives."""
        if BASE in self.ask("images", "--noheading", "--format", "{{.Name}}:{{.Tag}}").split():
            print(f"base: {BASE}, made before")
            return
        root = self.work / "base"
        shutil.rmtree(root, ignore_errors=True)
        packages = "--include=python3,python3-venv,ca-certificates"
        argv = ["debootstrap", "--variant=minbase", packages, SUITE, str(root)]
        self.step("base (about 2 minutes)", argv, "base.log")
        container = self.ask("from", "scratch")
        self.ask("add", "--quiet", container, str(root), "/")
        self.ask("commit", "--quiet", "--rm", container, BASE)
        shutil.rmtree(root)

    def build(self, image: str, base: str, tensorflow: str) -> None:
        """With this machine's registry and authorities as secrets, which no layer keeps."""
        config = self.work / "pip.conf"
        config.touch(mode=0o600)
        cert, text = pip_config()
        config.write_text(text)
        secrets = ["--secret", f"id=pip.conf,src={config}"]
        secrets += ["--secret", f"id=ca.crt,src={cert}"] if cert else []
        given = ["--build-arg", f"BASE_IMAGE={base}", "--build-arg", f"TENSORFLOW={tensorflow}"]
        how = ["--isolation", "chroot", "--pull=false", "--tag", image]
        try:
            argv = self.buildah("bud", *how, *given, *secrets, str(ROOT))
            self.step("build (5 to 10 minutes)", argv, "build.log")
        finally:
            config.unlink()

    def tidy(self, image: str | None) -> None:
        """Containers and unnamed layers go, and the image if it is named; the base stays."""
        named = [("rmi", "--force", image)] if image else []
        for argv in (("rm", "--all"), *named, ("rmi", "--prune")):
            subprocess.run(self.buildah(*argv), capture_output=True, check=False)

    def step(self, title: str, argv: Sequence[str], log: str, quiet: bool = False) -> float:
        """Runs to its end and says how far it is; its seconds. Raises CalledProcessError."""
        path, started, shown = self.work / log, time.monotonic(), 0.0
        with path.open("wb") as out, subprocess.Popen(argv, stdout=out, stderr=out) as process:
            try:
                while process.poll() is None:
                    time.sleep(0.2)
                    seconds = time.monotonic() - started
                    if seconds - shown >= 10:
                        shown = seconds
                        last = path.read_text(errors="replace").rstrip().rpartition("\n")[2]
                        print(f"{title}: {seconds:.0f} s, {last[:90]}", flush=True)
            finally:
                process.terminate()
        seconds = time.monotonic() - started
        if process.returncode and not quiet:
            print(path.read_text(errors="replace")[-4000:], file=sys.stderr)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, argv[0], str(path))
        print(f"{title}: done in {seconds:.1f} s", flush=True)
        return seconds


def pip_config() -> tuple[str | None, str]:
    """The authorities' file that pip trusts here, and a pip.conf for the build.

    Of the settings only those that tell where packages come from.
    """
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings = {}
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")  # the environment's come last: they win
        settings[name.rpartition(".")[2]] = value.strip("'")
    settings["timeout"] = settings.get("timeout", settings.get("default-timeout", "60"))
    cert = settings.get("cert") or os.environ.get("SSL_CERT_FILE")
    lines = [f"{name} = {settings[name]}" for name in KEPT_PIP_SETTINGS if name in settings]
    lines += [f"cert = {CA}"] if cert else []
    return cert, "\n".join(["[global]", *lines, ""])


class Trials:
    """What has to work in the image. Each is a command, with text that its output must have."""

    def __init__(self, store: Store, image: str, wrap: Sequence[str]) -> None:
        self.store, self.image, self.wrap = store, image, wrap
        self.config = json.loads(store.ask("inspect", "--type", "image", image))["OCIv1"]["config"]
        self.root = store.ask("mount", store.ask("from", "--pull=false", image))
        self.failed = 0
        self.passed = 0

    def all(self) -> int:
        mnt = self.prepare()
        size = self.store.ask("images", "--noheading", "--format", "{{.Size}}", self.image)
        print(f"image: {size}, user {self.config['User']}")
        self.attempt(mnt, "help", ["--help"], "Usage: launcher")
        self.attempt(mnt, "plan", ["plan", "/mnt/tiny.yaml"], "global batch")
        self.attempt(mnt, "read-only, non-root", ["/bin/bash", "-euc", READ_ONLY], "uid 10001")
        self.attempt(mnt, "no build tools", ["/bin/bash", "-euc", NO_BUILD_TOOLS], "none")
        self.attempt(mnt, "KubeRay's commands", ["/bin/bash", "-euc", KUBERAY], "ray, version")
        self.attempt(mnt, "twenty steps", ["submit", "/mnt/tiny.yaml"], "step     20 of 20", True)
        self.attempt(mnt, "Ray node", ["/bin/bash", "-euc", RAY_NODE], "success", True)
        print(f"{self.passed} passed, {self.failed} failed")
        return int(self.failed > 0)

    def prepare(self) -> Path:
        """The folder that is /mnt: the demo's spec, cut to 20 steps of 8 images; its run_dir."""
        mnt = self.store.work / "mnt"
        shutil.rmtree(mnt, ignore_errors=True)
        mnt.mkdir()
        config = (ROOT / "configs" / "demo.config").read_text()
        for long, short in (
            ("num_steps: 500", "num_steps: 20"),
            ("batch_size: 32", "batch_size: 8"),
        ):
            assert config.count(long) == 1, f"configs/demo.config has no {long}"
            config = config.replace(long, short)
        config = config.replace("total_steps: 500", "total_steps: 20")
        config = config.replace("warmup_steps: 80", "warmup_steps: 5")
        (mnt / "demo.config").write_text(config)
        (mnt / "tiny.yaml").write_text(TINY)
        owner = tuple(map(int, self.config["User"].split(":")))
        os.chown(mnt, *owner)
        return mnt

    def attempt(
        self, mnt: Path, name: str, argv: list[str], expected: str, heavy: bool = False
    ) -> None:
        """`argv` are the entry point's arguments, or a command with its path."""
        command = argv if argv[0].startswith("/") else [*self.config["Entrypoint"], *argv]
        environment = dict(entry.split("=", 1) for entry in self.config["Env"])
        alone = ["--mount", "--pid", "--fork", "--kill-child", "--net", "--ipc", "--uts"]
        where = [self.root, str(mnt), self.config["User"], environment["HOME"]]
        sandbox = [str(HERE / "image_sandbox.sh"), *where, self.config["WorkingDir"], *command]
        inside = ["unshare", *alone, "env", "-i", *self.config["Env"], *sandbox]
        log = f"{name.replace(' ', '-')}.log"
        try:
            self.store.step(name, [*(self.wrap if heavy else ()), *inside], log)
            if expected not in (self.store.work / log).read_text():
                raise subprocess.CalledProcessError(0, f"{name}: no {expected!r} in its output")
            self.passed += 1
        except subprocess.CalledProcessError as error:
            self.failed += 1
            print(f"FAILED {name}: {error}; all of it: {self.store.work / log}", file=sys.stderr)


TINY = """\
apiVersion: launcher/v1
name: tiny
pipeline_config: demo.config
data:
  synthetic: {kind: shapes, train_images: 64, val_images: 16, image_size: 128, seed: 0}
batch: {global_batch: 8, per_replica_batch: 8}
cluster: {workers: 1}
run_dir: runs
"""
READ_ONLY = """
echo "uid $(id -u), gid $(id -g), groups $(id -G)"
for place in /opt/launcher /opt/launcher/bin /etc /usr/local /var/tmp /; do
    if touch "$place/written" 2>/dev/null; then echo "$place can be written to"; exit 1; fi
done
touch /tmp/written "$HOME/written"
grep -E '^Cap(Prm|Eff|Bnd):\\s+0+$' /proc/self/status
test "$(grep -cE '^Cap(Prm|Eff|Bnd):\\s+0+$' /proc/self/status)" = 3
grep -E '^NoNewPrivs:\\s+1$' /proc/self/status
"""
NO_BUILD_TOOLS = """
for tool in cc gcc g++ c++ clang make cmake ld as bazel git; do
    if command -v "$tool"; then echo "$tool is there"; exit 1; fi
done
test ! -e /opt/launcher/bin/pip
test ! -e /build
echo none
"""
KUBERAY = """
ray --version
/bin/bash -lc 'ray --version && command -v launcher'
python -c 'import launcher, tensorflow, object_detection, ray, kubernetes'
wget --version | head -1
"""
RAY_NODE = """
ray start --head --num-cpus 1 --object-store-memory 100000000 --dashboard-host 127.0.0.1
for _ in $(seq 60); do
    wget -T 2 -q -O- http://localhost:52365/api/local_raylet_healthz && break
    sleep 1
done
ray job submit --address http://127.0.0.1:8265 -- launcher --version
ray stop --force
"""

if __name__ == "__main__":
    sys.exit(main())
