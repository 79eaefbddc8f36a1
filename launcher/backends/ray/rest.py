"""The HTTP interface of a Ray dashboard. Standard library only: a status must not import Ray."""

import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launcher.errors import LauncherError, UnreachableError

SECONDS = 5.0
"""An unreachable address is told within 10 s, the start of the command and the plan included."""
PATIENT_SECONDS = 30.0
"""Of one that has answered before: a busy head is slow, and a job that it takes must not be given
up."""

ENDED = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MOST_BYTES = 64 * 1024 * 1024
_MOST_SAID = 300


class NotThereError(Exception):
    """The cluster answers, and knows no such job."""


class RefusedError(LauncherError):
    """The cluster does not take what it was sent; the message says why."""


@dataclass(frozen=True)
class Version:
    ray: str
    session: str
    """Changes when the head restarts."""


def authorization(env: Mapping[str, str]) -> dict[str, str]:
    """The header of a cluster with a token."""
    token = env.get("RAY_AUTH_TOKEN", "").strip()
    return {"Authorization": f"Bearer {token}"} if token else {}


def token_refused(address: str) -> UnreachableError:
    return UnreachableError(
        "refuses us: it wants a token, or another one",
        place=address,
        remedy="Set RAY_AUTH_TOKEN to the cluster's token",
    )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """No dashboard redirects what we ask; who does would be sent our token."""

    def redirect_request(self, *_: object) -> None:
        return None


class Dashboard:
    """One cluster. All methods raise UnreachableError when it does not answer in time, answers with
    an error, or when what answers is no Ray."""

    def __init__(self, address: str, seconds: float = SECONDS) -> None:
        self.address = address.rstrip("/")
        self._seconds = seconds
        self._local = urllib.parse.urlsplit(address).hostname in LOOPBACK

    def patient(self) -> "Dashboard":
        """The same, for questions after the first."""
        return Dashboard(self.address, PATIENT_SECONDS)

    def version(self) -> Version:
        found = self._json("GET", "/api/version")
        if not isinstance(found, dict) or "ray_version" not in found:
            raise self._no_ray("its /api/version says nothing of Ray")
        return Version(str(found["ray_version"]), str(found.get("session_name", "")))

    def python_version(self) -> str | None:
        """None: this Ray does not say."""
        try:
            return str(self._json("GET", "/api/v0/cluster_metadata")["data"]["pythonVersion"])
        except (KeyError, TypeError):
            return None

    def nodes(self) -> list[dict[str, Any]]:
        """Of those that are alive: `node_id`, `node_ip`, `resources_total`."""
        found = self._json("GET", "/api/v0/nodes?detail=1&limit=10000")
        try:
            return [n for n in found["data"]["result"]["result"] if n["state"] == "ALIVE"]
        except (KeyError, TypeError):
            raise self._no_ray("its list of nodes cannot be read") from None

    def job(self, submission: str) -> dict[str, Any]:
        """`status`, `message`, `driver_exit_code`, ... Raises NotThereError."""
        found = self._json("GET", f"/api/jobs/{urllib.parse.quote(submission)}")
        return found if isinstance(found, dict) else {}

    def jobs(self) -> list[dict[str, Any]]:
        found = self._json("GET", "/api/jobs/")
        return found if isinstance(found, list) else []

    def knows(self, submission: str) -> bool:
        try:
            self.job(submission)
        except NotThereError:
            return False
        return True

    def submit(self, request: dict[str, Any]) -> None:
        """A job whose runtime environment needs nothing that has to be uploaded. Raises
        RefusedError."""
        self._json("POST", "/api/jobs/", request)

    def stop(self, submission: str) -> None:
        """SIGTERM to a job. Does nothing to one that has ended or is not known."""
        try:
            self._json("POST", f"/api/jobs/{urllib.parse.quote(submission)}/stop")
        except (NotThereError, RefusedError):
            return

    def logs(self, submission: str) -> str:
        found = self._json("GET", f"/api/jobs/{urllib.parse.quote(submission)}/logs")
        return str(found.get("logs", "")) if isinstance(found, dict) else ""

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        try:
            text = self._send(method, path, body)
        except urllib.error.HTTPError as e:
            raise self._http_error(e, method, path) from None
        except (OSError, ValueError, EOFError) as e:  # http.client's errors among them
            raise self._unreachable(e) from None
        except Exception as e:  # a server that is none of HTTP
            if type(e).__module__ != "http.client":
                raise
            raise self._no_ray(f"what answers there is not HTTP ({type(e).__name__})") from None
        try:
            return json.loads(text)
        except ValueError:
            if method == "GET":
                raise self._no_ray("it answers with something else than JSON") from None
            return None

    def _send(self, method: str, path: str, body: Any) -> bytes:
        if not self.address.startswith(("http://", "https://")):
            raise ValueError("not an http address")
        headers = {"Accept": "application/json", **authorization(os.environ)}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 (http and https only, see above)
            self.address + path, data=data, method=method, headers=headers
        )
        proxies = urllib.request.ProxyHandler({} if self._local else None)
        opener = urllib.request.build_opener(proxies, _NoRedirect)
        seconds = self._seconds if body is None else max(self._seconds, PATIENT_SECONDS)
        with opener.open(request, timeout=seconds) as answer:
            return bytes(answer.read(_MOST_BYTES))

    def _http_error(self, error: urllib.error.HTTPError, method: str, path: str) -> Exception:
        try:
            text = error.read(100_000).decode(errors="replace")
        except Exception:  # it was cut off; the code says enough
            text = ""
        if error.code == 404:
            if path.startswith("/api/jobs/") and "does not exist" in text:
                return NotThereError(text)
            return self._no_ray("it knows none of Ray's addresses (HTTP 404)")
        if error.code in (401, 403):
            return token_refused(self.address)
        if 300 <= error.code < 400:
            return UnreachableError(
                f"sends us to another address ({error.headers.get('Location', 'unnamed')})",
                place=self.address,
                remedy="Give that one, if it is the dashboard: a token is not passed on",
            )
        if error.code in (400, 500):
            why = f"HTTP {error.code}: {_said(text) or error.reason}"
            if method == "POST":
                return RefusedError(
                    f"does not take it ({why})", place=self.address, remedy="See its dashboard"
                )
            return UnreachableError(
                f"answers with an error ({why})",
                place=self.address,
                remedy="See the log of the cluster's dashboard, or correct the address; one that "
                "speaks HTTPS is written https://HOST:PORT",
            )
        return self._no_ray(f"it answers with HTTP {error.code}")

    def _unreachable(self, error: Exception) -> UnreachableError:
        why = getattr(error, "reason", error)
        why = getattr(why, "strerror", None) or why
        return UnreachableError(
            f"no Ray cluster answers there ({why})",
            place=self.address,
            remedy="Start one with `ray start --head`, correct the address (--address, "
            "backend.ray.address or RAY_ADDRESS), or leave it out to start a Ray for the run",
        )

    def _no_ray(self, why: str) -> UnreachableError:
        return UnreachableError(
            f"something answers there that is no Ray dashboard: {why}",
            place=self.address,
            remedy="Give the address of the dashboard, as http://HOST:8265; `ray start --head` "
            "prints it",
        )


def _said(text: str) -> str:
    """Of an error's page: the title of HTML, the last line of a traceback."""
    if title := re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL):
        return " ".join(title[1].split())[:_MOST_SAID]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_MOST_SAID] if lines else ""
