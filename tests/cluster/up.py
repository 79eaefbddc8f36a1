"""A Kubernetes control plane on this machine, for tests: `make cluster-up`, `make cluster-down`.

etcd, the API server, the controllers and the scheduler are the real programs, on loopback; nodes
and the pods on them are simulated by kwok: no container ever runs, but everything else is decided
by the real thing. State is in $XDG_CACHE_HOME/launcher/cluster.
"""

import argparse
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from secrets import token_hex

import yaml

from tests.cluster import build
from tests.cluster.daemons import Daemons

_HERE = Path(__file__).parent
_CRDS = _HERE.parents[2] / "shared" / "crds"
"""Of JobSet, TFJob, RayJob and RayCluster: beside the checkout, as other reference inputs."""
_READY_SECONDS = 180.0
_ROLES = {
    "admin": "system:masters",
    "kwok": "system:masters",
    "controllers": "",
    "scheduler": "",
    "limited": "limited",
}
"""Account to its group. `limited` may do nothing until a test gives it a role."""
_USERS = {
    "controllers": "system:kube-controller-manager",
    "scheduler": "system:kube-scheduler",
}
_NODES = {"cpu": (4, {}), "gpu": (8, {"nvidia.com/gpu": "4"})}
"""Kind of node to their number and what they have beyond 32 cores and 256 GiB."""


def folder() -> Path:
    return build.cache() / "cluster"


def kubeconfig(user: str = "admin") -> Path:
    return folder() / ("kubeconfig" if user == "admin" else f"kubeconfig-{user}")


def up() -> None:
    """Start what does not run yet; returns when it answers and its nodes are ready."""
    began = time.monotonic()
    daemons = Daemons(folder())
    if daemons.running():
        print("a cluster runs already; `make cluster-down` stops it")
        _tell(daemons)
        return
    if shutil.which("kubectl") is None:
        sys.exit("needs kubectl in PATH: https://kubernetes.io/docs/tasks/tools")
    program = build.program()
    built = time.monotonic()
    shutil.rmtree(folder(), ignore_errors=True)
    folder().mkdir(parents=True, mode=0o700)
    try:
        _start(daemons, str(program))
        _furnish()
    except BaseException:
        daemons.stop()
        raise
    print(f"built or found in {built - began:.1f} s, ready after {time.monotonic() - built:.1f} s")
    _tell(daemons)


def down() -> None:
    ended = Daemons(folder()).stop()
    print(f"stopped {', '.join(ended)}" if ended else "no cluster runs")
    shutil.rmtree(folder(), ignore_errors=True)


def _start(daemons: Daemons, program: str) -> None:
    here = folder()
    etcd, peers, api, kubelets = _free_ports(4)
    subprocess.run([program, "certificate", str(here)], check=True)
    certificate, key = str(here / "tls.crt"), str(here / "tls.key")
    server = f"https://127.0.0.1:{api}"
    _write_accounts(server)
    daemons.start(
        "etcd",
        [
            program, "etcd", "--name=only", f"--data-dir={here / 'etcd'}", "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{etcd}",
            f"--advertise-client-urls=http://127.0.0.1:{etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peers}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peers}",
            f"--initial-cluster=only=http://127.0.0.1:{peers}", "--log-level=warn",
        ],
    )  # fmt: skip
    daemons.start(
        "kube-apiserver",
        [
            program, "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={api}",
            "--endpoint-reconciler-type=none", f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}", f"--token-auth-file={here / 'tokens.csv'}",
            "--authorization-mode=RBAC", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}", f"--service-account-issuer={server}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--kubelet-preferred-address-types=InternalIP",
            "--anonymous-auth=false", "--profiling=false",
        ],
    )  # fmt: skip
    _await("the API server", lambda: _kubectl("get", "--raw=/readyz").returncode == 0, daemons)
    daemons.start(
        "kube-controller-manager",
        [
            program, "kube-controller-manager", f"--kubeconfig={kubeconfig('controllers')}",
            "--leader-elect=false", "--use-service-account-credentials",
            f"--service-account-private-key-file={key}", f"--root-ca-file={certificate}",
            "--bind-address=127.0.0.1", "--secure-port=0", "--kube-api-qps=200",
            "--kube-api-burst=400", "--concurrent-job-syncs=10",
        ],
    )  # fmt: skip
    daemons.start(
        "kube-scheduler",
        [
            program, "kube-scheduler", f"--kubeconfig={kubeconfig('scheduler')}",
            "--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=0",
            "--kube-api-qps=200", "--kube-api-burst=400",
        ],
    )  # fmt: skip
    _install([*build.kwok_crds(), *sorted(_CRDS.glob("*.yaml"))])
    daemons.start(
        "kwok",
        [
            program, "kwok", f"--kubeconfig={kubeconfig('kwok')}",
            f"--config={_HERE / 'stages.yaml'}",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--node-ip=127.0.0.1", f"--node-port={kubelets}",
            f"--server-address=127.0.0.1:{kubelets}", f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}", "--enable-crds=Logs,ClusterLogs",
        ],
    )  # fmt: skip
    _await("the default service account", _has_account, daemons)


def _furnish() -> None:
    _apply([_node(kind, i) for kind, (count, _) in _NODES.items() for i in range(count)])
    wait = ["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s"]
    if (done := _kubectl(*wait)).returncode:
        sys.exit(f"the simulated nodes are not ready: {done.stderr}")


def _node(kind: str, number: int) -> dict[str, object]:
    name = f"{kind}-{number}"
    has = {"cpu": "32", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti"}
    has |= _NODES[kind][1]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kind": kind},
        },
        "status": {"allocatable": has, "capacity": has},
    }


def _install(crds: Sequence[Path]) -> None:
    """With server-side apply: KubeRay's are too large for an annotation with the last applied."""
    args = [f"--filename={path}" for path in crds]
    if (done := _kubectl("apply", "--server-side", *args)).returncode:
        sys.exit(f"the CRDs cannot be installed: {done.stderr}")
    _kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")


def _apply(objects: Sequence[dict[str, object]]) -> None:
    done = _kubectl("apply", "--server-side", "-f", "-", text=yaml.safe_dump_all(objects))
    if done.returncode:
        sys.exit(done.stderr)


def _has_account() -> bool:
    return _kubectl("get", "serviceaccount", "default").returncode == 0


def _kubectl(*args: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    argv = ["kubectl", f"--kubeconfig={kubeconfig()}", *args]
    return subprocess.run(argv, input=text, text=True, capture_output=True, check=False)


def _write_accounts(server: str) -> None:
    """Tokens for the API server, and a kubeconfig for each account."""
    lines = []
    for name, group in _ROLES.items():
        token, user = token_hex(16), _USERS.get(name, name)
        lines.append(f"{token},{user},{user}" + (f',"{group}"' if group else "") + "\n")
        cluster = {"server": server, "certificate-authority": str(folder() / "tls.crt")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "launcher", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "launcher", "context": {"cluster": "launcher", "user": name}}],
            "current-context": "launcher",
        }
        kubeconfig(name).write_text(json.dumps(config, indent=1))
        kubeconfig(name).chmod(0o600)
    tokens = folder() / "tokens.csv"
    tokens.touch(0o600)
    tokens.write_text("".join(lines))


def _await(what: str, ready: Callable[[], bool], daemons: Daemons) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    wanted = set(daemons.running())
    while not ready():
        gone = wanted - set(daemons.running())
        if gone or time.monotonic() > deadline:
            name = next(iter(gone), "kube-apiserver")
            log = (folder() / "logs" / f"{name}.log").read_text()[-3000:]
            sys.exit(f"{what} does not come up ({', '.join(gone) or 'waited long'}):\n{log}")
        time.sleep(0.3)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _tell(daemons: Daemons) -> None:
    memory = daemons.memory()
    megabytes = ", ".join(f"{name} {size >> 20}" for name, size in memory.items())
    print(f"Kubernetes {build.version()}; MiB of memory: {megabytes}")
    print(f"\n  export KUBECONFIG={kubeconfig()}\n  kubectl get nodes\n  make cluster-test")
    print(f"\nlogs: {folder() / 'logs'}; `make cluster-down` stops it and removes its state")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("command", choices=["up", "down"])
    {"up": up, "down": down}[parser.parse_args().command]()


if __name__ == "__main__":
    main()
