"""Where the data lies that `data.synthetic` asks for; `submit` draws it when it is missing."""

import glob
from dataclasses import dataclass
from pathlib import Path

from launcher.spec.model import JobSpec

_TRAIN_SHARDS, _VAL_SHARDS = 4, 1
_CLASSES = 3  # square, circle, triangle


@dataclass(frozen=True)
class Shapes:
    """A drawn data set: what `launcher data shapes` is told, and what it leaves in `folder`."""

    folder: Path
    train_images: int
    val_images: int
    image_size: int
    seed: int
    num_classes: int = _CLASSES
    train_shards: int = _TRAIN_SHARDS
    val_shards: int = _VAL_SHARDS

    @property
    def _literal(self) -> Path:
        """The folder in a pattern: its brackets and stars are no wildcards."""
        return Path(glob.escape(str(self.folder)))

    @property
    def train(self) -> str:
        return str(self._literal / f"train.record-?????-of-{self.train_shards:05d}")

    @property
    def val(self) -> str:
        return str(self._literal / f"val.record-?????-of-{self.val_shards:05d}")

    @property
    def label_map(self) -> str:
        return str(self.folder / "label_map.pbtxt")


def shapes_of(spec: JobSpec) -> Shapes | None:
    """The drawn data of a spec; None when it reads data of its own.

    The folder's name says what is in it, so runs with the same numbers share it.
    """
    wanted = spec.data.synthetic
    if wanted is None:
        return None
    name = f"shapes-{wanted.train_images}-{wanted.val_images}-{wanted.image_size}-{wanted.seed}"
    return Shapes(
        folder=spec.run_dir / "data" / name,
        train_images=wanted.train_images,
        val_images=wanted.val_images,
        image_size=wanted.image_size,
        seed=wanted.seed,
    )
