"""For random specs: names that resolve, names that fit, YAML that reads back, nothing lost."""

import json
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.contract import ENV_TF_CONFIG
from launcher.errors import SpecError
from launcher.pod import identity
from launcher.pod.__main__ import child_env
from launcher.render.kubernetes import KINDS, Kind, objects
from launcher.render.kubernetes.output import to_yaml
from tests.render import kube

Object = dict[str, Any]

NAMES = st.from_regex(r"\A[a-z]([-a-z0-9]{0,45}[a-z0-9])?\Z")
SPECS = st.fixed_dictionaries(
    {
        "name": NAMES,
        "workers": st.integers(1, 128),
        "namespace": st.none() | NAMES,
        "port": st.integers(1024, 65535),
        "env": st.dictionaries(
            st.from_regex(r"\A[A-Z][A-Z0-9_]{0,8}\Z").map(lambda n: f"X_{n}"),
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
            max_size=3,
        ),
    }
)
QUICK = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def render(drawn: Object, kind: Kind) -> list[Object]:
    kubernetes = {"port": drawn["port"]}
    if drawn["namespace"]:
        kubernetes["namespace"] = drawn["namespace"]
    cluster = {**kube.BASE["cluster"], "workers": drawn["workers"], "gpus_per_worker": 1}
    plan = kube.plan_of(
        name=drawn["name"],
        cluster={**cluster, "env": drawn["env"]},
        batch={"per_replica_batch": 1, "global_batch": drawn["workers"] * 2},
        backend={"kind": "kubernetes", "kubernetes": kubernetes},
    )
    return objects(plan, kind)


def dns(made: list[Object], kind: Kind, namespace: str) -> tuple[list[str], set[str]]:
    """The pods' names and what resolves, as the cluster makes them of these objects."""
    if kind == "tfjob":  # a headless Service for each replica, named after it
        job = kube.of_kind(made, "TFJob")
        count = job["spec"]["tfReplicaSpecs"]["Worker"]["replicas"]
        pods = [f"{job['metadata']['name']}-worker-{i}" for i in range(count)]
        return pods, {f"{pod}.{namespace}.svc" for pod in pods}
    if kind == "jobset":
        jobset = kube.of_kind(made, "JobSet")
        (group,) = jobset["spec"]["replicatedJobs"]
        parent = f"{jobset['metadata']['name']}-{group['name']}-0"
        count = group["template"]["spec"]["completions"]
        service = jobset["spec"]["network"]["subdomain"]
    else:
        job, found = kube.job(made, "worker"), kube.of_kind(made, "Service")
        parent, count = job["metadata"]["name"], job["spec"]["completions"]
        service = job["spec"]["template"]["spec"]["subdomain"]
        assert found["metadata"]["name"] == service
        labels = job["spec"]["template"]["metadata"]["labels"]
        assert found["spec"]["selector"].items() <= labels.items()
    pods = [f"{parent}-{i}" for i in range(count)]
    return pods, {f"{pod}.{service}.{namespace}.svc" for pod in pods}


@QUICK
@given(drawn=SPECS, kind=st.sampled_from(["job", "jobset", "tfjob"]))
def test_tf_config_names_the_pods_that_there_are(drawn: Object, kind: Kind) -> None:
    try:
        made = render(drawn, kind)
    except SpecError as refused:
        told = str(refused)
        assert "characters longer than Kubernetes allows" in told
        return
    namespace = drawn["namespace"] or "team-a"
    pods, resolving = dns(made, kind, namespace)
    suffix = 6 if kind == "jobset" else 0
    assert all(len(pod) + suffix <= 63 for pod in pods)
    assert len(pods) == drawn["workers"]
    template = kube.workers(made, kind)
    last = len(pods) - 1
    labels = {"training.kubeflow.org/replica-index": str(last)}
    env = kube.environment(template, namespace, labels, {})
    env |= {} if kind == "tfjob" else {"JOB_COMPLETION_INDEX": str(last)}
    me = identity.read("worker", drawn["workers"], env)
    child = child_env(env, me, attempt=0)
    if drawn["workers"] == 1:
        assert ENV_TF_CONFIG not in child
        return
    config = json.loads(child[ENV_TF_CONFIG])
    assert config["task"] == {"type": "worker", "index": last}
    assert list(config["cluster"]) == ["worker"]
    hosts, ports = zip(*(h.split(":") for h in config["cluster"]["worker"]), strict=True)
    assert len(hosts) == len(set(hosts)) == len(resolving)
    assert set(hosts) == resolving
    assert [h.split(".")[0] for h in hosts] == pods, "in order: worker 0 is chief"
    (port,) = template["spec"]["containers"][0]["ports"]
    assert set(ports) == {str(port["containerPort"])}


@QUICK
@given(drawn=SPECS, kind=st.sampled_from(KINDS))
def test_yaml_reads_back(drawn: Object, kind: Kind) -> None:
    try:
        made = render(drawn, kind)
    except SpecError:
        return
    made[0]["data"].pop("plan.json")  # long, and JSON
    text = to_yaml(made, ["a command\n- with: a line break"])
    assert list(yaml.load_all(text, yaml.CSafeLoader)) == made
    for pod in kube.pods(made):
        env = kube.environment(pod, "ns", {}, {})
        assert drawn["env"].items() <= env.items()


@QUICK
@given(text=st.text(st.characters(codec="ascii", min_codepoint=32), max_size=8))
def test_kubectls_parser_reads_the_same_texts(text: str) -> None:
    """YAML 1.1 as Go reads it takes more for numbers and truths than PyYAML: they are quoted."""
    shown = to_yaml([{"value": text}]).removeprefix("value: ").rstrip("\n")
    plain = not shown.startswith(("'", '"', "|"))
    if plain:
        assert text[0].isalpha() or text[0] in "/$"
        assert text.lower() not in ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
