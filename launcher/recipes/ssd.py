"""SSD: one-stage detectors. RetinaNet (ResNet and MobileNet FPN) and the plain MobileNet v2."""

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

LEVELS = (3, 7)  # of the feature pyramid: strides 8 to 128

CROP: Fields = {
    "random_crop_image": {
        "min_object_covered": 0.0,
        "min_aspect_ratio": 0.75,
        "max_aspect_ratio": 3.0,
        "min_area": 0.75,
        "max_area": 1.0,
        "overlap_thresh": 0.0,
    }
}


@dataclass(frozen=True)
class SsdFpn:
    """RetinaNet: a feature pyramid, a box predictor that all levels share, and focal loss."""

    backbone: str  # resnet50_v1, resnet101_v1, resnet152_v1, mobilenet_v1, mobilenet_v2
    size: int  # of the square input, pixels
    lite: bool = False  # FPNLite: separable convolutions, half the channels

    @property
    def input(self) -> str:
        return str(self.size)

    def pipeline(self, training: Training) -> Fields:
        resnet = self.backbone.startswith("resnet")
        stem = self.backbone.removesuffix("_v1") if resnet else self.backbone
        # The file of MobileNet v1 alone writes out the evaluation's batch, which is the default.
        eval_batch = {"batch_size": 1} if self.backbone == "mobilenet_v1" else {}
        return {
            "model": {
                "ssd": ssd(
                    image_resizer=parts.fixed(self.size),
                    anchor_generator=parts.multiscale_anchors(LEVELS, scales_per_octave=2),
                    feature_extractor=self._feature_extractor(),
                    box_predictor={"weight_shared_convolutional_box_predictor": self._predictor()},
                    loss=loss(alpha=0.25, gamma=2.0),
                    post_processing=post_processing(iou=0.6),
                )
            },
            "train_config": train_config(
                training,
                f"{UNSET_PATH}/{stem}.ckpt-1",
                "classification",
                [parts.FLIP, CROP],
                **TPU,
                **PADDED,
                **(BFLOAT16 if resnet else {}),
            ),
            "train_input_reader": train_reader(),
            "eval_config": eval_config(**eval_batch),
            "eval_input_reader": [eval_reader()],
        }

    @property
    def _weight_decay(self) -> float:
        return 0.0004 if self.backbone.startswith("resnet") else 0.00004

    def _feature_extractor(self) -> Fields:
        resnet = self.backbone.startswith("resnet")
        initializer = parts.truncated_normal(0.03) if resnet else parts.normal(0.01)
        pyramid = {"min_level": LEVELS[0], "max_level": LEVELS[1]}
        lite = {"use_depthwise": True} if self.lite else {}
        return {
            "type": f"ssd_{self.backbone}_fpn_keras",
            "fpn": {**pyramid, **({"additional_layer_depth": 128} if self.lite else {})},
            "min_depth": 16,
            "depth_multiplier": 1.0,
            "conv_hyperparams": parts.hyperparams(
                "RELU_6", self._weight_decay, initializer, norm_decay=0.997
            ),
            "override_base_feature_extractor_hyperparams": True,
            **lite,
        }

    def _predictor(self) -> Fields:
        lite = {"use_depthwise": True, "share_prediction_tower": True} if self.lite else {}
        return {
            "depth": 128 if self.lite else 256,
            "class_prediction_bias_init": -4.6,
            "conv_hyperparams": parts.hyperparams(
                "RELU_6", self._weight_decay, parts.normal(0.01), norm_decay=0.997
            ),
            "num_layers_before_predictor": 4,
            "kernel_size": 3,
            **lite,
        }


@dataclass(frozen=True)
class SsdMobileNetV2:
    """The plain SSD: six feature maps, each with a predictor of its own, and no pyramid."""

    size: int  # of the square input, pixels

    @property
    def input(self) -> str:
        return str(self.size)

    def pipeline(self, training: Training) -> Fields:
        return {
            "model": {
                "ssd": ssd(
                    image_resizer=parts.fixed(self.size),
                    anchor_generator={"ssd_anchor_generator": self._anchors()},
                    feature_extractor={
                        "type": "ssd_mobilenet_v2_keras",
                        "min_depth": 16,
                        "depth_multiplier": 1.0,
                        "conv_hyperparams": self._hyperparams(parts.truncated_normal(0.03)),
                        "override_base_feature_extractor_hyperparams": True,
                    },
                    box_predictor={"convolutional_box_predictor": self._predictor()},
                    loss=loss(alpha=0.75, gamma=2.0, delta=1.0),
                    post_processing=post_processing(iou=0.6),
                )
            },
            "train_config": train_config(
                training,
                f"{UNSET_PATH}/mobilenet_v2.ckpt-1",
                "classification",
                [parts.FLIP, {"ssd_random_crop": {}}],
                **TPU,
                **PADDED,
            ),
            "train_input_reader": train_reader(),
            "eval_config": eval_config(),
            "eval_input_reader": [eval_reader()],
        }

    def _anchors(self) -> Fields:
        return {
            "num_layers": 6,
            "min_scale": 0.2,
            "max_scale": 0.95,
            "aspect_ratios": [1.0, 2.0, 0.5, 3.0, 0.3333],
        }

    def _predictor(self) -> Fields:
        return {
            "min_depth": 0,
            "max_depth": 0,
            "num_layers_before_predictor": 0,
            "use_dropout": False,
            "dropout_keep_probability": 0.8,
            "kernel_size": 1,
            "box_code_size": 4,
            "apply_sigmoid_to_scores": False,
            "class_prediction_bias_init": -4.6,
            "conv_hyperparams": self._hyperparams(parts.normal(0.01)),
        }

    def _hyperparams(self, initializer: Fields) -> Fields:
        fields = parts.hyperparams("RELU_6", 0.00004, initializer, norm_decay=0.97)
        fields["batch_norm"] |= {"train": True, "center": True}
        return fields


def ssd(**differing: Any) -> Fields:
    """The ssd message: what all published SSD models have in common, and what differs."""
    return {
        "inplace_batchnorm_update": True,
        "freeze_batchnorm": False,
        "num_classes": parts.CLASSES,
        "box_coder": {
            "faster_rcnn_box_coder": {
                "y_scale": 10.0,
                "x_scale": 10.0,
                "height_scale": 5.0,
                "width_scale": 5.0,
            }
        },
        "matcher": {
            "argmax_matcher": {
                "matched_threshold": 0.5,
                "unmatched_threshold": 0.5,
                "ignore_thresholds": False,
                "negatives_lower_than_unmatched": True,
                "force_match_for_each_row": True,
                "use_matmul_gather": True,
            }
        },
        "similarity_calculator": {"iou_similarity": {}},
        "encode_background_as_zeros": True,
        "normalize_loss_by_num_matches": True,
        "normalize_loc_loss_by_codesize": True,
        **differing,
    }


def loss(alpha: float, gamma: float, **smooth_l1: float) -> Fields:
    return {
        "classification_loss": {"weighted_sigmoid_focal": {"alpha": alpha, "gamma": gamma}},
        "localization_loss": {"weighted_smooth_l1": smooth_l1},
        "classification_weight": 1.0,
        "localization_weight": 1.0,
    }


def post_processing(iou: float) -> Fields:
    suppression = parts.non_max_suppression(score=1e-8, iou=iou, total=100)
    return {"batch_non_max_suppression": suppression, "score_converter": "SIGMOID"}
