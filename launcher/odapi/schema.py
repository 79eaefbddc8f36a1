"""Make `object_detection.binpb` from the installed OD API: `python -m launcher.odapi.schema`.

Run it when the pinned version of tf-models-research-object-detection changes.
"""

import ast
from importlib.util import find_spec
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from launcher.errors import MissingExtraError
from launcher.odapi.protos import SCHEMA


def installed_protos() -> Path:
    """The folder `object_detection/protos` of the installed OD API, without importing it."""
    spec = find_spec("object_detection")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            "the Object Detection API is not installed",
            remedy="pip install --no-deps tf-models-research-object-detection==2.8.0.post1",
        )
    return Path(spec.submodule_search_locations[0]) / "protos"


def serialized_file(pb2: Path) -> FileDescriptorProto:
    """The schema of one generated module: its `serialized_pb` literal, read without running it."""
    for node in ast.walk(ast.parse(pb2.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "serialized_pb":
            return FileDescriptorProto.FromString(ast.literal_eval(node.value))
    raise ValueError(f"{pb2}: no serialized_pb")


def extract(protos: Path) -> FileDescriptorSet:
    """All files, each after those it imports, as a descriptor pool wants them."""
    files = {f.name: f for f in map(serialized_file, sorted(protos.glob("*_pb2.py")))}
    ordered: dict[str, FileDescriptorProto] = {}

    def add(name: str) -> None:
        if name not in ordered:
            for dependency in files[name].dependency:
                add(dependency)
            ordered[name] = files[name]

    for name in files:
        add(name)
    return FileDescriptorSet(file=ordered.values())


if __name__ == "__main__":
    SCHEMA.write_bytes(extract(installed_protos()).SerializeToString(deterministic=True))
