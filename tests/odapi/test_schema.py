"""The schema that ships is the one inside the installed OD API."""

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from launcher.odapi import protos, schema


def test_shipped_schema_equals_the_installed_one() -> None:
    shipped = FileDescriptorSet.FromString(protos.SCHEMA.read_bytes())
    assert len(shipped.file) == 34
    assert shipped == schema.extract(schema.installed_protos())


def test_messages_by_name() -> None:
    ssd = protos.message("Ssd")(num_classes=90)
    assert ssd.num_classes == 90
    assert protos.file_descriptor("ssd").name == "object_detection/protos/ssd.proto"
