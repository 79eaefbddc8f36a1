"""launcher render --backend kubernetes: to the shell, a file, a folder; as YAML and JSON."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
Launcher = Callable[..., Any]
D3 = "configs/efficientdet_d3.yaml"


SETTING = "cluster.env={A: 'x y'}"


def test_a_file_is_what_is_printed(inside: Launcher, tmp_path: Path) -> None:
    printed = inside("render", D3, "--kind", "jobset", "--set", SETTING, cwd=ROOT)
    assert (printed.returncode, printed.stderr) == (0, "")
    head = printed.stdout.splitlines()[0]
    assert head == f"# {shlex.join(['launcher', *printed.args])}", "the command is on top"
    kinds = [found["kind"] for found in yaml.safe_load_all(printed.stdout)]
    assert kinds == ["ConfigMap", "JobSet", "Job"]
    file = tmp_path / "new" / "d3.yaml"
    done = inside(*printed.args, "-o", str(file), cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "")
    assert file.read_text() == printed.stdout


def test_a_folder_gets_one_file_an_object_in_order(inside: Launcher, tmp_path: Path) -> None:
    done = inside("render", D3, "--backend", "kubernetes", "-o", f"{tmp_path}/out/", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "out").iterdir())
    found = [yaml.safe_load(f.read_text()) for f in files]
    assert [o["kind"] for o in found] == ["ConfigMap", "Service", "Job", "Job"]
    assert "kubectl apply -f" in done.stderr


def test_what_plain_apply_refuses_is_told_with_the_command_that_does_it(
    inside: Launcher, tmp_path: Path
) -> None:
    large = ("render", D3, "--kind", "job", "--set", f"cluster.env={{BIG: {'x' * 120_000}}}")
    warning = "too large for plain `kubectl apply`, which keeps a copy: kubectl apply --server-side"
    printed = inside(*large, cwd=ROOT)
    assert printed.stderr == f"warning: {warning} -f ...\n"
    assert f"\n# {warning} -f ...\n" in printed.stdout
    done = inside(*large, "-o", f"{tmp_path}/out/", cwd=ROOT)
    assert f"kubectl apply --server-side -f {tmp_path}/out/" in done.stderr


def test_json_is_a_list_that_kubectl_takes(inside: Launcher) -> None:
    done = inside("render", D3, "--json", cwd=ROOT)
    found = json.loads(done.stdout)
    assert (found["apiVersion"], found["kind"]) == ("v1", "List")
    assert [o["kind"] for o in found["items"]] == ["ConfigMap", "Service", "Job", "Job"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((D3, "--kind", "jobb"), "must be job, jobset, tfjob or rayjob"),
        (("configs/demo.yaml", "--kind", "job"), "cluster.image: is not set"),
        (
            (D3, "--kind", "job", "--backend", "ray"),
            "error: --kind job: is for Kubernetes, --backend is ray. Remove one of the two",
        ),
        (("configs/demo.yaml", "--backend", "kubernetes"), "cluster.image: is not set"),
    ],
)
def test_mistakes_write_nothing(
    inside: Launcher, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = inside("render", *arguments, "-o", str(tmp_path / "out.yaml"), cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.yaml").exists()
