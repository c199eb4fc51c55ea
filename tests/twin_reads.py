"""READs and their responses, the slow way; see ``docs/sequence.md``, "READ responses"."""

from fabric.codes import Operation
from tests.injector.packets import Packet
from tests.twin_events import Sight, Tap, capture_loss
from tests.twin_state import SIZES, FlowState, Gap, Read

READ_REQUEST = int(Operation.READ_REQUEST)
OUTSTANDING = 16


def remember(tap: Tap, flow: FlowState, read: Read) -> None:
    """One more READ was asked for."""
    flow.reads.append(read)
    if len(flow.reads) > OUTSTANDING:
        for gap in flow.reads.pop(0).gaps:
            if not gap.filled and flow.peer is not None:
                capture_loss(tap, flow.peer, gap)


def asked_again(tap: Tap, flow: FlowState, sight: Sight) -> bool:
    """Rule 5e: a READ request whose response was lost; with its event."""
    read, u = flow.read_of(sight.u), sight.u
    if sight.packet.opcode & 31 != READ_REQUEST or read is None or u >= read.exp:
        return False
    carrier = flow.peer
    assert carrier is not None
    gap = next((gap for gap in read.gaps if gap.lo <= u < gap.hi and not gap.filled), None)
    seen = 0 if gap else carrier.frame_of(carrier.responses, u)
    ts, frame, psns = (gap.ts, gap.frame, gap.hi - u) if gap else (sight.ts, sight.frame, 1)
    tap.say(carrier, "loss", "lost", "upstream" if gap else "downstream", u, psns, ts, frame,
            end=sight.ts, original_frame=seen, resend_frame=sight.frame, delay_ns=sight.ts - ts,
            resent=sight.n)  # fmt: skip
    return True


def settle_span(flow: FlowState, u: int) -> None:
    """The next request tells the span of a READ that was asked for before the PMTU was known."""
    if flow.provisional is None:
        return
    read, flow.provisional = flow.provisional, None
    if flow.pmtu:
        flow.respan(read, flow.pmtu)
        return
    fits = [pmtu for pmtu in reversed(SIZES) if read.p + read.packets(pmtu) == u]
    if fits:
        flow.pmtu = fits[0] if len(fits) == 1 else 0
        flow.respan(read, fits[0])


def stretch_span(flow: FlowState, q: int) -> None:
    """A response above a provisional span tells that it is longer."""
    read = flow.provisional
    if read is None or q < read.end:
        return
    sizes = [pmtu for pmtu in reversed(SIZES) if read.p <= q < read.p + read.packets(pmtu)]
    if sizes:
        flow.respan(read, sizes[0])


def response(tap: Tap, carrier: FlowState, read: Read, packet: Packet, frame: int, q: int) -> None:
    """Response q to a remembered READ, in order or not; ``carrier`` is the flow that carries it."""
    assert carrier.peer is not None
    for lower in carrier.peer.reads:
        if lower.p < read.p and lower.exp < lower.end:
            lower.gaps.append(Gap(lower.exp, lower.end, packet.ts, frame))
            lower.exp = lower.top = lower.end
    if q > read.exp:
        read.gaps.append(Gap(read.exp, q, packet.ts, frame))
    gap = next((gap for gap in read.gaps if gap.lo <= q < gap.hi), None)
    new = q >= read.top
    if q >= read.exp:
        read.exp = q + 1
        read.top = max(read.top, read.exp)
    if gap is None:
        tap.mark = "new" if new else "resent"
        return
    tap.mark = "fill"
    if not gap.filled and not read.asked_again:
        tap.mark = "late"
        tap.say(carrier, "reorder", "reordered", "upstream", q, 1, gap.ts, gap.frame,
                end=packet.ts, original_frame=frame, delay_ns=packet.ts - gap.ts,
                extent=read.top - 1 - q)  # fmt: skip
    read.gaps = [piece for gap in read.gaps for piece in gap.without(q, q + 1)]
