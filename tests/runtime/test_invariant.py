"""The same global batch is the same training, however it is split; and the OD API's own is known.

Batch norm's statistics are fixed: over which images they are taken is another matter (train.norm).
"""

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.runtime.small_pipelines import CONFIGS
from tests.runtime.splits import THRESHOLD

pytestmark = pytest.mark.tensorflow

Runs = Mapping[str, Any]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    out = tmp_path_factory.mktemp("splits") / "splits.npz"
    done = subprocess.run(
        [sys.executable, "-m", "tests.runtime.splits", str(out)],
        cwd=CONFIGS.parent, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(np.load(out))


def apart(a: Any, b: Any) -> float:
    """The relative difference of two gradients of all variables."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("split", ["1x8x4", "2x16x1"])
def test_a_split_gives_the_gradient_of_the_whole(runs: Runs, split: str) -> None:
    """With images of 0 to 60 objects, and whole micro-batches of images without any."""
    assert apart(runs[split], runs["1x32x1"]) < 1e-5
    np.testing.assert_allclose(runs[f"{split} facts"], runs["1x32x1 facts"], rtol=1e-5)


def test_clipping_is_by_the_norm_of_the_whole(runs: Runs) -> None:
    """On 2 replicas x 4 micro-batches, whose own norms are others."""
    clipped, whole = runs["2x4x4 clipped"], runs["1x32x1"]
    norm = np.linalg.norm(whole)
    assert norm > 4 * THRESHOLD
    assert np.linalg.norm(clipped) == pytest.approx(THRESHOLD, rel=1e-5)
    assert apart(clipped * (norm / THRESHOLD), whole) < 1e-5
    np.testing.assert_allclose(runs["2x4x4 clipped facts"], runs["1x32x1 facts"], rtol=1e-5)


def test_one_micro_batch_is_the_step_of_the_od_api(runs: Runs) -> None:
    """Weight decay included, which is large here: it is added once, also in the splits."""
    assert apart(runs["1x32x1"], runs["od_api 32"]) < 1e-5
    assert runs["1x32x1 facts"][2] == pytest.approx(runs["od_api 32 facts"][2], rel=1e-5)


def test_micro_batch_is_the_mean_of_the_od_api_s_steps(runs: Runs) -> None:
    assert apart(runs["1x8x4 micro_batch"], runs["od_api 8"]) < 1e-5
    assert runs["1x8x4 micro_batch facts"][2] == pytest.approx(runs["od_api 8 facts"][2], rel=1e-5)


def test_a_loss_without_divisor_is_summed_over_the_reference_s_images(runs: Runs) -> None:
    """Of 8 images, whatever the batch: the rate grows with the batch by the linear rule, and the
    sum must not do so too."""
    assert apart(runs["1x8x4 summed"], runs["od_api 8 summed"]) < 1e-5
    assert runs["1x8x4 summed facts"][1] == 1
    assert runs["1x8x4 summed facts"][2] == pytest.approx(
        runs["od_api 8 summed facts"][2], rel=1e-5
    )


def test_means_of_quotients_are_another_gradient(runs: Runs) -> None:
    """Why the global batch's matches are the default: 9 % away on these images."""
    assert apart(runs["1x8x4 micro_batch"], runs["1x32x1"]) > 0.05


def test_each_replica_has_its_own_groundtruth_under_synchronised_batch_norm(runs: Runs) -> None:
    """Replicas take turns at each of its layers, and the OD API keeps the groundtruth in the
    model: the first replica trained on the boxes of the second one's images."""
    assert runs["2x16x1 synchronised facts"][1] == runs["1x32x1 facts"][1]


def test_each_replica_has_its_own_anchors_under_synchronised_batch_norm(runs: Runs) -> None:
    """Those of its images' size, where a resizer lets that vary; the model keeps them, too."""
    wide, tall = runs["matches of each"]
    assert 0 < wide != tall > 0
    np.testing.assert_array_equal(runs["matches of wide and tall"], [wide, tall])


def test_the_averages_of_two_replicas_are_one_in_a_checkpoint(runs: Runs) -> None:
    """A weight is the same in both; of a statistic the mean of what both have counts."""
    weight = change = average = seen = counted = 0.0
    for t in (1, 2, 3):
        change = 0.9 * change - 0.5
        weight += change
        counted += (4 + 8) / 2
        rest = 1 - (1 + t) / (10 + t)
        average -= rest * (average - weight)
        seen -= rest * (seen - counted)
    np.testing.assert_allclose(runs["averages"], [average, seen], rtol=1e-5)
