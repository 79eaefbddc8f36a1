"""Rules between the fields of a spec, on plain values.

They are apart from the models so that they can be told together with the errors inside fields:
a value of the wrong kind elsewhere hides none of them.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from launcher.spec.yaml_tree import Path

Broken = tuple[Path, str, str]
"""Where, what, remedy."""


def broken_rules(spec: Mapping[str, Any]) -> list[Broken]:
    """All rules that `spec` breaks. Values of a wrong kind are passed over: others refuse them."""
    return [
        *_one_model(spec),
        *_reference_of_own(spec),
        *_synthetic_alone(_section(spec, "data")),
        *_checkpoint_with_type(_section(spec, "train")),
        *_sync_of_nothing(_section(spec, "train")),
        *_volumes(_section(spec, "cluster")),
        *_tolerations(_section(spec, "cluster")),
        *_workers(_section(spec, "cluster")),
    ]


def _one_model(spec: Mapping[str, Any]) -> Iterator[Broken]:
    recipe, pipeline = _has(spec, "recipe"), _has(spec, "pipeline_config")
    if recipe and pipeline:
        what = "both recipe and pipeline_config are set"
        yield ("pipeline_config",), what, "Keep exactly one of them"
    misspelled = any(get_close_matches(n, spec) for n in ("recipe", "pipeline_config"))
    if not recipe and not pipeline and not misspelled:  # that is an unknown key, and told as one
        what = "neither recipe nor pipeline_config is set"
        yield (
            ("recipe",),
            what,
            "Name a published model (see `launcher recipes`) or give the path of a pipeline.config",
        )


def _reference_of_own(spec: Mapping[str, Any]) -> Iterator[Broken]:
    if _has(_section(spec, "batch"), "reference_config") and not _has(spec, "pipeline_config"):
        what = "belongs to a pipeline_config of one's own"
        yield ("batch", "reference_config"), what, "Remove the key: the recipe has its reference"


def _synthetic_alone(data: Mapping[str, Any]) -> Iterator[Broken]:
    if not _has(data, "synthetic"):
        return
    keys = [key for key in ("train", "val", "label_map") if _has(data, key)]
    coco = data.get("dataset") == "coco2017"
    if len(keys) + coco > 1:
        others = ", ".join([*(f"data.{key}" for key in keys), *["dataset: coco2017"] * coco])
        what = f"names all that it draws: it cannot be set together with {others}"
        yield ("data", "synthetic"), what, "Remove the others (--set KEY= removes one), or it"
    elif keys:
        what = "cannot be set together with data.synthetic, which names what it draws"
        yield ("data", keys[0]), what, "Keep one of the two"
    elif coco:
        what = "data.synthetic is not coco2017"
        yield ("data", "dataset"), what, "Write custom or remove the key"


def _checkpoint_with_type(train: Mapping[str, Any]) -> Iterator[Broken]:
    checkpoint, kind = _has(train, "fine_tune_checkpoint"), _has(train, "fine_tune_type")
    if checkpoint and not kind:
        yield (
            ("train", "fine_tune_type"),
            "is required with train.fine_tune_checkpoint",
            "Write classification (backbone only), detection (feature extractor) or full (all)",
        )
    if kind and not checkpoint:
        what = "does nothing without train.fine_tune_checkpoint"
        yield ("train", "fine_tune_type"), what, "Name the checkpoint too, or remove the key"


def _sync_of_nothing(train: Mapping[str, Any]) -> Iterator[Broken]:
    norm = train.get("norm")
    if norm not in ("group", "frozen"):
        return
    taken = f"norm {norm} takes no statistics of the batch"
    if train.get("sync_batch_norm") is True:
        yield ("train", "sync_batch_norm"), f"{taken} to share", "Remove it, or use another norm"
    if _has(train, "statistics_images"):
        yield ("train", "statistics_images"), taken, "Remove it, or use another norm"


def _volumes(cluster: Mapping[str, Any]) -> Iterator[Broken]:
    volumes = cluster.get("volumes")
    if not isinstance(volumes, list | tuple):
        return
    names: set[str] = set()
    for i, volume in enumerate(volumes):
        if not isinstance(volume, Mapping):
            continue
        path = ("cluster", "volumes", i)
        if sum(_has(volume, kind) for kind in ("claim", "nfs", "host_path")) != 1:
            yield path, "needs exactly one of claim, nfs and host_path", "Set one of them"
        name = volume.get("name")
        if isinstance(name, str):
            if name in names:
                yield (*path, "name"), f"a second volume is named {name}", "Rename one"
            names.add(name)


def _tolerations(cluster: Mapping[str, Any]) -> Iterator[Broken]:
    """What an API server refuses of them, which is all that makes no sense."""
    tolerations = cluster.get("tolerations")
    for i, found in enumerate(tolerations if isinstance(tolerations, list | tuple) else ()):
        if not isinstance(found, Mapping):
            continue
        path = ("cluster", "tolerations", i)
        exists = found.get("operator") == "Exists"
        if not exists and not _has(found, "key"):
            what, remedy = "is required with operator Equal", "Name it, or write operator: Exists"
            yield (*path, "key"), what, remedy
        if exists and found.get("value"):
            what = f"{found['value']} is compared with nothing by operator Exists"
            yield (*path, "value"), what, "Remove it, or write operator: Equal"
        if _has(found, "toleration_seconds") and found.get("effect") != "NoExecute":
            what = "is for effect NoExecute, which makes pods leave"
            yield (*path, "toleration_seconds"), what, "Set effect: NoExecute, or remove it"


def _workers(cluster: Mapping[str, Any]) -> Iterator[Broken]:
    workers = _section(cluster, "workers")
    fewest, most = workers.get("min"), workers.get("max")
    if isinstance(fewest, int) and isinstance(most, int) and fewest > most:
        what = f"min {fewest:,} is more than max {most:,}"
        yield ("cluster", "workers"), what, "Exchange them"


def _section(spec: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = spec.get(key)
    return section if isinstance(section, Mapping) else {}


def _has(section: Mapping[str, Any], key: str) -> bool:
    return section.get(key) is not None
