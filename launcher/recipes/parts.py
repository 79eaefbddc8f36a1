"""Parts of the pipeline messages that several families of models share."""

from typing import Any

from launcher.recipes.training import Fields

CLASSES = 90  # the highest COCO category id; 80 of them are used

FLIP: Fields = {"random_horizontal_flip": {}}
HUE_CONTRAST_SATURATION: tuple[Fields, ...] = (
    {"random_adjust_hue": {}},
    {"random_adjust_contrast": {}},
    {"random_adjust_saturation": {}},
)
SQUARE_CROP: Fields = {"random_square_crop_by_scale": {"scale_min": 0.6, "scale_max": 1.3}}


def fixed(size: int) -> Fields:
    """An image_resizer to a square, which changes the aspect ratio."""
    return {"fixed_shape_resizer": {"height": size, "width": size}}


def keep_aspect(shorter: int, longer: int) -> Fields:
    """An image_resizer that keeps the aspect ratio and pads to the longer side, in pixels."""
    sides = {"min_dimension": shorter, "max_dimension": longer}
    return {"keep_aspect_ratio_resizer": {**sides, "pad_to_max_dimension": True}}


def l2(weight: float) -> Fields:
    return {"l2_regularizer": {"weight": weight}}


def normal(stddev: float) -> Fields:
    return {"random_normal_initializer": {"stddev": stddev, "mean": 0.0}}


def truncated_normal(stddev: float) -> Fields:
    return {"truncated_normal_initializer": {"stddev": stddev, "mean": 0.0}}


def hyperparams(
    activation: str, weight_decay: float, initializer: Fields, norm_decay: float, **more: Any
) -> Fields:
    """The conv_hyperparams of a convolution followed by batch norm.

    `norm_decay` is the share of the old moving average that a step keeps.
    """
    return {
        "activation": activation,
        "regularizer": l2(weight_decay),
        "initializer": initializer,
        "batch_norm": {"scale": True, "decay": norm_decay, "epsilon": 0.001},
        **more,
    }


def multiscale_anchors(levels: tuple[int, int], scales_per_octave: int, **more: Any) -> Fields:
    return {
        "multiscale_anchor_generator": {
            "min_level": levels[0],
            "max_level": levels[1],
            "anchor_scale": 4.0,
            "aspect_ratios": [1.0, 2.0, 0.5],
            "scales_per_octave": scales_per_octave,
            **more,
        }
    }


def non_max_suppression(score: float, iou: float, total: int) -> Fields:
    """Suppression within each class, which keeps at most 100 boxes a class and `total` in all."""
    return {
        "score_threshold": score,
        "iou_threshold": iou,
        "max_detections_per_class": 100,
        "max_total_detections": total,
    }
