"""The rules of ``docs/sequence.md``, each on a few packets written by hand: what a tap saw, what is told.

Times are microseconds. PSNs begin at 100; a packet and its answer are 10 us apart, measured by the
first. Compiled tracker and twin must say the same; an event is (kind, verdict, place, PSN, how many).
"""

from typing import Any

import pytest

from analyzers.transport.verdicts import Recovery
from fabric.codes import Operation as Op
from fabric.codes import Service
from tests.injector.packets import Packet
from tests.sequence_rig import Judged, Rig
from tests.twin_sequence import Twin

A, B = 0x0A000001, 0x0A000002
US = 1_000
SPEED = 100_000_000_000
NAK, RNR_10US, ACK = 0x60, 0x21, 0x1F
Told = tuple[str, str, str, int, int]


class Tap:
    """Packets of one queue pair (17 at B, 18 at A) in the order in which the tap saw them."""

    def __init__(self, first: int = 100, *, measured: bool = True, **how: Any) -> None:
        self.packets: list[Packet] = []
        self.how: dict[str, Any] = {"service": Service.RC, "sport": 50_000, "varies": True, **how}
        self.ids = 0
        if measured:  # 100 to 103, so that the round trip is known: 10 us
            self.send(0, *range(first, first + 4))
            self.ack(10 + 3, first + 3)

    def put(self, at: float, src: int, operation: int, psn: int, **more: Any) -> "Tap":
        self.ids += 1
        given = {"ask": 0, "syndrome": 0, "msn": 0, "dma": 0, "payload": 0, "ttl": 64,
                 "ip_id": self.ids if self.how["varies"] else 7, **more}  # fmt: skip
        opcode = self.how["service"] << 5 | operation
        dst, qpn = (B, 17) if src == A else (A, 18)
        qpn = given.pop("qpn", qpn)
        self.packets.append(
            Packet(
                round(at * US),
                src,
                dst,
                qpn,
                opcode,
                psn & 0xFFFFFF,
                sport=self.how["sport"],
                **given,
            )
        )
        return self

    def send(self, at: float, *psns: int, ask: bool = True, **more: Any) -> "Tap":
        """Requests of 1,024 bytes, one per microsecond."""
        for n, psn in enumerate(psns):
            self.put(at + n, A, Op.SEND_MIDDLE, psn, ask=int(ask), payload=1024, **more)
        return self

    def ack(self, at: float, psn: int, syndrome: int = ACK, **more: Any) -> "Tap":
        return self.put(at, B, Op.ACKNOWLEDGE, psn, syndrome=syndrome, **more)

    def nak(self, at: float, psn: int) -> "Tap":
        return self.ack(at, psn, NAK)

    def read(self, at: float, psn: int, packets: int) -> "Tap":
        return self.put(at, A, Op.READ_REQUEST, psn, ask=1, dma=1024 * packets)

    def answer(self, at: float, *psns: int) -> "Tap":
        """Middle responses of a READ."""
        for n, psn in enumerate(psns):
            self.put(at + n, B, Op.READ_RESPONSE_MIDDLE, psn, payload=1024)
        return self

    def judged(self) -> Judged:
        packets = sorted(self.packets, key=lambda packet: packet.ts)
        told = Rig(packets, SPEED).run()
        twin = Twin(SPEED).run(packets)
        assert sorted(told.events) == sorted(twin.events)
        assert (told.marks, told.rtts) == (twin.marks, twin.rtts)
        return told

    def told(self) -> list[Told]:
        return [(e.kind, e.verdict, e.place, e.psn, e.psns) for e in self.judged().events]

    def recovery(self) -> str:
        packets = sorted(self.packets, key=lambda packet: packet.ts)
        rig = Rig(packets, SPEED)
        rig.run()
        return Recovery(int(rig.state.seq[0]["recovery"])).name.lower()


def test_in_order_there_is_nothing_to_tell() -> None:
    tap = Tap().send(30, *range(104, 120)).ack(56, 119)
    assert tap.told() == []
    # the round trips of the packets that an ACK names
    assert [rtt for rtt in tap.judged().rtts if rtt >= 0] == [10 * US, 11 * US]


def test_psns_wrap() -> None:
    assert Tap(0xFFFFFE).send(30, *range(0x1000002, 0x1000010)).ack(60, 0xF).told() == []


# ---- Rule 1: copies


def test_a_packet_with_the_same_identification_is_a_copy() -> None:
    tap = Tap().send(30, 104, ip_id=900).send(500_000, 104, ip_id=900, ttl=63)
    assert tap.told() == []
    assert tap.judged().marks[-1] == "copy"


def test_a_resend_has_an_identification_of_its_own() -> None:
    tap = Tap().send(30, 104, 105).nak(40, 104).send(45, 104, 105).ack(58, 105)
    assert tap.told() == [("loss", "lost", "downstream", 104, 1)]


@pytest.mark.parametrize(
    ("later", "ttl", "copy"),
    [
        (4, 64, True),  # the same hop: within half a round trip
        (6, 64, False),
        (9, 63, True),  # another hop: within a round trip
        (11, 63, False),
    ],
)
def test_without_identifications_time_tells_copies(later: float, ttl: int, copy: bool) -> None:
    tap = Tap(varies=False).send(30, 104).send(30 + later, 104, ttl=ttl)
    assert (tap.judged().marks[-1] == "copy") == copy


# ---- Rule 2: holes and other lives


def test_after_a_silence_of_half_a_wrap_nothing_is_compared() -> None:
    # 2^23 PSNs of 1,024 bytes take 687 ms at 100 Gb/s
    assert Tap().send(700_000, 5000).told() == [("hole", "undetermined", "", 5000, 1)]
    assert Tap().send(600_000, 5000).told() == [("gap", "undetermined", "", 104, 4896)]
    assert Tap().send(700_000, 104, 105).told() == []  # that close is no chance


def test_a_jump_back_is_another_life_of_the_number() -> None:
    tap = Tap(100_000).send(30, 5).send(31, 6)
    assert tap.told() == [("qpn_reuse", "reused", "", 5, 1)]


def test_a_jump_that_the_link_could_not_carry_is_another_life() -> None:
    assert Tap().send(30, 200_000).told() == [("qpn_reuse", "reused", "", 200_000, 1)]
    # in 20 ms it could have: 200,000 small frames are 1.3 ms
    assert Tap().send(20_000, 200_000).told() == [("hole", "undetermined", "", 200_000, 1)]


# ---- Rules 3 to 5: requests


def test_what_was_sent_before_the_capture_began_is_not_judged() -> None:
    assert Tap().send(30, 98, 99).send(40, 104).ack(55, 104).told() == []


def test_a_gap_that_nobody_explains_stays_open() -> None:
    assert Tap().send(30, 106).told() == [("gap", "undetermined", "", 104, 2)]


def test_5a_a_run_skips_what_was_lost_again() -> None:
    """104 lost downstream, its resend too: seen twice; 106 of the run was lost upstream, asked for next."""
    tap = Tap().send(30, *range(104, 109)).nak(41, 104).send(50, 104, 105, 107, 108).nak(63, 106)
    tap.send(70, 106, 107, 108).ack(85, 108)
    assert tap.told() == [
        ("loss", "lost", "downstream", 104, 1),
        ("loss", "lost", "upstream", 106, 1),
    ]
    assert tap.recovery() == "go_back_n"


def test_5b_the_run_starts_over_for_a_nak_that_was_counted_only() -> None:
    """The NAK comes 5 us after the run began: it answers the first sending, not the second."""
    tap = Tap().send(30, *range(104, 108)).nak(41, 104).send(50, *range(104, 108)).nak(55, 104)
    tap.send(66, *range(104, 108)).ack(80, 107)
    assert tap.told() == [("loss", "lost", "downstream", 104, 1)]
    assert tap.judged().events[0].resent == 8


def test_5c_only_the_lost_one_is_sent_again() -> None:
    tap = Tap().send(30, 104, 106, 107).nak(42, 105).send(50, 105).send(51, 108).ack(64, 108)
    assert tap.told() == [("loss", "lost", "upstream", 105, 1)]
    assert tap.recovery() == "selective"


def test_5d_what_filled_the_gap_was_late_and_the_resend_comes_second() -> None:
    tap = Tap().send(30, 104, 106, 107).nak(42, 105)
    tap.send(43, 105)  # the late original, taken for the resend at first
    tap.send(52, 105, 106, 107).ack(65, 107)
    assert tap.told() == [
        ("reorder", "reordered", "upstream", 105, 1),
        ("retransmission", "spurious", "upstream", 105, 1),
    ]


def test_5f_a_resend_after_silence_is_a_timeout() -> None:
    """The first answer after it lacks 104: it was lost behind the tap."""
    tap = Tap().send(30, 104, 105).send(1000, 104, 105).ack(1010, 104)
    assert tap.told() == [("timeout", "tail_loss", "downstream", 104, 2)]


def test_5g_earlier_than_any_answer_is_late_not_sent_again() -> None:
    tap = Tap().send(30, 104, 106, 107).send(36, 105).ack(45, 107)
    assert tap.told() == [("reorder", "reordered", "upstream", 105, 1)]
    (event,) = tap.judged().events
    assert (event.extent, event.delay_ns) == (2, 5 * US)


def test_5h_a_resend_without_a_reason_stays_unexplained() -> None:
    tap = Tap().send(30, 104, 105, 106).send(60, 105, 106).ack(75, 106)
    assert tap.told() == [("retransmission", "undetermined", "", 105, 1)]


def test_with_too_many_gaps_the_lowest_is_closed() -> None:
    tap = Tap().send(30, *range(105, 105 + 2 * 33, 2))
    told = [event.psn for event in tap.judged().events]
    assert told == list(range(104, 104 + 2 * 33, 2))
    assert tap.ack(200, 170).told()[0] == ("gap", "undetermined", "", 104, 1)  # was told before


# ---- Responses


def test_an_acknowledged_gap_was_missed_by_the_tap() -> None:
    tap = Tap().send(30, 104, 107).ack(44, 107).send(200, 108)
    assert tap.told() == [("capture_loss", "capture_loss", "tap", 105, 2)]


def test_an_ack_beyond_what_was_seen_opens_a_gap() -> None:
    tap = Tap().send(30, 104).ack(44, 106).send(200, 107)
    assert tap.told() == [("capture_loss", "capture_loss", "tap", 105, 2)]


def test_the_same_nak_again_is_counted_only() -> None:
    tap = Tap().send(30, 104, 105).nak(41, 104).nak(42, 104).send(50, 104, 105).ack(63, 105)
    assert tap.told() == [("loss", "lost", "downstream", 104, 1)]


def test_naks_that_follow_from_a_late_packet_are_one_recovery() -> None:
    """NAK b: the receiver threw away 106 while it waited for 105, and asks for it next."""
    tap = Tap().send(30, 104, 106, 107).send(34, 105).send(35, 108).nak(42, 105).nak(45, 106)
    tap.send(52, 105, 106, 107, 108).ack(66, 108)
    assert tap.told() == [
        ("reorder", "reordered", "upstream", 105, 1),
        ("retransmission", "spurious", "upstream", 105, 1),
    ]


@pytest.mark.parametrize(
    ("resent", "verdict"), [(60, "timer_honoured"), (45, "timer_ignored"), (None, "no_resend")]
)
def test_receiver_not_ready(resent: int | None, verdict: str) -> None:
    tap = Tap().send(30, 104).ack(40, 104, RNR_10US)
    if resent:
        tap.send(resent, 104).ack(resent + 10, 104)
    assert tap.told() == [("rnr", verdict, "receiver", 104, 1)]


def test_a_refusal_is_told_once() -> None:
    tap = Tap().send(30, 104, 105).ack(41, 104, 0x62).ack(42, 104, 0x62)
    assert tap.told() == [("nak", "remote_access", "receiver", 104, 1)]


# ---- Rules 7 and 8: what a NAK asked for


def test_7_not_seen_was_lost_before_the_tap() -> None:
    tap = Tap().send(30, 104, 107).nak(41, 105).send(50, 105, 106, 107).ack(64, 107)
    assert tap.told() == [("loss", "lost", "upstream", 105, 2)]


def test_7_seen_was_lost_behind_the_tap() -> None:
    tap = Tap().send(30, 104, 105, 106).nak(42, 105).send(50, 105, 106).ack(63, 106)
    assert tap.told() == [("loss", "lost", "downstream", 105, 1)]
    (event,) = tap.judged().events
    assert [tap.packets[f - 1].psn for f in (event.original_frame, event.reply_frame)] == [105, 105]
    assert (event.resent, event.delay_ns) == (2, 8 * US)


def test_7_where_the_tap_missed_packets_it_cannot_tell() -> None:
    tap = Tap().send(30, 104, 108).nak(42, 106).send(50, 106, 107, 108).ack(64, 108)
    assert ("loss", "undetermined", "", 106, 1) in tap.told()


def test_7_asked_for_beyond_what_was_seen() -> None:
    tap = Tap().send(30, 104).nak(42, 106).send(50, 106).ack(61, 106)
    assert ("loss", "undetermined", "", 106, 1) in tap.told()


def test_7_an_ack_before_the_resend_means_it_was_overtaken() -> None:
    tap = Tap().send(30, 104, 105, 106).nak(42, 105).ack(44, 106).send(50, 105, 106).ack(63, 106)
    assert tap.told() == [("retransmission", "spurious", "downstream", 105, 1)]


def test_7_a_nak_that_nothing_follows() -> None:
    tap = Tap().send(30, 104, 105).nak(41, 104)
    assert tap.told() == [("loss", "lost", "downstream", 104, 1)]
    assert tap.judged().events[0].resend_frame == 0


def test_7_a_nak_may_answer_an_earlier_sending() -> None:
    """105 was sent again 3 us before the NAK, an answer takes 10: which sending was lost is not known."""
    tap = Tap().send(30, 104, 105, 106).nak(42, 104).send(50, 104, 105, 106).nak(54, 105)
    tap.send(62, 105, 106).ack(75, 106)
    assert ("loss", "undetermined", "", 105, 1) in tap.told()


def test_7_a_nak_may_wait_behind_the_responses_of_a_read() -> None:
    """The READ is sent again; the NAK of what came behind it at first is held up by its responses."""
    tap = Tap().read(30, 104, 4).send(31, 108, 109).nak(42, 104).read(50, 104, 4).send(51, 108, 109)
    tap.answer(61, 104, 105, 106, 107).nak(65, 108).send(75, 108, 109).ack(87, 109)
    assert ("loss", "undetermined", "", 108, 1) in tap.told()
    # without the READ the same NAK says what it seems to say
    tap = Tap().send(30, 104, 108 - 3, 106, 107, 108, 109).nak(42, 104)
    tap.send(50, *range(104, 110)).nak(75, 108).send(85, 108, 109).ack(97, 109)
    assert ("loss", "lost", "downstream", 108, 1) in tap.told()


def test_8_nobody_asked_for_what_the_run_brings_besides() -> None:
    tap = Tap().send(30, 104, 105, 107).nak(41, 104).send(50, 104, 105, 106, 107).ack(64, 107)
    assert sorted(tap.told()) == [
        ("loss", "lost", "downstream", 104, 1),
        ("loss", "undetermined", "", 106, 1),
    ]


# ---- Rule 10: timeouts


def test_10_a_timeout_of_what_was_not_seen() -> None:
    tap = Tap().send(30, 104, 106).send(1000, 105, 106).ack(1012, 106)
    assert tap.told() == [("timeout", "tail_loss", "upstream", 105, 2)]


def test_10_sent_again_although_acknowledged() -> None:
    tap = Tap().send(30, 104, 105).ack(42, 105).send(1000, 104, 105).ack(1003, 105)
    assert tap.told() == [("timeout", "ack_lost", "sender", 104, 2)]


def test_10_answered_before_everything_came_again() -> None:
    tap = Tap().send(30, 104, 105, 106).send(1000, 104).ack(1000.5, 106).send(1001, 105, 106)
    assert tap.told() == [("timeout", "ack_lost", "receiver", 104, 3)]


def test_10_who_asked_for_no_answer_lost_none() -> None:
    """The ACK of 104 was missed; from 105 on nothing asked for one: the sender may lack it for that."""
    tap = Tap().send(30, 104).send(31, 105, 106, ask=False)
    tap.send(1000, 105, ask=False).ack(1000.5, 106).send(1001, 106)
    assert tap.told() == [("timeout", "undetermined", "", 105, 2)]


def test_10_a_single_packet_outstanding_does_not_tell() -> None:
    tap = Tap().send(30, 104).send(1000, 104).ack(1010, 104)
    assert tap.told() == [("timeout", "undetermined", "", 104, 1)]


# ---- READs


def test_read_spans_take_as_many_psns_as_responses() -> None:
    tap = Tap().read(30, 104, 4).answer(41, 104, 105, 106, 107).send(50, 108).ack(61, 108)
    assert tap.told() == []


def test_a_read_asked_again_lost_its_response() -> None:
    tap = Tap().read(30, 104, 4).answer(41, 104, 105).read(80, 106, 2).answer(91, 106, 107)
    # 106 was not seen, and nothing after it: the response or a part of the request may be missing
    assert tap.told() == [("retransmission", "undetermined", "", 106, 1)]
    tap = Tap().read(30, 104, 4).answer(41, 104, 105, 107).read(80, 106, 2).answer(91, 106, 107)
    assert tap.told() == [("loss", "lost", "upstream", 106, 1)]
    tap = (
        Tap().read(30, 104, 4).answer(41, 104, 105, 106, 107).read(80, 106, 2).answer(91, 106, 107)
    )
    assert tap.told() == [("loss", "lost", "downstream", 106, 1)]


def test_responses_that_come_out_of_order() -> None:
    tap = Tap().read(30, 104, 4).answer(41, 104, 106).answer(43, 105).answer(44, 107)
    assert tap.told() == [("reorder", "reordered", "upstream", 105, 1)]


# ---- Pairing


def test_without_a_known_pair_nothing_is_judged() -> None:
    """Another queue pair between the same hosts with the same PSNs and port: no guess is made."""
    tap = Tap(measured=False).send(0, *range(100, 110)).send(0.5, *range(100, 110), qpn=19)
    tap.nak(15, 103).send(20, *range(103, 110)).ack(40, 109)
    told = tap.told()
    assert [event[1] for event in told] == ["undetermined"] * len(told)


def test_what_was_asked_for_before_the_pair_was_known_is_in_doubt() -> None:
    """Two candidates until the second one goes elsewhere; a NAK came meanwhile, another after it."""
    tap = Tap(measured=False).send(0, *range(100, 110)).send(0.5, *range(100, 110), qpn=19)
    tap.nak(15, 103)
    tap.send(16, *range(9000, 9003), qpn=19)
    for n, psn in enumerate((102, 102, 102)):
        tap.ack(17 + n / 10, psn)
    tap.nak(18, 105).send(25, *range(103, 110)).ack(45, 109)
    losses = [event for event in tap.told() if event[0] == "loss"]
    assert all(verdict == "undetermined" for _, verdict, *_ in losses)


# ---- UC


def test_uc_has_no_answers() -> None:
    tap = Tap(measured=False, service=Service.UC).send(0, 100, 102, 103).send(9, 101)
    assert tap.told() == [("reorder", "reordered", "upstream", 101, 1)]
    tap = Tap(measured=False, service=Service.UC).send(0, 100, 102, 103)
    assert tap.told() == [("gap", "undetermined", "", 101, 1)]
