"""The checks together: what needs file and data both, and the order of what they find."""

from typing import Any

from launcher.preflight import Cost, Finding, Options, Severity, check, ordered


def findings(data: Any, **changed: Any) -> list[Finding]:
    return list(check(data.plan(**changed), Options()).findings)


def crowd(make_record: Any, number: int, objects: int) -> Any:
    sides = {"ymin": 0.2, "xmin": 0.2, "ymax": 0.6, "xmax": 0.6}
    boxes = {f"object__bbox__{side}": [value] * objects for side, value in sides.items()}
    return make_record(
        number,
        **boxes,
        object__class__text=["cat"] * objects,
        object__class__label=[1] * objects,
        object__is_crowd=[0] * objects,
    )


def test_the_most_crowded_image_is_held_against_the_reader(data: Any, make_record: Any) -> None:
    data.records["train"][2][1] = crowd(make_record, 7, objects=100)
    data.write()
    assert [f for f in findings(data) if f.name == "evaluation"] == []
    data.records["train"][2][1] = crowd(make_record, 7, objects=101)
    data.write()
    (found,) = (f for f in findings(data) if f.name == "evaluation")
    assert found.evidence == "an image has 101 objects, 100 of an image are trained on"
    assert found.severity is Severity.WARNING


def test_the_counted_images_are_held_against_the_budget(data: Any) -> None:
    (found,) = (f for f in findings(data) if f.name == "image-budget")
    assert found.severity is Severity.WARNING
    assert " epochs of 20 train images, ssd_mobilenet_v2_fpnlite_320 has " in found.evidence
    assert [f for f in findings(data, dataset="coco2017") if f.name == "image-budget"] == []


def test_the_costliest_comes_first_among_equals() -> None:
    def one(severity: Severity, lost: float, name: str) -> Finding:
        return Finding(name, severity, "", "", Cost("", lost), "")

    found = [
        one(Severity.INFO, 0.9, "note"),
        one(Severity.WARNING, 0.1, "cheap"),
        one(Severity.ERROR, 0.2, "slight"),
        one(Severity.WARNING, 0.5, "dear"),
        one(Severity.WARNING, 0.5, "as dear, found later"),
        one(Severity.ERROR, 0.7, "grave"),
    ]
    assert [f.name for f in ordered(found)] == [
        "grave", "slight", "dear", "as dear, found later", "cheap", "note",
    ]  # fmt: skip


def test_a_report_is_in_that_order(data: Any) -> None:
    """Also where a costly finding was made by a later check than a cheap one."""
    data.labels("cat", "dog", "cock")  # hen is in 7 of 20 train records
    told = findings(data, train=str(data.path("train", 0)), train_images=20, num_classes=2)
    errors = [f.cost.lost for f in told if f.severity is Severity.ERROR]
    assert len(set(errors)) > 1
    assert errors == sorted(errors, reverse=True)
    ranks = [list(Severity).index(f.severity) for f in told]
    assert ranks == sorted(ranks)
