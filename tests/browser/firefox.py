"""A stock Firefox over WebDriver BiDi, which Playwright's own protocol does not reach."""

from __future__ import annotations

import base64
import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import websocket

from .jupyter import wait_until


class Firefox:
    """One headless Firefox with one tab, from start to end of a ``with`` block."""

    def __init__(self, executable: str, profile: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self._numbers = itertools.count()
        self._log = (profile / "firefox.log").open("w+")
        command = [executable, "--headless", "--profile", str(profile), "--remote-debugging-port=0"]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log)

    def __enter__(self) -> Firefox:
        try:
            address = wait_until(self._address, "Firefox to start")
            self.socket = websocket.create_connection(
                f"{address}/session", timeout=60, suppress_origin=True
            )
            self.call("session.new", capabilities={})
            self.call("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])
            self.tab = self.call("browsingContext.create", type="tab")["context"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)
        self._log.close()

    def _address(self) -> str:
        found = re.search(r"BiDi listening on (ws://\S+)", Path(self._log.name).read_text())
        return found[1] if found else ""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its answer; events that come before it are kept."""
        number = next(self._numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                return answer["result"]
            self.events.append(answer)

    def goto(self, url: str) -> None:
        """Open a page."""
        self.call("browsingContext.navigate", context=self.tab, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression that is a string, a number, a truth value or nothing."""
        result = self.call(
            "script.evaluate",
            expression=expression,
            target={"context": self.tab},
            awaitPromise=True,
        )
        assert result["type"] == "success", result
        return result["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """Keep a picture of the whole page."""
        picture = self.call(
            "browsingContext.captureScreenshot", context=self.tab, origin="document"
        )
        path.write_bytes(base64.b64decode(picture["data"]))
