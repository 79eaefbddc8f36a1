"""All checks of a plan, and what they found together."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from launcher.errors import MissingExtraError
from launcher.planning import Plan
from launcher.preflight import budget, evaluation, memory
from launcher.preflight.configuration import configuration_findings
from launcher.preflight.finding import Cost, Finding, Severity, ordered, stricter
from launcher.preflight.options import Options
from launcher.preflight.subject import Subject, subject_of

if TYPE_CHECKING:
    from launcher.preflight.data import DataSummary


@dataclass(frozen=True)
class Report:
    """Findings in the order of what they cost."""

    name: str
    recipe: str | None
    target_map: float | None
    findings: tuple[Finding, ...]
    data: "DataSummary | None" = None

    @property
    def errors(self) -> tuple[Finding, ...]:
        return self._of(Severity.ERROR)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return self._of(Severity.WARNING)

    @property
    def passed(self) -> bool:
        return not self.errors

    def strict(self) -> "Report":
        """Warnings as errors."""
        return replace(self, findings=tuple(ordered(stricter(self.findings))))

    def to_json(self) -> dict[str, Any]:
        return {
            "findings": [finding.to_json() for finding in self.findings],
            "summary": {
                "name": self.name,
                "recipe": self.recipe,
                "target_map": self.target_map,
                **{f"{severity}s": len(self._of(severity)) for severity in Severity},
                "passed": self.passed,
                "data": asdict(self.data) if self.data else None,
            },
        }

    def _of(self, severity: Severity) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity is severity)


def check(plan: Plan, options: Options) -> Report:
    """Reads what the plan names and judges it. Starts and writes nothing.

    Raises SpecError when the pipeline.config cannot be read, StorageError when a disk fails.
    """
    subject = subject_of(plan, weights_here=options.data)
    data, found = _data(subject, options)
    findings = [
        *configuration_findings(subject),
        *evaluation.crowded(subject, data.train.most_objects if data else None),
        *budget.epochs(subject, data.train.images if data else None),
        *memory.check(subject, options.gpu_memory),
        *found,
    ]
    return Report(plan.name, plan.recipe, plan.target_map, tuple(ordered(findings)), data)


def _data(subject: Subject, options: Options) -> "tuple[DataSummary | None, Sequence[Finding]]":
    from launcher import preflight

    if not options.data:
        storage = "on storage of the cluster, which this machine does not see"
        what = f"it is {storage}"
        if start := subject.plan.fine_tune:
            what = f"it is {storage}, and so is {start.checkpoint}"
        return None, [_not_looked_at(what, "`launcher check` where it is mounted looks at it")]
    asked = {} if options.sample is None else {"sample": options.sample}
    try:
        found = preflight.data_findings(
            subject.plan,
            full=options.full,
            place=subject.place_of_data,
            template=subject.is_template,
            **asked,
        )
    except MissingExtraError as e:
        problem = e.problems[0]
        return None, [_not_looked_at(problem.what, problem.remedy)]
    from launcher.preflight import labels  # numpy is there

    return found.summary, [*found.findings, *labels.of_file(subject, found.read)]


def _not_looked_at(what: str, remedy: str) -> Finding:
    cost = Cost("what the data would cost is not known")
    return Finding(
        "data", Severity.WARNING, "", f"the data was not looked at: {what}", cost, remedy
    )
