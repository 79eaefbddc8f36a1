"""Whatever is in a file, it is a spec with a plan or a message for the user: never a traceback."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.errors import LauncherError
from launcher.planning import make_plan, missing_data, table
from launcher.spec import from_mapping, load, template, to_yaml
from launcher.spec.yaml_tree import parse

fuzz = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

FULL = """\
name: d3
recipe: efficientdet_d3
data: {train: [a, b*], val: v, label_map: l, dataset: custom, train_images: 10, num_classes: 3}
batch: {global_batch: 128, per_replica_batch: 4, lr_scaling: linear}
train:
  sync_batch_norm: true
  fine_tune_checkpoint: c
  fine_tune_type: full
  checkpoint_every: {steps: 10, minutes: 1.5}
cluster:
  workers: 2
  gpus_per_worker: 4
  env: {A: b}
  tolerations: [{key: k, operator: Exists}]
  volumes: [{name: v, mount_path: /v, claim: c}]
evaluate: {every: last, target_map: 40.0}
restart: {max_restarts: 1}
run_dir: /tmp/runs
"""

snippets = st.sampled_from(
    ["{", "}", "[", "]", ":", ": ", "\n", "\n  ", "\t", "&a", "*a", "!!", "!!int ", "|", ">", '"',
     "'", "#", "%", "@", "---\n", "...", "<<: ", "? ", "- ", "0x", "1:30", ".nan", ".inf", "~", "=",
     "9" * 5000, "-1", "1e999", "true", "null", "\0", "\ud7ff", "\ufeff", "\x85", "é", "2001-99-99",
     '"\\ud800"', "[" * 200, "{a: " * 200]
)  # fmt: skip
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 1, 2, 3, 7, 2**31, 2**63, 10**400, 0.0, -0.5, 1e308, 1e-320]),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["", ".", "..", "/", "~", "gs://x", "\0", "\ud800", "x" * 5000, "[", "a\nb"]),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=5)), max_size=3),
    st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.integers()), max_size=3),
)


def outcome(text: str, path: Path) -> str:
    """The message of a file that is refused; empty when it can be planned."""
    try:
        spec = load(path)
        again = load_text(to_yaml(spec), path)
        assert again == spec
        plan = make_plan(spec)
    except LauncherError as e:
        return message_of(e)
    product = plan.replicas * plan.per_replica_batch * plan.accumulation_steps
    assert product == plan.global_batch
    table(plan), plan.to_json(), missing_data(spec)
    return ""


def message_of(error: LauncherError) -> str:
    """What the user reads: it names something, and a terminal can print it."""
    assert all(problem.what for problem in error.problems)
    message = str(error)
    assert message.encode()
    return message


def load_text(text: str, path: Path) -> Any:
    path = path.with_name("again.yaml")
    path.write_text(text)
    return load(path)


@given(st.data())
@fuzz
def test_mutated_text(tmp_path: Path, data: st.DataObject) -> None:
    text = FULL
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(at, min(len(text), at + 30)))
        text = text[:at] + data.draw(snippets) + text[end:]
    path = tmp_path / "s.yaml"
    path.write_text(text)
    outcome(text, path)


@given(st.binary(max_size=300), st.sampled_from(["s.yaml", "s.config", "s", "s.json"]))
@fuzz
def test_random_bytes(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    outcome(repr(content), path)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places of a tree, leaves and sections."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = []
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places(value, (*path, key))
    return found


TREE = parse(FULL, place="full").value
PLACES = places(TREE)


@given(st.lists(st.tuples(st.sampled_from(PLACES), values), min_size=1, max_size=3))
@fuzz
def test_mutated_values(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    tree = copy.deepcopy(TREE)
    for (*parents, last), value in changes:
        section = tree
        for key in parents:
            if not isinstance(section, dict | list) or not has(section, key):
                break
            section = section[key]
        else:
            if isinstance(section, dict | list) and has(section, last):
                section[last] = value
    try:
        plan = make_plan(from_mapping(tree))
    except LauncherError as e:
        message_of(e)
    else:
        assert plan.pipeline_text


def has(section: Any, key: Any) -> bool:
    if isinstance(section, dict):
        return key in section
    return isinstance(key, int) and key < len(section)


@given(
    st.lists(
        st.one_of(
            st.text(max_size=30),
            st.builds(
                "{}={}".format,
                st.sampled_from([".".join(map(str, place)) for place in PLACES]),
                st.one_of(st.text(max_size=12), snippets, values.map(str)),
            ),
        ),
        max_size=3,
    )
)
@fuzz
def test_random_overrides(overrides: list[str]) -> None:
    try:
        spec = from_mapping(TREE, overrides=overrides)
        plan = make_plan(spec)
    except LauncherError as e:
        message_of(e)
    else:
        assert plan.name == spec.name


@given(st.data())
@fuzz
def test_mutated_pipeline_configs(tmp_path: Path, data: st.DataObject) -> None:
    """Numbers and words of a published file, changed: bare configs end in words too."""
    from launcher import recipes
    from launcher.odapi import pipeline

    name = data.draw(st.sampled_from(recipes.names()))
    words = pipeline.to_text(recipes.get(name).build()).split(" ")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(words) - 1))
        words[at] = data.draw(
            st.sampled_from(
                ["0", "-1", "4294967295", "1e38", "nan", "inf", "{", "}\n", "", '"x"\n']
            )
        )
    path = tmp_path / "m.config"
    path.write_text(" ".join(words))
    outcome(name, path)


@pytest.mark.parametrize("text", [FULL, template("efficientdet_d3")])
def test_what_is_mutated_is_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    assert outcome(text, path) == ""


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_a_broken_character_anywhere(place: tuple[Any, ...]) -> None:
    tree = copy.deepcopy(TREE)
    *parents, last = place
    section = tree
    for key in parents:
        section = section[key]
    section[last] = "\ud800"
    with pytest.raises(LauncherError) as error:
        make_plan(from_mapping(tree))
    message_of(error.value)
