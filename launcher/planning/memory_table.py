"""MB of a training step: (state, fixed, image).

`bench/memory.py --table bench/results/memory.jsonl` prints the rows; --trace RECIPE adds one.
"""

Row = tuple[float, float, float]

PLAIN: dict[str, Row] = {
    "efficientdet_d0": (42.7, 0.2, 874.1),
    "efficientdet_d3": (108.5, 0.4, 4886.3),
    "ssd_mobilenet_v2_fpnlite_320": (20.2, 0.2, 188.0),
    "ssd_resnet50_v1_fpn_640": (250.8, 0.3, 1037.5),
}
RECOMPUTED: dict[str, Row] = {}
"""With train.recompute."""

WORST = 0.08
"""The largest part by which a measured peak was above the estimate: EfficientDet-D0, 2 images of
512 px on a CPU, 1,888 MB for 1,748 (bench/memory.py --measure efficientdet_d0 --batch 2)."""
