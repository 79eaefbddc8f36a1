"""The command `python -m launcher.evaluate RUN_ROOT`."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.contract import RunPaths
from launcher.errors import (
    ConfigError,
    LauncherError,
    PeerLostError,
    StorageError,
    UnreadableCheckpointError,
    WorkerExit,
)
from launcher.evaluate import follow
from launcher.evaluate.attempts import MOST_TRIES, RETRY_SECONDS, Attempts, identity
from launcher.evaluate.process import (
    Environment,
    Stopped,
    keep_objects,
    leave_on_sigterm,
    say,
    say_bug,
)
from launcher.evaluate.start import start_detector
from launcher.odapi import compat, pipeline
from launcher.storage import answering, discard, is_gone, is_of_the_disk, write_json
from launcher.worker_config import WorkerConfig

if TYPE_CHECKING:
    from launcher.evaluate.ground_truth import GroundTruth
    from launcher.evaluate.scoring import Scorer

POLL_SECONDS = 1.0  # between two looks into the checkpoints folder, which is one small file
BUG = 1  # exit code of a traceback


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    paths = RunPaths(args.root)
    leave_on_sigterm()
    try:
        with answering(paths.root):
            run(paths, args)
    except LauncherError as e:
        say(f"error: {e}")
        return _failed(paths, int(e.worker_exit), str(e))
    except Stopped as e:
        say("stopped")
        return int(str(e.code))
    except Exception as e:
        say_bug()
        return _failed(paths, BUG, f"{type(e).__name__}: {e}")
    return int(WorkerExit.DONE)


def run(paths: RunPaths, args: argparse.Namespace) -> None:
    config = WorkerConfig.read(paths.plan)
    discard(paths.failure("evaluator"))
    environment = Environment(os.environ)
    environment.watch_parent()
    environment.beat_in(paths.evaluator_beat)
    model = pipeline.read(paths.pipeline)
    compat.check_versions()  # before anything of the train extra is imported
    truth = _ground_truth(model, config, environment)
    by_hand = args.step is not None or args.once
    certified_from = 0 if by_hand else config.total_steps
    scorer = _scorer(paths, config, model, truth, environment, args.dump, certified_from)
    keep_objects()
    try:
        if by_hand:
            score_one(paths, scorer, args.step)
        else:
            follow_run(paths, config, scorer, environment)
    finally:
        scorer.close()


def score_one(paths: RunPaths, scorer: "Scorer", step: int | None) -> None:
    """The checkpoint of `step`, whether it has a score or not. None: the newest that can be read.

    Raises ConfigError when there is none, UnreadableCheckpointError.
    """
    listed = follow.listed_steps(paths.checkpoints)
    if step is None:
        _score_newest(paths, scorer, listed)
        return
    if not follow.exists(paths.checkpoints, step):
        has = f"has those of steps {', '.join(map(str, listed))}" if listed else "has none"
        raise ConfigError(
            f"no checkpoint of step {step}: it {has}",
            place=str(paths.checkpoints),
            remedy="Train first" if not listed else "Give one of these with --step",
        )
    if scorer.score(step) is None:
        raise ConfigError(
            f"the checkpoint of step {step} was deleted while it was read",
            place=str(paths.checkpoints),
            remedy="Score a newer one",
        )


def _score_newest(paths: RunPaths, scorer: "Scorer", listed: Sequence[int]) -> None:
    """Or the one before, where it is damaged or gone."""
    first: LauncherError | None = None
    for step in reversed(listed):
        try:
            if scorer.score(step) is not None:
                return
        except UnreadableCheckpointError as e:
            say(f"{e}: the one before is tried")
            first = first or e
    raise first or ConfigError(
        "no checkpoint yet", place=str(paths.checkpoints), remedy="Train first"
    )


def follow_run(
    paths: RunPaths, config: WorkerConfig, scorer: "Scorer", environment: Environment
) -> None:
    """Until the last checkpoint is scored. Raises PeerLostError when the run has ended without it:
    then the newest one is scored, and whoever started this must not take the run for scored."""
    ledger = follow.Ledger(paths.eval_metrics, paths.checkpoints)
    attempts = Attempts(paths)
    gone: dict[int, list[int]] = {}
    waiting, began = False, time.time()
    while True:
        environment.get_on()
        ended = follow.ended(paths, began)  # before the listing: what was saved then is in it
        listed = [
            s
            for s in follow.listed_steps(paths.checkpoints)
            if s not in gone or gone[s] != identity(paths, s)
        ]
        scored = ledger.scored(listed)
        if config.total_steps in scored:
            say(f"the last step, {config.total_steps}, is scored: done")
            return
        failed = ledger.failed(listed) - {config.total_steps}
        if ended:
            step = follow.newest_open([s for s in listed if s not in failed], scored)
        else:
            settled = scored | failed
            step = follow.next_step(listed, settled, config.total_steps, config.evaluate_every)
        if step is not None:
            waiting = False
            last = step == config.total_steps
            tried = identity(paths, step)
            if not try_to_score(
                scorer, attempts, step, environment, give_up=not last, certified=bool(ended)
            ):
                gone[step] = tried  # one that is saved again under this step is another one
        elif ended:
            what = "its newest checkpoint is scored" if listed else "it has no checkpoint"
            last_step = f"the last step, {config.total_steps},"
            raise PeerLostError(
                f"the run is {ended}, and {what}: {last_step} has no score",
                remedy="`launcher submit SPEC --resume` goes on, if it may",
            )
        else:
            if not waiting:
                say(f"waiting for the next checkpoint in {paths.checkpoints}")
            waiting = True
            time.sleep(POLL_SECONDS)


def try_to_score(
    scorer: "Scorer",
    attempts: Attempts,
    step: int,
    environment: Environment,
    *,
    give_up: bool,
    certified: bool = False,
) -> bool:
    """Until it is scored or passed over. False when the checkpoint is gone. `certified`: there will
    be no later one.

    When the tries are used up and it may not be given up, raises UnreadableCheckpointError;
    StorageError where not its files are at fault but the reading of them. Errors of the val
    records, the model or the storage are raised at once: they are those of every checkpoint.
    """
    while True:
        if give_up and attempts.used_up(step):
            attempts.pass_over(step)
            return True
        tries = attempts.begin(step)
        try:
            row = scorer.score(step, certified=certified)
        except UnreadableCheckpointError as e:
            attempts.failed(step, str(e))
            if tries >= MOST_TRIES and not give_up:
                attempts.end()
                if is_of_the_disk(str(e)):  # it may answer again, and has no other copy
                    raise StorageError(str(e)) from e
                raise
        except (Stopped, LauncherError):
            attempts.end()  # no fault of the checkpoint
            raise
        else:
            attempts.end()
            return row is not None
        environment.get_on()
        time.sleep(RETRY_SECONDS)


def _ground_truth(model: Any, config: WorkerConfig, environment: Environment) -> "GroundTruth":
    from launcher.evaluate import ground_truth

    reader = val_reader(model)
    started = time.monotonic()
    truth = ground_truth.read(
        list(reader.tf_record_input_reader.input_path),
        ground_truth.Labels.read(Path(reader.label_map_path)),
        num_classes(model),
        config.val_images,
        environment.get_on,
    )
    boxes = [box for image in truth.images for box in image.boxes]
    say(
        f"{len(truth.images)} val images with {len(boxes)} boxes, "
        f"{sum(b.crowd for b in boxes)} of them crowds, read in {time.monotonic() - started:.1f} s"
    )
    return truth


def val_reader(model: Any) -> Any:
    """The first eval_input_reader, as the OD API takes it. Raises ConfigError."""
    place = "eval_input_reader in pipeline.config"
    if not model.eval_input_reader:
        raise ConfigError("missing", place=place, remedy="Name the val records in data.val")
    reader = model.eval_input_reader[0]
    if not reader.tf_record_input_reader.input_path:
        raise ConfigError(
            "no tf_record_input_reader.input_path", place=place, remedy="Name the val records"
        )
    if reader.input_type == 2:  # TF_SEQUENCE_EXAMPLE
        raise ConfigError(
            "input_type TF_SEQUENCE_EXAMPLE cannot be scored", place=place, remedy="Use TF_EXAMPLE"
        )
    if not reader.label_map_path:
        raise ConfigError("no label_map_path", place=place, remedy="Set data.label_map")
    return reader


def num_classes(model: Any) -> int:
    kind = model.model.WhichOneof("model")
    count = getattr(getattr(model.model, kind), "num_classes", 0) if kind else 0
    if not count:
        raise ConfigError(
            "has no num_classes", place="model in pipeline.config", remedy="Set num_classes"
        )
    return int(count)


def _scorer(
    paths: RunPaths,
    config: WorkerConfig,
    model: Any,
    truth: "GroundTruth",
    environment: Environment,
    dump: Path | None,
    certified_from: int,
) -> "Scorer":
    files = sorted({image.path for image in truth.images})
    detector = start_detector(config, model, files, environment)
    from launcher.evaluate import both_modes
    from launcher.evaluate.scoring import Scorer
    from launcher.odapi import provenance
    from launcher.records.fingerprint import fingerprint

    provenance.record(paths, "evaluator", fingerprint(files))
    between = environment.get_on
    return Scorer(
        paths,
        truth,
        detector,
        between,
        dump,
        total_steps=config.total_steps,
        certified_from=certified_from,
        modes=both_modes.of_run(config, model, detector, truth.images),
    )


def _failed(paths: RunPaths, code: int, message: str) -> int:
    if is_gone(paths.root):
        return code  # the run was deleted: its name may be another run's
    try:
        write_json(paths.failure("evaluator"), {"exit": code, "message": message})
    except StorageError as e:
        say(f"error: {e}")
    return code


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"{Path(sys.executable).name} -m launcher.evaluate",
        description="Follow the checkpoints of a run and score them on its val images.",
    )
    parser.add_argument("root", type=Path, metavar="RUN_ROOT", help="<run_dir>/<name>")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--once", action="store_true", help="score the newest checkpoint and leave")
    which.add_argument("--step", type=int, help="score the checkpoint of this step and leave")
    parser.add_argument(
        "--dump",
        type=Path,
        metavar="DIR",
        help="write ground truth and detections there, as COCO JSON, to score them by hand",
    )
    return parser.parse_args(argv)
