"""TFRecord files of tf.train.Example, without TensorFlow: files, framing, content, damage."""

from launcher.records.damage import Damage, examine, locate_damage, source_id
from launcher.records.encode import encode_example
from launcher.records.ending import check_ending
from launcher.records.example import Example, make_example, values
from launcher.records.files import expand, require_records, shard_name
from launcher.records.framing import (
    Record,
    count_records,
    frame,
    frame_parts,
    read_error,
    read_records,
    record_place,
)
from launcher.records.image import BadImageError, ImageInfo, inspect, require_pillow
from launcher.records.writer import RecordWriter, sync_file, write_error

__all__ = [
    "BadImageError",
    "Damage",
    "Example",
    "ImageInfo",
    "Record",
    "RecordWriter",
    "check_ending",
    "count_records",
    "encode_example",
    "examine",
    "expand",
    "frame",
    "frame_parts",
    "inspect",
    "locate_damage",
    "make_example",
    "read_error",
    "read_records",
    "record_place",
    "require_pillow",
    "require_records",
    "shard_name",
    "source_id",
    "sync_file",
    "values",
    "write_error",
]
