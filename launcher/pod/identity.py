"""This pod, from its environment. The names are in contract.py."""

from collections.abc import Mapping
from dataclasses import dataclass

from launcher.contract import (
    ENV_COMPLETION_INDEX,
    ENV_EXIT_OFFSET,
    ENV_FAILURES,
    ENV_HOSTS,
    ENV_INDEX,
    ENV_MAX_RESTARTS,
    worker_hosts,
)
from launcher.errors import ConfigError


@dataclass(frozen=True)
class Identity:
    """`hosts` are `host:port` of all workers in order; empty for the evaluator."""

    role: str
    index: int = 0
    hosts: tuple[str, ...] = ()
    failures: int | None = None
    """Failures of this worker that the cluster has counted; None: nobody counts them."""
    max_restarts: int | None = None
    exit_offset: int = 0
    """Added to exit codes that ask for another start (a TFJob retries those above 127)."""

    @property
    def who(self) -> str:
        """As in the names of logs: worker-0, evaluator."""
        return f"{self.role}-{self.index}" if self.role == "worker" else self.role

    @property
    def port(self) -> int:
        return int(self.hosts[self.index].rsplit(":", 1)[1])


def read(role: str, workers: int, env: Mapping[str, str]) -> Identity:
    """Raises ConfigError for what the manifest should have said and does not."""
    failures, most = _number(env, ENV_FAILURES), _number(env, ENV_MAX_RESTARTS)
    offset = _number(env, ENV_EXIT_OFFSET) or 0
    if role != "worker":
        return Identity(role, max_restarts=most)
    name = ENV_INDEX if env.get(ENV_INDEX) else ENV_COMPLETION_INDEX
    index = _number(env, name)
    if index is None:
        raise ConfigError("is not set", place=name, remedy="Apply what `launcher render` prints")
    if index >= workers:
        raise ConfigError(f"{index} is not the index of one of {workers} workers", place=name)
    hosts = tuple(worker_hosts(env.get(ENV_HOSTS, ""), workers)) if workers > 1 else ()
    for host in hosts:
        if not host.rpartition(":")[2].isdecimal():
            raise ConfigError(f"{host} has no port", place=ENV_HOSTS)
    return Identity(role, index, hosts, failures, most, offset)


def _number(env: Mapping[str, str], name: str) -> int | None:
    text = env.get(name, "")
    if not text:
        return None
    if not text.isdecimal():
        raise ConfigError(f'"{text}" is not a whole number', place=name)
    return int(text)
