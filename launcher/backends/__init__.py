"""Where a run can run: backends by name, imported on use so that the command line starts fast."""

import importlib
from typing import TYPE_CHECKING, cast

from launcher.errors import UsageError

if TYPE_CHECKING:
    from launcher.backends.base import Backend

_BACKENDS = {
    "local": "launcher.backends.local",
    "kubernetes": "launcher.backends.kubernetes",
}
_LATER = ("ray",)

DEFAULT = "local"


def names() -> list[str]:
    return list(_BACKENDS)


def get(name: str) -> "Backend":
    """Raises UsageError for a backend that does not exist, or not in this version."""
    if name in _LATER:
        raise UsageError(
            f"the {name} backend is not part of this version", remedy="Use --backend local"
        )
    if name not in _BACKENDS:
        raise UsageError(
            f'"{name}" is not a backend', place="backend", remedy=f"Use {', '.join(_BACKENDS)}"
        )
    return cast("Backend", importlib.import_module(_BACKENDS[name]).BACKEND)
