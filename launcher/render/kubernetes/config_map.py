"""The plan as a ConfigMap: the files that the first worker puts into the run's folder."""

import json
from typing import TYPE_CHECKING, Any

from launcher.contract import RunPaths
from launcher.render.kubernetes.names import Names

if TYPE_CHECKING:
    from launcher.planning import Plan

MOST_BYTES = 1024 * 1024
"""Of all the data of a ConfigMap (Kubernetes' MaxSecretSize, which holds for ConfigMaps too)."""


def config_map(names: Names, metadata: dict[str, Any], files: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": names.config_map, **metadata},
        "data": files,
    }


def data(plan: "Plan", names: Names) -> dict[str, str]:
    """File name to content, as Plan.write writes them; for Ray's driver also ray.json."""
    from launcher.spec import to_yaml

    paths = RunPaths(plan.root)
    found = {
        paths.spec.name: to_yaml(plan.spec),
        paths.plan.name: json.dumps(plan.to_json(), indent=1) + "\n",
        paths.pipeline.name: plan.pipeline_text,
    }
    if names.kind == "rayjob":
        from launcher.render.kubernetes import rayjob

        found |= rayjob.files(plan, names)
    return found


def size(files: dict[str, str]) -> int:
    """Bytes, as Kubernetes counts them."""
    return sum(len(text.encode()) for text in files.values())
