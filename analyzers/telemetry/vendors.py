"""Payloads that are no gNMI: each to readings with a path of their own, by a function a form."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from analyzers.telemetry.dictionary import Dictionary
from analyzers.telemetry.flatten import Scalar
from collectors.messages import Elem
from collectors.records import Method


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
_DEVICE = re.compile(rb'\{\s*"device"\s*:\s*("(?:[^"\\]|\\.)*")')


def named_device(head: bytes) -> str:
    """The device a snapshot names at its start; empty where it names none."""
    found = _DEVICE.match(head)
    try:
        return str(json.loads(found[1])) if found else ""
    except ValueError:
        return ""


def json_object(raw: bytes) -> dict[str, Any]:
    """A JSON object; ValueError where it is none."""
    try:
        value = json.loads(raw)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(value, dict):
        raise ValueError("no JSON object")  # noqa: TRY004  bad input, not a bad call
    return value


def rdma(payload: bytes, _: Dictionary) -> Iterable[VendorReading]:
    """The NICs of a host: the driver decides what a name means (:mod:`collectors.records`)."""
    snapshot = json_object(payload)
    device = str(snapshot.get("device", ""))
    nics = snapshot.get("nics", [])
    if not isinstance(nics, list):
        raise ValueError("nics is no list")  # noqa: TRY004
    for nic in nics:
        if not isinstance(nic, dict):
            raise ValueError("a NIC is no object")  # noqa: TRY004
        port = str(nic.get("netdev") or nic.get("nic") or "")
        above = ("nics", {}), ("nic", {"driver": str(nic.get("driver", "")), "port": port})
        if isinstance(speed := nic.get("speed_bps"), int) and speed > 0:
            yield VendorReading(device, 0, (*above, ("speed_bps", {})), speed)
        for group in ("hw_counters", "counters", "ethtool"):
            values = nic.get(group, {})
            if not isinstance(values, dict):
                raise ValueError(f"{group} is no object")  # noqa: TRY004
            for name, value in values.items():
                if isinstance(value, int | str | float):
                    yield VendorReading(device, 0, (*above, (group, {}), (name, {})), value)


READERS: Final[Mapping[int, Reader]] = {Method.RDMA: rdma}
NOT_COUNTERS: Final = frozenset([Method.NOTE, Method.EVENTS])
