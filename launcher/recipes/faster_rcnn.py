"""Faster R-CNN and Mask R-CNN: two-stage detectors.

Two ways of training were published: on TPUs (640 and 1024 pixels: static shapes, trained batch
norm, up to 300 detections) and on 8 GPUs (800x1333 and Mask R-CNN: gradient clipping, 2 images a
GPU, frozen batch norm).
"""

from dataclasses import dataclass
from typing import Any

from launcher.recipes import parts
from launcher.recipes.training import (
    BFLOAT16,
    PADDED,
    TPU,
    UNSET_PATH,
    Fields,
    Training,
    eval_config,
    eval_reader,
    train_config,
    train_reader,
)

STATIC_SHAPES = {
    "use_static_shapes": True,
    "use_matmul_crop_and_resize": True,
    "clip_anchors_to_image": True,
    "use_static_balanced_label_sampler": True,
    "use_matmul_gather_in_matcher": True,
}
CLIP = {"gradient_clipping_by_norm": 10.0}
AUGMENTATIONS = {
    "plain": [parts.FLIP],
    "strong": [parts.FLIP, *parts.HUE_CONTRAST_SATURATION, parts.SQUARE_CROP],
}
FPN_LEVELS = (2, 6)


@dataclass(frozen=True)
class FasterRcnn:
    backbone: str  # resnet50, resnet101, resnet152
    sides: int | tuple[int, int]  # pixels: of a square, or shorter and longer, aspect ratio kept
    tpu: bool  # trained on TPUs, else on GPUs
    augmentation: str  # plain: flip | strong: and colours and square crops
    fpn: bool = False  # a feature pyramid, with its own anchors

    @property
    def input(self) -> str:
        sides = (self.sides,) if isinstance(self.sides, int) else self.sides
        return "-".join(map(str, sorted(set(sides))))

    def pipeline(self, training: Training) -> Fields:
        more = {**TPU, **BFLOAT16, **PADDED} if self.tpu else CLIP
        return {
            "model": {"faster_rcnn": self._model()},
            "train_config": train_config(
                training,
                f"{UNSET_PATH}/{self.backbone}.ckpt-1",
                "classification",
                AUGMENTATIONS[self.augmentation],
                **more,
            ),
            "train_input_reader": train_reader(),
            "eval_config": eval_config(batch_size=1),
            "eval_input_reader": [eval_reader()],
        }

    def _model(self) -> Fields:
        share_box = {"share_box_across_classes": True} if self.tpu and not self.fpn else {}
        return faster_rcnn(
            image_resizer=self._image_resizer(),
            feature_extractor=self._feature_extractor(),
            first_stage_anchor_generator=_pyramid_anchors() if self.fpn else _grid_anchors(),
            second_stage_box_predictor={"mask_rcnn_box_predictor": _box_predictor(**share_box)},
            second_stage_post_processing=_post_processing(300 if self.tpu else 100),
            **(STATIC_SHAPES if self.tpu else {}),
        )

    def _image_resizer(self) -> Fields:
        if isinstance(self.sides, int):
            return parts.fixed(self.sides)
        return parts.keep_aspect(*self.sides)

    def _feature_extractor(self) -> Fields:
        trained_norm = {"batch_norm_trainable": True} if self.tpu else {}
        if not self.fpn:
            return {"type": f"faster_rcnn_{self.backbone}_keras", **trained_norm}
        return {
            "type": f"faster_rcnn_{self.backbone}_fpn_keras",
            "fpn": {"min_level": FPN_LEVELS[0], "max_level": FPN_LEVELS[1]},
            "conv_hyperparams": parts.hyperparams(
                "RELU_6", 0.0004, parts.truncated_normal(0.03), norm_decay=0.997
            ),
            "override_base_feature_extractor_hyperparams": True,
            **trained_norm,
        }


@dataclass(frozen=True)
class MaskRcnn:
    """Faster R-CNN with a third stage that draws a mask in each box."""

    backbone: str  # inception_resnet_v2
    size: int  # of the square input, pixels

    @property
    def input(self) -> str:
        return str(self.size)

    def pipeline(self, training: Training) -> Fields:
        masks = {"load_instance_masks": True, "mask_type": "PNG_MASKS"}
        return {
            "model": {"faster_rcnn": self._model()},
            "train_config": train_config(
                training,
                f"{UNSET_PATH}/{self.backbone}.ckpt-1",
                "classification",
                AUGMENTATIONS["plain"],
                **CLIP,
            ),
            "train_input_reader": train_reader(**masks),
            "eval_config": eval_config(
                metrics_set=["coco_detection_metrics", "coco_mask_metrics"],
                eval_instance_masks=True,
                include_metrics_per_category=True,
                batch_size=1,
            ),
            "eval_input_reader": [eval_reader(**masks)],
        }

    def _model(self) -> Fields:
        return faster_rcnn(
            number_of_stages=3,
            image_resizer=parts.fixed(self.size),
            feature_extractor={"type": f"faster_rcnn_{self.backbone}_keras"},
            first_stage_anchor_generator=_grid_anchors(),
            initial_crop_size=17,
            maxpool_kernel_size=1,
            maxpool_stride=1,
            second_stage_box_predictor={
                "mask_rcnn_box_predictor": _box_predictor(
                    mask_height=33,
                    mask_width=33,
                    mask_prediction_conv_depth=0,
                    mask_prediction_num_conv_layers=4,
                    conv_hyperparams=_convolution(),
                    predict_instance_masks=True,
                )
            },
            second_stage_post_processing=_post_processing(100),
            second_stage_mask_prediction_loss_weight=4.0,
            resize_masks=False,
        )


def faster_rcnn(**differing: Any) -> Fields:
    """The faster_rcnn message: what all published models have in common, and what differs."""
    return {
        "num_classes": parts.CLASSES,
        "first_stage_box_predictor_conv_hyperparams": _convolution(),
        "first_stage_nms_score_threshold": 0.0,
        "first_stage_nms_iou_threshold": 0.7,
        "first_stage_max_proposals": 300,
        "first_stage_localization_loss_weight": 2.0,
        "first_stage_objectness_loss_weight": 1.0,
        "initial_crop_size": 14,
        "maxpool_kernel_size": 2,
        "maxpool_stride": 2,
        "second_stage_localization_loss_weight": 2.0,
        "second_stage_classification_loss_weight": 1.0,
        **differing,
    }


def _convolution() -> Fields:
    initializer = {"truncated_normal_initializer": {"stddev": 0.01}}
    return {"op": "CONV", "regularizer": parts.l2(0.0), "initializer": initializer}


def _box_predictor(**more: Any) -> Fields:
    xavier = {"factor": 1.0, "uniform": True, "mode": "FAN_AVG"}
    return {
        "use_dropout": False,
        "dropout_keep_probability": 1.0,
        "fc_hyperparams": {
            "op": "FC",
            "regularizer": parts.l2(0.0),
            "initializer": {"variance_scaling_initializer": xavier},
        },
        **more,
    }


def _grid_anchors() -> Fields:
    return {
        "grid_anchor_generator": {
            "scales": [0.25, 0.5, 1.0, 2.0],
            "aspect_ratios": [0.5, 1.0, 2.0],
            "height_stride": 16,
            "width_stride": 16,
        }
    }


def _pyramid_anchors() -> Fields:
    return parts.multiscale_anchors(FPN_LEVELS, scales_per_octave=2, normalize_coordinates=False)


def _post_processing(total: int) -> Fields:
    suppression = parts.non_max_suppression(score=0.0, iou=0.6, total=total)
    return {"batch_non_max_suppression": suppression, "score_converter": "SOFTMAX"}
