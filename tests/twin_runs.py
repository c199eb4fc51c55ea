"""Requests below the highest one, the slow way: ``docs/sequence.md``, rule 5 and what follows from it."""

from tests.twin_events import Sight, Tap, capture_loss, late_original, write
from tests.twin_reads import asked_again
from tests.twin_state import FlowState, Gap, Recovery, Run, cut, inside


def again(tap: Tap, flow: FlowState, sight: Sight) -> None:
    """Rule 5: which of a to h it is."""
    run, rec, gap, u = flow.run, flow.rec, sight.gap, sight.u
    assert flow.last_request is not None
    silence = sight.ts - flow.last_request
    quiet = silence >= flow.long()
    waits = rec is not None and rec.waiting
    goes_on = run is not None and run.cur <= u < run.top and not quiet
    if waits and rec is not None and rec.e == u:
        goes_on = False
    if goes_on and run is not None and (run.open or run.acknowledged):  # a
        _go_on(tap, flow, run, sight)
    elif rec and run and not waits and not quiet and rec.e <= u <= rec.starts_over(flow.una):  # b
        rec.again.pop()
        run.begin(u, flow.nxt or 0, sight.ts, sight.frame)
        _resent(tap, flow, run, sight)
    elif (
        rec is not None and waits and rec.e <= u
        and (not rec.acked or (u <= (flow.una or 0) and u < rec.nxt and gap is None and not quiet))
    ):  # fmt: skip  # c
        _serve(tap, flow, rec, sight)
    elif gap is None and not quiet and (turned := flow.turned(u)):  # d
        _second_arrival(tap, flow, turned, sight)
    elif gap is None and asked_again(tap, flow, sight):  # e
        _resent(tap, flow, _begin(tap, flow, None, sight), sight)
    elif quiet:  # f
        timeout = _timeout(flow, sight, silence)
        _resent(tap, flow, _begin(tap, flow, timeout, sight), sight)
    elif gap is not None and (gap.acked or (flow.rtt and sight.ts - gap.ts < flow.rtt)):  # g
        tap.mark = "late"
        late_original(tap, flow, sight, gap)
    else:  # h
        unexplained = Recovery("unexplained", u, sight.ts, sight.frame)
        unexplained.original = flow.seen_before(sight.packet.psn)
        _resent(tap, flow, _begin(tap, flow, unexplained, sight), sight)


def end_run(tap: Tap, flow: FlowState, acknowledged: bool = False) -> None:
    """The run is over; so is its recovery, but for those that stay open."""
    run, rec = flow.run, flow.rec
    if run is None or not run.open:
        return
    run.open, run.acknowledged = False, acknowledged
    if rec is None or rec.waiting:
        return
    if rec.kind == "nak":
        if run.cur >= run.top > rec.hi:
            flow.recovery = "go_back_n"
        elif run.cur < run.top and not flow.recovery:
            flow.recovery = "selective"
        if rec.again or rec.known == "late" or (rec.only_first and run.cur < run.top):
            return
    elif rec.kind == "timeout" and rec.decided is None:
        return
    write(tap, flow, rec)
    flow.rec = None


def _go_on(tap: Tap, flow: FlowState, run: Run, sight: Sight) -> None:
    """Rule 5a."""
    if run.open:
        if sight.u > run.cur:
            run.skip(run.cur, sight.u, sight.ts, sight.frame)
        _resent(tap, flow, run, sight)
    else:
        run.cur = sight.u + sight.n
        _fill(tap, flow, None, sight)
        tap.mark = "resent"


def _serve(tap: Tap, flow: FlowState, rec: Recovery, sight: Sight) -> None:
    """Rule 5c."""
    before = flow.run
    perhaps = before is not None and before.open and before.cur == sight.u
    run = _begin(tap, flow, rec, sight)
    rec.waiting = False
    if rec.e < sight.u:
        run.skip(rec.e, sight.u, sight.ts, sight.frame)
    if perhaps:
        rec.again.append(rec.e)
    _resent(tap, flow, run, sight)


def _second_arrival(tap: Tap, flow: FlowState, rec: Recovery, sight: Sight) -> None:
    """Rule 5d."""
    first, last = rec.held[0], rec.held[-1]
    tap.say(flow, "reorder", "reordered", "upstream", first.u, sum(held.n for held in rec.held),
            rec.ts, rec.frame, end=last.ts, original_frame=first.frame, delay_ns=first.ts - rec.ts,
            extent=rec.extent)  # fmt: skip
    other = flow.rec
    if rec is flow.beside:
        flow.beside = None
        if other is not None and other.waiting and flow.run and other.e == flow.run.cur:
            rec.again.append(other.e)
            flow.rec = None
    rec.known, rec.original = "late", first.frame
    _resent(tap, flow, _begin(tap, flow, rec, sight), sight)


def _timeout(flow: FlowState, sight: Sight, silence: int) -> Recovery:
    """Rule 10, as far as it can be said at once."""
    assert flow.nxt is not None
    assert flow.una is not None
    u, gap = sight.u, sight.gap
    rec = Recovery("timeout", u, sight.ts, sight.frame)
    rec.original, rec.silence = flow.seen_before(sight.packet.psn), silence
    rec.psns = flow.nxt - u
    rec.above = next(((g.lo, g.hi) for g in flow.gaps if g.lo > u and not g.acked), None)
    rec.asked = flow.asked >= u
    rec.before = flow.run
    skipped = flow.run is not None and inside(flow.run.skipped, u) is not None
    if gap is not None and not gap.acked and gap.doubted:
        rec.decided = ("undetermined", "")
    elif (gap is not None and not gap.acked) or skipped:
        rec.decided = ("tail_loss", "upstream")
    elif u < flow.una:
        rec.decided = ("ack_lost", "sender")
    return rec


def _begin(tap: Tap, flow: FlowState, rec: Recovery | None, sight: Sight) -> Run:
    """A run begins; what another run was for is over."""
    top = flow.nxt
    assert top is not None
    if rec is not None and rec is flow.rec and flow.run is not None:
        flow.run.open = False
    end_run(tap, flow)
    for other in (flow.beside, flow.rec):
        if other is not None and other is not rec:
            write(tap, flow, other)
    flow.beside, flow.rec = None, rec
    flow.run = Run(sight.u, top, sight.ts, sight.frame)
    if rec is not None:
        flow.run.own = rec.kind != "unexplained"
        flow.run.e = rec.e
        rec.run_ts, rec.run_frame, rec.resent = sight.ts, sight.frame, 0
        rec.run_u = sight.u
    return flow.run


def _resent(tap: Tap, flow: FlowState, run: Run, sight: Sight) -> None:
    """One packet of a run."""
    u, rec = sight.u, flow.rec
    run.cur = u + sight.n
    run.skipped = [piece for whole in run.skipped for piece in cut(whole, u, run.cur)]
    flow.untime(u)
    first = _fill(tap, flow, run, sight)
    tap.mark = "fill" if first else "resent"
    if rec is None or rec.waiting:
        return
    rec.resent += 1
    rec.last_ts = sight.ts
    if first:
        rec.held.append(sight)
        if rec.kind == "unexplained":
            flow.unexplained = [*flow.unexplained[-7:], u]
    else:
        rec.only_first = False
    if rec.extent < 0:
        rec.extent = (flow.nxt or 0) - 1 - u


def _fill(tap: Tap, flow: FlowState, run: Run | None, sight: Sight) -> bool:
    """Take a packet out of its gap; whether it was a first sight."""
    gap = sight.gap
    if gap is None:
        return False
    if gap.acked:
        flow.gaps.remove(gap)
        capture_loss(tap, flow, gap)
        return False
    if run is not None:
        if not _own(run, gap, sight.u) and not gap.asked and not gap.filled:  # 8
            tap.say(flow, "loss", "undetermined", "", gap.lo, gap.hi - gap.lo, gap.ts, gap.frame,
                    end=sight.ts, resend_frame=sight.frame, delay_ns=sight.ts - gap.ts)  # fmt: skip
        gap.filled = True
    flow.take(sight.u, sight.n)
    return True


def _own(run: Run, gap: Gap, u: int) -> bool:
    """The gap that a NAK asked for, or the one that a timeout began with."""
    return run.own and (gap.asked or u == run.start == run.e)
