"""--set: single values from the command line, into specs and bare pipeline.configs."""

from pathlib import Path

import pytest

from launcher.errors import SpecError
from launcher.spec import JobSpec, from_mapping, load, template
from launcher.spec.overrides import setting
from launcher.spec.yaml_tree import number_meant, parse, scalar

BASE = {"name": "x", "recipe": "efficientdet_d3"}


def spec_of(*overrides: str) -> JobSpec:
    return from_mapping(BASE, overrides=overrides)


def message_of(*overrides: str) -> str:
    with pytest.raises(SpecError) as caught:
        spec_of(*overrides)
    return str(caught.value)


def test_values_are_yaml() -> None:
    spec = spec_of(
        "batch.per_replica_batch=8",
        "train.sync_batch_norm=false",
        "data.train=[/a, /b]",
        "train.checkpoint_every={steps: 5}",
        "restart.stall_timeout_seconds=2.5",
        "name=other",
    )
    assert spec.batch.per_replica_batch == 8
    assert spec.train.sync_batch_norm is False
    assert spec.data.train == ("/a", "/b")
    assert spec.train.checkpoint_every.steps == 5
    assert spec.restart.stall_timeout_seconds == 2.5
    assert spec.name == "other"


def test_the_last_one_wins_and_nothing_is_the_default() -> None:
    assert spec_of("batch.global_batch=8", "batch.global_batch=16").batch.global_batch == 16
    assert spec_of("batch.global_batch=8", "batch.global_batch=").batch.global_batch is None


def test_keys_of_ones_own_may_have_dots() -> None:
    cluster = spec_of("cluster.node_selector.cloud.google.com/gke=gpu", "cluster.env.A=x=y").cluster
    assert cluster.node_selector == {"cloud.google.com/gke": "gpu"}
    assert cluster.env == {"A": "x=y"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "batch.per_replica=8",
            "--set batch.per_replica: unknown key. Did you mean batch.per_replica_batch?",
        ),
        (
            "per_replica_batch=8",
            "--set per_replica_batch: unknown key. Did you mean batch.per_replica_batch?",
        ),
        ("bach.global_batch=8", "--set bach.global_batch: unknown key. Did you mean batch?"),
        (
            "name.x=1",
            "--set name.x: name is a single value: nothing is below it. Write --set name=...",
        ),
        (
            "nothing",
            "--set: 'nothing' is not path=value. Write it as --set batch.per_replica_batch=8",
        ),
        ("=8", "--set: '=8' is not path=value. Write it as --set batch.per_replica_batch=8"),
        (
            "batch.global_batch='8'",
            "--set batch.global_batch: must be a whole number, not '8'. Write 8 without quotes",
        ),
        (
            "batch.global_batch=1e40",
            "--set batch.global_batch: must be at most 2,147,483,647, not '1e40'. Use a smaller "
            "number",
        ),
        (
            "batch.global_batch=1.0e+40",
            "--set batch.global_batch: must be at most 2,147,483,647, not 1e+40. Use a smaller "
            "number",
        ),
        (
            "batch.global_batch='0'",
            "--set batch.global_batch: must be at least 1, not '0'. Use a larger number",
        ),
        (
            "train.ema_decay='1'",
            "--set train.ema_decay: must be below 1, not '1'. Use a smaller number",
        ),
        (
            "restart.stall_timeout_seconds=1e40",
            "--set restart.stall_timeout_seconds: must be at most 86,400, not '1e40'. Use a "
            "smaller number",
        ),
        (
            "evaluate.tolerance=1e-5",
            "--set evaluate.tolerance: must be a number, not '1e-5'. Write 1.0e-05",
        ),
        ("name=no", '--set name: must be text, not false. Quote it: "no"'),
        ("cluster.env={B: On}", '--set cluster.env.B: must be text, not true. Quote it: "On"'),
        (
            "data.train=[a",
            "--set data.train:1:3: not YAML: while parsing a flow sequence expected ',' or ']', "
            "but got '<stream end>'. Check the indentation, brackets and quotes here",
        ),
        (
            "cluster.env=3",
            "--set cluster.env: must be a mapping (key: value lines), not 3. Write --set "
            "cluster.env.KEY=VALUE",
        ),
        (
            "backend=ray",
            "--set backend: must be a mapping (key: value lines), not 'ray'. Write --set "
            "backend.kind=ray",
        ),
        (
            "train.checkpoint_every=1000",
            "--set train.checkpoint_every: must be a mapping (key: value lines), not 1000. Write "
            "--set train.checkpoint_every.steps=1000",
        ),
        (
            "train=1000",
            "--set train: must be a mapping (key: value lines), not 1000. Write --set "
            "train.KEY=VALUE",
        ),
    ],
)
def test_a_wrong_override_is_one_message(override: str, message: str) -> None:
    assert message_of(override) == message


def test_what_is_to_be_quoted_is_that_of_the_last_override() -> None:
    assert message_of("name=no", "name=0x10").endswith('must be text, not 16. Quote it: "0x10"')


@pytest.mark.parametrize("written", ["1e-5", "2e+6", "1e16", "25_0.5", "-3e20", "1e-300"])
def test_what_a_remedy_says_of_a_number_is_a_number(written: str) -> None:
    """YAML 1.1 reads an exponent without a dot as text."""
    meant = number_meant(written)
    assert meant is not None
    assert parse(meant, "").value == float(written)


def test_all_wrong_overrides_are_told_at_once_with_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("name: x\nrecipe: efficientdet_d3\nnam: 3\n")
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "s.yaml", ["a=1", "b.c=2", "train.norm=layer"])
    places = [problem.place for problem in caught.value.problems]
    file = tmp_path / "s.yaml"
    assert places == ["--set a", "--set b.c", "--set train.norm", f"{file}:3: nam"]


def test_drawn_data_over_those_of_a_whole_spec_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(template("efficientdet_d3"))
    drawn = "data.synthetic={kind: shapes}"
    with pytest.raises(SpecError) as caught:
        load(path, [drawn])
    assert str(caught.value) == (
        "--set data.synthetic: names all that it draws: it cannot be set together with data.train, "
        "data.val, data.label_map, dataset: coco2017. Remove the others (--set KEY= removes one), "
        "or it"
    )
    others = [f"data.{key}=" for key in ("train", "val", "label_map", "dataset")]
    assert load(path, [drawn, *others]).data.synthetic is not None


def test_an_override_below_a_wrong_value_is_told() -> None:
    with pytest.raises(SpecError, match="the file has 3 for batch"):
        from_mapping({**BASE, "batch": 3}, overrides=["batch.global_batch=8"])


def test_a_bare_config_takes_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m/own.config").write_text("model { ssd { } }")
    spec = load("m/own.config", ["name=mine", "run_dir=out", "cluster.workers=2"])
    assert (spec.name, spec.run_dir, spec.cluster.workers) == ("mine", tmp_path / "out", 2)
    with pytest.raises(SpecError, match="both recipe and pipeline_config are set"):
        load("m/own.config", ["recipe=efficientdet_d3"])


def test_the_given_values_are_not_changed() -> None:
    values = {**BASE, "batch": {"global_batch": 64}}
    from_mapping(values, overrides=["batch.global_batch=8"])
    assert values == {**BASE, "batch": {"global_batch": 64}}


@pytest.mark.parametrize(
    "text",
    ["/tmp/my runs #2", "/tmp/a: b", "20240115", "1.5", "true", "null", "~", "", " x ", "[a]",
     "{a}", "'a'", "a\nb", "a\tb", "- a", "? a", "a:", "#a", "&a", "*a", "!a", "%a", "@a",
     "2024-01-01", "\x7f", "x" * 5000 + " y" * 200, "\u2028", "\U0001f600"],
)  # fmt: skip
def test_a_text_is_that_text(text: str) -> None:
    assert parse(scalar(text), place="").value == text
    assert parse(f"a: {scalar(text)}\nb: 1", place="").value == {"a": text, "b": 1}
    assert "\n" not in scalar(text)


def test_a_plain_text_has_no_quotes() -> None:
    for text in ("/data/a b/train.record-?????-of-00100", "http://h:8265", "it's", "a#b", "a,b"):
        assert scalar(text) == text
    assert setting("run_dir", "/a #b") == 'run_dir="/a #b"'
