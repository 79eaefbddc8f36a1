"""Requests to an API server in plain dicts, over the official client's connection.

Every request here may be sent again: reading, server-side apply and delete by name end the same
way twice. So a lost connection is tried again for some seconds, and 429 is waited for.
"""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from launcher.backends.kubernetes.connection import Connection, Place, connect
from launcher.backends.kubernetes.refusals import NotFoundError, refusal
from launcher.errors import UnreachableError

MANAGER = "launcher"
"""Field manager: whose the fields are that `submit` sets."""
_ANSWER_SECONDS = 7.0
"""For one answer. With _AGAIN_SECONDS it stays below the ten within which a server that does not
answer is called unreachable."""
_AGAIN_SECONDS = 2.5
"""How long a lost or refused connection is tried again."""
_CONNECT_SECONDS = 3.0
_BUSY_SECONDS = 60.0
"""How long 429 and 503 are waited for, as long as Retry-After says."""
_LONGEST_PAUSE = 10.0
_LOG_SECONDS = 3600.0
"""A quiet log stream is opened again after this."""

_ALWAYS_THERE = ("/api/v1/", "/apis/batch/v1/")
"""Of a kind that is not installed an API server says so in plain text; not of these."""

Json = dict[str, Any]

_PLURALS = {
    "ConfigMap": "configmaps",
    "Event": "events",
    "Job": "jobs",
    "JobSet": "jobsets",
    "NetworkPolicy": "networkpolicies",
    "Pod": "pods",
    "RayJob": "rayjobs",
    "Service": "services",
    "TFJob": "tfjobs",
    "Workload": "workloads",
}


def path_of(api_version: str, kind: str, namespace: str, name: str = "") -> str:
    """`/apis/batch/v1/namespaces/NAMESPACE/jobs/NAME`."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    folder = f"{root}/namespaces/{quote(namespace, safe='')}/{_PLURALS[kind]}"
    return f"{folder}/{quote(name)}" if name else folder


class Api:
    """One API server in one namespace. Errors are those of refusals.py, and UnreachableError."""

    def __init__(self, place: Place) -> None:
        self._wanted = place
        self._connection = connect(place)
        self.calls = 0
        """Requests so far, for tests of how many a command needs."""

    @property
    def place(self) -> Place:
        return self._connection.place

    @property
    def server(self) -> str:
        return self._connection.server

    def list(self, api_version: str, kind: str, **query: str) -> list[Json]:
        """All objects of a kind in the namespace; none where the kind is not installed."""
        try:
            found = self._json("GET", path_of(api_version, kind, self.place.namespace), query)
        except NotFoundError:
            return []
        items: list[Json] = found.get("items") or []
        return [{"apiVersion": api_version, "kind": kind, **item} for item in items]

    def preferred(self, group: str) -> str | None:
        """`group/version` that the server would have; None: nothing of the group is installed."""
        try:
            found = self._json("GET", f"/apis/{group}")
        except NotFoundError:
            return None
        return str((found.get("preferredVersion") or {}).get("groupVersion") or "") or None

    def get(self, api_version: str, kind: str, name: str) -> Json | None:
        try:
            return self._json("GET", path_of(api_version, kind, self.place.namespace, name))
        except NotFoundError:
            return None

    def apply(self, item: Json, *, dry_run: bool = False) -> Json:
        """Server-side apply; what another manager set there is taken over."""
        query = {"fieldManager": MANAGER, "force": "true"}
        if dry_run:
            query["dryRun"] = "All"
        return self._json("PATCH", self._path(item), query, item, "application/apply-patch+yaml")

    def annotate(self, item: Json, values: Mapping[str, str | None]) -> Json:
        """Set annotations, or remove those that are None."""
        body = {"metadata": {"annotations": dict(values)}}
        kind = "application/merge-patch+json"
        return self._json("PATCH", self._path(item), {}, body, kind)

    def delete(self, item: Json) -> bool:
        """The object, and in the background what it owns. False: it was gone already."""
        uid = item["metadata"].get("uid")
        body: Json = {"propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            self._json("DELETE", self._path(item), {}, body)
        except NotFoundError:
            return False
        return True

    def log(self, pod: str, **query: str) -> Iterator[bytes]:
        """Chunks of a container's log as they come. A broken stream ends with ConnectionError:
        the end of a log says nothing about the run."""
        import urllib3

        path = path_of("v1", "Pod", self.place.namespace, pod) + "/log"
        wait = (_CONNECT_SECONDS, _LOG_SECONDS)
        response = self._send("GET", path, query, None, "", wait).response
        try:
            while data := response.read1(65536):  # stream() waits for so many, unless chunked
                yield data
        except (urllib3.exceptions.HTTPError, OSError) as e:
            raise ConnectionError(f"the log of {pod} broke off ({e})") from e
        finally:
            response.close()

    def _path(self, item: Json) -> str:
        meta = item["metadata"]
        namespace = meta.get("namespace") or self.place.namespace
        return path_of(item["apiVersion"], item["kind"], namespace, meta["name"])

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> Json:
        reply = self._send(method, path, query or {}, body, content_type, _ANSWER_SECONDS)
        found = _parsed(reply.data)
        if not _is_object(found):
            raise _not_kubernetes(self.server, reply, found)
        return dict(found)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | None,
        content_type: str,
        timeout: "float | tuple[float, float]",
    ) -> Any:
        """The answer, whose body is read unless `timeout` is a stream's pair of seconds."""
        began, again, pause = time.monotonic(), True, 0.2
        while True:
            reply, why = self._once(method, path, query, body, content_type, timeout)
            waited = time.monotonic() - began
            if reply is None:
                if waited + pause > _AGAIN_SECONDS or "certificate" in why.lower():
                    raise _unreachable(self._connection, why)
            elif reply.status < 400:
                return reply
            elif reply.status == 401 and again:  # a token that is renewed by a file or a program
                again, self._connection = False, connect(self._wanted)
            elif reply.status == 410 and again:  # what was asked for is too old: ask anew
                again = False
            elif reply.status in (429, 503) and waited < _BUSY_SECONDS:
                pause = _retry_after(reply.headers.get("Retry-After"), pause)
            elif reply.status >= 500 and waited < _ANSWER_SECONDS:
                pass
            else:
                said = _parsed(reply.data)
                if reply.status == 404 and path.startswith(_ALWAYS_THERE) and not _is_object(said):
                    raise _not_kubernetes(self.server, reply, said)
                raise refusal(reply.status, said, self.server, method, path)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | None,
        content_type: str,
        timeout: "float | tuple[float, float]",
    ) -> tuple[Any, str]:
        """The answer, or None and why there is none."""
        import urllib3
        from kubernetes.client.exceptions import ApiException

        self.calls += 1
        client = self._connection.client
        headers = {"Accept": "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = content_type
        _, url, headers, sent, _ = client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        stream = isinstance(timeout, tuple)
        wait = timeout if isinstance(timeout, tuple) else (_CONNECT_SECONDS, timeout)
        try:
            reply = client.call_api(method, url, headers, sent, _request_timeout=wait)
            if not stream or reply.status >= 400:
                reply.read()  # type: ignore[no-untyped-call]
        except ApiException as e:  # of TLS
            return None, " ".join(str(e.reason).split())
        except (urllib3.exceptions.HTTPError, OSError) as e:
            return None, _cause(e)
        return reply, ""


def _unreachable(connection: Connection, why: str) -> UnreachableError:
    return UnreachableError(
        f"the API server does not answer ({why})",
        place=connection.server,
        remedy=f"Is the cluster of context {connection.place.context} running, and reachable from "
        "here? `kubectl get --raw=/readyz` asks the same",
    )


def _not_kubernetes(server: str, reply: Any, found: Any) -> UnreachableError:
    """A web page of a portal, of a load balancer, of another server."""
    text = " ".join((found if isinstance(found, str) else json.dumps(found)).split())[:80]
    what = reply.headers.get("Content-Type") or "no type"
    return UnreachableError(
        f"what answers is not an API server of Kubernetes ({reply.status}, {what}: {text})",
        place=server,
        remedy="Correct the server's address in the kubeconfig, or log in where a portal asks for "
        "it; `kubectl get --raw=/version` asks the same",
    )


def _is_object(found: Any) -> bool:
    """Whether it is an object of Kubernetes, or a list of them."""
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        return False
    items = found.get("items") or []
    return isinstance(items, list) and all(isinstance(item, dict) for item in items)


def _cause(error: BaseException) -> str:
    """The innermost reason, which says most: `Connection refused`."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]


def _retry_after(text: str | None, otherwise: float) -> float:
    try:
        return min(max(float(text or ""), 0.05), _LONGEST_PAUSE)
    except ValueError:
        return otherwise


def _parsed(data: bytes | None) -> Any:
    try:
        return json.loads(data or b"")
    except ValueError:
        return (data or b"").decode(errors="replace")
