"""The data of a spec, read for the data commands."""

from collections.abc import Sequence

from launcher.errors import DataError, Problem, SpecError, UsageError
from launcher.planning import Plan, make_plan, missing_data
from launcher.preflight.reading import DataRead, read_data
from launcher.records.files import file_mode
from launcher.spec import JobSpec, shapes_of


def read(spec: JobSpec, *, sample: int, full: bool) -> tuple[Plan, DataRead]:
    """Raises SpecError when a record file or the label map is missing, or no record file can be
    opened, UsageError for data that is still to be drawn, StorageError when the disk fails,
    MissingExtraError without numpy."""
    shapes = shapes_of(spec)
    if shapes and file_mode(shapes.folder) is None:
        raise UsageError(
            "data.synthetic is drawn by submit, and is not there yet",
            place=str(shapes.folder),
            remedy="`launcher submit` it, or draw it with `launcher data shapes`",
        )
    fields = ("data.train", "data.val", "data.label_map")
    problems = [p for p in missing_data(spec) if any(field in p.place for field in fields)]
    if problems:
        raise SpecError(problems)
    plan = make_plan(spec)
    found = read_data(plan, sample=sample, full=full)
    if not any(split.files for split in found.splits):
        refuse([error for split in found.splits for error in split.missing])
    return plan, found


def refuse(missing: Sequence[DataError]) -> None:
    """Raises SpecError with each file that cannot be opened."""
    problems: list[Problem] = [problem for error in missing for problem in error.problems]
    if problems:
        raise SpecError(problems)
