"""Steps until the last one: checkpoints by steps, by minutes, on request and at the end."""

import math
import signal
import time
from types import FrameType
from typing import Any

import tensorflow as tf

from launcher.contract import RunPaths
from launcher.errors import DivergedError, WorkerExit
from launcher.odapi import norm_layers, provenance, recompute
from launcher.odapi.averages import Averages
from launcher.odapi.normalizers import WORDS, normalizer_of, scale_of_sum
from launcher.odapi.protos import Message
from launcher.runtime import applied, coordination, devices, fine_tune, freeze
from launcher.runtime.checkpoints import Checkpoints
from launcher.runtime.input_count import InputCount
from launcher.runtime.inputs import make_source, train_dataset
from launcher.runtime.leaving import say_plainly
from launcher.runtime.model import build_model, build_optimizer
from launcher.runtime.source import Share, Source
from launcher.runtime.step import Requests, StepResult, TrainStep
from launcher.runtime.watchdog import Watchdog
from launcher.runtime.writers import Writers
from launcher.storage import write_json
from launcher.worker_config import WorkerConfig


def say(text: str) -> None:
    """One line in this worker's log."""
    say_plainly(f"{time.strftime('%H:%M:%S')} {text}")


class Training:
    """One attempt of one worker. `run()` returns DONE, or STOPPED after a requested stop."""

    def __init__(
        self,
        paths: RunPaths,
        config: WorkerConfig,
        pipeline: Message,
        strategy: tf.distribute.Strategy,
        *,
        worker: int,
        threads: int,
        watchdog: Watchdog,
    ) -> None:
        self._config = config
        self._pipeline = pipeline
        self._strategy = strategy
        self._worker = worker
        self._watchdog = watchdog
        self._stop_asked = False
        tf.random.set_seed(config.seed * 1_000_003 + worker)
        tf.keras.mixed_precision.set_global_policy(config.precision)
        self.source: Source = make_source(
            pipeline,
            Share(config.workers, worker, config.global_batch),
            seed=config.seed,
            max_bad_records=config.max_bad_records,
            say=say,
        )
        say(f"building the model for {strategy.num_replicas_in_sync} replicas")
        normalizer = normalizer_of(pipeline.model, config.loss_normalizer)
        say(f"the summed loss is divided by {WORDS[normalizer]}")
        with strategy.scope():
            self._global_step = tf.Variable(
                0,
                trainable=False,
                dtype=tf.int64,
                name="global_step",
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            self._model = build_model(pipeline, strategy)
            norm = norm_layers.of_worker(config)
            state = norm_layers.apply(self._model, norm, self._global_step, config.total_steps)
            say(norm_layers.describe(self._model, norm))
            if worker == 0:
                write_json(paths.variables, freeze.listing(self._model))
            chosen = freeze.apply(self._model, pipeline.train_config)
            if chosen.frozen:
                say(str(chosen))
            if config.recompute:
                say(str(recompute.apply(self._model)))
            self._optimizer, _ = build_optimizer(pipeline, self._global_step, chosen.trained)
            decay = config.ema_decay
            averages = None if decay is None else Averages(self._model, decay)
            self._checkpoints = Checkpoints(
                paths,
                step=self._global_step,
                model=self._model,
                optimizer=self._optimizer,
                keep=config.keep_checkpoints,
                worker=worker,
                averages=averages,
                norm=state,
                say=say,
            )
            self._done = self._start_weights(paths)
            if averages and not self._done:
                averages.start(strategy)
            self._step = TrainStep(
                strategy,
                self._model,
                self._optimizer,
                self._global_step,
                pipeline.train_config,
                config.accumulation_steps,
                normalizer=normalizer,
                scale=scale_of_sum(config.loss_images, config.global_batch),
                variables=chosen.trained,
                averages=averages,
            )
        self.source.require_same_records(paths.records, done=self._done, worker=worker)
        if worker == 0:
            provenance.record(paths, "worker", self.source.fingerprint(), devices.accelerators())
        self._iterator = iter(self._dataset(threads))
        self._writers = Writers(paths, config, worker, self.source.bad)

    @property
    def done(self) -> int:
        """Steps, those of earlier attempts included."""
        return self._done

    def run(self) -> WorkerExit:
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        saved, saved_at = self._done, time.monotonic()
        first = True
        while self._done < self._config.total_steps:
            result = self._one_step(self._requests(saved_at))
            if first:
                say(applied.summary(self._config, result))
                devices.keep_freed_memory()
                first = False
            if self._save_now(result, saved):
                say(f"step {result.step}: saving a checkpoint")
                self._watchdog.saving()
                self._checkpoints.save()
                saved, saved_at = result.step, time.monotonic()
                self._watchdog.beat(result.step)
            if result.stop and result.step < self._config.total_steps:
                say(f"stopped on request after step {result.step}, its checkpoint is saved")
                self._writers.close()
                self._leave_together()
                return WorkerExit.STOPPED
        say(f"done: {self._done} steps")
        self._writers.close()
        self._leave_together()
        return WorkerExit.DONE

    def _one_step(self, requests: Requests) -> StepResult:
        result = self._step(self._iterator, requests)
        self._done = result.step
        self._watchdog.beat(result.step)
        applied.check_step(self._config, self._pipeline.train_config.optimizer, result)
        if not math.isfinite(result.loss) or not math.isfinite(result.gradient_norm):
            self._checkpoints.distrust(result.step - 1)
            raise DivergedError(
                f"the loss is {result.loss} and the gradient's norm {result.gradient_norm} "
                f"at the learning rate {result.learning_rate:g}; "
                f"{self.source.describe(result.step)}",
                place=f"step {result.step}",
                remedy="The last checkpoint is from before; lower the rate or lengthen the warm-up",
            )
        self._writers.step(result)
        return result

    def _requests(self, saved_at: float) -> Requests:
        """A checkpoint is asked for by the chief's clock, and made by all in the same step."""
        minutes = (time.monotonic() - saved_at) / 60
        due = self._worker == 0 and minutes >= self._config.checkpoint_minutes
        return Requests(save=due or self._stop_asked, stop=self._stop_asked)

    def _save_now(self, result: StepResult, saved: int) -> bool:
        return (
            result.save
            or result.step - saved >= self._config.checkpoint_steps
            or result.step == self._config.total_steps
        )

    def _leave_together(self) -> None:
        coordination.leave_together(
            self._worker,
            self._config.workers,
            seconds=self._config.stall_timeout_seconds,
            say=say,
        )

    def _start_weights(self, paths: RunPaths) -> int:
        done = self._checkpoints.restore_newest()
        if done:
            say(f"continuing after step {done}")
        elif self._pipeline.train_config.fine_tune_checkpoint:
            restored = fine_tune.restore(self._model, self._pipeline.train_config)
            for line in restored.lines():
                say(line)
            if self._worker == 0:
                write_json(paths.fine_tune, restored.to_json())
        else:
            say("starting from random weights")
        return done

    def _dataset(self, threads: int) -> Any:
        devices_here = max(1, self._config.gpus_per_worker)
        count = InputCount(self._config.accumulation_steps * devices_here)
        self._watchdog.watch_input(count.lacks, self.source.stuck, lambda: self.source.failure)

        def per_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
            dataset = train_dataset(
                self._pipeline,
                self._model,
                batch=self._config.per_replica_batch,
                seed=self._config.seed,
                first_step=self._done,
                threads=threads,
                source=self.source,
            )
            return count.counted(dataset)

        return self._strategy.distribute_datasets_from_function(per_worker)

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        say(f"signal {number}: saving a checkpoint with the group after this step, then leaving")
        self._stop_asked = True
