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

from launcher.backends.ray.channel import Channel, mapping
from launcher.errors import ConfigError, DataError, LauncherError
from launcher.render import ray as render
from launcher.storage import write_json

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
    channel: Channel, attempt: int, token: str, worker: int, workers: int, node: str
) -> None:
    """Raises ConfigError naming the node that sees another folder."""
    if not _appears(channel.token(attempt, _DRIVER), token, SEE_SECONDS):
        raise _not_shared(channel.root, f"{node} does not see what the driver has written there")
    own = channel.token(attempt, f"worker-{worker}")
    try:
        write_json(own, {"token": token, "node": node})
    except LauncherError as e:
        raise ConfigError(
            f"{node} cannot write there ({e.problems[0].what})",
            place=str(channel.root),
            remedy="Mount run_dir for writing on all nodes",
        ) from e
    for other in range(workers):
        if not _appears(channel.token(attempt, f"worker-{other}"), token, _OTHERS_SECONDS):
            what = f"{node} does not see what worker-{other} has written there"
            raise _not_shared(channel.root, what)


def check_data(sizes: Mapping[str, int], node: str) -> None:
    """Raises DataError for the first file that is missing here or of another size."""
    for path, size in sizes.items():
        try:
            found = Path(path).stat().st_size
        except OSError as e:
            raise DataError(
                f"{node} cannot read it ({e.strerror})", place=path, remedy=_SHARE
            ) from None
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
    """Of all files that a run reads. Raises DataError, which names the node."""
    from launcher.records.files import expand

    try:
        return {str(path): path.stat().st_size for path in expand(patterns)}
    except DataError as e:
        first = e.problems[0]
        what = f"{node} does not see the data: {first.what}"
        raise DataError(what, place=first.place, remedy=_SHARE) from None
    except OSError as e:
        what = f"{node} cannot read it ({e.strerror})"
        raise DataError(what, place=str(e.filename), remedy=_SHARE) from None


def only(sizes: Mapping[str, int], patterns: Sequence[str]) -> dict[str, int]:
    """Those that the patterns name."""
    return {
        path: size
        for path, size in sizes.items()
        if any(path == pattern or fnmatchcase(path, pattern) for pattern in patterns)
    }


def check_there(root: Path, submission: str, what: str) -> None:
    """By a job's own process: raises ConfigError when its node does not see the run's folder."""
    try:
        found = (root / render.JOB_FILE).exists()
    except OSError:  # no right to look
        found = False
    if not found:
        seen = f"{this_node()}, where Ray runs {submission}, does not see {what}"
        raise _not_shared(root, seen)


def this_node() -> str:
    """For a message. Connects to Ray, which knows nodes by their addresses."""
    import ray

    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    ip = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
    return f"node {ip} ({ray.get_runtime_context().get_node_id()[:8]})"


def _appears(path: Path, token: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while mapping(path).get("token") != token:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _not_shared(root: Path, what: str) -> ConfigError:
    return ConfigError(
        f"run_dir is not the same place for all nodes: {what}",
        place=str(root),
        remedy="Use a folder that all nodes share, as on a network file system",
    )
