"""Numbers for paths: one probe of a hash table for a path already seen.

Eight bytes are hashed at a time; a hit is confirmed byte by byte, so a collision of hashes never
mixes two paths up. The seed is drawn per run: nobody can prepare paths that all collide.
"""

from typing import Final

import numpy as np

from analyzers.capture.loads import Bytes, Memory, le64, memory, u8
from analyzers.telemetry.rows import SLACK, Count, EntryKind, Names, Rows, make_names
from fabric.kernel import helper, lean

MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio
HALF: Final = np.uint64(32)
UPPER: Final = np.int64(-1 << 32)
LOWER: Final = np.int64(0xFFFFFFFF)
PARENT_SHIFT, KIND_SHIFT = 24, 20  # of entries[:, 1]; below them the size
SIZE_MASK, KIND_MASK = (1 << KIND_SHIFT) - 1, 15
MAX_ENTRIES: Final = 1 << 26  # far below what the shift of the parent leaves room for
ENTRIES, BLOB, ROWS = int(Count.ENTRIES), int(Count.BLOB), int(Count.ROWS)
NO_ROOM: Final = -1


@helper
def mask_of(size: int) -> np.uint64:
    """Ones in the lowest ``size`` bytes, 1 to 7."""
    return (np.uint64(1) << np.uint64(8 * size)) - np.uint64(1)


@helper
def hash_name(data: Memory, at: int, size: int, start: np.uint64) -> np.uint64:
    """Mix ``size`` bytes, eight at a time; reads up to seven bytes behind them."""
    h = (start ^ np.uint64(size)) * MULTIPLIER
    end = at + size - 7
    while at < end:
        h = (h ^ le64(data, at)) * MULTIPLIER
        h ^= h >> HALF
        at += 8
    rest = end + 7 - at
    if rest > 0:
        h = (h ^ (le64(data, at) & mask_of(rest))) * MULTIPLIER
    h ^= h >> HALF
    return h * MULTIPLIER


@helper
def same(data: Memory, at: int, other: Memory, there: int, size: int) -> bool:
    """Whether two names are the same bytes."""
    while size >= 8:
        if le64(data, at) != le64(other, there):
            return False
        at += 8
        there += 8
        size -= 8
    return size == 0 or (le64(data, at) ^ le64(other, there)) & mask_of(size) == np.uint64(0)


@helper
def intern(names: Names, data: Memory, at: int, size: int, parent: int, kind: int) -> int:
    """Number of the name ``data[at : at + size]`` below ``parent``, a new one where it is new.

    NO_ROOM where the tables are full. ``size`` is at most MAX_NAME.
    """
    slots, entries, counts = names.slots, names.entries, names.counts
    blob = memory(names.blob)
    mask = len(slots) - 1
    about = (parent << PARENT_SHIFT) | (kind << KIND_SHIFT) | size
    h = np.int64(hash_name(data, at, size, np.uint64(names.seed) ^ np.uint64(about)))
    place = int(h) & mask
    while slots[place]:
        slot = slots[place]
        if (slot ^ h) & UPPER == 0:
            entry = (slot & LOWER) - 1
            if (
                entries[entry, 0] == h
                and entries[entry, 1] == about
                and same(data, at, blob, entries[entry, 2], size)
            ):
                return int(entry)
        place = (place + 1) & mask
    entry = counts[ENTRIES]
    begin = counts[BLOB]
    if entry >= len(entries) or begin + size + SLACK > len(names.blob):
        return NO_ROOM
    slots[place] = (h & UPPER) | (entry + 1)
    entries[entry, 0], entries[entry, 1], entries[entry, 2] = h, about, begin
    for i in range(size):
        names.blob[begin + i] = u8(data, at + i)
    counts[ENTRIES], counts[BLOB] = entry + 1, begin + size
    return int(entry)


@helper
def emit(
    rows: Rows, names: Names, record: int, entry: int, ts: int, kind: int, value: int, size: int
) -> bool:
    """Add a row; False where there is no room."""
    n = names.counts[ROWS]
    if n >= len(rows.entry):
        return False
    rows.record[n], rows.entry[n], rows.ts[n] = record, entry, ts
    rows.kind[n], rows.value[n], rows.size[n] = kind, value, size
    names.counts[ROWS] = n + 1
    return True


@lean
def number(names: Names, data: Bytes, size: int, parent: int, kind: int) -> int:
    """:func:`intern` for Python: the name is the first ``size`` bytes of ``data``."""
    return intern(names, memory(data), 0, size, parent, kind)


def number_of(names: Names, name: bytes, parent: int, kind: EntryKind) -> int:
    """Number of a name; NO_ROOM where the tables are full."""
    data = np.frombuffer(name + bytes(SLACK), np.uint8)
    return int(number(names, data, len(name), parent, int(kind)))


def entry_of(names: Names, entry: int) -> tuple[int, int, bytes]:
    """Parent, kind and bytes of an entry."""
    _, about, begin = (int(x) for x in names.entries[entry])
    size = about & SIZE_MASK
    return (
        about >> PARENT_SHIFT,
        (about >> KIND_SHIFT) & KIND_MASK,
        names.blob[begin : begin + size].tobytes(),
    )


def grown(names: Names) -> Names:
    """The same names in tables of twice the size; entries keep their numbers."""
    used, filled = int(names.counts[ENTRIES]), int(names.counts[BLOB])
    larger = make_names(2 * len(names.entries), 2 * len(names.blob), names.seed)
    larger.entries[:used] = names.entries[:used]
    larger.blob[:filled] = names.blob[:filled]
    larger.counts[:] = names.counts
    _rehash(larger.slots, larger.entries, used)
    return larger


@lean
def _rehash(slots: "np.ndarray", entries: "np.ndarray", used: int) -> None:
    mask = len(slots) - 1
    for entry in range(used):
        h = entries[entry, 0]
        place = int(h) & mask
        while slots[place]:
            place = (place + 1) & mask
        slots[place] = (h & UPPER) | (entry + 1)
