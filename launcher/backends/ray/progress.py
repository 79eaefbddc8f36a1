"""Where a run is, for whoever looks at Ray: lines in the job's log, and gauges.

Of the driver, which is there until the last checkpoint is scored. The dashboard of Ray 2.60 shows
a job's log, and no page of Ray Train's runs.
"""

import time

from ray.util.metrics import Gauge

from launcher.backends.base import RunStatus
from launcher.backends.processes import Log
from launcher.backends.status import with_progress

_SECONDS = 2.0
_LINE_SECONDS = 30.0


class Shown:
    def __init__(self, run: str, log: Log) -> None:
        self._tags = {"run": run}
        self._log = log
        self._looked = self._told_at = 0.0
        self._told = ""
        self._gauges: dict[str, Gauge] = {}

    def look(self, status: RunStatus) -> None:
        """Often: it says something when it is time for that."""
        now = time.monotonic()
        if now - self._looked < _SECONDS:
            return
        self._looked = now
        full = with_progress(status.root, status)
        self._measure(full)
        if now - self._told_at >= _LINE_SECONDS:
            self._told_at = now
            self._tell(full)

    def last(self, status: RunStatus) -> None:
        """When the run has ended. Ray keeps a gauge for 20 s after its process, to be scraped."""
        full = with_progress(status.root, status)
        self._measure(full)
        self._tell(full)

    def _tell(self, status: RunStatus) -> None:
        told = line_of(status)
        if told and told != self._told:
            self._log(told)
            self._told = told

    def _measure(self, status: RunStatus) -> None:
        """As Prometheus' `ray_launcher_step` and so on, with the run's name."""
        progress = status.progress
        values = {
            "step": status.step,
            "loss": progress.loss,
            "learning_rate": progress.learning_rate,
            "images_per_second": progress.images_per_second,
            "map": progress.last_map,
        }
        for name, value in values.items():
            if value is None:
                continue
            if name not in self._gauges:
                text = f"{name} of a training run of launcher"
                self._gauges[name] = Gauge(f"launcher_{name}", text, tag_keys=("run",))
            self._gauges[name].set(float(value), tags=self._tags)


def line_of(status: RunStatus) -> str:
    """`step 120 of 500: loss 1.23, learning rate 0.05, 76.7 images/s, mAP 0.310 at step 100`; empty
    before the first step."""
    p = status.progress
    parts = [
        f"loss {p.loss:.4g}" if p.loss is not None else "",
        f"learning rate {p.learning_rate:.4g}" if p.learning_rate is not None else "",
        f"{p.images_per_second:.3g} images/s" if p.images_per_second is not None else "",
        f"mAP {p.last_map:.3f} at step {p.last_map_step}" if p.last_map is not None else "",
    ]
    told = ", ".join(filter(None, parts))
    return f"step {status.step} of {status.total_steps}: {told}" if told else ""
