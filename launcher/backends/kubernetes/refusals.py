"""What an API server's refusal means for the user: one sentence with the remedy."""

import re
from collections.abc import Mapping
from typing import Any

from launcher.errors import LauncherError, StorageError, UnreachableError, UsageError

RBAC = "manifests/rbac.yaml"
_FORBIDDEN = re.compile(
    r'cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)"(?: in API group "(?P<group>[^"]*)")?'
)
_ANONYMOUS = '"system:anonymous"'
_INSTALL = {
    "jobsets": "JobSet (jobset.sigs.k8s.io) is not installed; --kind job needs nothing installed",
    "tfjobs": "the training operator is not installed; --kind job needs nothing installed",
    "rayjobs": "KubeRay is not installed; --kind job needs nothing installed",
}


class NotFoundError(UsageError):
    """The object or its whole kind is not there: for the caller to judge."""


def refusal(code: int, body: Any, server: str, method: str, path: str) -> LauncherError:
    """The error for an answer of 400 or more. `body` is the Status object, or whatever came."""
    status: Mapping[str, Any] = body if isinstance(body, dict) else {}
    text = " ".join(str(status.get("message") or body or "").split())[:600]
    if code == 401 or (code == 403 and _ANONYMOUS in text):
        why = "the token is invalid or has expired" if code == 401 else "it was given none"
        return UsageError(
            f"the server does not accept the credentials ({code}): {why}",
            place=server,
            remedy="Log in again as you do for kubectl; `kubectl auth whoami` tells when it works",
        )
    if code == 403:
        return _forbidden(text, server)
    if code == 404:
        remedy = "Create it, or name another one" if 'namespaces "' in text else ""
        return NotFoundError(_absent(path, text), place=server, remedy=remedy)
    if code in (400, 409, 422):
        return UsageError(
            f"the server refuses {_object(path)} ({code}): {text}",
            place=server,
            remedy="Change what it names in the spec",
        )
    if code == 507:
        return StorageError(f"the server has no room: {text}", place=server)
    return UnreachableError(
        f"the server cannot answer {method} {path} ({code}): {text or 'no reason given'}",
        place=server,
        remedy="Try again later, or ask its administrator",
    )


def _forbidden(text: str, server: str) -> LauncherError:
    if "exceeded quota" in text:
        return UsageError(
            f"the namespace's quota does not allow it: {text}",
            place=server,
            remedy="Ask for fewer or smaller workers, or for a larger ResourceQuota",
        )
    found = _FORBIDDEN.search(text)
    if found is None:
        return UsageError(f"the server forbids it: {text}", place=server, remedy="See its message")
    group = f".{found['group']}" if found["group"] else ""
    return UsageError(
        f"this account may not {found['verb']} {found['resource']}{group}: {text}",
        place=server,
        remedy=f"Its administrator grants the role of {RBAC} (kubectl apply -f {RBAC})",
    )


def _absent(path: str, text: str) -> str:
    plural = path.split("/namespaces/")[-1].split("/")[1:2]
    if plural and plural[0] in _INSTALL and "could not find the requested resource" in text:
        return _INSTALL[plural[0]]
    return f"not found: {text or path}"


def _object(path: str) -> str:
    """`/apis/batch/v1/namespaces/vision/jobs/d3` -> `jobs/d3`."""
    return "/".join(path.split("/namespaces/")[-1].split("/")[1:3]) or path
