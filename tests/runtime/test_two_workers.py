"""Two processes give the update of one: the all-reduce, the moments and what is saved of them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from launcher.backends.processes import free_hosts
from launcher.contract import ENV_PARENT_PID, ENV_TF_CONFIG, tf_config
from tests.runtime.small_pipelines import CONFIGS
from tests.runtime.test_invariant import apart
from tests.runtime.two_workers import WHOLE

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow, pytest.mark.timeout(900)]

Found = Mapping[str, Any]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Found]:
    """Of the one process and of both workers."""
    folder = tmp_path_factory.mktemp("workers")
    hosts = free_hosts(2)
    base = {k: v for k, v in os.environ.items() if k != ENV_TF_CONFIG}
    base |= {"TF_CPP_MIN_LOG_LEVEL": "2", ENV_PARENT_PID: str(os.getpid())}
    for together in ([base], [base | {ENV_TF_CONFIG: tf_config(hosts, i)} for i in (0, 1)]):
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.runtime.two_workers", str(folder)],
                cwd=CONFIGS.parent, env=env, stderr=subprocess.PIPE, text=True,
            )
            for env in together
        ]  # fmt: skip
        try:
            for process in processes:
                _, errors = process.communicate(timeout=400)
                assert process.returncode == 0, errors[-2000:]
        finally:
            for process in processes:
                process.kill()
    names = (WHOLE, "worker-0", "worker-1")
    return {name: dict(np.load(folder / f"{name}.npz")) for name in names}


@pytest.mark.parametrize("run", ["held", "held, accumulated"])
def test_two_workers_give_the_update_of_one(found: Mapping[str, Found], run: str) -> None:
    """With statistics held still. Worker 1 has few objects, so a mean of both would be another."""
    whole, first, second = found.values()
    np.testing.assert_array_equal(first[run], second[run])
    assert apart(first[run], whole["held"]) < 1e-5
    np.testing.assert_allclose(first[f"{run} facts"], whole["held facts"], rtol=1e-5)


def test_moments_of_both_workers_are_those_of_one(found: Mapping[str, Found]) -> None:
    whole, first, second = found.values()
    np.testing.assert_array_equal(first["state"], second["state"])
    assert apart(first["state"], whole["state"]) < 1e-4
    # From layer to layer the moments enlarge what was rounded: 0.4 % (apart: 125 %).
    assert apart(first["moving"], whole["moving"]) < 0.02


def test_averages_of_the_moments_come_back_from_a_checkpoint(found: Mapping[str, Found]) -> None:
    for of_one in found.values():
        assert not of_one["lost"].any()
        assert of_one["state"].any()
        np.testing.assert_array_equal(of_one["restored"], of_one["state"])
