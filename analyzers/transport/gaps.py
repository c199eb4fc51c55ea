"""Gaps in a flow's requests, and the ring of events.

The gaps of a flow are kept by rising PSN and never touch, but where one of two neighbours is
acknowledged and the other is not.
"""

from analyzers.transport.psn import MIRROR_NS
from analyzers.transport.sequence_state import OPEN_GAPS, Control, Flow, Record, Records, i64
from analyzers.transport.verdicts import EventKind, Place, Verdict
from fabric.codes import PSN_MASK
from fabric.kernel import helper, inline

EVENTS, CAPTURE_LOSSES = i64(Control.EVENTS), i64(Control.CAPTURE_LOSS)
GAP, CAPTURE_LOSS = i64(EventKind.GAP), i64(EventKind.CAPTURE_LOSS)
UNDETERMINED, MISSED = i64(Verdict.UNDETERMINED), i64(Verdict.CAPTURE_LOSS)
NOWHERE, TAP = i64(Place.NOWHERE), i64(Place.TAP)
LOWEST = i64(0)
NONE = i64(-1)  # of a delay or limit


@helper
def new_event(f: Flow, kind: int, verdict: int, place: int, psn: int) -> int:
    """The next event of the ring, about one PSN: its index; the caller fills in what differs.

    The caller of all kernels has made sure that the ring has room.
    """
    number = int(f.tap.control[EVENTS])
    f.tap.control[EVENTS] = number + 1
    event = f.tap.events[number]
    event.serial = f.seq.serial
    event.iface = f.seq.iface
    event.kind = kind
    event.verdict = verdict
    event.place = place
    event.psn = psn & PSN_MASK
    event.psns = 1
    event.resent = 0
    event.delay_ns = NONE
    event.limit_ns = NONE
    event.extent = 0
    event.original_frame = 0
    event.reply_frame = 0
    event.resend_frame = 0
    return number


@inline
def of_peer(f: Flow, event: Record) -> None:
    """It happened to the flow that carries the responses."""
    event.serial = f.seq.peer_serial
    event.iface = f.seq.peer_iface


@inline
def at(event: Record, ts: int, end: int, frame: int) -> None:
    """When it happened and the frame that showed it."""
    event.ts = ts
    event.end = end
    event.frame = frame


@helper
def close_gap(f: Flow, k: int) -> None:
    """Gap ``k`` leaves: with an event, where no other speaks of it."""
    g = f.ranges.gaps[k]
    if g.acked:
        event = f.tap.events[new_event(f, CAPTURE_LOSS, MISSED, TAP, g.lo)]
        at(event, g.opened, g.acked_ts, g.frame)
        event.psns = g.hi - g.lo
        event.reply_frame = g.acked_frame
        f.tap.control[CAPTURE_LOSSES] += 1
    elif g.told == 0:
        event = f.tap.events[new_event(f, GAP, UNDETERMINED, NOWHERE, g.lo)]
        at(event, g.opened, g.opened, g.frame)
        event.psns = g.hi - g.lo
    drop_gap(f, k)


@helper
def drop_gap(f: Flow, k: int) -> None:
    """Gap ``k`` leaves silently."""
    o = f.open
    o.gap_count -= 1
    for n in range(k, o.gap_count):
        f.ranges.gaps[n] = f.ranges.gaps[n + 1]


@helper
def insert_gap(f: Flow, k: int) -> int:
    """Make room for a gap before gap ``k``; returns its index.

    Where all places are taken the lowest gap is given up. The caller fills all fields.
    """
    o = f.open
    if o.gap_count == OPEN_GAPS:
        close_gap(f, LOWEST)
        k = max(k - 1, 0)
    for n in range(o.gap_count, k, -1):
        f.ranges.gaps[n] = f.ranges.gaps[n - 1]
    o.gap_count += 1
    return k


@helper
def open_gap(f: Flow, hi: int, t: int, frame: int) -> int:
    """The packets from ``nxt`` to ``hi`` were not seen: index of the gap."""
    k = insert_gap(f, f.open.gap_count)
    g = f.ranges.gaps[k]
    g.lo = f.seq.nxt
    g.hi = hi
    g.opened = t
    g.frame = frame
    g.acked = 0
    g.told = 0
    return k


@helper
def find_range(ranges: Records, count: int, u: int) -> int:
    """Index of the first of ``count`` ranges (dtype GAP) that holds u, or -1."""
    for k in range(count):
        if ranges[k].lo <= u < ranges[k].hi:
            return k
    return -1


@inline
def find_gap(f: Flow, u: int) -> int:
    """Index of the gap that holds u, or -1."""
    return find_range(f.ranges.gaps, f.open.gap_count, u)


@helper
def fill_gap(f: Flow, u: int, hi: int) -> None:
    """PSNs [u, hi) were seen, u in a gap: take them out of all gaps."""
    o = f.open
    k = i64(find_gap(f, u))
    if f.ranges.gaps[k].lo < u and f.ranges.gaps[k].hi > hi:
        if o.gap_count == OPEN_GAPS and k == 0:
            close_gap(f, LOWEST)  # splitting the lowest opens one gap too many
            return
        k = insert_gap(f, k)
        f.ranges.gaps[k] = f.ranges.gaps[k + 1]
        f.ranges.gaps[k].hi = u
        f.ranges.gaps[k + 1].lo = hi
        return
    if f.ranges.gaps[k].lo < u:
        f.ranges.gaps[k].hi = u
        k += 1
    while k < o.gap_count and f.ranges.gaps[k].lo < hi:
        if f.ranges.gaps[k].hi > hi:
            f.ranges.gaps[k].lo = hi
            return
        drop_gap(f, k)


@helper
def missed_by_tap(f: Flow, hi: int, t: int, frame: int) -> None:
    """A response names packets from ``nxt`` to ``hi`` that were not captured."""
    s = f.seq
    o = f.open
    if o.gap_count:
        g = f.ranges.gaps[o.gap_count - 1]
        if g.acked and g.hi == s.nxt:
            g.hi = hi
            g.acked_ts = t
            s.nxt = hi
            return
    g = f.ranges.gaps[open_gap(f, hi, t, frame)]
    g.acked = 1
    g.acked_ts = t
    g.acked_frame = frame
    s.nxt = hi


@helper
def acknowledge_gaps(f: Flow, hi: int, t: int, frame: int) -> None:
    """The receiver has everything below ``hi``: what the tap did not see of it, the tap missed."""
    o = f.open
    k = LOWEST
    while k < o.gap_count and f.ranges.gaps[k].lo < hi:
        g = f.ranges.gaps[k]
        if g.acked:
            k += 1
            continue
        if g.told:
            if g.hi > hi:
                g.lo = hi
                k += 1
            else:
                close_gap(f, k)
            continue
        merges = k > 0 and f.ranges.gaps[k - 1].acked != 0
        merges = merges and f.ranges.gaps[k - 1].hi == g.lo
        if merges:
            before = f.ranges.gaps[k - 1]
            before.hi = min(hi, g.hi)
            before.acked_ts = t
            if g.hi > hi:
                g.lo = hi
            else:
                drop_gap(f, k)
            continue
        if g.hi > hi:
            if o.gap_count == OPEN_GAPS and k == 0:
                close_gap(f, LOWEST)
                continue
            k = insert_gap(f, k)
            f.ranges.gaps[k] = f.ranges.gaps[k + 1]
            f.ranges.gaps[k].hi = hi
            f.ranges.gaps[k + 1].lo = hi
        g = f.ranges.gaps[k]
        g.acked = 1
        g.acked_ts = t
        g.acked_frame = frame
        k += 1


@helper
def settle_due_gaps(f: Flow, t: int) -> None:
    """Tell what the tap missed, once no mirror can bring it any more."""
    k = LOWEST
    while k < f.open.gap_count:
        g = f.ranges.gaps[k]
        if g.acked and t - g.acked_ts >= MIRROR_NS:
            close_gap(f, k)
        else:
            k += 1


@helper
def close_gaps(f: Flow) -> None:
    """The flow ends."""
    while f.open.gap_count:
        close_gap(f, LOWEST)
