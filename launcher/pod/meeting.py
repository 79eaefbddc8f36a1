"""All workers find each other before TensorFlow starts, within a bound.

TensorFlow waits for a peer that never comes without a word about which, and takes one with another
plan for its own. So each worker listens on the port that TensorFlow will use:

1. worker 0 writes a token into the run's folder; each other worker asks worker 0 who it is, and
   looks for the token: the names resolve, the port is open, plan and version are the same, and
   the folder is;
2. worker 0 asks each other worker, until all of them have come so far;
3. worker 0 tells them to go, and all give their ports to TensorFlow.

What does not come within the bound is named, and the worker leaves with 75: the names of pods that
start again may take half a minute to resolve, and pods may wait for their nodes much longer, but
each start of a pod is cheap, while a group that waits for one holds its GPUs.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from launcher.contract import RunPaths
from launcher.errors import ConfigError, PeerLostError
from launcher.pod import folder, greeting
from launcher.pod.greeting import Greeting, Listener
from launcher.pod.identity import Identity
from launcher.storage import write_json

ENV_SECONDS = "LAUNCHER_MEETING_SECONDS"
SECONDS = 900.0
"""How long a worker waits for the others: a large image is pulled in ten minutes, and a Job lets an
index that has failed often wait as long before it starts it again."""
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
            _await_word(listener, me, seconds, say)
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
    began, told = time.monotonic(), time.monotonic()
    missing: dict[int, str] = dict.fromkeys(hosts, "was not asked yet")
    found: dict[int, Greeting] = {}
    with ThreadPoolExecutor(min(_THREADS, len(hosts))) as pool:
        while True:
            asked = list(missing)
            for index, (answer, why) in zip(
                asked, pool.map(lambda i: _ask(i, hosts[i], own), asked), strict=True
            ):
                if answer is None:
                    missing[index] = why
                else:
                    found[index] = answer
                    del missing[index]
            if not missing:
                return [found[index] for index in hosts]
            now = time.monotonic()
            if now - began > seconds:
                raise PeerLostError(
                    f"{_list(missing, hosts)}, after {seconds:.0f} s",
                    place=f"worker {own.index}",
                    remedy="See why its pod does not run: `kubectl get pods`, `kubectl describe`",
                )
            if now - told > _TOLD_SECONDS:
                say(f"waiting for the others: {_list(missing, hosts)}")
                told = now
            time.sleep(_PAUSE_SECONDS)


def _ask(index: int, host: str, own: Greeting) -> tuple[Greeting | None, str]:
    """The answer, or why there is none yet. Raises ConfigError when it can never be one."""
    try:
        answer = greeting.ask(host)
    except socket.gaierror:
        return None, "does not resolve"
    except (OSError, ValueError) as e:
        text = getattr(e, "strerror", None) or str(e) or type(e).__name__
        return None, f"does not answer ({text})"
    if answer.index != index:
        return None, f"answers as worker {answer.index}"
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
    return (answer, "") if answer.ready else (None, "is there, and has not reached worker 0 yet")


def _send_off(hosts: dict[int, str]) -> None:
    with ThreadPoolExecutor(min(_THREADS, len(hosts))) as pool:
        try:
            list(pool.map(lambda host: greeting.ask(host, "go"), hosts.values()))
        except (OSError, ValueError) as e:
            raise PeerLostError(f"a worker left while the group met ({e})") from e


def _await_word(
    listener: Listener, me: Identity, seconds: float, say: Callable[[str], None]
) -> None:
    began = time.monotonic()
    while not listener.released.wait(_TOLD_SECONDS):
        waited = time.monotonic() - began
        if waited > seconds:
            raise PeerLostError(
                f"worker 0 ({me.hosts[0]}) did not say go after {waited:.0f} s: it waits for "
                "another worker",
                place=f"worker {me.index}",
                remedy="Its log names the one that is missing",
            )
        say("waiting for worker 0, which waits for another worker")


def _list(missing: dict[int, str], hosts: dict[int, str]) -> str:
    named = [f"worker {i} ({hosts[i]}) {why}" for i, why in sorted(missing.items())[:3]]
    more = len(missing) - len(named)
    return "; ".join(named) + (f"; and {more} more" if more else "")
