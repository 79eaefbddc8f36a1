"""What the image promises, read from its Dockerfile. `make image-test` builds it."""

import json
import re
import shlex
import subprocess
import tomllib
from functools import cache
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pathspec import PathSpec

from launcher.render.kubernetes import names
from launcher.spec.backend import Kubernetes

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"

NOT_IMPORTED = {
    "astunparse": {"wheel"},
    "tensorflow_cpu": {"libclang", "keras"},  # Keras 3: tf_keras takes its place
    "tf_keras": {"tensorflow"},  # which tensorflow_cpu or gpu.txt brings under another name
    "lvis": {"cython", "opencv-python"},  # opencv-python-headless
}
"""What packages declare and what nothing of them that runs here imports."""
NEVER_CLOSED = {"tf-models-official", "tf-models-research-object-detection"}
"""Packages that declare what their other models and tools need (requirements/runtime.txt)."""
EXTRAS = {"ray": ("", "default", "train")}


def pins(name: str) -> list[Requirement]:
    lines = (REQUIREMENTS / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def instructions() -> list[tuple[str, str]]:
    """(INSTRUCTION, arguments) in order, continued lines joined, comments left out."""
    text = (ROOT / "Dockerfile").read_text()
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    split = [line.strip().split(None, 1) for line in text.splitlines() if line.strip()]
    return [(word, arguments) for word, arguments in split]


def last_stage() -> list[tuple[str, str]]:
    all_of_it = instructions()
    start = max(i for i, (word, _) in enumerate(all_of_it) if word == "FROM")
    return all_of_it[start:]


def values(word: str) -> list[str]:
    return [arguments for name, arguments in last_stage() if name == word]


def environment() -> dict[str, str]:
    pairs = [pair.split("=", 1) for env in values("ENV") for pair in shlex.split(env)]
    return dict(pairs)


@pytest.mark.parametrize("name", ["runtime.txt", "gpu.txt", "dev.txt"])
def test_every_package_has_one_version(name: str) -> None:
    listed = pins(name)
    assert listed
    for pin in listed:
        assert re.fullmatch(r"==[^*,;]+", str(pin.specifier)), pin
        assert pin.marker is None
        assert not pin.extras
    names_of_it = [canonicalize_name(pin.name) for pin in listed]
    assert len(names_of_it) == len(set(names_of_it))


def test_what_the_packages_need_is_pinned_too() -> None:
    """They are installed with --no-deps: what dev.txt alone has would be missing in the image."""
    pinned = {canonicalize_name(pin.name): pin for pin in pins("runtime.txt")}
    missing = []
    for pin in pinned.values():
        if pin.name in NEVER_CLOSED:
            continue
        for declared in map(Requirement, requires(pin.name) or []):
            extras = EXTRAS.get(pin.name, ("",))
            wanted = declared.marker is None or any(
                declared.marker.evaluate({"extra": extra}) for extra in extras
            )
            name = canonicalize_name(declared.name)
            if wanted and name not in pinned and name not in NOT_IMPORTED.get(pin.name, ()):
                missing.append(f"{pin.name} needs {declared}")
    assert not missing


def test_the_gpu_list_is_tensorflows_own() -> None:
    """The same TensorFlow, and a version in range of each package of its and-cuda extra."""
    gpu = {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in pins("gpu.txt")}
    (cpu,) = (pin for pin in pins("runtime.txt") if pin.name == "tensorflow_cpu")
    assert gpu.pop("tensorflow") == str(cpu.specifier)[2:]
    declared = map(Requirement, requires("tensorflow_cpu") or [])
    cuda = {
        canonicalize_name(r.name): r.specifier
        for r in declared
        if r.marker and not r.marker.evaluate() and r.marker.evaluate({"extra": "and-cuda"})
    }
    assert gpu.keys() == cuda.keys()
    assert [name for name, version in gpu.items() if version not in cuda[name]] == []


def test_bases_are_one_tagged_image() -> None:
    all_of_it = instructions()
    assert all_of_it[0][0] == "ARG"
    name, _, image = all_of_it[0][1].partition("=")
    assert name == "BASE_IMAGE"
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", image)
    stages = set()
    for _, arguments in ((w, a) for w, a in all_of_it if w == "FROM"):
        base, _, stage = arguments.partition(" AS ")
        assert base == "${BASE_IMAGE}" or base in stages
        stages.add(stage)
    assert last_stage()[0] == ("FROM", "${BASE_IMAGE}")


def test_its_user_and_places_are_those_of_the_pods() -> None:
    settings = Kubernetes()
    assert values("USER") == [f"{settings.run_as_user}:{settings.fs_group}"]
    (run,) = values("RUN")
    assert f"groupadd --gid {settings.fs_group} " in run
    assert f"--uid {settings.run_as_user} --gid {settings.fs_group} --create-home" in run
    assert environment()["HOME"] == names.HOME_PATH
    assert values("WORKDIR") == [names.HOME_PATH]


def test_the_entry_point_is_the_command() -> None:
    (entry,) = map(json.loads, values("ENTRYPOINT"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert entry == ["launcher"]
    assert entry[0] in project["scripts"]
    assert environment()["PATH"].startswith("/opt/launcher/bin:")


def test_manifests_start_what_the_image_has() -> None:
    """`python` and `launcher.pod`: the first from the environment on PATH, not the base's."""
    commands = []
    for path in (ROOT / "manifests").glob("job*/*.yaml"):
        for manifest in yaml.safe_load_all(path.read_text()):
            commands += _commands(manifest)
    assert commands
    assert all(command[0] in ("python", "launcher") for command in commands), commands
    modules = {command[2] for command in commands if command[:2] == ["python", "-m"]}
    for module in modules:
        there = ROOT / Path(*module.split("."))
        assert there.with_suffix(".py").is_file() or (there / "__main__.py").is_file()


def _commands(node: object) -> list[list[str]]:
    if isinstance(node, list):
        return [found for item in node for found in _commands(item)]
    if not isinstance(node, dict):
        return []
    own = [node["command"]] if isinstance(node.get("command"), list) else []
    return own + [found for value in node.values() for found in _commands(value)]


def test_the_last_stage_builds_nothing() -> None:
    (run,) = values("RUN")
    installed = re.search(r"apt-get install ([^&]+)", run)
    assert installed is not None
    packages = [word for word in installed[1].split() if not word.startswith("--")]
    assert packages == ["wget=1.21.*"]
    assert "pip" not in run
    assert all(copy.startswith("--from=") for copy in values("COPY"))
    assert "--no-install-recommends" in run
    assert "rm -rf /var/lib/apt/lists/*" in run


def test_nothing_is_downloaded_but_pinned_packages() -> None:
    words = {word for word, _ in instructions()}
    assert words <= {
        "ARG", "FROM", "LABEL", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT", "CMD",
    }  # fmt: skip
    runs = [arguments for word, arguments in instructions() if word == "RUN"]
    assert not any(re.search(r"\b(curl|wget) |https?://|git clone", run) for run in runs)
    installs = [run for run in runs if re.search(r"pip\b.* install", run)]
    assert len(installs) == 2
    assert all(" --no-deps" in run for run in installs)


def test_no_configuration_of_pip_stays_in_a_layer() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "--mount=type=secret,id=pip.conf,target=/etc/pip.conf" in text
    assert not re.search(r"index-url|trusted-host|PIP_", text)


@cache
def rules() -> PathSpec:
    """.dockerignore, as .gitignore would write it: there a rule without a slash is for any folder.

    In both the last rule that matches decides, and what is in a folder goes with it.
    """
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    anchored = [re.sub(r"^(!?)(?=[^#*!])", r"\1/", line) for line in lines]
    return PathSpec.from_lines("gitignore", anchored)


@cache
def context() -> list[str]:
    """Files that .dockerignore lets into the build, of the tracked ones."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [path for path in listed.split("\0") if path and not rules().match_file(path)]


def test_the_context_is_what_is_copied() -> None:
    sent = set(context())
    copied = set()
    for word, arguments in instructions():
        if word == "COPY" and not arguments.startswith("--from="):
            for source in arguments.split()[:-1]:
                found = {p for p in sent if p == source or p.startswith(f"{source}/")}
                assert found, f"COPY {source}: not in the context"
                copied |= found
    assert sent == copied


def test_the_context_is_small() -> None:
    sent = context()
    tops = {path.partition("/")[0] for path in sent}
    assert tops == {"launcher", "pyproject.toml", "README.md", "requirements"}
    assert sum((ROOT / path).stat().st_size for path in sent) < 4_000_000


@pytest.mark.parametrize(
    "path",
    [
        ".git/HEAD",
        ".venv/bin/python",
        "runs/demo/checkpoints/ckpt-1.index",
        "tests/conftest.py",
        "docs/image.md",
        "manifests/README.md",
        "requirements/dev.txt",
        "launcher/cli/__pycache__/main.cpython-311.pyc",
        "id_rsa",
    ],
)
def test_the_context_leaves_out(path: str) -> None:
    assert rules().match_file(path)
