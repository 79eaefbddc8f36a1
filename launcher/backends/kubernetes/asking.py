"""Whether a run goes on in a cluster, asked before one starts in its folder elsewhere."""

from collections.abc import Sequence
from pathlib import Path

from launcher.backends.claims import Claim
from launcher.backends.kubernetes import reading
from launcher.backends.kubernetes.api import Api
from launcher.backends.kubernetes.connection import Place
from launcher.backends.kubernetes.state import judge
from launcher.errors import LauncherError, UnreachableError, UsageError


def check_ended(root: Path, claims: Sequence[Claim], but: Place | None = None) -> None:
    """`but`: a place that was asked already, when a run is to start there.

    Raises UsageError while the run goes on in another one, or pods of it are at work there;
    UnreachableError when that cannot be asked.
    """
    asked = {but}
    for claim in claims:
        try:
            api = Api(Place(claim.context, claim.namespace))
            if api.place in asked:
                continue
            asked.add(api.place)
            found = _going_on(api, root, claim)
        except LauncherError as e:
            if but and not claim.listed and isinstance(e, UsageError):
                continue  # a context by the name that someone else's kubeconfig has for it
            raise _unasked(root.name, claim, e) from None
        if found:
            raise found


def _going_on(api: Api, root: Path, claim: Claim) -> UsageError | None:
    found = reading.read(api, root.name)
    if found.plan and found.root != root:
        return None  # its namesake, in another folder
    where = f"in namespace {api.place.namespace} of {api.place.context}"
    if found.exists:
        now = judge(reading.look(api, found))
        if not now.state.ended:
            return UsageError(
                f"is already running: {now.state} {where}",
                place=root.name,
                remedy=_stop(root.name, api.place, listed=claim.listed),
            )
    if left := [pod["metadata"]["name"] for pod in reading.pods_at_work(api, root.name)]:
        return UsageError(
            f"{len(left)} of its pods are still at work {where} ({', '.join(sorted(left)[:3])})",
            place=root.name,
            remedy="Wait until they have left; `kubectl delete job "
            f"{found.names.evaluator}` ends an evaluator whose run has ended",
        )
    return None


def _stop(name: str, place: Place, *, listed: bool) -> str:
    stop = f"Stop it with `launcher cancel {name}`; after that `submit --resume` continues it"
    if listed:
        return f"{stop} and `submit --replace` starts anew"
    find = f"`launcher list --backend kubernetes --context {place.context} -n {place.namespace}`"
    return f"{stop}. `cancel` knows it after {find}"


def _unasked(name: str, claim: Claim, error: LauncherError) -> UnreachableError:
    problem = error.problems[0]
    place = f"{problem.place}: " if problem.place else ""
    where = f"namespace {claim.namespace}" if claim.namespace else "its namespace"
    return UnreachableError(
        f"is a run of Kubernetes, and whether it still goes on in {where} could not be asked "
        f"({place}{problem.what})",
        place=name,
        remedy=f"Try again when that cluster answers; when it is gone for good, {claim.undo}",
    )
