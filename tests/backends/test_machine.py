"""What a machine has, and the texts that say what it lacks."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launcher import backends
from launcher.backends.machine import check_gpus, check_training_extra, this_machine
from launcher.errors import MissingExtraError, UsageError
from launcher.render.local import Machine


def test_gpus_are_counted_by_their_device_files(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert this_machine(tmp_path, {}).gpus == ("0", "2", "10")


@pytest.mark.parametrize(
    ("visible", "gpus"), [("3, 5", ("3", "5")), ("", ()), ("-1", ()), ("GPU-1f", ("GPU-1f",))]
)
def test_visible_gpus_win_over_device_files(
    tmp_path: Path, visible: str, gpus: tuple[str, ...]
) -> None:
    (tmp_path / "nvidia0").touch()
    assert this_machine(tmp_path, {"CUDA_VISIBLE_DEVICES": visible}).gpus == gpus


def plan(workers: int, gpus: int, evaluator: int | None = None) -> Any:
    spec = SimpleNamespace(
        evaluate=SimpleNamespace(gpus=evaluator), place=lambda field: f"d3.yaml:9: {field}"
    )
    return SimpleNamespace(workers=workers, gpus_per_worker=gpus, spec=spec)


def test_more_gpus_than_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        check_gpus(plan(2, 4, 1), Machine("python", 8, ("0", "1")))
    assert str(caught.value) == (
        "d3.yaml:9: cluster.gpus_per_worker: 9 GPUs are asked for (2 x 4 for the workers and 1 "
        "for the evaluator), this machine has 2. Lower it (0 trains on the CPU), or name the GPUs "
        "in CUDA_VISIBLE_DEVICES when they are not /dev/nvidia0, /dev/nvidia1, ..."
    )


def test_evaluator_needs_no_gpu_of_its_own_unless_asked() -> None:
    check_gpus(plan(1, 1), Machine("python", 8, ("0",)))
    check_gpus(plan(1, 0), Machine("python", 8))


def test_missing_training_extra_names_both_commands() -> None:
    with pytest.raises(MissingExtraError) as caught:
        check_training_extra(lambda name: None if name == "tensorflow" else object())
    assert str(caught.value) == (
        "training needs packages that are not installed (tensorflow). "
        "Run `pip install 'launcher[train]'` and `pip install --no-deps "
        "tf-models-research-object-detection==2.8.0.post1 tf-models-official==2.20.0 lvis==0.5.3`"
    )
    assert caught.value.cli_exit == 2


def test_training_extra_that_is_there_is_not_imported() -> None:
    check_training_extra(lambda name: object())


@pytest.mark.parametrize("name", ["local", "ray", "kubernetes"])
def test_backends_by_name(name: str) -> None:
    assert name in backends.names()
    assert backends.get(name).name == name


def test_unknown_backend() -> None:
    with pytest.raises(UsageError, match='"slurm" is not a backend'):
        backends.get("slurm")
