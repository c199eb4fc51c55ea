"""H3C's dial-out: JSON of rows below a sensor path, as public collectors describe it (unverified).

``{"Notification": {MODULE: {TABLE: {ROW: [..] or {..}}}}}``. A row names its port by ``IfName`` or
``IfIndex``. A field is a number, an array of one number a queue (often written as a text of JSON), or
an object of slices of the chip, whose numbers are added up. No field tells the time.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.message import DecodeError

from analyzers.telemetry.dictionary import Dictionary, plain
from analyzers.telemetry.flatten import tree_leaves
from analyzers.telemetry.readings import VendorReading, json_object
from collectors.messages import Elem
from collectors.vendors import H3C

MODELS = ("interfaces", "qos", "components", "lldp")  # sensor paths of OpenConfig start so


def h3c(payload: bytes, dictionary: Dictionary) -> Iterable[VendorReading]:
    """Readings of a DialoutMsg; ValueError where it or its JSON is none."""
    try:
        message = H3C.DialoutMsg.FromString(payload)
    except DecodeError as error:
        raise ValueError("no DialoutMsg") from error
    sensor = [part for part in message.sensorPath.decode(errors="replace").split("/") if part]
    said = json_object(message.jsonData)
    device = message.deviceMsg.deviceName.decode(errors="replace")
    inside = said.get("Notification", said)
    if sensor and sensor[0].lower() in MODELS and len(sensor) > 2:
        for leaf in tree_leaves(inside, dictionary.keys):
            yield VendorReading(device, 0, tuple(plain(leaf.elems)), leaf.value)
        return
    above: tuple[Elem, ...] = tuple((part.lower(), {}) for part in ("h3c", *sensor))
    for row in _rows(inside, 0):
        port = row.get("IfName") or row.get("Name") or f"ifindex {row.get('IfIndex', '')}"
        keys = {"IfName": str(port)}
        if "QueueID" in row:
            keys["QueueID"] = str(row["QueueID"])
        place = (*above[:-1], (above[-1][0], keys))
        for name, value in row.items():
            if name not in ("IfName", "IfIndex", "QueueID", "Name"):
                yield from _field(device, place, name, value)


def _rows(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Objects that name an interface, wherever they are."""
    if depth > 16:
        raise ValueError("nested too deep")
    if isinstance(value, list):
        for one in value:
            yield from _rows(one, depth + 1)
    elif isinstance(value, dict):
        if "IfIndex" in value or "IfName" in value:
            yield value
        else:
            for one in value.values():
                yield from _rows(one, depth + 1)


def _field(device: str, place: tuple[Any, ...], name: str, value: Any) -> Iterator[VendorReading]:
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(f"{name}: no array") from None
    if isinstance(value, dict):
        value = _added(list(value.values()))
    if isinstance(value, list):
        for number, one in enumerate(value):
            if isinstance(one, int | float | str):
                yield VendorReading(device, 0, (*place, (name, {"#": str(number)})), one)
    elif isinstance(value, int | float | str):
        yield VendorReading(device, 0, (*place, (name, {})), value)


def _added(slices: list[Any]) -> Any:
    """Slices of a chip together: numbers, or arrays of them place by place."""
    try:
        lists = [json.loads(s) if isinstance(s, str) and s.startswith("[") else s for s in slices]
        if lists and all(isinstance(one, list) for one in lists):
            return [sum(int(x) for x in column) for column in zip(*lists, strict=False)]
        return sum(int(one) for one in lists)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise ValueError("slices that are no numbers") from None
