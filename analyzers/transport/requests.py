"""Requests that are not simply the next one: the rules 1 to 5 of ``docs/sequence.md``."""

from typing import NamedTuple

from analyzers.transport.gaps import (
    UNDETERMINED,
    at,
    close_gap,
    fill_gap,
    find_gap,
    new_event,
    open_gap,
)
from analyzers.transport.marks import Mark
from analyzers.transport.psn import (
    COPY_NS,
    FAR,
    full_frame,
    learn_pmtu,
    long_ns,
    round_trip,
    unwrap,
)
from analyzers.transport.reads import (
    ask_again,
    close_response_gaps,
    find_span,
    read_span,
    remember_read,
    settle_span,
)
from analyzers.transport.recovery import (
    ACKED,
    BESIDE,
    ENDED,
    FIRST,
    LOSS,
    NEVER,
    NOBODY,
    NOWHERE,
    OPEN,
    REORDER,
    REORDERED,
    RUNNING,
    SLOW_PROVISIONAL,
    SLOW_RUN,
    TIMEOUT,
    UNEXPLAINED,
    UPSTREAM,
    WAITING,
    begin_run,
    close_questions,
    close_recovery,
    count_resent,
    end_run,
    find_skip,
    last_sight,
    may_turn,
    new_recovery,
    overtaken,
    serve,
    settle_due,
    skip,
)
from analyzers.transport.sequence_state import (
    DOUBTED,
    LATE_ORIGINALS,
    RECENT_PACKETS,
    SKIPPED_RANGES,
    TIMED_REQUESTS,
    Control,
    Flow,
    Record,
    i64,
)
from analyzers.transport.verdicts import EventKind, Place, Verdict
from fabric.codes import PSN_MASK, Operation
from fabric.kernel import helper, inline

NEW, COPY, RESENT, FILL, LATE = (i64(mark) for mark in Mark)
REQUEST = i64(1)  # ``detail`` of a request that is remembered
REPEAT, FIRST_SIGHT = i64(0), i64(1)
LIFE_ENDS = -1  # instead of a mark: the queue pair number begins another life with this packet
SPEED_BPS = i64(Control.SPEED_BPS)
UNKNOWN_SPEED_BPS = 800_000_000_000
UNKNOWN_PMTU = 1024
NEAR = 1_024  # PSNs: below it a coincidence after a wrap is not believed in
OLD = 4_096  # PSNs: nothing acknowledged is sent again from so far back
SMALLEST_FRAME_BITS = 84 * 8  # with preamble and gap
HOLE, QPN_REUSE = i64(EventKind.HOLE), i64(EventKind.QPN_REUSE)
REUSED, TAIL_LOSS = i64(Verdict.REUSED), i64(Verdict.TAIL_LOSS)
ACK_LOST, SENDER, TAP = i64(Verdict.ACK_LOST), i64(Place.SENDER), i64(Place.TAP)
FIRST_MIDDLE = (
    (1 << Operation.SEND_FIRST)
    | (1 << Operation.SEND_MIDDLE)
    | (1 << Operation.WRITE_FIRST)
    | (1 << Operation.WRITE_MIDDLE)
)
ANSWERED = (
    (1 << Operation.READ_REQUEST) | (1 << Operation.COMPARE_SWAP) | (1 << Operation.FETCH_ADD)
)
READ_REQUEST = i64(Operation.READ_REQUEST)
NO_GAP = 1 << 62


class Request(NamedTuple):
    """A request packet as the slow path sees it."""

    t: int  # ns
    frame: int
    psn: int
    opcode: int
    ip_id: int
    ttl: int
    payload: int
    dma: int  # RETH length of a READ, 0 without one
    asks: bool  # an answer must come: AckReq, READ, atomic
    uc: bool


@inline
def remember(memory: Record, p: Request, sent_bytes: int, detail: int) -> None:
    """Keep the packet as the last sight of its PSN."""
    key = p.opcode << 24 | p.psn
    memory.replaced = memory.detail != 0 and (memory.key ^ key) & PSN_MASK == 0
    memory.older_id = memory.ip_id
    memory.ts = p.t
    memory.bytes = sent_bytes
    memory.frame = p.frame
    memory.key = key
    memory.ip_id = p.ip_id
    memory.ttl = p.ttl
    memory.copies = 0
    memory.detail = detail


@helper
def is_copy(s: Record, r: Record, p: Request, detail: int) -> bool:
    """Rule 1, as far as requests and responses share it; ``r`` is what is remembered."""
    if r.detail != detail or r.key != (p.opcode << 24 | p.psn):
        return False
    if s.ids_vary:
        return bool(r.ip_id == p.ip_id or (r.replaced and r.older_id == p.ip_id))
    since = p.t - r.ts
    if r.ttl != p.ttl:
        return bool(since <= round_trip(s))
    return bool(since <= min(round_trip(s) // 2, COPY_NS))


@helper
def is_request_copy(f: Flow, p: Request) -> bool:
    """Rule 1 for requests: where identifications do not vary, a resend may look like a copy."""
    s = f.seq
    r = f.memory.recent[p.psn & (RECENT_PACKETS - 1)]
    if not is_copy(s, r, p, REQUEST):
        return False
    if s.asked and not s.ids_vary:
        o = f.open
        u = unwrap(p.psn, s.nxt)
        shown = o.copies_same if r.ttl == p.ttl else o.copies_other
        if o.run_frame > full_frame(r.frame, p.frame) and (u == o.cur if shown else o.start <= u):
            return False
        if r.copies >= shown and (expects(s, o.recoveries[0], u) or expects(s, o.recoveries[1], u)):
            return False
        if not o.start <= u < o.cur:
            if r.ttl == p.ttl:
                o.copies_same = max(shown, r.copies + 1)
            else:
                o.copies_other = max(shown, r.copies + 1)
    r.copies = min(r.copies + 1, 255)
    return True


@helper
def expects(s: Record, r: Record, u: int) -> bool:
    """Whether rule 5b, 5c or 5d may hold for u."""
    if r.kind == NOBODY:
        return False
    if r.phase == WAITING:
        return bool(r.e <= u)
    return (may_turn(r) and r.e == u) or starts_over(s, r, u)


@helper
def starts_over(s: Record, r: Record, u: int) -> bool:
    """Rule 5b, of a recovery that does not wait."""
    return bool(r.agains and r.e <= u <= max(r.again, s.una) and u < r.nxt)


@helper
def begin_counting(f: Flow, psn: int) -> None:
    """The sequence starts with this PSN."""
    s = f.seq
    s.asked = 1
    s.nxt = s.una = s.base = psn
    s.acked_bytes = s.sent_bytes
    s.pmtu = 0
    s.rtt_ns = 0
    s.wanted = NEVER
    s.timed_count = 0
    o = f.open
    o.late_head = o.sight_head = 0
    o.asked_for = o.refused = o.doubt = 0
    for k in range(LATE_ORIGINALS):
        o.lates[k].frame = 0
        o.sights[k].frame = 0


@helper
def jump(f: Flow, u: int, t: int) -> int:
    """Rule 2: HOLE, QPN_REUSE, or -1 where counting goes on."""
    s = f.seq
    d = u - s.nxt
    if abs(d) <= NEAR and u >= s.una - OLD:
        return -1
    speed = f.tap.control[SPEED_BPS]
    bits = (t - s.last_request) * 1e-9 * (speed or UNKNOWN_SPEED_BPS)
    pmtu = s.pmtu or UNKNOWN_PMTU
    if abs(d) > NEAR and bits > (PSN_MASK + 1) // 2 * pmtu * 8:
        return HOLE
    carried = d * SMALLEST_FRAME_BITS <= 2 * bits
    if (d > FAR and not carried and not s.read) or d < -FAR or u < s.una - OLD:
        return QPN_REUSE
    return HOLE if d > FAR else -1


@helper
def slow_request(f: Flow, p: Request) -> int:
    """Judge a request: its mark, or LIFE_ENDS, with nothing changed but the flow's closing events."""
    s = f.seq
    o = f.open
    if is_request_copy(f, p):
        return COPY
    if s.asked == 0:
        begin_counting(f, p.psn)
    else:
        u = unwrap(p.psn, s.nxt)
        fate = jump(f, u, p.t)
        if fate >= 0:
            verdict = REUSED if fate == QPN_REUSE else UNDETERMINED
            event = f.tap.events[new_event(f, fate, verdict, NOWHERE, p.psn)]
            at(event, p.t, p.t, p.frame)
            if fate == QPN_REUSE:
                return LIFE_ENDS
            close_questions(f)
            close_response_gaps(f)
            begin_counting(f, p.psn)
        else:
            settle_due(f, p.t)
    if s.slow & SLOW_PROVISIONAL and o.provisional:
        settle_span(f, unwrap(p.psn, s.nxt))
    operation = p.opcode & 31
    if FIRST_MIDDLE >> operation & 1 and p.payload > s.pmtu:
        learn_pmtu(s, p.payload)
    u = unwrap(p.psn, s.nxt)
    mark = place(f, p, u)
    s.last_request = p.t
    remember_request(f, p, u)
    return mark


@helper
def remember_request(f: Flow, p: Request, u: int) -> None:
    """Keep the packet as the last sight of u, and how many bytes had been sent up to u."""
    s = f.seq
    r = f.memory.recent[p.psn & (RECENT_PACKETS - 1)]
    sent = s.sent_bytes
    if u < s.nxt - 1:
        if r.detail and r.key & PSN_MASK == p.psn:
            sent = r.bytes
        elif u >= s.una:
            sent -= (sent - s.acked_bytes) * (s.nxt - 1 - u) // (s.nxt - s.una)
    remember(r, p, sent & 0xFFFFFFFF, REQUEST)


@helper
def place(f: Flow, p: Request, u: int) -> int:
    """Rules 3 to 5: the mark of request u."""
    s = f.seq
    o = f.open
    read = p.opcode & 31 == READ_REQUEST
    n = 1
    if read:
        s.read = 1
        n = read_span(f, p.dma)
    if u < s.base:
        return NEW
    k = -1
    if u >= s.nxt:
        new_request(f, p, u, n)
        mark = NEW
    else:
        k = find_gap(f, u)
        if p.uc:
            if k < 0:
                return COPY
            late_original(f, p, u, n, k)
            mark = LATE
        else:
            mark = again(f, p, u, n, k)
    if read and (mark == NEW or k >= 0):
        remember_read(f, u, u + n)
        if s.pmtu == 0:
            o.provisional = 1
            o.span_u = u
            o.span_hi = u + n
            o.span_bytes = p.dma
    return mark


@helper
def new_request(f: Flow, p: Request, u: int, n: int) -> None:
    """Rule 4."""
    s = f.seq
    if s.slow & SLOW_RUN and f.open.run == OPEN:
        end_run(f, ENDED)
    opened = u > s.nxt
    if opened:
        open_gap(f, u, p.t, p.frame)
    s.nxt = u + n
    s.sent_bytes += p.payload
    if p.asks:
        s.wanted = u
        if not opened and s.timed_count < TIMED_REQUESTS and not p.uc:
            time_request(s, f.memory, u, p.t)


@inline
def time_request(s: Record, memory: Record, u: int, t: int) -> None:
    """Note when request u was sent; the caller has made sure that a place is free."""
    timed = memory.timed[(s.timed_head + s.timed_count) & (TIMED_REQUESTS - 1)]
    timed.psn = u
    timed.ts = t
    s.timed_count += 1


@helper
def forget_timed(f: Flow, u: int) -> None:
    """Karn: what was sent again, or waited for it, measures no round trip."""
    s = f.seq
    while s.timed_count:
        last = (s.timed_head + s.timed_count - 1) & (TIMED_REQUESTS - 1)
        if f.memory.timed[last].psn < u:
            return
        s.timed_count -= 1


@helper
def late_original(f: Flow, p: Request, u: int, n: int, k: int) -> None:
    """Rule 5g."""
    o = f.open
    g = f.ranges.gaps[k]
    event = f.tap.events[new_event(f, REORDER, REORDERED, TAP if g.acked else UPSTREAM, u)]
    at(event, g.opened, p.t, g.frame)
    event.psns = n
    event.delay_ns = p.t - g.opened
    event.extent = f.seq.nxt - 1 - u
    event.original_frame = p.frame
    late = f.open.lates[o.late_head]
    late.psn = u
    late.frame = p.frame
    o.late_head = (o.late_head + 1) % LATE_ORIGINALS
    fill_gap(f, u, u + n)


@helper
def fill(f: Flow, p: Request, u: int, n: int, k: int) -> int:
    """A run sends [u, u + n), u in gap k: is it a first sight? Rule 8, where nobody asked for it."""
    if k < 0:
        return REPEAT
    g = f.ranges.gaps[k]
    if g.acked:
        close_gap(f, k)
        return REPEAT
    if g.told == 0:
        g.told = 1
        event = f.tap.events[new_event(f, LOSS, UNDETERMINED, NOWHERE, g.lo)]
        at(event, g.opened, p.t, g.frame)
        event.psns = g.hi - g.lo
        event.resend_frame = p.frame
        event.delay_ns = p.t - g.opened
    fill_gap(f, u, u + n)
    return FIRST_SIGHT


@helper
def close_others(f: Flow) -> None:
    """Another run begins: what is open, and what stays beside it, is over."""
    if f.open.run == OPEN:
        end_run(f, ENDED)
    close_recovery(f, BESIDE)
    close_recovery(f, FIRST)


@helper
def again(f: Flow, p: Request, u: int, n: int, k: int) -> int:  # noqa: C901  a branch per letter
    """Rule 5: the mark of a request below ``nxt``; k is the gap that holds it, or -1.

    Longer than others: one branch for each letter of the rule, in their order.
    """
    s = f.seq
    o = f.open
    r = f.open.recoveries[0]
    beside = f.open.recoveries[1]
    silence = p.t - s.last_request
    quiet = silence >= long_ns(s)
    waits = r.kind != NOBODY and r.phase == WAITING
    span = find_span(f, u) if p.opcode & 31 == READ_REQUEST and o.span_count else -1
    explained = True
    filled = REPEAT
    goes_on = o.cur <= u < o.top and not quiet and not (waits and r.e == u)
    if goes_on and o.run == OPEN:  # a
        if u > o.cur:
            skip(f, o.cur, u, p.t, p.frame)
        o.cur = u + n
        filled = fill(f, p, u, n, k)
        count_resent(f, u, n, p.t, p.frame, filled)
    elif goes_on and o.run == ACKED:
        o.cur = u + n
        fill(f, p, u, n, k)
        if span >= 0 and k < 0:
            ask_again(f, span, u, n, p.t, p.frame, explained)
        return RESENT
    elif r.kind != NOBODY and not waits and not quiet and starts_over(s, r, u):  # b
        r.agains -= 1
        begin_run(f, u, u + n, p.t, p.frame)
        r.phase = RUNNING
        o.served = 1
        filled = fill(f, p, u, n, k)
        count_resent(f, u, n, p.t, p.frame, filled)
    elif waits and r.e <= u and (not r.acked or (not quiet and k < 0 and u <= s.una and u < r.nxt)):
        joins = o.run == OPEN and u == o.cur
        close_recovery(f, BESIDE)
        begin_run(f, u, u + n, p.t, p.frame)
        if r.e < u:
            skip(f, r.e, u, p.t, p.frame)
        if joins:
            r.again = max(r.again, r.e)
            r.agains += 1
        if u == r.e and k >= 0:
            f.ranges.gaps[k].told = 1  # that of e, even where it opened after the NAK
        filled = fill(f, p, u, n, k)
        serve(f, u, n, p.t, p.frame, filled)
    elif k < 0 and not quiet and may_turn(r) and r.e == u:  # d
        overtaken(f, r)
        close_recovery(f, BESIDE)
        begin_run(f, u, u + n, p.t, p.frame)
        serve(f, u, n, p.t, p.frame, REPEAT)
    elif k < 0 and not quiet and may_turn(beside) and beside.e == u:
        turn_beside(f, p, u, n)
    else:
        explained = span < 0 or k >= 0 or u >= f.open.spans[span].exp
        if not explained:  # e
            close_others(f)
            begin_run(f, u, u + n, p.t, p.frame)
        elif quiet:  # f
            filled = begin_timeout(f, p, u, n, silence)
        elif k >= 0 and (
            f.ranges.gaps[k].acked or (s.rtt_ns > 0 and p.t - f.ranges.gaps[k].opened < s.rtt_ns)
        ):  # g
            late_original(f, p, u, n, k)
            return LATE
        else:  # h
            filled = begin_unexplained(f, p, u, n)
    forget_timed(f, u)
    drop_skipped(f, u, u + n)
    if span >= 0 and k < 0:
        ask_again(f, span, u, n, p.t, p.frame, explained)
    return FILL if filled else RESENT


@helper
def turn_beside(f: Flow, p: Request, u: int, n: int) -> None:
    """Rule 5d for the recovery that stays beside the open one."""
    o = f.open
    beside = o.recoveries[1]
    overtaken(f, beside)
    r = o.recoveries[0]
    if r.kind != NOBODY and r.phase == WAITING and r.e == o.cur:
        beside.again = max(beside.again, r.e)
        beside.agains += 1
    else:
        close_recovery(f, FIRST)
    o.recoveries[0] = beside
    beside.kind = NOBODY
    begin_run(f, u, u + n, p.t, p.frame)
    serve(f, u, n, p.t, p.frame, REPEAT)


@helper
def begin_timeout(f: Flow, p: Request, u: int, n: int, silence: int) -> int:
    """Rule 10, as far as it can be said at once: returns whether u is a first sight."""
    s = f.seq
    o = f.open
    close_others(f)
    k = find_gap(f, u)
    skipped = find_skip(f, u) >= 0
    new_recovery(f, TIMEOUT, u, p.t, p.frame)
    r = o.recoveries[0]
    r.reply_frame = 0
    r.original_frame = last_sight(f, u, p.frame)
    r.silence_ns = silence
    r.psns = s.nxt - u
    r.wanted = s.wanted >= u
    r.gap_lo = r.gap_hi = NO_GAP
    for m in range(o.gap_count):
        g = f.ranges.gaps[m]
        if g.lo > u and not g.acked:
            r.gap_lo, r.gap_hi = g.lo, g.hi
            break
    o.before_cur = o.cur
    o.before_top = o.top
    o.before_skips = o.skip_count
    for m in range(o.skip_count):
        f.ranges.before[m] = f.ranges.skips[m]
    in_gap = k >= 0 and not f.ranges.gaps[k].acked
    if in_gap and f.ranges.gaps[k].told == DOUBTED:
        r.decided = 1  # undetermined: a NAK may have been on its way
    elif in_gap or skipped:
        r.verdict, r.place, r.decided = TAIL_LOSS, UPSTREAM, 1
    elif u < s.una:
        r.verdict, r.place, r.decided = ACK_LOST, SENDER, 1
    if in_gap:
        f.ranges.gaps[k].told = 1
    begin_run(f, u, u + n, p.t, p.frame)
    filled = fill(f, p, u, n, k)
    serve(f, u, n, p.t, p.frame, filled)
    return filled


@helper
def begin_unexplained(f: Flow, p: Request, u: int, n: int) -> int:
    """Rule 5h: returns whether u is a first sight."""
    close_others(f)
    new_recovery(f, UNEXPLAINED, u, p.t, p.frame)
    r = f.open.recoveries[0]
    r.reply_frame = 0
    r.original_frame = last_sight(f, u, p.frame)
    begin_run(f, u, u + n, p.t, p.frame)
    filled = fill(f, p, u, n, find_gap(f, u))
    serve(f, u, n, p.t, p.frame, filled)
    return filled


@helper
def drop_skipped(f: Flow, lo: int, hi: int) -> None:
    """PSNs [lo, hi) were sent again after all: the run did not skip them."""
    o = f.open
    k = 0
    while k < o.skip_count:
        g = f.ranges.skips[k]
        if g.hi <= lo or g.lo >= hi:
            k += 1
        elif g.lo >= lo and g.hi <= hi:
            o.skip_count -= 1
            for m in range(k, o.skip_count):
                f.ranges.skips[m] = f.ranges.skips[m + 1]
        elif g.lo < lo and g.hi > hi:
            above = g.hi
            g.hi = lo
            if o.skip_count < SKIPPED_RANGES:
                skip(f, hi, above, g.opened, g.frame)
            k += 1
        elif g.lo < lo:
            g.hi = lo
            k += 1
        else:
            g.lo = hi
            k += 1
