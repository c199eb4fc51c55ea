"""Whole batches of gNMI SubscribeResponses to value rows: one compiled pass over protobuf's bytes.

The wire format is protobuf.dev/programming-guides/encoding, the field numbers those of
openconfig/gnmi: proto/gnmi/gnmi.proto. Paths are not decoded but numbered as the bytes they are.
Fields may come in any order; a field of an unexpected wire type is an unknown field, and of a
message that comes twice the later counts. Groups, dead since 2001, are a fault, as is a length that
runs beyond its message: the rows of that record are then taken back, and nothing else is lost.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from analyzers.capture.loads import Bytes, Memory, le32, le64, memory, u8
from analyzers.telemetry.intern import BLOB, ENTRIES, NO_ROOM, ROWS, emit, intern
from analyzers.telemetry.json_rows import json_rows, text_row
from analyzers.telemetry.rows import (
    MAX_NAME,
    Count,
    EntryKind,
    Form,
    Names,
    RecordFault,
    Rows,
    ValueKind,
)
from fabric.kernel import helper, lean

PREFIX, PATH, SNAPSHOT = int(EntryKind.PREFIX), int(EntryKind.PATH), int(EntryKind.SNAPSHOT)
OBJECT = int(Form.OBJECT)
INTEGER, UNSIGNED = int(ValueKind.INTEGER), int(ValueKind.UNSIGNED)
FLOAT, DOUBLE, DECIMAL = int(ValueKind.FLOAT), int(ValueKind.DOUBLE), int(ValueKind.DECIMAL)
LEAFLIST, BYTES = int(ValueKind.LEAFLIST), int(ValueKind.BYTES)
DELETED, DUPLICATES = int(ValueKind.DELETED), int(ValueKind.DUPLICATES)
UNNAMED = int(ValueKind.UNNAMED)
SYNCS, ERRORS, ATOMIC = int(Count.SYNCS), int(Count.ERRORS), int(Count.ATOMIC)
EMPTY, NOTIFICATIONS = int(Count.EMPTY), int(Count.NOTIFICATIONS)
# A walk's outcome: one of RecordFault, or NO_SPACE for tables that must grow first.
NO_SPACE: Final = 100
TRUNCATED, VARINT, TAG = (
    int(f) for f in (RecordFault.TRUNCATED, RecordFault.VARINT, RecordFault.TAG)
)


@lean
def decode_records(
    buffer: Bytes,
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    parents: NDArray[np.int32],
    forms: NDArray[np.uint8],
    clocks: NDArray[np.int64],
    faults: NDArray[np.uint8],
    first: int,
    rows: Rows,
    names: Names,
) -> int:
    """Decode records from number ``first`` on; the number of the record that found no more room.

    Record ``i`` is ``buffer[offsets[i] : offsets[i] + sizes[i]]``, sent by the entry ``parents[i]``;
    SLACK bytes must follow the last. ``clocks`` stamp the rows of records whose form has no time.
    ``faults`` receives a RecordFault each.
    """
    data = memory(buffer)
    counts = names.counts
    for i in range(first, len(offsets)):
        before = counts[ROWS]
        at, end = offsets[i], offsets[i] + sizes[i]
        if forms[i] == OBJECT:
            entry = intern(names, data, at, 0, parents[i], SNAPSHOT)
            fits = entry != NO_ROOM and json_rows(
                rows, names, data, at, end - at, i, entry, clocks[i]
            )
            outcome = 0 if fits else NO_SPACE
        else:
            outcome = response(rows, names, data, at, end, i, parents[i])
        if outcome:
            counts[ROWS] = before
        if outcome == NO_SPACE:
            return i
        faults[i] = outcome
    return len(offsets)


@helper
def varint(data: Memory, at: int, end: int) -> tuple[int, int]:
    """A base-128 number and where it ends; minus a fault for the place where it is none.

    Bits beyond 64 are dropped.
    """
    if at >= end:
        return 0, -TRUNCATED
    byte = u8(data, at)
    if byte < 0x80:
        return byte, at + 1
    value = byte & 0x7F
    shift = 7
    while shift < 70:
        at += 1
        if at >= end:
            return 0, -TRUNCATED
        byte = u8(data, at)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
    return 0, -VARINT


@helper
def field(data: Memory, at: int, end: int) -> tuple[int, int, int, int]:
    """Tag (number and wire type), value or start, size, and where the next field stands.

    A varint's value is the second; the start of other kinds is, with their size the third. Minus a
    fault for the place where there is no field.
    """
    tag, at = varint(data, at, end)
    if at < 0:
        return 0, 0, 0, at
    if tag < 8 or tag >> 32:
        return 0, 0, 0, -TAG
    wire = tag & 7
    if wire == 2:
        size, at = varint(data, at, end)
        if at < 0:
            return 0, 0, 0, at
        if size < 0 or size > end - at:
            return 0, 0, 0, -TRUNCATED
        return tag, at, size, at + size
    if wire == 0:
        value, at = varint(data, at, end)
        return tag, value, 0, at
    size = 8 if wire == 1 else 4
    if wire not in (1, 5):
        return 0, 0, 0, -TAG
    if size > end - at:
        return 0, 0, 0, -TRUNCATED
    return tag, at, size, at + size


@helper
def response(
    rows: Rows, names: Names, data: Memory, at: int, end: int, record: int, peer: int
) -> int:
    """A SubscribeResponse."""
    counts = names.counts
    counts[EMPTY] += at == end
    while at < end:
        tag, start, size, at = field(data, at, end)
        if at < 0:
            return -at
        if tag == 0x0A:  # update
            outcome = notification(rows, names, data, start, start + size, record, peer)
            if outcome:
                return outcome
        elif tag == 0x18:
            counts[SYNCS] += start != 0
        elif tag == 0x22:
            counts[ERRORS] += 1
    return 0


@helper
def notification(
    rows: Rows, names: Names, data: Memory, begin: int, end: int, record: int, peer: int
) -> int:
    """A Notification: first what all its updates share, then deletes and updates in their order."""
    counts = names.counts
    ts, prefix_at, prefix_size = 0, begin, 0
    at = begin
    while at < end:
        tag, start, size, at = field(data, at, end)
        if at < 0:
            return -at
        if tag == 0x08:
            ts = start
        elif tag == 0x12:
            prefix_at, prefix_size = start, size
        elif tag == 0x30:
            counts[ATOMIC] += start != 0
    counts[NOTIFICATIONS] += 1
    prefix = -1
    if prefix_size <= MAX_NAME:
        prefix = intern(names, data, prefix_at, prefix_size, peer, PREFIX)
        if prefix == NO_ROOM:
            return NO_SPACE
    # Deletes are applied before updates (gNMI specification 2.1).
    for wanted in (0x2A, 0x22):
        at = begin
        while at < end:
            tag, start, size, at = field(data, at, end)
            if tag != wanted:
                continue
            if wanted == 0x22:
                outcome = update(rows, names, data, start, start + size, record, prefix, ts)
            else:
                outcome = deletion(rows, names, data, start, size, record, prefix, ts)
            if outcome:
                return outcome
    return 0


@helper
def deletion(
    rows: Rows, names: Names, data: Memory, at: int, size: int, record: int, prefix: int, ts: int
) -> int:
    """A deleted path."""
    entry, kind = -1, UNNAMED
    if prefix >= 0 and size <= MAX_NAME:
        entry, kind = intern(names, data, at, size, prefix, PATH), DELETED
        if entry == NO_ROOM:
            return NO_SPACE
    return 0 if emit(rows, names, record, entry, ts, kind, 0, 0) else NO_SPACE


@helper
def update(
    rows: Rows, names: Names, data: Memory, at: int, end: int, record: int, prefix: int, ts: int
) -> int:
    """An Update: its path is numbered, its value read; the deprecated value where there is no other."""
    path_at, path_size, val_at, val_size, old_at, old_size = at, 0, -1, 0, -1, 0
    duplicates = 0
    while at < end:
        tag, start, size, at = field(data, at, end)
        if at < 0:
            return -at
        if tag == 0x0A:
            path_at, path_size = start, size
        elif tag == 0x1A:
            val_at, val_size = start, size
        elif tag == 0x12:
            old_at, old_size = start, size
        elif tag == 0x20:
            duplicates = start & 0xFFFFFFFF
    if prefix < 0 or path_size > MAX_NAME:
        return 0 if emit(rows, names, record, -1, ts, UNNAMED, 0, 0) else NO_SPACE
    entry = intern(names, data, path_at, path_size, prefix, PATH)
    if entry == NO_ROOM:
        return NO_SPACE
    if duplicates and not emit(rows, names, record, entry, ts, DUPLICATES, duplicates, 0):
        return NO_SPACE
    if val_at >= 0:
        return typed(rows, names, data, val_at, val_at + val_size, record, entry, ts)
    if old_at >= 0:
        return untyped(rows, names, data, old_at, old_at + old_size, record, entry, ts)
    return 0


@helper
def typed(
    rows: Rows, names: Names, data: Memory, at: int, end: int, record: int, entry: int, ts: int
) -> int:
    """A TypedValue: of its members the last one set."""
    member, start, size = 0, 0, 0
    while at < end:
        tag, found, length, at = field(data, at, end)
        if at < 0:
            return -at
        # uint, int, bool, or one of those that are bytes, or float, or double
        if tag in (0x18, 0x10, 0x20, 0x35, 0x71) or (
            tag & 7 == 2 and tag >> 3 in (1, 5, 7, 8, 9, 10, 11, 12, 13)
        ):
            member, start, size = tag, found, length
    fits = True
    if member == 0x18:
        kind = UNSIGNED if start < 0 else INTEGER
        fits = emit(rows, names, record, entry, ts, kind, start, 0)
    elif member == 0x10:
        fits = emit(rows, names, record, entry, ts, INTEGER, start, 0)
    elif member == 0x20:
        fits = emit(rows, names, record, entry, ts, INTEGER, int(start != 0), 0)
    elif member in (0x52, 0x5A):  # json_val, json_ietf_val
        fits = json_rows(rows, names, data, start, size, record, entry, ts)
    elif member in (0x0A, 0x62):  # string_val, ascii_val
        fits = text_row(rows, names, data, start, size, record, entry, ts)
    elif member == 0x35:
        fits = emit(rows, names, record, entry, ts, FLOAT, le32(data, start), 0)
    elif member == 0x71:
        fits = emit(rows, names, record, entry, ts, DOUBLE, int(np.int64(le64(data, start))), 0)
    elif member == 0x3A:
        return decimal(rows, names, data, start, start + size, record, entry, ts)
    elif member == 0x42:
        fits = emit(rows, names, record, entry, ts, LEAFLIST, start, size)
    elif member:  # bytes_val, any_val, proto_bytes
        fits = emit(rows, names, record, entry, ts, BYTES, start, size)
    return 0 if fits else NO_SPACE


@helper
def decimal(
    rows: Rows, names: Names, data: Memory, at: int, end: int, record: int, entry: int, ts: int
) -> int:
    """A Decimal64: digits and precision."""
    digits, precision = 0, 0
    while at < end:
        tag, start, _, at = field(data, at, end)
        if at < 0:
            return -at
        if tag == 0x08:
            digits = start
        elif tag == 0x10:
            precision = start & 0x7FFFFFFF
    fits = emit(rows, names, record, entry, ts, DECIMAL, digits, precision)
    return 0 if fits else NO_SPACE


@helper
def untyped(
    rows: Rows, names: Names, data: Memory, at: int, end: int, record: int, entry: int, ts: int
) -> int:
    """The deprecated Value: bytes and their Encoding."""
    start, size, encoding = at, 0, 0
    while at < end:
        tag, found, length, at = field(data, at, end)
        if at < 0:
            return -at
        if tag == 0x0A:
            start, size = found, length
        elif tag == 0x10:
            encoding = found
    if encoding in (0, 4):  # JSON, JSON_IETF
        fits = json_rows(rows, names, data, start, size, record, entry, ts)
    elif encoding == 3:  # ASCII
        fits = text_row(rows, names, data, start, size, record, entry, ts)
    else:
        fits = emit(rows, names, record, entry, ts, BYTES, start, size)
    return 0 if fits else NO_SPACE


def shortage(names: Names) -> bool:
    """Whether it is the names that ran out of room, rather than the rows."""
    counts = names.counts
    return bool(
        counts[ENTRIES] >= len(names.entries) or len(names.blob) - counts[BLOB] <= 2 * MAX_NAME
    )
