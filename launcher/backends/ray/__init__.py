"""Runs on a Ray cluster: a driver (a Ray job) supervises a group of workers and an evaluator.

Here, on the side of whoever submits:

address      which cluster
rest         its dashboard's HTTP interface; all but submitting needs no more
head         a Ray that belongs to one run; keeper is the process that has it
fit          whether a cluster's versions and resources fit
submission   a job with this package in its environment
truth        what became of a run: its folder and the cluster asked together
ending       cancel and delete; rescore: evaluate once more; dashboard: its URL
backend      the commands

In the cluster:

driver         the supervisor of a run, a Ray job
size           how many workers, and waiting for room; growth: the room when some have left
group          one attempt: TensorflowTrainer, and its workers as the supervisor sees them
agent          the training function of each worker: it starts `python -m launcher.runtime`
meeting        TF_CONFIG of a group
proof          that all nodes see the same folder and the same data
reports        what Ray Train is told; progress: what Ray's log and metrics are, by the driver
evaluator_job  the evaluator, a Ray job of its own
channel        files in the run's folder by which the two sides talk
"""
