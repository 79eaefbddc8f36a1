"""`python bench/_peer.py EVENTS FLAGS...`: the OD API's own training program, with a clock.

Runs `object_detection.model_main_tf2` with its flags, under our compatibility shims, without which
it does not start on today's TensorFlow. Nothing of its loop is changed. A thread reads its step
counter 50 times a second, beside the hundred steps that one call of its tf.function takes, and
appends `{"step", "time"}` to EVENTS whenever it has moved on.
"""

import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.odapi import compat
from launcher.storage import append_jsonl

POLL_SECONDS = 0.02


def watch_steps(model_lib_v2: Any, events: Path) -> None:
    """The step counter is known once the program hands it to the optimizer's builder."""
    build = model_lib_v2.optimizer_builder.build

    def build_and_watch(config: Any, global_step: Any = None) -> Any:
        threading.Thread(target=watch, args=(global_step,), daemon=True).start()
        return build(config, global_step=global_step)

    def watch(counter: Any) -> None:
        known = 0
        while True:
            if (step := int(counter.numpy())) != known:
                append_jsonl(events, {"step": step, "time": time.time()})
                known = step
            time.sleep(POLL_SECONDS)

    model_lib_v2.optimizer_builder.build = build_and_watch


def main() -> None:
    events = Path(sys.argv.pop(1))
    compat.load()

    import tensorflow as tf
    from object_detection import model_lib_v2, model_main_tf2

    watch_steps(model_lib_v2, events)
    tf.compat.v1.app.run(model_main_tf2.main)


if __name__ == "__main__":
    main()
