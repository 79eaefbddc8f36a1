"""A TensorFlow 2 checkpoint as files, looked at without TensorFlow.

`PREFIX.index` is a table of names that ends with a magic number (TensorFlow takes the format over
from LevelDB), `PREFIX.data-00000-of-0000N` hold the values. What TensorFlow 2 saves has one entry
more than its variables: the graph of its objects. Without it names are all that there is, as in
TensorFlow 1, and no object-based restore can read them.
"""

import re
from pathlib import Path

_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_OBJECT_GRAPH = b"CHECKPOINTABLE_OBJECT_GRAPH"
"""Without its first character: a table writes only what differs from the entry before."""
_SHARD = re.compile(r"\.data-(\d{5})-of-(\d{5})$")
_HINT = "Give the checkpoint's path without .index, as /data/model/ckpt-0"


def flaw(prefix: str) -> tuple[str, str] | None:
    """What keeps `prefix` from being a checkpoint that TensorFlow 2 can read, and the remedy.

    None when nothing is seen; the values themselves are not read.
    """
    try:
        return examine(prefix)
    except (OSError, ValueError) as e:
        return f"cannot be read ({getattr(e, 'strerror', None) or e})", _HINT


def examine(prefix: str) -> tuple[str, str] | None:
    """As `flaw`, but raises OSError where the disk does not say what is there, and ValueError for
    what can be no name of a file."""
    index = Path(f"{prefix}.index")
    try:
        table = index.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return f"no such checkpoint ({index})", _nearest(prefix)
    if not table.endswith(_MAGIC):
        return f"{index} is not the index of a checkpoint, or is cut short", "Copy it again"
    if missing := _missing_shard(prefix):
        return f"{missing} is missing beside {index.name}", "Copy all files of the checkpoint"
    if _OBJECT_GRAPH not in table:
        return (
            "a checkpoint of TensorFlow 1: names, no objects",
            "Use a checkpoint that TensorFlow 2 saved, as those of the TF2 model zoo",
        )
    return None


def _missing_shard(prefix: str) -> str:
    own = f"{Path(prefix).name}.data-"
    beside = [path.name for path in Path(prefix).parent.iterdir() if path.name.startswith(own)]
    found = [m for name in beside if (m := _SHARD.search(name))]
    if not found:
        return f"{Path(prefix).name}.data-00000-of-00001"
    count = max(int(m[2]) for m in found)
    there = {int(m[1]) for m in found if int(m[2]) == count}
    absent = next((i for i in range(count) if i not in there), None)
    return "" if absent is None else f"{Path(prefix).name}.data-{absent:05}-of-{count:05}"


def _nearest(prefix: str) -> str:
    """The checkpoint that was probably meant."""
    path = Path(prefix)
    if path.suffix == ".index" and path.is_file():
        return f"Did you mean {path.with_suffix('')}?"
    if path.is_file() and (shard := _SHARD.search(path.name)):
        return f"Did you mean {path.with_name(path.name[: shard.start()])}?"
    folder = path if path.is_dir() else path.parent
    for place in (folder, folder / "checkpoint", folder / "checkpoints"):
        if there := sorted(place.glob("*.index"), key=lambda p: p.stat().st_mtime):
            return f"Did you mean {there[-1].with_suffix('')}?"
    return _HINT
