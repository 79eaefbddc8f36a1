"""fine-tune: from nothing, of the wrong kind, of another architecture, at the wrong rate."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from launcher.planning import make_plan
from launcher.preflight import Options, Severity, check, fine_tune
from launcher.records import checkpoint
from launcher.spec import load
from tests.preflight.own_files import cosine, found, only, own_file

NAME = "fine-tune"


def table(*names: str, shapes: dict[str, tuple[int, ...]] | None = None) -> bytes:
    """The index of a checkpoint with these entries, as TensorFlow writes it."""
    of = shapes or {}

    def varint(number: int) -> bytes:
        low, rest = number & 0x7F, number >> 7
        return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])

    def block(entries: list[tuple[bytes, bytes]]) -> bytes:
        body, before = b"", b""
        for key, value in entries:
            shared = next(
                (i for i, (a, b) in enumerate(zip(before, key, strict=False)) if a != b),
                min(len(before), len(key)),
            )
            rest = key[shared:]
            body += varint(shared) + varint(len(rest)) + varint(len(value)) + rest + value
            before = key
        return body + b"\0\0\0\0" + b"\1\0\0\0"

    def entry(shape: tuple[int, ...] | None) -> bytes:
        if shape is None:
            return b"entry"
        dims = [b"\x08" + varint(size) for size in shape]
        text = b"".join(b"\x12" + varint(len(dim)) + dim for dim in dims)
        return b"\x08\x01\x12" + varint(len(text)) + text + b"\x28\x04\x35crc!"

    def handle(offset: int, size: int) -> bytes:
        return varint(offset) + varint(size)

    entries = [(b"", b"header"), *((n.encode(), entry(of.get(n))) for n in sorted(names))]
    data = block(entries)
    index = block([(b"\xff", handle(0, len(data)))])
    at = len(data) + 5
    footer = (handle(0, 0) + handle(at, len(index))).ljust(40, b"\0") + checkpoint._MAGIC
    return data + b"\0" * 5 + index + b"\0" * 5 + footer


def weights(folder: Path, *names: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    entries = [f"{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in names]
    index = table("_CHECKPOINTABLE_OBJECT_GRAPH", *entries)
    (folder / "ckpt-0.index").write_bytes(index)
    (folder / "ckpt-0.data-00000-of-00001").write_bytes(b"")
    return str(folder / "ckpt-0")


def detector(folder: Path) -> str:
    return weights(folder, "model/_feature_extractor/a", "model/_box_predictor/b", "step")


def classifier(folder: Path) -> str:
    return weights(folder, "feature_extractor/a/kernel", "feature_extractor/b/kernel")


def spec_of(folder: Path, prefix: str, kind: str, recipe: str = "efficientdet_d3") -> Path:
    path = folder / "job.yaml"
    path.write_text(
        f"name: job\nrecipe: {recipe}\n"
        f"train: {{fine_tune_checkpoint: {prefix}, fine_tune_type: {kind}}}\n"
    )
    return path


def test_from_nothing(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("name: job\nrecipe: efficientdet_d3\n")
    finding = only(path, name=NAME)
    assert finding.severity is Severity.WARNING
    assert finding.evidence == (
        "training starts from random weights, efficientdet_d3 from a classification checkpoint"
    )


def test_a_placeholder_is_no_checkpoint(tmp_path: Path) -> None:
    finding = only(own_file(tmp_path), name=NAME)
    assert "random weights (PATH_TO_BE_CONFIGURED in the file)" in finding.evidence
    assert finding.place.endswith(": train_config.fine_tune_checkpoint")


def test_frozen_statistics_of_nothing_waste_the_run(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("name: job\nrecipe: faster_rcnn_resnet50_v1_800x1333\n")
    finding = only(path, name=NAME)
    assert finding.severity is Severity.ERROR
    assert finding.evidence.endswith("and its batch normalization is frozen as it is drawn")


@pytest.mark.parametrize("kind", ["classification", "detection", "full"])
def test_the_right_kind_is_silent(tmp_path: Path, kind: str) -> None:
    make = classifier if kind == "classification" else detector
    spec = spec_of(tmp_path, make(tmp_path / "w"), kind)
    asked = () if kind == "classification" else ("batch.lr_scaling=none", "batch.global_batch=512")
    assert found(spec, *asked, name=NAME) == []


def test_a_detector_s_weights_are_no_classifier_s(tmp_path: Path) -> None:
    prefix = detector(tmp_path / "w")
    finding = only(spec_of(tmp_path, prefix, "classification"), name=NAME)
    assert finding.severity is Severity.ERROR
    assert finding.evidence == f"{prefix} is a detector's: as classification it restores nothing"
    assert finding.edits == (
        f"train.fine_tune_checkpoint={prefix}",
        "train.fine_tune_type=detection",
    )


@pytest.mark.parametrize("recipe", ["efficientdet_d3", "centernet_resnet101_v1_fpn_512"])
@pytest.mark.parametrize("kind", ["detection", "full"])
def test_a_classifier_s_weights_are_no_detector_s(tmp_path: Path, kind: str, recipe: str) -> None:
    prefix = classifier(tmp_path / "w")
    finding = found(spec_of(tmp_path, prefix, kind, recipe), name=NAME)[0]
    assert finding.evidence == f"{prefix} is a classifier's: as {kind} it restores nothing"
    assert finding.edits[1] == "train.fine_tune_type=classification"


def test_other_weights_have_their_names_told(tmp_path: Path) -> None:
    prefix = weights(tmp_path / "w", "net/a", "opt/b")
    finding = only(spec_of(tmp_path, prefix, "classification"), name=NAME)
    assert "has net, opt: as classification it restores nothing" in finding.evidence
    assert finding.edits == ()


def test_another_architecture_by_the_file_beside_it(tmp_path: Path) -> None:
    prefix = detector(tmp_path / "zoo" / "checkpoint")
    shutil.move(own_file(tmp_path, recipe="efficientdet_d0"), tmp_path / "zoo" / "pipeline.config")
    slow = ("batch.lr_scaling=none", "batch.global_batch=512")
    spec = spec_of(tmp_path, prefix, "full")
    finding = only(spec, *slow, name=NAME)
    assert finding.severity is Severity.ERROR
    assert finding.evidence == (
        f"{prefix} is of ssd_efficientnet-b0_bifpn_keras, "
        "this model is ssd_efficientnet-b3_bifpn_keras"
    )
    shutil.move(own_file(tmp_path), tmp_path / "zoo" / "pipeline.config")
    assert found(spec, *slow, name=NAME) == []


def test_a_path_that_is_none(tmp_path: Path) -> None:
    finding = only(spec_of(tmp_path, str(tmp_path / "ckpt-9"), "classification"), name=NAME)
    assert (finding.severity, finding.cost.lost) == (Severity.ERROR, 1.0)
    assert finding.evidence == f"no such checkpoint ({tmp_path / 'ckpt-9'}.index)"


def test_a_checkpoint_on_storage_of_the_cluster_is_not_looked_for(tmp_path: Path) -> None:
    prefix = str(tmp_path / "ckpt-9")
    plan = make_plan(load(spec_of(tmp_path, prefix, "classification")))
    found = check(plan, Options(data=False)).findings
    assert [f.name for f in found if f.severity is Severity.ERROR] == []
    (unseen,) = (f for f in found if f.name == "data")
    assert f"does not see, and so is {prefix}" in unseen.evidence


def test_a_type_that_is_not_said(tmp_path: Path) -> None:
    prefix = classifier(tmp_path / "w")

    def unsaid(message: Any) -> None:
        config = message.train_config
        config.fine_tune_checkpoint = prefix
        config.ClearField("fine_tune_checkpoint_type")

    finding = only(own_file(tmp_path, unsaid), name=NAME)
    assert finding.evidence == (
        "fine_tune_checkpoint_type is not set: the OD API takes it for classification"
    )

    def unversioned(message: Any) -> None:
        message.train_config.fine_tune_checkpoint = prefix
        message.train_config.ClearField("fine_tune_checkpoint_version")

    finding = only(own_file(tmp_path, unversioned), name=NAME)
    assert (finding.severity, "which is V1" in finding.evidence) == (Severity.INFO, True)

    def said(message: Any) -> None:
        message.train_config.fine_tune_checkpoint = prefix

    assert found(own_file(tmp_path, said), name=NAME) == []


@pytest.mark.parametrize(("rate", "told"), [(0.08, True), (0.04, True), (0.03, False)])
def test_a_detector_s_weights_at_the_rate_for_a_backbone(
    tmp_path: Path, rate: float, told: bool
) -> None:
    prefix = detector(tmp_path / "w")

    def change(message: Any) -> None:
        cosine(message).learning_rate_base = rate
        message.train_config.fine_tune_checkpoint = prefix
        message.train_config.fine_tune_checkpoint_type = "full"

    findings = found(own_file(tmp_path, change), "batch.lr_scaling=none", name=NAME)
    assert bool(findings) is told
    assert all("0.51 before, 0.52 after" in f.cost.text for f in findings)


def test_a_recipe_that_starts_from_a_detector_keeps_its_rate(tmp_path: Path) -> None:
    prefix = weights(tmp_path / "w", "model/_feature_extractor/a")
    spec = spec_of(tmp_path, prefix, "detection", "centernet_hourglass104_1024")
    assert found(spec, name=NAME) == []


@pytest.mark.parametrize(
    ("recipe", "first", "told"),
    [
        ("efficientdet_d3", (3, 3, 3, 40), False),
        ("efficientdet_d3", (3, 3, 3, 32), True),
        ("efficientdet_d0", (3, 3, 3, 32), False),
        ("efficientdet_d0", (7, 7, 3, 64), True),
        ("ssd_resnet50_v1_fpn_640", (7, 7, 3, 64), False),
        ("ssd_resnet50_v1_fpn_640", (3, 3, 3, 32), True),
        ("ssd_mobilenet_v2_320", (7, 7, 3, 64), False),  # whose width is a setting
    ],
)
def test_another_backbone_by_its_first_convolution(
    tmp_path: Path, recipe: str, first: tuple[int, ...], told: bool
) -> None:
    prefix = classifier(tmp_path / "w")
    names = [f"feature_extractor/{i}/kernel/.ATTRIBUTES/VARIABLE_VALUE" for i in range(3)]
    shapes = dict(zip(names, (first, (3, 3, 32, 1), (1, 1, 32, 16)), strict=True))
    index = table("_CHECKPOINTABLE_OBJECT_GRAPH", *names, shapes=shapes)
    Path(f"{prefix}.index").write_bytes(index)
    findings = found(spec_of(tmp_path, prefix, "classification", recipe), name=NAME)
    assert [f.severity for f in findings] == [Severity.ERROR] * told
    height, width, _, filters = first
    begins = f"{prefix} begins with {filters} filters of {height} x {width}, "
    assert all(f.evidence.startswith(begins) for f in findings)
    assert all(f.evidence.endswith(": another backbone") for f in findings)


@pytest.mark.tensorflow
def test_first_convolutions_are_those_of_the_models() -> None:
    from launcher.odapi import compat

    compat.load()
    from object_detection.models.keras_models import resnet_v1
    from official.legacy.image_classification.efficientnet import efficientnet_model

    for number, filters in enumerate(fine_tune._EFFICIENTNET_STEMS):
        config = efficientnet_model.MODEL_CONFIGS[f"efficientnet-b{number}"]
        assert efficientnet_model.round_filters(config.stem_base_filters, config) == filters
    resnet = resnet_v1.resnet_v1_50(batchnorm_training=False, weights=None, include_top=False)
    shapes = [v.shape.as_list() for v in resnet.variables]
    assert [s for s in shapes if len(s) == 4 and s[2] == 3] == [[7, 7, 3, 64]]
    assert fine_tune._first_of("ssd_resnet50_v1_fpn_keras") == (7, 7, 64)
