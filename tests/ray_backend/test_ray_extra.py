"""Without Ray: one message, and nothing of Ray is needed to say it."""

import subprocess
import sys

import pytest

from launcher.backends.ray.fit import check_extra
from launcher.errors import MissingExtraError


def test_missing_ray_names_the_command() -> None:
    with pytest.raises(MissingExtraError) as caught:
        check_extra(lambda name: None)
    assert str(caught.value) == (
        "the ray backend needs a package that is not installed (ray). "
        "Run `pip install 'launcher[ray]'`"
    )
    assert caught.value.cli_exit == 2


def test_the_commands_side_imports_no_ray() -> None:
    """A status, and everything up to sending the job, is fast and works without Ray."""
    code = (
        "import sys, launcher.backends.ray.backend, launcher.backends.ray.keeper\n"
        "print([m for m in ('ray', 'tensorflow', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
