"""The faults: each function prepares one, given a burst that occupies PSNs [lo, hi).

A function returns False where the burst has no room for its fault. What the fault leads to is
worked out afterwards from what was really sent (:mod:`tests.injector.truth`), so a function only
says what is to be done to which packet.
"""

from collections.abc import Callable
from random import Random

from fabric.codes import RNR_TIMER_US, NakCode
from tests.injector.path import Fate, What
from tests.injector.requester import Requester
from tests.injector.responder import Responder, Rule

Fault = Callable[[Random, Requester, Responder, int, int], bool]
FOREVER = 1 << 30


def starts(asker: Requester, lo: int, hi: int) -> list[int]:
    """PSNs in [lo, hi) with which a request packet begins."""
    return [u for u in range(lo, hi) if asker.work[u - asker.base] is not None]


def _pick(rng: Random, asker: Requester, lo: int, hi: int, most: int, spare: int) -> list[int]:
    """One to ``most`` neighbouring packets, with at least ``spare`` packets behind them."""
    places = starts(asker, lo, hi)
    count = 1 if rng.random() < 0.6 else rng.randint(1, most)
    last = len(places) - spare - count
    if last < 1:
        return []
    at = rng.randint(0, last)
    return places[at : at + count]


def _do(asker: Requester, places: list[int], what: What, sending: int = 0, late: int = 0) -> bool:
    for u in places:
        asker.plan[u, sending] = Fate(what, late)
    return bool(places)


def lost_up(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """Lost between sender and tap; the receiver sees a later packet and NAKs."""
    return _do(asker, _pick(rng, asker, lo, hi, 4, 3), What.LOSE_UP)


def lost_down(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """Lost between tap and receiver; the receiver NAKs."""
    return _do(asker, _pick(rng, asker, lo, hi, 4, 3), What.LOSE_DOWN)


def missed(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """Arrives, and the tap does not record it."""
    return _do(asker, _pick(rng, asker, lo, hi, 5, 0), What.MISS)


def answers_missed(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """The tap does not record some ACKs."""
    fate = Fate(What.MISS)
    answerer.rule(Rule(("ack", "atomic"), lo, hi, rng.randint(1, 3), FOREVER, fate))
    return True


def _nak(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int, what: What) -> bool:
    places = _pick(rng, asker, lo, hi, 3, 3)
    answerer.rule(Rule(("nak",), lo, hi, 1, asker.timeouts, Fate(what)))
    return _do(asker, places, rng.choice((What.LOSE_UP, What.LOSE_DOWN)))


def nak_missed(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """A loss whose NAK the tap does not record."""
    return _nak(rng, asker, answerer, lo, hi, What.MISS)


def nak_lost_far(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """A loss whose NAK is lost between receiver and tap; the timer repairs it."""
    return _nak(rng, asker, answerer, lo, hi, What.LOSE_UP)


def nak_lost_near(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """A loss whose NAK is lost between tap and sender; the timer repairs it."""
    return _nak(rng, asker, answerer, lo, hi, What.LOSE_DOWN)


def _resend(
    rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int, what: What
) -> bool:
    places = _pick(rng, asker, lo, hi, 1, 4)
    if not places:
        return False
    again = places if rng.random() < 0.5 else list(starts(asker, places[0], hi)[:1])
    return _do(asker, places, rng.choice((What.LOSE_UP, What.LOSE_DOWN))) and _do(
        asker, again, what, 1
    )


def resend_lost_up(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """A loss whose resend is lost before the tap."""
    return _resend(rng, asker, answerer, lo, hi, What.LOSE_UP)


def resend_lost_down(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """A loss whose resend is lost behind the tap."""
    return _resend(rng, asker, answerer, lo, hi, What.LOSE_DOWN)


def resend_missed(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """A loss whose resend the tap does not record."""
    return _resend(rng, asker, answerer, lo, hi, What.MISS)


def row_broken(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """A loss, and one of the packets sent again behind it is lost too."""
    places = _pick(rng, asker, lo, hi, 1, 5)
    if not places:
        return False
    behind = starts(asker, places[0], hi)[1:8]
    what = rng.choice((What.LOSE_UP, What.LOSE_DOWN))
    return _do(asker, places, rng.choice((What.LOSE_UP, What.LOSE_DOWN))) and _do(
        asker, [rng.choice(behind)], what, 1
    )


def two_losses(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """Two packets lost in one window, or one lost and one not recorded."""
    places = _pick(rng, asker, lo, hi, 1, 5)
    if not places:
        return False
    second = rng.choice(starts(asker, places[0], hi)[1:12])
    what = rng.choice((What.LOSE_UP, What.LOSE_DOWN, What.MISS))
    return _do(asker, places, rng.choice((What.LOSE_UP, What.LOSE_DOWN))) and _do(
        asker, [second], what
    )


def late(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """Overtaken before the tap, and there again sooner than any NAK for it."""
    mode = asker.line.mode
    far = 2 * mode.legs_ns[1 - asker.direction] + mode.turn_ns
    least = 2 * mode.gap_ns + mode.jitter_ns
    if least > int(0.9 * far):
        return False
    places = _pick(rng, asker, lo, hi, 2, 3)
    wait = rng.randint(least, int(0.9 * far))
    return _do(asker, places, What.LATE, 0, wait)


def very_late(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """Overtaken before the tap, and there after the NAK for it but before the resend."""
    mode = asker.line.mode
    near, far = mode.legs_ns if asker.direction == 0 else mode.legs_ns[::-1]
    places = _pick(rng, asker, lo, hi, 1, 3)
    least = 2 * far + mode.turn_ns + mode.gap_ns + 2 * mode.jitter_ns
    most = least + 2 * near - 4 * mode.jitter_ns
    if most <= least:
        return False
    return _do(asker, places, What.LATE, 0, rng.randint(least, most))


def not_ready(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """The receiver has no buffer posted: RNR NAK, once or twice; the sender waits or does not."""
    places = _pick(rng, asker, lo, hi, 1, 1)
    if not places:
        return False
    u = places[0]
    codes = [n for n in range(32) if RNR_TIMER_US[n] <= 20480 and RNR_TIMER_US[n] >= 10]
    code = rng.choice(codes)
    answerer.rnr[u] = [code] * (1 if rng.random() < 0.8 else 2)
    legs = sum(asker.line.mode.legs_ns)
    if rng.random() < 0.4 and RNR_TIMER_US[code] * 1000 > 8 * legs:
        asker.honour[u] = rng.randint(0, RNR_TIMER_US[code] * 250)
    return True


def _tail(rng: Random, asker: Requester, lo: int, hi: int, what: What) -> bool:
    places = starts(asker, lo, hi)
    return _do(asker, places[-rng.randint(1, min(5, len(places) - 1)) :], what)


def tail_up(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """The last packets of a burst are lost before the tap: nothing asks for them."""
    return _tail(rng, asker, lo, hi, What.LOSE_UP)


def tail_down(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """The last packets of a burst are lost behind the tap."""
    return _tail(rng, asker, lo, hi, What.LOSE_DOWN)


def _acks_lost(
    rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int, what: What
) -> bool:
    places = starts(asker, lo, hi)
    last = rng.choice(places if rng.random() < 0.5 else places[-8:])
    answerer.rule(Rule(("ack", "atomic"), last, hi, FOREVER, asker.timeouts, Fate(what)))
    return True


def acks_lost_far(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """The last ACKs of a burst are lost between receiver and tap."""
    return _acks_lost(rng, asker, answerer, lo, hi, What.LOSE_UP)


def acks_lost_near(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """The last ACKs of a burst are lost between tap and sender."""
    return _acks_lost(rng, asker, answerer, lo, hi, What.LOSE_DOWN)


def _response(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> list[int]:
    """Neighbouring responses to one READ of the burst."""
    spans = [
        (u, request.span)
        for u in starts(asker, lo, hi)
        if (request := asker.work[u - asker.base]) is not None and request.opcode == 0x0C
    ]
    if not spans:
        return []
    u, span = rng.choice(spans)
    at = rng.randrange(span)
    return [u + n for n in range(at, min(span, at + rng.randint(1, 2)))]


def _responses(
    rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int, what: What
) -> bool:
    places = _response(rng, asker, answerer, lo, hi)
    for u in places:
        answerer.plan[u, answerer.times[u]] = Fate(what)
    return bool(places)


def response_lost_up(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """A READ response is lost between the responder and the tap."""
    return _responses(rng, asker, answerer, lo, hi, What.LOSE_UP)


def response_lost_down(
    rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int
) -> bool:
    """A READ response is lost between the tap and the requester."""
    return _responses(rng, asker, answerer, lo, hi, What.LOSE_DOWN)


def response_missed(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """The tap does not record a READ response."""
    return _responses(rng, asker, answerer, lo, hi, What.MISS)


def refused(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """The receiver refuses a request for good; the queue pair's life ends."""
    answerer.refuse[rng.choice(starts(asker, lo, hi))] = rng.choice(list(NakCode)[1:])
    return True


def chaos(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """Everything at once: not for the truth, but two trackers must still agree on it."""
    share = rng.choice((0.02, 0.1, 0.3))
    for u in starts(asker, lo, hi):
        for sending in range(3):
            if rng.random() < share:
                what = What(rng.randint(What.LOSE_UP, What.LATE))
                asker.plan[u, sending] = Fate(what, rng.randint(100, rng.choice((3000, 60_000))))
    for u in range(lo, hi):
        if rng.random() < share:
            answerer.plan[u, answerer.times[u]] = Fate(
                What(rng.randint(What.LOSE_UP, What.LATE)), 900
            )
        if rng.random() < share / 8:
            answerer.rnr[u] = [rng.randint(1, 12)] * rng.randint(1, 2)
    for _ in range(rng.randint(0, 4)):
        kinds = tuple(rng.sample(("ack", "nak", "rnr", "atomic"), rng.randint(1, 3)))
        fate = Fate(What(rng.randint(What.LOSE_UP, What.LATE)), rng.randint(100, 9000))
        answerer.rule(Rule(kinds, lo, hi, rng.randint(1, 4), FOREVER, fate))
    return True


def nothing(rng: Random, asker: Requester, answerer: Responder, lo: int, hi: int) -> bool:
    """Undisturbed traffic."""
    return True


FAULTS: dict[Fault, int] = {
    nothing: 2, lost_up: 8, lost_down: 8, missed: 8, answers_missed: 2, nak_missed: 2,
    nak_lost_far: 3, nak_lost_near: 3, resend_lost_up: 2, resend_lost_down: 2, resend_missed: 2,
    row_broken: 3, two_losses: 3, late: 8, very_late: 4, not_ready: 6, tail_up: 2, tail_down: 5,
    acks_lost_far: 4, acks_lost_near: 4, response_lost_up: 3, response_lost_down: 3,
    response_missed: 2,
}  # fmt: skip
"""How often each is chosen; ``refused`` comes at the end of a life instead."""
