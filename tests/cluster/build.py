"""The control plane's program: built once from Go modules, into a cache outside the checkout."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from launcher.data.progress import Progress

SOURCE = Path(__file__).parent / "controlplane"
_KWOK_CRDS = "kustomize/crd/bases"
_FILES = ("go.mod", "go.sum", "main.go")
_NO_GO = "needs Go 1.24 or newer in PATH: https://go.dev/dl, or apt-get install golang"


def version() -> str:
    """Of Kubernetes, as go.mod pins it: v1.34.4."""
    found = re.search(r"^\tk8s\.io/kubernetes (v\S+)", (SOURCE / "go.mod").read_text(), re.M)
    assert found, "go.mod names no k8s.io/kubernetes"
    return found[1]


def cache() -> Path:
    """$XDG_CACHE_HOME/launcher, by default ~/.cache/launcher."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".cache"
    return base / "launcher"


def program() -> Path:
    """Path of the built program; builds it when it is not there, or of another source."""
    folder = cache() / f"controlplane-{version().removeprefix('v')}"
    built, stamp = folder / "controlplane", folder / "source"
    source = "".join((SOURCE / name).read_text() for name in _FILES)
    if not (built.is_file() and stamp.is_file() and stamp.read_text() == source):
        folder.mkdir(parents=True, exist_ok=True)
        _build(built)
        _copy_crds(folder / "kwok-crds")
        stamp.write_text(source)
    return built


def kwok_crds() -> list[Path]:
    """Kwok's own kinds that the tests make objects of: what a simulated container writes."""
    return sorted((program().parent / "kwok-crds").glob("*logs.yaml"))


def _build(built: Path) -> None:
    go = shutil.which("go")
    if go is None:
        sys.exit(_NO_GO)
    print(f"building Kubernetes {version()} into {built.parent} (once; 2 cores need a while)")
    subprocess.run([go, "mod", "download"], cwd=SOURCE, check=True)
    packages = _run(go, "list", "-deps", ".").split()
    number = "k8s.io/component-base/version"
    major, minor, _ = version().removeprefix("v").split(".")
    flags = f"-s -w -X {number}.gitVersion={version()} -X {number}.gitMajor={major}"
    new = built.with_suffix(".new")
    argv = [go, "build", "-v", "-buildvcs=false", "-trimpath", f"-modfile={_mended(built.parent)}"]
    argv += ["-ldflags", f"{flags} -X {number}.gitMinor={minor}", "-o", str(new), "."]
    told: list[str] = []
    with (
        Progress("go build", len(packages), "packages") as progress,
        subprocess.Popen(argv, cwd=SOURCE, stderr=subprocess.PIPE, text=True) as build,
    ):
        assert build.stderr is not None
        for line in build.stderr:  # with -v: one line a package
            if line.strip() in packages:
                progress.advance(1)
            else:
                told.append(line)
    if build.returncode:
        sys.exit("".join(told) + "the build failed: see above")
    new.rename(built)


def _mended(folder: Path) -> Path:
    """A go.mod that takes kwok from a copy in which one line is mended: kwok 0.7.0 is written for
    Kubernetes 1.33, and names a constant that 1.34 does not have. A second module for kwok would
    compile a second set of client libraries."""
    copy, changed = folder / "kwok", folder / "kwok" / "pkg/utils/informer/informer.go"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(_module("sigs.k8s.io/kwok"), copy)
    for path in (copy, *copy.rglob("*")):  # the module cache is read-only
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    name, value = "metav1.InitialEventsListBlueprintAnnotationKey", "initial-events-list-blueprint"
    changed.write_text(changed.read_text().replace(name, f'"kubernetes.io/{value}"'))
    mended = folder / "go.mod"
    replacement = f"\nreplace sigs.k8s.io/kwok => {copy}\n"
    mended.write_text((SOURCE / "go.mod").read_text() + replacement)
    (folder / "go.sum").write_text((SOURCE / "go.sum").read_text())
    return mended


def _module(path: str) -> Path:
    """Where the module cache has a module's source."""
    return Path(_run("go", "list", "-m", "-f", "{{.Dir}}", path).strip())


def _copy_crds(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for path in (_module("sigs.k8s.io/kwok") / _KWOK_CRDS).glob("*.yaml"):
        (folder / path.name).write_text(path.read_text())


def _run(*argv: str) -> str:
    return subprocess.run(argv, cwd=SOURCE, check=True, text=True, stdout=subprocess.PIPE).stdout
