"""Responses, the slow way: ``docs/sequence.md``, "A response, acknowledging PSN a"."""

from fabric.codes import RNR_TIMER_US, NakCode, Operation, Syndrome
from tests import twin_reads
from tests.injector.packets import Packet
from tests.twin_events import GAPS, Tap, close_gap, close_recoveries, settle_due, write
from tests.twin_pairing import pair
from tests.twin_runs import end_run
from tests.twin_state import NONE, FlowState, Gap, Recovery, inside

STRAY = 65536
READS = range(Operation.READ_RESPONSE_FIRST, Operation.READ_RESPONSE_ONLY + 1)
TEACHES = (Operation.READ_RESPONSE_FIRST, Operation.READ_RESPONSE_MIDDLE)
LACKS = Syndrome.NAK << 5 | NakCode.SEQUENCE_ERROR
TIMES = (Operation.READ_RESPONSE_FIRST, Operation.READ_RESPONSE_ONLY)
NAMES = {int(code): code.name.lower() for code in NakCode if code}


def response(tap: Tap, carrier: FlowState, packet: Packet, frame: int) -> None:
    """A response that is no copy, in the flow ``carrier``."""
    if carrier.peer is None:
        pair(tap.flows.values(), carrier, packet.psn)
        if carrier.peer is not None:
            carrier.reads, carrier.peer.reads = [], []
            _doubt(carrier.peer, carrier)
            _doubt(carrier, carrier.peer)
    flow = carrier.peer
    if flow is None and (packet.opcode & 31, packet.syndrome) == (Operation.ACKNOWLEDGE, LACKS):
        carrier.unjudged = True
        for candidate in carrier.left:
            a = candidate.unwrap(packet.psn)
            for gap in candidate.gaps:
                if gap.lo <= a < gap.hi:
                    gap.asked = gap.doubted = True
    if flow is None or flow.nxt is None:
        return
    a, ts, operation = flow.unwrap(packet.psn), packet.ts, packet.opcode & 31
    if abs(a - flow.nxt) > STRAY:
        return
    settle_due(tap, flow, ts)
    kind, code = packet.syndrome >> 5, packet.syndrome & 31
    if operation in READS:
        _read_response(tap, flow, carrier, packet, frame, a)
    elif operation == Operation.ATOMIC_ACKNOWLEDGE or kind == Syndrome.ACK:
        _sample(tap, flow, a, ts)
        tells = operation != Operation.ATOMIC_ACKNOWLEDGE
        cover(tap, flow, a + 1, ts, frame, a + 1 if tells else NONE)
    elif flow.una is not None and a < flow.una:
        return
    elif kind == Syndrome.RNR_NAK:
        _rnr(tap, flow, a, ts, frame, code)
    elif kind == Syndrome.NAK and code == NakCode.SEQUENCE_ERROR:
        _nak(tap, flow, a, ts, frame)
    else:
        _refused(tap, flow, a, ts, frame, code if kind == Syndrome.NAK else NONE)


def _doubt(flow: FlowState, carrier: FlowState) -> None:
    """NAKs in ``carrier`` that nobody judged may have asked for any request so far."""
    if carrier.unjudged and flow.nxt is not None:
        flow.doubt = flow.nxt
        for gap in flow.gaps:
            gap.asked = gap.doubted = True
    carrier.unjudged = False


def _sample(tap: Tap, flow: FlowState, a: int, ts: int) -> None:
    if a in flow.timed:
        tap.sample = ts - flow.timed.pop(a)
        flow.rtt = min(flow.rtt or tap.sample, tap.sample)


def _read_response(
    tap: Tap, flow: FlowState, carrier: FlowState, packet: Packet, frame: int, q: int
) -> None:
    operation = packet.opcode & 31
    if operation in TEACHES:
        flow.teach(packet.payload)
    twin_reads.stretch_span(flow, q)
    read = flow.read_of(q)
    if operation in TIMES:
        _sample(tap, flow, q, packet.ts)
    below = q + 1 if read is None or q == read.end - 1 else q
    cover(tap, flow, below, packet.ts, frame, NONE)
    if read is not None:
        twin_reads.response(tap, carrier, read, packet, frame, q)


def cover(
    tap: Tap, flow: FlowState, x: int, ts: int, frame: int, missing: int, decides: bool = True
) -> None:
    """Everything below x arrived; ``missing`` is the first PSN lacked, or NONE."""
    assert flow.nxt is not None
    assert flow.una is not None
    if x > flow.nxt:
        _missed(tap, flow, x, ts, frame)
    flow.acknowledge(x, ts, frame)
    flow.una = max(flow.una, x)
    flow.timed = {u: sent for u, sent in flow.timed.items() if u >= x}
    rec = flow.rec
    if rec is not None and rec.waiting and rec.e < x and not rec.acked:
        rec.acked = ts
    _decide(tap, flow, missing, frame, decides)
    if flow.run is not None and flow.run.open and x >= flow.run.top:
        end_run(tap, flow, acknowledged=True)


def _missed(tap: Tap, flow: FlowState, x: int, ts: int, frame: int) -> None:
    """A response names packets that were not captured; at most so many gaps are open."""
    assert flow.nxt is not None
    last = flow.gaps[-1] if flow.gaps else None
    joins = last is not None and last.acked and last.hi == flow.nxt
    flow.gaps.append(Gap(flow.nxt, x, ts, frame))
    flow.nxt = x
    if len(flow.gaps) > GAPS and not joins:
        close_gap(tap, flow, flow.gaps.pop(0))


def _decide(tap: Tap, flow: FlowState, m: int, frame: int, decides: bool) -> None:
    """Rule 10: the response that decides a timeout."""
    rec, run = flow.rec, flow.run
    if rec is None or rec.kind != "timeout" or rec.decided is not None or m < rec.e:
        return
    assert run is not None
    rec.decided, rec.reply = ("undetermined", ""), frame
    before = rec.before
    unsent = before is not None and (
        inside(before.skipped, m) is not None or before.cur <= m < before.top
    )
    if rec.e < flow.doubt:
        decides = False
    if decides and m < run.top and not unsent:
        if rec.above is None or m < rec.above[0]:
            rec.decided = ("tail_loss", "downstream")
        elif m < rec.above[1]:
            rec.decided = ("tail_loss", "upstream")
    if decides and m >= run.top > run.cur and rec.asked and rec.e != flow.last_nak:
        rec.decided = ("ack_lost", "receiver")
    if not run.open:
        write(tap, flow, rec)
        flow.rec = None


def _nak(tap: Tap, flow: FlowState, e: int, ts: int, frame: int) -> None:
    """A sequence error."""
    rec = _known(flow, e, ts, frame)
    cover(tap, flow, e, ts, frame, e)
    flow.last_nak = e
    flow.untime(e)
    old = flow.rec
    if old is not None and _counted_only(flow, old, e, ts):
        old.again.append(e)
        return
    if flow.beside is not None:
        write(tap, flow, flow.beside)
        flow.beside = None
    if old is not None and old.may_turn() and e > old.e:
        flow.beside = old
    elif old is not None:
        write(tap, flow, old)
    flow.rec = rec
    for gap in flow.gaps:
        gap.asked = gap.asked or gap.lo <= e < gap.hi


def _counted_only(flow: FlowState, old: Recovery, e: int, ts: int) -> bool:
    """Cases a and b of the NAK."""
    run = flow.run
    if old.kind == "nak" and old.e == e and old.waiting:
        return True
    soon = run is not None and flow.rtt and ts - run.ts < flow.rtt
    if old.kind == "nak" and not old.waiting and soon and run is not None and run.start == e:
        return True
    if not old.e < e < old.nxt:
        return False
    in_gap = any(gap.lo <= e < gap.hi for gap in flow.gaps)
    return old.waiting or (old.known == "late" and not in_gap)


def _known(flow: FlowState, e: int, ts: int, frame: int) -> Recovery:
    """Rule 7: what is known of e when it is asked for."""
    assert flow.nxt is not None
    rec = Recovery("nak", e, ts, frame)
    rec.reply, rec.reply_ts, rec.waiting, rec.nxt = frame, ts, True, flow.nxt
    rec.original = flow.frame_of(flow.requests, e)
    gap = next((gap for gap in flow.gaps if gap.lo <= e < gap.hi and not gap.acked), None)
    run = flow.run
    skipped = inside(run.skipped, e) if run is not None else None
    sent_again = run is not None and run.start <= e < run.cur
    unsent = run is not None and run.cur <= e < run.top
    if gap is not None:
        rec.hi, rec.original = gap.hi, 0
        rec.known = "gap" if gap.lo == e else "doubt"
        if gap.lo == e:
            rec.ts, rec.frame, rec.psns = gap.ts, gap.frame, gap.hi - e
    elif skipped is not None:
        rec.known, rec.psns = "gap", skipped[1] - e
        rec.ts, rec.frame = skipped[2], skipped[3]
    elif (
        e >= flow.nxt or e < flow.first or e < flow.doubt or unsent or e in flow.unexplained
        or (sent_again and flow.seen_since(e, ts - flow.rtt)) or _behind_a_read(flow, e)
    ):  # fmt: skip
        rec.known = "doubt"
    elif e in flow.late:
        rec.known = "late"
    return rec


def _behind_a_read(flow: FlowState, e: int) -> bool:
    """The last run sent e again, and before it a READ whose responses may hold up the NAK."""
    run, read = flow.run, flow.read_of(e - 1)
    return run is not None and read is not None and run.start <= read.p < e < run.cur


def _rnr(tap: Tap, flow: FlowState, e: int, ts: int, frame: int, code: int) -> None:
    assert flow.nxt is not None
    original, nxt = flow.frame_of(flow.requests, e), flow.nxt
    cover(tap, flow, e, ts, frame, e, decides=False)
    if e == flow.nxt:
        _missed(tap, flow, e + 1, ts, frame)
    flow.acknowledge(e + 1, ts, frame)
    flow.untime(e)
    old = flow.rec
    if old is not None and old.kind == "rnr" and old.waiting and old.e == e:
        return
    close_recoveries(tap, flow)
    rec = flow.rec = Recovery("rnr", e, ts, frame)
    rec.waiting, rec.reply, rec.original, rec.nxt = True, frame, original, nxt
    rec.limit = RNR_TIMER_US[code] * 1000


def _refused(tap: Tap, flow: FlowState, e: int, ts: int, frame: int, code: int) -> None:
    original = flow.frame_of(flow.requests, e)
    cover(tap, flow, e, ts, frame, e, decides=False)
    close_recoveries(tap, flow)
    if flow.refused != (e, code):
        tap.say(flow, "nak", NAMES.get(code, "undetermined"), "receiver", e, 1, ts, frame,
                original_frame=original, reply_frame=frame)  # fmt: skip
    flow.refused = (e, code)
