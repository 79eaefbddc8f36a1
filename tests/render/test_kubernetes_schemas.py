"""Every object is one that the API server's own schema takes, unknown fields refused."""

from pathlib import Path

import pytest

from launcher.render.kubernetes import KINDS, Kind, objects
from tests.render import kube

SPECS = {
    "least": ("cluster.workers=1", "cluster.gpus_per_worker=0", "evaluate.gpus=0"),
    "plain": (),
    "full": kube.FULL,
    "a GPU for the evaluator alone": ("cluster.gpus_per_worker=0", "evaluate.gpus=1"),
}


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_object_fits_its_schema(kind: Kind, spec: str, shared: Path) -> None:
    for found in objects(kube.plan_of(*SPECS[spec]), kind):
        kube.validate(found, shared / "crds")


def test_the_schemas_refuse_what_they_should(shared: Path) -> None:
    """Else the test above says nothing."""
    import jsonschema

    for kind in KINDS:
        found = objects(kube.plan_of(), kind)
        for pod in kube.pods(found):
            pod["spec"]["containers"][0]["resources"]["limit"] = {}
        broken = [o for o in found if o["kind"] not in ("ConfigMap", "Service")]
        for one in broken:
            with pytest.raises(jsonschema.ValidationError, match="limit"):
                kube.validate(one, shared / "crds")


@pytest.mark.parametrize("name", ["pvc.yaml", "get-coco.yaml", "convert-coco.yaml", "rbac.yaml"])
def test_the_manifests_by_hand_fit_theirs(name: str, shared: Path) -> None:
    import yaml

    for found in yaml.safe_load_all((kube.ROOT / "manifests" / name).read_text()):
        kube.validate(found, shared / "crds")
