"""The truth about timeouts, receivers that were not ready, refusals and READ responses.

What is decidable is said in :mod:`tests.injector.truth`.
"""

from fabric.codes import PSN_MASK, NakCode
from tests.injector.packets import Truth
from tests.injector.path import What
from tests.injector.requester import Sent, Timeout
from tests.injector.responder import Answer
from tests.injector.truth import Record, covers

OUTSTANDING = 16  # READs that a requester keeps outstanding at most


def not_ready(record: Record) -> list[Truth]:
    """RNR NAKs."""
    out = []
    for answer in record.answers:
        if answer.kind != "rnr":
            continue
        again = next(
            (s for s in record.of[answer.u] if s.order > answer.order and s.cause[0] == "rnr"), None
        )
        ignored = answer.u in record.half.asker.honour
        decidable = answer.recorded and again is not None and again.recorded
        out.append(
            record.truth(
                "rnr", "timer_ignored" if ignored else "timer_honoured", "receiver", answer.u, -1,
                decidable, "RNR NAK and resend recorded" if decidable else "not recorded",
            )
        )  # fmt: skip
    return out


def refusals(record: Record) -> list[Truth]:
    """NAKs for good."""
    return [
        record.truth(
            "nak", NakCode(record.half.answerer.refuse[answer.u]).name.lower(), "receiver",
            answer.u, -1, answer.recorded, "NAK recorded",
        )
        for answer in record.answers
        if answer.kind == "refuse"
    ]  # fmt: skip


def timeouts(record: Record) -> list[Truth]:
    """What made the timer fire."""
    out: list[Truth] = []
    for fired in record.half.asker.fired:
        row = [s for s in record.sent if s.order > fired.order and s.u == fired.u]
        if row and row[0].cause[0] == "timeout":
            out += _timeout(record, fired, row[0])
    return out


def _timeout(record: Record, fired: Timeout, start: Sent) -> list[Truth]:
    lost = next(
        (
            s for s in reversed(record.sent)
            if s.order <= fired.order and s.u <= fired.expected < s.u + s.span
        ),
        None,
    ) if fired.expected < fired.top else None  # fmt: skip
    if lost is not None:
        return _tail(record, fired, start, lost)
    return _answer_lost(record, fired, start)


def _tail(record: Record, fired: Timeout, start: Sent, lost: Sent) -> list[Truth]:
    """The receiver waits for ``lost``, which does not come."""
    naks = [
        a for a in record.heard
        if a.kind == "nak" and a.u == lost.u and a.order > lost.order and a.tap < start.tap
    ]  # fmt: skip
    if naks:
        return _answer_lost(record, fired, start)  # the loss itself is told by the NAK
    heard = record.heard_after(start.tap)
    waits = covers(heard) if heard else -1
    before = record.seen_between(0, start.tap - 1) if start.recorded else []
    top = max((s.u + s.span for s in before), default=0)
    reason = ""
    if lost.fate.what == What.LOSE_UP:
        place = "upstream"
        # A packet above it, sent behind it, shows that it is missing.
        shown = any(
            s.u > lost.u and s.cause == lost.cause and lost.order < s.order <= fired.order
            for s in before
        )  # fmt: skip
        decidable = shown and (lost.u == fired.u or waits == lost.u)
        reason = "missing from a recorded row" if decidable else "nothing shows that it is missing"
    elif lost.fate.what == What.LOSE_DOWN:
        place = "downstream"
        decidable = fired.u < waits < top and not _row_broke_off(before, waits)
        reason = "the first answer stays below"
        reason = reason if decidable else "its loss and the loss of its ACK look the same"
    else:
        return [
            record.truth("timeout", "tail_loss", place, fired.u, -1, False, "thrown away")
            for place in ("upstream", "downstream")
        ]
    decidable = decidable and start.recorded
    out = [record.truth("timeout", "tail_loss", place, fired.u, -1, decidable, reason)]
    # An answer that was lost too is an honest explanation of the same silence.
    return out + [
        one._replace(decidable=False) for one in _answer_lost(record, fired, start) if one.place
    ]


def _row_broke_off(before: list[Sent], u: int) -> bool:
    """The last row of resent packets before the silence ended below ``u``, which was sent before."""
    again = [s for s in before if s.cause[0]]
    if not again:
        return False
    row = [s for s in again if s.cause == again[-1].cause]
    top = max((s.u + s.span for s in before if s.order < row[0].order), default=0)
    return max(s.u + s.span for s in row) <= u < top


def _answer_lost(record: Record, fired: Timeout, start: Sent) -> list[Truth]:
    """Which answer to what was sent before the silence did not arrive, and where it was lost."""
    lost = [
        a for a in record.answers
        if (not a.arrived and a.order <= fired.order and covers(a) > fired.u)
        or (a.kind == "nak" and not a.arrived and a.u == fired.u and a.order <= fired.order)
    ]  # fmt: skip
    if not lost:
        return []
    for answer in lost:
        if answer.kind == "read" and answer.u == fired.u:
            return _cut(record, fired, start, answer)
    answer = lost[-1]
    if answer.fate.what == What.LOSE_DOWN:
        told = [a for a in record.heard if covers(a) > fired.u and a.tap < start.tap]
        decidable = bool(told) and start.recorded
        reason = "answer recorded" if decidable else "covers nothing new"
        return [record.truth("timeout", "ack_lost", "sender", fired.u, -1, decidable, reason)]
    heard = record.heard_after(start.tap) if start.recorded else None
    decidable, reason = False, "no answer recorded"
    if heard is not None:
        before = record.seen_between(0, start.tap - 1)
        top = max((s.u + s.span for s in before), default=0)
        row = record.seen_between(start.tap - 1, heard.tap)
        told_before = max(
            (covers(a) for a in record.heard if a.tap < start.tap), default=record.half.asker.base
        )
        asked = any(s.ask and s.u >= told_before for s in before)
        behind = max((s.u + s.span for s in row), default=0) < top
        decidable = asked and behind and covers(heard) >= top and told_before <= fired.u
        reason = "answered before everything was sent again" if decidable else "not told apart"
        naks = [a.u for a in record.heard if a.kind == "nak" and a.tap < start.tap]
        if (record.mode.selective and fired.expected < fired.top) or naks[-1:] == [fired.u]:
            decidable, reason = False, "the resend may have filled the only hole"
    return [record.truth("timeout", "ack_lost", "receiver", fired.u, -1, decidable, reason)]


def _cut(record: Record, fired: Timeout, start: Sent, answer: Answer) -> list[Truth]:
    """A READ whose answer ended early; told of the flow that carries the responses."""
    near = record.truth("timeout", "ack_lost", "sender", fired.u, -1, False, "a READ response")
    if answer.fate.what == What.LOSE_DOWN:
        told = answer.recorded and start.recorded
        return [near, *_response(record, answer, "downstream", told, "response recorded")]
    cut = near._replace(
        flow=record.back, verdict="tail_loss", place="upstream", decidable=False,
        reason="lost, or never sent",
    )  # fmt: skip
    return [
        cut, near._replace(place="receiver", decidable=False, reason="lost, or never sent"),
        *_response(record, answer, "upstream", False, "by a timeout"),
    ]  # fmt: skip


def _response(
    record: Record, answer: Answer, place: str, decidable: bool, reason: str
) -> list[Truth]:
    psn = answer.u & PSN_MASK
    return [Truth(record.back, "loss", "lost", place, psn, -1, decidable, reason)]


def responses(record: Record) -> list[Truth]:
    """READ responses that were lost, or that the tap did not record."""
    out: list[Truth] = []
    for answer in record.answers:
        if answer.kind != "read" or answer.fate.what == What.NOTHING:
            continue
        if answer.fate.what == What.MISS:
            out += _unrecorded(record, answer)
            continue
        again = next(
            (s for s in record.sent if s.order > answer.order and s.cause == ("read", answer.u)),
            None,
        )
        again = again if again and again.recorded and again.u == answer.u else None
        place = "upstream" if answer.fate.what == What.LOSE_UP else "downstream"
        if again is None:
            decidable, reason = False, "no second request recorded that begins with it"
        elif place == "downstream":
            decidable, reason = True, "response and second request recorded"
        else:
            decidable = any(
                a.kind == "read" and a.u > answer.u and a.tap < again.tap
                for a in record.heard
                if a.order > answer.order
            )
            reason = "a later response recorded" if decidable else "nothing behind it recorded"
        out += _response(record, answer, place, decidable, reason)
    return out


def _unrecorded(record: Record, answer: Answer) -> list[Truth]:
    again = [a for a in record.answers if a.kind == "read" and a.u == answer.u and a is not answer]
    shown = [a for a in record.heard if a.kind == "read" and a.u > answer.u]
    later = [
        s for s in record.seen
        if shown and s.tap > shown[0].tap and not s.cause[0] and _is_read(record, s.u)
    ]  # fmt: skip
    decidable = len(later) >= OUTSTANDING and not again
    reason = "sixteen more READs" if decidable else "it may still be asked for again"
    return [
        Truth(
            record.back, "capture_loss", "capture_loss", "tap", answer.u & PSN_MASK, 1, decidable,
            reason,
        )
    ]  # fmt: skip


def _is_read(record: Record, u: int) -> bool:
    request = record.half.asker.work[u - record.half.asker.base]
    return request is not None and request.opcode == 0x0C
