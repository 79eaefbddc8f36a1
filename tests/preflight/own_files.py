"""Files of one's own: a published recipe, changed, and what the configuration's checks find."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from launcher import recipes
from launcher.odapi import pipeline
from launcher.planning import make_plan
from launcher.preflight.configuration import configuration_findings
from launcher.preflight.finding import Finding
from launcher.preflight.subject import subject_of
from launcher.spec import load


def own_file(
    folder: Path, change: Callable[[Any], None] = lambda _: None, recipe: str = "efficientdet_d3"
) -> Path:
    """The recipe as pipeline.config, with a change made to the message."""
    message: Any = recipes.get(recipe).build()
    change(message)
    path = folder / "pipeline.config"
    pipeline.write(path, message)
    return path


def cosine(message: Any) -> Any:
    optimizer = message.train_config.optimizer.momentum_optimizer
    return optimizer.learning_rate.cosine_decay_learning_rate


def found(path: Path, *overrides: str, name: str = "") -> list[Finding]:
    """Of one check by its name, or of all."""
    subject = subject_of(make_plan(load(path, overrides)))
    return [f for f in configuration_findings(subject) if name in ("", f.name)]


def only(path: Path, *overrides: str, name: str) -> Finding:
    (finding,) = found(path, *overrides, name=name)
    return finding
