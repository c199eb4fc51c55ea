"""The slow and obvious form of ``docs/sequence.md``: lists, dictionaries, one packet at a time.

Written from that page alone. It takes packets as tuples (:class:`tests.injector.packets.Packet`) in
the order of the file and says what happened to their sequences. The numbers of rules and letters in
the comments are those of the page. Here are the loop and rules 1 to 4; the others are in
``twin_runs``, ``twin_reads``, ``twin_responses``, ``twin_pairing`` and ``twin_events``.
"""

from collections.abc import Iterable

from fabric.codes import Operation as Op
from fabric.codes import Service
from tests.injector.packets import Packet
from tests.twin_events import GAPS, Sight, Tap, close, close_gap, late_original, settle_due
from tests.twin_reads import remember, settle_span
from tests.twin_responses import response
from tests.twin_runs import again, end_run
from tests.twin_state import FlowState, Gap, Read

REQUESTS = frozenset(
    {*range(Op.SEND_FIRST, Op.READ_REQUEST + 1), Op.COMPARE_SWAP, Op.FETCH_ADD,
     Op.SEND_LAST_INVALIDATE, Op.SEND_ONLY_INVALIDATE}
)  # fmt: skip
TEACHES = (Op.SEND_FIRST, Op.SEND_MIDDLE, Op.WRITE_FIRST, Op.WRITE_MIDDLE)
ANSWERED = (Op.READ_REQUEST, Op.COMPARE_SWAP, Op.FETCH_ADD)
JUDGED = (Service.RC, Service.UC, Service.XRC)
FAR, BACK, AMBIGUOUS = 65536, 4096, 1024
TIMED = 16


class Twin(Tap):
    """All packets of one tap; ``marks`` and ``rtts`` have one entry per packet."""

    def __init__(self, speed_bps: int) -> None:
        super().__init__(speed_bps)
        self.marks: list[str] = []
        self.rtts: list[int] = []

    def run(self, packets: Iterable[Packet]) -> "Twin":
        """Judge all packets, then what is open at the end."""
        for frame, packet in enumerate(packets, 1):
            self.mark, self.sample = "new", -1
            _packet(self, packet, frame)
            self.marks.append(self.mark)
            self.rtts.append(self.sample)
        for flow in self.flows.values():
            close(self, flow)
        return self


def _packet(tap: Tap, packet: Packet, frame: int) -> None:
    key = (packet.src, packet.dst, packet.qpn)
    flow = tap.flows.get(key)
    if flow is None:
        flow = tap.flows[key] = FlowState(key, packet)
    if packet.ip_id != flow.first_id:
        flow.varies = True
    operation = packet.opcode & 31
    if packet.opcode >> 5 not in JUDGED:
        return
    if _copy(flow, packet, frame, operation in REQUESTS):
        tap.mark = "copy"
    elif operation in REQUESTS:
        _request(tap, flow, packet, frame)
    elif operation <= Op.ATOMIC_ACKNOWLEDGE:
        response(tap, flow, packet, frame)


# ---- Rule 1


def _copy(flow: FlowState, packet: Packet, frame: int, request: bool) -> bool:
    """Whether it is a copy; otherwise it is remembered."""
    memory = flow.requests if request else flow.responses
    sight, at = memory.get(packet.psn % 64, (None, 0))
    copy = sight is not None and _same(flow, sight, at, packet, request)
    if request:
        flow.sights[packet.psn % 64] = flow.sights.get(packet.psn % 64, 0) + 1 if copy else 0
    if copy:
        return True
    older = (request, packet.psn)
    if sight is not None and sight.psn == packet.psn:
        flow.older[older] = sight.ip_id
    else:
        flow.older.pop(older, None)
    memory[packet.psn % 64] = (packet, frame)
    flow.before = (sight, at)
    return False


def _same(flow: FlowState, sight: Packet, at: int, packet: Packet, request: bool) -> bool:
    if (sight.psn, sight.opcode, sight.syndrome) != (packet.psn, packet.opcode, packet.syndrome):
        return False
    if flow.varies:
        return packet.ip_id in (sight.ip_id, flow.older.get((request, packet.psn)))
    rtt = flow.rtt or 50_000
    longest = min(rtt // 2, 10_000) if sight.ttl == packet.ttl else rtt
    if packet.ts - sight.ts > longest:
        return False
    if request:
        return _no_resend(flow, sight, at, packet)
    peer = flow.peer
    if peer is None or peer.nxt is None:
        return True
    q = peer.unwrap(packet.psn)
    read = peer.read_of(q)
    if read is not None and read.asked_frame > at:
        return False
    return peer.run is None or peer.run.frame <= at or peer.run.start > q


def _no_resend(flow: FlowState, sight: Packet, at: int, packet: Packet) -> bool:
    """A request soon after the same one, without an identification: nothing makes it a resend."""
    u, run, sort = flow.unwrap(packet.psn), flow.run, sight.ttl == packet.ttl
    if run is not None and run.frame > at:
        resend = u == run.cur if sort in flow.copied else run.start <= u
        if resend:
            return False
    had = flow.sights.get(packet.psn % 64, 0)
    expected = any(rec is not None and rec.expects(u, flow.una) for rec in (flow.rec, flow.beside))
    if expected and had >= flow.copied.get(sort, 0):
        return False
    if run is None or not run.start <= u < run.cur:
        flow.copied[sort] = max(flow.copied.get(sort, 0), had + 1)
    return True


# ---- Rules 2 to 4


def _request(tap: Tap, flow: FlowState, packet: Packet, frame: int) -> None:
    if flow.nxt is None:
        flow.begin(packet)
    elif jump := _jump(tap, flow, packet):
        verdict = "reused" if jump == "qpn_reuse" else "undetermined"
        tap.say(flow, jump, verdict, "", packet.psn, 1, packet.ts, frame)
        close(tap, flow)
        if jump == "qpn_reuse":
            flow = _renew(tap, flow, packet, frame)
        flow.begin(packet)
    else:
        settle_due(tap, flow, packet.ts)
    settle_span(flow, flow.unwrap(packet.psn))
    if packet.opcode & 31 in TEACHES:
        flow.teach(packet.payload)
    _place(tap, flow, packet, frame)
    flow.last_request = packet.ts


def _renew(tap: Tap, flow: FlowState, packet: Packet, frame: int) -> FlowState:
    """Another life of the queue pair number."""
    if flow.peer is not None:
        flow.peer.peer = None
    flow = tap.flows[flow.key] = FlowState(flow.key, packet)
    flow.requests[packet.psn % 64] = (packet, frame)
    return flow


def _jump(tap: Tap, flow: FlowState, packet: Packet) -> str:
    """Rule 2: empty where counting simply goes on."""
    assert flow.nxt is not None
    assert flow.una is not None
    assert flow.last_request is not None
    u = flow.unwrap(packet.psn)
    d, silence = u - flow.nxt, packet.ts - flow.last_request
    half_wrap_bits = (1 << 23) * (flow.pmtu or 1024) * 8
    if silence * tap.speed_bps > half_wrap_bits * 10**9 and abs(d) > AMBIGUOUS:
        return "hole"
    too_far = d * 84 * 8 * 10**9 > 2 * tap.speed_bps * silence
    if (d > FAR and too_far and not flow.asked_reads) or d < -FAR or u < flow.una - BACK:
        return "qpn_reuse"
    return "hole" if d > FAR else ""


def _place(tap: Tap, flow: FlowState, packet: Packet, frame: int) -> None:
    """Rules 3 to 5, and what is remembered of a READ."""
    assert flow.nxt is not None
    u, read, n = flow.unwrap(packet.psn), None, 1
    if packet.opcode & 31 == Op.READ_REQUEST:
        flow.asked_reads = True
        read = Read(u, packet.dma)
        n = read.packets(flow.pmtu or 4096)
        read.end = u + n
    if u < flow.first:
        return
    gap = next((gap for gap in flow.gaps if gap.lo <= u < gap.hi), None)
    sight = Sight(packet, frame, u, n, gap)
    first_sight = u >= flow.nxt or gap is not None
    if u >= flow.nxt:
        _new(tap, flow, sight)
    elif flow.service == Service.UC:
        tap.mark = "late" if gap else "copy"
        if gap:
            late_original(tap, flow, sight, gap)
    else:
        again(tap, flow, sight)
    if read is not None and first_sight:
        flow.provisional = None if flow.pmtu else read
        remember(tap, flow, read)
    elif read is not None:
        flow.ask_again(u, frame)


def _new(tap: Tap, flow: FlowState, sight: Sight) -> None:
    """Rule 4."""
    assert flow.nxt is not None
    u, packet = sight.u, sight.packet
    end_run(tap, flow)
    in_order = u == flow.nxt
    if not in_order:
        flow.gaps.append(Gap(flow.nxt, u, sight.ts, sight.frame))
        if len(flow.gaps) > GAPS:
            close_gap(tap, flow, flow.gaps.pop(0))
    flow.nxt = u + sight.n
    if packet.ask or packet.opcode & 31 in ANSWERED:
        flow.asked = u
        if in_order and len(flow.timed) < TIMED:
            flow.timed[u] = sight.ts
