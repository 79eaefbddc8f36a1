"""What a RayJob's manifest becomes on the head node: the folder that the Ray driver expects."""

import json
import subprocess
import sys
from pathlib import Path

import launcher
from launcher.backends.ray.channel import stops
from launcher.backends.status import read_status
from launcher.contract import Reason, RunPaths, State
from launcher.render.kubernetes import objects
from launcher.render.ray import RayJob

ROOT = Path(__file__).resolve().parents[2]
DRIVER = """
import sys
from pathlib import Path
from launcher.pod import driver
driver.DRIVER_MODULE = "json.tool"  # it leaves at once, and without Ray
from launcher.pod.__main__ import main
sys.exit(main(["driver", sys.argv[1]]))
"""


def become(root: Path, plans: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", DRIVER, str(root)],
        cwd=ROOT, env={"LAUNCHER_PLAN_DIR": str(plans), "PATH": "/usr/bin:/bin"}, check=False,
        capture_output=True,
    )  # fmt: skip


def test_the_folder_is_as_a_submit_leaves_it(tmp_path: Path) -> None:
    spec = launcher.load(
        ROOT / "configs" / "efficientdet_d0.yaml",
        [
            f"run_dir={tmp_path}/mnt/runs",
            f"cluster.volumes=[{{name: s, mount_path: {tmp_path}/mnt, claim: c}},"
            " {name: d, mount_path: /data, claim: c, read_only: true}]",
            "backend.kubernetes.kind=rayjob",
        ],
    )
    plan = launcher.plan(spec)
    plans, paths = tmp_path / "plan", RunPaths(plan.root)
    plans.mkdir()
    data = objects(plan)[0]["data"]
    for name, text in data.items():
        (plans / name).write_text(text)
    become(plan.root, plans)
    job = RayJob.read(paths.root / "ray.json")
    assert (job.name, job.submission, job.workers) == ("d0-coco", "d0-coco", 2)
    assert stops(paths.root, job.submission) == 0, "nobody has asked it to stop"
    status = read_status(paths.root)
    assert status is not None
    assert (status.state, status.reason, status.attempt) == (State.PENDING, Reason.SUBMITTED, 0)
    assert status.total_steps == 300_000
    assert paths.plan.read_text() == data["plan.json"]

    paths.status.write_text(json.dumps({**json.loads(paths.status.read_text()), "step": 70}))
    (paths.logs(4)).mkdir(parents=True)
    paths.given_up.parent.mkdir(exist_ok=True)
    paths.given_up.write_text("{}")
    become(plan.root, plans)
    assert not paths.given_up.exists(), "pods had given up an earlier one"
    status = read_status(paths.root)
    assert status is not None
    assert (status.attempt, status.step, status.backend) == (5, 70, "kubernetes")
