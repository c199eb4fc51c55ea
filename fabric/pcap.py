"""Capture files: writers for pcap and pcapng, for live capture, simulator and capture makers.

pcap is draft-ietf-opsawg-pcap, pcapng draft-ietf-opsawg-pcapng (option and block numbers below).
Both writers take a path or a binary file object, are context managers, and write times given as
int64 ns since the epoch. A file object stays open when the writer is closed. What the format cannot
hold (a time before the epoch, a fraction finer than the resolution) raises ValueError or is cut off
towards the past, as capture software does.
"""

import struct
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, NamedTuple, Self

from fabric.codes import LinkType

Order = Literal["<", ">"]  # little-endian, big-endian: as struct spells it

MAGIC_MICRO = 0xA1B2C3D4
MAGIC_NANO = 0xA1B23C4D
MAGIC_MODIFIED = 0xA1B2CD34  # an old Linux patch: 8 more bytes per record, microseconds
SNAPLEN = 262_144  # what tcpdump writes for "everything"
SECOND_NS = 1_000_000_000

SECTION_HEADER = 0x0A0D0D0A
INTERFACE = 1
OBSOLETE_PACKET = 2
SIMPLE_PACKET = 3
STATISTICS = 5
ENHANCED_PACKET = 6
CUSTOM = 0x0BAD
BYTE_ORDER_MAGIC = 0x1A2B3C4D

IF_NAME = 2
IF_SPEED = 8
IF_TSRESOL = 9
IF_TSOFFSET = 14
ISB_IFRECV = 4
ISB_IFDROP = 5
COMMENT = 1

Option = tuple[int, bytes]


class _Writer:
    """What both formats share: where the bytes go."""

    def __init__(self, target: str | Path | BinaryIO) -> None:
        self._owned = isinstance(target, (str, Path))
        self.file: BinaryIO
        if isinstance(target, (str, Path)):
            self.file = Path(target).open("wb")  # noqa: SIM115 the writer is the context manager
        else:
            self.file = target

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close a file that this writer opened; flush one that it was given."""
        if self._owned:
            self.file.close()
        else:
            self.file.flush()


class PcapWriter(_Writer):
    """A pcap file with one link type.

    ``nano``: nanosecond resolution and its magic number, else microseconds. ``modified``: the
    0xA1B2CD34 variant, whose record header is followed by interface index, protocol and packet type.
    """

    def __init__(
        self,
        target: str | Path | BinaryIO,
        link_type: int = LinkType.ETHERNET,
        *,
        nano: bool = True,
        order: Order = "<",
        modified: bool = False,
        snaplen: int = SNAPLEN,
    ) -> None:
        super().__init__(target)
        if modified:
            nano = False
        self.tick_ns = 1 if nano else 1000
        self.snaplen = snaplen
        self._record = struct.Struct(order + "4I")
        self._extra = struct.pack(order + "IHBx", 1, 0x0003, 0) if modified else b""
        magic = MAGIC_MODIFIED if modified else MAGIC_NANO if nano else MAGIC_MICRO
        self.file.write(struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link_type))

    def write(self, ts: int, frame: bytes, wire_bytes: int | None = None) -> None:
        """One frame at ``ts`` ns; ``wire_bytes`` where ``frame`` is only the captured part of it."""
        self.write_many(((ts, frame, len(frame) if wire_bytes is None else wire_bytes),))

    def write_many(self, frames: Iterable[tuple[int, bytes, int]]) -> None:
        """Many (ns, captured bytes, bytes on the wire), in one write; cut to the snap length."""
        parts = []
        pack, snaplen, tick, extra = self._record.pack, self.snaplen, self.tick_ns, self._extra
        for ts, frame, wire_bytes in frames:
            if not 0 <= ts < SECOND_NS << 32:
                raise ValueError(f"time {ts} ns does not fit a pcap record")
            seconds, fraction = divmod(ts, SECOND_NS)
            data = frame[:snaplen]
            parts.append(pack(seconds, fraction // tick, len(data), wire_bytes) + extra + data)
        self.file.write(b"".join(parts))


class Interface(NamedTuple):
    """How one pcapng interface counts time."""

    resolution: int  # if_tsresol: a power of ten, or with the top bit a power of two
    offset_s: int
    snaplen: int

    def ticks(self, ts: int) -> int:
        """A time in ns as a timestamp of this interface."""
        exponent = self.resolution & 0x7F
        units = 1 << exponent if self.resolution & 0x80 else 10**exponent
        ticks = (ts - self.offset_s * SECOND_NS) * units // SECOND_NS
        if not 0 <= ticks < 1 << 64:
            raise ValueError(f"time {ts} ns does not fit an interface with {self}")
        return ticks


class PcapngWriter(_Writer):
    """A pcapng file: call :meth:`section` first, then :meth:`interface`, then packets."""

    def __init__(self, target: str | Path | BinaryIO, *, order: Order = "<") -> None:
        super().__init__(target)
        self.order: Order = order
        self.interfaces: list[Interface] = []

    def section(self, *, order: Order | None = None, options: Iterable[Option] = ()) -> None:
        """Begin a section: interfaces are numbered from 0 again, the byte order may change."""
        self.order = order or self.order
        self.interfaces = []
        body = struct.pack(self.order + "IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
        self.block(SECTION_HEADER, body + self._options(options))

    def interface(
        self,
        link_type: int = LinkType.ETHERNET,
        *,
        name: str = "",
        resolution: int = 9,
        offset_s: int = 0,
        speed_bps: int = 0,
        snaplen: int = 0,
        options: Iterable[Option] = (),
    ) -> int:
        """Describe an interface and return its number; ``snaplen`` 0 means no limit.

        ``resolution`` is if_tsresol as it stands in the file: 6 microseconds, 9 nanoseconds,
        0x80 | n for 2^-n seconds. The default of the format (6) is not written.
        """
        wanted: list[Option] = list(options)
        if name:
            wanted.append((IF_NAME, name.encode()))
        if speed_bps:
            wanted.append((IF_SPEED, struct.pack(self.order + "Q", speed_bps)))
        if resolution != 6:
            wanted.append((IF_TSRESOL, bytes((resolution,))))
        if offset_s:
            wanted.append((IF_TSOFFSET, struct.pack(self.order + "q", offset_s)))
        body = struct.pack(self.order + "HHI", link_type, 0, snaplen)
        self.block(INTERFACE, body + self._options(wanted))
        self.interfaces.append(Interface(resolution, offset_s, snaplen))
        return len(self.interfaces) - 1

    def packet(
        self,
        ts: int,
        frame: bytes,
        wire_bytes: int | None = None,
        *,
        interface: int = 0,
        options: Iterable[Option] = (),
    ) -> None:
        """An enhanced packet block."""
        data, high, low, length = self._packet(ts, frame, wire_bytes, interface)
        head = struct.pack(self.order + "5I", interface, high, low, len(data), length)
        self.block(ENHANCED_PACKET, head + _padded(data) + self._options(options))

    def obsolete(
        self,
        ts: int,
        frame: bytes,
        wire_bytes: int | None = None,
        *,
        interface: int = 0,
        drops: int = 0xFFFF,
    ) -> None:
        """A packet block of the first version of the format; ``drops`` 0xFFFF means unknown."""
        data, high, low, length = self._packet(ts, frame, wire_bytes, interface)
        head = struct.pack(self.order + "HH4I", interface, drops, high, low, len(data), length)
        self.block(OBSOLETE_PACKET, head + _padded(data))

    def simple(self, frame: bytes, wire_bytes: int | None = None) -> None:
        """A simple packet block: interface 0, no time, captured length from its snap length."""
        length = len(frame) if wire_bytes is None else wire_bytes
        data = frame[: self.interfaces[0].snaplen or None]
        self.block(SIMPLE_PACKET, struct.pack(self.order + "I", length) + _padded(data))

    def write_many(self, frames: Iterable[tuple[int, bytes, int]], interface: int = 0) -> None:
        """Many (ns, captured bytes, bytes on the wire) of one interface, in one write."""
        parts = []
        how = self.interfaces[interface]
        pack, total = struct.Struct(self.order + "7I").pack, struct.Struct(self.order + "I").pack
        for ts, frame, wire_bytes in frames:
            data = frame[: how.snaplen or None]
            size = 32 + (len(data) + 3 & ~3)
            high, low = divmod(how.ticks(ts), 1 << 32)
            head = pack(ENHANCED_PACKET, size, interface, high, low, len(data), wire_bytes)
            parts.append(head + _padded(data) + total(size))
        self.file.write(b"".join(parts))

    def statistics(self, ts: int, *, received: int, dropped: int, interface: int = 0) -> None:
        """An interface statistics block with the packets received and dropped so far."""
        high, low = divmod(self.interfaces[interface].ticks(ts), 1 << 32)
        counts = (
            (ISB_IFRECV, struct.pack(self.order + "Q", received)),
            (ISB_IFDROP, struct.pack(self.order + "Q", dropped)),
        )
        head = struct.pack(self.order + "3I", interface, high, low)
        self.block(STATISTICS, head + self._options(counts))

    def custom(self, enterprise: int, data: bytes) -> None:
        """A custom block of a private enterprise number: readers skip it."""
        self.block(CUSTOM, struct.pack(self.order + "I", enterprise) + data)

    def block(self, kind: int, body: bytes) -> None:
        """Any block, known or not; ``body`` is padded to whole words."""
        body = _padded(body)
        size = struct.pack(self.order + "I", len(body) + 12)
        self.file.write(struct.pack(self.order + "I", kind) + size + body + size)

    def _packet(
        self, ts: int, frame: bytes, wire_bytes: int | None, interface: int
    ) -> tuple[bytes, int, int, int]:
        how = self.interfaces[interface]
        high, low = divmod(how.ticks(ts), 1 << 32)
        length = len(frame) if wire_bytes is None else wire_bytes
        return frame[: how.snaplen or None], high, low, length

    def _options(self, options: Iterable[Option]) -> bytes:
        parts = [
            struct.pack(self.order + "HH", code, len(value)) + _padded(value)
            for code, value in options
        ]
        return b"".join((*parts, bytes(4))) if parts else b""  # opt_endofopt closes a list


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
