"""READ requests: spans in the sequence, the responses that fill them, and asking again."""

from analyzers.transport.gaps import (
    CAPTURE_LOSS,
    CAPTURE_LOSSES,
    GAP,
    LOWEST,
    MISSED,
    NOWHERE,
    TAP,
    UNDETERMINED,
    at,
    find_range,
    new_event,
    of_peer,
)
from analyzers.transport.marks import Mark
from analyzers.transport.psn import LARGEST_PMTU, SMALLEST_PMTU, full_frame, span_of
from analyzers.transport.recovery import DOWNSTREAM, LOSS, LOST, REORDER, REORDERED, UPSTREAM
from analyzers.transport.sequence_state import (
    RECENT_PACKETS,
    REMEMBERED_READS,
    RESPONSE_GAPS,
    Flow,
    Record,
    i64,
)
from fabric.codes import PSN_MASK
from fabric.kernel import helper, inline

NEW, RESENT = i64(Mark.NEW), i64(Mark.RESENT)
OPEN_QUESTION, TOLD = i64(0), i64(1)  # whether an event speaks of a response gap
FILL, LATE = i64(Mark.FILL), i64(Mark.LATE)


@helper
def read_span(f: Flow, length: int) -> int:
    """PSNs that a READ request takes, with the largest PMTU where it is not known."""
    pmtu = f.seq.pmtu
    return span_of(length, pmtu or LARGEST_PMTU)


@helper
def respan(f: Flow, pmtu: int) -> None:
    """The last READ has the span that ``pmtu`` gives it."""
    s = f.seq
    o = f.open
    hi = o.span_u + span_of(o.span_bytes, pmtu)
    if s.nxt == o.span_hi:
        s.nxt = hi
    for k in range(o.span_count):
        if f.open.spans[k].p == o.span_u and f.open.spans[k].hi == o.span_hi:
            f.open.spans[k].hi = hi
    o.span_hi = hi


@helper
def settle_span(f: Flow, u: int) -> None:
    """A request at u shows where the span of the last READ ended, and perhaps so the PMTU."""
    s = f.seq
    o = f.open
    o.provisional = 0
    if s.pmtu:
        respan(f, s.pmtu)
        return
    fits = 0
    fitting = 0
    pmtu = SMALLEST_PMTU
    while pmtu <= LARGEST_PMTU:
        if o.span_u + span_of(o.span_bytes, pmtu) == u:
            fits += 1
            fitting = pmtu
        pmtu *= 2
    if fits:
        respan(f, fitting)
    if fits == 1:
        s.pmtu = fitting


@helper
def stretch_span(f: Flow, q: int) -> None:
    """Response q lies above the provisional span: it is longer."""
    o = f.open
    pmtu = LARGEST_PMTU
    while pmtu >= SMALLEST_PMTU:
        if q < o.span_u + span_of(o.span_bytes, pmtu):
            respan(f, pmtu)
            return
        pmtu //= 2


@helper
def find_span(f: Flow, u: int) -> int:
    """The latest remembered READ whose span holds u, or -1."""
    o = f.open
    for back in range(1, o.span_count + 1):
        k = i64((o.span_head - back) % REMEMBERED_READS)
        if o.spans[k].p <= u < o.spans[k].hi:
            return k
    return -1


@helper
def remember_read(f: Flow, p: int, hi: int) -> None:
    """A READ request was seen for the first time; the oldest of too many is forgotten."""
    o = f.open
    k = o.span_head
    if o.span_count == REMEMBERED_READS:
        forget_read(f, f.open.spans[k].p, f.open.spans[k].hi)
    else:
        o.span_count += 1
    r = f.open.spans[k]
    r.p = p
    r.hi = hi
    r.exp = p
    r.top = p
    r.asked_frame = 0
    o.span_head = (k + 1) % REMEMBERED_READS


@helper
def forget_read(f: Flow, p: int, hi: int) -> None:
    """No requester waits so long for a response: the tap missed what it did not see."""
    k = LOWEST
    while k < f.open.response_gap_count:
        if p <= f.ranges.response_gaps[k].lo < hi:
            close_response_gap(f, k, CAPTURE_LOSS)
        else:
            k += 1


@helper
def close_response_gap(f: Flow, k: int, kind: int) -> None:
    """Response gap ``k`` of the requests in ``slot`` leaves, as an event of the responses' flow."""
    o = f.open
    g = f.ranges.response_gaps[k]
    if g.told == 0 and f.seq.peer >= 0:
        missed = kind == CAPTURE_LOSS
        verdict, place = (MISSED, TAP) if missed else (UNDETERMINED, NOWHERE)
        event = f.tap.events[new_event(f, kind, verdict, place, g.lo)]
        of_peer(f, event)
        at(event, g.opened, g.opened, g.frame)
        event.psns = g.hi - g.lo
        f.tap.control[CAPTURE_LOSSES] += missed
    o.response_gap_count -= 1
    for n in range(k, o.response_gap_count):
        f.ranges.response_gaps[n] = f.ranges.response_gaps[n + 1]


@helper
def open_response_gap(f: Flow, lo: int, hi: int, t: int, frame: int, told: int) -> None:
    """Responses [lo, hi) were not seen, although a later one was."""
    o = f.open
    if o.response_gap_count == RESPONSE_GAPS:
        close_response_gap(f, LOWEST, GAP)
    g = f.ranges.response_gaps[o.response_gap_count]
    g.lo = lo
    g.hi = hi
    g.opened = t
    g.frame = frame
    g.told = told
    o.response_gap_count += 1


@inline
def find_response_gap(f: Flow, q: int) -> int:
    """Index of the response gap that holds q, or -1."""
    return find_range(f.ranges.response_gaps, f.open.response_gap_count, q)


@helper
def fill_response_gap(f: Flow, k: int, r: Record, q: int, t: int, frame: int) -> int:
    """Response q of READ r was seen after all: returns its mark."""
    g = f.ranges.response_gaps[k]
    mark = FILL
    if g.told == 0 and r.asked_frame == 0:
        mark = LATE
        event = f.tap.events[new_event(f, REORDER, REORDERED, UPSTREAM, q)]
        of_peer(f, event)
        at(event, g.opened, t, g.frame)
        event.delay_ns = t - g.opened
        event.extent = r.top - 1 - q
        event.original_frame = frame
    while k >= 0:  # a READ asked for again may miss the same response twice
        take_response(f, k, q)
        k = find_response_gap(f, q)
    return mark


@helper
def find_open_response_gap(f: Flow, q: int) -> int:
    """The same, of those whose loss was not told yet."""
    for k in range(f.open.response_gap_count):
        g = f.ranges.response_gaps[k]
        if g.lo <= q < g.hi and not g.told:
            return k
    return -1


@helper
def take_response(f: Flow, k: int, q: int) -> None:
    """Take q out of response gap k."""
    g = f.ranges.response_gaps[k]
    hi, opened, shown, told = g.hi, g.opened, g.frame, g.told
    g.hi = q
    if g.lo == q:
        g.told = TOLD
        close_response_gap(f, k, GAP)
    if q + 1 < hi:
        open_response_gap(f, q + 1, hi, opened, shown, told)


@helper
def read_response(f: Flow, k: int, q: int, t: int, frame: int) -> int:
    """Response q to the READ in span ``k`` of the requests in ``slot``: returns its mark."""
    r = f.open.spans[k]
    for n in range(f.open.span_count):
        earlier = f.open.spans[n]
        if earlier.p < r.p and earlier.exp < earlier.hi:
            lo = earlier.exp
            earlier.exp = earlier.top = earlier.hi
            open_response_gap(f, lo, earlier.hi, t, frame, OPEN_QUESTION)
    mark = NEW
    if q > r.exp:
        open_response_gap(f, r.exp, q, t, frame, OPEN_QUESTION)
    if q < r.top:
        gap = find_response_gap(f, q)
        mark = RESENT if gap < 0 else fill_response_gap(f, gap, r, q, t, frame)
    if q >= r.exp:
        r.exp = q + 1
        r.top = max(r.top, q + 1)
    return mark


@helper
def ask_again(f: Flow, k: int, u: int, n: int, t: int, frame: int, explained: bool) -> None:
    """The READ in span ``k`` is asked again from u on, n responses.

    Where nothing else explains it, response u was lost: the event of rule 5e.
    """
    r = f.open.spans[k]
    gap = find_open_response_gap(f, u)
    if not explained and u < r.exp and f.seq.peer >= 0:
        event = f.tap.events[new_event(f, LOSS, LOST, DOWNSTREAM, u)]
        of_peer(f, event)
        at(event, t, t, frame)
        if gap >= 0:
            g = f.ranges.response_gaps[gap]
            event.place = UPSTREAM
            event.psns = g.hi - u
            at(event, g.opened, t, g.frame)
        else:
            a = f.answers.answers[u & (RECENT_PACKETS - 1)]
            if a.detail and a.key & PSN_MASK == u & PSN_MASK:
                event.original_frame = full_frame(a.frame, frame)
        event.delay_ns = t - event.ts
        event.resent = n
        event.resend_frame = frame
    for m in range(f.open.response_gap_count):
        g = f.ranges.response_gaps[m]
        if g.lo < r.p or g.hi > r.hi or g.hi <= u:
            continue
        if g.lo < u:
            hi, opened, shown = g.hi, g.opened, g.frame
            g.hi = u
            open_response_gap(f, u, hi, opened, shown, TOLD)
        else:
            g.told = 1
    r.exp = u
    r.asked_frame = frame


@helper
def close_response_gaps(f: Flow) -> None:
    """The flow's sequence ends here."""
    while f.open.response_gap_count:
        close_response_gap(f, LOWEST, GAP)
    f.open.span_count = 0
    f.open.span_head = 0
    f.open.provisional = 0
