"""The plans of an elastic run: one for each number of workers that keeps what a step computes.

The per-replica batch is held, so that batch normalization works over as many images whatever the
number of workers; the accumulation makes up the rest of the global batch, and rate and steps, which
belong to the global batch, are the same in all of them.
"""

from launcher.errors import SpecError
from launcher.odapi import pipeline
from launcher.planning.changes import Planned, changes
from launcher.planning.make import make_plan
from launcher.planning.plan import Plan


def elastic_plans(plan: Plan) -> dict[int, Plan]:
    """Number of workers to plan, from the most to the fewest; `plan` is that of the most.

    Only that of a spec which gives a number.
    """
    spec = plan.spec
    plans = {plan.workers: plan}
    if spec.cluster.most_workers == spec.cluster.fewest_workers:
        return plans
    batch = spec.batch.model_copy(
        update={
            "per_replica_batch": plan.per_replica_batch,
            "global_batch": plan.global_batch,
        }
    )
    held = spec.model_copy(update={"batch": batch}).with_origin(spec.origin)
    micro_batches = plan.global_batch // plan.per_replica_batch
    each = max(1, plan.gpus_per_worker)
    for workers in range(plan.workers - 1, spec.cluster.fewest_workers - 1, -1):
        if micro_batches % (workers * each):
            continue
        try:
            made = make_plan(held, workers)
        except SpecError:
            continue
        made = made.model_copy(update={"spec": spec})
        if not any(change.unsafe for change in changes(_planned(plan), _planned(made))):
            plans[workers] = made
    return plans


def _planned(plan: Plan) -> Planned:
    text = pipeline.parse(plan.pipeline_text, "the plan")
    return Planned(plan.spec, plan.worker_config.to_json(), text)
