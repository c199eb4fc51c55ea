"""The sequence tracker: what each packet means for the PSN sequence it belongs to.

``docs/sequence.md`` is the specification. Here is the loop over the rows with its two fast paths, the
request that is simply the next one and the ACK that simply covers more; everything else, and every
packet of a flow in which something is open, goes to :mod:`analyzers.transport.requests` and
:mod:`analyzers.transport.responses`. The caller owns the outer loop::

    row = lo
    while True:
        row, reason = track(batch, row, hi, identity, state)
        # account for the rows done, then
        if reason == Reason.RING_FULL: drain state.events[: state.control[Control.EVENTS]]
        if reason == Reason.REUSE: renew batch.slot[row] (its questions are closed already)
        if reason == Reason.DONE: break
"""

import numpy as np
from numpy.typing import NDArray

from analyzers.capture.batch import Batch
from analyzers.transport.gaps import EVENTS
from analyzers.transport.marks import Mark
from analyzers.transport.pairing import (
    doubt,
    doubt_candidates,
    enlist,
    find_peer,
    flow_of,
    meet,
    part,
    settle_last,
)
from analyzers.transport.prefetch import AHEAD, prefetch
from analyzers.transport.psn import unwrap
from analyzers.transport.reads import close_response_gaps
from analyzers.transport.recovery import SLOW_UNJUDGED, close_questions, refresh
from analyzers.transport.requests import (
    ANSWERED,
    FIRST_MIDDLE,
    LIFE_ENDS,
    READ_REQUEST,
    REQUEST,
    Request,
    is_copy,
    remember,
    slow_request,
    time_request,
)
from analyzers.transport.responses import (
    CLASS_ACK,
    NO_SAMPLE,
    RESPONSE_MIDDLE,
    Response,
    acknowledge,
    asked_since,
    slow_response,
)
from analyzers.transport.sequence_state import (
    EVENT_ROWS,
    EVENTS_PER_ROW,
    MEMORY,
    OPEN,
    RECENT,
    RECENT_PACKETS,
    SEQ,
    TIMED_REQUESTS,
    Reason,
    Record,
    Records,
    Sequences,
    i64,
    u64,
)
from fabric.codes import PSN_MASK, Header, NakCode, Operation, Service, Syndrome
from fabric.kernel import helper, inline, lean

DONE, RING_FULL, REUSE = (i64(reason) for reason in Reason)
NEW, COPY = i64(Mark.NEW), i64(Mark.COPY)
NO_BYTES = i64(0)
LINE = 64  # bytes of the cache
SEQ_BYTES, MEMORY_BYTES, RECENT_BYTES = SEQ.itemsize, MEMORY.itemsize, RECENT.itemsize
OPEN_BYTES, SPANS_BYTES = OPEN.itemsize, OPEN.fields["start"][1]  # type: ignore[index]
STATE_AT = OPEN.fields["provisional"][1] // LINE * LINE  # type: ignore[index]
ANSWERS_AT = MEMORY.fields["answers"][1]  # type: ignore[index]  # a structured type has fields
TIMED_AT = MEMORY.fields["timed"][1]  # type: ignore[index]
MASK = RECENT_PACKETS - 1
ROOM = EVENT_ROWS - EVENTS_PER_ROW
RC, UC, UD, XRC = i64(Service.RC), i64(Service.UC), i64(Service.UD), i64(Service.XRC)
AETH, RETH = i64(Header.AETH), i64(Header.RETH)
ACKNOWLEDGE = i64(Operation.ACKNOWLEDGE)
SEQUENCE_ERROR = i64(Syndrome.NAK << 5 | NakCode.SEQUENCE_ERROR)
# By the five low bits of the opcode.
REQUESTS = sum(
    1 << operation
    for operation in Operation
    if operation <= Operation.READ_REQUEST
    or (operation > Operation.ATOMIC_ACKNOWLEDGE and operation != Operation.RESYNC)
)
READ_RESPONSES = sum(
    1 << n for n in range(Operation.READ_RESPONSE_FIRST, Operation.READ_RESPONSE_ONLY + 1)
)
RESPONSES = sum(
    1 << n for n in range(Operation.READ_RESPONSE_FIRST, Operation.ATOMIC_ACKNOWLEDGE + 1)
)


@inline
def _request(batch: Batch, i: int, operation: int) -> Request:
    return Request(
        batch.ts[i],
        batch.frame[i],
        i64(batch.psn[i]),
        i64(batch.opcode[i]),
        i64(batch.ip_id[i]),
        i64(batch.ttl[i]),
        i64(batch.payload[i]),
        i64(batch.dma[i]) if batch.headers[i] & RETH else i64(0),
        batch.ack_request[i] != 0 or (ANSWERED >> operation & 1) != 0,
        (batch.opcode[i] >> 5) == UC,
    )


@helper
def _judge_request(state: Sequences, slot: int, p: Request) -> int:
    """A request off the fast path."""
    f = flow_of(state, slot)
    mark = slow_request(f, p)
    if not p.uc and not f.seq.asks and mark != COPY:
        f.seq.asks = 1
        if f.seq.peer < 0:
            enlist(state, slot)
    refresh(f)
    return mark


@helper
def _judge_response(
    batch: Batch, i: int, state: Sequences, slot: int, p: Request, operation: int
) -> None:
    """A response off the fast path: fills the row's mark, peer and rtt_ns."""
    detail = REQUEST
    if operation != RESPONSE_MIDDLE:
        if not batch.headers[i] & AETH:
            return
        detail += i64(batch.syndrome[i] & 0x7F)
    r = state.memory[slot].answers[p.psn & MASK]
    s = state.seq[slot]
    f = s.peer
    plain = s.ids_vary or f < 0
    if is_copy(s, r, p, detail) and (plain or not asked_since(flow_of(state, f), p, r.frame)):
        batch.mark[i] = COPY
        return
    if f < 0:
        f = find_peer(state, slot, p.psn)
        batch.peer[i] = f
        if f >= 0:
            doubt(state, f, slot)
            doubt(state, slot, f)
        elif operation == ACKNOWLEDGE and detail - 1 == SEQUENCE_ERROR:
            s.unjudged = 1
            doubt_candidates(state, slot, p.psn)
    if f >= 0:
        answer = Response(p.t, p.frame, p.psn, operation, detail - 1, p.payload)
        asked = flow_of(state, f)
        batch.mark[i], batch.rtt_ns[i] = slow_response(asked, answer)
        refresh(asked)
    remember(r, p, NO_BYTES, detail)


@inline
def _is_remembered(r: Record, p: Request) -> bool:
    return bool(r.detail != 0 and r.key == (p.opcode << 24 | p.psn))


@inline
def _is_next(s: Record, memory: Record, p: Request, operation: int) -> bool:
    """The fast path of requests: in order, nothing open, nothing to learn; then it is done."""
    if s.slow or not s.asked or p.psn != s.nxt & PSN_MASK or operation == READ_REQUEST:
        return False
    r = memory.recent[u64(p.psn & MASK)]
    if (p.payload > s.pmtu and FIRST_MIDDLE >> operation & 1) or _is_remembered(r, p):
        return False
    s.sent_bytes += p.payload
    if p.asks:
        s.wanted = s.nxt
        if s.timed_count < TIMED_REQUESTS and not p.uc:
            time_request(s, memory, s.nxt, p.t)
    s.nxt += 1
    s.last_request = p.t
    remember(r, p, s.sent_bytes & 0xFFFFFFFF, REQUEST)
    return True


@inline
def _fetch(batch: Batch, i: int, hi: int, state: Sequences) -> None:
    """Ask for the records of later rows: first the flow, then what its packet will touch."""
    prefetch(state.seq, i64(batch.slot[u64(min(i + AHEAD, hi - 1))]) * SEQ_BYTES)
    row = u64(min(i + AHEAD // 2, hi - 1))
    slot = i64(batch.slot[row])
    if slot < 0:
        return
    place = (i64(batch.psn[row]) & MASK) * RECENT_BYTES
    operation = i64(batch.opcode[row]) & 31
    if REQUESTS >> operation & 1:
        prefetch(state.memory, slot * MEMORY_BYTES + place)
        if operation == READ_REQUEST:
            prefetch(state.seq, slot * SEQ_BYTES + LINE)
            prefetch(state.open, slot * OPEN_BYTES)
            prefetch(state.open, slot * OPEN_BYTES + STATE_AT)
        return
    prefetch(state.memory, slot * MEMORY_BYTES + ANSWERS_AT + place)
    peer = i64(state.seq[u64(slot)].peer)
    if peer >= 0:
        if READ_RESPONSES >> operation & 1:
            for line in range(0, SPANS_BYTES, LINE):
                prefetch(state.open, peer * OPEN_BYTES + line)
        prefetch(state.seq, peer * SEQ_BYTES)
        prefetch(state.seq, peer * SEQ_BYTES + LINE)
        prefetch(state.memory, peer * MEMORY_BYTES + place)
        prefetch(state.memory, peer * MEMORY_BYTES + TIMED_AT)


@inline
def _covers_more(batch: Batch, i: int, state: Sequences, r: Record, p: Request) -> bool:
    """The fast path of responses: a plain ACK that covers more; then it is done."""
    f = batch.peer[i]
    if f < 0 or state.seq[f].slow or p.opcode & 31 != ACKNOWLEDGE or _is_remembered(r, p):
        return False
    a = unwrap(p.psn, state.seq[f].nxt)
    covers = state.seq[f].una <= a < state.seq[f].nxt
    if not (covers and batch.headers[i] & AETH and batch.syndrome[i] >> 5 == CLASS_ACK):
        return False
    batch.rtt_ns[i] = acknowledge(flow_of(state, i64(f)), a + 1, a, p.t, p.frame)
    remember(r, p, NO_BYTES, 1 + i64(batch.syndrome[i]))
    return True


@helper
def _judge_datagram(s: Record, r: Record, p: Request) -> int:
    """UD has no order, but an identification that varies tells copies."""
    if s.ids_vary and is_copy(s, r, p, REQUEST):
        return COPY
    remember(r, p, NO_BYTES, REQUEST)
    return NEW


@lean
def _track(batch: Batch, lo: int, hi: int, identity: Records, state: Sequences) -> tuple[int, int]:
    """See :func:`track`."""
    for row in range(lo, hi):
        _fetch(batch, row, hi, state)
        i = u64(row)
        batch.mark[i] = NEW
        batch.peer[i] = -1
        batch.rtt_ns[i] = NO_SAMPLE
        batch.inflight[i] = -1
        slot = i64(batch.slot[i])
        if slot < 0:
            continue
        if state.control[EVENTS] > ROOM:
            return row, RING_FULL
        s = state.seq[u64(slot)]
        if s.known == 0:
            meet(state, slot, identity)
            s.first_id = batch.ip_id[i]
        if batch.ip_id[i] != s.first_id:
            s.ids_vary = 1
        batch.peer[i] = s.peer
        service = i64(batch.opcode[i]) >> 5
        operation = i64(batch.opcode[i]) & 31
        p = _request(batch, i, operation)
        if s.slow & SLOW_UNJUDGED or service not in (RC, UC, UD, XRC):
            continue
        if service == UD:
            batch.mark[i] = _judge_datagram(s, state.memory[slot].recent[p.psn & MASK], p)
        elif REQUESTS >> operation & 1:
            if not _is_next(s, state.memory[u64(slot)], p, operation):
                mark = _judge_request(state, slot, p)
                if mark == LIFE_ENDS:
                    _close_flow(state, slot)
                    return row, REUSE
                batch.mark[i] = mark
            if s.peer >= 0:
                batch.inflight[i] = s.sent_bytes - s.acked_bytes
        elif RESPONSES >> operation & 1 and service != UC:
            r = state.memory[u64(slot)].answers[u64(p.psn & MASK)]
            if not _covers_more(batch, i, state, r, p):
                _judge_response(batch, i, state, slot, p, operation)
    return hi, DONE


@helper
def _close_flow(state: Sequences, slot: int) -> None:
    """The flow ends, its pair is dissolved."""
    f = flow_of(state, slot)
    close_questions(f)
    close_response_gaps(f)
    part(state, slot)
    refresh(f)


@lean
def _close_slots(slots: NDArray[np.int32], state: Sequences) -> int:
    settle_last(state, slots)
    for n in range(len(slots)):
        slot = i64(slots[n])
        if state.control[EVENTS] > ROOM:
            return n
        if state.seq[slot].known:
            if state.seq[slot].peer >= 0:
                close_response_gaps(flow_of(state, state.seq[slot].peer))
            _close_flow(state, slot)
    return len(slots)


def track(
    batch: Batch, lo: int, hi: int, identity: Records, state: Sequences
) -> tuple[int, Reason]:
    """Judge rows ``lo`` to ``hi``, whose ``slot`` is filled in.

    Fills the columns mark, peer, rtt_ns and inflight. Returns the next row and why it stopped there.
    ``identity`` is a structured array with the fields of IDENTITY, by slot. What is known of the tap
    stands in ``state.control`` (DROPS, SPEED_BPS).
    """
    row, reason = _track(batch, lo, hi, identity, state)
    return row, Reason(reason)


def close_slots(slots: NDArray[np.int32], identity: Records, state: Sequences) -> int:  # noqa: ARG001  as track
    """Write the open questions of ``slots`` (eviction, end of capture) as events.

    Returns how many slots were closed: fewer than given means that the ring must be drained before
    the rest is closed. A closed slot is unpaired and may be cleared; ``peer_serial`` stays.
    """
    return _close_slots(slots, state)
