"""`tf.train.Example` without TensorFlow: the same bytes on the wire under a name of our own.

The messages live in a private descriptor pool, so that a process that imports TensorFlow too has
no two definitions of one name. Field numbers are of TensorFlow's `core/example/example.proto` and
`feature.proto`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

_PACKAGE = "launcher.records"
KINDS = ("bytes_list", "float_list", "int64_list")


def _schema() -> FileDescriptorProto:
    file = FileDescriptorProto(
        name="launcher/records/example.proto", package=_PACKAGE, syntax="proto3"
    )
    field = FieldDescriptorProto

    def add(parent: Any, name: str, number: int, kind: int, many: bool, of: str = "") -> Any:
        label = field.LABEL_REPEATED if many else field.LABEL_OPTIONAL
        type_name = f".{_PACKAGE}.{of}" if of else None
        return parent.field.add(
            name=name, number=number, type=kind, label=label, type_name=type_name
        )

    lists = (
        ("BytesList", field.TYPE_BYTES),
        ("FloatList", field.TYPE_FLOAT),
        ("Int64List", field.TYPE_INT64),
    )
    for name, kind in lists:
        add(file.message_type.add(name=name), "value", 1, kind, many=True)

    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, (of, _)) in enumerate(zip(KINDS, lists, strict=True), start=1):
        add(feature, name, number, field.TYPE_MESSAGE, many=False, of=of).oneof_index = 0

    features = file.message_type.add(name="Features")
    entry: DescriptorProto = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    add(entry, "key", 1, field.TYPE_STRING, many=False)
    add(entry, "value", 2, field.TYPE_MESSAGE, many=False, of="Feature")
    add(features, "feature", 1, field.TYPE_MESSAGE, many=True, of="Features.FeatureEntry")

    example = file.message_type.add(name="Example")
    add(example, "features", 1, field.TYPE_MESSAGE, many=False, of="Features")
    return file


def _example_class() -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_schema())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))


Example: Any = _example_class()
"""The message class; parsing bad bytes raises google.protobuf.message.DecodeError."""


def make_example(features: Mapping[str, Any]) -> Any:
    """An Example of `features`: each a bytes, str, int or float, or a sequence of one of them.

    Text is written as UTF-8, numpy values as the Python ones, and an empty sequence as a feature
    without a kind, which TensorFlow reads as an empty list of any kind.
    """
    example = Example()
    for name, value in features.items():
        _fill(example.features.feature[name], name, value)
    return example


def values(example: Any, name: str) -> Sequence[Any]:
    """The values of a feature, whatever their kind; () when there is none of that name."""
    features = example.features.feature
    # Looking a missing key up in a protobuf map would put it there.
    if name not in features or (kind := features[name].WhichOneof("kind")) is None:
        return ()
    found: Sequence[Any] = getattr(features[name], kind).value
    return found


def kind_of(example: Any, name: str) -> str | None:
    """ "bytes_list", "float_list" or "int64_list"; None when the feature is missing or empty."""
    features = example.features.feature
    return features[name].WhichOneof("kind") if name in features else None


def _fill(feature: Any, name: str, value: Any) -> None:
    if hasattr(value, "tolist"):
        value = value.tolist()
    items = [value] if isinstance(value, bytes | str | int | float) else list(value)
    if not items:
        return
    kinds = set(map(type, items))

    def all_are(*bases: type) -> bool:
        return all(issubclass(kind, bases) for kind in kinds)

    if all_are(bytes, str):
        texts = [i.encode() if isinstance(i, str) else i for i in items]
        feature.bytes_list.value.extend(texts)
    elif all_are(int):
        feature.int64_list.value.extend(items)
    elif all_are(int, float):
        feature.float_list.value.extend(items)
    else:
        named = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise TypeError(f"{name}: a feature holds one kind of value, not {named}")
