"""Where a run can run: backends by name, imported on use so that the command line starts fast."""

import importlib
from typing import TYPE_CHECKING, cast

from launcher.errors import UsageError

if TYPE_CHECKING:
    from launcher.backends.base import Backend

_BACKENDS = {
    "local": "launcher.backends.local",
    "ray": "launcher.backends.ray.backend",
    "kubernetes": "launcher.backends.kubernetes",
}

DEFAULT = "local"


def names() -> list[str]:
    return list(_BACKENDS)


def get(name: str) -> "Backend":
    """Raises UsageError for a backend that does not exist."""
    if name not in _BACKENDS:
        raise UsageError(
            f'"{name}" is not a backend', place="backend", remedy=f"Use {', '.join(_BACKENDS)}"
        )
    return cast("Backend", importlib.import_module(_BACKENDS[name]).BACKEND)
