"""A recipe: a published model, how it was trained, and the mAP that was published for it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from launcher.recipes.training import Fields, Training

if TYPE_CHECKING:
    from launcher.odapi.protos import Message

REPOSITORY = "https://github.com/tensorflow/models/blob/master/research/object_detection"
ZOO_PAGE = f"{REPOSITORY}/g3doc/tf2_detection_zoo.md"


class Model(Protocol):
    """What a family of models has to say."""

    @property
    def input(self) -> str:
        """Size of the images that the model sees, in pixels: "896", or "800-1333"."""

    def pipeline(self, training: Training) -> Fields:
        """The fields of the published TrainEvalPipelineConfig."""


@dataclass(frozen=True)
class Recipe:
    """Mean average precisions are in COCO points (45.4), as the model zoo's page gives them.

    They come from that page, not from the comments in the published files, which disagree with it
    in places (MobileNet v2's claims 22.2, for 20.2).
    """

    name: str
    title: str
    """Its name on the model zoo's page, word for word. The size in it is not always that of the
    file (EfficientDet D6 is 1408, SSD MobileNet v2 is 300): `input` is what is trained."""

    file: str
    model: Model
    training: Training
    published_map: float | None
    """Boxes' mAP; None for a file without a row on the page."""

    published_keypoint_map: float | None = None
    published_mask_map: float | None = None

    @property
    def cores(self) -> int:
        """TPU cores or GPUs that it was trained on: the number at the end of the file's name."""
        return int(self.file.removesuffix(".config").rpartition("-")[2])

    @property
    def images_per_core(self) -> int:
        """Images over which batch norm took its statistics."""
        return self.training.batch // self.cores

    @property
    def source(self) -> str:
        """URL of the published file."""
        return f"{REPOSITORY}/configs/tf2/{self.file}"

    @property
    def map_source(self) -> str | None:
        """URL of the page that gives the mAP."""
        return None if self.published_map is None else ZOO_PAGE

    @property
    def input(self) -> str:
        return self.model.input

    @property
    def batch(self) -> int:
        return self.training.batch

    @property
    def learning_rate(self) -> float:
        return self.training.learning_rate

    @property
    def warmup_learning_rate(self) -> float:
        return self.training.warmup_learning_rate

    @property
    def warmup_steps(self) -> int:
        return self.training.warmup_steps

    @property
    def total_steps(self) -> int:
        return self.training.steps

    @property
    def schedule(self) -> str:
        """cosine | steps"""
        return self.training.schedule

    @property
    def optimizer(self) -> str:
        """momentum | adam"""
        return self.training.optimizer

    def build(self) -> "Message":
        """A new TrainEvalPipelineConfig, equal to the published one; paths are still to be set."""
        from launcher.odapi.protos import message

        return message("TrainEvalPipelineConfig")(**self.model.pipeline(self.training))

    def row(self) -> dict[str, Any]:
        """Everything but the message itself, ready for JSON."""
        names = (
            "name", "title", "input", "batch", "images_per_core", "learning_rate",
            "warmup_learning_rate", "warmup_steps", "total_steps", "schedule", "optimizer",
            "published_map", "published_keypoint_map", "published_mask_map", "source", "map_source",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}
