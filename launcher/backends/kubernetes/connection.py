"""Which API server to ask, as whom, and in which namespace: kubectl's own rules.

KUBECONFIG (several files, merged), else ~/.kube/config, else the service account of the pod that
this runs in. A context that the run names wins over the current one, and a namespace over the
context's.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT_NAMESPACE = "default"
_ADDRESS = re.compile(r"https?://[^\s/?#]+(/\S*)?")
_TOKEN = re.compile(r"[\x20-\x7e]*")
IN_CLUSTER = "in-cluster"
"""Stands for a context where there is no kubeconfig."""


@dataclass(frozen=True)
class Place:
    """Where a run is. Empty: kubectl's choice."""

    context: str = ""
    namespace: str = ""

    def to_json(self) -> dict[str, str]:
        return {"context": self.context, "namespace": self.namespace}


@dataclass(frozen=True)
class Connection:
    place: Place
    server: str
    client: "ApiClient" = field(repr=False)


def connect(wanted: Place) -> Connection:
    """Reads the configuration; asks no server.

    Raises UsageError when there is none or it cannot be understood, MissingExtraError.
    """
    try:
        import kubernetes.config  # noqa: F401
    except ImportError as e:
        raise MissingExtraError(
            f"the kubernetes backend needs a package that is missing ({e.name})",
            remedy='pip install "launcher[kubernetes]"',
        ) from None
    if not _kubeconfig() and wanted.context in ("", IN_CLUSTER):
        return _from_account(wanted)
    return _from_files(wanted)


def _kubeconfig() -> str:
    """The files as a KUBECONFIG text; empty when none is there."""
    text = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    return text if any(Path(p).expanduser().is_file() for p in text.split(os.pathsep) if p) else ""


def _from_files(wanted: Place) -> Connection:
    import yaml
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import ConfigException, load_kube_config
    from kubernetes.config.kube_config import KubeConfigMerger

    files = _kubeconfig() or os.environ.get("KUBECONFIG") or "~/.kube/config"
    configuration = Configuration()
    try:
        # list_kube_config_contexts would want a current context, also where another one is named.
        merged = KubeConfigMerger(files).config  # type: ignore[no-untyped-call]
        if merged is None:
            raise ValueError("no such file")
        named = {c["name"]: c.value for c in merged.value["contexts"]}
        name = wanted.context or _current(files)
        if name not in named:
            raise UsageError(
                f'there is no context "{name}"',
                place=files,
                remedy=f"Set backend.kubernetes.context to {' or '.join(sorted(named)) or 'one'}",
            )
        with _told() as told:
            load_kube_config(  # type: ignore[no-untyped-call]
                files, context=name, client_configuration=configuration
            )
    except (
        ConfigException,
        yaml.YAMLError,
        OSError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as e:
        raise UsageError(
            f"this kubeconfig cannot be used ({_one_line(e)})",
            place=files,
            remedy="`kubectl config view` shows what kubectl reads; set KUBECONFIG",
        ) from None
    if told:
        raise UsageError(
            f"the credentials of context {name} cannot be had ({_one_line(told[0])})",
            place=files,
            remedy="Log in as you do for kubectl; `kubectl auth whoami` asks the same",
        )
    namespace = wanted.namespace or (named[name].get("context") or {}).get("namespace")
    place = Place(name, str(namespace or _DEFAULT_NAMESPACE))
    return _connection(place, configuration, ApiClient)


def _current(files: str) -> str:
    """The first file that names a context says which is current, as kubectl has it; the official
    client takes the last."""
    import yaml

    for path in filter(None, files.split(os.pathsep)):
        place = Path(path).expanduser()
        found = yaml.safe_load(place.read_text()) if place.is_file() else None
        if found and found.get("current-context"):
            return str(found["current-context"])
    raise ValueError("no current-context")


def _from_account(wanted: Place) -> Connection:
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import ConfigException, load_incluster_config

    configuration = Configuration()
    try:
        load_incluster_config(  # type: ignore[no-untyped-call]
            client_configuration=configuration
        )
    except (ConfigException, OSError) as e:
        raise UsageError(
            f"no cluster is configured: no kubeconfig, and not in a pod ({_one_line(e)})",
            place=os.environ.get("KUBECONFIG") or "~/.kube/config",
            remedy="Set KUBECONFIG to the file that your cluster's administrator gave you",
        ) from None
    try:
        own = (_ACCOUNT / "namespace").read_text().strip()
    except OSError:
        own = ""
    place = Place(IN_CLUSTER, wanted.namespace or own or _DEFAULT_NAMESPACE)
    return _connection(place, configuration, ApiClient)


@contextmanager
def _told() -> Iterator[list[str]]:
    """Errors of the official client: of a program that should give a token it only says so in the
    log, and goes on without one."""
    told: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield told
    finally:
        root.removeHandler(handler)


def _connection(place: Place, configuration: Any, client: type) -> Connection:
    """Raises UsageError for what the client would fail on later, with the token in its message."""
    from urllib3.exceptions import HTTPError

    host, where = str(configuration.host), f"context {place.context}"
    if not _ADDRESS.fullmatch(host):
        raise UsageError(
            f'"{host}" is not the address of a server',
            place=where,
            remedy="Write https://HOST:PORT as server into the kubeconfig",
        )
    if not all(_TOKEN.fullmatch(key) for key in configuration.api_key.values()):
        raise UsageError(
            "its token has a character in it that no token has, such as a line break",
            place=where,
            remedy="Copy it again, or log in as you do for kubectl",
        )
    configuration.retries = False  # api.py has rules of its own
    try:
        return Connection(place, host, client(configuration))
    except (HTTPError, OSError, ValueError) as e:
        raise UsageError(
            f"nothing can be asked of {host} ({_one_line(e)})",
            place=where,
            remedy="Correct its certificates and proxy-url in the kubeconfig, or HTTPS_PROXY",
        ) from None


def _one_line(error: BaseException | str) -> str:
    return " ".join(str(error).split()) or type(error).__name__
