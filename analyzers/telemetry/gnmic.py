"""Event JSON of gnmic (openconfig/gnmic: docs/user_guide/event_processors/intro.md).

An event has ``name``, ``timestamp`` (ns), ``tags``, ``values`` and ``deletes``. Paths stand in the keys
of ``values`` without their keys, which are tags called ELEMENT_KEY; ``source`` is the target. A payload
is an event, an array of events, or one a line. Numbers may be texts, names may carry their module, and
members of a leaf list are PATH.0, PATH.1 and so on.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from analyzers.telemetry.dictionary import Dictionary, plain
from analyzers.telemetry.places import DATABASES, sonic_words
from analyzers.telemetry.readings import VendorReading
from collectors.messages import Elem, elements

_MEMBER = re.compile(r"(.+)\.(\d+)")


def gnmic(payload: bytes, dictionary: Dictionary) -> Iterable[VendorReading]:
    """Readings of a payload; ValueError where it is no event."""
    for event in _events(payload):
        if not isinstance(event, dict):
            raise ValueError("an event is no object")  # noqa: TRY004  bad input
        tags, values = event.get("tags") or {}, event.get("values") or {}
        if not isinstance(tags, dict) or not isinstance(values, dict):
            raise ValueError("tags or values is no object")  # noqa: TRY004
        ts = event.get("timestamp", 0)
        device = source_name(str(tags.get("source", "")))
        for path, value in values.items():
            if isinstance(value, int | float | str):
                elems = tuple(_elems(path, tags, dictionary))
                yield VendorReading(device, ts if isinstance(ts, int) else 0, elems, value)


def _events(payload: bytes) -> Iterable[Any]:
    try:
        whole = json.loads(payload)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    except ValueError:
        for line in payload.splitlines():
            if line.strip():
                yield from _listed(json.loads(line))
        return
    yield from _listed(whole)


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else [value]


def source_name(source: str) -> str:
    """A target without its port: ``leaf1:57400``, ``10.0.0.1:57400``, ``[2001:db8::1]:57400``."""
    head, colon, port = source.rpartition(":")
    if colon and port.isdigit() and (":" not in head or head.endswith("]")):
        source = head
    return source.strip("[]")


def _elems(path: str, tags: Mapping[str, Any], dictionary: Dictionary) -> list[Elem]:
    member = _MEMBER.fullmatch(path)
    text, number = (member[1], member[2]) if member else (path, "")
    try:
        elems = plain(elements(text))
    except ValueError:
        return [(path, {})]
    database = str(tags.get("target", "")).split("/")[0]
    if database in DATABASES:
        return sonic_words(database, [name for name, _ in elements(path)], ())
    found = []
    for name, keys in elems:
        told = {
            key: str(tags[f"{name}_{key}"])
            for key in dictionary.keys.get(name, ())
            if f"{name}_{key}" in tags
        }
        found.append((name, {**told, **keys}))
    if number and found:
        found[-1][1]["#"] = number
    return found
