"""Loading: defaults, paths, bare pipeline.configs, telling the two kinds of file apart."""

import copy
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from launcher.errors import SpecError
from launcher.planning import make_plan
from launcher.spec import JobSpec, from_mapping, load, plain, to_yaml
from launcher.spec.fields import label_of

MINIMAL = "name: d3\nrecipe: efficientdet_d3\n"


def write(folder: Path, text: str, name: str = "s.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = load(write(tmp_path, MINIMAL))
    assert spec.run_dir == tmp_path / "runs"
    assert spec.root == tmp_path / "runs" / "d3"
    assert (spec.cluster.workers, spec.cluster.gpus_per_worker) == (1, 0)
    assert (spec.batch.global_batch, spec.batch.lr_scaling) == (None, "linear")
    assert (spec.train.precision, spec.train.norm, spec.train.seed) == ("float32", "auto", 0)
    assert spec.train.sync_batch_norm == "auto"
    every = spec.train.checkpoint_every
    assert (every.steps, every.minutes, spec.train.keep_checkpoints) == (1000, 15, 7)
    assert (spec.evaluate.every, spec.evaluate.tolerance) == ("newest", 0.5)
    assert (spec.restart.max_restarts, spec.restart.stall_timeout_seconds) == (3, 300)
    assert spec.backend.kind == "local"


def test_the_seed_is_a_spec(shared: Path) -> None:
    spec = load(shared / "seed" / "pipeline.config")
    assert spec.name == "seed"
    assert spec.pipeline_config == shared / "seed" / "pipeline.config"
    assert (spec.recipe, spec.batch.lr_scaling) == (None, "linear")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Run 7/pipeline.config", "run-7"),
        ("x/My_Model.config", "my-model"),
        ("x/___.config", "run"),
        (f"x/{'a' * 60}.config", "a" * 47),
        ("x/model.pbtxt", "model"),
        ("x/noextension", "noextension"),
    ],
)
def test_a_bare_config_is_named_after_its_folder_or_itself(
    file: str, name: str, tmp_path: Path
) -> None:
    path = tmp_path / file
    path.parent.mkdir()
    path.write_text("# EfficientDet\nmodel: {\n  ssd {\n  }\n}\n")
    assert load(path).name == name


def test_a_bare_config_has_its_own_folder_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my-run").mkdir()
    monkeypatch.chdir(tmp_path / "my-run")
    write(Path(), "model { ssd { } }", "pipeline.config")
    spec = load("pipeline.config")
    assert (spec.name, spec.pipeline_config) == ("my-run", tmp_path / "my-run/pipeline.config")


@pytest.mark.parametrize("text", ["EfficientDet_D3", "a" * 99, "--", "é", "", "a.b/c"])
def test_any_text_can_be_made_a_name(text: str) -> None:
    assert JobSpec(name=label_of(text), recipe="efficientdet_d3").name == label_of(text)


def test_a_bad_bare_config_names_line_column_and_field(tmp_path: Path) -> None:
    path = write(tmp_path, "model {\n  ssd { num_clases: 3 }\n}", "bad.config")
    with pytest.raises(SpecError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:2:")
    assert 'Did you mean "num_classes"?' in str(caught.value)


def test_a_spec_named_like_a_config_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"looks like a job spec, but \.config .* end in \.yaml"):
        load(write(tmp_path, MINIMAL, "spec.config"))


def test_relative_paths_are_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "specs").mkdir()
    monkeypatch.chdir(tmp_path)
    path = write(
        tmp_path / "specs",
        "name: x\npipeline_config: ../a.config\nrun_dir: runs\n"
        "data: {train: [t/*, /abs/b], val: ~/v, label_map: l.pbtxt}\n"
        "train: {fine_tune_checkpoint: c/ckpt-0, fine_tune_type: full}\n",
    )
    monkeypatch.setenv("HOME", "/home/me")
    spec = load(path.relative_to(tmp_path), ["data.val=other"])
    assert spec.pipeline_config == tmp_path / "a.config"
    assert spec.run_dir == tmp_path / "specs/runs"
    assert spec.data.train == (str(tmp_path / "specs/t/*"), "/abs/b")
    assert spec.data.val == (str(tmp_path / "other"),)  # --set: the current directory
    assert spec.data.label_map == str(tmp_path / "specs/l.pbtxt")
    assert spec.train.fine_tune_checkpoint == str(tmp_path / "specs/c/ckpt-0")
    assert load(path).data.val == ("/home/me/v",)
    url = load(path, ["train.fine_tune_checkpoint=gs://b/ckpt-0"])
    assert url.train.fine_tune_checkpoint == "gs://b/ckpt-0"


def test_an_empty_section_is_its_defaults(tmp_path: Path) -> None:
    text = MINIMAL + "batch:\ntrain: {seed: null, checkpoint_every: }\n"
    assert plain(load(write(tmp_path, text))) == plain(load(write(tmp_path, MINIMAL)))


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load(path).name == "d3"


def test_json_is_yaml(tmp_path: Path) -> None:
    text = '{"name": "d3", "recipe": "efficientdet_d3", "cluster": {"workers": 2}}'
    assert load(write(tmp_path, text, "s.json")).cluster.workers == 2


def test_a_spec_cannot_be_changed() -> None:
    spec = JobSpec(name="x", recipe="efficientdet_d3")
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "y"  # type: ignore[misc]


def test_where_a_spec_was_read_is_no_part_of_it(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    spec = load(path)
    assert spec == from_mapping({"name": "d3", "recipe": "efficientdet_d3"})
    assert spec.place("recipe") == f"{path}:2: recipe"
    assert spec.place("batch.global_batch") == f"{path}: batch.global_batch"
    assert copy.deepcopy(spec) == pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301


def test_a_written_spec_is_read_back_equal(tmp_path: Path) -> None:
    spec = from_mapping(
        {
            "name": "all",
            "recipe": "efficientdet_d3",
            "data": {"train": ['/d/it\'s; a "q"\n*', "/d/é"], "val": "/v", "train_images": 5},
            "batch": {"per_replica_batch": 2, "lr_scaling": "none"},
            "train": {"sync_batch_norm": True, "checkpoint_every": {"minutes": 0.5}},
            "cluster": {
                "workers": 2,
                "env": {"A": "1", "B": "true", "C": ""},
                "node_selector": {"cloud.google.com/gke": "x"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                "volumes": [{"name": "v", "mount_path": "/v", "claim": "c", "read_only": True}],
                "secrets": [{"env": "TOKEN", "name": "s", "key": "k"}],
            },
            "evaluate": {"target_map": 40, "every": "last"},
            "run_dir": str(tmp_path / "new\nline"),
        }
    )
    again = load(write(tmp_path, to_yaml(spec)))
    assert again == spec
    assert make_plan(again).pipeline_text == make_plan(spec).pipeline_text
    assert load(write(tmp_path, to_yaml(again))) == spec


def test_overlarge_files_are_not_read_whole() -> None:
    with pytest.raises(SpecError):
        load("/dev/zero")
