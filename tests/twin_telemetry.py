"""The slow twin of the telemetry kernels: the same rows from the same bytes, without numpy or numba.

A row is (path chain, ts, kind, value): the chain is what an entry stands for, parent first; a value is a
number, or the bytes that a kernel's row points at.
"""

import json
import re
import struct
from typing import Any

from analyzers.telemetry.rows import MAX_DEPTH, MAX_NAME
from analyzers.telemetry.rows import ValueKind as Kind

Row = tuple[tuple[bytes, ...], int, Kind, Any]
NONE: tuple[bytes, ...] = ()


class FaultError(Exception):
    """The record is not readable: truncated, varint or tag."""


class SlowError(Exception):
    """JSON for the slower code."""


class BadError(Exception):
    """No JSON."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(10):
        if at + i >= len(data):
            raise FaultError("truncated")
        value |= (data[at + i] & 0x7F) << 7 * i
        if data[at + i] < 0x80:
            return value & (1 << 64) - 1, at + i + 1
    raise FaultError("varint")


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def fields(data: bytes) -> list[tuple[int, int, Any]]:
    """(number, wire type, value) of all fields."""
    found, at = [], 0
    while at < len(data):
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29 or wire in (3, 4, 6, 7):
            raise FaultError("tag")
        if wire == 0:
            value, at = varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(wire, 0)
            if wire == 2:
                size, at = varint(data, at)
            if size > len(data) - at:
                raise FaultError("truncated")
            value, at = data[at : at + size], at + size
        found.append((number, wire, value))
    return found


def last(found: list[tuple[int, int, Any]], number: int, wire: int, default: Any) -> Any:
    return next((v for n, w, v in reversed(found) if (n, w) == (number, wire)), default)


def response_rows(data: bytes, peer: bytes) -> list[Row]:
    rows: list[Row] = []
    for number, wire, value in fields(data):
        if (number, wire) == (1, 2):
            rows += notification_rows(value, peer)
    return rows


def notification_rows(data: bytes, peer: bytes) -> list[Row]:
    found = fields(data)
    ts, prefix = signed(last(found, 1, 0, 0)), last(found, 2, 2, b"")
    rows: list[Row] = []
    for number, wire, value in found:
        if (number, wire) == (5, 2):
            named = max(len(prefix), len(value)) <= MAX_NAME
            kind = Kind.DELETED if named else Kind.UNNAMED
            rows.append(((peer, prefix, value) if named else NONE, ts, kind, 0))
    for number, wire, value in found:
        if (number, wire) == (4, 2):
            rows += update_rows(value, peer, prefix, ts)
    return rows


def update_rows(data: bytes, peer: bytes, prefix: bytes, ts: int) -> list[Row]:
    found = fields(data)
    path = last(found, 1, 2, b"")
    if max(len(path), len(prefix)) > MAX_NAME:
        return [(NONE, ts, Kind.UNNAMED, 0)]
    chain = (peer, prefix, path)
    rows: list[Row] = []
    if duplicates := last(found, 4, 0, 0) & 0xFFFFFFFF:
        rows.append((chain, ts, Kind.DUPLICATES, duplicates))
    if (val := last(found, 3, 2, None)) is not None:
        return rows + typed_rows(val, chain, ts)
    if (old := last(found, 2, 2, None)) is not None:
        parts = fields(old)
        raw, encoding = last(parts, 1, 2, b""), last(parts, 2, 0, 0)
        if encoding in (0, 4):
            return rows + json_rows(raw, chain, ts)
        return [*rows, text_row(raw, chain, ts) if encoding == 3 else (chain, ts, Kind.BYTES, raw)]
    return rows


def typed_rows(data: bytes, chain: tuple[bytes, ...], ts: int) -> list[Row]:
    wires = {1: 2, 2: 0, 3: 0, 4: 0, 6: 5, 14: 1} | dict.fromkeys((5, 7, 8, 9, 10, 11, 12, 13), 2)
    members = [(n, v) for n, w, v in fields(data) if wires.get(n) == w]
    if not members:
        return []
    number, value = members[-1]
    if number in (10, 11):
        return json_rows(value, chain, ts)
    if number in (1, 12):
        return [text_row(value, chain, ts)]
    if number == 3:
        return [(chain, ts, Kind.UNSIGNED if value >> 63 else Kind.INTEGER, signed(value))]
    if number in (2, 4):
        return [(chain, ts, Kind.INTEGER, signed(value) if number == 2 else int(value != 0))]
    if number == 6:
        return [(chain, ts, Kind.FLOAT, struct.unpack("<I", value)[0])]
    if number == 14:
        return [(chain, ts, Kind.DOUBLE, struct.unpack("<q", value)[0])]
    if number == 7:
        parts = fields(value)
        precision = last(parts, 2, 0, 0) & 0x7FFFFFFF
        return [(chain, ts, Kind.DECIMAL, (signed(last(parts, 1, 0, 0)), precision))]
    return [(chain, ts, Kind.LEAFLIST if number == 8 else Kind.BYTES, value)]


def text_row(raw: bytes, chain: tuple[bytes, ...], ts: int) -> Row:
    if re.fullmatch(rb"-?[0-9]{1,18}", raw):
        return (chain, ts, Kind.INTEGER, int(raw))
    return (chain, ts, Kind.TEXT, raw)


def json_rows(raw: bytes, chain: tuple[bytes, ...], ts: int) -> list[Row]:
    try:
        return walk(Scanner(raw), chain, ts)
    except SlowError:
        return [(chain, ts, Kind.JSON, raw)]
    except BadError:
        return [(chain, ts, Kind.BAD_JSON, raw)]


class Scanner:
    """Tokens of JSON by regular expressions, in the order in which a reader meets them."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0
        self.space()

    def space(self) -> None:
        found = re.compile(rb"[ \t\n\r]*").match(self.raw, self.at)
        assert found
        self.at = found.end()

    def take(self, pattern: bytes) -> bytes | None:
        found = re.compile(pattern).match(self.raw, self.at)
        if not found:
            return None
        self.at = found.end()
        self.space()
        return found[0]

    def string(self) -> bytes:
        if (whole := self.take(rb'"[^"\\\x00-\x1f\x7f-\xff]*"')) is not None:
            return whole[1:-1]
        # What stands before the first character that is not plain decides.
        plain = re.compile(rb'"[^"\\\x00-\x1f\x7f-\xff]*').match(self.raw, self.at)
        if plain and plain.end() < len(self.raw) and self.raw[plain.end()] >= 0x20:
            raise SlowError
        raise BadError


def walk(scan: Scanner, chain: tuple[bytes, ...], ts: int) -> list[Row]:
    rows = value(scan, chain, ts, 0)
    if scan.at < len(scan.raw):
        raise BadError
    return rows


def value(scan: Scanner, chain: tuple[bytes, ...], ts: int, depth: int) -> list[Row]:
    if scan.take(rb"\{"):
        if depth >= MAX_DEPTH:
            raise BadError
        rows: list[Row] = []
        if scan.take(rb"\}"):
            return rows
        while True:
            if not scan.raw[scan.at :].startswith(b'"'):
                raise BadError
            key = scan.string()
            if len(key) > MAX_NAME or not scan.take(rb":"):
                raise BadError
            rows += value(scan, (*chain, key), ts, depth + 1)
            if scan.take(rb"\}"):
                return rows
            if not scan.take(rb","):
                raise BadError
    if scan.raw[scan.at :].startswith(b'"'):
        return [text_row(scan.string(), chain, ts)]
    if number := scan.take(rb"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"):
        return [text_row(number, chain, ts)]
    if scan.raw[scan.at :].startswith(b"["):
        raise SlowError
    if word := scan.take(rb"true|false"):
        return [(chain, ts, Kind.INTEGER, int(word == b"true"))]
    if scan.take(rb"null"):
        return []
    raise BadError


def meaning_of_json(raw: bytes) -> Any:
    """What the standard library makes of it; for the twin's own test."""
    return json.loads(raw)
