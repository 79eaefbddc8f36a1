"""Normalization of whole models: what every layer sees on two replicas, and in which passes."""

import subprocess
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.norm_runs import names_of
from tests.runtime.small_pipelines import CONFIGS

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(900)]

OF_BACKBONE, OF_BIFPN_AND_HEADS = 48, 60
"""Layers of EfficientDet-D0; the backbone's last one is made, and no detector runs it."""

TOLERANCE = 5e-4
"""Of a layer's largest value: over 100 layers, sums of two halves against sums of the whole."""


def written(what: str, folder: Path) -> Mapping[str, Any]:
    out = folder / f"{what}.npz"
    done = subprocess.run(
        [sys.executable, "-m", "tests.runtime.norm_runs", what, str(out)],
        cwd=CONFIGS.parent, capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(np.load(out))


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    return written("moments", tmp_path_factory.mktemp("moments"))


def used(moments: Mapping[str, Any]) -> list[str]:
    return [name for name in names_of(moments, "whole") if not name.startswith("top_bn")]


def test_every_layer_sees_the_images_of_all_replicas(moments: Mapping[str, Any]) -> None:
    """The backbone's layers too, which the OD API synchronises on TPUs only."""
    names = used(moments)
    of_backbone = [name for name in names if name.startswith(("stack", "stem"))]
    assert len(of_backbone) == OF_BACKBONE
    assert len(names) == OF_BACKBONE + OF_BIFPN_AND_HEADS
    for name in names:
        for what in ("mean", "variance"):
            both = moments[f"synchronised {name} {what}"]
            whole = moments[f"whole {name} {what}"][0]
            assert both.shape[0] == 2
            np.testing.assert_array_equal(both[0], both[1], err_msg=name)
            scale = np.abs(whole).max() + 1e-6
            np.testing.assert_allclose(both[0] / scale, whole / scale, atol=TOLERANCE, err_msg=name)


def test_the_images_of_one_replica_alone_are_others(moments: Mapping[str, Any]) -> None:
    """So the test above compares something in every layer."""
    for name in used(moments):
        half, whole = (moments[f"{kind} {name} variance"][0] for kind in ("half", "whole"))
        assert np.abs(half - whole).max() > 2 * TOLERANCE * np.abs(whole).max(), name


def test_synchronised_moments_give_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    """Through the moments, and through the averages that two kinds have of them; images of several
    sizes count by their pixels."""
    found = written("gradients", tmp_path)
    for kind in ("batch", "renorm", "moving"):
        for i in range(3):
            whole, both, halves = (
                found[f"{kind} {name}"][i] for name in ("whole", "both", "halves")
            )
            assert np.linalg.norm(both - whole) / np.linalg.norm(whole) < 1e-5, (kind, i)
            assert np.linalg.norm(halves - whole) / np.linalg.norm(whole) > 1e-2, (kind, i)
            whole, both = (found[f"{kind} uneven {name}"][i] for name in ("whole", "both"))
            assert np.linalg.norm(both - whole) / np.linalg.norm(whole) < 1e-5, (kind, i)


@pytest.mark.slow
def test_a_loop_over_micro_batches_is_one_pass_over_groups(tmp_path: Path) -> None:
    """So that a result of either counts for both (bench/small_batch.py trains in one pass); and so
    is the loop of two replicas whose moments are shared."""
    found = written("passes", tmp_path)
    for kind in ("batch", "renorm", "moving"):
        once = found[f"{kind} pass"]
        for other in ("loop", "both"):
            away = np.linalg.norm(found[f"{kind} {other}"] - once) / np.linalg.norm(once)
            assert away < 5e-5, (kind, other)
        for other, what in product(("loop", "both"), ("statistics", "averages")):
            np.testing.assert_allclose(
                found[f"{kind} {other} {what}"],
                found[f"{kind} pass {what}"],
                rtol=1e-4,
                atol=1e-4,
            )
    apart = found["batch apart"] - found["batch pass"]
    assert np.linalg.norm(apart) > 1e-2 * np.linalg.norm(found["batch pass"])
    kinds = [found[f"{kind} pass"] for kind in ("batch", "renorm", "moving")]
    assert np.linalg.norm(kinds[0] - kinds[1]) > 1e-2 * np.linalg.norm(kinds[0])
    assert np.linalg.norm(kinds[0] - kinds[2]) > 1e-2 * np.linalg.norm(kinds[0])
