"""evaluation: what keeps a score from being COCO's, and boxes that are left out."""

from collections.abc import Iterator

from launcher.odapi.protos import Message
from launcher.planning.effective import METRICS
from launcher.planning.own_input import one_shape
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.subject import Subject

NAME = "evaluation"

_LOW_ENOUGH = 0.01
"""Published files have 1e-8 or 0. A COCO curve goes on to the last of 100 detections."""
_DETECTIONS = 100
"""Detections of an image that COCO's mAP counts (cocoapi, maxDets)."""


def check(subject: Subject) -> Iterator[Finding]:
    yield from _nms(subject)
    yield from _boxes_unread(subject)
    yield from _sampled(subject)
    yield from _other_reader(subject)
    yield from _other_map(subject)
    yield from _average(subject)
    yield from _file_only(subject)


def _nms(subject: Subject) -> Iterator[Finding]:
    found = _post_processing(subject.effective.model)
    if found is None:
        return
    place = subject.place_in_file("model", "score_threshold")
    if found.score_threshold > _LOW_ENOUGH:
        yield Finding(
            name=NAME,
            severity=Severity.WARNING,
            place=place,
            evidence=f"detections below a score of {found.score_threshold:g} are dropped",
            cost=Cost("the curve of precision over recall is cut; no figure is known", 0.1),
            remedy=f"score_threshold: 1e-8 in {_last(place)}, as the published files have",
        )
    most = found.max_total_detections
    if most < _DETECTIONS:
        yield Finding(
            name=NAME,
            severity=Severity.WARNING,
            place=subject.place_in_file("model", "max_total_detections"),
            evidence=f"at most {most:,} detections an image, COCO's mAP counts {_DETECTIONS}",
            cost=Cost("objects of crowded images are missed; no figure is known", 0.05),
            remedy=f"max_total_detections: {_DETECTIONS}, and max_detections_per_class likewise",
        )


def _post_processing(model: Message) -> Message | None:
    kind = model.WhichOneof("model")
    if kind == "ssd":
        return model.ssd.post_processing.batch_non_max_suppression
    if kind == "faster_rcnn":
        return model.faster_rcnn.second_stage_post_processing.batch_non_max_suppression
    return None


def crowded(subject: Subject, most: int | None) -> Iterator[Finding]:
    """`most` objects are in the data's most crowded image, as far as it was looked at.

    inputs.py of the OD API pads and cuts to the reader's number, not to train_config's.
    """
    limit = subject.effective.train_input_reader.max_number_of_boxes
    if most is not None and most > limit:
        yield Finding(
            name=NAME,
            severity=Severity.WARNING,
            place=subject.place_in_file("train_input_reader", "max_number_of_boxes"),
            evidence=f"an image has {most:,} objects, {limit:,} of an image are trained on",
            cost=Cost("the others are trained as background; no figure is known", 0.05),
            remedy=f"max_number_of_boxes: {most} in train_input_reader",
        )


def _boxes_unread(subject: Subject) -> Iterator[Finding]:
    reader, config = subject.effective.train_input_reader, subject.effective.train_config
    limit = reader.max_number_of_boxes
    if subject.file is not None and config.max_number_of_boxes != limit:
        yield Finding(
            name=NAME,
            severity=Severity.INFO,
            place=subject.place_in_file("train_config", "max_number_of_boxes"),
            evidence=(
                f"train_config says {config.max_number_of_boxes:,} boxes, which TensorFlow 2 does "
                f"not read: {limit:,} count (train_input_reader.max_number_of_boxes)"
            ),
            cost=Cost("nothing, where no image has more objects"),
            remedy=f"max_number_of_boxes: {config.max_number_of_boxes} in train_input_reader",
        )


def _sampled(subject: Subject) -> Iterator[Finding]:
    """sample_1_of_n_examples: the OD API's reader drops the others, ours reads all."""
    file = subject.file
    if file is None:
        return
    readers = [("train_input_reader", file.train_input_reader)]
    readers += [("eval_input_reader", reader) for reader in list(file.eval_input_reader)[:1]]
    for name, reader in readers:
        if (n := reader.sample_1_of_n_examples) > 1:
            verb = "trains on" if name.startswith("train") else "scores"
            yield Finding(
                name=NAME if name.startswith("eval") else "image-budget",
                severity=subject.mended,
                place=subject.place_in_file(name, "sample_1_of_n_examples"),
                evidence=f"the OD API {verb} one image of {n:,}",
                cost=Cost(f"{n - 1:,} of {n:,} images are not seen", 1 - 1 / n),
                remedy="Nothing: here all are read. Without launcher: remove the line",
                edits=(f"batch.global_batch={subject.run.batch}",),
            )


def _other_reader(subject: Subject) -> Iterator[Finding]:
    file = subject.file
    if file is None or len(file.eval_input_reader) < 2:
        return
    yield Finding(
        name=NAME,
        severity=Severity.INFO if subject.spec.data.val else Severity.WARNING,
        place=subject.place_in_file("eval_input_reader", "input_path"),
        evidence=(
            f"{len(file.eval_input_reader)} eval_input_reader: the first is scored, the others "
            "are left out, as the OD API does without --eval_index"
        ),
        cost=Cost("the mAP is of a part of the images, where all are meant", 0.1),
        remedy="data.val with the files of all of them, or of the one that is meant",
    )


def _other_map(subject: Subject) -> Iterator[Finding]:
    if subject.file is None or subject.val_map_differs is None:
        return
    yield Finding(
        name=NAME,
        severity=Severity.INFO if subject.spec.data.label_map else Severity.WARNING,
        place=subject.place_in_file("eval_input_reader", "label_map_path"),
        evidence=(
            f"the val records have a label map of their own, {subject.val_map_differs}: with "
            f"other classes than {subject.plan.data.label_map}, by which they are scored here"
        ),
        cost=Cost("where a class has another id, its mAP is of another class", 0.3),
        remedy="One map for both, that the records were made with (data.label_map)",
    )


def _average(subject: Subject) -> Iterator[Finding]:
    """Said of a file that asks for it: the field's default is true, and scores nothing either."""
    file = subject.file
    optimizer = file.train_config.optimizer if file is not None else None
    if file is None or optimizer is None or subject.plan.worker_config.ema_decay is not None:
        return
    asked = optimizer.HasField("use_moving_average") and optimizer.use_moving_average
    if asked and not file.eval_config.use_moving_averages:
        yield Finding(
            name=NAME,
            severity=Severity.INFO,
            place=subject.place_in_file("train_config", "use_moving_average"),
            evidence=(
                "use_moving_average is true, eval_config.use_moving_averages is not: an average "
                "of the weights is kept and never scored, so this run keeps none"
            ),
            cost=Cost("nothing, if the weights themselves are meant"),
            remedy="Nothing, or train.ema_decay: their average is scored",
        )


def _file_only(subject: Subject) -> Iterator[Finding]:
    """What the OD API's evaluator would do with the file; ours has its own metric and batch."""
    file = subject.file
    if file is None:
        return
    config = file.eval_config
    metrics = list(config.metrics_set)
    if metrics and METRICS not in metrics:
        yield Finding(
            name=NAME,
            severity=subject.mended,
            place=subject.place_in_file("eval_config", "metrics_set"),
            evidence=f"metrics_set is {', '.join(metrics)}, published mAPs are {METRICS}",
            cost=Cost("the score cannot be compared with a published one"),
            remedy="Nothing: here COCO's numbers are computed",
            edits=(f"batch.global_batch={subject.run.batch}",),
        )
    elif not metrics:
        yield Finding(
            name=NAME,
            severity=Severity.INFO,
            place=subject.place_in_file("eval_config", "metrics_set"),
            evidence=f"metrics_set is missing: the OD API takes {METRICS}, which is meant",
            cost=Cost("nothing"),
            remedy=f'metrics_set: "{METRICS}" says it',
        )
    if config.batch_size > 1 and not one_shape(subject.source.pipeline.model):
        yield Finding(
            name=NAME,
            severity=subject.mended,
            place=subject.place_in_file("eval_config", "batch_size"),
            evidence=f"eval_config.batch_size is {config.batch_size:,}, images differ in shape",
            cost=Cost("the OD API's evaluator stops at the first batch: there is no score"),
            remedy="batch_size: 1 in eval_config, or pad_to_max_dimension: true",
            edits=(f"batch.global_batch={subject.run.batch}",),
        )


def _last(place: str) -> str:
    return place.rpartition(": ")[2].partition(".")[0]
