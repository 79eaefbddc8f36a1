"""dataset: whoever trains on images of their own is told of data.dataset: custom, and whoever names
a part of COCO that its published mAP is no target."""

from pathlib import Path
from typing import Any

import pytest

from launcher.planning import make_plan
from launcher.preflight import Finding, Options, Severity, check
from launcher.preflight.dataset import is_coco
from launcher.preflight.labels import COCO_GAPS
from launcher.preflight.mend import mend
from launcher.spec import load

NAME = "dataset"
COCO = {i: f"class {i}" for i in range(1, 91) if i not in COCO_GAPS}


def coco_map(data: Any, person: str = "person", toothbrush: str = "toothbrush") -> None:
    names = COCO | {1: person, 90: toothbrush}
    items = (f'item {{ id: {i} name: "{name}" }}' for i, name in names.items())
    (data.folder / "labels.pbtxt").write_text("\n".join(items))


def found(data: Any, name: str = NAME, **changed: Any) -> list[Finding]:
    return [f for f in data.check(dataset=None, **changed).findings if f.name == name]


def test_a_label_map_of_one_s_own(data: Any) -> None:
    """The published recipe on three classes: the default is coco2017."""
    (told,) = found(data)
    assert told.severity is Severity.WARNING
    assert told.evidence == (
        '3 classes up to id 3 in the label map (1 "cat", 2 "dog", 3 "hen"), COCO 2017 has 80 up to '
        "90: this is not COCO 2017"
    )
    assert told.cost.text.startswith("the published mAP 22.2 is no target of these data")
    assert told.remedy.startswith("data.dataset: custom, for images of your own")
    assert told.edits == ("data.dataset=custom",)
    assert not data.find(NAME)  # custom, as the fixture says
    (own_target,) = [f for f in data.check(dataset="coco2017").findings if f.name == NAME]
    assert own_target.edits == told.edits


def test_the_counts_name_the_same_remedy(data: Any) -> None:
    train, val = found(data, "data-count")
    assert train.evidence == "20 train images in 4 files, 118,287 expected: 99.98 % fewer"
    assert {f.remedy for f in (train, val)} == {
        "data.dataset: custom: the label map is not COCO 2017's"
    }
    assert train.edits == val.edits == ("data.dataset=custom",)
    coco_map(data)
    train, val = found(data, "data-count")
    assert val.remedy == (
        "Name all files in data.val; data.dataset: custom, if it is not COCO 2017 or only a part "
        "of it"
    )
    assert train.edits == val.edits == ()  # nobody knows which of the two
    assert not found(data)


def test_counts_that_coco_has_not(data: Any) -> None:
    coco_map(data)
    (told,) = found(data, train_images=20, val_images=6)
    assert told.evidence == (
        "20 train images where COCO 2017 has 118,287 and 6 val images where COCO 2017 has 5,000: "
        "this is not COCO 2017"
    )
    assert (told.severity, told.edits) == (Severity.WARNING, ("data.dataset=custom",))
    for counts in ({"train_images": 118_287, "val_images": 5_000}, {"train_images": 117_266}):
        assert not found(data, **counts)
    assert found(data, train_images=115_000)
    assert found(data, val_images=4_999)


@pytest.mark.parametrize(
    ("person", "toothbrush", "coco"),
    [("person", "Toothbrush", True), ("/m/01g317", "/m/012xff", True), ("a", "b", False)],
)
def test_the_names_of_coco(person: str, toothbrush: str, coco: bool) -> None:
    assert is_coco(COCO | {1: person, 90: toothbrush}) is coco
    assert not is_coco(COCO | {1: person, 90: toothbrush, 91: "more"})


def own_spec(data: Any, *lines: str) -> Path:
    path = data.folder / "own.yaml"
    path.write_text(
        "name: own\nrecipe: efficientdet_d3\ndata:\n  train: train.record-*\n"
        "  val: val.record-*\n  label_map: labels.pbtxt\n" + "".join(f"  {x}\n" for x in lines)
    )
    return path


def test_fix_writes_custom(data: Any) -> None:
    path = own_spec(data)

    def look(plan: Any) -> Any:
        return check(plan, Options())

    report = look(make_plan(load(path)))
    assert report.target_map == 45.4
    mended = mend(path, (), report, look)
    assert "data.dataset=custom" in mended.edits
    assert mended.report.target_map is None
    assert not {"data-count", NAME} & {f.name for f in mended.report.findings}


def test_written_counts_do_not_silence_epochs_and_plan(data: Any) -> None:
    """960,000 epochs of 40 images, and 45.4 as the target."""
    path = own_spec(data, "train_images: 20", "val_images: 6")
    plan = make_plan(load(path))
    report = check(plan, Options())
    assert any(
        " epochs of 20 train images, efficientdet_d3 has 325 of COCO's" in f.evidence
        for f in report.findings
    )
    (warning,) = (
        text for text in plan.warnings if "the published mAP" in text and "no tar" in text
    )
    assert warning.startswith("20 train images where COCO 2017 has 118,287 and 6 val images")
    assert "data.dataset: custom" in warning
    assert not any("no target" in text for text in make_plan(load(own_spec(data))).warnings)
    custom = make_plan(load(own_spec(data, "train_images: 20", "dataset: custom")))
    assert not any("no target" in text for text in custom.warnings)


def test_a_target_of_one_s_own_is_one(data: Any) -> None:
    coco_map(data)
    path = own_spec(data, "train_images: 20", "val_images: 6")
    plan = make_plan(load(path, ["evaluate.target_map=20"]))
    assert NAME not in {f.name for f in check(plan, Options()).findings}
    assert not any("no target" in text for text in plan.warnings)
