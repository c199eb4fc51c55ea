"""The answering half of a queue pair's end (IBTA 9.7.5).

In order: accept, and answer what asks. Out of order: go-back-N sends one NAK and throws everything away
until the packet asked for is there; a selective receiver keeps it and sends one NAK for each hole.
A request seen before is answered with the latest PSN, a READ is executed again.
"""

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from fabric.codes import Operation as Op
from fabric.codes import Syndrome
from tests.injector.path import UNHARMED, Fate, Line
from tests.injector.traffic import Request

if TYPE_CHECKING:
    from tests.injector.requester import Requester

ATOMICS = (Op.COMPARE_SWAP, Op.FETCH_ADD)
ENDS = frozenset(
    {
        Op.SEND_LAST, Op.SEND_LAST_IMM, Op.SEND_ONLY, Op.SEND_ONLY_IMM, Op.WRITE_LAST, Op.WRITE_ONLY,
        Op.WRITE_LAST_IMM, Op.WRITE_ONLY_IMM, Op.READ_REQUEST, *ATOMICS, Op.SEND_LAST_INVALIDATE,
        Op.SEND_ONLY_INVALIDATE,
    }
)  # fmt: skip
NAK, RNR, NO_LIMIT = Syndrome.NAK << 5, Syndrome.RNR_NAK << 5, 31


class Answer(NamedTuple):
    """One response as it was sent."""

    kind: str  # ack, atomic, nak, rnr, refuse or read
    u: int  # PSN it names
    tap: int  # ns; -1 lost before the tap
    recorded: bool
    arrived: bool
    fate: Fate
    order: int  # place among all that was sent on the line


class Rule(NamedTuple):
    """What is done to answers of ``kind`` that name a PSN in [lo, hi), ``times`` times.

    ``timeouts`` ends it: it holds while the requester's timer has not fired oftener than that.
    """

    kinds: tuple[str, ...]
    lo: int
    hi: int
    times: int
    timeouts: int
    fate: Fate


class Responder:
    """Answers the requests of ``peer``; its packets go in ``direction`` (0: from A to B)."""

    def __init__(self, line: Line, direction: int, epsn: int) -> None:
        self.line, self.direction, self.epsn = line, direction, epsn
        self.peer: Requester
        self.msn = 0
        self.free = 0  # when the last answer left
        self.nak_sent = self.refused = self.ack_due = self.not_ready = False
        self.asked_to = 0  # a selective receiver has asked for everything below this
        self.kept: dict[int, Request] = {}
        self.rules: list[list[object]] = []
        self.rnr: dict[int, list[int]] = {}  # PSN -> timer codes still to send
        self.refuse: dict[int, int] = {}  # PSN -> NAK code
        self.plan: dict[tuple[int, int], Fate] = {}  # READ responses: (PSN, how often sent before)
        self.times: defaultdict[int, int] = defaultdict(int)
        self.log: list[Answer] = []

    def rule(self, rule: Rule) -> None:
        """Do something to answers from now on."""
        self.rules.append([rule, rule.times])

    def request(self, ts: int, u: int, request: Request) -> None:
        """A request arrives."""
        if self.refused:
            return
        if u == self.epsn:
            self._next(ts, u, request)
        elif u > self.epsn:
            self._ahead(ts, u, request)
        elif request.opcode == Op.READ_REQUEST:
            self._read(ts, u, request)
        elif request.opcode in ATOMICS:
            self._answer(ts, "atomic", u, Op.ATOMIC_ACKNOWLEDGE, NO_LIMIT)
        else:
            self._acknowledge(ts)

    def _next(self, ts: int, u: int, request: Request) -> None:
        if u in self.refuse:
            self.refused = True
            self._answer(ts, "refuse", u, Op.ACKNOWLEDGE, NAK | self.refuse[u])
        elif self.rnr.get(u):
            self.not_ready = True
            self._answer(ts, "rnr", u, Op.ACKNOWLEDGE, RNR | self.rnr[u].pop(0))
        else:
            self._accept(ts, u, request)
            while self.epsn in self.kept:
                self._accept(ts, self.epsn, self.kept.pop(self.epsn))
            if self.kept:
                self._missing(ts)

    def _ahead(self, ts: int, u: int, request: Request) -> None:
        if self.not_ready:
            return
        if self.line.mode.selective:
            self.kept[u] = request
            self._missing(ts)
        elif not self.nak_sent:
            self.nak_sent = True
            self._answer(ts, "nak", self.epsn, Op.ACKNOWLEDGE, NAK)

    def _missing(self, ts: int) -> None:
        """A selective receiver sees a hole at ``epsn``."""
        if self.epsn < self.asked_to:
            return
        self.asked_to = min(self.kept)
        if self.line.mode.patience_ns:
            self.line.at(ts + self.line.mode.patience_ns, self._still_missing, self.epsn)
        else:
            self._answer(ts, "nak", self.epsn, Op.ACKNOWLEDGE, NAK)

    def _still_missing(self, ts: int, hole: int) -> None:
        if self.epsn == hole and not self.refused:
            self._answer(ts, "nak", hole, Op.ACKNOWLEDGE, NAK)

    def _accept(self, ts: int, u: int, request: Request) -> None:
        self.nak_sent = self.not_ready = False
        immediate = request.opcode == Op.READ_REQUEST or request.opcode in ATOMICS
        if immediate and self.ack_due:
            self._flush(ts)
        self.epsn = u + request.span
        self.msn += request.opcode in ENDS
        if request.opcode == Op.READ_REQUEST:
            self._read(ts, u, request)
        elif immediate:
            self._answer(ts, "atomic", u, Op.ATOMIC_ACKNOWLEDGE, NO_LIMIT)
        elif request.ask:
            self._acknowledge(ts)

    def _acknowledge(self, ts: int) -> None:
        if not self.line.mode.coalesce_ns:
            self._answer(ts, "ack", self.epsn - 1, Op.ACKNOWLEDGE, NO_LIMIT)
        elif not self.ack_due:
            self.ack_due = True
            self.line.at(ts + self.line.mode.coalesce_ns, self._flush)

    def _flush(self, ts: int) -> None:
        if self.ack_due:
            self.ack_due = False
            self._answer(ts, "ack", self.epsn - 1, Op.ACKNOWLEDGE, NO_LIMIT)

    def _read(self, ts: int, u: int, request: Request) -> None:
        pmtu = self.line.mode.pmtu
        for n in range(request.span):
            last = n == request.span - 1
            if request.span == 1:
                opcode = Op.READ_RESPONSE_ONLY
            elif n == 0:
                opcode = Op.READ_RESPONSE_FIRST
            else:
                opcode = Op.READ_RESPONSE_LAST if last else Op.READ_RESPONSE_MIDDLE
            payload = request.dma - (request.span - 1) * pmtu if last else pmtu
            fate = self.plan.get((u + n, self.times[u + n]), UNHARMED)
            self.times[u + n] += 1
            syndrome = 0 if opcode == Op.READ_RESPONSE_MIDDLE else NO_LIMIT
            self._send(ts, "read", u + n, opcode, syndrome, payload, fate)

    def _answer(self, ts: int, kind: str, u: int, opcode: int, syndrome: int) -> None:
        fate = UNHARMED
        for rule in self.rules:
            what, left = rule
            assert isinstance(what, Rule)
            assert isinstance(left, int)
            if (
                left and kind in what.kinds and what.lo <= u < what.hi
                and self.peer.timeouts <= what.timeouts
            ):  # fmt: skip
                rule[1] = left - 1
                fate = what.fate
        self._send(ts, kind, u, opcode, syndrome, 0, fate)

    def _send(
        self, ts: int, kind: str, u: int, opcode: int, syndrome: int, payload: int, fate: Fate
    ) -> None:
        """Answers leave in order, not before the turn-around, READ responses at the line's pace."""
        mode = self.line.mode
        gap = mode.gap_ns if payload else 20
        self.free = leaves = max(self.free + gap, ts + mode.turn_ns)
        msn = self.msn if opcode != Op.READ_RESPONSE_MIDDLE else 0
        fields = (opcode, u, 0, syndrome, msn, 0, payload)
        tap, recorded, arrival = self.line.carry(self.direction, leaves, fields, fate)
        self.log.append(Answer(kind, u, tap, recorded, arrival >= 0, fate, self.line.count))
        if arrival >= 0:
            self.line.at(arrival, self.peer.answer, kind, u, syndrome, self._hole_end())

    def _hole_end(self) -> int:
        return min(self.kept, default=self.epsn + 1)
