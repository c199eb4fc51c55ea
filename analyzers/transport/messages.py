"""Messages rebuilt from packets, as helpers of the accounting kernel (IBTA 9.7.2, 9.7.3).

SEND and WRITE: packets of one message have consecutive PSNs from a FIRST to a LAST, or are an ONLY.
A *fragment* is a run of them that was seen; a missing packet leaves two fragments, and its resend or
late original joins them. What is complete is written at once; fragments that wait are few, and the
oldest is given up, written as incomplete, when there are more than :data:`FRAGMENTS`.

READ and atomics: the request opens a record with the flow that asks; responses of the paired flow
fill it. Pairing is learnt from the responses themselves, so the first ones may come before anyone
knows whom they answer: such runs are kept with their own flow and told later.
"""

import numpy as np

from analyzers.transport.account_state import (
    ANSWERS,
    FRAGMENTS,
    READS,
    Ends,
    Fill,
    Ledger,
    i64,
    u64,
)
from fabric.codes import PSN_MASK
from fabric.kernel import inline

SEND, WRITE, READ, ATOMIC = 0, 1, 2, 3  # MESSAGES.operation
HAS_FIRST, HAS_LAST = int(Ends.FIRST), int(Ends.LAST)
WHOLE = HAS_FIRST | HAS_LAST
FILL_MESSAGES = int(Fill.MESSAGES)
HALF = 1 << 23


@inline
def distance(a: int, b: int) -> int:
    """``a - b`` of two PSNs, signed."""
    return ((i64(a) - i64(b) + HALF) & PSN_MASK) - HALF


@inline
def write_message(
    ledger: Ledger, slot: int, operation: int, start: int, end: int, first: int,
    packets: int, size: int, declared: int, whole: bool, va: np.uint64, immediate: int,
) -> None:  # fmt: skip
    """Write a MESSAGES row of the flow in ``slot``; it is complete if its bytes agree as well."""
    rings = ledger.rings
    n = rings.fill[FILL_MESSAGES]
    rings.fill[FILL_MESSAGES] = n + 1
    complete = whole and (declared < 0 or size == declared)
    if complete:
        ledger.flows[slot].messages += 1
    row = rings.messages[0]
    row.flow[n] = ledger.flows[slot].number
    row.operation[n] = operation
    row.start[n] = start
    row.end[n] = end
    row.first_psn[n] = first
    row.packets[n] = packets
    row.bytes[n] = size
    row.declared_bytes[n] = declared
    row.complete[n] = complete
    row.va[n] = va
    row.immediate[n] = immediate


@inline
def drop_fragment(ledger: Ledger, slot: int, index: int) -> None:
    """Forget fragment ``index``: later ones move down, so that the first stays the oldest."""
    a = ledger.flows[slot]
    for k in range(index + 1, a.parked):
        ledger.fragments[u64(k - 1), slot] = ledger.fragments[u64(k), slot]
    a.parked -= 1
    if a.open == index + 1:
        a.open = 0
    elif a.open > index + 1:
        a.open -= 1


@inline
def write_fragment(ledger: Ledger, slot: int, index: int) -> None:
    """Write fragment ``index`` of a slot as a message, and forget it."""
    f = ledger.fragments[u64(index), slot]
    write_message(
        ledger, slot, f.operation, f.start, f.end, f.first, f.packets, f.bytes, f.declared,
        f.ends == WHOLE, f.va, f.immediate,
    )  # fmt: skip
    drop_fragment(ledger, slot, index)


@inline
def find_before(ledger: Ledger, slot: int, psn: int, operation: int) -> int:
    """Fragment of which ``psn`` would be the next packet; -1 none."""
    a = ledger.flows[slot]
    for k in range(-1, a.parked):
        index = k if k >= 0 else a.open - 1  # the one that grew last is the likeliest
        if index >= 0:
            f = ledger.fragments[u64(index), slot]
            if f.next == psn and f.operation == operation and f.ends & HAS_LAST == 0:
                return i64(index)
    return -1


@inline
def find_after(ledger: Ledger, slot: int, psn: int, operation: int) -> int:
    """Fragment to which ``psn`` is the packet before its first; -1 none."""
    for k in range(ledger.flows[slot].parked):
        f = ledger.fragments[u64(k), slot]
        if f.first == (psn + 1) & PSN_MASK and f.operation == operation and f.ends & HAS_FIRST == 0:
            return i64(k)
    return -1


@inline
def add_packet(
    ledger: Ledger, slot: int, operation: int, ends: int, ts: int, psn: int,
    payload: int, declared: int, va: np.uint64, immediate: int, late: bool,
) -> None:  # fmt: skip
    """A request packet, seen for the first time, of a message of several packets.

    Only one that comes ``late`` can have a fragment that continues it.
    """
    a = ledger.flows[slot]
    before = -1 if ends & HAS_FIRST else find_before(ledger, slot, psn, operation)
    after = -1
    if late and ends & HAS_LAST == 0:
        after = find_after(ledger, slot, psn, operation)
    index = before
    if before < 0:
        index = after
    if index < 0:
        index = a.parked
        a.parked += 1
        f = ledger.fragments[u64(index), slot]
        f.start = ts
        f.end = ts
        f.bytes = 0
        f.declared = -1
        f.va = 0
        f.immediate = -1
        f.packets = 0
        f.operation = operation
        f.ends = 0
        f.first = psn
        f.next = (psn + 1) & PSN_MASK
    f = ledger.fragments[u64(index), slot]
    if before >= 0:
        f.next = (psn + 1) & PSN_MASK
    elif after >= 0:
        f.first = psn
    f.start = min(f.start, ts)
    f.end = max(f.end, ts)
    f.bytes += payload
    f.packets += 1
    f.ends |= ends
    if ends & HAS_FIRST:
        f.declared = declared
        f.va = va
    if ends & HAS_LAST:
        f.immediate = immediate
    a.open = index + 1
    if before >= 0 and after >= 0:
        join_fragments(ledger, slot, before, after)
        index = a.open - 1
    if ledger.fragments[u64(index), slot].ends == WHOLE:
        write_fragment(ledger, slot, index)
    elif a.parked == FRAGMENTS:
        write_fragment(ledger, slot, 0)


@inline
def join_fragments(ledger: Ledger, slot: int, before: int, after: int) -> None:
    """Add fragment ``after`` to fragment ``before``, which it continues."""
    f = ledger.fragments[u64(before), slot]
    g = ledger.fragments[u64(after), slot]
    f.start = min(f.start, g.start)
    f.end = max(f.end, g.end)
    f.bytes += g.bytes
    f.packets += g.packets
    f.next = g.next
    f.ends |= g.ends
    f.immediate = g.immediate
    drop_fragment(ledger, slot, after)


@inline
def drop_read(ledger: Ledger, slot: int, index: int) -> None:
    """Forget READ ``index``: later ones move down, so that the first stays the oldest."""
    a = ledger.flows[slot]
    for k in range(index + 1, a.reads):
        ledger.reads[u64(k - 1), slot] = ledger.reads[u64(k), slot]
    a.reads -= 1


@inline
def write_read(ledger: Ledger, slot: int, index: int, whole: bool) -> None:
    """Write READ or atomic ``index`` of a slot as a message, and forget it."""
    r = ledger.reads[u64(index), slot]
    write_message(
        ledger, slot, r.operation, r.start, r.end, r.first, r.packets, r.bytes, r.declared,
        whole, r.va, -1,
    )  # fmt: skip
    drop_read(ledger, slot, index)


@inline
def add_read(
    ledger: Ledger, slot: int, operation: int, ts: int, psn: int, declared: int,
    va: np.uint64,
) -> None:  # fmt: skip
    """A READ request or an atomic, seen for the first time.

    A READ for the tail of one that is outstanding is no new one: it asks again for responses that
    were lost (the implied NAK, IBTA 9.7.5.1.5).
    """
    a = ledger.flows[slot]
    for k in range(a.reads):
        r = ledger.reads[u64(k), slot]
        if r.operation == operation == READ and va > r.va and distance(psn, r.first) > 0:
            skipped = i64(va - r.va)
            if skipped < r.declared and skipped + declared == r.declared:
                return
    r = ledger.reads[u64(a.reads), slot]
    a.reads += 1
    r.start = ts
    r.end = ts
    r.bytes = 0
    r.declared = declared
    r.va = va
    r.first = psn
    r.next = psn
    r.packets = 0
    r.holes = 0
    r.operation = operation
    if a.reads == READS:
        write_read(ledger, slot, 0, False)


@inline
def add_answer(
    ledger: Ledger, slot: int, begins: bool, ends: bool, ts: int, psn: int, size: int
) -> None:
    """A response to a READ or an atomic, seen for the first time, kept with its own flow."""
    a = ledger.flows[slot]
    if a.answers > 0 and not begins:
        w = ledger.answers[u64(a.answers - 1), slot]
        if (i64(w.first) + i64(w.packets)) & PSN_MASK == psn and w.last == 0:
            w.packets += 1
            w.bytes += size
            w.end = ts
            w.last = ends
            return
    if a.answers == ANSWERS:
        for k in range(1, ANSWERS):
            ledger.answers[u64(k - 1), slot] = ledger.answers[u64(k), slot]
        a.answers -= 1
    w = ledger.answers[u64(a.answers), slot]
    a.answers += 1
    w.first = psn
    w.packets = 1
    w.bytes = size
    w.end = ts
    w.last = ends


@inline
def tell_answers(ledger: Ledger, slot: int, asker: int) -> None:
    """Give the responses that ``slot`` keeps to the flow in slot ``asker``."""
    a = ledger.flows[slot]
    for k in range(a.answers):
        w = ledger.answers[u64(k), slot]
        index = ledger.flows[asker].reads - 1
        while index >= 0 and distance(w.first, ledger.reads[u64(index), asker].first) < 0:
            index -= 1
        if index < 0:
            continue
        r = ledger.reads[u64(index), asker]
        ahead = distance(w.first, r.next)
        if ahead >= 0:
            r.holes += ahead
            r.next = (i64(w.first) + i64(w.packets)) & PSN_MASK
        elif r.holes >= w.packets:
            r.holes -= w.packets
        else:
            continue
        r.packets += w.packets
        r.bytes += w.bytes
        r.end = max(r.end, w.end)
        if r.declared >= 0 and r.packets > 0 and r.bytes >= r.declared:
            write_read(ledger, asker, index, True)
        elif r.declared < 0 and w.last:
            write_read(ledger, asker, index, r.holes == 0)
    a.answers = 0
