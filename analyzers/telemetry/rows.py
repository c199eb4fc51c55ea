"""What the compiled decoder fills: one row per value, numbered paths, and counts.

A *value row* says which path (by number), when, and what: a number, or where in the buffer a text or
a nested value stands, to be looked at by slower code where anybody asks for it. Paths are numbered
once: an entry is a parent and some bytes, so that a device, a prefix, a path and the keys of nested
JSON form chains; what an entry means is worked out once, in Python.
"""

from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

SLACK: Final = 8  # bytes a buffer must have behind its last record: loads are eight bytes wide
MAX_DEPTH: Final = 16  # of JSON objects in each other; telemetry has four or five
MAX_NAME: Final = 0xFFFF  # bytes of one path or key


class ValueKind(IntEnum):
    """What a row's ``value`` is; ``size`` belongs to those that point into the buffer."""

    INTEGER = 0  # the number
    UNSIGNED = 1  # beyond 2^63: the bits of an unsigned number
    FLOAT = 2  # the bits of a 32-bit float
    DOUBLE = 3  # the bits of a 64-bit float
    DECIMAL = 4  # the digits; size is the precision (gNMI Decimal64)
    TEXT = 5  # offset and size of a text that is no whole number
    JSON = 6  # offset and size of JSON with arrays, escapes or other than ASCII
    LEAFLIST = 7  # offset and size of a ScalarArray
    BYTES = 8  # offset and size of bytes
    DELETED = 9  # the path was deleted
    DUPLICATES = 10  # how many values of this path the target left out
    BAD_JSON = 11  # offset and size of what is no JSON, or nested too deep
    UNNAMED = 12  # a path of more than MAX_NAME bytes, or one too many: nothing to number it by


class EntryKind(IntEnum):
    """What an entry's bytes are."""

    PEER = 0  # name of the device, or the address it spoke from
    PREFIX = 1  # serialised Path
    PATH = 2  # serialised Path
    KEY = 3  # key of a JSON object
    SNAPSHOT = 4  # the top of a JSON payload; no bytes


class Form(IntEnum):
    """How a record's payload is read by the compiled decoder."""

    RESPONSE = 0  # gNMI SubscribeResponse
    OBJECT = 1  # JSON


class RecordFault(IntEnum):
    """Why the rows of a whole record were taken back."""

    NONE = 0
    TRUNCATED = 1  # a length runs beyond its message
    VARINT = 2  # a number of more than ten bytes
    TAG = 3  # field number 0, a group, or a wire type that does not exist
    TABLES = 4  # more different paths or values than there may be


class Count(IntEnum):
    """Places in the array of counts; the first two say how full the tables are."""

    ROWS = 0
    ENTRIES = 1
    BLOB = 2  # bytes of names kept
    SYNCS = 3  # sync_response
    ERRORS = 4  # SubscribeResponse.error, deprecated
    ATOMIC = 5  # notifications that replace everything below their prefix
    EMPTY = 6  # responses with nothing set
    NOTIFICATIONS = 7


class Rows(NamedTuple):
    """Value rows, as many as ``counts[Count.ROWS]`` says."""

    record: NDArray[np.int32]  # number of the record in the batch
    entry: NDArray[np.int32]
    ts: NDArray[np.int64]  # of the notification; 0 where it has none
    kind: NDArray[np.uint8]  # ValueKind
    value: NDArray[np.int64]
    size: NDArray[np.int32]


class Names(NamedTuple):
    """Numbered paths: an open-addressing table at most half full, and the bytes it stands for."""

    slots: NDArray[np.int64]  # upper half of the hash, entry + 1 below; 0 free; a power of two
    entries: NDArray[np.int64]  # shape (n, 3): hash; parent, kind and size; offset in blob
    blob: NDArray[np.uint8]
    counts: NDArray[np.int64]  # Count
    stack: NDArray[np.int64]  # entries of the JSON objects that are open
    seed: int


def make_rows(size: int) -> Rows:
    """Room for ``size`` rows."""
    return Rows(
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.empty(size, np.int64),
        np.empty(size, np.uint8),
        np.empty(size, np.int64),
        np.empty(size, np.int32),
    )


def make_names(entries: int, blob: int, seed: int) -> Names:
    """Room for ``entries`` names (a power of two) of ``blob`` bytes together."""
    return Names(
        np.zeros(2 * entries, np.int64),
        np.zeros((entries, 3), np.int64),
        np.zeros(blob + SLACK, np.uint8),
        np.zeros(len(Count), np.int64),
        np.zeros(MAX_DEPTH + 1, np.int64),
        seed,
    )
