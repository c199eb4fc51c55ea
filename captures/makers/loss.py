"""Packets lost, late, missed, sent again: what one tap can prove about a sequence.

Every script begins with a message that arrives whole (round trip 10 us, both directions with one
source port: the queue pair can be paired), and ends with another.
"""

from captures.makers.tape import US, WAY, Case, QueuePair, Tape, case, event
from fabric.roce import Route


def start(packets: int = 8, psn: int = 1000, **pair: object) -> tuple[Tape, QueuePair, int, int]:
    """A tape with one message that arrived; returns also the time and PSN to go on with."""
    tape = Tape()
    qp = QueuePair(tape, **pair)  # type: ignore[arg-type]  # passed through
    return tape, qp, qp.healthy(0, psn, packets) + 20 * US, (psn + packets) & 0xFFFFFF


def go_back(qp: QueuePair, at: int, first: int, count: int, next_psn: int) -> None:
    """A NAK for ``first`` at ``at``, everything from there again, its ACK, another message."""
    qp.nak(at, first)
    end = qp.again(at + 2 * US, first, count)
    qp.ack(end - US + WAY, first + count - 1)
    qp.healthy(end + 50 * US, next_psn)


def loss_downstream() -> Case:
    tape, qp, at, psn = start()
    end = qp.message(at, psn, 16)
    go_back(qp, end, psn + 4, 12, psn + 16)
    return case(
        "loss_downstream",
        "a packet that the tap saw is asked for by a NAK; the sender goes back N",
        tape,
        events=(event("loss", "lost", "downstream", psn + 4, resent=12),),
        findings=("loss_downstream",),
        recovery="go_back_n",
    )


def loss_upstream() -> Case:
    tape, qp, at, psn = start()
    end = qp.message(at, psn, 16, missing=(psn + 4,))
    go_back(qp, end, psn + 4, 12, psn + 16)
    return case(
        "loss_upstream",
        "a packet that never passed the tap is asked for by a NAK; the sender goes back N",
        tape,
        events=(event("loss", "lost", "upstream", psn + 4, resent=12),),
        findings=("loss_upstream",),
        recovery="go_back_n",
    )


def loss_burst() -> Case:
    tape, qp, at, psn = start()
    end = qp.message(at, psn, 16, missing=(psn + 4, psn + 5, psn + 6, psn + 10))
    go_back(qp, end, psn + 4, 12, psn + 16)
    return case(
        "loss_burst",
        "three packets in a row and a fourth behind them are lost; only the first is asked for",
        tape,
        events=(
            event("loss", "lost", "upstream", psn + 4, 3, resent=12),
            event("loss", "undetermined", "", psn + 10, 1, resent=0),
        ),
        findings=("loss_upstream", "loss_undetermined"),
        recovery="go_back_n",
    )


def loss_psn_wrap() -> Case:
    tape, qp, at, psn = start(psn=0xFFFFF0)
    missing = (0xFFFFFE, 0xFFFFFF, 0, 1)
    end = qp.message(at, psn, 16, missing=missing)
    go_back(qp, end, 0xFFFFFE, 10, 8)
    return case(
        "loss_psn_wrap",
        "four packets around the wrap of the sequence numbers are lost upstream",
        tape,
        events=(event("loss", "lost", "upstream", 0xFFFFFE, 4, resent=10),),
        findings=("loss_upstream",),
        recovery="go_back_n",
    )


def psn_wrap() -> Case:
    tape, qp, at, psn = start(psn=0xFFFFF0)
    for _ in range(3):
        at = qp.healthy(at, psn) + 5 * US
        psn = (psn + 8) & 0xFFFFFF
    return case("psn_wrap", "sequence numbers wrap and nothing is wrong", tape)


def capture_loss() -> Case:
    tape, qp, at, psn = start()
    end = qp.message(at, psn, 16, missing=(psn + 4, psn + 5))
    qp.ack(end + WAY, psn + 15)
    qp.healthy(end + 100 * US, psn + 16)
    return case(
        "capture_loss",
        "the receiver acknowledges two packets that the tap did not see: only the capture lost them",
        tape,
        events=(event("capture_loss", "capture_loss", "tap", psn + 4, 2),),
        findings=("capture_loss",),
    )


def capture_loss_burst() -> Case:
    """SPAN oversubscription: many queue pairs miss packets in the same microseconds."""
    tape, events = Tape(), []
    for number in range(6):
        route = Route(f"10.0.1.{number + 1}", "10.0.2.1", sport=50000 + number)
        qp = QueuePair(tape, route, qpn=0x100 + number, back_qpn=0x200 + number)
        psn = 4000 + 1000 * number
        at = qp.healthy(number * 100, psn) + 20 * US
        end = qp.message(at, psn + 8, 24, missing=range(psn + 18, psn + 22))
        qp.ack(end + WAY, psn + 31)
        qp.healthy(end + 100 * US, psn + 32)
        events.append(event("capture_loss", "capture_loss", "tap", psn + 18, 4, qpn=qp.qpn))
    return case(
        "capture_loss_burst",
        "an oversubscribed mirror port drops packets of six queue pairs at the same moment",
        tape,
        events=tuple(events),
        findings=("capture_loss",),
    )


def reordering() -> Case:
    tape, qp, at, psn = start()
    end = qp.message(at, psn, 16, late={psn + 4: 2500})
    qp.ack(end + WAY, psn + 15)
    qp.healthy(end + 100 * US, psn + 16)
    return case(
        "reordering",
        "a packet is overtaken by two others; the receiver takes any order and nothing is resent",
        tape,
        events=(event("reorder", "reordered", "upstream", psn + 4, extent=2, delay_ns=1500),),
        findings=("reordering",),
    )


def spurious_go_back_n() -> Case:
    tape, qp, at, psn = start()
    end = qp.message(at, psn, 16, late={psn + 4: 2500})
    go_back(qp, end, psn + 4, 12, psn + 16)
    return case(
        "spurious_go_back_n",
        "a packet is overtaken; the receiver asks for it although it comes, and all is sent again",
        tape,
        events=(
            event("reorder", "reordered", "upstream", psn + 4, extent=2),
            event("retransmission", "spurious", "upstream", psn + 4, resent=12),
        ),
        findings=("reordering", "spurious_retransmission"),
    )


def selective_repeat() -> Case:
    tape, qp, at, psn = start()
    end = qp.message(at, psn, 16, missing=(psn + 4,))
    qp.nak(end, psn + 4)
    qp.again(end + 2 * US, psn + 4, 1)
    qp.ack(end + 2 * US + WAY, psn + 15)
    qp.healthy(end + 400 * US, psn + 16)
    return case(
        "selective_repeat",
        "a lost packet is asked for and sent again alone: the NIC repeats selectively",
        tape,
        events=(event("loss", "lost", "upstream", psn + 4, resent=1),),
        findings=("loss_upstream",),
        recovery="selective",
    )


def livelock() -> Case:
    """The same packet is lost in every round of go-back-N: the message never ends."""
    tape, qp, at, psn = start()
    qp.message(at, psn, 32)
    for _ in range(12):
        at = qp.nak(at + 40 * US, psn + 4) + 5 * US
        qp.again(at, psn + 4, 28)
    return case(
        "livelock",
        "the same packet is lost again in every round of go-back-N: busy, and no progress",
        tape,
        events=(event("loss", "lost", "downstream", psn + 4, resent=28, times=12),),
        findings=("loss_downstream", "retransmission_waste"),
        recovery="go_back_n",
    )


def gap_open() -> Case:
    tape, qp, at, psn = start()
    qp.message(at, psn, 16, missing=(psn + 4,))
    return case(
        "gap_open",
        "a packet is missing and the capture ends before anybody says so",
        tape,
        events=(event("gap", "undetermined", "", psn + 4),),
        findings=("gap",),
    )


def unexplained() -> Case:
    tape, qp, at, psn = start()
    end = qp.message(at, psn, 16)
    end = qp.again(end + 20 * US, psn + 8, 8)
    qp.ack(end - US + WAY, psn + 15)
    qp.healthy(end + 50 * US, psn + 16)
    return case(
        "unexplained_resend",
        "packets that the tap saw are sent again without a NAK and without a silence",
        tape,
        events=(event("retransmission", "undetermined", "", psn + 8, resent=8),),
        findings=("unexplained_retransmission",),
    )


def loss_undetermined() -> Case:
    """A gap that a resend fills unasked proves nothing, least of all where the tap loses packets."""
    tape, qp, at, psn = start()
    end = qp.message(at, psn, 16, missing=(psn + 2,))
    qp.ack(end - US + WAY, psn + 15)
    psn, at = psn + 16, end + 100 * US
    end = qp.message(at, psn, 16, missing=(psn + 4, psn + 10))
    go_back(qp, end, psn + 4, 12, psn + 16)
    return case(
        "loss_undetermined",
        "a capture that misses packets itself; of two gaps only the one asked for is surely a loss",
        tape,
        events=(
            event("capture_loss", "capture_loss", "tap", psn - 14),
            event("loss", "lost", "upstream", psn + 4, resent=12),
            event("loss", "undetermined", "", psn + 10, resent=0),
        ),
        findings=("loss_upstream", "capture_loss", "loss_undetermined"),
    )


CASES = (
    loss_downstream, loss_upstream, loss_burst, loss_psn_wrap, psn_wrap, capture_loss,
    capture_loss_burst, reordering, spurious_go_back_n, selective_repeat, livelock, gap_open,
    unexplained, loss_undetermined,
)  # fmt: skip
