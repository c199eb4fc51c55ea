"""Marks, notifications and load: congestion as a tap sees it."""

from captures.makers.tape import US, WAY, Case, QueuePair, Tape, case, event
from fabric.codes import Ecn
from fabric.roce import Route

GBPS_100 = 100_000_000_000
JUMBO_NS = 335  # a packet of 4096 bytes payload with all headers and framing at 100 Gb/s


def ecn_cnp() -> Case:
    tape = Tape()
    qp = QueuePair(tape)
    at = qp.healthy(0, 1000) + 20 * US
    marked = range(1058, 1108)  # PSNs that met a queue

    def ecn(psn: int) -> int:
        return Ecn.CE if psn in marked and psn % 2 == 0 else Ecn.ECT_0

    end = qp.message(at, 1008, 200, ecn=ecn)
    for number in range(2):  # one notification per 40 us while marks arrive
        qp.cnp(at + 50 * US + WAY + number * 40 * US)
    qp.ack(end + WAY, 1207)
    return case(
        "ecn_cnp",
        "a queue marks every other packet for 50 us; the receiver answers with two paced CNPs",
        tape,
        findings=("cnp_ecn", "ecn_marking"),
        ce=25,
        cnps={"ecn": 2},
    )


def cnp_nak() -> Case:
    tape = Tape()
    qp = QueuePair(tape)
    at = qp.healthy(0, 1000) + 20 * US
    end = qp.message(at, 1008, 16, missing=(1012,))
    qp.nak(end, 1012)
    qp.cnp(end + US)
    end = qp.again(end + 3 * US, 1012, 12)
    qp.ack(end + WAY, 1023)
    qp.healthy(end + 50 * US, 1024)
    return case(
        "cnp_nak",
        "no packet is marked; the receiver's NIC sends a CNP with its NAK",
        tape,
        events=(event("loss", "lost", "upstream", 1012, resent=12),),
        findings=("loss_upstream", "cnp_nak"),
        cnps={"nak": 1},
    )


def cnp_unexplained() -> Case:
    tape = Tape()
    qp = QueuePair(tape)
    at = qp.healthy(0, 1000) + 20 * US
    at = qp.healthy(at, 1008) + 5 * US
    qp.cnp(at)
    qp.healthy(at + 20 * US, 1016)
    return case(
        "cnp_unexplained",
        "a CNP with neither a mark nor a NAK before it: the marking switch lies behind the tap",
        tape,
        findings=("cnp_unexplained",),
        cnps={"unexplained": 1},
    )


def cnp_starvation() -> Case:
    tape = Tape()
    qp = QueuePair(tape)
    at = qp.healthy(0, 1000) + 20 * US
    for number in range(20):
        psn = 1008 + 16 * number
        end = qp.message(at, psn, 16, gap=2 * US, ecn=lambda n: 3 if n % 2 else 2)
        qp.ack(end + WAY, psn + 15)
        at = end + 4 * US
    return case(
        "cnp_starvation",
        "half of the packets arrive marked for 0.7 ms and the receiver sends no CNP",
        tape,
        findings=("cnp_starvation", "ecn_marking"),
        ce=160,
    )


def incast() -> Case:
    """Behind the last switch: the line is full, most packets are marked, eight senders meet."""
    tape = Tape()
    senders, rounds, per_message = 8, 120, 40
    pairs = [
        QueuePair(
            tape,
            Route(f"10.0.1.{n + 1}", "10.0.2.9", sport=50000 + n),
            qpn=0x900 + n,
            back_qpn=0x100 + n,
            pmtu=4096,
        )
        for n in range(senders)
    ]
    for number, qp in enumerate(pairs):
        for first in range(0, rounds, per_message):
            start = (first * senders + number) * JUMBO_NS
            gap = senders * JUMBO_NS
            psn = 5000 * (number + 1) + first
            ecn = Ecn.ECT_0 if first == 0 and number % 2 else Ecn.CE
            end = qp.message(start, psn, per_message, gap=gap, ecn=ecn)
            qp.ack(end + WAY, psn + per_message - 1)
        for count in range(6):
            qp.cnp(WAY + number * US + count * 50 * US)
    return case(
        "incast",
        "eight hosts send to one at the same moment; its link is full and most packets are marked",
        tape,
        findings=("incast", "ecn_marking", "cnp_ecn"),
        allowed=("microburst", "cnp_unexplained"),
        speed_bps=GBPS_100,
        sources=senders,
        snap=80,
    )


def all_to_all() -> Case:
    """A planned exchange: everybody sends as much to everybody, and nobody is the victim."""
    tape = Tape()
    hosts = [f"10.0.3.{n + 1}" for n in range(4)]
    for i, src in enumerate(hosts):
        for j, dst in enumerate(hosts):
            if src == dst:
                continue
            number = 4 * i + j
            route = Route(src, dst, sport=51000 + 4 * min(i, j) + max(i, j))
            qp = QueuePair(tape, route, qpn=0x300 + number, back_qpn=0x400 + number)
            for step in range(3):
                qp.healthy(number * 70 + step * 60 * US, 7000 + 100 * number + 16 * step, 16)
    return case(
        "all_to_all",
        "four hosts exchange equal parts with each other: a collective, nothing is wrong",
        tape,
        speed_bps=GBPS_100,
    )


CASES = (ecn_cnp, cnp_nak, cnp_unexplained, cnp_starvation, incast, all_to_all)
