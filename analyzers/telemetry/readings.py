"""Readings of payloads that are no gNMI: a value with a path of its own."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from analyzers.telemetry.dictionary import Dictionary
from analyzers.telemetry.flatten import Scalar
from collectors.messages import Elem

MS_NS: Final = 1_000_000


class VendorReading(NamedTuple):
    """A value, its path in the words of the dictionaries, its device and clock where it tells them."""

    device: str
    ts: int  # 0 where the payload has none
    elems: tuple[Elem, ...]
    value: Scalar

    def key(self) -> tuple[Any, ...]:
        """The path as something a dictionary can hold."""
        return tuple((name, *keys.items()) for name, keys in self.elems)

    def named(self, device: str) -> tuple[str, list[Elem]]:
        """The path, and the device that is known by then."""
        return device, list(self.elems)


Reader = Callable[[bytes, Dictionary], Iterable[VendorReading]]
HEAD_BYTES: Final = 400  # of a snapshot, in which its device stands
_DEVICE = re.compile(rb'(?<!\\)"device"\s*:\s*("(?:[^"\\]|\\.)*")')


def named_device(head: bytes) -> str:
    """The device a snapshot names near its start; empty where it names none."""
    found = _DEVICE.search(head)
    try:
        return str(json.loads(found[1])) if found else ""
    except ValueError:
        return ""


def json_list(raw: bytes) -> list[Any]:
    """A JSON array, or its only member without brackets; ValueError where it is no JSON."""
    value = _json(raw)
    return value if isinstance(value, list) else [value]


def json_object(raw: bytes) -> dict[str, Any]:
    """A JSON object; ValueError where it is none."""
    value = _json(raw)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")  # noqa: TRY004  bad input, not a bad call
    return value


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
