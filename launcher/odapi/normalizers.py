"""By what the summed loss of a global batch is divided, for each kind of model. No TensorFlow.

The OD API divides the loss of each micro-batch by what is in that micro-batch. The mean of such
quotients is not the quotient of the sums: images with few objects weigh too much, the more so the
smaller the micro-batch. Where all terms of a loss have one divisor, `global` is exact without a
second pass: gradients are linear in its inverse, so sums and divisor are added up and divided once.
"""

from enum import StrEnum

from launcher.odapi.protos import Message


class Normalizer(StrEnum):
    """What divides the sum of a global batch's losses (regularization is never divided)."""

    MATCHES = "matches"  # SSD and EfficientDet: anchors matched to an object, at least 1
    BOXES = "boxes"  # CenterNet for boxes: objects, at least 1
    NOTHING = "nothing"  # SSD without normalize_loss_by_num_matches: see `scale_of_sum`
    IMAGES = "images"  # Faster R-CNN: every image has its own divisor; the mean over the images
    MICRO_BATCH = "micro_batch"  # the mean of the quotients of the micro-batches


WORDS = {
    Normalizer.MATCHES: "the matched anchors of the global batch",
    Normalizer.BOXES: "the objects of the global batch",
    Normalizer.NOTHING: "no count: it is summed over the images of the recipe's batch",
    Normalizer.IMAGES: "the images of the global batch",
    Normalizer.MICRO_BATCH: "each micro-batch's own count, as the OD API does",
}


def normalizer_of(model: Message, asked: str) -> Normalizer:
    """`asked` is train.loss_normalizer: global or micro_batch. A model whose loss has terms with
    several divisors gets MICRO_BATCH in either case (`several_divisors` says why)."""
    kind = model.WhichOneof("model")
    if kind == "faster_rcnn" and not several_divisors(model):
        return Normalizer.IMAGES  # the same number either way: micro-batches are equally large
    if kind == "ssd" and not model.ssd.normalize_loss_by_num_matches:
        return Normalizer.NOTHING  # no divisor, so none of a micro-batch either
    if asked != "global" or several_divisors(model):
        return Normalizer.MICRO_BATCH
    return Normalizer.BOXES if kind == "center_net" else Normalizer.MATCHES


def scale_of_sum(loss_images: int | None, global_batch: int) -> float:
    """Of a loss that is a sum over images: it grows with the batch, and by the linear rule so does
    the rate. It is brought back to the `loss_images` that the reference's rate was tuned for."""
    return 1.0 if loss_images is None else loss_images / global_batch


def several_divisors(model: Message) -> str:
    """The terms whose divisor is not that of the boxes' terms; empty when there are none."""
    kind = model.WhichOneof("model")
    if kind == "ssd":
        return ""
    if kind == "faster_rcnn":
        box_predictor = model.faster_rcnn.second_stage_box_predictor
        masks = box_predictor.mask_rcnn_box_predictor.predict_instance_masks
        return "masks" if masks else ""
    if kind == "center_net":
        others = [words for field, words in _CENTER_NET if _has(model.center_net, field)]
        return " and ".join(others)
    return "parts that launcher does not know"


_CENTER_NET = (
    ("keypoint_estimation_task", "keypoints"),
    ("mask_estimation_task", "masks"),
    ("deepmac_mask_estimation", "masks"),
    ("densepose_estimation_task", "dense poses"),
    ("track_estimation_task", "tracks"),
)


def _has(message: Message, field: str) -> bool:
    value = getattr(message, field)
    return len(value) > 0 if hasattr(value, "__len__") else bool(message.HasField(field))
