"""Threads, GPUs and the distribution strategy of this process."""

import ctypes
import json
import os

import tensorflow as tf

from launcher.contract import ENV_CPU_THREADS, ENV_TF_CONFIG
from launcher.errors import ConfigError
from launcher.runtime import coordination
from launcher.runtime.loopback import keep_to_loopback
from launcher.worker_config import WorkerConfig

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_KEPT_BYTES = (1 << 31) - 1  # mallopt takes an int


def cpu_threads() -> int:
    """This process's share of the cores: workers of one machine that each take all of them
    slow each other down (145 ms a step instead of 97 with two workers on two cores)."""
    text = os.environ.get(ENV_CPU_THREADS, "")
    if not text:
        return os.cpu_count() or 1
    if not text.isdigit() or int(text) == 0:
        raise ConfigError(f"not a number of threads: {text}", place=ENV_CPU_THREADS)
    return int(text)


def limit_threads(threads: int) -> None:
    """Must run before TensorFlow starts its devices."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))


def keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next step, instead of giving it to the system.

    TensorFlow 2.21's distributed iterators set M_TRIM_THRESHOLD to 128 kB (its log: "Memory patch
    applied"): every step then faults in all of its memory again. Call it after the first step,
    when the iterators are made. Without glibc it does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_MMAP_MAX, 0)  # blocks over 32 MB would be mapped, and faulted in, anew each time


def accelerators() -> list[str]:
    """What TensorFlow calls the GPUs that this process has: `NVIDIA A100-SXM4-40GB`."""
    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return [str(of_one.get("device_name", "GPU")) for of_one in details]


def make_strategy(config: WorkerConfig) -> tf.distribute.Strategy:
    """One device, all GPUs of this process, or all processes of TF_CONFIG, as the plan says.

    Raises ConfigError when the devices or the cluster are not those of the plan.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if config.gpus_per_worker and len(gpus) != config.gpus_per_worker:
        raise ConfigError(
            f"{len(gpus)} GPUs are visible to TensorFlow, the plan has {config.gpus_per_worker}",
            place="cluster.gpus_per_worker",
            remedy="Set it to what each worker has (0 trains on the CPU)",
        )
    workers = _workers_of_tf_config()
    if workers != config.workers:
        raise ConfigError(
            f"{ENV_TF_CONFIG} lists {workers} workers, the plan has {config.workers}",
            place=ENV_TF_CONFIG,
            remedy="Start the workers with the plan's own cluster description",
        )
    if workers > 1:
        coordination.configure(workers)
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        keep_to_loopback()
        return strategy
    if config.replicas > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")


def _workers_of_tf_config() -> int:
    text = os.environ.get(ENV_TF_CONFIG)
    if not text:
        return 1
    try:
        return len(json.loads(text)["cluster"]["worker"])
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"not a cluster description: {text}", place=ENV_TF_CONFIG) from None
