"""What runs first in a container, and stays around the worker or the evaluator until it ends.

identity   which worker this is, and the addresses of all, from the environment
folder     the plan's files in the run's folder, put there by whoever comes first
greeting   one line between two pods: who I am, which plan, which version
room       a full disk is waited for
meeting    all workers find each other before TensorFlow starts: names, ports, plan, storage
child      the process itself: its output to the container's and the run's log, signals to it
driver     in a Ray cluster: the folder as a submit leaves it, then the Ray backend's driver
ending     its exit code for whoever starts pods again, and what is left in the run's folder

    python -m launcher.pod worker|evaluator|driver RUN_ROOT

TensorFlow starts in the child only. A supervisor is what a pod does not have: nobody sees all
processes, so TensorFlow's own heartbeats are on (runtime/coordination.py), and each pod says what
it knows.
"""
