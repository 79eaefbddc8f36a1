"""Whole objects, and the manifests that are shipped: equal to what was looked at once."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import launcher
from launcher.render.kubernetes import KINDS, Kind, objects
from launcher.render.kubernetes.output import comments, to_yaml
from launcher.spec.kubernetes_fields import quantity_bytes
from tests.render import golden, kube
from tests.render.kube import readme_commands

MANIFESTS = kube.ROOT / "manifests"
MODELS = ("efficientdet_d0", "efficientdet_d3")


@pytest.mark.parametrize("kind", KINDS)
def test_the_fullest_spec(kind: Kind) -> None:
    """Renewed by `python -m tests.render.golden`."""
    assert golden.text(kind) == (golden.FOLDER / f"{kind}.yaml").read_text()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_manifests_are_those_of_configs(kind: Kind, model: str) -> None:
    """Renewed by `make manifests`."""
    spec = launcher.load(
        kube.ROOT / "configs" / f"{model}.yaml", [f"backend.kubernetes.kind={kind}"]
    )
    plan = launcher.plan(spec)
    command = f"launcher render configs/{model}.yaml --kind {kind}"
    made = to_yaml(objects(plan), comments(plan, command))
    assert made == (MANIFESTS / kind / f"{model}.yaml").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_d3_is_the_recipes_batch(kind: Kind) -> None:
    head = (MANIFESTS / kind / "efficientdet_d3.yaml").read_text().splitlines()[:5]
    assert head == [
        f"# launcher render configs/efficientdet_d3.yaml --kind {kind}",
        "#",
        "# 8 workers x 4 GPUs x 4 images = 128 images a step (efficientdet_d3: 128)",
        "# learning rate 0.08 after 2,500 warm-up steps",
        "# 300,000 steps = 38,400,000 images, 324.6 epochs; target mAP 45.4",
    ]


def test_the_readme_names_every_file_and_its_lines_are_there() -> None:
    text = (MANIFESTS / "README.md").read_text()
    for path in MANIFESTS.iterdir():
        assert path.name == "README.md" or path.name in text
    for kind in KINDS:
        found = (MANIFESTS / kind / "efficientdet_d3.yaml").read_text()
        for line in ("image: registry.example.com/launcher:0.1.0", "claimName: launcher"):
            assert line in found
        assert "kueue.x-k8s.io/queue-name: launcher" in found


def test_three_lines_of_sed_change_all_that_the_readme_says(tmp_path: Path) -> None:
    """As a user types it: in every file that the commands after it apply."""
    if shutil.which("sed") is None:
        pytest.skip("needs sed")
    (change,) = [block for block in readme_commands() if "sed -e" in block]
    (order,) = [block for block in readme_commands() if "job/convert-coco-train" in block]
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    subprocess.run(["sh", "-ec", change], cwd=tmp_path, check=True)
    applied = re.findall(r"apply -f (\S+)", order)
    assert applied == [
        "manifests/pvc.yaml", "my/get-coco.yaml", "my/convert-coco.yaml", "my/efficientdet_d3.yaml",
    ]  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "my").iterdir()) == sorted(
        name.removeprefix("my/") for name in applied[1:]
    )
    made = [o for name in applied[1:] for o in yaml.safe_load_all((tmp_path / name).read_text())]
    for pod in kube.pods(made):
        assert pod["spec"]["containers"][0]["image"] == "MY-REGISTRY/launcher:0.1.0"
        claims = [v for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v]
        assert [c["persistentVolumeClaim"]["claimName"] for c in claims] == ["MY-CLAIM"]
    assert len(kube.pods(made)) == 5
    queues = [o["metadata"]["labels"].get("kueue.x-k8s.io/queue-name") for o in made]
    assert [queue for queue in queues if queue] == ["MY-QUEUE", "MY-QUEUE"]


def test_what_the_readme_waits_for_is_what_it_applies() -> None:
    (order,) = [block for block in readme_commands() if "job/convert-coco-train" in block]
    waited = set(re.findall(r"job/(\S+)", order))
    names = set()
    for file in ("get-coco", "convert-coco"):
        found = yaml.safe_load_all((MANIFESTS / f"{file}.yaml").read_text())
        names |= {job["metadata"]["name"] for job in found}
    assert waited == names


def test_the_data_that_configs_name_is_what_the_conversion_writes() -> None:
    jobs = list(yaml.safe_load_all((MANIFESTS / "convert-coco.yaml").read_text()))
    for model in MODELS:
        data = launcher.load(kube.ROOT / "configs" / f"{model}.yaml").data
        for job, pattern in zip(jobs, (*(data.train or ()), *(data.val or ())), strict=True):
            command = job["spec"]["template"]["spec"]["containers"][0]["command"]
            given = dict(word[2:].split("=") for word in command if word.startswith("--"))
            folder = given["out"].replace("/mnt/", "/data/")
            shards = f"{int(given['shards']):05}"
            assert pattern == f"{folder}/{given['prefix']}.record-?????-of-{shards}"
        assert data.label_map == "/data/coco_train/label_map.pbtxt"


@pytest.mark.parametrize("kind", KINDS)
def test_the_queue_has_room_for_d3_and_its_evaluator(kind: Kind) -> None:
    queue = list(yaml.safe_load_all((MANIFESTS / "kueue.yaml").read_text()))[1]
    (flavor,) = queue["spec"]["resourceGroups"][0]["flavors"]
    quota = {r["name"]: amount(r["nominalQuota"]) for r in flavor["resources"]}
    made = yaml.safe_load_all((MANIFESTS / kind / "efficientdet_d3.yaml").read_text())
    asked = dict.fromkeys(quota, 0.0)
    for pod in kube.pods(list(made)):
        (container,) = pod["spec"]["containers"]
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        for name, value in container["resources"]["limits"].items():
            asked[name] += amount(value) * (8 if component == "worker" else 1)
    assert all(asked[name] <= quota[name] for name in quota), (asked, quota)


def amount(value: "str | int") -> float:
    return quantity_bytes(value) if isinstance(value, str) and value[-1] == "i" else float(value)
