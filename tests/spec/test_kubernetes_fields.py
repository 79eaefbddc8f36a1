"""What a cluster would refuse after half of the objects are applied: refused before, by name."""

import pytest

from launcher.errors import SpecError
from launcher.spec import from_mapping
from launcher.spec.kubernetes_fields import quantity_bytes

BASE = {"name": "d3", "recipe": "efficientdet_d3"}
LONG = ".".join(["a" * 63] * 4)


def volumes(text: str) -> str:
    return f"cluster.volumes=[{{name: v, mount_path: /v, {text}}}]"


REFUSED = {
    "cluster.tolerations=[{value: gpu}]": (
        "cluster.tolerations.0.key: is required with operator Equal. Name it, or write operator: "
        "Exists"
    ),
    "cluster.tolerations=[{key: a, operator: Exists, value: gpu}]": (
        "cluster.tolerations.0.value: gpu is compared with nothing by operator Exists. Remove it, "
        "or write operator: Equal"
    ),
    "cluster.tolerations=[{key: a, effect: NoSchedule, toleration_seconds: 60}]": (
        "cluster.tolerations.0.toleration_seconds: is for effect NoExecute, which makes pods "
        "leave. Set effect: NoExecute, or remove it"
    ),
    "cluster.tolerations=[{key: bad key!, operator: Exists}]": (
        "cluster.tolerations.0.key: 'bad key!' is not the name of a label or a resource. Write it "
        "as example.com/name: letters, digits, dashes, dots and _"
    ),
    "cluster.tolerations=[{key: a, value: bad value!}]": (
        "cluster.tolerations.0.value: 'bad value!' is not the value of a label. Use at most 63 "
        "letters, digits, dashes, dots and _, a letter or digit at both ends"
    ),
    volumes("claim: c, sub_path: ../x"): (
        "cluster.volumes.0.sub_path: '../x' is not a folder inside the volume. Write it from the "
        "volume's root without a slash in front and without .., as data/coco"
    ),
    volumes("claim: c, sub_path: /x"): (
        "cluster.volumes.0.sub_path: '/x' is not a folder inside the volume. Write it from the "
        "volume's root without a slash in front and without .., as data/coco"
    ),
    volumes("host_path: /a/../b"): (
        "cluster.volumes.0.host_path: '/a/../b' has a .. in it. Use /b"
    ),
    volumes("nfs: {server: bad host, path: /x}"): (
        "cluster.volumes.0.nfs.server: 'bad host' is not the name or the address of a host. Write "
        "it as nfs.example.com or 10.0.0.5"
    ),
    "cluster.secrets=[{env: A, name: s, key: a b/c}]": (
        "cluster.secrets.0.key: 'a b/c' is not a key of a Secret: letters, digits, dashes, dots "
        "and _. Use one that `kubectl describe secret` lists"
    ),
    "cluster.image=Bad Image": (
        "cluster.image: 'Bad Image' is not the name of an image. Write it as "
        "registry.example.com/launcher:0.1.0, its path in small letters"
    ),
    "cluster.memory_per_worker=0Gi": (
        "cluster.memory_per_worker: '0Gi' is not an amount of memory. Write it as 16Gi or 512Mi"
    ),
    f"cluster.queue={LONG[:100]}": (
        f"cluster.queue: '{LONG[:57]}...' has 100 characters. Use at most 63"
    ),
    f"cluster.service_account={LONG}": (
        f"cluster.service_account: '{LONG[:57]}...' has 255 characters. Use at most 253"
    ),
    "backend.kubernetes.gpu_resource=nvidia": (
        "backend.kubernetes.gpu_resource: 'nvidia' is not the name of a device plugin's resource. "
        "Write it with the vendor's domain, as nvidia.com/gpu"
    ),
    "backend.kubernetes.namespace=a.b": (
        "backend.kubernetes.namespace: 'a.b' is not the name of a namespace, which has no dots. "
        "Use the name of one (`kubectl get namespaces`)"
    ),
}


@pytest.mark.parametrize("setting", REFUSED)
def test_each_is_one_message(setting: str) -> None:
    with pytest.raises(SpecError) as caught:
        from_mapping(BASE, overrides=[setting])
    assert [str(p) for p in caught.value.problems] == [f"--set {REFUSED[setting]}"]


@pytest.mark.parametrize(
    "setting",
    [
        "cluster.tolerations=[{operator: Exists}]",
        "cluster.tolerations=[{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]",
        "cluster.tolerations=[{key: a, value: ''}, {key: b}]",
        "cluster.tolerations=[{key: a, effect: NoExecute, toleration_seconds: 0}]",
        *(
            f"cluster.image={name}"
            for name in (
                "launcher",
                "launcher:0.1.0",
                "localhost:5000/a/b__c/d.e:Tag_1",
                "registry.example.com/launcher:0.1.0",
                f"gcr.io/project/launcher@sha256:{'0' * 64}",
                f"10.0.0.5:5000/launcher:1@sha256:{'a' * 64}",
            )
        ),
        volumes("claim: c, sub_path: a/b..c"),
        volumes("nfs: {server: 10.0.0.5, path: /x}"),
        volumes("nfs: {server: 'fd00::1', path: /x}"),
        volumes("nfs: {server: fs-1.efs.eu-central-1.amazonaws.com, path: /}"),
        "cluster.secrets=[{env: A, name: s, key: .config_a-b.json}]",
        "backend.kubernetes.gpu_resource=nvidia.com/mig-1g.5gb",
        "cluster.service_account=team.trainer",
    ],
)
def test_what_a_cluster_takes_is_taken(setting: str) -> None:
    from_mapping(BASE, overrides=[setting])


@pytest.mark.parametrize(
    ("text", "size"), [("1.5Gi", 3 * 2**29), ("512Mi", 2**29), ("1T", 10**12), ("16", 0)]
)
def test_amounts_of_memory(text: str, size: int) -> None:
    assert quantity_bytes(text) == size
