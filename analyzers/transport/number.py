"""Numbering: which flow a packet belongs to, found or begun in one probe of a hash table.

The key of a flow is (interface, source, destination, destination QP number). Hosts, address pairs
and endpoints get small numbers too, but only when a flow begins: every later packet finds them
through its flow. All tables use open addressing with linear probing and are at most half full; they
are never shrunk packet by packet but rebuilt after flows were evicted. Multipliers of the hash are
drawn per run, so that nobody can prepare a capture whose flows all collide; no result depends on
them, because numbers are given out in order of appearance.
"""

import secrets
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.capture.batch import Batch
from analyzers.transport.account_state import (
    Ledger,
    Records,
    Setting,
    aligned,
    i64,
    u64,
    whole_lines,
)
from analyzers.transport.prefetch import AHEAD, prefetch
from analyzers.transport.sequence_state import IDENTITY
from fabric.codes import Header
from fabric.kernel import inline, lean

BTH = int(Header.BTH)
FIRST_FLOW = int(Setting.FIRST_FLOW)
HASHES = 256
UPPER = np.uint64(0xFFFFFFFF00000000)
LOWER = np.uint64(0x00000000FFFFFFFF)

FLOW = whole_lines(
    [
        ("src_hi", np.uint64),
        ("src_lo", np.uint64),
        ("dst_hi", np.uint64),
        ("dst_lo", np.uint64),
        *((name, IDENTITY[name]) for name in IDENTITY.names or ()),
        ("live", np.uint8),  # 0: the slot is free
    ]
)
"""The tracker's record of who a flow is, and the addresses by which it is found."""
FLOW_BYTES = FLOW.itemsize


class Names(NamedTuple):
    """Small numbers for 128-bit keys; a number that is free is in ``free[: counters[0]]``."""

    table: NDArray[np.int32]  # number + 1, or 0; a power of two of places
    keys: NDArray[np.uint64]  # shape (numbers, 2)
    free: NDArray[np.int32]
    counters: NDArray[np.int64]  # shape (1,)


class Book(NamedTuple):
    """The numbering memory of one input."""

    table: NDArray[np.uint64]  # upper half of the hash << 32 | slot + 1, or 0
    flows: Records  # FLOW, by slot
    free: NDArray[np.int32]  # free slots: free[: counters[0]]
    counters: NDArray[np.int64]  # free slots, last serial
    multipliers: NDArray[np.uint64]  # odd, shape (4,)
    hashes: NDArray[np.uint64]  # of the rows that come next
    hosts: Names  # address
    pairs: Names  # interface and source, destination
    endpoints: Names  # interface, host


def make_names(numbers: int) -> Names:
    """Room for ``numbers`` keys, a power of two, all free."""
    return Names(
        np.zeros(2 * numbers, np.int32),
        np.zeros((numbers, 2), np.uint64),
        np.arange(numbers - 1, -1, -1, dtype=np.int32),
        np.array([numbers], np.int64),
    )


def make_book(slots: int) -> Book:
    """Room for ``slots`` flows, a power of two, all free. A flow has at most two hosts of its own."""
    odd = [secrets.randbits(64) | 1 for _ in range(4)]
    return Book(
        np.zeros(2 * slots, np.uint64),
        aligned(slots, FLOW),
        np.arange(slots - 1, -1, -1, dtype=np.int32),
        np.array([slots, 0], np.int64),
        np.array(odd, np.uint64),
        np.zeros(HASHES, np.uint64),
        make_names(2 * slots),
        make_names(slots),
        make_names(2 * slots),
    )


@inline
def _mix(x: np.uint64) -> np.uint64:
    x = (x ^ (x >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return x ^ (x >> np.uint64(29))


@inline
def _hash(
    multipliers: NDArray[np.uint64], src_hi: np.uint64, src_lo: np.uint64, dst_hi: np.uint64,
    dst_lo: np.uint64, iface: int, qpn: int,
) -> np.uint64:  # fmt: skip
    last = np.uint64(qpn) | np.uint64(iface) << np.uint64(32)
    return _mix(
        (src_lo ^ (src_lo >> np.uint64(31))) * multipliers[0]
        + (dst_lo ^ (dst_lo >> np.uint64(31))) * multipliers[1]
        + (src_hi ^ (dst_hi << np.uint64(1))) * multipliers[2]
        + last * multipliers[3]
    )


@inline
def _place(names: Names, multipliers: NDArray[np.uint64], a: np.uint64, b: np.uint64) -> int:
    """The place in ``names.table`` where the key stands, or would stand."""
    mask = len(names.table) - 1
    at = i64(_mix(a * multipliers[0] + b * multipliers[1]) >> np.uint64(20)) & mask
    while True:
        number = names.table[at] - 1
        if number < 0 or (names.keys[number, 0] == a and names.keys[number, 1] == b):
            return i64(at)
        at = (at + 1) & mask


@lean
def intern(
    names: Names, multipliers: NDArray[np.uint64], a: np.uint64, b: np.uint64
) -> tuple[int, bool]:
    """Number of a key, and whether it is new; the caller has made sure that one is free."""
    at = _place(names, multipliers, a, b)
    number = names.table[at] - 1
    if number >= 0:
        return i64(number), False
    names.counters[0] -= 1
    number = names.free[names.counters[0]]
    names.table[at] = number + 1
    names.keys[number, 0] = a
    names.keys[number, 1] = b
    return i64(number), True


@lean
def rebuild_names(names: Names, multipliers: NDArray[np.uint64], used: NDArray[np.bool_]) -> None:
    """Keep the keys whose numbers are ``used`` and free all others."""
    names.table[:] = 0
    names.counters[0] = 0
    for number in range(len(names.keys) - 1, -1, -1):
        if used[number]:
            at = _place(names, multipliers, names.keys[number, 0], names.keys[number, 1])
            names.table[at] = number + 1
        else:
            names.free[names.counters[0]] = number
            names.counters[0] += 1


@lean
def wipe(words: NDArray[np.uint64], slots: NDArray[np.int64]) -> None:
    """Zero the rows ``slots`` of ``words``, writing only where something stands.

    Most of a flow's memory was never used, and writing zeros to it would claim it.
    """
    for k in range(len(slots)):
        row = words[slots[k]]
        for n in range(len(row)):
            if row[n] != 0:
                row[n] = 0


@lean
def rebuild_flows(book: Book) -> None:
    """Fill index and free list from the records that are live."""
    book.table[:] = 0
    book.counters[0] = 0
    mask = len(book.table) - 1
    for slot in range(len(book.flows) - 1, -1, -1):
        f = book.flows[slot]
        if f.live == 0:
            book.free[book.counters[0]] = slot
            book.counters[0] += 1
            continue
        h = _hash(book.multipliers, f.src_hi, f.src_lo, f.dst_hi, f.dst_lo, f.iface, f.qpn)
        at = i64(h >> np.uint64(20)) & mask
        while book.table[at] != 0:
            at = (at + 1) & mask
        book.table[at] = (h & UPPER) | np.uint64(slot + 1)


@lean
def endpoint_of(book: Book, ledger: Ledger, iface: int, host: int) -> int:
    """The endpoint of a host at an interface."""
    number, new = intern(book.endpoints, book.multipliers, np.uint64(iface), np.uint64(host))
    if new:
        e = ledger.endpoints[number]
        e.start = 0
        e.end = 0
        e.number = 0
        e.peak = 0
        e.side = 0
        e.host = host
        e.iface = iface
    return number


@lean
def pair_of(book: Book, ledger: Ledger, iface: int, src: int, dst: int) -> int:
    """The pair of two hosts at an interface.

    A link joins two sides of the fabric, and every packet on it goes from one to the other: hosts
    that were seen to send to each other lie on different sides. What is said of hosts that never met
    is a guess.
    """
    key = np.uint64(iface) << np.uint64(32)
    number, new = intern(book.pairs, book.multipliers, key | np.uint64(src), np.uint64(dst))
    if not new:
        return number
    p = ledger.pairs[number]
    p.host_bin = 0
    p.marked = 0
    p.source = endpoint_of(book, ledger, iface, src)
    p.destination = endpoint_of(book, ledger, iface, dst)
    s = ledger.endpoints[p.source]
    d = ledger.endpoints[p.destination]
    if s.side == 0:
        s.side = 3 - d.side if d.side else 1
    if d.side == 0:
        d.side = 3 - s.side
    p.side = s.side - 1
    p.reverse = -1
    at = _place(book.pairs, book.multipliers, key | np.uint64(dst), np.uint64(src))
    reverse = book.pairs.table[at] - 1
    if reverse >= 0:
        p.reverse = reverse
        ledger.pairs[reverse].reverse = number
    return number


@lean
def begin_flow(book: Book, ledger: Ledger, batch: Batch, i: int) -> int:
    """A slot for the flow of row ``i``; the caller has made sure that one is free."""
    book.counters[0] -= 1
    book.counters[1] += 1
    slot = i64(book.free[book.counters[0]])
    f = book.flows[slot]
    f.live = 1
    f.serial = book.counters[1]
    f.epoch = 0
    f.src_hi = batch.src_hi[i]
    f.src_lo = batch.src_lo[i]
    f.dst_hi = batch.dst_hi[i]
    f.dst_lo = batch.dst_lo[i]
    f.qpn = batch.qpn[i]
    f.iface = batch.iface[i]
    f.sport = batch.sport[i]
    f.service = batch.opcode[i] >> 5
    src, _ = intern(book.hosts, book.multipliers, batch.src_hi[i], batch.src_lo[i])
    dst, _ = intern(book.hosts, book.multipliers, batch.dst_hi[i], batch.dst_lo[i])
    f.src_id = src
    f.dst_id = dst
    a = ledger.flows[slot]
    a.number = ledger.settings[FIRST_FLOW] + f.serial
    a.pair = pair_of(book, ledger, i64(batch.iface[i]), src, dst)
    return slot


@inline
def _hash_rows(batch: Batch, lo: int, hi: int, book: Book) -> None:
    """Hashes of rows ``lo`` to ``hi``; places behind them are left as they were."""
    for row in range(lo, hi):
        i = u64(row)
        book.hashes[u64(row - lo)] = _hash(
            book.multipliers, batch.src_hi[i], batch.src_lo[i], batch.dst_hi[i], batch.dst_lo[i],
            batch.iface[i], batch.qpn[i],
        )  # fmt: skip


@inline
def _ask_ahead(book: Book, at: int, mask: int) -> None:
    """Ask for what rows further on will need: first the place in the table, then the record."""
    far = min(at + 2 * AHEAD, len(book.hashes) - 1)
    near = min(at + AHEAD, len(book.hashes) - 1)
    prefetch(book.table, (i64(book.hashes[u64(far)] >> np.uint64(20)) & mask) * 8)
    entry = book.table[u64(i64(book.hashes[u64(near)] >> np.uint64(20)) & mask)]
    prefetch(book.flows, (i64(entry & LOWER) - 1) * FLOW_BYTES)


@inline
def _find(batch: Batch, i: int, h: np.uint64, book: Book, mask: int) -> int:
    """Slot of the flow of row ``i``; of a new one, the inverted place where it belongs."""
    at = u64(i64(h >> np.uint64(20)) & mask)
    while book.table[at] != 0:
        if (book.table[at] ^ h) & UPPER == 0:
            slot = i64(book.table[at] & LOWER) - 1
            f = book.flows[u64(slot)]
            if (
                f.src_lo == batch.src_lo[i]
                and f.dst_lo == batch.dst_lo[i]
                and f.qpn == batch.qpn[i]
                and f.iface == batch.iface[i]
                and f.src_hi == batch.src_hi[i]
                and f.dst_hi == batch.dst_hi[i]
            ):
                return slot
        at = u64(i64(at) + 1 & mask)
    return ~i64(at)


@lean
def number(batch: Batch, lo: int, hi: int, book: Book, ledger: Ledger) -> int:
    """Fill slot, src_id and dst_id of rows ``lo`` to ``hi``.

    Returns the next row: less than ``hi`` where a new flow found no free slot. Everything before
    that row must then be done with before flows are evicted and numbering goes on.
    """
    mask = len(book.table) - 1
    size = len(book.hashes)
    at = size - 1
    for row in range(lo, hi):
        at += 1
        if at == size:
            at = 0
            _hash_rows(batch, row, min(row + size, hi), book)
        _ask_ahead(book, at, mask)
        i = u64(row)
        if batch.headers[i] & BTH == 0:
            batch.slot[i] = -1
            continue
        h = book.hashes[u64(at)]
        slot = _find(batch, i, h, book, mask)
        if slot < 0:
            if book.counters[0] == 0:
                return row
            place = ~slot
            slot = begin_flow(book, ledger, batch, i)
            book.table[u64(place)] = (h & UPPER) | np.uint64(slot + 1)
        batch.slot[i] = slot
        batch.src_id[i] = book.flows[u64(slot)].src_id
        batch.dst_id[i] = book.flows[u64(slot)].dst_id
    return hi
