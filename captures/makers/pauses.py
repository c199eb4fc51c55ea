"""PFC and global pauses on a tapped link of 100 Gb/s: one quantum lasts 5.12 ns."""

from typing import Any

from captures.makers.tape import MS, US, Case, QueuePair, Tape, case
from fabric import wire
from fabric.roce import Route

SPEED = 100_000_000_000
SWITCH = "02:aa:00:00:00:01"
HOST = "02:aa:00:00:00:02"
FULL = 0xFFFF  # 335,539 ns
CLASS_3 = Route("10.0.0.1", "10.0.0.2", tags=(wire.tag(30, 3),))


def link(until: int = 100 * US) -> tuple[Tape, QueuePair]:
    """A tape on which a queue pair of priority 3 talks now and then, up to ``until``."""
    tape = Tape()
    qp = QueuePair(tape, CLASS_3)
    qp.healthy(0, 1000)
    qp.healthy(until - 20 * US, 1008)
    return tape, qp


def hold(
    priority: int, start: int, paused_ns: int, reason: str, frames: int, **more: Any
) -> dict[str, Any]:
    """An expected row of PAUSES; ``start`` in ns from the start of the capture."""
    row = {"sender": HOST, "priority": priority, "start_ns": start, "paused_ns": paused_ns}
    return {**row, "end_reason": reason, "frames": frames, **more}


def put(tape: Tape, at: int, quanta: dict[int, int], src: str = HOST, **more: Any) -> None:
    tape.put(at, wire.pfc(src, quanta, **more), "pauses")


def made(
    name: str,
    text: str,
    tape: Tape,
    pauses: tuple[dict[str, Any], ...],
    *findings: str,
    **more: Any,
) -> Case:
    """A case whose link has 100 Gb/s."""
    return case(name, text, tape, findings=findings, pauses=pauses, speed_bps=SPEED, **more)


def pfc_storm() -> Case:
    tape, _ = link(60 * US)
    count, step = 80, 200 * US
    for number in range(count):
        put(tape, 100 * US + number * step, {3: FULL})
    last = (count - 1) * step
    row = hold(3, 100 * US, last, "end_of_capture", count)
    text = (
        "a host refreshes XOFF every 200 us for 16 ms and never releases: the capture ends paused"
    )
    return made("pfc_storm", text, tape, (row,), "pfc_storm", allowed=("pause_pressure",))


def pfc_flutter() -> Case:
    count = 250
    tape, _ = link((count + 1) * 100 * US)
    for number in range(count):
        at = 50 * US + number * 100 * US
        put(tape, at, {3: FULL})
        put(tape, at + 5 * US, {3: 0})
    row = hold(3, 50 * US, 5 * US, "xon", 2, times=count, every_ns=100 * US)
    text = "a host holds priority 3 for 5 us out of every 100: many short holds, each released"
    return made("pfc_flutter", text, tape, (row,), "pause_flutter")


def pfc_pressure() -> Case:
    count = 160
    tape, _ = link((count + 1) * 100 * US)
    for number in range(count):
        at = 50 * US + number * 100 * US
        put(tape, at, {3: FULL})
        put(tape, at + 40 * US, {3: 0})
    row = hold(3, 50 * US, 40 * US, "xon", 2, times=count, every_ns=100 * US)
    text = "a slow receiver holds priority 3 for 40 of every 100 us, over 16 ms"
    return made("pfc_pressure", text, tape, (row,), "pause_pressure", allowed=("pause_flutter",))


def xoff_expiry() -> Case:
    tape, _ = link(400 * US)
    put(tape, 60 * US, {3: 4096})
    row = hold(3, 60 * US, 20_972, "expiry", 1)
    return made(
        "xoff_expiry", "an XOFF of 4,096 quanta is never released: it expires", tape, (row,)
    )


def xoff_replaced() -> Case:
    tape, _ = link(400 * US)
    put(tape, 60 * US, {3: FULL})
    put(tape, 70 * US, {3: 1000})  # replaces what is left of the first, does not add to it
    row = hold(3, 60 * US, 15_120, "expiry", 2)
    text = "a second XOFF of 1,000 quanta replaces the longer first one"
    return made("xoff_replaced", text, tape, (row,))


def xoff_open() -> Case:
    tape, qp = link(400 * US)
    put(tape, 450 * US, {3: FULL})
    qp.message(500 * US, 1016, 1)  # priority 3 data of another sender does not end the hold
    row = hold(3, 450 * US, 50_000, "end_of_capture", 1)
    return made("xoff_open", "the capture ends 50 us into a hold", tape, (row,))


def pfc_vector() -> Case:
    """The enable vector decides: quanta of classes that are not enabled mean nothing."""
    tape, _ = link(400 * US)
    put(tape, 60 * US, dict.fromkeys(range(8), FULL), vector=0b0001_1000)
    put(tape, 70 * US, {3: 0, 5: 9})
    put(tape, 80 * US, dict.fromkeys(range(8), 0), vector=0b0001_0000)
    put(tape, 90 * US, dict.fromkeys(range(8), FULL), vector=0)
    rows = (
        hold(3, 60 * US, 10 * US, "xon", 2),
        hold(4, 60 * US, 20 * US, "xon", 2),
        hold(5, 70 * US, 46, "expiry", 1),
    )
    text = "frames for several classes at once; quanta of classes that are not enabled"
    return made("pfc_vector", text, tape, rows)


def pfc_both_ends() -> Case:
    tape, _ = link(400 * US)
    put(tape, 60 * US, {3: FULL})
    put(tape, 65 * US, {3: FULL}, SWITCH)
    put(tape, 70 * US, {3: 0})
    put(tape, 85 * US, {3: 0}, SWITCH)
    rows = (
        hold(3, 60 * US, 10 * US, "xon", 2),
        hold(3, 65 * US, 20 * US, "xon", 2, sender=SWITCH),
    )
    text = "both ends of the link hold priority 3 of the other: two episodes, not one"
    return made("pfc_both_ends", text, tape, rows)


def global_pause() -> Case:
    tape, _ = link(400 * US)
    tape.put(60 * US, wire.global_pause(HOST, FULL), "pauses")
    tape.put(90 * US, wire.global_pause(HOST, 0), "pauses")
    row = hold(-1, 60 * US, 30 * US, "xon", 2)
    text = "an 802.3x PAUSE holds the whole link for 30 us"
    return made("global_pause", text, tape, (row,), "global_pause")


def long_pause() -> Case:
    """A storm that is over: 12 ms of refreshed XOFF, then XON and normal traffic."""
    count, step = 61, 200 * US
    tape, _ = link(20 * MS)
    for number in range(count):
        put(tape, 100 * US + number * step, {3: FULL})
    put(tape, 100 * US + count * step, {3: 0})
    row = hold(3, 100 * US, count * step, "xon", count + 1)
    text = "12.2 ms of refreshed XOFF, then XON, and the link goes on"
    allowed = ("pause_pressure",)
    return made("pfc_storm_over", text, tape, (row,), "pfc_storm", allowed=allowed)


def pfc_ignored() -> Case:
    """A NIC that does not know of the pause, then one hold that it obeys."""
    tape, _ = link(400 * US)
    towards = CLASS_3._replace(src_mac=SWITCH, dst_mac=HOST)
    qp = QueuePair(tape, towards, qpn=0x31, back_qpn=0x42)
    put(tape, 30 * US, {3: FULL})
    qp.healthy(32 * US, 2000, 4)  # the last passes 5 us after the XOFF: in time
    qp.healthy(45 * US, 2004, 16)
    put(tape, 70 * US, {3: 0})
    put(tape, 80 * US, {3: 1000})  # 5,120 ns
    qp.healthy(90 * US, 2020)
    rows = (
        hold(3, 30 * US, 40 * US, "xon", 2),
        hold(3, 80 * US, 5120, "expiry", 1),
    )
    text = "a switch port goes on sending priority 3 for 30 us after the host has paused it"
    return made("pfc_ignored", text, tape, rows, "pfc_ignored")


def pause_inferred() -> Case:
    """What a hold leaves where no PFC frame can be seen: a host's own capture."""
    tape, gap, stop = Tape(), 50 * US, 12 * MS
    for number, peer in enumerate(("10.0.0.2", "10.0.0.3")):
        route = Route("10.0.0.1", peer, sport=50_000 + number)
        qp = QueuePair(tape, route, qpn=0x50 + number, back_qpn=0x60 + number)
        start, psn = number * 7 * US, 5000 * (number + 1)
        held = dict.fromkeys(range(psn + 100, psn + 200), stop)
        end = qp.message(start, psn, 200, gap=gap, late=held) + stop
        qp.ack(end, psn + 199)
    other = Route("10.0.0.1", "10.0.0.2", dscp=0, sport=50_009)
    small = QueuePair(tape, other, qpn=0x70, back_qpn=0x71)
    for n in range(44):
        small.healthy(n * 500 * US, 100 + n, 1)
    row = hold(3, 5 * MS, 12 * MS, "resumed", 0, sender="", kind="inferred")
    text = "two queue pairs of priority 3 stop in the middle of a message for 12 ms, priority 0 goes on"
    return case("pause_inferred", text, tape, findings=("pause_inferred",), pauses=(row,))


CASES = (
    pfc_storm, long_pause, pfc_flutter, pfc_pressure, xoff_expiry, xoff_replaced, xoff_open,
    pfc_vector, pfc_both_ends, global_pause, pfc_ignored, pause_inferred,
)  # fmt: skip
