"""The slow and obvious reader of pcap and pcapng files, written from the format drafts.

It believes a well-formed file: damage raises whatever it raises.
"""

import struct
from typing import NamedTuple

SECOND_NS = 1_000_000_000


class Record(NamedTuple):
    """One captured packet. ``interface`` is counted over all sections of the file."""

    ts: int | None  # ns; None for a simple packet block
    frame: bytes
    wire_bytes: int
    interface: int
    link_type: int


class Interface(NamedTuple):
    """What a pcapng interface description says."""

    link_type: int
    snaplen: int
    name: str
    units: int  # per second
    offset_s: int
    speed_bps: int


class Capture(NamedTuple):
    """A whole file."""

    records: list[Record]
    interfaces: list[Interface]
    dropped: dict[int, int]  # by interface, as the last statistics block says
    other_blocks: list[int]


def read(data: bytes) -> Capture:
    """Every packet of a capture file."""
    return pcapng(data) if data[:4] == b"\n\r\r\n" else pcap(data)


def pcap(data: bytes) -> Capture:
    magics = {
        0xA1B2C3D4: (1000, 16),
        0xA1B23C4D: (1, 16),
        0xA1B2CD34: (1000, 24),
    }
    order = "<" if struct.unpack("<I", data[:4])[0] in magics else ">"
    tick, header = magics[struct.unpack(order + "I", data[:4])[0]]
    link_type = struct.unpack(order + "I", data[20:24])[0] & 0x0FFFFFFF
    records, at = [], 24
    while at < len(data):
        seconds, fraction, captured, wire = struct.unpack(order + "4I", data[at : at + 16])
        frame = data[at + header : at + header + captured]
        ts = seconds * SECOND_NS + fraction * tick
        records.append(Record(ts, frame, wire, 0, link_type))
        at += header + captured
    return Capture(records, [], {}, [])


def pcapng(data: bytes) -> Capture:
    capture = Capture([], [], {}, [])
    at, order, first = 0, "<", 0
    while at < len(data):
        if data[at : at + 4] == b"\n\r\r\n":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            first = len(capture.interfaces)
        kind, size = struct.unpack(order + "II", data[at : at + 8])
        assert struct.unpack(order + "I", data[at + size - 4 : at + size])[0] == size
        block(capture, kind, data[at + 8 : at + size - 4], order, first)
        at += size
    return capture


def block(capture: Capture, kind: int, body: bytes, order: str, first: int) -> None:
    if kind == 1:
        link_type, _, snaplen = struct.unpack(order + "HHI", body[:8])
        found = options(body[8:], order)
        resolution = found.get(9, b"\x06")[0]
        units = 1 << (resolution & 0x7F) if resolution & 0x80 else 10**resolution
        offset = struct.unpack(order + "q", found.get(14, bytes(8)))[0]
        speed = struct.unpack(order + "Q", found.get(8, bytes(8)))[0]
        name = found.get(2, b"").decode()
        capture.interfaces.append(Interface(link_type, snaplen, name, units, offset, speed))
    elif kind == 6:
        number, high, low, captured, wire = struct.unpack(order + "5I", body[:20])
        packet(capture, first + number, high << 32 | low, body[20 : 20 + captured], wire)
    elif kind == 2:
        number, _, high, low, captured, wire = struct.unpack(order + "HH4I", body[:20])
        packet(capture, first + number, high << 32 | low, body[20 : 20 + captured], wire)
    elif kind == 3:
        wire = struct.unpack(order + "I", body[:4])[0]
        limit = capture.interfaces[first].snaplen or wire
        packet(capture, first, None, body[4 : 4 + min(limit, wire)], wire)
    elif kind == 5:
        number = first + struct.unpack(order + "I", body[:4])[0]
        found = options(body[12:], order)
        capture.dropped[number] = struct.unpack(order + "Q", found[5])[0]
    elif kind != 0x0A0D0D0A:
        capture.other_blocks.append(kind)


def packet(capture: Capture, number: int, ticks: int | None, frame: bytes, wire: int) -> None:
    interface = capture.interfaces[number]
    ts = None
    if ticks is not None:
        ts = ticks * SECOND_NS // interface.units + interface.offset_s * SECOND_NS
    capture.records.append(Record(ts, frame, wire, number, interface.link_type))


def options(body: bytes, order: str) -> dict[int, bytes]:
    found, at = {}, 0
    while at + 4 <= len(body):
        code, size = struct.unpack(order + "HH", body[at : at + 4])
        if code == 0:
            break
        found[code] = body[at + 4 : at + 4 + size]
        at += 4 + -(-size // 4) * 4
    return found
