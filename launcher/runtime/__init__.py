"""What runs inside a worker: `python -m launcher.runtime RUN_ROOT`.

__main__     from the run directory to an exit code
devices      threads, GPUs, distribution strategy
coordination the group's own service: no heartbeats, leaving together
inputs       records, sharded and seeded, through the OD API's decoder and augmentation
model        the OD API's detection model with all of its variables made
step         micro-batches, one all-reduce, clipping, one update
loop         steps until the last one; checkpoints, signals, logs
checkpoints  one series for all attempts
fine_tune    starting weights
applied      what the step used against what the plan says
watchdog     a step that never ends, a parent that is gone
writers      heartbeat, metrics, TensorBoard
failures     TensorFlow's exceptions as errors for the user
"""
