"""The JSON Schema says what every field means, and accepts what the loader accepts."""

from collections.abc import Iterator
from typing import Any

from launcher.spec import json_schema


def fields() -> Iterator[tuple[str, dict[str, Any]]]:
    schema = json_schema()
    for title, part in {"JobSpec": schema, **schema["$defs"]}.items():
        for name, field in part["properties"].items():
            # A section whose field says the same as the section itself says it there only.
            section = schema["$defs"].get(field.get("$ref", "").removeprefix("#/$defs/"), {})
            yield f"{title}.{name}", {"description": section.get("description"), **field}


def test_every_field_says_what_it_means() -> None:
    described = {name: field["description"] for name, field in fields()}
    assert len(described) > 60
    assert [name for name, text in described.items() if len(text) < 20] == []


def test_every_optional_number_says_its_default() -> None:
    texts = {name: field["description"] for name, field in fields()}
    silent = [
        name
        for name, text in texts.items()
        if "default" not in text.lower()
        and name.split(".")[0] in ("Data", "Batch", "Evaluate", "Restart")
    ]
    assert silent == []


def test_descriptions_are_not_wrapped() -> None:
    (text,) = [field["description"] for name, field in fields() if name == "Batch.lr_scaling"]
    assert "\n" not in text


def test_unknown_keys_are_errors_in_the_schema_too() -> None:
    schema = json_schema()
    assert all(p["additionalProperties"] is False for p in [schema, *schema["$defs"].values()])


def test_only_what_is_offered_is_in_the_schema() -> None:
    found = dict(fields())
    assert found["Train.precision"]["enum"] == ["float32", "mixed_bfloat16"]
    assert found["Train.norm"]["enum"] == ["auto", "batch", "moving", "renorm", "group", "frozen"]
    assert found["Train.sync_batch_norm"]["enum"] == ["auto", True, False]
    assert {"type": "string"} in found["Data.train"]["anyOf"]
    assert json_schema()["required"] == ["name"]
