"""What the slow and obvious sequence tracker remembers; see ``tests/twin_sequence.py``."""

from typing import Any, NamedTuple

from tests.injector.packets import Packet

NONE = -1
ACKED_WAIT = 50_000  # ns until an acknowledged gap is told
SIZES = (256, 512, 1024, 2048, 4096)
Skipped = tuple[int, int, int, int]  # lo, hi, time and frame that passed over it
Memory = dict[int, tuple[Packet | None, int]]  # PSN modulo 64: packet, frame


class Event(NamedTuple):
    """A row of EVENTS, with the flow as it stands in the packets; frames 0 where there is none."""

    flow: tuple[int, int, int]
    kind: str
    verdict: str
    place: str
    psn: int
    psns: int
    ts: int
    end: int
    resent: int = 0
    delay_ns: int = NONE
    limit_ns: int = NONE
    extent: int = 0
    frame: int = 0
    original_frame: int = 0
    reply_frame: int = 0
    resend_frame: int = 0


def d24(a: int, b: int) -> int:
    """``a - b`` as a signed number of 24 bits."""
    return (a - b + 0x800000) % 0x1000000 - 0x800000


def cut(piece: Skipped, lo: int, hi: int) -> list[Skipped]:
    """What is left of a range without [lo, hi)."""
    begin, end, ts, frame = piece
    parts = [(begin, min(end, lo), ts, frame), (max(begin, hi), end, ts, frame)]
    return [part for part in parts if part[0] < part[1]]


def inside(ranges: list[Skipped], u: int) -> Skipped | None:
    """The range that holds ``u``."""
    return next((piece for piece in ranges if piece[0] <= u < piece[1]), None)


class Gap:
    """PSNs [lo, hi) that were not seen; opened by ``frame`` at ``ts``."""

    def __init__(self, lo: int, hi: int, ts: int, frame: int) -> None:
        self.lo, self.hi, self.ts, self.frame = lo, hi, ts, frame
        self.asked = self.filled = self.acked = self.doubted = False
        self.acked_ts = self.acked_frame = 0

    def part(self, lo: int, hi: int) -> "Gap":
        """The same gap, narrower."""
        gap = Gap(lo, hi, self.ts, self.frame)
        gap.asked, gap.filled, gap.acked = self.asked, self.filled, self.acked
        gap.doubted = self.doubted
        gap.acked_ts, gap.acked_frame = self.acked_ts, self.acked_frame
        return gap

    def without(self, lo: int, hi: int) -> list["Gap"]:
        """What is left when [lo, hi) is taken out."""
        if hi <= self.lo or lo >= self.hi:
            return [self]
        parts = [(self.lo, min(lo, self.hi)), (max(hi, self.lo), self.hi)]
        return [self.part(a, b) for a, b in parts if a < b]

    def split(self, x: int) -> list["Gap"]:
        """Below x and from x on."""
        if self.lo < x < self.hi:
            return [self.part(self.lo, x), self.part(x, self.hi)]
        return [self]


class Run:
    """A row of resent packets."""

    def __init__(self, start: int, top: int, ts: int, frame: int) -> None:
        self.start = self.cur = start
        self.top, self.ts, self.frame = top, ts, frame
        self.open, self.acknowledged = True, False
        self.skipped: list[Skipped] = []
        self.own = False  # it serves a NAK, an RNR NAK or a timeout, for the PSN e
        self.e = NONE

    def begin(self, start: int, top: int, ts: int, frame: int) -> None:
        """The run starts over."""
        self.start, self.top, self.ts, self.frame = start, top, ts, frame
        self.skipped, self.open = [], True

    def skip(self, lo: int, hi: int, ts: int, frame: int) -> None:
        """The run passed over [lo, hi)."""
        self.skipped = [*self.skipped, (lo, hi, ts, frame)][-8:]


class Recovery:
    """Why packets are sent again: kind nak, rnr, timeout or unexplained."""

    def __init__(self, kind: str, e: int, ts: int, frame: int) -> None:
        self.kind, self.e, self.ts, self.frame = kind, e, ts, frame
        self.known = "seen"  # of e when a NAK asked for it: gap, doubt, late or seen
        self.hi, self.psns = e + 1, 1
        self.nxt = 0  # when the NAK came
        self.waiting = False
        self.again: list[int] = []  # NAKs that were only counted: each starts the run over
        self.acked = 0  # time of the first ACK of e while this one waited
        self.only_first = True  # the run so far filled gaps only
        self.held: list[Any] = []  # the first sights in its run
        self.extent = NONE
        self.run_u = self.run_ts = self.run_frame = self.last_ts = self.resent = 0
        self.reply_ts = self.reply = self.original = 0
        self.limit = self.silence = NONE
        self.decided: tuple[str, str] | None = None  # of a timeout
        self.above: tuple[int, int] | None = None  # lowest gap above a timeout's first PSN
        self.asked = False
        self.before: Run | None = None  # the run before a timeout

    def starts_over(self, una: int | None) -> int:
        """The highest PSN with which its run may start over."""
        return min(max(*self.again, una or 0), self.nxt - 1) if self.again else NONE

    def expects(self, u: int, una: int | None) -> bool:
        """Rule 5b, 5c or 5d may hold for ``u``."""
        if self.waiting:
            return self.e <= u
        return self.turns(u) or self.e <= u <= self.starts_over(una)

    def may_turn(self) -> bool:
        """Rule 5d may still say that its run were late originals."""
        return (
            self.kind == "nak" and not self.waiting and self.known != "late"
            and self.only_first and bool(self.held)
        )  # fmt: skip

    def turns(self, u: int) -> bool:
        """``u`` is the second arrival of its e."""
        return self.may_turn() and u == self.e

    def tell(self) -> tuple[str, str, str, int] | None:
        """Kind, verdict, place and psns of the event; None where there is nothing to tell."""
        resent = self.run_frame != 0
        if self.kind == "unexplained":
            return "retransmission", "undetermined", "", 1
        if self.kind == "timeout":
            return "timeout", *(self.decided or ("undetermined", "")), self.psns
        if self.kind == "rnr":
            honoured = self.run_ts - self.ts >= self.limit
            verdict = ("timer_honoured" if honoured else "timer_ignored") if resent else "no_resend"
            return "rnr", verdict, "receiver", 1
        if self.known == "late":
            return ("retransmission", "spurious", "upstream", 1) if resent else None
        if self.acked:
            if self.known == "seen" and resent and self.run_u == self.e:
                return "retransmission", "spurious", "downstream", 1
            return "loss", "undetermined", "", self.psns
        if self.known == "doubt":
            return "loss", "undetermined", "", 1
        return "loss", "lost", "upstream" if self.known == "gap" else "downstream", self.psns


class Read:
    """A READ request: PSNs [p, end), the response expected next, what is missing."""

    def __init__(self, p: int, length: int) -> None:
        self.p, self.length = p, length
        self.end = p + 1
        self.exp = self.top = p
        self.asked_again = False
        self.asked_frame = 0  # that last asked for it again
        self.gaps: list[Gap] = []

    def packets(self, pmtu: int) -> int:
        """PSNs that the READ takes."""
        return max(1, -(-self.length // pmtu))


class FlowState:
    """One flow."""

    def __init__(self, key: tuple[int, int, int], packet: Packet) -> None:
        self.key, self.sport, self.first_id = key, packet.sport, packet.ip_id
        self.varies = False
        self.older: dict[tuple[bool, int], int] = {}  # identifications replaced in the memory
        # Sorts of copies shown, with the same TTL and with another: most of one packet.
        self.copied: dict[bool, int] = {}
        self.sights: dict[int, int] = {}  # copies of the remembered requests
        self.service = -1
        self.requests: Memory = {}
        self.responses: Memory = {}
        self.before: tuple[Packet | None, int] = (None, 0)  # what the present packet replaced
        self.first = 0
        self.nxt: int | None = None
        self.una: int | None = None
        self.pmtu = self.rtt = 0
        self.recovery = ""
        self.asked_reads = False
        self.last_request: int | None = None
        self.peer: FlowState | None = None
        self.unjudged = False  # it carried a sequence-error NAK while it had no peer
        self.hits: dict[int, int] = {}  # pairing: candidate -> consistent responses
        self.struck: set[int] = set()
        self.left: list[FlowState] = []  # candidates that the last response left
        self.provisional: Read | None = None
        self.timed: dict[int, int] = {}
        self._forget()

    def _forget(self) -> None:
        self.gaps: list[Gap] = []
        self.run: Run | None = None
        self.rec: Recovery | None = None
        self.beside: Recovery | None = None
        self.late: list[int] = []
        self.unexplained: list[int] = []  # first sights in unexplained runs
        self.reads: list[Read] = []
        self.asked = self.last_nak = NONE
        self.doubt = 0  # PSNs below may have been asked for by a NAK that nobody judged
        self.refused = (NONE, NONE)

    def begin(self, packet: Packet) -> None:
        """Counting starts with ``packet``."""
        self.first = self.nxt = self.una = packet.psn
        self.service = packet.opcode >> 5
        self.provisional = None
        self.pmtu = self.rtt = 0
        self.timed = {}
        self._forget()

    def unwrap(self, psn: int) -> int:
        """The PSN next to the highest seen."""
        assert self.nxt is not None
        return self.nxt + d24(psn, self.nxt & 0xFFFFFF)

    def long(self) -> int:
        """LONG, ns."""
        return max(16 * (self.rtt or 50_000), 100_000)

    def teach(self, payload: int) -> None:
        """The payload of a FIRST or MIDDLE packet."""
        if payload:
            self.pmtu = max(self.pmtu, next((m for m in SIZES if payload <= m), SIZES[-1]))

    def respan(self, read: Read, pmtu: int) -> None:
        """The span of the latest READ is known now."""
        if self.nxt == read.end:
            self.nxt = read.p + read.packets(pmtu)
        read.end = read.p + read.packets(pmtu)

    @staticmethod
    def remembered(memory: Memory, u: int) -> Packet | None:
        """The last packet with this PSN, while it is remembered."""
        packet, _ = memory.get(u % 64, (None, 0))
        return packet if packet is not None and packet.psn == u & 0xFFFFFF else None

    def frame_of(self, memory: Memory, u: int) -> int:
        """Its frame, or 0."""
        return memory[u % 64][1] if self.remembered(memory, u) is not None else 0

    def seen_since(self, u: int, ts: int) -> bool:
        """The last sight of ``u`` is remembered and later than ``ts``; RTT is measured."""
        packet = self.remembered(self.requests, u)
        return self.rtt > 0 and packet is not None and packet.ts > ts

    def seen_before(self, psn: int) -> int:
        """Frame of the last sight of the request that is being judged and has just replaced it."""
        packet, frame = self.before
        return frame if packet is not None and packet.psn == psn else 0

    def turned(self, u: int) -> Recovery | None:
        """The recovery that rule 5d turns with ``u``."""
        return next((rec for rec in (self.rec, self.beside) if rec and rec.turns(u)), None)

    def untime(self, u: int) -> None:
        """Karn: nothing from ``u`` on is timed any more."""
        self.timed = {probe: ts for probe, ts in self.timed.items() if probe < u}

    def take(self, u: int, n: int) -> None:
        """Take [u, u + n) out of the gaps."""
        self.gaps = [piece for gap in self.gaps for piece in gap.without(u, u + n)]

    def acknowledge(self, x: int, ts: int, frame: int) -> None:
        """The parts of the gaps below x leave, or become acknowledged, and join."""
        pieces = [piece for gap in self.gaps for piece in gap.split(x)]
        self.gaps = []
        for gap in pieces:
            if gap.lo < x and not gap.acked:
                if gap.asked or gap.filled:
                    continue
                gap.acked, gap.acked_ts, gap.acked_frame = True, ts, frame
            last = self.gaps[-1] if self.gaps else None
            if last is not None and last.acked and gap.acked and last.hi == gap.lo:
                last.hi, last.acked_ts = gap.hi, max(last.acked_ts, gap.acked_ts)
            else:
                self.gaps.append(gap)

    def read_of(self, u: int) -> Read | None:
        """The latest remembered READ whose span holds ``u``."""
        return next((read for read in reversed(self.reads) if read.p <= u < read.end), None)

    def ask_again(self, u: int, frame: int) -> None:
        """A READ request at ``u`` came again: its responses are expected from there."""
        read = self.read_of(u)
        if read is not None:
            read.asked_again, read.asked_frame, read.exp = True, frame, u
            read.gaps = [piece for gap in read.gaps for piece in gap.split(u)]
            for gap in read.gaps:
                gap.filled = gap.filled or gap.lo >= u
