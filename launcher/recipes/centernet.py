"""CenterNet (Zhou et al., arXiv 1904.07850): objects as the peaks of heat maps."""

from dataclasses import dataclass

from launcher.recipes import keypoints, parts
from launcher.recipes.training import (
    PADDED,
    UNSET_PATH,
    Fields,
    Training,
    eval_config,
    eval_reader,
    train_config,
    train_reader,
)

CROP: Fields = {
    "random_crop_image": {"min_aspect_ratio": 0.5, "max_aspect_ratio": 1.7, "random_coef": 0.25}
}
PAD: Fields = {
    "random_absolute_pad_image": {
        "max_height_padding": 200,
        "max_width_padding": 200,
        "pad_color": [0, 0, 0],
    }
}
COLOURS = (*parts.HUE_CONTRAST_SATURATION, {"random_adjust_brightness": {}})

# The hourglass takes BGR images, normalised like this; ResNets normalise by themselves.
HOURGLASS: Fields = {
    "bgr_ordering": True,
    "channel_means": [104.01362025, 114.03422265, 119.9165958],
    "channel_stds": [73.6027665, 69.89082075, 70.9150767],
}
FOCAL: Fields = {"penalty_reduced_logistic_focal_loss": {"alpha": 2.0, "beta": 4.0}}
L1: Fields = {"l1_localization_loss": {}}


@dataclass(frozen=True)
class CenterNet:
    extractor: str  # hourglass_104, or a ResNet
    size: int  # of the square input, pixels
    checkpoint: str  # file that training starts from
    square_crop: bool = False  # by scale, as the 1024 models do; else crop, then pad
    keypoints: bool = False  # and the 17 joints of each person
    eval_once: bool = True  # False: the file leaves shuffle and num_epochs of the evaluation unset

    @property
    def input(self) -> str:
        return str(self.size)

    def pipeline(self, training: Training) -> Fields:
        pose = self.keypoints
        joints = {"num_keypoints": len(keypoints.JOINTS)} if pose else {}
        validation = eval_reader(**joints)
        if not self.eval_once:
            del validation["shuffle"], validation["num_epochs"]
        return {
            "model": {"center_net": self._model()},
            "train_config": train_config(
                training,
                self.checkpoint,
                "detection" if self._hourglass else "classification",
                self._augmentation(),
                **PADDED,
            ),
            "train_input_reader": train_reader(**joints),
            "eval_config": eval_config(batch_size=1, **(keypoints.evaluation() if pose else {})),
            "eval_input_reader": [validation],
        }

    @property
    def _hourglass(self) -> bool:
        return self.extractor.startswith("hourglass")

    def _model(self) -> Fields:
        pose = {
            "keypoint_label_map_path": UNSET_PATH,
            "keypoint_estimation_task": [keypoints.task(L1, FOCAL)],
        }
        return {
            "num_classes": parts.CLASSES,
            "feature_extractor": {
                "type": self.extractor,
                **(HOURGLASS if self._hourglass else {}),
            },
            "image_resizer": parts.keep_aspect(self.size, self.size),
            "object_detection_task": {
                "task_loss_weight": 1.0,
                "offset_loss_weight": 1.0,
                "scale_loss_weight": 0.1,
                "localization_loss": L1,
            },
            "object_center_params": {
                "object_center_loss_weight": 1.0,
                "min_box_overlap_iou": 0.7,
                "max_box_predictions": 100,
                "classification_loss": FOCAL,
            },
            **(pose if self.keypoints else {}),
        }

    def _augmentation(self) -> list[Fields]:
        flip = keypoints.flip() if self.keypoints else parts.FLIP
        if self.square_crop:
            return [flip, *COLOURS, parts.SQUARE_CROP]
        return [flip, CROP, *COLOURS, PAD]
