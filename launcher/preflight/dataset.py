"""dataset: is it COCO 2017, whose counts and mAP are compared with unless the spec says custom?"""

from collections.abc import Iterator, Mapping

from launcher.planning import Plan
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.reading import DataRead
from launcher.preflight.shards import Place

NAME = "dataset"
CUSTOM = "data.dataset=custom"
_CLASSES, _HIGHEST = 80, 90
_ENDS = {1: {"person", "/m/01g317"}, _HIGHEST: {"toothbrush", "/m/012xff"}}
"""Names of COCO's first and last class, in its annotations and in the OD API's label map."""
_SHOWN = 3


def judge(plan: Plan, read: DataRead, place: Place) -> Iterator[Finding]:
    """Nothing is said of a count where the spec names a target of its own."""
    if not plan.data.is_coco:
        return
    names = read.labels.names
    own_target = plan.spec.evaluate.target_map is not None
    if names and not is_coco(names):
        shown = ", ".join(f'{i} "{names[i]}"' for i in sorted(names)[:_SHOWN])
        what = (
            f"{len(names):,} classes up to id {max(names):,} in the label map ({shown}"
            f"{', ...' if len(names) > _SHOWN else ''}), COCO 2017 has {_CLASSES} up to {_HIGHEST}"
        )
    elif plan.data.unlike_coco and not own_target:
        what = plan.data.unlike_coco
    else:
        return
    target = f" {plan.target_map:g}" if plan.target_map is not None and not own_target else ""
    yield Finding(
        NAME,
        Severity.WARNING,
        place("data.dataset"),
        f"{what}: this is not COCO 2017",
        Cost(f"the published mAP{target} is no target of these data, nor are COCO's counts", 0.3),
        "data.dataset: custom, for images of your own or a part of COCO; for all of COCO 2017 its "
        "label map and counts",
        (CUSTOM,),
    )


def is_coco(names: Mapping[int, str]) -> bool:
    return max(names) == _HIGHEST and all(
        names.get(id_, "").lower() in known for id_, known in _ENDS.items()
    )
