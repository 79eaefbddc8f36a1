"""TFRecord files of tf.train.Example, without TensorFlow: files, framing, content, damage."""

from launcher.records.damage import Damage, examine, locate_damage, source_id
from launcher.records.ending import check_ending
from launcher.records.example import Example, make_example, values
from launcher.records.files import expand, require_records, shard_name
from launcher.records.framing import (
    Record,
    RecordWriter,
    count_records,
    frame,
    read_error,
    read_records,
    record_place,
    write_error,
)
from launcher.records.image import BadImageError, ImageInfo, inspect, require_pillow

__all__ = [
    "BadImageError",
    "Damage",
    "Example",
    "ImageInfo",
    "Record",
    "RecordWriter",
    "check_ending",
    "count_records",
    "examine",
    "expand",
    "frame",
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
    "values",
    "write_error",
]
