"""Runs on a Kubernetes cluster: what `launcher render` prints is applied, watched and collected.

connection    which API server, as whom, in which namespace: kubectl's rules
api           requests in plain dicts; waiting for a busy server, calling a silent one unreachable
refusals      what 401, 403, 404, 422 mean for the user
submitting    apply, adopt, replace, remove
asking        whether a run goes on there, for who would start one in its folder
reading       all that the cluster has of a run, in a constant number of calls
members       a pod: which worker, how far, how it ended
groups        the object that starts the workers, of four kinds
waiting       why a run does not start: image, quota, no node, queue
driver        what the driver of a RayJob says
causes        which of the pods that failed explains it
state         state, reason and evidence from all of that
folders       the run's files, as far as this machine sees them
logs          logs of pods as files
scores        scores from the evaluator's log, where its files are not here
backend       the Backend
"""

from launcher.backends.kubernetes.backend import BACKEND

__all__ = ["BACKEND"]
