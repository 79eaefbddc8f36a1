"""MB of a training step: (state, fixed, image).

`bench/memory.py --table bench/results/memory.jsonl` prints the rows; --trace RECIPE adds one.
"""

Row = tuple[float, float, float]

PLAIN: dict[str, Row] = {
    "efficientdet_d0": (42.7, 0.2, 874.1),
    "efficientdet_d1": (63.8, 0.2, 1745.5),
    "efficientdet_d2": (76.7, 0.3, 2712.4),
    "efficientdet_d3": (108.5, 0.4, 4886.3),
    "efficientdet_d4": (178.6, 0.6, 8389.8),
    "faster_rcnn_resnet50_v1_640": (217.3, 76.1, 990.7),
    "ssd_mobilenet_v1_fpn_640": (92.3, 0.2, 732.8),
    "ssd_mobilenet_v2_320": (46.4, 12.5, 99.9),
    "ssd_mobilenet_v2_fpnlite_320": (20.2, 0.2, 188.0),
    "ssd_mobilenet_v2_fpnlite_640": (20.2, 0.2, 751.6),
    "ssd_resnet50_v1_fpn_1024": (250.8, 0.3, 2656.0),
    "ssd_resnet50_v1_fpn_640": (250.8, 0.3, 1037.5),
}
RECOMPUTED: dict[str, Row] = {}
"""With train.recompute."""

WORST = 0.13
"""The largest part by which a measured peak was above the estimate, on a CPU: SSD MobileNetV2
FPNLite, 2 images of 640 px, 1,685 MB for 1,503 (12.1 %); EfficientDet-D0, 2 of 512 px, 1,888 for
1,748 (8 %); Faster R-CNN ResNet50, 1 of 640 px, 1,114 for 1,067 (4.5 %): bench/memory.py --measure
ssd_mobilenet_v2_fpnlite_640 --batch 2."""
