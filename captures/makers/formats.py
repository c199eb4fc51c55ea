"""File formats and several taps: byte orders, resolutions, interfaces, damage, clocks that differ."""

from io import BytesIO

from captures.makers.loss import go_back, start
from captures.makers.tape import (
    HEADERS,
    MS,
    US,
    WAY,
    Case,
    QueuePair,
    Tape,
    case,
    event,
    pcap,
    several,
)
from fabric.pcap import PcapngWriter
from fabric.roce import Route

LOST = (event("loss", "lost", "upstream", 1012, resent=12),)


def lossy(before: int = 0) -> Tape:
    """The story of ``loss_upstream``, after so many messages of one packet."""
    tape, qp, at, psn = start(psn=1000 - before)
    for _ in range(before):
        at, psn = qp.healthy(at, psn, 1) + 20 * US, psn + 1
    end = qp.message(at, psn, 16, missing=(psn + 4,))
    go_back(qp, end, psn + 4, 12, psn + 16)
    return tape


def healthy() -> Case:
    """Whole frames with valid ICRC; both directions, ten messages."""
    tape = Tape()
    qp = QueuePair(tape, pmtu=256)
    at, psn = 0, 1000
    for number in range(10):
        size = 200 - 17 * number  # most need padding
        at = qp.healthy(at, psn, 6, last_bytes=size, immediate=number, send=number % 2 == 1)
        at, psn = at + 20 * US, psn + 6
    return case(
        "healthy",
        "whole frames, nothing wrong: WRITE and SEND with immediate data, acknowledged after 10 us",
        tape,
        snap=65535,
        rtt_ns=WAY,
        messages=10,
        icrc={"valid": tape.counts["roce"], "bad": 0},
    )


def bad_icrc() -> Case:
    tape = Tape()
    qp = QueuePair(tape, pmtu=256)
    at, psn = 0, 1000
    for _ in range(4):
        at, psn = qp.healthy(at, psn, 6) + 20 * US, psn + 6
    for index in (3, 17):
        ts, frame, size = tape.frames[index]
        damaged = bytearray(frame)
        damaged[-20] ^= 0x10  # one bit of the payload
        tape.frames[index] = (ts, bytes(damaged), size)
    return case(
        "bad_icrc",
        "two packets whose payload was damaged on the way: seen only where the ICRC is checked",
        tape,
        snap=65535,
        icrc={"valid": tape.counts["roce"] - 2, "bad": 2},
    )


def pcap_variant(name: str, text: str, **options: object) -> Case:
    tape = lossy()
    files = {f"{name}.pcap": pcap(tape, **options)}  # type: ignore[arg-type]  # passed through
    return several(name, text, files, [tape], ("loss_upstream",), LOST, recovery="go_back_n")


def big_endian() -> Case:
    return pcap_variant("big_endian", "a pcap written on a big-endian machine", order=">")


def microseconds() -> Case:
    return pcap_variant("microseconds", "a pcap with microsecond resolution", nano=False)


def modified() -> Case:
    text = "the pcap variant with longer record headers (magic 0xA1B2CD34)"
    return pcap_variant("modified", text, modified=True)


def pcapng_interfaces() -> Case:
    """Each direction on an interface of its own, as TAPs with two ports deliver them.

    Directions that meet on different interfaces are taken for one queue pair after 16 answers.
    """
    tape = lossy(before=20)
    file = BytesIO()
    writer = PcapngWriter(file, order=">")
    writer.section(options=((4, b"two ports of a tap"),))
    writer.interface(name="tap0", resolution=6, snaplen=HEADERS, speed_bps=100_000_000_000)
    writer.interface(
        name="tap1", resolution=0x80 | 34, offset_s=1_600_000_000, snaplen=HEADERS,
        speed_bps=100_000_000_000,
    )  # fmt: skip
    for ts, frame, size in tape.in_order():
        responses = frame[26:30] == bytes((10, 0, 0, 2))
        writer.packet(ts, frame, size, interface=int(responses))
    end = tape.in_order()[-1][0]
    writer.statistics(end, received=len(tape.frames), dropped=0, interface=0)
    writer.statistics(end, received=len(tape.frames), dropped=0, interface=1)
    return several(
        "pcapng_interfaces",
        "requests on an interface with microseconds, responses on one with 2^-34 s and an offset",
        {"pcapng_interfaces.pcapng": file.getvalue()},
        [tape],
        ("loss_upstream",),
        LOST,
        interfaces=["tap0", "tap1"],
    )


def bond_failover() -> Case:
    """A queue pair of a bonded NIC changes the port: neither interface has lost a packet."""
    tape = Tape()
    qp = QueuePair(tape)
    for number in range(20):
        qp.healthy(number * 40 * US, 1000 + 8 * number)
    file = BytesIO()
    writer = PcapngWriter(file)
    writer.section()
    writer.interface(name="port0", snaplen=HEADERS)
    writer.interface(name="port1", snaplen=HEADERS)
    for index, (ts, frame, size) in enumerate(tape.in_order()):
        writer.packet(ts, frame, size, interface=int(index >= 9 * 12))  # after a message's answer
    return several(
        "bond_failover",
        "a queue pair goes on through the other port of a bond: four flows, no loss",
        {"bond_failover.pcapng": file.getvalue()},
        [tape],
        interfaces=["port0", "port1"],
        flows=4,
        messages=20,
    )


def pcapng_sections() -> Case:
    """Two recordings concatenated: byte order and interfaces begin afresh; blocks nobody knows."""
    tape = Tape()
    qp = QueuePair(tape)
    for number in range(4):
        qp.healthy(number * 40 * US, 1000 + 8 * number)
    frames = tape.in_order()
    file = BytesIO()
    writer = PcapngWriter(file)
    for order, part in (("<", frames[:18]), (">", frames[18:])):
        writer.section(order=order)  # type: ignore[arg-type]  # a literal
        writer.interface(name="eth0", resolution=9, snaplen=HEADERS)
        writer.custom(32473, b"private")
        for index, (ts, frame, size) in enumerate(part):
            put = writer.obsolete if index % 5 == 0 else writer.packet
            put(ts, frame, size)
        writer.block(0x0000_0BAE, b"unknown to everybody")
    return several(
        "pcapng_sections",
        "two sections of different byte order, enhanced and obsolete packet blocks, unknown blocks",
        {"pcapng_sections.pcapng": file.getvalue()},
        [tape],
    )


def capture_drops() -> Case:
    """The capturing system says that it dropped packets: what fills a gap unasked proves nothing."""
    tape = lossy()
    file = BytesIO()
    writer = PcapngWriter(file)
    writer.section()
    writer.interface(name="span0", snaplen=HEADERS)
    writer.write_many(tape.in_order())
    end = tape.in_order()[-1][0]
    writer.statistics(end, received=len(tape.frames) + 40, dropped=40)
    return several(
        "capture_drops",
        "a loss with its NAK, in a capture whose statistics block reports 40 dropped packets",
        {"capture_drops.pcapng": file.getvalue()},
        [tape],
        ("loss_upstream", "capture_drops"),
        LOST,
        dropped=40,
    )


def cut_record() -> Case:
    tape = lossy()
    data = pcap(tape)
    expected = tape.expected_counts()
    expected["packets"] -= 1
    expected["roce"] -= 1
    return several(
        "cut_record",
        "the file ends in the middle of its last record: what stands before it is reported",
        {"cut_record.pcap": data[:-30]},
        [tape],
        ("loss_upstream", "capture_damaged"),
        LOST,
        counts=expected,
    )


def no_packets() -> Case:
    return case("no_packets", "a capture without packets", Tape())


def two_taps() -> Case:
    """One flow past two taps 2 us apart; a packet is lost between them; the clocks differ by 3 ms."""
    first, second = Tape(), Tape()
    route = Route("10.0.0.1", "10.0.0.2")
    for tape, missing, shift, ttl in ((first, (), 0, 64), (second, (1012,), 2 * US + 3 * MS, 63)):
        qp = QueuePair(tape, route._replace(ttl=ttl), way=WAY if tape is first else WAY - 4 * US)
        qp.back = qp.back._replace(ttl=64 if tape is second else 63)
        back = -4 * US if tape is second else 0  # the second tap sees responses earlier
        at = qp.healthy(shift, 1000) - qp.way + WAY + 20 * US
        end = qp.message(at, 1008, 16, missing=missing)
        qp.nak(end + back, 1012)
        end = qp.again(end + 2 * US, 1012, 12)
        qp.ack(end - US + qp.way, 1023)
        qp.healthy(end + 50 * US, 1024)
    name = "two_taps"
    return several(
        name,
        "a packet is lost between two taps whose clocks differ: seen at the first, not at the second",
        {f"{name}-a.pcap": pcap(first), f"{name}-b.pcap": pcap(second)},
        [first, second],
        ("loss_between",),
        (
            event("loss", "lost", "downstream", 1012, resent=12, file=f"{name}-a.pcap"),
            event("loss", "lost", "upstream", 1012, resent=12, file=f"{name}-b.pcap"),
        ),
        allowed=("several_points",),
    )


CASES = (
    healthy, bad_icrc, big_endian, microseconds, modified, pcapng_interfaces, bond_failover, pcapng_sections,
    capture_drops, cut_record, no_packets, two_taps,
)  # fmt: skip
