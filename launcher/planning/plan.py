"""Plan: everything that a run is, worked out from its spec, as numbers, files and processes."""

import os
import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from launcher.contract import RunPaths
from launcher.errors import StorageError
from launcher.odapi.normalizers import Normalizer
from launcher.planning.data import DataPlan, FineTune
from launcher.planning.norm import Norm
from launcher.planning.schedule import Facts
from launcher.spec import JobSpec, plain, to_yaml
from launcher.storage import RUN_DIR, write_json, write_text
from launcher.worker_config import WorkerConfig


class Role(BaseModel):
    """Processes that are alike. `argv` comes after the Python interpreter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    count: int
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    gpus: int = 0


class Plan(BaseModel):
    """Batches in images, rates per optimizer step; `pipeline_text` is the effective file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    root: Path
    recipe: str | None
    replicas: int
    workers: int
    gpus_per_worker: int
    global_batch: int
    per_replica_batch: int
    accumulation_steps: int
    learning_rate: float
    warmup_learning_rate: float
    warmup_steps: int
    total_steps: int
    images_seen: int
    epochs: float | None
    target_map: float | None
    tolerance: float
    max_restarts: int
    warnings: tuple[str, ...]
    worker_config: WorkerConfig
    pipeline_text: str
    spec: JobSpec
    roles: tuple[Role, ...]

    # What the table for people compares with.
    reference_batch: int
    reference_is_recipe: bool
    schedule: str
    norm: Norm
    normalizer: Normalizer
    """What the summed loss of a step is divided by."""
    data: DataPlan
    fine_tune: FineTune | None
    frozen: tuple[str, ...] = ()
    """Patterns of variables that are not trained."""
    recipe_facts: Facts | None
    file_facts: Facts | None

    @property
    def paths(self) -> RunPaths:
        return RunPaths(self.root)

    @property
    def published(self) -> str | None:
        """The published recipe: None where batch.reference_config stands for one, however that
        file is named."""
        return None if self.spec.batch.reference_config else self.recipe

    def to_json(self) -> dict[str, Any]:
        """Flat numbers first; `worker_config` is what the processes read."""
        numbers = self.model_dump(
            mode="json",
            exclude={"worker_config", "pipeline_text", "spec", "roles", "root", "warnings"},
        )
        nested = {k: numbers.pop(k) for k in list(numbers) if isinstance(numbers[k], dict | list)}
        return {
            **numbers,
            "root": str(self.root),
            "warnings": list(self.warnings),
            **nested,
            "roles": [role.model_dump(mode="json") for role in self.roles],
            "worker_config": self.worker_config.to_json(),
            "spec": plain(self.spec),
        }

    def write(self, folder: Path, elsewhere: str = RUN_DIR) -> None:
        """spec.yaml, pipeline.config and plan.json into `folder`.

        Raises StorageError, with `elsewhere` as remedy; a folder that was made for them is removed
        then.
        """
        paths, is_new = RunPaths(folder), not os.path.lexists(folder)
        try:
            write_text(paths.spec, to_yaml(self.spec), elsewhere)
            write_text(paths.pipeline, self.pipeline_text, elsewhere)
            write_json(paths.plan, self.to_json(), elsewhere)
        except StorageError:
            if is_new:
                shutil.rmtree(folder, ignore_errors=True)
            raise
