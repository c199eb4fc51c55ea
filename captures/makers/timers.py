"""Timers and refusals: tail loss, lost ACKs, receivers that are not ready, NAKs for good, silence."""

from captures.makers.loss import start
from captures.makers.tape import MS, US, WAY, Case, QueuePair, case, event
from fabric import wire
from fabric.roce import Route


def tail_loss() -> Case:
    tape, qp, at, psn = start()
    end = qp.message(at, psn, 16, ask_all=True)
    for index in range(12):
        qp.ack(at + index * US + WAY, psn + index)
    resent = end + 4 * MS
    qp.again(resent, psn + 12, 4)
    for index in range(12, 16):
        qp.ack(resent + (index - 12) * US + WAY, psn + index)
    qp.healthy(resent + 200 * US, psn + 16)
    return case(
        "tail_loss",
        "the last packets of a message are lost behind the tap; a timer sends them again",
        tape,
        events=(event("timeout", "tail_loss", "downstream", psn + 12, 4, resent=4),),
        findings=("tail_loss",),
    )


def timeout_nak_lost() -> Case:
    tape, qp, at, psn = start()
    end = qp.message(at, psn, 16, missing=(psn + 12,))
    resent = end + 4 * MS
    qp.again(resent, psn + 12, 4)
    qp.ack(resent + 3 * US + WAY, psn + 15)
    qp.healthy(resent + 200 * US, psn + 16)
    return case(
        "timeout_nak_lost",
        "a packet is lost upstream, its NAK never arrives, and a timer sends it again",
        tape,
        events=(event("timeout", "tail_loss", "upstream", psn + 12, 4, resent=4),),
        findings=("tail_loss",),
    )


def ack_lost_sender() -> Case:
    tape, qp, at, psn = start()
    end = qp.message(at, psn, 16)
    qp.ack(end - US + WAY, psn + 15)
    resent = end + 4 * MS
    qp.again(resent, psn, 16)
    qp.ack(resent + WAY, psn + 15)
    qp.healthy(resent + 200 * US, psn + 16)
    return case(
        "ack_lost_sender",
        "the tap saw the ACK, the sender did not: lost between them, and a timer sends all again",
        tape,
        # sent again up to the ACK that decides: one a microsecond while it is on its way
        events=(event("timeout", "ack_lost", "sender", psn, 16, resent=WAY // US + 1),),
        findings=("ack_loss",),
    )


def ack_lost_receiver() -> Case:
    tape, qp, at, psn = start()
    end = qp.message(at, psn, 16)
    resent = end + 4 * MS
    qp.again(resent, psn, 16, gap=2 * US)
    qp.ack(resent + WAY, psn + 15)
    qp.healthy(resent + 200 * US, psn + 16)
    return case(
        "ack_lost_receiver",
        "no ACK passes the tap; the resent packets are acknowledged beyond what was resent",
        tape,
        events=(event("timeout", "ack_lost", "receiver", psn, 16, resent=WAY // (2 * US) + 1),),
        findings=("ack_loss",),
    )


def timeout_undetermined() -> Case:
    tape, qp, at, psn = start()
    qp.message(at, psn, 1)
    qp.again(at + 4 * MS, psn, 1)
    qp.ack(at + 4 * MS + WAY, psn)
    qp.healthy(at + 5 * MS, psn + 1)
    return case(
        "timeout_undetermined",
        "a single packet goes unanswered and is sent again: its loss and that of its ACK look alike",
        tape,
        events=(event("timeout", "undetermined", "", psn, resent=1),),
        findings=("timeout",),
    )


def rnr(name: str, waits_us: int, verdict: str, text: str, findings: tuple[str, ...]) -> Case:
    tape, qp, at, psn = start(packets=1)
    qp.message(at, psn, 1, send=True)
    nak = qp.ack(at + WAY, psn, wire.rnr_nak(12))  # 0.64 ms
    qp.again(nak + waits_us * US, psn, 1)
    qp.ack(nak + waits_us * US + WAY, psn)
    qp.healthy(nak + (waits_us + 100) * US, psn + 1, send=True)
    found = event(
        "rnr", verdict, "receiver", psn, resent=1, delay_ns=waits_us * US, limit_ns=640 * US
    )
    return case(name, text, tape, events=(found,), findings=findings)


def rnr_honoured() -> Case:
    return rnr(
        "rnr_honoured",
        700,
        "timer_honoured",
        "the receiver has no buffer and asks for 0.64 ms; the sender waits them",
        ("receiver_not_ready",),
    )


def rnr_ignored() -> Case:
    return rnr(
        "rnr_ignored",
        200,
        "timer_ignored",
        "the receiver has no buffer and asks for 0.64 ms; the sender tries again after 0.2 ms",
        ("rnr_timer_ignored",),
    )


def rnr_unanswered() -> Case:
    tape, qp, at, psn = start(packets=1)
    qp.message(at, psn, 1, send=True)
    qp.ack(at + WAY, psn, wire.rnr_nak(12))
    other = QueuePair(tape, Route("10.0.0.3", "10.0.0.2", sport=50001), qpn=0x31, back_qpn=0x32)
    other.healthy(at + 2 * MS, 5000)
    return case(
        "rnr_unanswered",
        "the receiver has no buffer, and the sender does not come back before the capture ends",
        tape,
        events=(event("rnr", "no_resend", "receiver", psn, limit_ns=640 * US),),
        findings=("receiver_not_ready",),
    )


def fatal_nak() -> Case:
    tape, qp, at, psn = start()
    qp.message(at, psn, 2)
    qp.nak(at + US + WAY, psn, 2)
    return case(
        "fatal_nak",
        "the responder refuses a WRITE: remote access error",
        tape,
        events=(event("nak", "remote_access", "receiver", psn),),
        findings=("fatal_nak",),
    )


def silence() -> Case:
    tape, qp, _, psn = start()
    qp.healthy(200 * MS, psn + 60_000)
    return case(
        "silence",
        "after 0.2 s of silence the sequence numbers have moved: they may have wrapped meanwhile",
        tape,
        events=(event("hole", "undetermined", "", psn + 60_000),),
        findings=("silence",),
        speed_bps=400_000_000_000,
    )


CASES = (
    tail_loss, timeout_nak_lost, ack_lost_sender, ack_lost_receiver, timeout_undetermined,
    rnr_honoured, rnr_ignored, rnr_unanswered, fatal_nak, silence,
)  # fmt: skip
