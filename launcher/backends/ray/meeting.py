"""How the workers of a group find each other: TF_CONFIG, from the addresses that Ray gives them.

The same as ray.train.tensorflow.TensorflowConfig, in a module that does not import TensorFlow:
Ray's does, and with it every actor of Ray Train would, in a process full of Ray's own threads. That
took 5 s of a core each, and ended one of them with "Mutex corrupt" (ray 2.60, tensorflow 2.21). The
workers need TensorFlow in their own processes only.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.util import TrainingFramework

from launcher.contract import ENV_TF_CONFIG, tf_config


class Meeting(Backend):
    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        hosts = worker_group.execute(_host)
        told = [
            worker_group.execute_single_async(i, _set_cluster, hosts, i) for i in range(len(hosts))
        ]
        ray.get(told)


@dataclass
class MeetingConfig(BackendConfig):
    @property
    def backend_cls(self) -> type[Backend]:
        return Meeting

    @property
    def framework(self) -> TrainingFramework:
        return TrainingFramework.TENSORFLOW

    def to_dict(self) -> dict[str, Any]:
        """For Ray's dashboard."""
        return {}


def _host() -> str:
    address, port = get_address_and_port()
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


def _set_cluster(hosts: Sequence[str], index: int) -> None:
    os.environ[ENV_TF_CONFIG] = tf_config(hosts, index)
