"""Recoveries and the runs that serve them: rules 7 to 10 of ``docs/sequence.md``."""

from analyzers.transport.gaps import (
    NONE,
    UNDETERMINED,
    at,
    close_gaps,
    find_range,
    new_event,
    settle_due_gaps,
)
from analyzers.transport.psn import full_frame, long_ns
from analyzers.transport.sequence_state import (
    LATE_ORIGINALS,
    RECENT_PACKETS,
    SKIPPED_RANGES,
    Flow,
    Kind,
    Phase,
    Record,
    Run,
    Slow,
    i64,
)
from analyzers.transport.verdicts import EventKind, Place, Recovery, Verdict
from fabric.codes import PSN_MASK
from fabric.kernel import helper, inline

NOBODY, NAK, RNR, TIMEOUT, UNEXPLAINED = (i64(kind) for kind in Kind)
WAITING, RUNNING, STAYING = (i64(phase) for phase in Phase)
ENDED, OPEN, ACKED = (i64(run) for run in Run)
UNKNOWN, GO_BACK_N, SELECTIVE = (i64(recovery) for recovery in Recovery)
LOSS, RETRANSMISSION, TIMED_OUT = (
    i64(EventKind.LOSS), i64(EventKind.RETRANSMISSION), i64(EventKind.TIMEOUT),
)  # fmt: skip
RECEIVER_NOT_READY, REORDER = i64(EventKind.RNR), i64(EventKind.REORDER)
LOST, SPURIOUS, REORDERED = i64(Verdict.LOST), i64(Verdict.SPURIOUS), i64(Verdict.REORDERED)
HONOURED, IGNORED = i64(Verdict.TIMER_HONOURED), i64(Verdict.TIMER_IGNORED)
NO_RESEND = i64(Verdict.NO_RESEND)
NOWHERE, UPSTREAM, DOWNSTREAM = i64(Place.NOWHERE), i64(Place.UPSTREAM), i64(Place.DOWNSTREAM)
RECEIVER = i64(Place.RECEIVER)
SLOW_GAPS, SLOW_RECOVERY, SLOW_RUN = i64(Slow.GAPS), i64(Slow.RECOVERY), i64(Slow.RUN)
SLOW_PROVISIONAL, SLOW_UNJUDGED = i64(Slow.PROVISIONAL), i64(Slow.UNJUDGED)
FIRST, BESIDE = i64(0), i64(1)  # of the two recoveries
NEVER = i64(-(1 << 62))  # no PSN


@helper
def refresh(f: Flow) -> None:
    """What is open in the flow decides whether its next packet takes the fast path."""
    s = f.seq
    o = f.open
    slow = s.slow & SLOW_UNJUDGED
    if o.gap_count:
        slow |= SLOW_GAPS
    if s.slow & SLOW_RECOVERY and (o.recoveries[0].kind or o.recoveries[1].kind):
        slow |= SLOW_RECOVERY
    if o.run == OPEN:
        slow |= SLOW_RUN
    if o.provisional:
        slow |= SLOW_PROVISIONAL
    s.slow = slow


@helper
def last_sight(f: Flow, u: int, frame: int) -> int:
    """Frame of the last sight of request u, 0 where it is forgotten; ``frame`` is the current one."""
    r = f.memory.recent[u & (RECENT_PACKETS - 1)]
    if r.detail == 0 or (r.key & PSN_MASK) != (u & PSN_MASK):
        return 0
    return full_frame(r.frame, frame)


@helper
def new_recovery(f: Flow, kind: int, e: int, t: int, frame: int) -> None:
    """Begin the open recovery, waiting at e; the caller has closed what was open."""
    r = f.open.recoveries[0]
    r.kind = kind
    r.phase = WAITING
    r.verdict = UNDETERMINED
    r.place = NOWHERE
    r.e = e
    r.own_hi = e + 1
    r.psns = 1
    r.ts = t
    r.frame = frame
    r.reply_ts = t
    r.reply_frame = frame
    r.nxt = NEVER
    r.original_frame = 0
    r.limit_ns = NONE
    r.first_frame = 0
    r.last_ts = t
    r.resent = 0
    r.again = NEVER
    r.agains = 0
    r.seen = 0
    r.filled = 0
    r.acked = 0
    r.decided = 0
    f.open.served = 0
    f.seq.slow |= SLOW_RECOVERY


@helper
def count_resent(f: Flow, u: int, n: int, t: int, frame: int, filled: int) -> None:
    """One more packet of the run that the open recovery is served by."""
    r = f.open.recoveries[0]
    if f.open.served and r.kind != NOBODY:
        r.resent += 1
        r.last_ts = t
        r.filled &= filled
        r.held += n
        if filled and r.kind == UNEXPLAINED:
            sight = f.open.sights[f.open.sight_head]
            sight.psn = u
            sight.frame = frame
            f.open.sight_head = (f.open.sight_head + 1) % LATE_ORIGINALS


@helper
def serve(f: Flow, u: int, n: int, t: int, frame: int, filled: int) -> None:
    """The run that begins with u is that of the open recovery."""
    r = f.open.recoveries[0]
    f.open.served = 1
    r.phase = RUNNING
    r.first_ts = t
    r.first_frame = frame
    r.first_u = u
    r.extent = f.seq.nxt - 1 - u
    r.resent = 0
    r.held = 0
    r.filled = 1
    count_resent(f, u, n, t, frame, filled)


@helper
def begin_run(f: Flow, u: int, hi: int, t: int, frame: int) -> None:
    """A run of resent packets begins with PSNs [u, hi); it is nobody's until it is served."""
    o = f.open
    o.start = u
    o.cur = hi
    o.top = f.seq.nxt
    o.run_frame = frame
    o.run_ts = t
    o.run = OPEN
    o.short = 0
    o.served = 0
    o.skip_count = 0


@helper
def skip(f: Flow, lo: int, hi: int, t: int, frame: int) -> None:
    """The run passed over [lo, hi); the oldest of too many is forgotten."""
    o = f.open
    if o.skip_count == SKIPPED_RANGES:
        for n in range(o.skip_count - 1):
            f.ranges.skips[n] = f.ranges.skips[n + 1]
        o.skip_count -= 1
    k = f.ranges.skips[o.skip_count]
    k.lo = lo
    k.hi = hi
    k.opened = t
    k.frame = frame
    o.skip_count += 1


@inline
def find_skip(f: Flow, u: int) -> int:
    """Index of the range skipped by the last run that holds u, or -1."""
    return find_range(f.ranges.skips, f.open.skip_count, u)


@helper
def close_recovery(f: Flow, which: int) -> None:
    """Write the event of a recovery, the open (0) or the one beside it (1); it is over."""
    o = f.open
    r = f.open.recoveries[which]
    if r.kind == NOBODY:
        return
    if r.kind == NAK:
        close_nak(f, r)
        learn_recovery(f, r)
    elif r.kind == RNR:
        close_rnr(f, r)
    else:
        kind = TIMED_OUT if r.kind == TIMEOUT else RETRANSMISSION
        event = f.tap.events[recovery_event(f, kind, r)]
        if r.kind == TIMEOUT:
            event.delay_ns = r.silence_ns
    r.kind = NOBODY
    if which == 0:
        o.served = 0


@helper
def recovery_event(f: Flow, kind: int, r: Record) -> int:
    """What the events of all recoveries have in common."""
    number = new_event(f, kind, r.verdict, r.place, r.e)
    event = f.tap.events[number]
    at(event, r.ts, r.last_ts if r.resent else r.ts, r.frame)
    event.psns = r.psns
    event.resent = r.resent
    event.original_frame = r.original_frame
    event.reply_frame = r.reply_frame
    event.resend_frame = r.first_frame
    return number


@helper
def close_nak(f: Flow, r: Record) -> None:
    """Rule 7."""
    if r.verdict == SPURIOUS and r.resent == 0:
        return
    kind = RETRANSMISSION if r.verdict == SPURIOUS else LOSS
    if r.acked and r.verdict != SPURIOUS:
        if r.seen and r.resent and r.first_u == r.e:
            kind, r.verdict, r.place, r.psns = RETRANSMISSION, SPURIOUS, DOWNSTREAM, 1
        else:
            r.verdict, r.place = UNDETERMINED, NOWHERE
    event = f.tap.events[recovery_event(f, kind, r)]
    if r.resent:
        event.delay_ns = r.first_ts - r.ts


@helper
def learn_recovery(f: Flow, r: Record) -> None:
    """How the flow recovers, where this recovery's run ended and tells."""
    s = f.seq
    o = f.open
    if r.resent == 0 or o.run == OPEN:
        return
    if o.short:
        if s.recovery == UNKNOWN:
            s.recovery = SELECTIVE
    elif o.top > r.own_hi:
        s.recovery = GO_BACK_N


@helper
def close_rnr(f: Flow, r: Record) -> None:
    """Rule 9."""
    r.verdict = NO_RESEND
    r.place = RECEIVER
    delay = NONE
    if r.resent:
        delay = r.first_ts - r.ts
        r.verdict = HONOURED if delay >= r.limit_ns else IGNORED
    event = f.tap.events[recovery_event(f, RECEIVER_NOT_READY, r)]
    event.delay_ns = delay
    event.limit_ns = r.limit_ns


@helper
def end_run(f: Flow, how: int) -> None:
    """The open run ends, and with it its recovery, but where that stays open."""
    o = f.open
    o.run = how
    o.short = 1 if o.cur < o.top else 0
    r = f.open.recoveries[0]
    if o.served == 0 or r.kind == NOBODY or r.phase != RUNNING:
        return
    stays = r.verdict == SPURIOUS or r.agains or (r.filled and o.short)
    if (r.kind == NAK and stays) or (r.kind == TIMEOUT and not r.decided):
        r.phase = STAYING
    else:
        close_recovery(f, FIRST)


@helper
def overtaken(f: Flow, r: Record) -> None:
    """Rule 5d: what the run of a recovery held were late originals."""
    event = f.tap.events[new_event(f, REORDER, REORDERED, UPSTREAM, r.first_u)]
    at(event, r.ts, r.last_ts, r.frame)
    event.psns = r.held
    event.delay_ns = r.first_ts - r.ts
    event.extent = r.extent
    event.original_frame = r.first_frame
    r.original_frame = r.first_frame
    r.ts = r.reply_ts
    r.frame = r.reply_frame
    r.verdict = SPURIOUS
    r.place = UPSTREAM
    r.psns = 1


@inline
def may_turn(r: Record) -> bool:
    """Whether rule 5d may still say that this recovery was none."""
    runs = r.kind == NAK and r.phase != WAITING and r.resent > 0
    return bool(runs and r.filled and r.verdict != SPURIOUS)


@helper
def settle_due(f: Flow, t: int) -> None:
    """Decide what is due before a packet of time t is judged.

    ``slow`` tells what was open when the packet came: mostly nothing, and then nothing is read.
    """
    if not f.seq.slow & (SLOW_GAPS | SLOW_RECOVERY):
        return
    if f.open.gap_count:
        settle_due_gaps(f, t)
    limit = long_ns(f.seq)
    r = f.open.recoveries[1]
    if r.kind != NOBODY and t - r.last_ts >= limit:
        close_recovery(f, BESIDE)
    r = f.open.recoveries[0]
    if r.kind == NOBODY:
        return
    stays = r.phase == STAYING and t - r.last_ts >= limit
    if stays or (r.phase == WAITING and r.acked and t - r.acked_ts >= limit):
        close_recovery(f, FIRST)


@helper
def close_questions(f: Flow) -> None:
    """The flow's sequence ends here: recoveries and gaps."""
    o = f.open
    if o.run == OPEN:
        o.run = ENDED
        o.short = 1 if o.cur < o.top else 0
    close_recovery(f, BESIDE)
    close_recovery(f, FIRST)
    close_gaps(f)
    o.run = ENDED
    o.short = 0
    o.start = o.cur = o.top = o.run_frame = 0
    o.skip_count = 0
