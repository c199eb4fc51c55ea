"""A capture at one tap: several queue pairs between several hosts, and what is true of it."""

from collections import Counter
from operator import itemgetter
from random import Random
from typing import NamedTuple

from fabric.codes import PSN_MASK
from tests.injector.faults import FAULTS, Fault
from tests.injector.packets import Flow, Packet, Truth
from tests.injector.queue_pair import Half, QueuePair, draw_mode
from tests.injector.truth import Record, late, losses, missed, needless
from tests.injector.waits import not_ready, refusals, responses, timeouts

SPEED_BPS = 100_000_000_000
SMALLEST_FRAME_BITS = 84 * 8
HALF = 1 << 23
RULES = (losses, missed, late, needless, not_ready, refusals, timeouts, responses)
IDLE_NS = (20_000, 400_000, 5_000_000, 2_000_000_000)
START_NS = 1_700_000_000_000_000_000


class Capture(NamedTuple):
    """What a tap recorded, in its order, and the truth about it."""

    seed: int
    packets: list[Packet]
    truths: list[Truth]
    troubles: dict[tuple[Flow, int], int]  # (flow, PSN) where something was done -> which burst
    faults: Counter[str]
    copies: int


def make_capture(
    seed: int, pairs: int = 12, bursts: int = 16, chosen: list[Fault] | None = None
) -> Capture:
    """Queue pairs that are busy at the same time; ``bursts``: faults per direction, about."""
    rng = Random(seed)
    out = Capture(seed, [], [], {}, Counter(), 0)
    hosts = [0x0A000001 + rng.randrange(256) for _ in range(4)]
    taken: set[Flow] = set()
    for _ in range(pairs):
        flows = _flows(rng, hosts, taken)
        start = START_NS + rng.randint(0, 200_000)
        both = rng.random() < 0.4
        counts = (bursts, bursts if both else 0)
        mode = draw_mode(rng)
        first = QueuePair(rng, flows, start, counts, chosen or list(FAULTS), mode)
        _enter(out, first)
        if rng.random() < 0.15:
            _second_life(out, rng, first, counts, chosen or list(FAULTS))
    out.packets.sort(key=itemgetter(0))
    return out


def _flows(rng: Random, hosts: list[int], taken: set[Flow]) -> tuple[Flow, Flow]:
    """Two addresses and two queue pair numbers; the numbers repeat on other hosts."""
    while True:
        a, b = rng.sample(hosts, 2) if len(set(hosts)) > 1 else (hosts[0], hosts[0] + 1)
        there, back = (a, b, rng.randint(0x100, 0x110)), (b, a, rng.randint(0x100, 0x110))
        if a != b and there not in taken and back not in taken:
            taken |= {there, back}
            return there, back


def _enter(out: Capture, pair: QueuePair) -> None:
    out.packets.extend(pair.line.rows)
    for n, half in enumerate(pair.halves):
        record = Record(half, pair.flows[n], pair.flows[1 - n])
        for rule in RULES:
            out.truths.extend(rule(record))
        for episode in half.episodes:
            out.faults[episode.fault] += 1
            if episode.fault != "nothing":
                number = len(out.troubles)
                for u in range(episode.lo, episode.hi + 1):
                    out.troubles[record.flow, u & PSN_MASK] = number
                    out.troubles[record.back, u & PSN_MASK] = number


def _second_life(
    out: Capture, rng: Random, first: QueuePair, bursts: tuple[int, int], chosen: list[Fault]
) -> None:
    """The same two numbers again, after a pause, with first PSNs of their own."""
    last = max(packet.ts for packet in first.line.rows)
    start = last + rng.randint(20_000, rng.choice(IDLE_NS))
    bases = tuple(_far_from(rng, half) for half in first.halves)
    second = QueuePair(rng, first.flows, start, bursts, chosen, first.mode, bases)
    _enter(out, second)
    for n, flow in enumerate(first.flows):
        old, new = first.halves[n], second.halves[n]
        if old.asker.log and new.asker.log:
            out.truths.append(_reuse(flow, old, new))
            out.troubles[flow, new.asker.base & PSN_MASK] = len(out.troubles)


def _far_from(rng: Random, old: Half) -> int:
    """A first PSN that no gap leads to: one new connection in 64 is closer, and then not seen."""
    while True:
        base = rng.randrange(PSN_MASK + 1)
        if abs((base - old.asker.end + HALF) % (2 * HALF) - HALF) > 1 << 17:
            return base


def _reuse(flow: Flow, old: Half, new: Half) -> Truth:
    """Decidable where the old connection could not have gone on to the new PSN."""
    seen = [s for s in old.asker.log if s.recorded]
    entry = min(s.tap for s in new.asker.log if s.recorded)
    silence = entry - max(s.tap for s in seen)
    jump = (new.asker.base - max(s.u + s.span for s in seen) + HALF) % (2 * HALF) - HALF
    wrap_ns = HALF * old.line.mode.pmtu * 8 * 10**9 // SPEED_BPS
    could_ns = jump * SMALLEST_FRAME_BITS * 10**9 // (2 * SPEED_BPS)
    if silence > wrap_ns // 16:
        decidable, reason = False, "so long a silence that the PSNs may have wrapped"
    elif jump < -(1 << 16):
        decidable, reason = True, "a backward jump"
    elif jump > 1 << 16 and silence < could_ns:
        decidable, reason = not old.line.mode.exotic, "further than the link could have carried"
    else:
        decidable, reason = False, "the old connection could have gone on to here"
    psn = new.asker.base & PSN_MASK
    return Truth(flow, "qpn_reuse", "reused", "", psn, -1, decidable, reason)
