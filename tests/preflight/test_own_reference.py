"""batch.reference_config is a recipe for these very data: falling short of it is an error."""

from pathlib import Path

from launcher.planning import make_plan
from launcher.preflight import Finding, Severity
from launcher.preflight.budget import epochs
from launcher.preflight.configuration import configuration_findings
from launcher.preflight.subject import Subject, subject_of
from launcher.spec import load

THEIRS = Path(__file__).resolve().parents[2] / "configs" / "issue-10530" / "theirs.yaml"
MENDED = ("batch.lr_scaling=linear", "batch.global_batch=32", "train.norm=moving")


def subject(*overrides: str) -> Subject:
    return subject_of(make_plan(load(THEIRS, overrides)))


def of_severity(severity: Severity, *overrides: str) -> list[Finding]:
    return [f for f in configuration_findings(subject(*overrides)) if f.severity is severity]


def test_the_mistakes_of_the_miniature_are_errors() -> None:
    errors = {f.name: f.evidence for f in of_severity(Severity.ERROR)}
    assert errors.keys() == {"batch-norm", "global-batch", "image-budget", "learning-rate"}
    assert errors["image-budget"].endswith("= 2,000 of demo's 16,000 images: 12 %")
    assert errors["learning-rate"].startswith("0.025 at batch 2 is 8x the linear rule's 0.003125")


def test_mended_there_is_none_left() -> None:
    assert of_severity(Severity.ERROR, *MENDED) == []
    assert of_severity(Severity.WARNING, *MENDED) == []


def test_its_epochs_are_not_measured_by_coco() -> None:
    assert list(epochs(subject(*MENDED), train_images=100)) == []
    without = "batch.reference_config=null"
    assert list(epochs(subject(*MENDED[:2], without), train_images=1)) == []  # no recipe at all
