"""What starts the processes, and what each backend needs to know.

Every backend has a section of its own, so that `--backend` chooses another one without an edit.
"""

from typing import Literal

from launcher.spec.section import Section


class Backend(Section):
    """What starts the processes."""

    kind: Literal["local", "ray", "kubernetes"] = "local"
    """local: processes on this machine, the default; ray: a Ray cluster; kubernetes: a cluster."""
