"""Responses: what the receiver says of the peer's requests."""

from typing import NamedTuple

import numpy as np

from analyzers.transport.gaps import (
    UNDETERMINED,
    acknowledge_gaps,
    at,
    find_gap,
    find_range,
    missed_by_tap,
    new_event,
)
from analyzers.transport.marks import Mark
from analyzers.transport.psn import FAR, full_frame, learn_pmtu, unwrap
from analyzers.transport.reads import find_span, read_response, stretch_span
from analyzers.transport.recovery import (
    ACKED,
    BESIDE,
    DOWNSTREAM,
    FIRST,
    LOST,
    NAK,
    NEVER,
    NOBODY,
    OPEN,
    RECEIVER,
    RNR,
    SLOW_GAPS,
    SLOW_PROVISIONAL,
    SLOW_RECOVERY,
    SLOW_RUN,
    SPURIOUS,
    STAYING,
    TIMEOUT,
    UPSTREAM,
    WAITING,
    close_recovery,
    end_run,
    find_skip,
    last_sight,
    may_turn,
    new_recovery,
    settle_due,
)
from analyzers.transport.requests import ACK_LOST, TAIL_LOSS, Request, forget_timed
from analyzers.transport.sequence_state import (
    LATE_ORIGINALS,
    RECENT_PACKETS,
    TIMED_REQUESTS,
    Flow,
    Record,
    Records,
    i64,
)
from analyzers.transport.verdicts import EventKind, Verdict
from fabric.codes import PSN_MASK, RNR_TIMER_US, NakCode, Operation, Syndrome
from fabric.kernel import helper

NEW = i64(Mark.NEW)
REFUSED = i64(EventKind.NAK)
FIRST_REFUSAL = i64(Verdict.INVALID_REQUEST)  # the verdicts of NakCode 1 to 4 follow one another
LAST_CODE = i64(NakCode.INVALID_RD_REQUEST)
CLASS_ACK, CLASS_RNR, CLASS_NAK = i64(Syndrome.ACK), i64(Syndrome.RNR_NAK), i64(Syndrome.NAK)
RESPONSE_FIRST = i64(Operation.READ_RESPONSE_FIRST)
RESPONSE_MIDDLE = i64(Operation.READ_RESPONSE_MIDDLE)
RESPONSE_LAST = i64(Operation.READ_RESPONSE_LAST)
RESPONSE_ONLY = i64(Operation.READ_RESPONSE_ONLY)
ATOMIC_ACKNOWLEDGE = i64(Operation.ATOMIC_ACKNOWLEDGE)
TIMER_NS = np.array(RNR_TIMER_US, np.int64) * 1000
NO_SAMPLE = i64(-1)
DOUBTFUL, LATE, SEEN = i64(0), i64(1), i64(2)  # what is known of a PSN that is asked for
SILENT, DECIDES = i64(0), i64(1)  # whether a response decides a timeout


class Response(NamedTuple):
    """A response packet as the slow path sees it."""

    t: int  # ns
    frame: int
    psn: int
    operation: int
    syndrome: int
    payload: int


@helper
def asked_since(f: Flow, p: Request, sight: int) -> bool:
    """Whether a response was asked for again after its last sight: low half of a frame number."""
    s = f.seq
    o = f.open
    if s.asked == 0:
        return False
    frame = full_frame(sight, p.frame)
    q = unwrap(p.psn, s.nxt)
    k = find_span(f, q)
    if k >= 0 and o.spans[k].asked_frame > frame:
        return True
    return bool(o.run_frame > frame and o.start <= q)


@helper
def slow_response(f: Flow, p: Response) -> tuple[int, int]:
    """Judge a response to the requests in slot f: its mark, and a round trip or -1."""
    s = f.seq
    if s.asked == 0:
        return NEW, NO_SAMPLE
    a = unwrap(p.psn, s.nxt)
    if abs(a - s.nxt) > FAR:
        return NEW, NO_SAMPLE
    settle_due(f, p.t)
    code = p.syndrome & 31
    if RESPONSE_FIRST <= p.operation <= RESPONSE_ONLY:
        return answer_read(f, p, a)
    if p.operation == ATOMIC_ACKNOWLEDGE or p.syndrome >> 5 == CLASS_ACK:
        sample = acknowledge(f, a + 1, a, p.t, p.frame)
        missing = NEVER if p.operation == ATOMIC_ACKNOWLEDGE else a + 1
        progress(f, a + 1, missing, p.t, p.frame, DECIDES)
        return NEW, sample
    if a < s.una:
        return NEW, NO_SAMPLE
    if p.syndrome >> 5 == CLASS_RNR:
        not_ready(f, a, p.t, p.frame, TIMER_NS[code])
    elif p.syndrome >> 5 == CLASS_NAK and code == 0:
        sequence_error(f, a, p.t, p.frame)
    else:
        refused(f, a, p.t, p.frame, code if p.syndrome >> 5 == CLASS_NAK else LAST_CODE + 1)
    return NEW, NO_SAMPLE


@helper
def acknowledge(f: Flow, x: int, named: int, t: int, frame: int) -> int:
    """Everything below x arrived: bytes, gaps, timing. Returns the round trip of ``named`` or -1."""
    s = f.seq
    sample = NO_SAMPLE
    mask = TIMED_REQUESTS - 1
    while s.timed_count and f.memory.timed[s.timed_head].psn < x:
        timed = f.memory.timed[s.timed_head]
        if timed.psn == named:
            sample = t - timed.ts
        s.timed_head = (s.timed_head + 1) & mask
        s.timed_count -= 1
    if sample > 0 and (s.rtt_ns == 0 or sample < s.rtt_ns):
        s.rtt_ns = sample
    if x > s.nxt:
        missed_by_tap(f, x, t, frame)
    if x > s.una:
        if s.slow & SLOW_GAPS:  # one that opened just now holds only what is acknowledged
            acknowledge_gaps(f, x, t, frame)
        s.acked_bytes = acked_bytes(f, x)
        s.una = x
    return sample


@helper
def acked_bytes(f: Flow, x: int) -> int:
    """Bytes acknowledged when everything below x is."""
    s = f.seq
    if x >= s.nxt:
        return int(s.sent_bytes)
    r = f.memory.recent[(x - 1) & (RECENT_PACKETS - 1)]
    if r.detail and r.key & PSN_MASK == (x - 1) & PSN_MASK:
        return int(s.sent_bytes - ((s.sent_bytes - r.bytes) & 0xFFFFFFFF))
    return int(s.acked_bytes + (s.sent_bytes - s.acked_bytes) * (x - s.una) // (s.nxt - s.una))


@helper
def progress(f: Flow, x: int, missing: int, t: int, frame: int, decides: int) -> None:
    """Everything below x arrived, ``missing`` did not yet: what that means for what is open."""
    if not f.seq.slow & (SLOW_RECOVERY | SLOW_RUN):
        return
    o = f.open
    r = f.open.recoveries[0]
    if r.kind != NOBODY and r.phase == WAITING and r.e < x and not r.acked:
        r.acked = 1
        r.acked_ts = t
    if r.kind == TIMEOUT and not r.decided and missing >= r.e:
        decide_timeout(f, r, missing, frame, decides)
    if o.run == OPEN and x >= o.top:
        end_run(f, ACKED)


@helper
def decide_timeout(f: Flow, r: Record, missing: int, frame: int, decides: int) -> None:
    """Rule 10: this response decides."""
    o = f.open
    r.decided = 1
    r.reply_frame = frame
    if not decides or r.e < o.doubt:
        pass
    elif missing < o.top:
        if (
            o.before_cur <= missing < o.before_top
            or find_range(f.ranges.before, o.before_skips, missing) >= 0
        ):
            pass
        elif missing < r.gap_lo:
            r.verdict, r.place = TAIL_LOSS, DOWNSTREAM
        elif missing < r.gap_hi:
            r.verdict, r.place = TAIL_LOSS, UPSTREAM
    elif o.cur < o.top and r.wanted and o.asked_for != r.e + 1:
        r.verdict, r.place = ACK_LOST, RECEIVER
    if r.phase == STAYING:
        close_recovery(f, FIRST)


@helper
def answer_read(f: Flow, p: Response, q: int) -> tuple[int, int]:
    """A READ response."""
    s = f.seq
    if p.operation <= RESPONSE_MIDDLE and p.payload > s.pmtu:
        learn_pmtu(s, p.payload)
    if s.slow & SLOW_PROVISIONAL:
        stretch_span(f, q)
    k = find_span(f, q)
    x = q
    if k < 0 or q == f.open.spans[k].hi - 1:
        x = q + 1
    sample = NO_SAMPLE
    if p.operation in (RESPONSE_FIRST, RESPONSE_ONLY):
        # The first response ends the timing of its own request, although it covers only those before.
        sample = acknowledge(f, q, NO_SAMPLE, p.t, p.frame)
        if s.timed_count and f.memory.timed[s.timed_head].psn == q:
            sample = p.t - f.memory.timed[s.timed_head].ts
            s.timed_head = (s.timed_head + 1) & (TIMED_REQUESTS - 1)
            s.timed_count -= 1
            if sample > 0 and (s.rtt_ns == 0 or sample < s.rtt_ns):
                s.rtt_ns = sample
    acknowledge(f, x, NO_SAMPLE, p.t, p.frame)
    progress(f, x, NEVER, p.t, p.frame, DECIDES)
    if k < 0:
        return NEW, sample
    return read_response(f, k, q, p.t, p.frame), sample


@helper
def sequence_error(f: Flow, e: int, t: int, frame: int) -> None:
    """NAK sequence error: everything before e arrived, e did not."""
    o = f.open
    known = what_is_known(f, e, t)
    k = unseen_gap(f, e)
    skipped = find_skip(f, e)
    nxt = f.seq.nxt
    original = last_sight(f, e, frame) if k < 0 else 0
    acknowledge(f, e, NO_SAMPLE, t, frame)
    progress(f, e, e, t, frame, DECIDES)
    forget_timed(f, e)
    o.asked_for = e + 1
    r = o.recoveries[0]
    if counts_only(f, e, t):
        r.again = max(r.again, e)
        r.agains += 1
        return
    close_recovery(f, BESIDE)
    if may_turn(r) and e > r.e:
        o.recoveries[1] = r
        r.kind = NOBODY
    close_recovery(f, FIRST)
    new_recovery(f, NAK, e, t, frame)
    r.original_frame = original
    r.nxt = nxt
    if known == SEEN:
        r.seen = 1
        r.verdict, r.place = LOST, DOWNSTREAM
    elif known == LATE:
        r.verdict, r.place = SPURIOUS, UPSTREAM
    elif known != DOUBTFUL:
        r.verdict, r.place = LOST, UPSTREAM
        r.psns = known - SEEN
        if k < 0:
            r.ts, r.frame = f.ranges.skips[skipped].opened, f.ranges.skips[skipped].frame
    k = unseen_gap(f, e)
    if k >= 0:
        g = f.ranges.gaps[k]
        g.told = 1
        r.own_hi = g.hi
        if known > SEEN:
            r.ts, r.frame = g.opened, g.frame


@helper
def unseen_gap(f: Flow, e: int) -> int:
    """The gap that holds e, -1 where there is none or the receiver has it."""
    k = find_gap(f, e)
    return i64(-1) if k >= 0 and f.ranges.gaps[k].acked else i64(k)


@helper
def what_is_known(f: Flow, e: int, t: int) -> int:
    """Rule 7, of an e that is asked for: DOUBTFUL, LATE, SEEN, or SEEN plus the PSNs lost."""
    s = f.seq
    o = f.open
    k = unseen_gap(f, e)
    if k >= 0:
        return i64(SEEN + f.ranges.gaps[k].hi - e) if f.ranges.gaps[k].lo == e else DOUBTFUL
    k = find_skip(f, e)
    if k >= 0:
        return i64(SEEN + f.ranges.skips[k].hi - e)
    if e >= s.nxt or e < s.base or e < o.doubt or o.cur <= e < o.top:
        return DOUBTFUL
    sight = f.memory.recent[e & (RECENT_PACKETS - 1)]
    known = sight.detail != 0 and sight.key & PSN_MASK == e & PSN_MASK
    if known and o.start <= e < o.cur and s.rtt_ns > 0 and t - sight.ts < s.rtt_ns:
        return DOUBTFUL
    if o.start < e < o.cur:
        k = find_span(f, e - 1)
        if k >= 0 and o.spans[k].p >= o.start:  # the NAK may wait behind the responses of that READ
            return DOUBTFUL
    if is_among(o.sights, e):
        return DOUBTFUL
    return LATE if is_among(o.lates, e) else SEEN


@helper
def is_among(memory: Records, e: int) -> bool:
    """Whether e is remembered among late originals or other first sights."""
    found = False
    for n in range(LATE_ORIGINALS):
        found |= memory[n].frame != 0 and memory[n].psn == e
    return found


@helper
def counts_only(f: Flow, e: int, t: int) -> bool:
    """Whether NAK e is one more of the open recovery: its a and b."""
    s = f.seq
    r = f.open.recoveries[0]
    waits = r.phase == WAITING
    if r.kind == NAK and waits and r.e == e:
        return True
    soon = f.open.start == e and s.rtt_ns > 0 and t - f.open.run_ts < s.rtt_ns
    if r.kind == NAK and not waits and soon:
        return True
    asked = r.kind in (NAK, RNR) and r.e < e < r.nxt
    late = r.kind == NAK and r.verdict == SPURIOUS and find_gap(f, e) < 0
    return bool(asked and (waits or late))


@helper
def not_ready(f: Flow, e: int, t: int, frame: int, limit_ns: int) -> None:
    """RNR NAK: everything up to e arrived, but e found no buffer."""
    s = f.seq
    nxt = s.nxt
    original = last_sight(f, e, frame)
    acknowledge(f, e, NO_SAMPLE, t, frame)
    progress(f, e, e, t, frame, SILENT)
    if e == s.nxt:
        missed_by_tap(f, e + 1, t, frame)
    if f.open.gap_count:
        acknowledge_gaps(f, e + 1, t, frame)
    forget_timed(f, e)
    r = f.open.recoveries[0]
    if r.kind == RNR and r.phase == WAITING and r.e == e:
        return
    close_recovery(f, BESIDE)
    close_recovery(f, FIRST)
    new_recovery(f, RNR, e, t, frame)
    r = f.open.recoveries[0]
    r.nxt = nxt
    r.limit_ns = limit_ns
    r.original_frame = original


@helper
def refused(f: Flow, e: int, t: int, frame: int, code: int) -> None:
    """Another NAK: the receiver will not serve e."""
    o = f.open
    original = last_sight(f, e, frame)
    acknowledge(f, e, NO_SAMPLE, t, frame)
    progress(f, e, e, t, frame, SILENT)
    close_recovery(f, BESIDE)
    close_recovery(f, FIRST)
    if o.refused == e + 1 and o.refused_code == code:
        return
    o.refused = e + 1
    o.refused_code = code
    verdict = UNDETERMINED
    if 1 <= code <= LAST_CODE:
        verdict = FIRST_REFUSAL + code - 1
    event = f.tap.events[new_event(f, REFUSED, verdict, RECEIVER, e)]
    at(event, t, t, frame)
    event.original_frame = original
    event.reply_frame = frame
