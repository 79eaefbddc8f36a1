"""Before training: all nodes see the same run folder and the same data, or one is named.

Runs in each worker. The driver has written a token of this attempt; a node that does not see it
has another folder under the same path. Driver and evaluator look for the folder itself.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from launcher.backends.ray.channel import Channel
from launcher.errors import ConfigError, DataError, StorageError
from launcher.render import ray as render
from launcher.storage import FULL, is_passing, passing, read_json, tried_again, write_json

SEE_SECONDS = 15.0
"""For a network file system to show a new file."""
_OTHERS_SECONDS = 2 * SEE_SECONDS
"""A node with another folder says so itself before the others miss its token."""
_POLL_SECONDS = 0.1
_DRIVER = "driver"


def offer(channel: Channel, attempt: int, token: str) -> None:
    """By the driver."""
    write_json(channel.token(attempt, _DRIVER), {"token": token})


def check_folder(
    channel: Channel,
    attempt: int,
    token: str,
    worker: int,
    workers: int,
    node: str,
    *,
    seen: bool = False,
) -> None:
    """Raises ConfigError naming the node that sees another folder, StorageError where its disk is
    full, does not answer, or fails a node that has `seen` this folder in an earlier attempt."""
    _await(channel, attempt, _DRIVER, token, SEE_SECONDS, node, seen)
    own = channel.token(attempt, f"worker-{worker}")
    try:
        write_json(own, {"token": token, "node": node})
    except StorageError as e:
        what = f"{node} cannot write there ({e.problems[0].what})"
        if seen or _may_pass(e):
            raise _trouble(channel.root, what) from e
        raise ConfigError(
            what, place=str(channel.root), remedy="Mount run_dir for writing on all nodes"
        ) from e
    for other in range(workers):
        _await(channel, attempt, f"worker-{other}", token, _OTHERS_SECONDS, node, seen)


def check_data(sizes: Mapping[str, int], node: str) -> None:
    """Raises DataError for the first file that is missing here or of another size, StorageError
    where the disk does not say."""
    for path, size in sizes.items():
        found = _size(Path(path), node)
        if found != size:
            what = f"{node} has {found:,} bytes of it, the driver's node {size:,}"
            raise DataError(what, place=path, remedy=_SHARE)


_SHARE = "Put the data where all nodes see the same, as on a network file system"


def train_files(effective: Any) -> list[str]:
    """Paths and patterns of what the workers of a pipeline.config read."""
    reader = effective.train_input_reader
    return [*reader.tf_record_input_reader.input_path, reader.label_map_path]


def val_files(effective: Any) -> list[str]:
    """Of what its evaluator reads."""
    readers = effective.eval_input_reader[:1]
    found = [[*r.tf_record_input_reader.input_path, r.label_map_path] for r in readers]
    return [path for paths in found for path in paths if path]


def data_sizes(patterns: Sequence[str], node: str) -> dict[str, int]:
    """Of all files that a run reads. Raises DataError or StorageError, which name the node."""
    from launcher.records.files import expand

    try:
        files = expand(patterns)
    except DataError as e:
        first = e.problems[0]
        what = f"{node} does not see the data: {first.what}"
        raise DataError(what, place=first.place, remedy=_SHARE) from None
    except StorageError as e:
        first = e.problems[0]
        raise _trouble(first.place, f"{node} {first.what}") from e
    return {str(path): _size(path, node) for path in files}


def _size(path: Path, node: str) -> int:
    from launcher.records.framing import read_error

    try:
        return tried_again(lambda: path.stat().st_size)
    except OSError as e:
        what = f"{node} cannot read it ({e.strerror})"
        if isinstance(read_error(e, path), StorageError):
            raise _trouble(path, what) from e
        raise DataError(what, place=str(path), remedy=_SHARE) from None


def only(sizes: Mapping[str, int], patterns: Sequence[str]) -> dict[str, int]:
    """Those that the patterns name."""
    return {
        path: size
        for path, size in sizes.items()
        if any(path == pattern or fnmatchcase(path, pattern) for pattern in patterns)
    }


def check_there(root: Path, submission: str, what: str) -> None:
    """By a job's own process: raises ConfigError when its node does not see the run's folder,
    StorageError when its disk does not answer."""
    who = f"where Ray runs {submission}"
    try:
        found = tried_again((root / render.JOB_FILE).exists)
    except OSError as e:
        if passing(e):
            raise _trouble(root, f"{this_node()}, {who}, cannot look ({e.strerror})") from e
        found = False  # no right to look
    if not found:
        raise _not_shared(root, f"{this_node()}, {who}, does not see {what}")


def this_node() -> str:
    """For a message. Connects to Ray, which knows nodes by their addresses."""
    import ray

    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    ip = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
    return f"node {ip} ({ray.get_runtime_context().get_node_id()[:8]})"


def _await(
    channel: Channel, attempt: int, who: str, token: str, seconds: float, node: str, seen: bool
) -> None:
    """Until the token of `who` is there. Raises ConfigError or StorageError."""
    path = channel.token(attempt, who)
    deadline = time.monotonic() + seconds
    while True:
        trouble = None
        try:
            found = read_json(path)
        except StorageError as e:
            found, trouble = None, e
        if isinstance(found, dict) and found.get("token") == token:
            return
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
    name = "the driver" if who == _DRIVER else who
    what = f"{node} does not see what {name} has written there"
    if trouble and is_passing(trouble):
        raise _trouble(channel.root, f"{what} ({trouble.problems[0].what})") from trouble
    if seen:
        raise _trouble(channel.root, f"{what}, as it did in an earlier attempt")
    raise _not_shared(channel.root, what)


def _may_pass(error: StorageError) -> bool:
    """Whether this disk may be written a while later: it is full, or does not answer."""
    cause = error.__cause__
    return is_passing(error) or (isinstance(cause, OSError) and cause.errno in FULL)


def _trouble(place: Path | str, what: str) -> StorageError:
    remedy = "See whether this storage answers there and has room"
    return StorageError(what, place=str(place), remedy=remedy)


def _not_shared(root: Path, what: str) -> ConfigError:
    return ConfigError(
        f"run_dir is not the same place for all nodes: {what}",
        place=str(root),
        remedy="Use a folder that all nodes share, as on a network file system",
    )
