"""What is no counter: notes of the collectors to QUALITY or LOGS, events to LOGS."""

from typing import Any, Final, NamedTuple

from analyzers.telemetry.readings import json_list, json_object
from analyzers.telemetry.values import LARGEST, writable

# Notes that say something is missing; the others only tell what the collector did.
TROUBLE: Final = frozenset(
    ["disconnected", "stale", "dropped", "error", "left out", "refused", "gap"]
)
MAX_TEXT: Final = 4_096  # characters of a line that are kept


class Note(NamedTuple):
    """A note of a collector: about whom, what, how much, in words."""

    device: str
    kind: str
    value: int
    text: str


class Happening(NamedTuple):
    """A row of LOGS; ``ts`` is 0 where nobody says when."""

    ts: int
    device: str
    port: str
    source: str
    kind: str
    text: str


def note(payload: bytes) -> Note:
    """A note; ValueError where it is none."""
    said = json_object(payload)
    count = said.get("count", 1)
    about = ", ".join(str(said[name]) for name in ("text", "path", "paths") if said.get(name))
    return Note(
        _text(said.get("device")),
        _text(said.get("kind")),
        count if _fits(count) else 1,
        _text(about),
    )


def happenings(payload: bytes) -> list[Happening]:
    """Events of a payload; ValueError where they are none."""
    found = []
    for said in json_list(payload):
        if not isinstance(said, dict):
            raise ValueError("an event is no object")  # noqa: TRY004  bad input
        ts = said.get("ts", 0)
        words = (_text(said.get(name)) for name in ("device", "port", "source", "kind", "text"))
        found.append(Happening(ts if _fits(ts) else 0, *words))
    return found


def _fits(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST


def _text(value: Any) -> str:
    return writable(str("" if value is None else value)[:MAX_TEXT])
