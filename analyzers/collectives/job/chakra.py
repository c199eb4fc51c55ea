"""Chakra execution traces: communication nodes of one rank, as JSON or as protobuf.

JSON is what Chakra's jsonizer writes: a list of nodes, or one node after the other, in protobuf's JSON
spelling. The protobuf form is a run of length-prefixed messages (``et_def.proto``: Node has id 1, name
2, type 3, start 6, duration 7 in microseconds, attributes 10; an attribute has a name 1 and its value
in the field of its type). Comm types are numbered as in CollectiveCommType. A trace has no
communicator's identity but ``pg_name``; the rank is in the file's name (``.3.et``, ``_3.json``).
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from analyzers.collectives.job.found import JobFile, Member, Operation, kind_of, number, whole

KIND = "Chakra execution trace"
TYPES: Final = {5: "COMM_SEND_NODE", 6: "COMM_RECV_NODE", 7: "COMM_COLL_NODE"}
COLLECTIVES: Final = (
    "all_reduce", "reduce", "all_gather", "gather", "scatter", "broadcast", "all_to_all",
    "reduce_scatter", "reduce_scatter", "barrier",
)  # fmt: skip
RANK: Final = re.compile(r"[._](\d+)(?:\.\w+)?$")
MOST = 10_000_000  # nodes of one trace


class Node(NamedTuple):
    """A communication node."""

    number: int
    name: str
    kind: str
    start_us: int
    took_us: int
    values: dict[str, Any]


def matches(path: Path, head: str) -> bool:
    """Whether a file looks like one of these, from its name and beginning."""
    if path.suffix == ".et":
        return True
    return head.lstrip()[:1] in "[{" and ("COMM_COLL_NODE" in head or '"ctrlDeps"' in head)


def read(path: Path) -> JobFile:
    """Read the trace; ValueError names file, place and reason."""
    data = whole(path)
    text = data.lstrip()[:1] in (b"[", b"{")
    found = JobFile(str(path), KIND)
    named = RANK.search(path.name)
    own = int(named[1]) if named and len(named[1]) < 8 else -1
    for node in _json_nodes(path, data) if text else _nodes(path, data):
        operation = _operation(node, own, f"{path}: node {node.number}")
        if operation is None:
            found.notes.append(f"{path}: node {node.number}: its kind is not known")
        else:
            found.operations.append(operation)
    names = {operation.communicator for operation in found.operations}
    found.members += [Member(name, own, -1, "") for name in sorted(names)]
    return found


def _operation(node: Node, own: int, where: str) -> Operation | None:
    values = node.values
    if node.kind == "COMM_COLL_NODE":
        given = values.get("comm_type")
        if isinstance(given, str) and not given.lstrip("-").isdigit():
            kind = kind_of(given)
        elif given is None:
            kind = kind_of(node.name)
        else:
            at = number(given, f"{where}: comm_type")
            kind = COLLECTIVES[at] if 0 <= at < len(COLLECTIVES) else ""
        peer = -1
    else:
        kind = "send" if node.kind == "COMM_SEND_NODE" else "recv"
        side = values.get("comm_dst" if kind == "send" else "comm_src", -1)
        peer = number(side, f"{where}: peer", most=1 << 24)
    if not kind:
        return None
    start = node.start_us * 1000 if node.start_us > 0 else -1
    end = start + node.took_us * 1000 if start >= 0 and node.took_us > 0 else -1
    size = number(values.get("comm_size", -1), f"{where}: comm_size")
    name = str(values.get("pg_name", ""))
    return Operation(name, own, -1, "", node.number, kind, "", size, peer, start, end, end >= 0)


def _json_nodes(path: Path, data: bytes) -> Iterator[Node]:
    decoder, text, at = json.JSONDecoder(), data.decode("utf-8", "replace"), 0
    for _ in range(MOST):
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at >= len(text):
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as bad:
            raise ValueError(f"{path}:{bad.lineno}: not JSON: {bad.msg}") from None
        except (RecursionError, ValueError) as bad:
            raise ValueError(f"{path}: not JSON: {type(bad).__name__}") from None
        rows = value.get("nodes", [value]) if isinstance(value, dict) else value
        if not isinstance(rows, list):
            raise ValueError(f"{path}: a list of nodes is expected")  # noqa: TRY004
        for row in rows:
            if isinstance(row, dict) and str(row.get("type", "")).startswith("COMM_"):
                yield _json_node(path, row)


def _json_node(path: Path, row: dict[str, Any]) -> Node:
    where = f"{path}: node {str(row.get('id', '?'))[:20]}"
    values: dict[str, Any] = {}
    attributes = row.get("attr", [])
    for attribute in attributes if isinstance(attributes, list) else []:
        if isinstance(attribute, dict) and isinstance(attribute.get("name"), str):
            kept = [v for k, v in attribute.items() if k.lower().replace("_", "").endswith("val")]
            values[attribute["name"]] = kept[0] if kept else None
    start = row.get("startTimeMicros", row.get("start_time_micros", 0))
    took = row.get("durationMicros", row.get("duration_micros", 0))
    return Node(
        number(row.get("id", 0), f"{where}: id", most=2**64),
        str(row.get("name", "")), str(row["type"]), number(start, f"{where}: start"),
        number(took, f"{where}: duration"), values,
    )  # fmt: skip


def _nodes(path: Path, data: bytes) -> Iterator[Node]:
    """Communication nodes of the protobuf form; the first message is metadata and has no type."""
    at = 0
    try:
        while at < len(data):
            size, begin = _varint(data, at)
            at = begin + size
            if at > len(data):
                raise ValueError(f"{path}: offset {begin}: the trace ends inside a message")
            fields = _fields(data, begin, at)
            kind = TYPES.get(_int(fields, 3))
            if kind:
                values = dict(_attribute(data, span) for span in fields.get(10, []))
                name = _text(data, fields.get(2))
                yield Node(_int(fields, 1), name, kind, _int(fields, 6), _int(fields, 7), values)
    except IndexError:
        raise ValueError(f"{path}: offset {at}: not a Chakra trace") from None
    except OverflowError:
        raise ValueError(f"{path}: offset {at}: a number is too long") from None


Span = tuple[int, int]
Fields = dict[int, list[Any]]  # field number -> integers, or (begin, end) of bytes


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Value and the offset behind it; IndexError at the end of the data."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise OverflowError


def _fields(data: bytes, at: int, end: int) -> Fields:
    """Fields of the message in data[at:end] by number (protobuf's wire format)."""
    found: Fields = {}
    while at < end:
        key, at = _varint(data, at)
        value: int | Span
        form = key & 7
        if form == 0:
            value, at = _varint(data, at)
        elif form == 2:
            size, at = _varint(data, at)
            value = (at, at + size)
            at += size
        elif form in (1, 5):
            size = 8 if form == 1 else 4
            value = int.from_bytes(data[at : at + size], "little")
            at += size
        else:
            raise IndexError
        if at > end:
            raise IndexError
        found.setdefault(key >> 3, []).append(value)
    return found


def _int(fields: Fields, key: int) -> int:
    value = fields.get(key, [0])[-1]
    if not isinstance(value, int):
        raise IndexError
    return value


def _text(data: bytes, values: list[Any] | None) -> str:
    if not values or not isinstance(values[-1], tuple):
        return ""
    begin, end = values[-1]
    return data[begin:end].decode("utf-8", "replace")


def _attribute(data: bytes, span: Any) -> tuple[str, Any]:
    """Name and value of an attribute; strings as text, numbers as they are."""
    if not isinstance(span, tuple):
        raise IndexError
    fields = _fields(data, *span)
    name = _text(data, fields.pop(1, None))
    fields.pop(2, None)
    for values in fields.values():
        value = values[-1]
        return name, _text(data, values) if isinstance(value, tuple) else value
    return name, None
