"""Frames to decode in numbers, and the comparison of the compiled decoder with its twin."""

import random
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

from analyzers.capture.batch import UNDESCRIBED, Batch, Tally, make_batch, make_tally
from fabric import roce, wire
from fabric.codes import CNP_OPCODE, HEADER_BYTES, Fault, FrameKind, Header, headers_of
from tests import strategies, twin_decode

Frame = tuple[bytes, int]  # captured bytes, link type
Decode = Callable[..., int]
LINK_TYPES = (1, 12, 14, 101, 113, 228, 229, 276, 147, 0)  # the last two are not read
FROM_INDEX = ("ts", "offset", "captured", "wire", "frame", "iface")
OFFSETS = ("l3_at", "icrc_at")


@cache
def corpus(size: int = 400) -> tuple[Frame, ...]:
    """Sound frames, the same in every run: drawn from the strategies, and odd ones written here."""
    made: list[Frame] = []

    @settings(
        max_examples=size,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(strategies.frames)
    def draw(frame: strategies.Made) -> None:
        made.append((frame.frame, int(frame.link_type)))

    draw()
    return (*made, *odd_frames())


ROUTE4 = roce.Route("10.0.0.1", "10.0.0.2")
ROUTE6 = roce.Route("2001:db8::1", "2001:db8::2")
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
PACKET4 = roce.roce(ROUTE4, 0x04, 7, 9, payload=b"abcde")[14:]
PACKET6 = roce.roce(ROUTE6, 0x0A, 7, 9, extended=wire.reth(1, 2, 3), payload=b"abcd")[14:]


def outer(payload: bytes, protocol: int) -> bytes:
    return wire.ipv4(payload, "192.0.2.1", "192.0.2.2", protocol)


def by_opcode() -> list[bytes]:
    """Every opcode there is, with what belongs behind it and with nothing."""
    rng = random.Random(1)
    packets = []
    for opcode in range(256):
        headers = headers_of(opcode) or 0
        size = sum(n for header, n in HEADER_BYTES.items() if header & headers & ~Header.BTH)
        for extra in {0, size}:
            body = wire.bth(opcode, 1, 2) + rng.randbytes(extra)
            packets.append(roce.roce_packet(ROUTE4, body, tos=3, ip_id=0, ttl=1))
    return packets


def tunnels() -> list[bytes]:
    """IP in IP to any depth, bare GRE with every flag, ERSPAN, Geneve and VXLAN of odd kinds."""
    packets = []
    for inner, kind, protocol in ((PACKET4, 0x0800, 4), (PACKET6, 0x86DD, 41)):
        packets.append(outer(inner, protocol))
        packets.append(wire.ipv6(inner, "2001:db8::3", "2001:db8::4", protocol))
        packets += [
            outer(flags.to_bytes(2, "big") + kind.to_bytes(2, "big") + bytes(4 * words) + inner, 47)
            for flags in (0, 0x8000, 0x4000, 0x2000, 0x1000, 0xA000, 0xB000, 1, 2, 4, 7, 8, 0x0800)
            for words in ((flags & 0xB000).bit_count(),)
        ]
        deep = inner
        for depth in range(6):
            deep = outer(deep, 4 if depth else protocol)
            packets.append(deep)
        for first in (0x00, 0x01, 0x3F, 0x40, 0x80, 0xC0):
            head = bytes((first, 0)) + kind.to_bytes(2, "big") + bytes(4 + 4 * (first & 0x3F))
            packets.append(outer(wire.udp(head + inner, 5, 6081), 17))
    frame = roce.roce(ROUTE4, 0x11, 7, 9, extended=wire.aeth(0, 5))
    for version in (0x10, 0x20, 0x30):
        for ethertype in (0x88BE, 0x22EB):
            header = bytes((version, 0, 0, 1)) + bytes(version // 4)
            packets.append(outer(wire.gre(header + frame, ethertype, sequence=1), 47))
    # ERSPAN III: with its platform subheader, with raw IP, with a frame type that is neither.
    for flags, inner in ((0x0001, bytes(8) + frame), (0x0800, PACKET4), (0x0400, frame)):
        header = bytes((0x20, 0, 0, 1)) + bytes(6) + flags.to_bytes(2, "big")
        packets.append(outer(wire.gre(header + inner, 0x22EB, sequence=1), 47))
    return packets


def pieces() -> list[bytes]:
    """Fragments, extension headers, other protocols on our port and ours on theirs."""
    fields = (0x2000, 0x2001, 0x0001, 0x4000, 0x8000)  # more, offset, do not fragment, reserved
    packets = [PACKET4[:6] + field.to_bytes(2, "big") + PACKET4[8:] for field in fields]
    datagram, ends = PACKET6[40:], (ROUTE6.src, ROUTE6.dst)
    for offset, more in ((0, True), (0, False), (3, True)):
        extension = wire.fragment_extension(offset, more=more, identification=1)
        packets.append(wire.ipv6(datagram, *ends, 17, extensions=(extension,)))
    for words in (1, 4, 5):  # AH counts in units of four bytes, less two
        header = bytes((17, words)) + bytes(4 * words + 6)
        packets.append(wire.ipv6(header + datagram, *ends, 51))
    packets.append(outer(bytes(40), 6))
    packets += [
        outer(wire.udp(body, 4791, port), 17)
        for port in (4790, 4791, 4789, 8472, 6081)
        for body in (b"\1" * 12, b"\0\0" + b"\2" * 60, b"\x08" + b"\3" * 80)
    ]
    cnp = roce.cnp(ROUTE4, 9)[14:]
    padded = wire.bth(CNP_OPCODE, 1, 2, pad=3)
    return [*packets, cnp, roce.roce_packet(ROUTE4, padded, tos=0, ip_id=0, ttl=1)]


def shortened(packet: bytes) -> list[bytes]:
    """An IPv4 packet whose length field says less than there is, down to nothing."""
    return [packet[:2] + n.to_bytes(2, "big") + packet[4:] for n in range(len(packet) + 2)]


def cuts(frame: bytes, kind: int) -> list[Frame]:
    """A frame cut by the snap length at every place."""
    return [(frame[:size], kind) for size in range(len(frame) + 1)]


def odd_frames() -> list[Frame]:
    """What the strategies draw rarely or never."""
    packets = [PACKET4, PACKET6, *by_opcode(), *tunnels(), *pieces()]
    made = [(packet, 101) for packet in packets]
    for packet in (PACKET4, *tunnels()[::3], outer(wire.udp(bytes(9), 7, 4789), 17)):
        if packet[0] >> 4 == 4:
            shorter = shortened(packet)[:90]
            made += [(short, 101) for short in shorter]
            made += [(short[: size - 1], 101) for size, short in enumerate(shorter) if size]
        made += cuts(packet[:90], 101)
    for following in (17, 6):
        datagram = bytes((following, 2)) + bytes(22) + PACKET6[40:]
        made += cuts(wire.ipv6(datagram, ROUTE6.src, ROUTE6.dst, 60), 101)
    made += cuts(wire.ipv6(bytes((17, 0)) + bytes(6), ROUTE6.src, ROUTE6.dst, 60), 101)
    for opcode in (0x0B, 0x65, 0xAB):  # with two or three extended headers
        made += cuts(roce.roce(ROUTE4, opcode, 7, 9, extended=bytes(range(24))), 1)
    for packet in (*by_opcode()[::3], *shortened(PACKET4)):
        made.append((wire.ethernet(packet, *MACS, 0x0800), 1))
    for ethertype, packet in ((0x0800, PACKET4), (0x0806, bytes(28)), (0x8915, PACKET6)):
        tagged = wire.ethernet(packet, *MACS, ethertype, [wire.tag(5, 3), wire.tag(6, 2)])
        made += cuts(tagged, 1) + cuts(wire.sll(packet, MACS[1], ethertype), 113)
        made += cuts(wire.sll2(packet, MACS[1], ethertype), 276)
    made += cuts(roce.roce(ROUTE6._replace(v1=True), 0x04, 7, 9, payload=b"abc"), 1)
    for opcode in (0x0001, 0x0101, 0x0102):
        control = wire.mac_control(MACS[0], opcode, b"\0\x08" + bytes(range(16)))
        made += cuts(control, 1)
        made.append((wire.sll(control[14:], MACS[1], 0x8808), 113))
        made.append((wire.sll2(control[14:], MACS[1], 0x8808), 276))
        made.append((outer(wire.vxlan(control, 1), 17), 101))
    return [*made, *((PACKET4, link_type) for link_type in LINK_TYPES)]


INTERESTING = (0, 1, 4, 5, 6, 8, 11, 12, 16, 17, 41, 43, 44, 45, 47, 51, 60, 0x45, 0x46, 0x60, 0x81,
               0x88, 0x89, 0x91, 0x0F, 0x15, 0xA8, 0xB7, 0xDD, 0xBE, 0xEB, 0x7F, 0x80, 0xFF)  # fmt: skip


def spoil(rng: random.Random, frame: Frame) -> Frame:
    """A frame with a few bytes changed, cut, stretched or moved, or of another link type."""
    data, link_type = bytearray(frame[0]), frame[1]
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        at = rng.randrange(len(data)) if data else 0
        choice = rng.randrange(6)
        if choice < 2:
            data[at : at + 1] = bytes((rng.choice(INTERESTING),))
        elif choice == 2:
            data[at : at + 1] = bytes((rng.randrange(256),))
        elif choice == 3:
            data[at : at + 1] = bytes((data[at] ^ 1 << rng.randrange(8) if data else 0,))
        elif choice == 4:
            data[at:at] = bytes(rng.choices(range(256), k=rng.choice((1, 2, 4, 8))))
        else:
            del data[at : at + rng.choice((1, 2, 4, 8, 14, 20))]
    if rng.random() < 0.4:
        del data[rng.randrange(len(data) + 1) :]
    if rng.random() < 0.05:
        link_type = rng.choice(LINK_TYPES)
    return bytes(data), link_type


def spoiled(seed: int, count: int, frames: Sequence[Frame]) -> list[Frame]:
    rng = random.Random(seed)
    return [spoil(rng, rng.choice(frames)) for _ in range(count)]


def indexed(frames: Sequence[Frame], filler: int) -> tuple[np.ndarray, Batch, np.ndarray]:
    """A window buffer, the batch as an index kernel leaves it, and the link types by interface.

    The first frame stands at the begin of the window; behind every frame stand bytes of ``filler``, which
    a decoder must not look at. Link type -1 stands for an interface that was never described.
    """
    kinds = sorted({kind for _, kind in frames if kind >= 0})
    batch = make_batch(max(len(frames), 1))
    window = bytearray()
    for row, (data, kind) in enumerate(frames):
        batch.ts[row] = 1_000 + row - 5 * (row % 7 == 3)
        batch.offset[row] = len(window)
        batch.captured[row] = len(data)
        batch.wire[row] = len(data) + 4
        batch.frame[row] = row + 1
        batch.iface[row] = kinds.index(kind) if kind >= 0 else UNDESCRIBED
        window += data + bytes([filler]) * 70
    return np.frombuffer(window, np.uint8), batch, np.array(kinds, np.int32)


def rows_of(batch: Batch, kept: int) -> list[dict[str, Any]]:
    """The decoded rows as the twin spells them, with offsets inside the frame."""
    rows = []
    columns = {name: column[:kept].tolist() for name, column in batch._asdict().items()}
    for row in range(kept):
        values = {name: column[row] for name, column in columns.items()}
        for name in OFFSETS:
            if values[name] >= 0:
                values[name] -= values["offset"]
        rows.append(values)
    return rows


@cache
def twin(data: bytes, kind: int) -> dict[str, Any]:
    """The twin's columns of a frame; -1 stands for an interface that was never described."""
    if kind < 0:
        return twin_decode.decode(b"", 147) | {"fault": Fault.NO_INTERFACE}
    return twin_decode.decode(data, kind)


def twin_rows(frames: Iterable[Frame]) -> list[tuple[int, dict[str, Any]]]:
    """What the twin keeps: frame number and columns; None columns are left out."""
    rows = []
    for number, (data, kind) in enumerate(frames, 1):
        row = twin(data, kind)
        if twin_decode.kept(row):
            rows.append((number, {k: v for k, v in row.items() if v is not None}))
    return rows


def difference(decode: Decode, frames: Sequence[Frame], filler: int = 0xA5) -> str:
    """Where decoder and twin differ first; empty where they do not."""
    window, batch, link_types = indexed(frames, filler)
    original = [column.copy() for column in batch[:6]]
    tally = make_tally(len(link_types))
    kept = decode(window, batch, len(frames), link_types, tally)
    expected = twin_rows(frames)
    if kept != len(expected):
        return f"{kept} rows instead of {len(expected)}"
    for found, (number, row) in zip(rows_of(batch, kept), expected, strict=True):
        for name, before in zip(FROM_INDEX, original, strict=True):
            if found[name] != before[number - 1]:
                return f"frame {number}: {name} was not moved"
        for name, value in row.items():
            if name != "fragment" and found[name] != value:
                data, kind = frames[number - 1]
                return f"{data.hex()} (link type {kind}): {name} {found[name]} instead of {value}"
    return tally_difference(tally, frames, original, len(link_types))


def tally_difference(
    tally: np.ndarray, frames: Sequence[Frame], index: list[np.ndarray], interfaces: int
) -> str:
    """Where the tally differs from a count over the twin's rows."""
    ts, _, _, wire_bytes, _, iface = (column.tolist() for column in index)
    expected = make_tally(interfaces)
    for row, (data, kind) in enumerate(frames):
        counts = expected[interfaces if iface[row] == UNDESCRIBED else iface[row]]
        columns = twin(data, kind)
        fault = columns["fault"]
        counts[Tally.PACKETS] += 1
        counts[Tally.WIRE_BYTES] += wire_bytes[row]
        counts[Tally.UNORDERED] += ts[row] < counts[Tally.PREVIOUS]
        counts[Tally.PREVIOUS] = ts[row]
        counts[Tally.FIRST] = min(counts[Tally.FIRST], ts[row])
        counts[Tally.LAST] = max(counts[Tally.LAST], ts[row])
        counts[Tally.FRAGMENTS] += columns["fragment"]
        if fault:
            counts[Tally.FAULTS + fault] += 1
        roce_row = columns["kind"] in (FrameKind.ROCE_V1, FrameKind.ROCE_V2)
        counts[Tally.ROCE] += roce_row
        counts[Tally.CE] += roce_row and columns["tos"] & 3 == 3
        counts[Tally.CNP] += roce_row and columns["opcode"] == CNP_OPCODE
        counts[Tally.PFC] += columns["kind"] == FrameKind.PFC
        counts[Tally.GLOBAL_PAUSE] += columns["kind"] == FrameKind.GLOBAL_PAUSE
        counts[Tally.KEPT] += columns["kind"] != FrameKind.OTHER or bool(fault)
    wrong = np.argwhere(tally != expected)
    return "" if not len(wrong) else f"tally (interface, column) {wrong[0].tolist()}"
