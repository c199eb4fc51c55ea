"""How each source of readings fares: kept while collecting, written where ``--status`` finds it."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from collectors.records import Method

STATUS: Final = "status.json"
SOURCES: Final = 20_000  # that are remembered at once
STATES: Final = ("connecting", "syncing", "streaming", "stale", "down", "refused", "gone")


@dataclass
class Health:
    """One source: what it is doing since when, and what came from it."""

    name: str
    kind: str
    address: str = ""
    state: str = "connecting"
    since_ns: int = field(default_factory=time.time_ns)
    last_ns: int = 0  # when something last came
    messages: int = 0
    bytes: int = 0
    syncs: int = 0
    connections: int = 0
    faults: int = 0
    error: str = ""
    encoding: str = ""
    left_out: dict[str, str] = field(default_factory=dict)  # path: why the target refused it
    changed: dict[str, str] = field(default_factory=dict)  # path: how it is asked for instead

    def turn(self, state: str, error: str = "") -> bool:
        """Enter a state; False where it was in it already."""
        if error:
            self.error = error
        if state == self.state:
            return False
        if state == "streaming":
            self.error = ""
        self.state, self.since_ns = state, time.time_ns()
        return True

    def took(self, size: int) -> None:
        """Note a message of ``size`` bytes."""
        self.messages += 1
        self.bytes += size
        self.last_ns = time.time_ns()


class Board:
    """The health of all sources of one process."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], Health] = {}
        self.began_ns = time.time_ns()

    def __iter__(self) -> Iterator[Health]:
        return iter(list(self._of.values()))

    def of(self, kind: str, name: str, address: str = "") -> Health:
        """The entry of a source, made when it first appears."""
        if (kind, name) not in self._of:
            if len(self._of) >= SOURCES:  # anybody may call a listener, from ever new addresses
                gone = [key for key, health in self._of.items() if health.state == "gone"]
                for key in gone or [key for key in self._of if key[0] != "gnmi"][:1]:
                    del self._of[key]
            self._of[kind, name] = Health(name, kind, address)
        return self._of[kind, name]

    def forget(self, kind: str, name: str) -> None:
        """Take a source off that is no longer wanted."""
        self._of.pop((kind, name), None)

    def snapshot(self, **more: Any) -> dict[str, Any]:
        """Everything as plain values."""
        sources = [asdict(health) for health in self]
        return {"at_ns": time.time_ns(), "began_ns": self.began_ns, "pid": os.getpid(), **more,
                "sources": sources}  # fmt: skip


def write(folder: Path, snapshot: dict[str, Any]) -> None:
    """Put a snapshot beside the segments, whole or not at all."""
    partial = folder / f".{STATUS}.new"
    partial.write_text(json.dumps(snapshot, indent=1))
    partial.replace(folder / STATUS)


def note(kind: str, text: str = "", **more: Any) -> tuple[Method, bytes]:
    """A record of the collector about itself: :data:`collectors.records.Method.NOTE` and its payload."""
    return Method.NOTE, json.dumps({"kind": kind, "text": text, **more}).encode()
