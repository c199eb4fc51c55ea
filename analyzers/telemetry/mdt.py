"""Model-driven telemetry of Cisco and Huawei: a Telemetry message of rows below a path.

Self-describing rows (GPB-KV, JSON) are read whole. Compact GPB needs the vendor's proto file for each
path; such rows are refused with the path, and stay in the raw segment.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from analyzers.telemetry.dictionary import Dictionary, plain
from analyzers.telemetry.flatten import Leaf, Scalar, join, tree_leaves
from analyzers.telemetry.readings import MS_NS, VendorReading, json_object
from collectors.messages import Elem, elements
from collectors.vendors import Cisco, Huawei

MAX_DEPTH = 32


def cisco(payload: bytes, dictionary: Dictionary) -> Iterable[VendorReading]:
    """Readings of a Telemetry of IOS-XR or NX-OS; ValueError where it is none, or compact."""
    if payload.lstrip()[:1] == b"{":
        yield from _cisco_json(json_object(payload), dictionary)
        return
    try:
        message = Cisco.Telemetry.FromString(payload)
    except DecodeError as error:
        raise ValueError("no Telemetry") from error
    device = message.node_id_str.decode(errors="replace")
    path = message.encoding_path.decode(errors="replace")
    if message.data_gpb.row:
        raise ValueError(f"{path}: compact GPB; ask the device for self-describing GPB")
    above = path_elems(path)
    for row in message.data_gpbkv:
        parts = {field.name: field for field in row.fields}
        ts = (row.timestamp or message.msg_timestamp) * MS_NS
        if b"content" not in parts:
            continue
        keys = {
            field.name.decode(errors="replace"): str(_text(_scalar(field)))
            for field in (parts[b"keys"].fields if b"keys" in parts else ())
        }
        placed = with_keys(above, keys, dictionary)
        for leaf in _fields(parts[b"content"].fields, (), 0):
            yield VendorReading(device, ts, tuple(join(placed, leaf.elems)), leaf.value)


def _cisco_json(said: dict[str, Any], dictionary: Dictionary) -> Iterator[VendorReading]:
    above = path_elems(str(said.get("encoding_path", "")))
    device = str(said.get("node_id_str", ""))
    for row in _objects(said.get("data_json", [])):
        keys = row.get("keys", {})
        told = (
            keys
            if isinstance(keys, dict)
            else {k: v for one in _objects(keys) for k, v in one.items()}
        )
        placed = with_keys(above, {str(k): str(v) for k, v in told.items()}, dictionary)
        ts = _ms(row.get("timestamp") or said.get("msg_timestamp"))
        for leaf in tree_leaves(row.get("content", {}), dictionary.keys):
            elems = tuple(join(placed, tuple(plain(leaf.elems))))
            yield VendorReading(device, ts, elems, leaf.value)


def huawei(payload: bytes, dictionary: Dictionary) -> Iterable[VendorReading]:
    """Readings of a Telemetry of Huawei (or H3C's third layer); ValueError where it is none, or GPB."""
    if payload.lstrip()[:1] == b"{":
        yield from _huawei_json(json_object(payload), dictionary)
        return
    try:
        message = Huawei.Telemetry.FromString(payload)
    except DecodeError as error:
        raise ValueError("no Telemetry") from error
    path = message.sensor_path.decode(errors="replace")
    if not message.data_str:
        if message.data_gpb.row:
            raise ValueError(f"{path}: GPB; ask the device for JSON")
        return
    said = json_object(message.data_str)
    said.setdefault("node_id_str", message.node_id_str.decode(errors="replace"))
    said.setdefault("sensor_path", path)
    said.setdefault("msg_timestamp", message.msg_timestamp)
    yield from _huawei_json(said, dictionary)


def _huawei_json(said: dict[str, Any], dictionary: Dictionary) -> Iterator[VendorReading]:
    device = str(said.get("node_id_str", ""))
    sensor = path_elems(str(said.get("sensor_path", "")))
    table = said if "row" in said else said.get("data_gpb", said.get("data_str", {}))
    rows = _objects(table.get("row", []) if isinstance(table, dict) else table) or [said]
    for row in rows:
        ts = _ms(row.get("timestamp") or said.get("msg_timestamp"))
        content = row.get("content", {})
        if isinstance(content, str):
            content = json_object(content.encode())
        for leaf in tree_leaves(content, dictionary.keys):
            below = tuple(plain(leaf.elems))
            # The content starts at the top of the model, or where the sensor path ends.
            rooted = bool(below and sensor and below[0][0] == sensor[0][0])
            elems = below if rooted else tuple(join(sensor, below))
            yield VendorReading(device, ts, elems, leaf.value)


def path_elems(text: str) -> list[Elem]:
    """Elements of an encoding or sensor path, without the module."""
    head, colon, rest = text.partition(":")
    return plain(elements(rest if colon and "/" not in head else text))


def with_keys(above: list[Elem], keys: Mapping[str, str], dictionary: Dictionary) -> list[Elem]:
    """A path with the keys of a row, each at the list that has it, or else at the end."""
    placed = [(name, dict(own)) for name, own in above]
    for key, value in keys.items():
        bare = key.rpartition(":")[2]
        fits = [n for n, (name, _) in enumerate(placed) if bare in dictionary.keys.get(name, ())]
        if placed:
            placed[fits[-1] if fits else -1][1][bare] = value
    return placed


def _fields(fields: Iterable[Any], above: tuple[Elem, ...], depth: int) -> Iterator[Leaf]:
    """Leaves of TelemetryFields; a name that comes again is a leaf list."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    listed = list(fields)
    times, seen = Counter(field.name for field in listed), Counter[bytes]()
    for field in listed:
        keys = {"#": str(seen[field.name])} if times[field.name] > 1 else {}
        seen[field.name] += 1
        here = (*above, (field.name.decode(errors="replace"), keys))
        if field.fields:
            yield from _fields(field.fields, here, depth + 1)
        elif (value := _scalar(field)) is not None:
            yield Leaf(here, value)


def _scalar(field: Any) -> Scalar | None:
    which = field.WhichOneof("value_by_type")
    if which is None:
        return None
    value = getattr(field, which)
    return value.decode(errors="replace") if which == "string_value" else value  # type: ignore[no-any-return]


def _text(value: Scalar | None) -> Scalar:
    return "" if value is None else value


def _objects(value: Any) -> list[dict[str, Any]]:
    found = value if isinstance(value, list) else [value]
    return [one for one in found if isinstance(one, dict)]


def _ms(value: Any) -> int:
    return value * MS_NS if isinstance(value, int) and 0 < value < 1 << 42 else 0
