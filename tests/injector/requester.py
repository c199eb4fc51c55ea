"""The asking half of a queue pair's end: window, retransmission timer, recovery (IBTA 9.7.6)."""

from collections import defaultdict, deque
from collections.abc import Callable
from typing import NamedTuple

from fabric.codes import RNR_TIMER_US
from fabric.codes import Operation as Op
from tests.injector.path import UNHARMED, Fate, Line
from tests.injector.responder import ATOMICS
from tests.injector.traffic import Request

NO_CAUSE = ("", 0)
Cause = tuple[
    str, int
]  # nak, rnr, read or timeout, and the PSN it began with; "" for a first sending


class Sent(NamedTuple):
    """One request packet as it was sent."""

    u: int
    span: int
    cause: Cause
    tap: int  # ns; -1 lost before the tap
    recorded: bool
    arrived: bool
    fate: Fate
    ask: bool  # it makes the receiver answer
    order: int  # place among all that was sent on the line


class Timeout(NamedTuple):
    """The timer fired."""

    ts: int
    u: int  # first PSN not acknowledged: the resend begins there
    top: int  # one above the highest sent
    expected: int  # what the receiver waited for then
    order: int


class Read:
    """A READ that is not answered to its end."""

    __slots__ = ("asked_again", "end", "exp", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end, self.exp, self.asked_again = start, end, start, False


class Requester:
    """Sends what stands in ``work`` up to ``end``; calls ``idle`` when all of it is acknowledged."""

    def __init__(self, line: Line, direction: int, base: int) -> None:
        self.line, self.direction, self.base = line, direction, base
        self.peer: Callable[..., None]  # the responder's ``request``
        self.expected: Callable[[], int]  # what the responder waits for
        self.idle: Callable[[int], None]
        self.work: list[Request | None] = []  # by PSN - base; None inside the span of a READ
        self.snd = self.top = self.una = self.end = base
        self.cause: Cause = NO_CAUSE
        self.again: deque[tuple[int, Cause]] = deque()
        self.reads: deque[Read] = deque()
        self.times: defaultdict[int, int] = defaultdict(int)
        self.plan: dict[tuple[int, int], Fate] = {}  # (PSN, how often sent before) -> fate
        self.honour: dict[int, int] = {}  # RNR NAKs at this PSN: wait so long instead of the timer
        self.deadline = self.hold = 0
        self.timeouts = 0
        self.pumping = self.armed = self.dead = False
        self.log: list[Sent] = []
        self.fired: list[Timeout] = []

    def begin(self, ts: int) -> None:
        """``work`` up to ``end`` is to be sent from ``ts`` on."""
        self._pump(ts)

    def _pump(self, ts: int) -> None:
        if not self.pumping and not self.dead:
            self.pumping = True
            self.line.at(ts, self._tick)

    def _tick(self, ts: int) -> None:
        if self.dead:
            return
        if ts < self.hold:
            self.line.at(self.hold, self._tick)
            return
        if self.again:
            u, cause = self.again.popleft()
        elif self.snd < self.end and self.snd - self.una < self.line.mode.window:
            u, cause = self.snd, self.cause if self.snd < self.top else NO_CAUSE
        else:
            self.pumping = False
            return
        request = self._at(u)
        self._send(ts, u, request, cause)
        if u == self.snd:
            self.snd = u + request.span
        self.line.at(ts + self.line.mode.gap_ns, self._tick)

    def _at(self, u: int) -> Request:
        """The request at a PSN; inside the span of a READ, the rest of it."""
        n = u - self.base
        start = n
        while self.work[start] is None:
            start -= 1
        request = self.work[start]
        assert request is not None
        done = n - start
        return (
            request._replace(span=request.span - done, dma=request.dma - done * self.line.mode.pmtu)
            if done
            else request
        )

    def _send(self, ts: int, u: int, request: Request, cause: Cause) -> None:
        fate = self.plan.get((u, self.times[u]), UNHARMED) if self.plan else UNHARMED
        self.times[u] += 1
        opcode, span, payload, dma, ask = request
        fields = (opcode, u, ask, 0, 0, dma, payload)
        tap, recorded, arrival = self.line.carry(self.direction, ts, fields, fate)
        answers = bool(ask) or opcode == Op.READ_REQUEST or opcode in ATOMICS
        self.log.append(
            Sent(u, span, cause, tap, recorded, arrival >= 0, fate, answers, self.line.count)
        )
        if arrival >= 0:
            self.line.at(arrival, self.peer, u, request)
        idle = self.una == self.top
        if u >= self.top:
            self.top = u + span
            if opcode == Op.READ_REQUEST:
                self.reads.append(Read(u, u + span))
        if idle:
            self.deadline = ts + self.line.mode.timer_ns
        if not self.armed:
            self.armed = True
            self.line.at(self.deadline, self._timer)

    def _timer(self, ts: int) -> None:
        if self.dead or self.una >= self.top:
            self.armed = False
        elif ts < max(self.deadline, self.hold):
            self.line.at(max(self.deadline, self.hold + self.line.mode.timer_ns), self._timer)
        else:
            self.fired.append(Timeout(ts, self.una, self.top, self.expected(), self.line.count))
            self.timeouts += 1
            self.deadline = ts + self.line.mode.timer_ns
            self.line.at(self.deadline, self._timer)
            self._back(ts, self.una, ("timeout", self.una))

    def _back(self, ts: int, u: int, cause: Cause) -> None:
        self.cause, self.snd = cause, u
        self.again.clear()
        for read in self.reads:
            read.asked_again = True  # or will be in a moment: until it is answered, that is enough
        self._pump(ts)

    def answer(self, ts: int, kind: str, u: int, syndrome: int, hole_end: int) -> None:
        """A response arrives."""
        if self.dead:
            return
        if kind == "read":
            self._response(ts, u)
        else:
            self._progress(ts, u + 1 if kind in ("ack", "atomic") else u)
        if kind == "refuse":
            self.dead = True
            self.idle(ts)
        elif kind == "rnr" and u == self.una:
            self._back(ts, u, ("rnr", u))
            self.hold = ts + self.honour.get(u, RNR_TIMER_US[syndrome & 31] * 1000)
        elif kind == "nak" and u == self.una:
            if not self.line.mode.selective:
                self._back(ts, u, ("nak", u))
            else:
                self._selected(u, hole_end)
        self._pump(ts)

    def _selected(self, u: int, hole_end: int) -> None:
        """Send the packets of one hole again, then go on."""
        self.again.clear()
        cause = ("nak", u)
        while u < min(hole_end, self.top):
            self.again.append((u, cause))
            u += self._at(u).span

    def _response(self, ts: int, q: int) -> None:
        if not self.reads or q < self.reads[0].exp:
            return
        read = self.reads[0]
        if q > read.exp:
            self._ask_again(ts, read)
            return
        read.exp += 1
        read.asked_again = False
        self._acknowledged(ts, read.exp)
        if read.exp == read.end:
            self.reads.popleft()

    def _ask_again(self, ts: int, read: Read) -> None:
        """The implied NAK (IBTA 9.7.5.1.5): ask for the rest of a READ, once, and go on from there."""
        if not read.asked_again:
            read.asked_again = True
            self._back(ts, read.exp, ("read", read.exp))

    def _progress(self, ts: int, x: int) -> None:
        """Everything below ``x`` is acknowledged, but for a READ that waits for its responses."""
        if self.reads and x > self.reads[0].exp:
            if x > self.reads[0].start and x >= self.reads[0].end:
                self._ask_again(ts, self.reads[0])
            x = self.reads[0].exp
        self._acknowledged(ts, x)

    def _acknowledged(self, ts: int, x: int) -> None:
        if x <= self.una:
            return
        self.una = x
        self.snd = max(self.snd, x)
        self.deadline = ts + self.line.mode.timer_ns
        if self.again and self.again[0][0] < x:
            self.again = deque(item for item in self.again if item[0] >= x)
        if x == self.end:
            self.idle(ts)
        else:
            self._pump(ts)
