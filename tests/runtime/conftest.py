"""Small data for real training steps."""

from pathlib import Path

import pytest

from launcher.data import make_shapes


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 + 16 drawn images at 128 px, with the file names of `launcher data shapes`."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_shapes(folder, train_images=64, val_images=16, image_size=128, seed=3)
    return folder
