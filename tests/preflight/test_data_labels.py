"""labels: records, label map and head."""

from pathlib import Path
from typing import Any

import pytest

from launcher.planning import make_plan
from launcher.preflight import Finding, Options, Severity, check
from launcher.spec import load
from tests.preflight.own_files import own_file

NAME = "labels"


def test_agreeing_labels_are_no_news(data: Any) -> None:
    assert not data.find(NAME)


def test_names_that_the_map_lacks(data: Any) -> None:
    data.labels("cat", "dog", "cock")
    (train, val, absent) = data.find(NAME)
    assert train.severity is Severity.ERROR
    assert train.evidence.startswith("7 of 20 train records")
    assert '"hen" (7)' in train.evidence
    assert "source id" in train.place
    assert "no mAP" in val.cost.text
    assert '3 "cock"' in absent.evidence


def test_ids_outside_of_the_head(data: Any, make_record: Any) -> None:
    data.records["train"][0][1] = make_record(1, object__class__text=None) | {
        "image/object/class/label": [2, 9]
    }
    data.write()
    (found,) = data.find(NAME)
    assert found.severity is Severity.ERROR
    assert "ids outside 1..3, with their objects: 9 (1)" in found.evidence
    assert "train.record-00000-of-00004: record 1 at byte" in found.place


def test_classes_numbered_from_zero(data: Any, make_record: Any) -> None:
    for shard in data.records["train"]:
        for one in shard:
            labels = one["image/object/class/label"]
            one["image/object/class/label"] = [label - 1 for label in labels]
            del one["image/object/class/text"]
    data.write()
    found = data.find(NAME)[0]
    assert "0 is the background: were classes numbered from 0?" in found.evidence


def test_a_name_and_an_id_of_two_classes(data: Any, make_record: Any) -> None:
    """The OD API goes by the name where there is a label map."""
    data.labels("dog", "cat", "hen")
    train, val = data.find(NAME)
    assert train.severity is val.severity is Severity.WARNING
    assert '"dog" is 1 in the label map, the record says 2, which is "cat" there' in train.evidence


def test_the_record_that_disagrees_is_named(data: Any, make_record: Any) -> None:
    data.records["train"][2][3] = make_record(7) | {"image/object/class/label": [3, 2]}
    data.write()
    (found,) = data.find(NAME)
    assert found.evidence.startswith("1 of 40 train objects have a name and an id of two classes")
    assert "train.record-00002-of-00004: record 3 at byte" in found.place


def test_a_head_that_is_too_small(data: Any) -> None:
    found = data.find(NAME, num_classes=2)
    head = next(f for f in found if "num_classes 2" in f.evidence)
    assert head.severity is Severity.ERROR
    assert head.edits == ("data.num_classes=3",)
    assert not data.find(NAME, num_classes=3)


def test_a_head_that_is_too_large(data: Any) -> None:
    (found,) = data.find(NAME, num_classes=9)
    assert found.severity is Severity.INFO


def test_classes_that_no_record_has(data: Any) -> None:
    data.labels("cat", "dog", "hen", "ox")
    (found,) = data.find(NAME)
    assert found.severity is Severity.INFO
    assert '1 of 4 classes are in none of the 20 train records: 4 "ox"' in found.evidence
    data.labels("cat", "dog", "hen", *map(str, range(20)))
    (found,) = data.find(NAME)
    assert found.severity is Severity.WARNING
    assert not data.find(NAME, sample=4)  # 8 objects tell nothing about 23 classes


def test_gaps_in_the_map(data: Any) -> None:
    data.labels("cat", "dog", "hen", first=3)
    found = [f for f in data.find(NAME, num_classes=5) if "ids without" in f.evidence]
    assert [f.evidence for f in found] == ["ids without a class: 1, 2"]


def test_a_label_map_that_cannot_be_read(data: Any) -> None:
    (data.folder / "bad.pbtxt").write_text("item {")
    plan = data.plan()
    named = plan.data.__class__(**{**vars(plan.data), "label_map": str(data.folder / "bad.pbtxt")})
    from launcher.preflight import data_findings

    found = data_findings(plan.model_copy(update={"data": named}), progress=False).findings
    errors = [f for f in found if f.name == NAME]
    assert len(errors) == 1
    assert "not a label map" in errors[0].evidence
    assert errors[0].severity is Severity.ERROR


def test_an_id_of_ten_digits(data: Any) -> None:
    """Counted, not listed: that ended in no memory."""
    more = '\nitem { id: 2000000000 name: "ox" }'
    path = data.folder / "labels.pbtxt"
    path.write_text(path.read_text() + more)
    (found,) = (f for f in data.find(NAME) if "ids without" in f.evidence)
    assert found.evidence == "ids without a class: 4, 5, 6, 7, 8, 9, 10, 11 and 1,999,999,988 more"
    assert found.severity is Severity.WARNING
    assert found.remedy == "Number the classes from 1 without a gap"


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_the_number_of_the_file_itself(data: Any, tmp_path: Path, classes: int) -> None:
    """The plan takes the map's number in its place."""

    def change(message: Any) -> None:
        message.model.ssd.num_classes = classes
        message.train_input_reader.label_map_path = str(data.folder / "labels.pbtxt")
        for name, reader in (
            ("train", message.train_input_reader),
            ("val", message.eval_input_reader[0]),
        ):
            path = str(data.folder / f"{name}.record-*")
            reader.tf_record_input_reader.input_path[:] = [path]

    path = own_file(tmp_path, change, recipe=data.recipe)
    found = [f for f in _checked(path) if "num_classes" in f.evidence]
    severities = {2: [Severity.WARNING], 3: [], 9: [Severity.INFO]}
    assert [f.severity for f in found] == severities[classes]
    for finding in found:
        assert finding.evidence == (
            f"num_classes {classes}, and the label map's highest id is 3: this run has 3"
        )
        assert ".config:" in finding.place
        assert "no target mAP" in finding.cost.text
    if classes == 2:
        assert "33 % of the classes have no output" in found[0].cost.text
        assert found[0].edits == ("data.num_classes=3",)
        assert not [f for f in _checked(path, *found[0].edits) if "num_classes" in f.evidence]


def _checked(path: Path, *overrides: str) -> tuple[Finding, ...]:
    return check(make_plan(load(path, overrides)), Options()).findings
