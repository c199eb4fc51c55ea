"""A queue pair's life: bursts of messages in both directions, each burst with one fault."""

from random import Random

from fabric.codes import PSN_MASK
from tests.injector import faults
from tests.injector.faults import FAULTS, Fault
from tests.injector.packets import Flow
from tests.injector.path import Line, Mode
from tests.injector.requester import Requester
from tests.injector.responder import Responder
from tests.injector.traffic import burst

WARM_UP = 40  # packets before the first fault: enough answers to know which flows are a pair
REFUSED = 0.15  # share of the last bursts that the receiver refuses for good
PAUSES_NS = (0, 2_000, 40_000, 3_000_000)


class Episode:
    """What one burst was for."""

    __slots__ = ("fault", "hi", "lo")

    def __init__(self, fault: str, lo: int, hi: int) -> None:
        self.fault, self.lo, self.hi = fault, lo, hi


class Half:
    """One end as a requester, the other as its responder, and the bursts between them."""

    def __init__(self, line: Line, direction: int, base: int, bursts: int, chosen: list[Fault]):
        self.line, self.rng = line, line.rng
        self.asker = Requester(line, direction, base)
        self.answerer = Responder(line, 1 - direction, base)
        self.asker.peer = self.answerer.request
        self.asker.expected = lambda: self.answerer.epsn
        self.asker.idle = self.idle
        self.answerer.peer = self.asker
        self.left = bursts
        # A late packet and its resend may be closer together than a packet and its mirror copy.
        self.chosen = [one for one in chosen if not line.mode.mirror or one is not faults.very_late]
        self.episodes: list[Episode] = []

    def idle(self, ts: int) -> None:
        """Everything is acknowledged: the next burst, after a pause."""
        if self.left and not self.asker.dead:
            self.left -= 1
            longest = self.rng.choice(PAUSES_NS)
            if self.rng.random() < 0.003:
                longest = 1_000_000_000
            self.line.at(ts + self.rng.randint(0, longest), self._burst)

    def _burst(self, ts: int) -> None:
        rng, asker, mode = self.rng, self.asker, self.line.mode
        packets = rng.randint(10, 20) if self.episodes else WARM_UP
        lo = asker.end
        work = burst(rng, packets, mode.pmtu, mode.ask_every, mode.exotic)
        asker.end = lo + sum(request.span for request in work)
        for request in work:
            asker.work += [request, *[None] * (request.span - 1)]
        fault = faults.nothing
        if self.episodes and self.left:
            fault = rng.choices(self.chosen, [FAULTS.get(one, 4) for one in self.chosen])[0]
        elif self.episodes and len(self.chosen) > 1 and rng.random() < REFUSED:
            fault = faults.refused
        done = fault(rng, asker, self.answerer, lo, asker.end)
        name = fault.__name__ if done else "nothing"
        self.episodes.append(Episode(name, lo, asker.end))
        asker.begin(ts)


def draw_mode(rng: Random) -> Mode:
    """Some queue pair and way; the tap stands anywhere between the ends."""
    gap = rng.randint(60, 400)
    legs = (rng.choice((300, 1500, 6000)), rng.choice((300, 1500, 6000)))
    legs = (rng.randint(legs[0], 2 * legs[0]), rng.randint(legs[1], 2 * legs[1]))
    turn = rng.randint(200, 1500)
    # An ACK waits for company less than a NAK takes to the sender and back: otherwise the round trips
    # that a tap measures are no bound for anything.
    jitter = rng.choice((1, 100, 300))
    longest = min(3000, 2 * min(legs) - 2 * jitter)
    coalesce = rng.choice((0, 0, rng.randint(100, longest) if longest > 100 else 0))
    around = 2 * sum(legs) + turn + coalesce + 20 * gap
    silence = max(16 * around, 100_000)
    sport = rng.randint(49152, 65535)
    selective = rng.random() < 0.4
    patience = rng.choice((0, rng.randint(1000, 20000))) if selective else 0
    return Mode(
        legs_ns=legs,
        jitter_ns=jitter,
        turn_ns=turn,
        gap_ns=gap,
        pmtu=rng.choice((256, 1024, 1024, 2048, 4096)),
        window=rng.randint(16, 48),
        selective=selective,
        patience_ns=patience,
        coalesce_ns=coalesce,
        ask_every=rng.choice((2, 4, 8)),
        identifications=rng.random() < 0.6,
        mirror=rng.choices((0, 1, 2), (8, 1, 1))[0],
        sports=(sport, sport if rng.random() < 0.8 else rng.randint(49152, 65535)),
        timer_ns=rng.choice((2, 3, 10, 300)) * silence + rng.randint(0, silence),
        silence_ns=silence,
        exotic=rng.choice((0.0, 0.0, 0.15, 0.4)),
    )


class QueuePair:
    """Both halves on one line, from ``start_ns`` until all bursts are done."""

    def __init__(
        self, rng: Random, flows: tuple[Flow, Flow], start_ns: int, bursts: tuple[int, int],
        chosen: list[Fault], mode: Mode | None = None, bases: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        self.flows = flows
        self.mode = mode or draw_mode(rng)
        self.line = Line(rng, self.mode, flows)
        self.halves = tuple(
            Half(self.line, n, bases[n] if bases else self._base(rng), bursts[n], chosen)
            for n in range(2)
        )
        for half in self.halves:
            half.idle(start_ns)
        self.line.run()

    @staticmethod
    def _base(rng: Random) -> int:
        """A first PSN; three in ten soon wrap."""
        if rng.random() < 0.3:
            return PSN_MASK - rng.randint(0, 400)
        return rng.randrange(PSN_MASK + 1)
