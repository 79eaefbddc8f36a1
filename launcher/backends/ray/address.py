"""Which cluster a run goes to: --address, the spec, RAY_ADDRESS, or one that is started for it."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from launcher.backends.ray.rest import LOOPBACK
from launcher.errors import UsageError
from launcher.spec import JobSpec

ENV = "RAY_ADDRESS"
_OVERRIDING = (ENV, "RAY_API_SERVER_ADDRESS", "RAY_JOB_HEADERS")
_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
_DASHBOARD_PORT = 8265
_FIELD = "backend.ray.address"


@dataclass(frozen=True)
class Chosen:
    url: str | None
    """None: a Ray of the run's own."""
    source: str
    conflicts: tuple[str, ...] = ()
    """What names another cluster, and is not followed."""

    def __str__(self) -> str:
        if self.url is None:
            return "no address is given: a Ray of this machine is started for the run"
        return f"using the Ray cluster at {self.url} (from {self.source})"


def choose(spec: JobSpec, env: Mapping[str, str] = os.environ) -> Chosen:
    """`--address` has become the spec's address. Raises UsageError for one that is no address."""
    asked, environment = spec.backend.ray.address, env.get(ENV, "").strip()
    place = spec.place(_FIELD)
    if asked is not None:
        source = "--address" if place.startswith("--set") else place or _FIELD
        url = normal(asked, source)
        others = {ENV: environment}
        if in_file := spec.origin.replaced.get(_FIELD):
            others = {spec.origin.place_in_file(_FIELD): str(in_file), **others}
        return Chosen(
            url,
            source,
            tuple(
                f"{other} says {said}, which is not followed: {source} wins"
                for other, said in others.items()
                if said and not _means(said, url)
            ),
        )
    if environment and environment != "local":
        return Chosen(normal(environment, f"environment variable {ENV}"), ENV)
    return Chosen(None, "")


def _means(said: str, url: str) -> bool:
    """Whether a text is another way to write `url`. It need not be an address at all: what is not
    followed is no mistake."""
    try:
        return normal(said, "") == url
    except UsageError:
        return False


def normal(address: str, place: str) -> str:
    """`http://host:port`. Raises UsageError."""
    found = re.fullmatch(r"(?:(https?)://)?(\[[0-9a-fA-F:]+\]|[^\s:/@]+)(?::(\d{1,5}))?/?", address)
    if found is None or address == "auto" or (found[3] and int(found[3]) > 65535):
        what = f"{address!r} is not the address of a Ray dashboard"
        raise UsageError(what, place=place, remedy="Write it as http://HOST:8265")
    scheme = found[1] or "http"
    port = found[3] or ("443" if scheme == "https" else str(_DASHBOARD_PORT))
    return f"{scheme}://{found[2]}:{port}"


@contextmanager
def clean_environment(url: str = "") -> Iterator[None]:
    """Without the variables that would silently replace an address given to Ray (ray#36064), or
    send what is for this machine to a proxy."""
    kept = {name: os.environ.pop(name) for name in _OVERRIDING if name in os.environ}
    if urlsplit(url).hostname in LOOPBACK:
        kept |= {name: os.environ.pop(name) for name in _PROXIES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
