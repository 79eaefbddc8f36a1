"""JobSpec: what a user asks for. What follows from it is the plan's (launcher/planning)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from launcher.errors import LauncherError, Problem, SpecError
from launcher.spec.backend import Backend
from launcher.spec.cluster import Cluster
from launcher.spec.fields import FilePath, Name, refusal
from launcher.spec.rules import broken_rules
from launcher.spec.section import Section
from launcher.spec.sections import Batch, Data, Evaluate, Restart, Train

API_VERSION: Literal["launcher/v1"] = "launcher/v1"


@dataclass(frozen=True)
class Origin:
    """Where a spec was read from, for messages. It is no part of what the spec means."""

    file: str = ""
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)
    overridden: frozenset[str] = frozenset()
    replaced: dict[str, Any] = field(default_factory=dict)
    """What the file has for those that were overridden."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin)

    __hash__ = None  # type: ignore[assignment]

    def place(self, dotted: str) -> str:
        """`d3.yaml:12: batch.global_batch`, or `--set batch.global_batch`."""
        if any(dotted == o or dotted.startswith(f"{o}.") for o in self.overridden):
            return f"--set {dotted}"
        return self.place_in_file(dotted)

    def place_in_file(self, dotted: str) -> str:
        line = self.line(tuple(dotted.split(".")))
        where = f"{self.file}:{line}" if self.file and line else self.file
        return ": ".join(part for part in (where, dotted) if part)

    def line(self, path: tuple[str | int, ...]) -> int | None:
        """Of a field, or of the nearest section around it that is in the file."""
        path = tuple(int(key) if str(key).isdecimal() else key for key in path)
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return None


class JobSpec(Section):
    """A training job: which model, on which data, at which batch, where."""

    apiVersion: Literal["launcher/v1"] = API_VERSION  # noqa: N815 (Kubernetes' spelling)
    """Version of this format. Optional; launcher/v1 is the only one."""
    name: Name
    """The run's identity and its folder below run_dir: a DNS label of at most 47 characters. No
    default: a second submit of a running name is refused."""
    recipe: str | None = None
    """A published model (`launcher recipes` lists them). Exactly one of recipe and
    pipeline_config."""
    pipeline_config: FilePath | None = None
    """A pipeline.config of one's own. If its model is a published one, that recipe's batch, rate
    and schedule are used, unless batch.lr_scaling is none. Exactly one of recipe and
    pipeline_config."""
    data: Data = Data()
    """The records that are trained and scored on."""
    batch: Batch = Batch()
    """How many images make one optimizer step, and how they are divided."""
    train: Train = Train()
    """What is trained, and from where."""
    cluster: Cluster = Cluster()
    """Where it runs: how many processes with how many devices each."""
    evaluate: Evaluate = Evaluate()
    """When checkpoints are scored, and what the score is compared with."""
    restart: Restart = Restart()
    """What happens when a worker dies or hangs."""
    backend: Backend = Backend()
    """What starts the processes."""
    run_dir: FilePath = Field(default_factory=lambda: Path.cwd() / "runs")
    """Folder of all runs, one below it for each name; all workers and the evaluator must see it.
    Default: ./runs of the current directory."""

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @field_validator("recipe")
    @classmethod
    def _is_published(cls, name: str | None) -> str | None:
        if name is not None:
            from launcher import recipes

            try:
                recipes.get(name)
            except LauncherError as e:
                raise refusal(e.problems[0].what, e.problems[0].remedy) from None
        return name

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> "JobSpec":
        for path, what, remedy in broken_rules(self.model_dump(exclude_none=True)):
            raise refusal(f"{'.'.join(map(str, path))}: {what}", remedy)
        return self

    @property
    def origin(self) -> Origin:
        return self._origin

    @property
    def root(self) -> Path:
        """The run's folder."""
        return self.run_dir / self.name

    def place(self, dotted: str) -> str:
        """A field as a message names it: with file and line where they are known."""
        return self._origin.place(dotted)

    def problem(self, dotted: str, what: str, remedy: str = "") -> Problem:
        return Problem(self.place(dotted), what, remedy)

    def error(self, dotted: str, what: str, remedy: str = "") -> SpecError:
        return SpecError([self.problem(dotted, what, remedy)])

    def with_origin(self, origin: Origin) -> "JobSpec":
        """The same spec, knowing where it was read."""
        copy: JobSpec = self.model_copy()
        copy._origin = origin
        return copy


def plain(spec: JobSpec) -> dict[str, Any]:
    """The spec as JSON and YAML write it: paths as text, nothing that is None or empty."""
    dumped: dict[str, Any] = spec.model_dump(mode="json", exclude_none=True)
    return {k: _without_empty(v) for k, v in dumped.items() if v not in ({}, [])}


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_empty(v) for k, v in value.items() if v not in ({}, [])}
    return value
