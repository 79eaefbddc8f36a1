"""EfficientDet (Tan et al., arXiv 1911.09070): an SSD on EfficientNet with a BiFPN."""

from dataclasses import dataclass

from launcher.recipes import parts
from launcher.recipes.ssd import LEVELS, loss, post_processing, ssd
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

WEIGHT_DECAY = 0.00004


@dataclass(frozen=True)
class EfficientDet:
    size: int  # of the square input, pixels
    backbone: str  # of EfficientNet: b0 to b6
    filters: int  # channels of the BiFPN and of the head
    iterations: int  # of the BiFPN
    head_layers: int
    combine: str | None = None  # how the BiFPN adds features; None: weighted ("fast attention")

    @property
    def input(self) -> str:
        return str(self.size)

    def pipeline(self, training: Training) -> Fields:
        jitter = {"output_size": self.size, "scale_min": 0.1, "scale_max": 2.0}
        return {
            "model": {
                "ssd": ssd(
                    add_background_class=False,
                    image_resizer=parts.keep_aspect(self.size, self.size),
                    anchor_generator=parts.multiscale_anchors(LEVELS, scales_per_octave=3),
                    feature_extractor=self._feature_extractor(),
                    box_predictor={"weight_shared_convolutional_box_predictor": self._predictor()},
                    loss=loss(alpha=0.25, gamma=1.5),
                    post_processing=post_processing(iou=0.5),
                )
            },
            "train_config": train_config(
                training,
                f"{UNSET_PATH}/ckpt-0",
                "classification",
                [parts.FLIP, {"random_scale_crop_and_pad_to_square": jitter}],
                **TPU,
                **BFLOAT16,
                **PADDED,
            ),
            "train_input_reader": train_reader(),
            "eval_config": eval_config(batch_size=1),
            "eval_input_reader": [eval_reader()],
        }

    def _feature_extractor(self) -> Fields:
        bifpn = {
            "min_level": LEVELS[0],
            "max_level": LEVELS[1],
            "num_iterations": self.iterations,
            "num_filters": self.filters,
        }
        return {
            "type": f"ssd_efficientnet-{self.backbone}_bifpn_keras",
            "bifpn": {**bifpn, **({"combine_method": self.combine} if self.combine else {})},
            "conv_hyperparams": self._hyperparams(parts.truncated_normal(0.03)),
        }

    def _predictor(self) -> Fields:
        return {
            "depth": self.filters,
            "class_prediction_bias_init": -4.6,
            "conv_hyperparams": self._hyperparams(parts.normal(0.01)),
            "num_layers_before_predictor": self.head_layers,
            "kernel_size": 3,
            "use_depthwise": True,
        }

    def _hyperparams(self, initializer: Fields) -> Fields:
        return parts.hyperparams(
            "SWISH", WEIGHT_DECAY, initializer, norm_decay=0.99, force_use_bias=True
        )
