"""All workers find each other before TensorFlow starts, within a bound.

TensorFlow waits for a peer that never comes without a word about which, and takes one with another
plan for its own. So each worker listens on the port that TensorFlow will use:

1. worker 0 writes a token into the run's folder; each other worker asks worker 0 who it is, and
   looks for the token: the names resolve, the port is open, plan and version are the same, and
   the folder is;
2. worker 0 asks each other worker, until all of them have come so far;
3. worker 0 tells them to go, and all give their ports to TensorFlow.

A pod that is not there yet, because it waits for its node, a quota or its image, is waited for as
long as that takes: its name does not resolve, or nothing listens there. To leave and to be started
again would bring it no sooner, and would count as a failure of this worker. Whoever is there and
does not take part (a port that is closed between nodes, a stranger on it, a folder that is not
shared) is named after a bound, and the worker leaves with 75.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from launcher.contract import RunPaths
from launcher.errors import ConfigError, PeerLostError
from launcher.pod import folder, greeting
from launcher.pod.greeting import Greeting, Listener
from launcher.pod.identity import Identity
from launcher.storage import write_json

ENV_SECONDS = "LAUNCHER_MEETING_SECONDS"
SECONDS = 900.0
"""How long a worker waits for others that are there and do not take part."""
_PAUSE_SECONDS = 1.0
_TOLD_SECONDS = 30.0
_STORAGE_SECONDS = 90.0
"""NFS may show a new file to another node after its attribute cache's 60 s."""
_THREADS = 32


def meet(
    paths: RunPaths, me: Identity, plan: str, version: str, say: Callable[[str], None]
) -> None:
    """Returns when every worker is there and TensorFlow may take the port.

    Raises PeerLostError naming who is missing and why, ConfigError for another plan or version,
    StorageError when the folder is not shared.
    """
    seconds = float(os.environ.get(ENV_SECONDS) or SECONDS)
    own = _Own(Greeting(me.index, plan, version))
    try:
        listener = Listener(me.port, lambda: own.said)
    except OSError as e:
        raise PeerLostError(
            f"port {me.port} cannot be listened on ({e.strerror})",
            remedy="Choose another with backend.kubernetes.port",
        ) from e
    try:
        if me.index == 0:
            own.said = Greeting(0, plan, version, ready=True, token=_leave_token(paths))
            others = dict(enumerate(me.hosts))
            del others[0]
            _reach(others, own.said, seconds, say)
            _send_off(others)
        else:
            (first,) = _reach({0: me.hosts[0]}, own.said, seconds, say)
            folder.await_token(paths, first.token, _STORAGE_SECONDS)
            own.said = Greeting(me.index, plan, version, ready=True)
            _await_word(listener, me, own.said, seconds, say)
    finally:
        listener.close()


class _Own:
    """What the listener says now."""

    def __init__(self, said: Greeting) -> None:
        self.said = said


def _leave_token(paths: RunPaths) -> str:
    token = secrets.token_hex(16)
    write_json(paths.meeting, {"token": token, "time": time.time()})
    return token


def _reach(
    hosts: dict[int, str], own: Greeting, seconds: float, say: Callable[[str], None]
) -> list[Greeting]:
    """Ask until all have answered that they are ready. Raises as `meet`."""
    began = told = time.monotonic()
    patience = _Patience(seconds)
    missing: dict[int, str] = dict.fromkeys(hosts, "was not asked yet")
    found: dict[int, Greeting] = {}
    with ThreadPoolExecutor(min(_THREADS, len(hosts))) as pool:
        while True:
            asked, coming = list(missing), False
            for index, answer in zip(
                asked, pool.map(lambda i: _ask(i, hosts[i], own), asked), strict=True
            ):
                if isinstance(answer, Greeting):
                    found[index] = answer
                    del missing[index]
                else:
                    missing[index] = answer.why
                    coming = coming or answer.coming
            if not missing:
                return [found[index] for index in hosts]
            if patience.ends(coming):
                raise PeerLostError(
                    f"{_list(missing, hosts)}, for {seconds:.0f} s",
                    place=f"worker {own.index}",
                    remedy="See what its pod does (`kubectl logs`), and whether a NetworkPolicy or "
                    "a firewall closes the port between nodes",
                )
            now = time.monotonic()
            if now - told > _TOLD_SECONDS:
                say(f"waiting for the others, {now - began:.0f} s: {_list(missing, hosts)}")
                told = now
            time.sleep(_PAUSE_SECONDS)


class _Patience:
    """A bound that does not run down while somebody is still to come."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since = time.monotonic()

    def ends(self, coming: bool) -> bool:
        now = time.monotonic()
        if coming:
            self._since = now
        return now - self._since > self._seconds


@dataclass(frozen=True)
class _Absent:
    """Why there is no answer that will do. coming: there is no process yet that could give one."""

    why: str
    coming: bool = False


def _ask(index: int, host: str, own: Greeting) -> Greeting | _Absent:
    """The answer, or why there is none yet. Raises ConfigError when it can never be one."""
    try:
        answer = greeting.ask(host)
    except socket.gaierror:
        return _Absent("does not resolve", coming=True)
    except (OSError, ValueError) as e:
        text = getattr(e, "strerror", None) or str(e) or type(e).__name__
        return _Absent(f"does not answer ({text})", coming=isinstance(e, ConnectionRefusedError))
    if answer.index != index:
        return _Absent(f"answers as worker {answer.index}")
    if answer.version != own.version:
        raise ConfigError(
            f"worker {index} has launcher {answer.version}, worker {own.index} has {own.version}",
            place=host,
            remedy="Run all pods from one image, named by its digest",
        )
    if answer.plan != own.plan:
        raise ConfigError(
            f"worker {index} has plan {answer.plan[:12]}, worker {own.index} has {own.plan[:12]}",
            place=host,
            remedy="Delete the run's objects and apply all of them again",
        )
    return answer if answer.ready else _Absent("is there, and has not reached worker 0 yet")


def _send_off(hosts: dict[int, str]) -> None:
    with ThreadPoolExecutor(min(_THREADS, len(hosts))) as pool:
        try:
            list(pool.map(lambda host: greeting.ask(host, "go"), hosts.values()))
        except (OSError, ValueError) as e:
            raise PeerLostError(f"a worker left while the group met ({e})") from e


def _await_word(
    listener: Listener, me: Identity, own: Greeting, seconds: float, say: Callable[[str], None]
) -> None:
    """For as long as worker 0 is there and waits too, or is about to be started again."""
    began, patience = time.monotonic(), _Patience(seconds)
    while not listener.released.wait(_TOLD_SECONDS):
        first = _ask(0, me.hosts[0], own)
        why = "it waits for another worker" if isinstance(first, Greeting) else f"it {first.why}"
        if patience.ends(isinstance(first, Greeting) or first.coming):
            raise PeerLostError(
                f"worker 0 ({me.hosts[0]}) did not say go, and gives no answer for {seconds:.0f} s",
                place=f"worker {me.index}",
                remedy="Its log says what it does",
            )
        say(f"waiting for worker 0, {time.monotonic() - began:.0f} s: {why}")


def _list(missing: dict[int, str], hosts: dict[int, str]) -> str:
    named = [f"worker {i} ({hosts[i]}) {why}" for i, why in sorted(missing.items())[:3]]
    more = len(missing) - len(named)
    return "; ".join(named) + (f"; and {more} more" if more else "")
