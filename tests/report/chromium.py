"""A headless Chromium, driven over its DevTools protocol: what a page logs, measures, looks like.

Debian's package `chromium` (or $CHROMIUM) is all that it needs. Without it the tests that use it
are skipped.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")
_SECONDS = 60.0
_QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--disable-extensions", "--hide-scrollbars", "--mute-audio",
)  # fmt: skip


def program() -> str | None:
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@dataclass(frozen=True)
class Seen:
    """`width` is that of the content: above `window`, the page scrolls to the side."""

    window: int
    width: int
    height: int
    complaints: list[str]
    picture: bytes
    """PNG."""


class Chromium:
    """`with Chromium() as browser: browser.look(path, width=400)`."""

    def __enter__(self) -> Self:
        self._profile = TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def pipes() -> None:  # the protocol's: 3 is read, 4 is written
            os.dup2(theirs_in, 63)
            os.dup2(theirs_out, 64)
            os.dup2(63, 3)
            os.dup2(64, 4)

        command = [str(program()), *_QUIET, f"--user-data-dir={self._profile.name}"]
        self._process = subprocess.Popen(
            [*command, "--remote-debugging-pipe", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=pipes,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = ours_in, ours_out
        os.set_blocking(self._in, False)
        self._buffer, self._id, self._events = b"", 0, []  # type: tuple[bytes, int, list[Any]]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError, AssertionError):
            self._call(
                "Browser.close", {}
            )  # its helpers end with it, as they may not after SIGTERM
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._profile.cleanup()

    def look(
        self, path: Path, width: int = 1100, dark: bool = False, *, whole: bool = True
    ) -> Seen:
        """Open a file as a user does, in a window of this width. `whole`: the picture is of all of
        the page, else of what the window shows."""
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        attach = {"targetId": target, "flatten": True}
        session = self._call("Target.attachToTarget", attach)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable", {}, session)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", {"features": [scheme]}, session)
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", size, session)
        self._events.clear()
        answer = self._call("Page.navigate", {"url": path.resolve().as_uri()}, session)
        assert "errorText" not in answer, f"{path}: {answer['errorText']}"
        self._until("Page.loadEventFired", session)
        time.sleep(0.2)  # what a page logs after it has loaded
        measured = self._call(
            "Runtime.evaluate",
            {
                "expression": "[document.documentElement.scrollWidth,"
                " document.documentElement.scrollHeight]",
                "returnByValue": True,
            },
            session,
        )["result"]["value"]
        shot = self._call(
            "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole}, session
        )
        complaints = [text for event in self._events if (text := _complaint(event, path))]
        self._call("Target.closeTarget", {"targetId": target})
        return Seen(width, *measured, complaints, base64.b64decode(shot["data"]))

    def _call(self, method: str, params: dict[str, Any], session: str | None = None) -> Any:
        self._id += 1
        message = {"id": self._id, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._id:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._events.append(answer)

    def _until(self, method: str, session: str) -> None:
        while not any(e.get("method") == method for e in self._events):
            self._events.append(self._next())

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _SECONDS
        while b"\0" not in self._buffer:
            assert time.monotonic() < deadline, "chromium does not answer"
            try:
                self._buffer += os.read(self._in, 1 << 20)
            except BlockingIOError:
                time.sleep(0.01)
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))


def _complaint(event: dict[str, Any], page: Path) -> str | None:
    """What a developer's console shows, and every request that is not for the page itself."""
    method, told = event.get("method"), event.get("params", {})
    if method == "Runtime.exceptionThrown":
        return f"exception: {told['exceptionDetails']['text']}"
    if method == "Runtime.consoleAPICalled":
        return f"console.{told['type']}: {told['args']}"
    if method == "Log.entryAdded":
        return f"{told['entry']['level']}: {told['entry']['text']}"
    if method == "Network.requestWillBeSent":
        url = told["request"]["url"]
        if not url.startswith("data:") and url != page.resolve().as_uri():
            return f"fetches {url}"
    return None
