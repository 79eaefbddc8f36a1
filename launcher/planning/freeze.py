"""Which variables a run does not train: patterns only, the worker knows the names."""

import re

from launcher.errors import Problem, SpecError
from launcher.odapi.protos import Message

_FIELDS = ("update_trainable_variables", "freeze_variables")


def frozen_of(train_config: Message, place: str) -> tuple[str, ...]:
    """As the plan's table shows them; `not X` is a file's update_trainable_variables, the only
    variables that it trains. Raises SpecError for a pattern that is none.
    """
    problems = []
    for field in _FIELDS:
        for pattern in getattr(train_config, field):
            try:
                re.compile(pattern)
            except re.error as e:
                what = f'{field}: "{pattern}" is no regular expression ({e})'
                problems.append(Problem(place, what, "Escape special characters"))
    if problems:
        raise SpecError(problems)
    return (
        *(f"not {pattern}" for pattern in train_config.update_trainable_variables),
        *train_config.freeze_variables,
    )
