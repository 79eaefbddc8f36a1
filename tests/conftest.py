"""Fixtures that every test folder shares."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real inputs beside the checkout (published configs, COCO images); skips where absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the reference inputs beside the checkout ({folder.name}/)")
    return folder


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The shims of the OD API come before TensorFlow, whichever test is a process's first."""
    if item.get_closest_marker("tensorflow") is not None:
        from launcher.odapi import compat

        compat.load()
