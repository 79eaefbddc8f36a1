"""`python -m tests.render.golden` renews the golden files, whole objects of the fullest spec."""

from pathlib import Path

from launcher.render.kubernetes import KINDS, Kind, objects
from launcher.render.kubernetes.output import comments, to_yaml
from tests.render import kube

FOLDER = Path(__file__).parent / "golden"


def text(kind: Kind) -> str:
    """Without the ConfigMap's data and its hash: they are the plan's, and tested elsewhere."""
    plan = kube.plan_of(*kube.FULL)
    made = objects(plan, kind)
    made[0]["data"] = dict.fromkeys(made[0]["data"], "...")
    for pod in kube.pods(made):
        pod["metadata"]["annotations"]["launcher/plan-sha256"] = "..."
    return to_yaml(made, comments(plan, f"launcher render full.yaml --kind {kind}"))


if __name__ == "__main__":
    for each in KINDS:
        (FOLDER / f"{each}.yaml").write_text(text(each))
