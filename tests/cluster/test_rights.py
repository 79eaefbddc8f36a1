"""The least role is enough, and a right that is missing is named."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from launcher.contract import State
from launcher.errors import UsageError
from tests.cluster import up
from tests.cluster.conftest import kubectl, start
from tests.cluster.kubelet import Kubelet

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


@pytest.mark.parametrize(
    ("resource", "verb", "said"),
    [
        ("jobs", "patch", "may not patch jobs.batch"),
        ("pods", "list", "may not list pods"),
        ("configmaps", "get", "may not get configmaps"),
    ],
)
def test_missing_right_is_named(
    make_plan: "Callable[..., Plan]",
    limited: "Callable[[list[Any]], None]",
    resource: str,
    verb: str,
    said: str,
) -> None:
    rules = role_rules()
    for rule in rules:
        if resource in rule["resources"]:
            rule["verbs"] = [v for v in rule["verbs"] if v != verb] or ["watch"]
    limited(rules)
    with pytest.raises(UsageError) as caught:
        start(make_plan()).status()
    assert said in str(caught.value)
    assert "manifests/rbac.yaml" in str(caught.value)
