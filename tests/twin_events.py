"""What the slow sequence tracker says, and when: events, what is due, what is open at the end."""

from tests.injector.packets import Packet
from tests.twin_state import ACKED_WAIT, NONE, Event, FlowState, Gap, Recovery

GAPS = 32  # open in a flow


class Tap:
    """The flows of one tap; ``events`` is what happened to them.

    ``mark`` and ``sample`` are what the packet that is being judged gets: a mark, and the round trip
    that it completes.
    """

    def __init__(self, speed_bps: int) -> None:
        self.speed_bps = speed_bps or 800_000_000_000
        self.flows: dict[tuple[int, int, int], FlowState] = {}
        self.events: list[Event] = []
        self.mark, self.sample = "new", NONE

    def say(
        self, flow: FlowState, kind: str, verdict: str, place: str, u: int, psns: int, ts: int,
        frame: int, **more: int,
    ) -> None:  # fmt: skip
        """One row of EVENTS; ``more`` are its other columns."""
        row = Event(flow.key, kind, verdict, place, u & 0xFFFFFF, psns, ts, ts, frame=frame)
        self.events.append(row._replace(**more))


class Sight:
    """A request as it is judged: time, frame, PSN, span, and the gap that it lies in."""

    def __init__(self, packet: Packet, frame: int, u: int, n: int, gap: Gap | None) -> None:
        self.packet, self.ts, self.frame = packet, packet.ts, frame
        self.u, self.n, self.gap = u, n, gap


def capture_loss(tap: Tap, flow: FlowState, gap: Gap) -> None:
    """A gap that the receiver does not have."""
    tap.say(flow, "capture_loss", "capture_loss", "tap", gap.lo, gap.hi - gap.lo, gap.ts, gap.frame,
            end=gap.acked_ts or gap.ts, reply_frame=gap.acked_frame)  # fmt: skip


def late_original(tap: Tap, flow: FlowState, sight: Sight, gap: Gap) -> None:
    """Rule 5g; takes the packet out of its gap."""
    assert flow.nxt is not None
    place = "tap" if gap.acked else "upstream"
    tap.say(flow, "reorder", "reordered", place, sight.u, sight.n, gap.ts, gap.frame, end=sight.ts,
            original_frame=sight.frame, delay_ns=sight.ts - gap.ts,
            extent=flow.nxt - 1 - sight.u)  # fmt: skip
    flow.late = [*flow.late[-7:], sight.u]
    flow.take(sight.u, sight.n)


def close_gap(tap: Tap, flow: FlowState, gap: Gap) -> None:
    """A gap at the end."""
    if gap.acked:
        capture_loss(tap, flow, gap)
    elif not gap.asked and not gap.filled:
        tap.say(flow, "gap", "undetermined", "", gap.lo, gap.hi - gap.lo, gap.ts, gap.frame)


def write(tap: Tap, flow: FlowState, rec: Recovery) -> None:
    """The event of a recovery that is closed."""
    told = rec.tell()
    if told is None:
        return
    kind, verdict, place, psns = told
    ts, frame = rec.ts, rec.frame
    if kind == "retransmission" and rec.kind == "nak":
        ts, frame = rec.reply_ts, rec.reply
    delay = NONE
    if kind == "timeout":
        delay = rec.silence
    elif rec.run_frame and rec.kind != "unexplained":
        delay = rec.run_ts - ts
    tap.say(flow, kind, verdict, place, rec.e, psns, ts, frame,
            end=rec.last_ts if rec.run_frame else ts, original_frame=rec.original,
            reply_frame=rec.reply, resend_frame=rec.run_frame, delay_ns=delay, limit_ns=rec.limit,
            resent=rec.resent)  # fmt: skip


def close_recoveries(tap: Tap, flow: FlowState) -> None:
    """Write whatever recoveries there are."""
    for rec in (flow.beside, flow.rec):
        if rec is not None:
            write(tap, flow, rec)
    flow.rec = flow.beside = None


def settle_due(tap: Tap, flow: FlowState, ts: int) -> None:
    """What can wait no longer."""
    for gap in [gap for gap in flow.gaps if gap.acked and ts - gap.acked_ts >= ACKED_WAIT]:
        flow.gaps.remove(gap)
        capture_loss(tap, flow, gap)
    if flow.rec is not None and _over(flow, flow.rec, ts):
        write(tap, flow, flow.rec)
        flow.rec = None
    if flow.beside is not None and _over(flow, flow.beside, ts):
        write(tap, flow, flow.beside)
        flow.beside = None


def _over(flow: FlowState, rec: Recovery, ts: int) -> bool:
    """A recovery that stays open has stayed so for LONG."""
    if rec.waiting:
        return rec.acked != 0 and ts - rec.acked >= flow.long()
    running = rec is flow.rec and flow.run is not None and flow.run.open
    return not running and ts - rec.last_ts >= flow.long()


def close(tap: Tap, flow: FlowState) -> None:
    """The end of the capture, of a life, or a hole."""
    close_recoveries(tap, flow)
    for gap in flow.gaps:
        close_gap(tap, flow, gap)
    for read in flow.reads:
        for gap in read.gaps:
            if not gap.filled and flow.peer is not None:
                close_gap(tap, flow.peer, gap)
