"""data-count: too few, too many, empty and uneven files."""

import os
from typing import Any

import pytest

from launcher.preflight import Severity
from launcher.preflight.data_cost import of_share, percent, share_lost

NAME = "data-count"


def test_the_expected_number_is_no_news(data: Any) -> None:
    assert not data.find(NAME, train_images=20, val_images=6)
    assert not data.find(NAME)  # nobody expects a number


@pytest.mark.parametrize(
    ("expected", "severity", "off"),
    [
        (40, Severity.ERROR, "50 % fewer"),
        (21, Severity.WARNING, "4.8 % fewer"),
        (19, Severity.WARNING, "5.3 % more"),
        (10, Severity.ERROR, "100 % more"),
    ],
)
def test_another_number_of_train_images(
    data: Any, expected: int, severity: Severity, off: str
) -> None:
    (found,) = data.find(NAME, train_images=expected)
    assert found.severity is severity
    assert found.evidence == f"20 train images in 4 files, {expected} expected: {off}"


def test_images_without_an_object_may_be_left_out(data: Any, make_record: Any) -> None:
    """As some converters do: 117,266 of COCO's 118,287."""
    data.records["train"] = [[make_record(i) for i in range(99)]]
    data.folder = data.folder / "more"
    data.write()
    (found,) = data.find(NAME, train_images=100)
    assert found.severity is Severity.INFO
    assert "1 % fewer" in found.evidence


def test_another_number_of_val_images(data: Any) -> None:
    """The evaluator refuses it, however small the difference."""
    (found,) = data.find(NAME, val_images=7)
    assert found.severity is Severity.ERROR
    assert "the evaluator refuses" in found.cost.text


def test_an_empty_file(data: Any) -> None:
    os.truncate(data.path("train", 2), 0)
    (found,) = data.find(NAME)
    assert found.severity is Severity.ERROR
    assert found.place == str(data.path("train", 2))


def test_a_file_that_was_cut_between_two_records(data: Any, make_record: Any) -> None:
    data.records["train"][3] = data.records["train"][3][:2]
    data.write()
    (found,) = data.find(NAME)
    assert found.severity is Severity.WARNING
    assert "train.record-00003-of-00004 2 images, where the other train files have 5" in (
        found.evidence
    )


def test_uneven_on_purpose(data: Any, make_record: Any) -> None:
    data.records["train"][0] = [make_record(300 + i) for i in range(60)]
    data.write()
    (found,) = data.find(NAME)
    assert found.severity is Severity.INFO
    assert "files of 5 to 60 images" in found.evidence


def test_fewer_files_than_workers(data: Any) -> None:
    """Our workers share records: nothing to mend."""
    (found,) = data.find(NAME, workers=8)
    assert found.severity is Severity.INFO
    assert found.evidence == "4 train files for 8 workers"
    assert not data.find(NAME, workers=4)


def test_what_missing_images_cost() -> None:
    """The measured points of arXiv 2005.04757, and order between them."""
    assert share_lost(1.0) == share_lost(1.2) == 0
    assert share_lost(0.1) == pytest.approx(1 - 23.86 / 37.63)
    assert share_lost(0.01) == pytest.approx(1 - 9.05 / 37.63)
    lost = [share_lost(s) for s in (0.001, 0.01, 0.015, 0.05, 0.5, 0.99)]
    assert lost == sorted(lost, reverse=True)
    assert "99 % of the train images are never seen; 1 % of COCO gave 24 %" in of_share(0.01).text
    assert "1 % of COCO gave 24 %" in of_share(0.0001).text  # below it nothing was measured


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.00999, "1 %"), (0.5, "50 %"), (0.991, "99.1 %"), (0.99999, "over 99.99 %"),
     (1e-5, "under 0.01 %"), (1, "100 %")],
)  # fmt: skip
def test_shares_are_never_rounded_to_all_or_nothing(share: float, text: str) -> None:
    assert percent(share) == text
