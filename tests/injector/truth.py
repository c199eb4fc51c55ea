"""From what was really sent to what there is to be found, and what one tap can find of it.

The truth of an injected fault is what became of the packets. Whether one tap can *decide* it follows
from this rule, which knows nothing of how an analyzer works:

    A thing is decidable where what the tap recorded, taken together with what IBTA 9.7 obliges
    requester and responder to do, leaves one explanation with the fewest faults.

Spelled out:

- *Lost packet*: the receiver asked for exactly this PSN by a NAK that the tap recorded, the tap could
  see whether the packet came by (a later packet of the same row was recorded before the NAK), and it
  recorded something of the resend before it recorded an acknowledgement. Lost behind the tap and
  behind a packet that has just been sent again: not decidable, the row may have ended before the tap.
  What was lost behind it in the same window nobody asks for: not decidable.
- *Packet missed by the tap*: a recorded answer acknowledges it before a resend of it is recorded.
- *Late packet*: recorded sooner after the packet that overtook it than any answer from the receiver can
  be here; or recorded after the NAK that asks for it and then once more, when the resend comes. The resend of
  such a packet is *spurious*.
- *Timeout*: the row of resent packets was recorded, no recorded NAK asked for its first packet, and
  - *ACK lost near the sender*: an answer that covers its first PSN was recorded before;
  - *ACK lost near the receiver*: the first answer recorded after it covers everything sent before, when
    not everything was sent again, a recorded packet had asked for an answer, and the last NAK not for
    the first packet;
  - *tail lost behind the tap*: the first answer recorded after it stays below what was sent before;
  - *tail lost before the tap*: its first PSN, or the one the first answer waits for, is missing from a
    recorded row.
- *Receiver not ready*: RNR NAK and resend recorded.
- *READ response lost*: the second request was recorded, and the response itself or a later one.
- *READ response missed by the tap*: sixteen more READs were asked for, more than any requester keeps
  outstanding, and this one not again.
"""

from bisect import bisect_right
from collections import defaultdict

from fabric.codes import PSN_MASK
from tests.injector.packets import Flow, Truth
from tests.injector.path import What
from tests.injector.queue_pair import Half
from tests.injector.requester import Sent
from tests.injector.responder import Answer

COPIES_NS = 10_000  # a copy without an identification of its own is told from a resend up to here


class Record:
    """The log of one half, arranged for questions. Times are those of the tap."""

    def __init__(self, half: Half, flow: Flow, back: Flow) -> None:
        self.half, self.flow, self.back = half, flow, back
        self.mode = half.line.mode
        self.sent, self.answers = half.asker.log, half.answerer.log
        self.of: defaultdict[int, list[Sent]] = defaultdict(list)
        for sent in self.sent:
            self.of[sent.u].append(sent)
        self.seen = sorted((s for s in self.sent if s.recorded), key=lambda s: s.tap)
        self.seen_taps = [s.tap for s in self.seen]
        self.heard = sorted((a for a in self.answers if a.recorded), key=lambda a: a.tap)
        self.heard_taps = [a.tap for a in self.heard]
        far = half.line.legs[half.asker.direction][1]
        self.soonest_ns = 2 * far + self.mode.turn_ns  # from a packet here to an answer here

    def truth(
        self, kind: str, verdict: str, place: str, u: int, psns: int, decidable: bool, reason: str
    ) -> Truth:
        """A truth about the requests."""
        return Truth(self.flow, kind, verdict, place, u & PSN_MASK, psns, decidable, reason)

    def naks(self, u: int, after: int, before: int) -> list[Answer]:
        """NAKs for ``u`` sent between two places in the order of everything sent."""
        return [
            a for a in self.answers if a.kind == "nak" and a.u == u and after < a.order <= before
        ]

    def later_sending(self, sent: Sent) -> Sent | None:
        """The next time the same request was sent."""
        return next((s for s in self.of[sent.u] if s.order > sent.order), None)

    def seen_between(self, after: int, before: int) -> list[Sent]:
        """Recorded requests with after < time <= before."""
        return self.seen[bisect_right(self.seen_taps, after) : bisect_right(self.seen_taps, before)]

    def heard_after(self, ts: int) -> Answer | None:
        """The first recorded answer after a time that tells what the receiver lacks."""
        later = self.heard[bisect_right(self.heard_taps, ts) :]
        return next((a for a in later if a.kind not in ("read", "atomic")), None)


def covers(answer: Answer) -> int:
    """One above the highest PSN that an answer says has arrived."""
    return answer.u + 1 if answer.kind in ("ack", "read", "atomic") else answer.u


def _rows(sent: list[Sent], what: What) -> list[list[Sent]]:
    """Packets of one fate, sent one behind the other, in rows."""
    rows: list[list[Sent]] = []
    previous: Sent | None = None
    for one in sent:
        if one.fate.what == what:
            if (
                previous is not None
                and previous.fate.what == what
                and previous.u + previous.span == one.u
            ):
                rows[-1].append(one)
            else:
                rows.append([one])
        previous = one
    return rows


def losses(record: Record) -> list[Truth]:
    """Requests lost on the way."""
    out: list[Truth] = []
    for what, place in ((What.LOSE_UP, "upstream"), (What.LOSE_DOWN, "downstream")):
        for row in _rows(record.sent, what):
            out += _loss(record, row, place)
    return out


def _loss(record: Record, row: list[Sent], place: str) -> list[Truth]:
    head = row[0]
    end = row[-1].u + row[-1].span
    again = record.later_sending(head)
    naks = record.naks(head.u, head.order, again.order if again else 1 << 60)
    heard = [a for a in naks if a.recorded]
    if heard:
        told = place == "downstream" or any(
            s.u >= end and s.order > head.order and s.cause == head.cause
            for s in record.seen_between(0, heard[0].tap)
        )  # fmt: skip
        reason = "NAK recorded" if told else "nothing behind it recorded before the NAK"
        if told and place == "downstream" and _under_repair(record, head, heard[0]):
            told, reason = False, "behind a packet that was just sent again"
        if told and not _resend_shown(record, head, heard[0]):
            told, reason = False, "acknowledged, and no resend recorded"
    else:
        told = False
        reason = "NAK not recorded" if naks else "nobody asked for it"
    first = record.truth(
        "loss", "lost", place, head.u, end - head.u if place == "upstream" else -1, told, reason
    )
    return [first, *(
        record.truth("loss", "lost", place, one.u, one.span, False, "lost in a row")
        for one in row[1:]
    )]  # fmt: skip


def _under_repair(record: Record, lost: Sent, nak: Answer) -> bool:
    """A resend from below came by since, and broke off before it reached this packet."""
    return any(
        s.cause[0] == "nak" and s.u < lost.u and lost.order < s.order < nak.order
        for s in record.sent
    )


def _resend_shown(record: Record, lost: Sent, nak: Answer) -> bool:
    """The tap recorded a resend before an acknowledgement, or no acknowledgement."""
    acks = (a.tap for a in record.heard if a.tap > nak.tap and covers(a) > lost.u)
    return any(
        s.cause in (("nak", lost.u), ("timeout", lost.u)) and s.order > lost.order
        for s in record.seen_between(nak.tap, next(acks, 1 << 62))
    )


def _behind_a_loss(record: Record, one: Sent) -> bool:
    """The packets right below were lost before the tap: one gap, and no telling where it parts."""
    firsts = {s.u + s.span: s for s in record.sent if not s.cause[0]}
    before = firsts.get(one.u)
    while before is not None and before.fate.what == What.MISS:
        before = firsts.get(before.u)
    return before is not None and before.fate.what == What.LOSE_UP


def missed(record: Record) -> list[Truth]:
    """Requests that the tap did not record although they arrived; one truth per PSN."""
    out: list[Truth] = []
    for one in record.sent:
        if one.fate.what != What.MISS:
            continue
        if one.cause[0]:
            continue  # a resend that was not recorded leaves no trace
        again = [s.tap for s in record.of[one.u] if s.recorded]
        end = one.u + one.span
        told = next((a for a in record.heard if covers(a) >= end), None)
        if _behind_a_loss(record, one):
            told, again = None, []
        if told is None:
            decidable, reason = False, "never acknowledged here"
        elif again and again[0] < told.tap:
            decidable, reason = False, "sent again before it was acknowledged"
        else:
            decidable, reason = True, "acknowledged"
        out += [
            record.truth("capture_loss", "capture_loss", "tap", u, 1, decidable, reason)
            for u in range(one.u, end)
        ]
    return out


def late(record: Record) -> list[Truth]:
    """Requests that were overtaken before the tap, and resends that this caused."""
    out: list[Truth] = []
    for one in record.sent:
        if one.fate.what != What.LATE:
            continue
        overtook = [
            s for s in record.seen_between(0, one.tap - 1) if s.u > one.u and s.order > one.order
        ]  # fmt: skip
        if not overtook:
            continue
        again = record.later_sending(one)
        if again is not None and 0 <= again.tap < one.tap:
            # Its own resend overtook it: as good as lost.
            out.append(record.truth("loss", "lost", "upstream", one.u, -1, False, "overtaken"))
        naks = record.naks(one.u, one.order, again.order if again else 1 << 60)
        heard = [a for a in naks if a.recorded]
        asked = bool(heard) and heard[0].tap < one.tap
        back = again is not None and again.recorded and again.tap > one.tap
        if one.tap - overtook[0].tap < record.soonest_ns and not asked:
            decidable, reason = True, "sooner than any answer"
        elif asked and back and len(heard) == 1:
            decidable, reason = True, "arrived twice after one NAK"
        else:
            decidable, reason = False, "could be a resend whose NAK was not recorded"
        out += [
            record.truth("reorder", "reordered", "upstream", u, 1, decidable, reason)
            for u in range(one.u, one.u + one.span)
        ]
        if naks and again is not None and again.cause == ("nak", one.u):
            together = any(
                a.kind == "nak" and a.u < one.u and one.order < a.order < naks[0].order
                for a in record.answers
            )  # fmt: skip
            # Not told from a mirror's copy of the late packet.
            near = record.mode.mirror == 1 and again.tap - one.tap < COPIES_NS
            near = near and not record.mode.identifications
            told = decidable and bool(heard) and back and not together and not near
            reason = "NAK, late packet and resend recorded" if told else reason
            reason = "asked for together with another" if together else reason
            out.append(
                record.truth("retransmission", "spurious", "upstream", one.u, -1, told, reason)
            )
    return out


def needless(record: Record) -> list[Truth]:
    """NAKs for packets that were under way or had been thrown away: the resend repeats an arrival."""
    out = []
    for answer in record.answers:
        if answer.kind != "nak":
            continue
        sendings = [s for s in record.of[answer.u] if s.order < answer.order]
        if sendings and sendings[-1].arrived:
            out += [
                record.truth(
                    "retransmission", "spurious", place, answer.u, -1, False, "it had arrived"
                )
                for place in ("upstream", "downstream")
            ]
    return out
