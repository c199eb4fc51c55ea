"""Accounting: what each packet adds to its flow, its time bins, its message, its link.

The tracker has said of every row what it is (:class:`~analyzers.transport.marks.Mark`); here it is
counted. A copy enters ``copies`` and nothing else. Finished rows of FLOW_WINDOWS, HOST_WINDOWS,
MESSAGES, CNPS and PAUSE_FRAMES go to the rings; FLOWS rows are made of the records when a flow ends
(:mod:`analyzers.transport.flows`).
"""

import numpy as np
from numpy.typing import NDArray

from analyzers.capture.batch import UNTAGGED, Batch
from analyzers.transport.account_state import (
    ACCOUNT,
    FRAGMENT,
    LINE,
    NEVER,
    PAIR,
    RING_ROWS,
    ROOM,
    TOTALS,
    Cause,
    Fill,
    Ledger,
    Record,
    Seen,
    Setting,
    i64,
    u64,
)
from analyzers.transport.account_state import ANSWER as ANSWER_RECORD
from analyzers.transport.account_state import READ as READ_RECORD
from analyzers.transport.marks import Mark
from analyzers.transport.messages import (
    ATOMIC,
    HAS_FIRST,
    HAS_LAST,
    READ,
    SEND,
    WHOLE,
    WRITE,
    add_answer,
    add_packet,
    add_read,
    tell_answers,
    write_fragment,
    write_message,
    write_read,
)
from analyzers.transport.prefetch import AHEAD, prefetch
from analyzers.transport.windows import (
    close_flow_bin,
    close_host_bin,
    count_at_host,
    count_in_train,
    rtt_bin,
    rtt_quantile,
    turn_flow_bin,
)
from fabric.codes import CNP_OPCODE, Ecn, FrameKind, Header, Operation, Service, Wrap
from fabric.kernel import inline, lean

FRAMING = 24  # preamble and start 8, FCS 4, gap 12: IEEE 802.3 clause 4.4.2
SHORTEST = 60  # frame without FCS
ETHERNET, TAG = 14, 4
# What the five low bits of an opcode are to a message (IBTA table 38).
NONE, PART, ASK, ANSWER, ACKNOWLEDGE, UNKNOWN = range(6)

_O = Operation
_FIRST = (_O.SEND_FIRST, _O.SEND_ONLY, _O.SEND_ONLY_IMM, _O.SEND_ONLY_INVALIDATE,
          _O.WRITE_FIRST, _O.WRITE_ONLY, _O.WRITE_ONLY_IMM,
          _O.READ_RESPONSE_FIRST, _O.READ_RESPONSE_ONLY, _O.ATOMIC_ACKNOWLEDGE)  # fmt: skip
_LAST = (_O.SEND_LAST, _O.SEND_LAST_IMM, _O.SEND_LAST_INVALIDATE,
         _O.SEND_ONLY, _O.SEND_ONLY_IMM, _O.SEND_ONLY_INVALIDATE,
         _O.WRITE_LAST, _O.WRITE_LAST_IMM, _O.WRITE_ONLY, _O.WRITE_ONLY_IMM,
         _O.READ_RESPONSE_LAST, _O.READ_RESPONSE_ONLY, _O.ATOMIC_ACKNOWLEDGE)  # fmt: skip


def _role(operation: int) -> int:
    if operation > max(_O):
        return UNKNOWN
    if operation in (_O.READ_REQUEST, _O.COMPARE_SWAP, _O.FETCH_ADD):
        return ASK
    if _O.READ_RESPONSE_FIRST <= operation <= _O.READ_RESPONSE_ONLY:
        return ANSWER
    if operation == _O.ATOMIC_ACKNOWLEDGE:
        return ANSWER
    if operation == _O.ACKNOWLEDGE:
        return ACKNOWLEDGE
    return NONE if operation == _O.RESYNC else PART


def _kind(operation: int) -> int:
    if operation in (_O.COMPARE_SWAP, _O.FETCH_ADD, _O.ATOMIC_ACKNOWLEDGE):
        return ATOMIC
    if _O.READ_REQUEST <= operation <= _O.READ_RESPONSE_ONLY:
        return READ
    return WRITE if _O.WRITE_FIRST <= operation <= _O.WRITE_ONLY_IMM else SEND


# By the five low bits of the opcode.
READ_RESPONSES = sum(1 << n for n in range(_O.READ_RESPONSE_FIRST, _O.READ_RESPONSE_ONLY + 1))
ROLE = np.array([_role(n) for n in range(32)], np.uint8)
OPERATION = np.array([_kind(n) for n in range(32)], np.uint8)
ENDS = np.array([HAS_FIRST * (n in _FIRST) + HAS_LAST * (n in _LAST) for n in range(32)], np.uint8)

ACCOUNT_BYTES, TOTALS_BYTES, RTT_BYTES = ACCOUNT.itemsize, TOTALS.itemsize, 4
FRAGMENT_BYTES, PAIR_BYTES = FRAGMENT.itemsize, PAIR.itemsize
READ_BYTES, ANSWER_BYTES = READ_RECORD.itemsize, ANSWER_RECORD.itemsize
ATOMIC_BYTES = 8
SEQUENCE_NAK = 0x60
RNR = 1
AETH, RETH, IMMDT, ATOMICETH = (
    int(h) for h in (Header.AETH, Header.RETH, Header.IMMDT, Header.ATOMICETH)
)
PFC, GLOBAL_PAUSE = int(FrameKind.PFC), int(FrameKind.GLOBAL_PAUSE)
ERSPAN = int(Wrap.ERSPAN_1 | Wrap.ERSPAN_2 | Wrap.ERSPAN_3)
CE = int(Ecn.CE)
SERVICE_CNP = int(Service.CNP)
NEW, COPY, RESENT, FILL = (int(m) for m in (Mark.NEW, Mark.COPY, Mark.RESENT, Mark.FILL))
SEEN_CE, SEEN_NAK, SEEN_CNP, SEEN_PACKET, WAITING = (int(bit) for bit in Seen)
FILL_CNPS, FILL_PAUSES = int(Fill.CNPS), int(Fill.PAUSE_FRAMES)
FILL_HOSTS = int(Fill.HOST_WINDOWS)
ECN_WINDOW_NS, NAK_WINDOW_NS = int(Setting.ECN_WINDOW_NS), int(Setting.NAK_WINDOW_NS)
BY_ECN, BY_NAK, BY_NOTHING = int(Cause.ECN), int(Cause.NAK), int(Cause.UNEXPLAINED)


@inline
def _framed(batch: Batch, i: int) -> int:
    """Bytes that the frame takes on its link; of a mirror's ERSPAN, the frame that was mirrored."""
    size = i64(batch.wire[i])
    if batch.wrap[i] & ERSPAN and batch.ip_bytes[i] > 0:
        size = ETHERNET + i64(batch.ip_bytes[i])
        if batch.vlan[i] != UNTAGGED:
            size += TAG
    return max(size, SHORTEST) + FRAMING


@inline
def _fingerprint(batch: Batch, i: int) -> np.uint64:
    """A hash of what no hop changes: PSN, opcode, IP identification, length (splitmix64)."""
    x = np.uint64(batch.psn[i]) | np.uint64(batch.opcode[i]) << np.uint64(24)
    if batch.version[i] == 4:
        x |= np.uint64(batch.ip_id[i]) << np.uint64(32)
    x |= np.uint64(batch.payload[i] & 0xFFFF) << np.uint64(48)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@inline
def _begin(a: Record, t: Record, batch: Batch, i: int) -> None:
    """Keep of a flow's first packet what FLOWS says of it."""
    a.seen = SEEN_PACKET
    t.first = batch.ts[i]
    a.last = batch.ts[i]
    t.first_frame = batch.frame[i]
    a.service = batch.opcode[i] >> 5
    t.dscp = batch.tos[i] >> 2
    t.priority = batch.priority[i]
    t.first_sport = batch.sport[i]
    a.sport = batch.sport[i]
    t.sports = 1


@inline
def _release_cnp(a: Record, t: Record, ledger: Ledger, iface: int) -> None:
    """Write the CNP that waits and its cause: a mark explains it before a NAK does."""
    rings = ledger.rings
    n = rings.fill[FILL_CNPS]
    rings.fill[FILL_CNPS] = n + 1
    row = rings.cnps[0]
    row.ts[n] = t.last_cnp
    row.frame[n] = t.cnp_frame
    row.flow[n] = a.number
    row.peer_flow[n] = t.cnp_peer
    row.since_mark_ns[n] = t.cnp_since_mark
    row.since_nak_ns[n] = t.cnp_since_nak
    row.since_cnp_ns[n] = t.cnp_since_cnp
    row.iface[n] = iface
    row.cause[n] = BY_NOTHING
    if NEVER < t.cnp_since_mark <= ledger.settings[ECN_WINDOW_NS]:
        row.cause[n] = BY_ECN
    elif NEVER < t.cnp_since_nak <= ledger.settings[NAK_WINDOW_NS]:
        row.cause[n] = BY_NAK
    a.seen &= ~WAITING


@inline
def _take_cnp(a: Record, t: Record, ledger: Ledger, batch: Batch, i: int) -> None:
    """Let a CNP wait, with what went before it.

    Marks are those of the paired data flow; where pairing is not known, of any flow between the two
    hosts.
    """
    ts = batch.ts[i]
    peer = i64(batch.peer[i])
    t.cnp_frame = batch.frame[i]
    t.cnp_peer = 0
    t.cnp_since_mark = NEVER
    if peer >= 0:
        t.cnp_peer = ledger.flows[peer].number
        if ledger.flows[peer].seen & SEEN_CE:
            t.cnp_since_mark = ts - ledger.totals[peer].last_ce
    else:
        reverse = ledger.pairs[u64(a.pair)].reverse
        if reverse >= 0 and ledger.pairs[reverse].marked:
            t.cnp_since_mark = ts - ledger.pairs[reverse].last_ce
    t.cnp_since_nak = ts - t.last_nak if a.seen & SEEN_NAK else NEVER
    t.cnp_since_cnp = ts - t.last_cnp if a.seen & SEEN_CNP else NEVER
    t.last_cnp = ts
    a.seen |= SEEN_CNP | WAITING
    a.bin_cnp += 1


@inline
def _take_nak(a: Record, t: Record, ledger: Ledger, ts: int) -> None:
    """Count a sequence-error NAK; it may explain the CNP just before it."""
    t.naks += 1
    t.last_nak = ts
    a.seen |= SEEN_NAK
    if a.seen & WAITING and 0 <= ts - t.last_cnp <= ledger.settings[NAK_WINDOW_NS]:
        t.cnp_since_nak = t.last_cnp - ts


@inline
def _take_rtt(ledger: Ledger, slot: int, ts: int, rtt: int) -> None:
    """Count a round trip of the flow in ``slot`` that a response completed."""
    a = ledger.flows[slot]
    t = ledger.totals[slot]
    turn_flow_bin(a, t, ts, ledger.settings, ledger.rings)
    if t.bin_rtt_count == 0 and t.rtt_count == 0:
        t.rtt_min = rtt
    t.rtt_min = min(t.rtt_min, rtt)
    t.bin_rtt_count += 1
    t.bin_rtt_sum += rtt
    t.bin_rtt_max = max(t.bin_rtt_max, rtt)
    ledger.rtt[u64(rtt_bin(rtt)), slot] += 1


@inline
def _take_request(ledger: Ledger, batch: Batch, i: int, slot: int) -> None:
    """Hand a request packet that was seen for the first time to its message."""
    low = batch.opcode[i] & 31
    operation = OPERATION[low]
    ts = batch.ts[i]
    psn = i64(batch.psn[i])
    declared = -1
    va = np.uint64(0)
    if batch.headers[i] & RETH:
        declared = i64(batch.dma[i])
        va = batch.va[i]
    elif operation == ATOMIC:
        declared = ATOMIC_BYTES
        if batch.headers[i] & ATOMICETH:
            va = batch.va[i]
    if ROLE[low] == ASK:
        add_read(ledger, slot, operation, ts, psn, declared, va)
        return
    payload = i64(batch.payload[i])
    immediate = -1
    if batch.headers[i] & IMMDT:
        immediate = i64(batch.imm[i])
    if ENDS[low] == WHOLE:
        write_message(
            ledger, slot, operation, ts, ts, psn, 1, payload, declared, True, va, immediate
        )
    else:
        add_packet(
            ledger, slot, operation, ENDS[low], ts, psn, payload, declared, va, immediate,
            batch.mark[i] != NEW,
        )  # fmt: skip


@inline
def _take_answer(ledger: Ledger, batch: Batch, i: int, slot: int) -> None:
    """Hand a READ response or atomic acknowledgement seen for the first time to who asked."""
    low = batch.opcode[i] & 31
    size = ATOMIC_BYTES if OPERATION[low] == ATOMIC else i64(batch.payload[i])
    add_answer(
        ledger, slot, ENDS[low] & HAS_FIRST != 0, ENDS[low] & HAS_LAST != 0, batch.ts[i],
        i64(batch.psn[i]), size,
    )  # fmt: skip
    if batch.peer[i] >= 0:
        tell_answers(ledger, slot, u64(batch.peer[i]))


@inline
def _take_content(ledger: Ledger, batch: Batch, i: int, slot: int, role: int) -> None:
    """Count what was sent again, and hand what is new to its message."""
    mark = batch.mark[i]
    if role == UNKNOWN:
        ledger.totals[slot].unknown += 1
    if mark == RESENT:
        ledger.flows[slot].bin_resent += 1
        ledger.totals[slot].resent_payload += batch.payload[i]
        return
    ledger.flows[slot].bin_resent += mark == FILL
    if role in (PART, ASK):
        _take_request(ledger, batch, i, slot)
    elif role == ANSWER:
        _take_answer(ledger, batch, i, slot)


@inline
def _take_pause(ledger: Ledger, batch: Batch, i: int) -> None:
    """Write a PAUSE_FRAMES row."""
    rings = ledger.rings
    n = rings.fill[FILL_PAUSES]
    rings.fill[FILL_PAUSES] = n + 1
    row = rings.pause_frames[0]
    row.ts[n] = batch.ts[i]
    row.frame[n] = batch.frame[i]
    row.src[n] = batch.src_lo[i]
    row.iface[n] = batch.iface[i]
    row.vector[n] = batch.pause_vector[i]
    row.quanta_0[n] = batch.quanta[i, 0]
    row.quanta_1[n] = batch.quanta[i, 1]
    row.quanta_2[n] = batch.quanta[i, 2]
    row.quanta_3[n] = batch.quanta[i, 3]
    row.quanta_4[n] = batch.quanta[i, 4]
    row.quanta_5[n] = batch.quanta[i, 5]
    row.quanta_6[n] = batch.quanta[i, 6]
    row.quanta_7[n] = batch.quanta[i, 7]


@inline
def _count(a: Record, t: Record, ledger: Ledger, batch: Batch, i: int) -> None:
    """Add a packet to its flow, its bins and its link, whatever it means."""
    ts = batch.ts[i]
    framed = _framed(batch, i)
    payload = i64(batch.payload[i])
    ecn = batch.tos[i] & 3
    turn_flow_bin(a, t, ts, ledger.settings, ledger.rings)
    a.last = max(a.last, ts)
    a.ip_bytes += batch.ip_bytes[i]
    a.fingerprint += _fingerprint(batch, i)
    a.bin_packets += 1
    a.bin_bytes += framed
    a.bin_payload += payload
    a.bin_ect += ecn != 0
    a.bin_inflight = max(a.bin_inflight, batch.inflight[i])
    if batch.sport[i] != a.sport:
        a.sport = batch.sport[i]
        t.sports += 1
    if ecn == CE:
        a.bin_ce += 1
        t.last_ce = ts
        a.seen |= SEEN_CE
        ledger.pairs[u64(a.pair)].last_ce = ts
        ledger.pairs[u64(a.pair)].marked = 1
    count_at_host(a, ledger, ts, framed, payload, ecn == CE)
    count_in_train(ledger, batch.iface[i], ledger.pairs[u64(a.pair)].side, ts, framed)
    if batch.headers[i] & AETH:
        if batch.syndrome[i] == SEQUENCE_NAK:
            _take_nak(a, t, ledger, ts)
        elif batch.syndrome[i] >> 5 == RNR:
            t.rnr_naks += 1


@inline
def _no_room(fill: NDArray[np.int64]) -> bool:
    """Whether a ring must be drained before the next packets."""
    room = True
    for n in fill:
        room &= n <= RING_ROWS - ROOM
    return not room


@inline
def _ask_ahead(batch: Batch, i: int, hi: int, ledger: Ledger) -> None:
    """Ask for the records of rows further on: first the account, then what it points to."""
    far = i64(batch.slot[u64(min(i + 2 * AHEAD, hi - 1))])
    prefetch(ledger.flows, far * ACCOUNT_BYTES)
    prefetch(ledger.flows, far * ACCOUNT_BYTES + LINE)
    row = u64(min(i + AHEAD, hi - 1))
    near = max(i64(batch.slot[row]), 0)
    a = ledger.flows[u64(near)]
    if a.bin_end <= batch.ts[row]:
        prefetch(ledger.totals, near * TOTALS_BYTES)
        prefetch(ledger.totals, near * TOTALS_BYTES + LINE)
    grown = max(i64(a.open) - 1, 0)
    prefetch(ledger.fragments, (grown * len(ledger.flows) + near) * FRAGMENT_BYTES)
    prefetch(ledger.pairs, i64(a.pair) * PAIR_BYTES)
    if READ_RESPONSES >> i64(batch.opcode[row] & 31) & 1:
        peer = i64(batch.peer[row])
        prefetch(ledger.flows, peer * ACCOUNT_BYTES + LINE)
        prefetch(ledger.reads, peer * READ_BYTES)
        prefetch(ledger.answers, near * ANSWER_BYTES)
    if batch.rtt_ns[row] >= 0:
        peer = i64(batch.peer[row])
        prefetch(ledger.flows, peer * ACCOUNT_BYTES)
        prefetch(ledger.totals, peer * TOTALS_BYTES)
        prefetch(ledger.rtt, (rtt_bin(batch.rtt_ns[row]) * len(ledger.flows) + peer) * RTT_BYTES)


@lean
def account(batch: Batch, lo: int, hi: int, ledger: Ledger) -> int:
    """Count rows ``lo`` to ``hi``, which are numbered and tracked.

    Returns the next row: less than ``hi`` where a ring must be drained first.
    """
    fill = ledger.rings.fill
    for row in range(lo, hi):
        if (row & 15 == 0 or row == lo) and _no_room(fill):
            return row
        _ask_ahead(batch, row, hi, ledger)
        i = u64(row)
        slot = u64(batch.slot[i])
        if batch.slot[i] < 0:
            if batch.kind[i] in (PFC, GLOBAL_PAUSE) and batch.fault[i] == 0:
                _take_pause(ledger, batch, i)
            continue
        a = ledger.flows[slot]
        t = ledger.totals[slot]
        if batch.mark[i] == COPY:
            t.copies += 1
            continue
        if a.seen == 0:
            _begin(a, t, batch, i)
        _count(a, t, ledger, batch, i)
        if a.seen & WAITING:
            _release_cnp(a, t, ledger, batch.iface[i])
        opcode = batch.opcode[i]
        if opcode == CNP_OPCODE:
            _take_cnp(a, t, ledger, batch, i)
            continue
        if a.service == SERVICE_CNP:
            a.service = opcode >> 5
        role = ROLE[opcode & 31]
        if role in (ANSWER, ACKNOWLEDGE):
            a.responses += 1
            if batch.rtt_ns[i] >= 0 and batch.peer[i] >= 0:
                _take_rtt(ledger, u64(batch.peer[i]), batch.ts[i], batch.rtt_ns[i])
        _take_content(ledger, batch, i, slot, role)
    return hi


@lean
def close_accounts(slots: NDArray[np.int32], peers: NDArray[np.int32], ledger: Ledger) -> int:
    """Write what is open in ``slots``: bins, messages, a CNP; ``peers`` are their pairs or -1.

    Returns how many were closed: fewer than given where a ring must be drained first.
    """
    for k in range(len(slots)):
        if _no_room(ledger.rings.fill):
            return k
        peer = i64(peers[k])
        if peer >= 0 and ledger.flows[slots[k]].answers > 0:
            tell_answers(ledger, u64(slots[k]), u64(peer))
    for k in range(len(slots)):
        if _no_room(ledger.rings.fill):
            return k
        slot = u64(slots[k])
        a = ledger.flows[slot]
        t = ledger.totals[slot]
        if a.seen & WAITING:
            _release_cnp(
                a, t, ledger, ledger.endpoints[u64(ledger.pairs[u64(a.pair)].source)].iface
            )
        close_flow_bin(a, t, ledger.settings, ledger.rings)
        if t.rtt_count > 0:
            t.rtt_p50 = rtt_quantile(ledger.rtt, slot, 0.5, t)
            t.rtt_p99 = rtt_quantile(ledger.rtt, slot, 0.99, t)
            for number in range(rtt_bin(t.rtt_min), rtt_bin(t.rtt_max) + 1):
                ledger.rtt[u64(number), slot] = 0  # for the next flow of this slot
        while a.parked > 0:
            write_fragment(ledger, slot, 0)
        while a.reads > 0:
            write_read(ledger, slot, 0, False)
    return len(slots)


@lean
def close_endpoints(numbers: NDArray[np.int32], ledger: Ledger) -> int:
    """Write the open bins of endpoints; returns how many were closed, as above."""
    for k in range(len(numbers)):
        if ledger.rings.fill[FILL_HOSTS] > RING_ROWS - ROOM:
            return k
        e = ledger.endpoints[numbers[k]]
        close_host_bin(e, ledger.rings)
        e.end = 0
    return len(numbers)
