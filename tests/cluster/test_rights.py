"""The least role is enough, and a right that is missing is named."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import yaml

from launcher.contract import State
from launcher.errors import UsageError
from tests.cluster import up
from tests.cluster.conftest import kubectl, start
from tests.cluster.kubelet import Kubelet, until

if TYPE_CHECKING:
    from launcher.planning import Plan

pytestmark = pytest.mark.cluster
RIGHTS = Path(__file__).parents[2] / "manifests" / "rbac.yaml"


@pytest.fixture
def limited(namespace: str, monkeypatch: pytest.MonkeyPatch) -> "Callable[[list[Any]], None]":
    """Acts as an account without any right but those of the role that it is given."""
    config = up.kubeconfig("limited")
    if not config.is_file():
        pytest.skip("needs the account `limited` of `make cluster-up`")
    monkeypatch.setenv("KUBECONFIG", str(config))

    def grant(rules: "list[Any]") -> None:
        role = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "limited", "namespace": namespace},
            "rules": rules,
        }
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "limited", "namespace": namespace},
            "subjects": [{"kind": "User", "name": "limited"}],
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "limited",
            },
        }
        kubectl("apply", "-f", "-", text=yaml.safe_dump_all([role, binding]))
        time.sleep(0.5)  # the authorizer's cache

    return grant


def role_rules() -> "list[Any]":
    if not RIGHTS.is_file():
        pytest.skip("manifests/rbac.yaml is not there yet")
    docs = list(yaml.safe_load_all(RIGHTS.read_text()))
    return next(list(d["rules"]) for d in docs if d["kind"] in ("Role", "ClusterRole"))


def test_least_role_is_enough(
    make_plan: "Callable[..., Plan]", limited: "Callable[[list[Any]], None]", kubelet: Kubelet
) -> None:
    from launcher import api

    limited(role_rules())
    plan = make_plan()
    handle = start(plan)
    handle.status()
    list(handle.logs())
    assert [s.name for s in api.cluster_runs("kubernetes", namespace=kubelet.namespace)] == ["d0"]
    assert handle.cancel().state is State.CANCELLED
    assert api.delete("d0")


APPLIED = {
    "configmaps": ("job", "status", "list", "delete"),
    "services": ("job", "cancel", "cancel", "cancel"),
    "jobs.batch": ("job", "cancel", "status", "cancel"),
    "networkpolicies.networking.k8s.io": ("job", "cancel", "cancel", "cancel"),
    "jobsets.jobset.x-k8s.io": ("jobset", "status", "cancel", "cancel"),
    "tfjobs.kubeflow.org": ("tfjob", "status", "cancel", "cancel"),
    "rayjobs.ray.io": ("rayjob", "status", "cancel", "cancel"),
}
"""What render makes: the kind that has it, and the commands that need get, list and delete."""
NEEDED = {
    **{(resource, verb): "submit" for resource in APPLIED for verb in ("create", "patch")},
    **{
        (resource, verb): command
        for resource, (_, *commands) in APPLIED.items()
        for verb, command in zip(("get", "list", "delete"), commands, strict=True)
    },
    ("pods", "list"): "status",
    ("pods", "get"): "logs -f",
    ("pods/log", "get"): "logs",
    ("events", "list"): "status of a run that waits",
    ("workloads.kueue.x-k8s.io", "list"): "status of a run that its queue holds",
}
"""Every verb of the least role, and a command that says so when it is missing."""


def named(rules: "list[Any]") -> "dict[tuple[str, str], tuple[str, str]]":
    """As refusals name them: (`jobs.batch`, `patch`) -> group and resource."""
    return {
        (f"{resource}.{group}" if group else resource, verb): (group, resource)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def all_but(left_out: "tuple[str, str]") -> "list[Any]":
    return [
        {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
        for (what, verb), (group, resource) in named(role_rules()).items()
        if (what, verb) != left_out
    ]


def test_every_verb_of_the_role_is_some_commands() -> None:
    assert set(named(role_rules())) == set(NEEDED)


@pytest.mark.parametrize(("resource", "verb"), NEEDED, ids=lambda part: part)
def test_missing_right_is_named(
    make_plan: "Callable[..., Plan]",
    limited: "Callable[[list[Any]], None]",
    kubelet: Kubelet,
    resource: str,
    verb: str,
) -> None:
    """The role without this one verb. No claims: the pods wait for their volumes."""
    command = NEEDED[resource, verb]
    kind = APPLIED.get(resource, ("job",))[0]
    plan = make_plan(
        f"backend.kubernetes.kind={kind}",
        "backend.kubernetes.network_policy=true",
        "cluster.queue=research",
    )
    limited(role_rules())
    if command != "submit":
        handle = start(plan)
        if command == "delete":
            assert handle.cancel().state is State.CANCELLED
        elif "queue" in command:
            suspended = '{"spec": {"suspend": true}}'
            kubectl("-n", kubelet.namespace, "patch", "job", "d0-worker", "-p", suspended)
        elif "logs" in command:
            assert until(kubelet.pods)
    limited(all_but((resource, verb)))
    with pytest.raises(UsageError) as caught:
        perform(command, plan, kubelet)
    assert f"may not {verb} {resource}:" in str(caught.value)
    assert "manifests/rbac.yaml" in str(caught.value)


def perform(command: str, plan: "Plan", kubelet: Kubelet) -> None:
    """A command, or of `logs`, which go on with what they can read, the request behind it."""
    from launcher import api
    from launcher.backends.kubernetes.api import Api
    from launcher.backends.kubernetes.connection import Place

    if command == "submit":
        start(plan)
    elif command == "list":
        api.cluster_runs("kubernetes", namespace=kubelet.namespace)
    elif command == "cancel":
        api.find("d0").cancel()
    elif command == "delete":
        api.delete("d0")
    elif command.startswith("logs"):
        server, pod = Api(Place("", kubelet.namespace)), kubelet.pods()[0].metadata.name
        list(server.log(pod)) if command == "logs" else server.get("v1", "Pod", pod)
    else:
        api.find("d0").status()


def test_in_a_pod_with_its_service_account(
    make_plan: "Callable[..., Plan]",
    kubelet: Kubelet,
    core: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a pod is given instead of a kubeconfig: two variables, and files of the account of
    manifests/rbac.yaml, with a token that the API server has signed."""
    from kubernetes.config import incluster_config

    from launcher import api
    from launcher.backends.kubernetes import connection

    role_rules()
    kubectl("apply", "-n", kubelet.namespace, "-f", str(RIGHTS))
    (tmp_path / "token").write_text(kubectl("create", "token", "launcher", "-n", kubelet.namespace))
    (tmp_path / "namespace").write_text(kubelet.namespace)
    server = urlsplit(core.api_client.configuration.host)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(server.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port or 443))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG")
    authority = core.api_client.configuration.ssl_ca_cert
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", authority)
    monkeypatch.setattr(connection, "_ACCOUNT", tmp_path)
    plan = make_plan()
    here = plan.spec.backend.kubernetes.model_copy(update={"namespace": None})
    backend = plan.spec.backend.model_copy(update={"kubernetes": here})
    spec = plan.spec.model_copy(update={"backend": backend})
    handle = start(plan.model_copy(update={"spec": spec}))
    assert connection.connect(connection.Place()).place == connection.Place(
        connection.IN_CLUSTER, kubelet.namespace
    )
    assert until(lambda: len(kubelet.pods()) == 2)
    assert handle.cancel().state is State.CANCELLED
    assert api.delete("d0")
