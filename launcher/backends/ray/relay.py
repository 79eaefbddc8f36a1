"""A log file that another process writes, shown on our standard output as it grows."""

import sys
from pathlib import Path


class Relay:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.exists() else 0

    def pass_on(self) -> None:
        """What is new since the last call. A log that cannot be read is passed over."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read()
        except OSError:
            return
        self._position += len(data)
        if data:
            say(data.decode(errors="replace").rstrip("\n"))


def say(text: str) -> None:
    """Not by print, of which Ray Train makes two lines."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
