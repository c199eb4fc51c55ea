"""The record walk: where each packet of a window begins, when it was captured and how long it is.

Two kernels fill the first columns of a batch (``ts``, ``offset``, ``captured``, ``wire``, ``frame``,
``iface``) from a window of bytes and stop at the first thing they cannot go past; ``Stop`` says why.
They read the window and a small state array, touch no file and raise nothing.

What a row promises to the decoder:

- the frame's ``captured`` bytes lie in the window, from ``offset`` on;
- ``wire`` is what the file says, which may contradict ``captured``;
- ``iface`` is a row of the reader's interface list, or UNDESCRIBED for a pcapng packet whose
  interface the section never described (Fault.NO_INTERFACE);
- ``ts`` of a simple packet block, which has none, and of a packet of an undescribed interface,
  whose clock is unknown, is that of the record before; they are counted as untimed.

Arithmetic on times is modulo 2^64, so a nonsensical clock gives nonsense and no error.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from analyzers.capture.batch import UNDESCRIBED
from analyzers.capture.formats import MAX_RECORD_BYTES
from analyzers.capture.loads import be16, be32, le16, le32, le64
from fabric.kernel import inline, kernel
from fabric.pcap import (
    BYTE_ORDER_MAGIC,
    ENHANCED_PACKET,
    INTERFACE,
    OBSOLETE_PACKET,
    SECTION_HEADER,
    SIMPLE_PACKET,
    STATISTICS,
)


class Stop(IntEnum):
    """Why an index kernel returned. From TOO_LONG on the file is damaged where it stopped."""

    MORE = 0  # the next record is not complete in the window
    FULL = 1  # the columns are full
    CONTROL = 2  # pcapng: a complete section, interface or statistics block is next
    TOO_LONG = 3  # a length beyond what a packet or a block may have
    TOO_SHORT = 4  # pcapng: a block shorter than its own fields
    UNALIGNED = 5  # pcapng: a block whose length is no multiple of four
    MISMATCH = 6  # pcapng: the length behind a block differs from the one before it
    OVERRUN = 7  # pcapng: a packet longer than its block
    NO_MAGIC = 8  # pcapng: a section header without a byte-order magic
    BLANK = 9  # pcap: zeros where a record header should be


# Plain integers for the kernels, which take no attribute of a class for a constant.
MORE, FULL, CONTROL, TOO_LONG, TOO_SHORT = map(int, tuple(Stop)[:5])
UNALIGNED, MISMATCH, OVERRUN, NO_MAGIC, BLANK = map(int, tuple(Stop)[5:])

# Places in the state array, int64, shape (STATE_SIZE,).
FRAME = 0  # number of the last packet
PREVIOUS = 1  # pcapng: time of the last packet, ns
UNTIMED = 2  # pcapng: packets that carry no time of their own
BIG = 3  # 1 where the file (pcapng: the section) is big-endian
LIMIT = 4  # pcap: the longest packet that is believed, bytes
SCALE = 5  # pcap: ns per unit of the fraction of a second
HEADER = 6  # pcap: bytes of a record header
IFACE = 7  # pcap: row of the reader's interface list
LENGTH = 8  # what a record or block that is damaged gives as its length
STATE_SIZE = 9

# Columns of the table of a section's interfaces, uint64, shape (interfaces, CLOCK_SIZE).
ROW = 0  # row of the reader's interface list
SNAPLEN = 1  # bytes; 0 none
MULTIPLY = 2  # ns = ticks * MULTIPLY // DIVIDE where SHIFT is DECIMAL
DIVIDE = 3
SHIFT = 4  # the resolution is 2^-SHIFT s
OFFSET = 5  # ns to add
LOST = 6  # packets that obsolete packet blocks report as dropped before them
CLOCK_SIZE = 7

DECIMAL = 0xFF  # no binary resolution: the exponent of one has seven bits
NS = 1_000_000_000
UNKNOWN_DROPS = 0xFFFF  # of an obsolete packet block

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
U16 = NDArray[np.uint16]
U8 = NDArray[np.uint8]


@inline
def number32(window: U8, at: int, big: int) -> int:
    """Return the 32-bit number at ``at``."""
    return be32(window, at) if big else le32(window, at)


@inline
def number16(window: U8, at: int, big: int) -> int:
    """Return the 16-bit number at ``at``."""
    return be16(window, at) if big else le16(window, at)


@kernel
def index_pcap(
    window: U8,
    begin: int,
    end: int,
    state: I64,
    ts: I64,
    offset: I64,
    captured: U32,
    wire: U32,
    frame: I64,
    iface: U16,
) -> tuple[int, int, int]:
    """Index pcap records from ``begin`` up to ``end``: (rows filled, where it stopped, Stop).

    ``state`` is updated; the columns have equal length, which bounds the rows.
    """
    big, limit, scale, header = state[BIG], state[LIMIT], state[SCALE], state[HEADER]
    number, rows, at, stop, length = state[FRAME], 0, begin, MORE, 0
    while True:
        if at + header > end:
            break
        length = number32(window, at + 8, big)
        if length > limit:
            stop = TOO_LONG
            break
        if at + header + length > end:
            break
        if length == 0 and le64(window, at) == 0 and le64(window, at + 8) == 0:
            stop = BLANK
            break
        if rows == len(ts):
            stop = FULL
            break
        number += 1
        ts[rows] = number32(window, at, big) * NS + number32(window, at + 4, big) * scale
        offset[rows] = at + header
        captured[rows] = length
        wire[rows] = number32(window, at + 12, big)
        frame[rows] = number
        iface[rows] = state[IFACE]
        rows += 1
        at += header + length
    state[FRAME] = number
    state[LENGTH] = length
    return rows, at, stop


@inline
def nanoseconds(ticks: np.uint64, clocks: U64, row: int) -> int:
    """Time since the epoch, ns, of a 64-bit count of a clock's ticks.

    Binary resolutions need 128 bits in between: the fraction's product with 10^9 is put together
    from two halves of which none overflows, so the result is exact (rounded down).
    """
    shift = clocks[row, SHIFT]
    if shift == DECIMAL:
        if clocks[row, DIVIDE] == np.uint64(1):
            ns = ticks * clocks[row, MULTIPLY]
        else:
            ns = ticks // clocks[row, DIVIDE]
        return int(np.int64(ns + clocks[row, OFFSET]))
    second, low, half = np.uint64(NS), np.uint64(0xFFFFFFFF), np.uint64(32)
    whole, part = np.uint64(0), ticks
    if shift < np.uint64(64):
        whole = ticks >> shift
        part = ticks & ((np.uint64(1) << shift) - np.uint64(1))
    if shift <= half:
        fraction = (part * second) >> shift
    else:
        product = (part >> half) * second + (((part & low) * second) >> half)
        shift -= half
        fraction = product >> shift if shift < np.uint64(64) else np.uint64(0)
    return int(np.int64(whole * second + fraction + clocks[row, OFFSET]))


@inline
def block_length(window: U8, at: int, end: int, big: int) -> tuple[int, int]:
    """Length of the block at ``at``, and what is wrong with it; (0, MORE) where it is not complete."""
    if at + 12 > end:
        return 0, MORE
    kind = number32(window, at, big)
    if kind == SECTION_HEADER:
        big = 1 if be32(window, at + 8) == BYTE_ORDER_MAGIC else 0
        if not big and le32(window, at + 8) != BYTE_ORDER_MAGIC:
            return 0, NO_MAGIC
    total = number32(window, at + 4, big)
    least = 12
    if kind in (ENHANCED_PACKET, OBSOLETE_PACKET):
        least = 32
    elif kind == SECTION_HEADER:
        least = 28
    elif kind == STATISTICS:
        least = 24
    elif kind == INTERFACE:
        least = 20
    elif kind == SIMPLE_PACKET:
        least = 16
    if total > MAX_RECORD_BYTES:
        return total, TOO_LONG
    if total < least:
        return total, TOO_SHORT
    if total & 3:
        return total, UNALIGNED
    if at + total > end:
        return 0, MORE
    if number32(window, at + total - 4, big) != total:
        return total, MISMATCH
    return total, MORE


@kernel
def index_pcapng(  # as long as the three packet blocks and the ways to stop need
    window: U8,
    begin: int,
    end: int,
    state: I64,
    clocks: U64,
    described: int,
    rows: int,
    ts: I64,
    offset: I64,
    captured: U32,
    wire: U32,
    frame: I64,
    iface: U16,
) -> tuple[int, int, int]:
    """Index pcapng blocks from ``begin`` up to ``end``: (rows filled, where it stopped, Stop).

    ``clocks`` holds the ``described`` interfaces of the section, shape (>= described, CLOCK_SIZE);
    ``rows`` are filled already, so that blocks the caller reads need not end a batch. Other blocks
    that are neither packets nor read by the caller (Stop.CONTROL) are skipped.
    """
    big, number, previous = state[BIG], state[FRAME], state[PREVIOUS]
    at, stop, total = begin, MORE, 0
    while True:
        total, stop = block_length(window, at, end, big)
        if stop != MORE or total == 0:
            break
        kind = number32(window, at, big)
        if kind in (SECTION_HEADER, INTERFACE, STATISTICS):
            stop = CONTROL
            break
        if kind not in (ENHANCED_PACKET, SIMPLE_PACKET, OBSOLETE_PACKET):
            at += total
            continue
        if rows == len(ts):
            stop = FULL
            break
        if kind == SIMPLE_PACKET:
            row, start, size = 0, at + 12, number32(window, at + 8, big)
            wire[rows] = size
            if described > 0 and clocks[0, SNAPLEN] > np.uint64(0):
                size = min(size, int(np.int64(clocks[0, SNAPLEN])))
            size = min(size, total - 16)
        else:
            start, size = at + 28, number32(window, at + 20, big)
            if size > total - 32:
                stop = OVERRUN
                break
            wire[rows] = number32(window, at + 24, big)
            if kind == ENHANCED_PACKET:
                row = number32(window, at + 8, big)
            else:
                row = number16(window, at + 8, big)
                drops = number16(window, at + 10, big)
                if row < described and drops != UNKNOWN_DROPS:
                    clocks[row, LOST] += np.uint64(drops)
        iface[rows] = clocks[row, ROW] if row < described else np.uint64(UNDESCRIBED)
        if kind == SIMPLE_PACKET or row >= described:
            state[UNTIMED] += 1
        else:
            high, low = number32(window, at + 12, big), number32(window, at + 16, big)
            ticks = (np.uint64(high) << np.uint64(32)) | np.uint64(low)
            previous = nanoseconds(ticks, clocks, row)
        number += 1
        ts[rows] = previous
        offset[rows] = start
        captured[rows] = size
        frame[rows] = number
        rows += 1
        at += total
    state[FRAME] = number
    state[LENGTH] = total
    state[PREVIOUS] = previous
    return rows, at, stop
