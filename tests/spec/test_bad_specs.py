"""The texts of all mistakes in a spec, in one table: place, value, remedy, and nothing else."""

import os
from pathlib import Path

import pytest

from launcher.errors import CliExit, SpecError
from launcher.spec import from_mapping, load

GOOD = "name: d3\nrecipe: efficientdet_d3\n"

# One mistake each: the lines after GOOD (or the whole text), and the one message.
ONE = {
    # keys
    "unknown key": ("nam: x", "s.yaml:3: nam: unknown key. Did you mean name?"),
    "unknown key in a section": (
        "batch:\n  per_replica: 4",
        "s.yaml:4: batch.per_replica: unknown key. Did you mean per_replica_batch?",
    ),
    "part of a key": (
        "cluster: {cpus: 4}",
        "s.yaml:3: cluster.cpus: unknown key. Did you mean cpus_per_worker?",
    ),
    "a key outside its section": (
        "stall_timeout_seconds: 3",
        "s.yaml:3: stall_timeout_seconds: unknown key. Did you mean restart.stall_timeout_seconds?",
    ),
    "a key like no other": (
        "backend: {zzz: 1}",
        "s.yaml:3: backend.zzz: unknown key. Known here: kind, ray, kubernetes",
    ),
    "a key twice": (
        "name: again",
        "s.yaml:3:1: name is set a second time (first on line 1). Keep one",
    ),
    "a key twice in a section": (
        "batch:\n  global_batch: 1\n  global_batch: 2",
        "s.yaml:5:3: batch.global_batch is set a second time (first on line 4). Keep one",
    ),
    # kinds of value
    "text for a number": (
        'batch: {global_batch: "128"}',
        "s.yaml:3: batch.global_batch: must be a whole number, not '128'. Write 128 without quotes",
    ),
    "a float for a whole number": (
        "batch: {global_batch: 128.0}",
        "s.yaml:3: batch.global_batch: must be a whole number, not 128.0. Write 128",
    ),
    "half an image": (
        "batch: {global_batch: 12.5}",
        "s.yaml:3: batch.global_batch: must be a whole number, not 12.5. "
        "Write a whole number, as 4",
    ),
    "an exponent for a whole number": (
        "batch: {global_batch: 1e3}",
        "s.yaml:3: batch.global_batch: must be a whole number, not '1e3'. Write 1000",
    ),
    "an exponent without a dot": (
        "restart: {stall_timeout_seconds: 6e2}",
        "s.yaml:3: restart.stall_timeout_seconds: must be a number, not '6e2'. Write 600",
    ),
    "true for a number": (
        "batch: {global_batch: true}",
        "s.yaml:3: batch.global_batch: must be a whole number, not true. "
        "Write a whole number, as 4",
    ),
    "a list for a number": (
        "batch: {global_batch: [128]}",
        "s.yaml:3: batch.global_batch: must be a whole number, not a list. "
        "Write a whole number, as 4",
    ),
    "a number for text": (
        "cluster: {image: 3}",
        's.yaml:3: cluster.image: must be text, not 3. Quote it: "3"',
    ),
    "text for a section": (
        "batch: 128",
        "s.yaml:3: batch: must be a mapping (key: value lines), not 128. "
        "Write batch: {global_batch: 128}",
    ),
    "a word for a section": (
        "backend: ray",
        "s.yaml:3: backend: must be a mapping (key: value lines), not 'ray'. "
        "Write backend: {kind: ray}",
    ),
    "a number for a section inside": (
        "train:\n  checkpoint_every: 1000",
        "s.yaml:4: train.checkpoint_every: must be a mapping (key: value lines), not 1000. "
        "Write checkpoint_every: {steps: 1000}",
    ),
    "a word of another key than the first": (
        "train: moving",
        "s.yaml:3: train: must be a mapping (key: value lines), not 'moving'. "
        "Write train: {norm: moving}",
    ),
    "a word of two keys": (
        "train: auto",
        "s.yaml:3: train: must be a mapping (key: value lines), not 'auto'. "
        "Indent its keys below it",
    ),
    "a number that no key takes": (
        "batch: 0",
        "s.yaml:3: batch: must be a mapping (key: value lines), not 0. Indent its keys below it",
    ),
    "a switch for a section": (
        "data: {synthetic: true}",
        "s.yaml:3: data.synthetic: must be a mapping (key: value lines), not true. "
        "Indent its keys below it",
    ),
    "a number for a mapping": (
        "cluster: {env: 3}",
        "s.yaml:3: cluster.env: must be a mapping (key: value lines), not 3. "
        "Indent its keys below it",
    ),
    "a number for paths": (
        "data: {train: 3}",
        "s.yaml:3: data.train: must be a path or a list of paths, not 3. "
        "Write a path, as /data/train.record-?????-of-00100",
    ),
    "a number for a path": (
        "run_dir: 3",
        "s.yaml:3: run_dir: must be a path, not 3. Write a path",
    ),
    "a number among paths": (
        "data:\n  train:\n    - a\n    - 3",
        's.yaml:6: data.train.1: must be text, not 3. Quote it: "3"',
    ),
    "no paths": (
        "data: {val: []}",
        "s.yaml:3: data.val: is an empty list. Name at least one file or pattern, or remove the "
        "key",
    ),
    "an empty path": (
        'data: {label_map: " "}',
        "s.yaml:3: data.label_map: is empty. Give a value or remove the key",
    ),
    "a path of half a page": (
        f"run_dir: /{'x' * 4999}",
        "s.yaml:3: run_dir: is a path of 5000 characters. At most 4096 can exist",
    ),
    "a switch that is neither": (
        "train: {sync_batch_norm: maybe}",
        "s.yaml:3: train.sync_batch_norm: must be auto, true or false, not 'maybe'. "
        "Use one of them",
    ),
    "a mapping for a list": (
        "cluster: {tolerations: {key: x}}",
        "s.yaml:3: cluster.tolerations: must be a list, not a mapping. "
        "Write it in brackets, or as lines that begin with a dash",
    ),
    "a number in the environment": (
        "cluster:\n  env:\n    OMP_NUM_THREADS: 4",
        's.yaml:5: cluster.env.OMP_NUM_THREADS: must be text, not 4. Quote it: "4"',
    ),
    "a word that YAML reads as false": (
        "cluster: {env: {B: no}}",
        's.yaml:3: cluster.env.B: must be text, not false. Quote it: "no"',
    ),
    "a number that YAML reads as another": (
        "cluster:\n  env:\n    MASK: 010",
        's.yaml:5: cluster.env.MASK: must be text, not 8. Quote it: "010"',
    ),
    "a switch among paths": (
        "data: {train: [a, off]}",
        's.yaml:3: data.train.1: must be text, not false. Quote it: "off"',
    ),
    # numbers out of range
    "no images": (
        "batch: {global_batch: 0}",
        "s.yaml:3: batch.global_batch: must be at least 1, not 0. Use a larger number",
    ),
    "negative workers": (
        "cluster: {workers: -2}",
        "s.yaml:3: cluster.workers: must be at least 1, not -2. Use a larger number",
    ),
    "more images than pipeline.config can hold": (
        f"batch: {{global_batch: {2**63}}}",
        f"s.yaml:3: batch.global_batch: must be at most 2,147,483,647, not {2**63}. "
        "Use a smaller number",
    ),
    "a number without end": (
        f"batch: {{global_batch: {'9' * 5000}}}",
        "s.yaml:3:23: '9999999999999999999999999999999999999...99999999999999999999999999999999999"
        "999' cannot be read as a whole number. Correct it, or quote it if it is text",
    ),
    "infinite minutes": (
        "train: {checkpoint_every: {minutes: .inf}}",
        "s.yaml:3: train.checkpoint_every.minutes: must be a finite number, not inf. "
        "Write a finite number, as 4",
    ),
    "no minutes": (
        "train: {checkpoint_every: {minutes: 0}}",
        "s.yaml:3: train.checkpoint_every.minutes: must be above 0, not 0. Use a larger number",
    ),
    "a target in fractions": (
        "evaluate: {target_map: 0.42}",
        "s.yaml:3: evaluate.target_map: 0.42 is too low: target_map is in COCO points: did you "
        "mean 42?",
    ),
    "a target of nothing": (
        "evaluate: {target_map: 0}",
        "s.yaml:3: evaluate.target_map: 0 is too low: target_map is in COCO points. Give a number "
        "above 1 and up to 100, or remove the key",
    ),
    "a target above all": (
        "evaluate: {target_map: 142}",
        "s.yaml:3: evaluate.target_map: must be at most 100, not 142. Use a smaller number",
    ),
    # words
    "an unknown word": (
        "batch: {lr_scaling: lineal}",
        "s.yaml:3: batch.lr_scaling: must be linear or none, not 'lineal'. Did you mean linear?",
    ),
    "a precision that does not train": (
        "train: {precision: mixed_float16}",
        "s.yaml:3: train.precision: mixed_float16 is not offered: the OD API's loss fails on it. "
        "Use float32",
    ),
    "an average that forgets nothing": (
        "train: {ema_decay: 1.0}",
        "s.yaml:3: train.ema_decay: must be below 1, not 1.0. Use a smaller number",
    ),
    "an average that never moves": (
        "train: {ema_decay: 0}",
        "s.yaml:3: train.ema_decay: must be above 0, not 0. Use a larger number",
    ),
    "an average that runs away": (
        "train: {ema_decay: -1}",
        "s.yaml:3: train.ema_decay: must be above 0, not -1. Use a larger number",
    ),
    "an average in words": (
        "train: {ema_decay: high}",
        "s.yaml:3: train.ema_decay: must be a number, not 'high'. Write a number, as 0.9998",
    ),
    "an average of no number": (
        "train: {ema_decay: .nan}",
        "s.yaml:3: train.ema_decay: must be a finite number, not nan. Write a finite number, as "
        "0.9998",
    ),
    "a side in words": (
        "data: {synthetic: {image_size: large}}",
        "s.yaml:3: data.synthetic.image_size: must be a whole number, not 'large'. "
        "Write a whole number, as 128",
    ),
    "no regular expression": (
        "train: {freeze: 'block_(1'}",
        "s.yaml:3: train.freeze: 'block_(1' is no regular expression (missing ), unterminated "
        "subpattern at position 6). Escape special characters",
    ),
    "another version": (
        "apiVersion: launcher/v2",
        "s.yaml:3: apiVersion: must be launcher/v1, not 'launcher/v2'. Did you mean launcher/v1?",
    ),
    "a variable of launcher's own": (
        "cluster: {env: {TF_CONFIG: x}}",
        "s.yaml:3: cluster.env.TF_CONFIG: TF_CONFIG is set by launcher itself. Remove it",
    ),
    "no variable": (
        'cluster: {env: {"a b": x}}',
        "s.yaml:3: cluster.env.a b: 'a b' is not the name of an environment variable. Use "
        "letters, digits and _",
    ),
    "no amount of memory": (
        "cluster: {memory_per_worker: lots}",
        "s.yaml:3: cluster.memory_per_worker: 'lots' is not an amount of memory. Write it as 16Gi "
        "or 512Mi",
    ),
    "16 bytes of memory": (
        "cluster: {memory_per_worker: 16}",
        "s.yaml:3: cluster.memory_per_worker: 16 is not an amount of memory. Write it as 16Gi or "
        "512Mi",
    ),
    "a URL for a folder": (
        "run_dir: gs://bucket/runs",
        "s.yaml:3: run_dir: gs://bucket/runs is a URL. Give the path of a file system that is "
        "mounted",
    ),
    "no Kubernetes name": (
        "cluster: {queue: Big Queue}",
        "s.yaml:3: cluster.queue: 'Big Queue' is not a Kubernetes name: small letters, digits and "
        "dashes. Use the name of an object in the cluster",
    ),
    # rules between fields
    "two sources of a model": (
        "pipeline_config: a.config",
        "s.yaml:3: pipeline_config: both recipe and pipeline_config are set. Keep exactly one of "
        "them",
    ),
    "a checkpoint without its type": (
        "train:\n  fine_tune_checkpoint: /c/ckpt-0",
        "s.yaml:3: train.fine_tune_type: is required with train.fine_tune_checkpoint. Write "
        "classification (backbone only), detection (feature extractor) or full (all)",
    ),
    "a type without its checkpoint": (
        "train:\n  fine_tune_type: full",
        "s.yaml:4: train.fine_tune_type: does nothing without train.fine_tune_checkpoint. Name "
        "the checkpoint too, or remove the key",
    ),
    "moments of a norm that takes none": (
        "train: {norm: group, sync_batch_norm: true}",
        "s.yaml:3: train.sync_batch_norm: norm group takes no statistics of the batch to share. "
        "Remove it, or use another norm",
    ),
    "images of a norm that takes no moments": (
        "train:\n  norm: frozen\n  statistics_images: 4",
        "s.yaml:5: train.statistics_images: norm frozen takes no statistics of the batch. Remove "
        "it, or use another norm",
    ),
    "drawn and own data": (
        "data: {synthetic: {}, train: x}",
        "s.yaml:3: data.train: cannot be set together with data.synthetic, which names what it "
        "draws. Keep one of the two",
    ),
    "drawn COCO": (
        "data: {synthetic: {}, dataset: coco2017}",
        "s.yaml:3: data.dataset: data.synthetic is not coco2017. Write custom or remove the key",
    ),
    "a volume of nothing": (
        "cluster: {volumes: [{name: a, mount_path: /a}]}",
        "s.yaml:3: cluster.volumes.0: needs exactly one of claim, nfs and host_path. Set one of "
        "them",
    ),
    "a relative mount": (
        "cluster: {volumes: [{name: a, mount_path: data, claim: c}]}",
        "s.yaml:3: cluster.volumes.0.mount_path: 'data' is not an absolute path. Use /data",
    ),
    "two volumes of one name": (
        "cluster:\n  volumes:\n    - {name: a, mount_path: /a, claim: a}\n"
        "    - {name: a, mount_path: /b, claim: b}",
        "s.yaml:6: cluster.volumes.1.name: a second volume is named a. Rename one",
    ),
    # YAML
    "a tab": (
        "batch:\n\tglobal_batch: 1",
        "s.yaml:4:1: not YAML: while scanning for the next token found character '\\t' that cannot "
        "start any token. Indent with spaces, not tabs",
    ),
    "a colon in text": (
        "cluster: image: x",
        "s.yaml:3:15: not YAML: mapping values are not allowed here. Check the indentation, and "
        "quote text that holds ': '",
    ),
    "an open bracket": (
        "data: {train: [a",
        "s.yaml:4:1: not YAML: while parsing a flow sequence expected ',' or ']', but got "
        "'<stream end>'. Check the indentation, brackets and quotes here",
    ),
    "an alias": (
        "data: &d {train: x}\nbatch: *d",
        "s.yaml:4:8: aliases are not read. Write the value out",
    ),
    "a merge": ("<<: {run_dir: x}", "s.yaml:3:1: merge keys are not read. Write the values out"),
    "a tag": (
        "run_dir: !!python/name:os.system",
        "s.yaml:3:10: the tag 'tag:yaml.org,2002:python/name:os.system' is not read. Write a "
        "plain value",
    ),
    "a list as a key": (
        "? [a]\n: 1",
        "s.yaml:3:3: a key must be a word. Quote the value if it holds braces",
    ),
    "two documents": (
        "---\na: 1",
        "s.yaml:3:1: not YAML: more than one document. Keep one job spec in a file",
    ),
    "nested without end": (
        "data: " + "[" * 5000,
        "s.yaml:3:18: nested too deeply for a job spec",
    ),
    "an unprintable character": (
        'run_dir: "a\\0b"',
        "s.yaml:3:10: text with the unprintable character #x0000. Remove it",
    ),
}

# The whole text of the file.
WHOLE = {
    "no name": (
        "recipe: efficientdet_d3",
        "s.yaml: name: is required. Add it, as name: d3-coco",
    ),
    "no label": (
        "name: Efficient_Det\nrecipe: efficientdet_d3",
        "s.yaml:1: name: 'Efficient_Det' is not a name: 1 to 47 small letters, digits and dashes, "
        "no dash at an end (a DNS label). Use efficient-det",
    ),
    "a long name": (
        f"name: {'a' * 48}\nrecipe: efficientdet_d3",
        f"s.yaml:1: name: '{'a' * 48}' is not a name: 1 to 47 small letters, digits and dashes, "
        f"no dash at an end (a DNS label). Use {'a' * 47}",
    ),
    "a number as a name": (
        "name: 3\nrecipe: efficientdet_d3",
        's.yaml:1: name: must be text, not 3. Quote it: "3"',
    ),
    "a misspelled model": (
        "name: d3\nrecipie: efficientdet_d3",
        "s.yaml:2: recipie: unknown key. Did you mean recipe?",
    ),
    "no model": (
        "name: d3",
        "s.yaml: recipe: neither recipe nor pipeline_config is set. Name a published model (see "
        "`launcher recipes`) or give the path of a pipeline.config",
    ),
    "a list": (
        "- name: x",
        "s.yaml: must be a mapping (key: value lines), not a list. Begin with `launcher init NAME`",
    ),
    "a word": (
        "hello",
        "s.yaml: neither a job spec nor a pipeline.config: it holds 'hello'. Begin with `launcher "
        "init NAME`",
    ),
    "nothing": ("", "s.yaml: the file is empty. Begin with `launcher init NAME`"),
    "blanks": (" \n\n", "s.yaml: the file is empty. Begin with `launcher init NAME`"),
    "comments": (
        "# name: x\n",
        "s.yaml: holds nothing but comments. Begin with `launcher init NAME`",
    ),
    "a pipeline.config": (
        "model {\n  ssd {\n  }\n}\n",
        "s.yaml: looks like a pipeline.config, but .yaml is the name of a job spec. Rename it to "
        "end in .config",
    ),
}


def message_of(path: Path) -> str:
    """The message of loading `path`, with the folder left out."""
    with pytest.raises(SpecError) as caught:
        load(path)
    assert caught.value.cli_exit == CliExit.USAGE
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize("name", ONE)
def test_one_mistake_is_one_message(name: str, tmp_path: Path) -> None:
    lines, message = ONE[name]
    path = tmp_path / "s.yaml"
    path.write_text(f"{GOOD}{lines}\n")
    assert message_of(path) == message


@pytest.mark.parametrize("name", WHOLE)
def test_one_wrong_file_is_one_message(name: str, tmp_path: Path) -> None:
    text, message = WHOLE[name]
    path = tmp_path / "s.yaml"
    path.write_text(text)
    assert message_of(path) == message


def test_an_unknown_recipe_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("name: x\nrecipe: efficientdet_d33\n")
    message = message_of(path)
    assert message.startswith("s.yaml:2: recipe: no recipe is called 'efficientdet_d33'. ")
    assert "Did you mean efficientdet_d3" in message


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: A\nbatch:\n  global_batch: '1'\n  lr: 3\ntrain: {fine_tune_type: full}\n"
        "cluster: {workers: 0}\nevaluate: {target_map: 0.3}\n"
    )
    assert [line.split(": ")[1] for line in message_of(path).splitlines()] == [
        "recipe",
        "name",
        "batch.global_batch",
        "batch.lr",
        "train.fine_tune_type",
        "cluster.workers",
        "evaluate.target_map",
    ]


FILES = {
    "binary": (b"\x93NUMPY\x01\x00\xff", "not a text file (byte 0 is not UTF-8)"),
    "latin-1": ("name: é".encode("latin-1"), "not a text file (byte 6 is not UTF-8)"),
    "utf-16": ("name: x".encode("utf-16"), "not a text file (byte 0 is not UTF-8)"),
    "zeros": (b"\0" * 100, "not a text file (character #x0000 in it)"),
    "large": (b"#" * (5 * 2**20), "more than 4 MiB: neither a job spec nor a pipeline.config"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_text_is_told_so(name: str, tmp_path: Path) -> None:
    content, what = FILES[name]
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    assert message_of(path).startswith(f"s.yaml: {what}. ")


def test_a_missing_file_a_folder_and_no_path_are_told(tmp_path: Path) -> None:
    give = "Give the path of a job spec (YAML) or of a pipeline.config"
    assert message_of(tmp_path / "no.yaml") == f"no.yaml: no such file. {give}"
    assert message_of(tmp_path / "no.config") == f"no.config: no such file. {give}"
    with pytest.raises(SpecError, match="is a directory"):
        load(tmp_path)
    with pytest.raises(SpecError, match="not a path"):
        load("a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(GOOD)
    path.chmod(0)
    assert message_of(path).startswith("s.yaml: permission denied")


def test_the_same_words_from_python() -> None:
    with pytest.raises(SpecError) as caught:
        from_mapping({"name": "x", "recipe": "efficientdet_d3", "batch": {"global_batch": 0}})
    assert str(caught.value) == "batch.global_batch: must be at least 1, not 0. Use a larger number"
