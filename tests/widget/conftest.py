"""A front end without a browser: what the kernel sends is kept, and can be answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import comm
import pytest
from comm.base_comm import BaseComm

from fswidget.widget.explorer import Explorer


class FrontEnd:
    """All that reached the other side, in order."""

    def __init__(self) -> None:
        self.sent: list[tuple[dict[str, Any], list[bytes]]] = []

    def messages(self, kind: str) -> list[tuple[dict[str, Any], list[bytes]]]:
        """Custom messages of one type, with their buffers."""
        custom = [(m["content"], b) for m, b in list(self.sent) if m.get("method") == "custom"]
        return [(content, buffers) for content, buffers in custom if content["type"] == kind]

    def frames(self, run: str | None = None) -> list[int]:
        """Sequence numbers of the frames that arrived, in order of arrival."""
        return [
            header["seq"]
            for content, _ in self.messages("frames")
            if run is None or content["run"] == run
            for header in content["frames"]
        ]


@pytest.fixture
def front_end(monkeypatch: pytest.MonkeyPatch) -> FrontEnd:
    """Takes the place of Jupyter for every widget made in the test."""
    seen = FrontEnd()

    class Comm(BaseComm):
        def publish_msg(
            self,
            msg_type: str,
            data: Any = None,
            metadata: Any = None,
            buffers: Any = None,
            **keys: Any,
        ) -> None:
            # Memory views are kept as they are: a buffer reused later must show up as a failure.
            seen.sent.append((data or {}, list(buffers or [])))

    monkeypatch.setattr(comm, "create_comm", Comm)
    return seen


@pytest.fixture
def make(front_end: FrontEnd) -> Iterator[Callable[..., Explorer]]:
    """Makes explorers that end with the test."""
    made: list[Explorer] = []

    def make(**settings: Any) -> Explorer:
        made.append(Explorer(**settings))
        return made[-1]

    yield make
    for explorer in made:
        explorer.close()
        explorer.wait(30)
