"""`launcher check`: what it prints, its exit codes, --fix, and that submit stops at its errors."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import launcher as launcher_api
from launcher import api
from launcher.preflight import Cost, Finding, Severity
from launcher.spec import load
from tests.cli.conftest import Launcher
from tests.cli.test_bad_input import CASES, drawn, folder  # noqa: F401 (fixtures)
from tests.preflight import seed_like

needs_seed = pytest.mark.skipif(not seed_like.SEED.exists(), reason="needs the issue's file")

TWO = ("--set", "batch.per_replica_batch=2")
SMALL = (
    *("--set", "data.train_images=200", "--set", "data.val_images=100"),
    *("--set", "evaluate.target_map=45.4"),  # a stand-in for COCO, whose target is named
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("coco")
    seed_like.make_data(made)
    return made


@pytest.fixture
def good(work: Path, data: Path) -> Path:
    """A spec of which nothing is wrong."""
    path = work / "good.yaml"
    path.write_text(
        "name: good\nrecipe: efficientdet_d3\n"
        f"data:\n  train: {data}/coco_train.record-*\n  val: {data}/coco_val.record-*\n"
        f"  label_map: {data}/classes.pbtxt\n  train_images: 200\n  val_images: 100\n"
        "evaluate: {target_map: 45.4}\n"
        f"train: {{fine_tune_checkpoint: {data}/ckpt-0, fine_tune_type: classification}}\n"
    )
    return path


@needs_seed
def test_the_story_in_one_screen(inside: Launcher, work: Path, data: Path) -> None:
    seed_like.config(work, data)
    done = inside("check", "d3/pipeline.config", *TWO)
    assert done.returncode == 3
    told = done.stdout
    for what in (
        "error    data-shards: 1 of 100 shards",
        "error    data-shards: 1 of 50 shards",
        "0.01 at batch 2 is 8x the linear rule's 0.00125 (efficientdet_d3: 0.08 at 128)",
        "the warm-up of 2,500 steps covers 5,000 images, efficientdet_d3's 320,000: 1.6 %",
        "600,000 steps x 2 images = 1.2 M of efficientdet_d3's 38.4 M images: 3.1 %",
        "your file's batch is 2, efficientdet_d3's is 128",
        "batch-norm: 2 images a statistic, 4 in efficientdet_d3",
        "note     ignored-fields: sync_replicas, startup_delay_steps, replicas_to_aggregate",
    ):
        assert what in told, told
    lines = told.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 120
    severities = [line.split()[0] for line in lines if re.match(r"(error|warning|note) ", line)]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert "launcher check d3/pipeline.config --set batch.per_replica_batch=2 --fix" in done.stderr


@needs_seed
def test_the_page_says_what_the_command_says(inside: Launcher, work: Path, data: Path) -> None:
    """What is found in the file; the data of the page are as many as COCO's."""
    seed_like.config(work, data)
    told = inside("check", "d3/pipeline.config", "--set", "cluster.gpus_per_worker=1").stdout
    told = told[told.index("warning  image-budget") : told.index("note ")]
    page = (Path(__file__).parents[2] / "docs" / "check.md").read_text()
    there = page[page.index("    warning  image-budget") : page.index("    note ")]
    assert there.replace("\n    ", "\n").lstrip() == told.replace("d3/pipeline", "pipeline")


@needs_seed
def test_json(inside: Launcher, work: Path, data: Path) -> None:
    seed_like.config(work, data)
    done = inside("check", "d3/pipeline.config", *TWO, "--json")
    assert done.returncode == 3
    found = json.loads(done.stdout)
    assert list(found) == ["findings", "summary"]
    assert set(found["findings"][0]) == {
        "name", "severity", "place", "evidence", "cost", "lost", "remedy", "edits",
    }  # fmt: skip
    summary = found["summary"]
    assert (summary["recipe"], summary["target_map"]) == ("efficientdet_d3", 45.4)
    assert summary["errors"] == sum(f["severity"] == "error" for f in found["findings"]) >= 2
    assert summary["passed"] is False
    assert summary["data"]["train"]["images"] == 2


@needs_seed
def test_fix_writes_a_spec_that_passes(inside: Launcher, work: Path, data: Path) -> None:
    seed_like.config(work, data)
    done = inside("check", "d3/pipeline.config", *TWO, *SMALL, "--fix", "-o", "mended.yaml")
    assert (done.returncode, done.stdout) == (0, "")
    assert "+  global_batch: 128" in done.stderr
    assert "with these changes: " in done.stderr
    assert "written to mended.yaml" in done.stderr
    again = inside("check", "mended.yaml", "--strict", "--json")
    assert again.returncode == 0, again.stdout
    plan = json.loads(inside("plan", "mended.yaml", "--json").stdout)
    assert (plan["global_batch"], plan["per_replica_batch"]) == (128, 2)
    assert (work / "d3" / "pipeline.config").read_text().count("batch_size: 2") == 1


@needs_seed
def test_fix_prints_the_spec_alone(inside: Launcher, work: Path, data: Path) -> None:
    path = seed_like.config(work, data)
    done = inside("check", "d3/pipeline.config", *TWO, *SMALL, "--fix")
    (work / "printed.yaml").write_text(done.stdout)
    assert load(work / "printed.yaml").pipeline_config == path
    (work / "beside").mkdir()
    around = inside("check", "../d3/pipeline.config", *TWO, *SMALL, "--fix", cwd=work / "beside")
    assert around.stdout == done.stdout
    found = json.loads(
        inside("check", "d3/pipeline.config", *TWO, *SMALL, "--fix", "--json").stdout
    )
    assert found["mended"].rstrip() == done.stdout.rstrip()
    assert "batch.global_batch=128" in found["edits"]
    assert found["summary"]["errors"] == 2
    assert all(f["severity"] == "info" for f in found["left"])


def test_in_place_only_when_asked(inside: Launcher, good: Path) -> None:
    before = good.read_text() + "batch: {global_batch: 4}  # small\n"
    good.write_text(before)
    assert inside("check", "good.yaml", "--fix").returncode == 0
    assert good.read_text() == before
    done = inside("check", "good.yaml", "--fix", "-i")
    assert done.returncode == 0
    assert good.read_text() == before.replace("{global_batch: 4}", "{global_batch: 128}")
    assert "+batch: {global_batch: 128}  # small" in done.stderr


@needs_seed
def test_a_pipeline_config_is_never_mended_in_place(
    inside: Launcher, work: Path, data: Path
) -> None:
    path = seed_like.config(work, data)
    before = path.read_text()
    done = inside("check", "d3/pipeline.config", "--fix", "-i")
    assert done.returncode == 2
    assert "what is mended is a job spec. Write it with -o d3.yaml" in done.stderr
    assert path.read_text() == before


def test_nothing_is_found_where_nothing_is_wrong(inside: Launcher, good: Path) -> None:
    done = inside("check", "good.yaml", "--strict")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[0] == (
        "good: efficientdet_d3, target mAP 45.4, 200 train images in 100 files (200 decoded), "
        "100 val images in 50 files (100 decoded)"
    )
    assert "error" not in done.stdout
    assert "warning" not in done.stdout


def test_strict_makes_warnings_errors(inside: Launcher, good: Path) -> None:
    asked = (
        "check",
        "good.yaml",
        "--set",
        "train.norm=batch",
        "--set",
        "batch.per_replica_batch=3",
    )
    batch = ("--set", "batch.global_batch=126")
    assert inside(*asked, *batch).returncode == 0
    strict = inside(*asked, *batch, "--strict")
    assert strict.returncode == 3
    assert "error    batch-norm: 3 images a statistic" in strict.stdout


def test_gpu_memory(inside: Launcher, good: Path) -> None:
    done = inside("check", "good.yaml", "--set", "batch.per_replica_batch=8", "--gpu-memory", "24")
    assert done.returncode == 3
    assert re.search(r"error    memory: the tensors of 8 images at once need .* of 24", done.stdout)
    assert "train.recompute: true first" in done.stdout
    fits = inside("check", "good.yaml", "--gpu-memory", "24")
    assert fits.returncode == 0
    assert "memory: the tensors of 4 images at once need 1" in fits.stdout


def test_sample_and_full(inside: Launcher, good: Path) -> None:
    def decoded(*options: str) -> int:
        done = inside("check", "good.yaml", "--json", *options)
        count = json.loads(done.stdout)["summary"]["data"]["train"]["decoded"]
        assert isinstance(count, int)
        return count

    assert decoded("--sample", "0") == 100  # one of each file
    assert decoded("--full") == decoded("--sample", "0", "--full") == 200


def test_without_the_packages_for_data_the_rest_is_told(good: Path, env: dict[str, str]) -> None:
    code = (
        "import sys; sys.modules['numpy'] = None; from launcher.cli.main import run; "
        "sys.exit(run(['check', 'good.yaml', '--set', 'batch.global_batch=16', "
        "'--set', 'batch.per_replica_batch=4']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=good.parent, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "error    global-batch: 1 x 4 x 4 = 16 images a step" in done.stdout
    assert "warning  data: the data was not looked at: numpy, which the data checks" in done.stdout
    assert "pip install 'launcher[train]'" in done.stdout


def test_from_python(good: Path) -> None:
    report = launcher_api.check(launcher_api.load(good))
    assert report.passed
    assert not launcher_api.check(launcher_api.load(good, ["batch.global_batch=16"])).passed


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("-i",), "-o and -i are for --fix"),
        (("-o", "x.yaml"), "-o and -i are for --fix"),
        (("--fix", "-i", "-o", "x.yaml"), "-o and -i exclude each other"),
    ],
)
def test_usage(inside: Launcher, good: Path, options: tuple[str, ...], says: str) -> None:
    done = inside("check", "good.yaml", *options)
    assert (done.returncode, says in done.stderr) == (2, True)


# submit


def test_submit_stops_at_an_error(
    inside: Launcher, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "start", lambda *a, **k: pytest.fail("was not stopped"))
    noise = ("--set", "train.norm=batch", "--set", "batch.per_replica_batch=2")
    done = inside("submit", "good.yaml", "--detach", *noise)
    assert done.returncode == 3
    assert done.stderr.startswith("error: --set train.norm: batch-norm: 2 images a statistic")
    assert "--force starts it in spite of that" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (good.parent / "runs").exists()


def test_force_and_warnings_go_on(
    inside: Launcher, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StartedError(Exception):
        pass

    def start(prepared: api.Prepared, **_: bool) -> None:
        assert prepared.report is not None
        raise StartedError

    monkeypatch.setattr(api, "start", start)
    noise = ("--set", "train.norm=batch", "--set", "batch.per_replica_batch=2")
    for options in ((*noise, "--force"), ("--set", "batch.per_replica_batch=2")):
        with pytest.raises(StartedError):
            inside("submit", "good.yaml", "--detach", *options)


def test_findings_are_written_into_the_run_s_folder(
    inside: Launcher,
    work: Path,
    spec_file: Path,
    submit_argv: list[str],
    env: dict[str, str],
    scripts: Callable[[str, str], None],
) -> None:
    scripts("forever()", "forever()")
    argv = [*submit_argv, "--detach"]
    done = subprocess.run(argv, cwd=work, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    try:
        found = json.loads((work / "runs" / "demo" / "check.json").read_text())
        assert found["summary"]["passed"] is True
        assert [f["name"] for f in found["findings"]].count("fine-tune") == 1
        assert "warning: fine-tune: training starts from random weights" in done.stderr
    finally:
        inside("cancel", "demo")


def test_a_problem_names_finding_cost_and_remedy() -> None:
    finding = Finding("x", Severity.ERROR, "a.yaml:3", "is bad", Cost("half of it"), "Mend it")
    assert str(api._problem(finding)) == (
        "a.yaml:3: x: is bad (half of it). Mend it. --force starts it in spite of that"
    )


# bad input


_ABOUT_THE_RUN = re.compile(r"run_dir|GPU|already|backend|folder of a run|memory|another user")
_SUBMITTED = [name for name, case in CASES.items() if case.args[0] == "submit"]


@pytest.mark.parametrize("name", _SUBMITTED)
def test_bad_input_is_a_finding_or_one_message(
    name: str,
    folder: Path,  # noqa: F811
    inside: Launcher,
) -> None:
    case = CASES[name]
    case.prepare(folder)
    extra = [arg for arg in case.args[1:] if arg not in ("--detach", "--resume", "--replace")]
    done = inside("check", *extra, "--json")
    if done.returncode == 3:
        found = json.loads(done.stdout)["findings"]
        assert any(f["severity"] == "error" and f["place"] and f["remedy"] for f in found)
    elif done.returncode == 2:
        assert done.stdout == ""
        assert all(line.startswith("error: ") for line in done.stderr.splitlines())
    else:
        assert done.returncode == 0
        assert _ABOUT_THE_RUN.search(name + case.says), (name, case.says)


@pytest.mark.parametrize("gib", ["inf", "1e999", "nan", "0", "-3", "1e308"])
@pytest.mark.parametrize("command", ["check", "plan"])
def test_no_memory_at_all(inside: Launcher, good: Path, command: str, gib: str) -> None:
    done = inside(command, "good.yaml", "--gpu-memory", gib)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "Invalid value for '--gpu-memory': " in line
    assert "is no memory in GiB: use one above 0, as 24" in line
