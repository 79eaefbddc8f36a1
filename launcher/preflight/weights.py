"""What can be read of a starting checkpoint without TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

from launcher.errors import SpecError
from launcher.odapi import pipeline as pipelines
from launcher.odapi.protos import Message
from launcher.records import checkpoint, checkpoint_table

_CHANNELS = 3


@dataclass(frozen=True)
class Weights:
    """`flaw` is what keeps it from being read, and the remedy. `roots` are the names below which
    its variables are, None where they cannot be read. `beside` is the pipeline.config that the
    zoo's tarballs, exports and runs have in the checkpoint's folder or the one above. `first` are
    the convolutions that read images, of 3 channels: height, width and filters."""

    flaw: tuple[str, str] | None = None
    roots: frozenset[str] | None = None
    beside: Message | None = None
    first: frozenset[tuple[int, ...]] = frozenset()


def read_weights(prefix: str) -> Weights:
    if flaw := checkpoint.flaw(prefix):
        return Weights(flaw)
    index = Path(f"{prefix}.index")
    shapes = checkpoint_table.shapes(index).values()
    first = frozenset((*s[:2], s[3]) for s in shapes if len(s) == 4 and s[2] == _CHANNELS)
    return Weights(None, checkpoint_table.roots(index), _beside(Path(prefix)), first)


def _beside(prefix: Path) -> Message | None:
    for folder in (prefix.parent, prefix.parent.parent):
        path = folder / "pipeline.config"
        if path.is_file():
            try:
                return pipelines.read(path)
            except SpecError:
                return None
    return None
