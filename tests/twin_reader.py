"""The slow and obvious reader of capture files: what the compiled one must say, packet by packet.

``read(data)`` takes the decompressed bytes of a whole file. Written from the drafts of pcap and
pcapng with :mod:`struct` and integers of any size; it calls no kernel and imports nothing of the
reader. Times are those of the record, in ns since the epoch, as a signed 64-bit number.
"""

import struct
from fractions import Fraction
from typing import NamedTuple

NO_INTERFACE = 0xFFFF
LONGEST = 16 * 1024 * 1024


class Packet(NamedTuple):
    ts: int
    data: bytes
    wire: int
    iface: int


class Interface:
    def __init__(self, link_type: int, snaplen: int) -> None:
        self.link_type = link_type
        self.snaplen = snaplen
        self.name = ""
        self.speed_bps = 0
        self.tick = Fraction(1, 10**6)  # seconds
        self.offset_s = 0
        self.reported: int | None = None  # drops by statistics blocks, the greatest
        self.added = 0  # drops by obsolete packet blocks

    @property
    def dropped(self) -> int:
        if self.reported is None and not self.added:
            return -1
        return (self.reported or 0) + self.added


class Capture(NamedTuple):
    packets: list[Packet]
    interfaces: list[Interface]
    damaged_at: int | None  # offset of the record at which reading ends early


class DamageError(Exception):
    pass


def read(data: bytes) -> Capture:
    if data[:4] == b"\n\r\r\n":
        return read_pcapng(data)
    return read_pcap(data)


def signed(number: int) -> int:
    number %= 2**64
    return number - 2**64 if number >= 2**63 else number


def printable(value: bytes) -> str:
    text = value.decode("utf-8", "replace").rstrip("\0")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def read_pcap(data: bytes) -> Capture:
    for order in "<>":
        magic = struct.unpack(order + "I", data[:4])[0]
        if magic in (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34):
            break
    else:
        raise ValueError("no pcap")
    snaplen, link_type = struct.unpack(order + "II", data[16:24])
    header = 24 if magic == 0xA1B2CD34 else 16
    unit = 1 if magic == 0xA1B23C4D else 1000
    limit = LONGEST if snaplen == 0 else min(max(snaplen, 262144), LONGEST)
    capture = Capture([], [Interface(link_type & 0x03FFFFFF, snaplen)], None)
    at = 24
    while at < len(data):
        head = data[at : at + header]
        if len(head) < header:
            return capture._replace(damaged_at=at)
        seconds, fraction, captured, wire = struct.unpack(order + "IIII", head[:16])
        if captured > limit or at + header + captured > len(data) or not any(head[:16]):
            return capture._replace(damaged_at=at)
        frame = data[at + header : at + header + captured]
        capture.packets.append(Packet(signed(seconds * 10**9 + fraction * unit), frame, wire, 0))
        at += header + captured
    return capture


def read_pcapng(data: bytes) -> Capture:
    reader = Pcapng()
    at = 0
    try:
        while at < len(data):
            at += reader.block(data[at:])
    except DamageError:
        return Capture(reader.packets, reader.interfaces, at)
    return Capture(reader.packets, reader.interfaces, None)


SHORTEST = {0x0A0D0D0A: 28, 1: 20, 2: 32, 3: 16, 5: 24, 6: 32}


class Pcapng:
    def __init__(self) -> None:
        self.order = "<"
        self.interfaces: list[Interface] = []
        self.section: list[int] = []  # interface numbers of this section
        self.packets: list[Packet] = []
        self.previous = 0

    def unpack(self, layout: str, data: bytes) -> tuple:
        size = struct.calcsize(self.order + layout)
        return struct.unpack(self.order + layout, data[:size])

    def block(self, data: bytes) -> int:
        if len(data) < 12:
            raise DamageError
        old = self.order
        if data[:4] == b"\n\r\r\n":
            magic = data[8:12]
            if magic not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
                raise DamageError
            self.order = ">" if magic == b"\x1a\x2b\x3c\x4d" else "<"
        kind, length = self.unpack("II", data)
        sound = SHORTEST.get(kind, 12) <= length <= LONGEST and length % 4 == 0
        if not sound or length > len(data) or self.unpack("I", data[length - 4 :])[0] != length:
            self.order = old
            raise DamageError
        body = data[8 : length - 4]
        if kind == 0x0A0D0D0A:
            if self.unpack("4xH", body)[0] != 1:
                raise DamageError
            self.section = []
        elif kind == 1:
            self.describe(body)
        elif kind == 5:
            self.statistics(body)
        elif kind == 3:
            self.simple(body)
        elif kind == 6:
            number, high, low, captured, wire = self.unpack("IIIII", body)
            self.packet(number, high << 32 | low, body[20:], captured, wire)
        elif kind == 2:
            number, drops, high, low, captured, wire = self.unpack("HHIIII", body)
            self.packet(number, high << 32 | low, body[20:], captured, wire)
            if drops != 0xFFFF and number < len(self.section):
                self.interfaces[self.section[number]].added += drops
        return length

    def options(self, data: bytes) -> list[tuple[int, bytes]]:
        found = []
        while len(data) >= 4:
            code, length = self.unpack("HH", data)
            if code == 0 or 4 + length > len(data):
                break
            found.append((code, data[4 : 4 + length]))
            data = data[4 + (length + 3) // 4 * 4 :]
        return found

    def describe(self, body: bytes) -> None:
        known = Interface(*self.unpack("H2xI", body))
        description = ""
        for code, value in self.options(body[8:]):
            if code == 2:
                known.name = printable(value)
            elif code == 3:
                description = printable(value)
            elif code == 8 and len(value) == 8:
                known.speed_bps = min(self.unpack("Q", value)[0], 2**63 - 1)
            elif code == 9 and len(value) == 1:
                base = 2 if value[0] >= 128 else 10
                known.tick = Fraction(1, base ** (value[0] % 128))
            elif code == 14 and len(value) == 8:
                known.offset_s = self.unpack("q", value)[0]
        known.name = known.name or description
        self.section.append(len(self.interfaces))
        self.interfaces.append(known)

    def statistics(self, body: bytes) -> None:
        number = self.unpack("I", body)[0]
        drops = [
            self.unpack("Q", value)[0]
            for code, value in self.options(body[12:])
            if code in (5, 7) and len(value) == 8
        ]
        if drops and number < len(self.section):
            known = self.interfaces[self.section[number]]
            known.reported = max(known.reported or 0, min(sum(drops), 2**63 - 1))

    def simple(self, body: bytes) -> None:
        wire = self.unpack("I", body)[0]
        captured, iface = min(wire, len(body) - 4), NO_INTERFACE
        if self.section:
            iface = self.section[0]
            snaplen = self.interfaces[iface].snaplen
            captured = min(captured, snaplen) if snaplen else captured
        self.packets.append(Packet(self.previous, body[4 : 4 + captured], wire, iface))

    def packet(self, number: int, ticks: int, data: bytes, captured: int, wire: int) -> None:
        if captured > len(data):
            raise DamageError
        iface = NO_INTERFACE
        if number < len(self.section):
            iface = self.section[number]
            known = self.interfaces[iface]
            self.previous = signed(ticks * known.tick * 10**9 // 1 + known.offset_s * 10**9)
        self.packets.append(Packet(self.previous, data[:captured], wire, iface))
