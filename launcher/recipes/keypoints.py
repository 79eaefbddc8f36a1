"""COCO's human pose: 17 joints, and the parts of a pipeline that speak of them."""

from launcher.recipes.training import Fields

# sigma: COCO's tolerance of a joint in its keypoint similarity; std: the width of its heat map's
# peak. The knees' std is not 10 x sigma in the published files, as it is elsewhere.
JOINTS = {  # name: (sigma, std)
    "nose": (0.026, 0.26),
    "left_eye": (0.025, 0.25),
    "right_eye": (0.025, 0.25),
    "left_ear": (0.035, 0.35),
    "right_ear": (0.035, 0.35),
    "left_shoulder": (0.079, 0.79),
    "right_shoulder": (0.079, 0.79),
    "left_elbow": (0.072, 0.72),
    "right_elbow": (0.072, 0.72),
    "left_wrist": (0.062, 0.62),
    "right_wrist": (0.062, 0.62),
    "left_hip": (0.107, 1.07),
    "right_hip": (0.107, 1.07),
    "left_knee": (0.087, 0.89),
    "right_knee": (0.087, 0.89),
    "left_ankle": (0.089, 0.89),
    "right_ankle": (0.089, 0.89),
}

# Lines that a picture draws between joints, by their index in JOINTS.
EDGES = (
    (0, 1), (0, 2), (1, 3), (2, 4),  # the face
    (0, 5), (0, 6),  # nose to shoulders
    (5, 7), (7, 9), (6, 8), (8, 10),  # the arms
    (5, 6), (5, 11), (6, 12), (11, 12),  # the trunk
    (11, 13), (13, 15), (12, 14), (14, 16),  # the legs
)  # fmt: skip


def flip() -> Fields:
    """A mirrored person's left joints are right ones, and the other way round."""
    names = list(JOINTS)
    swap = {"left": "right", "right": "left"}
    order = []
    for name in names:
        side, _, joint = name.partition("_")
        order.append(names.index(f"{swap[side]}_{joint}" if side in swap else name))
    return {"random_horizontal_flip": {"keypoint_flip_permutation": order}}


def task(localization: Fields, classification: Fields) -> Fields:
    """CenterNet's keypoint_estimation_task for persons (/m/01g317)."""
    return {
        "task_name": "human_pose",
        "task_loss_weight": 1.0,
        "loss": {"localization_loss": localization, "classification_loss": classification},
        "keypoint_class_name": "/m/01g317",
        "keypoint_label_to_std": {name: std for name, (_, std) in JOINTS.items()},
        "keypoint_regression_loss_weight": 0.1,
        "keypoint_heatmap_loss_weight": 1.0,
        "keypoint_offset_loss_weight": 1.0,
        "offset_peak_radius": 3,
        "per_keypoint_offset": True,
    }


def evaluation() -> Fields:
    """What eval_config has for keypoints: COCO's metric, and how to draw a pose."""
    sigmas = {name: sigma for name, (sigma, _) in JOINTS.items()}
    metric = {"class_label": "person", "keypoint_label_to_sigmas": sigmas}
    return {
        "num_visualizations": 10,
        "max_num_boxes_to_visualize": 20,
        "min_score_threshold": 0.2,
        "parameterized_metric": [{"coco_keypoint_metrics": metric}],
        "keypoint_edge": [{"start": start, "end": end} for start, end in EDGES],
    }
