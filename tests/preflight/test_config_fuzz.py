"""Files with any values in their fields: findings, or one message, and never a traceback."""

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher import recipes
from launcher.errors import LauncherError
from launcher.odapi import pipeline
from launcher.planning import make_plan
from launcher.preflight.configuration import configuration_findings
from launcher.preflight.subject import subject_of
from launcher.spec import load

_RECIPES = (
    "efficientdet_d3",
    "ssd_mobilenet_v2_320",
    "faster_rcnn_resnet50_v1_800x1333",
    "centernet_hourglass104_512",
    "mask_rcnn_inception_resnet_v2_1024",
)
_WHOLE = (0, 1, 2, 3, 7, 10**6, 2**31 - 1, -1)
_REAL = (0.0, -1.0, 1e-30, 0.5, 1e30, math.nan, math.inf, -math.inf)


def numbers(message: Any) -> Iterator[tuple[Any, Any]]:
    """Every message with each of its number fields, set or not."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None and not field.is_repeated:
            if field.cpp_type in (field.CPPTYPE_STRING, field.CPPTYPE_ENUM):
                continue
            yield message, field
    for field, value in message.ListFields():
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for child in value if field.is_repeated else (value,):
                yield from numbers(child)


def spoiled(recipe: str, chance: random.Random) -> Any:
    message: Any = recipes.get(recipe).build()
    sections = (message.train_config, message.eval_config, message.train_input_reader)
    places = [place for section in sections for place in numbers(section)]
    places += list(numbers(message.model))
    for owner, field in chance.sample(places, 4):
        real = field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE)
        try:
            setattr(owner, field.name, chance.choice(_REAL if real else _WHOLE))
        except (ValueError, TypeError):  # out of this field's range
            continue
    return message


@pytest.mark.parametrize("recipe", _RECIPES)
def test_any_numbers(recipe: str, tmp_path: Path) -> None:
    chance = random.Random(recipe)
    path, judged = tmp_path / "pipeline.config", 0
    for _ in range(8):
        pipeline.write(path, spoiled(recipe, chance))
        for asked in ((), ("batch.lr_scaling=none",), ("batch.per_replica_batch=2",)):
            try:
                findings = configuration_findings(subject_of(make_plan(load(path, asked))))
            except LauncherError:
                continue
            judged += 1
            for finding in findings:
                assert finding.evidence
                assert finding.remedy
                assert 0 <= finding.cost.lost <= 1, finding
                json.dumps(finding.to_json(), allow_nan=False)
    assert judged > 10, "nearly all were refused: nothing was tried"
