"""-o never overwrites what the same command reads."""

import os
from pathlib import Path

import pytest

from tests.report import made_run

from .conftest import Launcher

ROOT = Path(__file__).parents[2]
READS = {
    "pipeline.config": "SPEC's pipeline_config",
    "recipe.config": "SPEC's batch.reference_config",
    "labels.pbtxt": "SPEC's data.label_map",
    "spec.yaml": "SPEC itself",
}


@pytest.fixture
def files(work: Path) -> dict[Path, str]:
    """A spec with all the files that it names, and what they hold."""
    from launcher import recipes
    from launcher.odapi import pipeline

    text = pipeline.to_text(recipes.get("ssd_mobilenet_v2_fpnlite_320").build())
    for name in ("pipeline.config", "recipe.config"):
        (work / name).write_text(text)
    (work / "labels.pbtxt").write_text('item { id: 1 name: "cat" }')
    (work / "spec.yaml").write_text(
        "name: demo\npipeline_config: pipeline.config\nbatch: {reference_config: recipe.config}\n"
        "data: {label_map: labels.pbtxt, train: t.record, val: v.record}\n"
    )
    return {work / name: (work / name).read_text() for name in READS}


COMMANDS = (
    ("check", "--fix"),
    ("render",),
    ("data", "audit"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("name", READS)
def test_a_file_that_is_read_is_kept(
    inside: Launcher, work: Path, files: dict[Path, str], command: tuple[str, ...], name: str
) -> None:
    (work / "link").symlink_to(name)
    os.link(work / name, work / "again")
    for output in (name, f"../{work.name}/{name}", "link", "again"):
        done = inside(*command, "spec.yaml", "-o", output)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: {output}: is {READS[name]}, which -o would overwrite. ")
    assert {path: path.read_text() for path in files} == files


def test_a_pipeline_config_is_kept(inside: Launcher, work: Path, files: dict[Path, str]) -> None:
    for command in (("plan", "-o", "."), ("check", "--fix", "-o", "pipeline.config")):
        done = inside(command[0], "pipeline.config", *command[1:])
        assert done.returncode == 2
        told = "error: pipeline.config: is SPEC itself, which -o would overwrite. "
        assert done.stderr.startswith(told)
    assert {path: path.read_text() for path in files} == files
    assert not (work / "plan.json").exists()


def test_a_plan_is_not_written_over_its_spec(
    inside: Launcher, work: Path, files: dict[Path, str]
) -> None:
    done = inside("plan", "spec.yaml", "-o", ".")
    assert (done.returncode, done.stdout) == (2, "")
    assert {path: path.read_text() for path in files} == files
    assert inside("plan", "spec.yaml", "-o", "out").returncode == 0


def test_a_folder_of_manifests_keeps_its_spec(inside: Launcher, work: Path) -> None:
    (work / "d3.yaml").write_text((ROOT / "configs/efficientdet_d3.yaml").read_text())
    options = ("--backend", "kubernetes", "-o", "out/")
    assert inside("render", "d3.yaml", *options).returncode == 0
    first, *others = sorted((work / "out").iterdir())
    for path in others:
        path.unlink()
    first.write_text((work / "d3.yaml").read_text())
    done = inside("render", str(first.relative_to(work)), *options)
    assert done.returncode == 2
    assert f"{first.relative_to(work)}: is SPEC itself" in done.stderr
    assert [*(work / "out").iterdir()] == [first]
    assert first.read_text() == (work / "d3.yaml").read_text()


@pytest.mark.parametrize(
    "name",
    ["spec.yaml", "plan.json", "pipeline.config", "status.json", "metrics/eval.jsonl", "metrics/x"],
)
def test_a_run_keeps_what_it_wrote(inside: Launcher, work: Path, name: str) -> None:
    root = made_run.make(work / "runs" / "good", name="good").root
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for command in (("results", "good", "--csv"), ("compare", "good", "good", "--html")):
        done = inside(*command, "-o", f"runs/good/{name}")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"runs/good/{name}: is a file of the run good, which -o would" in done.stderr
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    for name in ("scores.csv", "scores.csv", "report/scores.csv"):
        assert inside("results", "good", "--csv", "-o", f"runs/good/{name}").returncode == 0
