"""Values changed in a spec's text: what it says, and that comments and order stay."""

from typing import Any

import pytest

from launcher.spec.edit import edited
from launcher.spec.yaml_tree import parse

TEXT = """\
# head
name: d3          # the run
data:             # all of it
  train: /d/t-00000-of-00100  # one shard
  val:
    - /d/v-0
    - /d/v-1      # the last
batch: {global_batch: 2, per_replica_batch: 2}   # small
train:
  # norm: auto
  seed: 0

evaluate:
run_dir: ../runs  # tail
"""


def read(text: str) -> Any:
    return parse(text, place="x").value


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("name",), "d4", "name: d4          # the run"),
        (("data", "train"), "/d/t-*", "  train: /d/t-*  # one shard"),
        (("data", "val"), ["/d/v-*"], "  val: [/d/v-*]      # the last"),
        (
            ("batch", "global_batch"),
            128,
            "batch: {global_batch: 128, per_replica_batch: 2}   # small",
        ),
        (
            ("batch", "lr_scaling"),
            "linear",
            "batch: {lr_scaling: linear, global_batch: 2, per_repl",
        ),
        (("train", "norm"), "moving", "  norm: moving"),
        (("evaluate", "target_map"), 30.0, "evaluate: {target_map: 30.0}"),
        (("cluster", "workers"), 2, "  workers: 2"),
        (("recipe",), None, "recipe: null"),
        (("data", "label_map"), "a: b # c", "  label_map: 'a: b # c'"),
    ],
)
def test_one_value(path: tuple[str, ...], value: Any, line: str) -> None:
    text = edited(TEXT, {path: value})
    assert any(one.startswith(line) for one in text.splitlines()), text
    expected = read(TEXT)
    section = expected
    for key in path[:-1]:
        section[key] = section.get(key) or {}
        section = section[key]
    section[path[-1]] = value
    assert read(text) == expected
    kept = [one for one in TEXT.splitlines() if one.lstrip().startswith("#")]
    assert all(one in text.splitlines() for one in kept)


def test_many_values_one_after_the_other() -> None:
    changes = {
        ("cluster", "workers"): 2,
        ("cluster", "gpus_per_worker"): 8,
        ("data", "val"): ["/d/v-*"],
        ("train", "norm"): "moving",
        ("train", "recompute"): True,
    }
    text = edited(TEXT, changes)
    found = read(text)
    assert found["cluster"] == {"workers": 2, "gpus_per_worker": 8}
    assert (found["data"]["val"], found["train"]) == (
        ["/d/v-*"],
        {"seed": 0, "norm": "moving", "recompute": True},
    )
    assert text.splitlines()[:2] == TEXT.splitlines()[:2]


def test_json_stays_json() -> None:
    import json

    text = '{\n  "name": "d3",\n  "batch": {"global_batch": 2}\n}\n'
    changes = {("batch", "global_batch"): 128, ("train", "norm"): "moving", ("name",): "d4"}
    assert json.loads(edited(text, changes)) == {
        "name": "d4",
        "batch": {"global_batch": 128},
        "train": {"norm": "moving"},
    }


@pytest.mark.parametrize(
    "text",
    [
        "name: d3",
        "name: d3\n\n\n",
        "{}",
        "? name\n: d3\n",
        "name: >\n  d3\nbatch:\n    global_batch:\n        2\n",
        'name: "d3"\nbatch: {\n  global_batch: 2,\n}\n',
        "batch:\n  global_batch: 2\n  # the end\n# of the file",
    ],
)
def test_unusual_layouts_say_what_is_meant(text: str) -> None:
    """At worst without comments."""
    changes = {("batch", "global_batch"): 128, ("train", "norm"): "moving"}
    expected = {"batch": {"global_batch": 128}, "train": {"norm": "moving"}}
    found = read(edited(text, changes))
    assert {key: found[key] for key in expected} == expected
    assert set(found) == {*expected, *read(text)}
