"""The job spec: what a user asks for, read from YAML or wrapped around a bare pipeline.config.

fields       kinds of value, with their messages
sections     the settings, each documented beneath it
model        JobSpec
rules        rules between fields
yaml_tree    YAML with the line of every key
problems     pydantic's errors in the words of a spec
overrides    --set
load         files to JobSpec
write        JobSpec to YAML, the template of `launcher init`, the JSON Schema
synthetic    where drawn data lies
"""

from launcher.spec.load import from_mapping, load
from launcher.spec.model import API_VERSION, JobSpec, Origin, plain
from launcher.spec.synthetic import Shapes, shapes_of
from launcher.spec.write import json_schema, template, to_yaml

__all__ = [
    "API_VERSION",
    "JobSpec",
    "Origin",
    "Shapes",
    "from_mapping",
    "json_schema",
    "load",
    "plain",
    "shapes_of",
    "template",
    "to_yaml",
]
