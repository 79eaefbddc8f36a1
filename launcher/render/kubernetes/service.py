"""What pods of a run reach each other by, and who else may."""

from typing import TYPE_CHECKING, Any

from launcher.render.kubernetes import names as wire
from launcher.render.kubernetes.names import Names
from launcher.render.kubernetes.rayjob import DASHBOARD_PORT

if TYPE_CHECKING:
    from launcher.planning import Plan

Object = dict[str, Any]


def service(plan: "Plan", names: Names, metadata: Object) -> Object:
    """Headless: it gives each pod a DNS name of its own, before it is ready too, because workers
    wait for each other's names before any of them is."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": names.service, **metadata},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {**wire.run_labels(plan.name), wire.COMPONENT_LABEL: wire.WORKER},
            "ports": [{"name": "tensorflow", "port": plan.spec.backend.kubernetes.port}],
        },
    }


def network_policy(plan: "Plan", names: Names, metadata: Object) -> Object:
    """Only pods of the run may connect to them. Whom they connect to is free: DNS, storage.

    KubeRay's operator asks a RayJob's dashboard how far it is.
    """
    own = {"podSelector": {"matchLabels": wire.run_labels(plan.name)}}
    ingress: list[Object] = [{"from": [own]}]
    if names.kind == "rayjob":
        operator = {"matchLabels": {wire.NAME_LABEL: "kuberay-operator"}}
        ingress.append(
            {
                "from": [{"namespaceSelector": {}, "podSelector": operator}],
                "ports": [{"protocol": "TCP", "port": DASHBOARD_PORT}],
            }
        )
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": names.run, **metadata},
        "spec": {**own, "policyTypes": ["Ingress"], "ingress": ingress},
    }
