"""All checks of a plan, and what they found together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from launcher.planning import Plan
from launcher.preflight.configuration import configuration_findings
from launcher.preflight.finding import Finding, Severity, ordered, stricter
from launcher.preflight.options import Options
from launcher.preflight.subject import subject_of


@dataclass(frozen=True)
class Report:
    """Findings in the order of what they cost."""

    name: str
    recipe: str | None
    target_map: float | None
    findings: tuple[Finding, ...]

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
            },
        }

    def _of(self, severity: Severity) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity is severity)


def check(plan: Plan, options: Options = Options()) -> Report:  # noqa: B008 (it is frozen)
    """Reads what the plan names and judges it. Starts and writes nothing.

    Raises SpecError when the pipeline.config cannot be read, StorageError when a disk fails.
    """
    subject = subject_of(plan)
    findings = [*configuration_findings(subject), *_data(plan, options)]
    return Report(plan.name, plan.recipe, plan.target_map, tuple(ordered(findings)))


def _data(plan: Plan, options: Options) -> Sequence[Finding]:
    from launcher import preflight

    judge = getattr(preflight, "data_findings", None)
    return judge(plan, options) if judge else ()
