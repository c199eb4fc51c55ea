"""What a pcapng file says about itself: sections, interfaces and statistics.

These blocks are few; they are read here, one by one, and become the table of clocks by which the
index kernel reads the packets. Unknown options are skipped, and an option that overruns its block
ends the options of that block.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from

import numpy as np
from numpy.typing import NDArray

from analyzers.capture import index
from analyzers.capture.formats import MAX_INTERFACES, SECTION_MAGIC
from fabric.pcap import (
    BYTE_ORDER_MAGIC,
    IF_NAME,
    IF_SPEED,
    IF_TSOFFSET,
    IF_TSRESOL,
    INTERFACE,
    ISB_IFDROP,
)

IF_DESCRIPTION = 3
ISB_OSDROP = 7
MICROSECONDS = 6  # if_tsresol where none is given
WRAP = (1 << 64) - 1
MOST = (1 << 63) - 1  # what a column can hold


@dataclass(slots=True)
class Interface:
    """An interface of a capture; a classic pcap file has one without a name."""

    link_type: int  # LINKTYPE number
    name: str = ""
    speed_bps: int = 0  # 0 unknown
    snaplen: int = 0  # bytes; 0 none
    resolution: int = MICROSECONDS  # if_tsresol
    offset_s: int = 0  # if_tsoffset
    dropped: int = -1  # packets lost by the capturing system; -1 unknown


def options(block: bytes, at: int, big: bool) -> Iterator[tuple[int, bytes]]:
    """The options of a block from ``at`` on: code and value."""
    layout = ">HH" if big else "<HH"
    end = len(block) - 4
    while at + 4 <= end:
        code, length = unpack_from(layout, block, at)
        if code == 0 or at + 4 + length > end:
            return
        yield code, block[at + 4 : at + 4 + length]
        at += 4 + (length + 3 & ~3)


def interface(block: bytes, big: bool) -> Interface:
    """Read an interface description block."""
    order = ">" if big else "<"
    link_type, snaplen = unpack_from(order + "H2xI", block, 8)
    found = Interface(link_type, snaplen=snaplen)
    description = ""
    for code, value in options(block, 16, big):
        if code == IF_NAME:
            found.name = _text(value)
        elif code == IF_DESCRIPTION:
            description = _text(value)
        elif code == IF_SPEED and len(value) == 8:
            found.speed_bps = min(unpack_from(order + "Q", value)[0], MOST)
        elif code == IF_TSRESOL and len(value) == 1:
            found.resolution = value[0]
        elif code == IF_TSOFFSET and len(value) == 8:
            found.offset_s = unpack_from(order + "q", value)[0]
    found.name = found.name or description
    return found


def dropped(block: bytes, big: bool) -> tuple[int, int]:
    """Interface number and drops of a statistics block; -1 where it says nothing about drops.

    What the interface dropped and what the operating system dropped are different packets.
    """
    order = ">" if big else "<"
    drops = [
        unpack_from(order + "Q", value)[0]
        for code, value in options(block, 20, big)
        if code in (ISB_IFDROP, ISB_OSDROP) and len(value) == 8
    ]
    return unpack_from(order + "I", block, 8)[0], min(sum(drops), MOST) if drops else -1


def clock(found: Interface, row: int) -> list[int]:
    """The row of an interface in the table of clocks (columns of :mod:`analyzers.capture.index`)."""
    multiply, divide, shift = 0, 1, index.DECIMAL
    exponent = found.resolution & 0x7F
    if found.resolution & 0x80:
        shift = exponent
    elif exponent <= 9:
        multiply = 10 ** (9 - exponent)
    elif exponent <= 28:
        divide = 10 ** (exponent - 9)
    # Beyond 10^-28 s a 64-bit count of ticks is less than a nanosecond: multiply by 0.
    offset = found.offset_s * index.NS & WRAP
    return [row, found.snaplen, multiply, divide, shift, offset, 0]


class Sections:
    """The interfaces of a tap and the clocks of the section that is being read."""

    def __init__(self) -> None:
        self.interfaces: list[Interface] = []
        self.clocks = np.zeros((4, index.CLOCK_SIZE), np.uint64)
        self.described = 0  # interfaces of this section
        self.big = False
        self._resumable: list[int] = []  # rows of the file before that this one may go on with

    def begin_file(self) -> None:
        """Another file of a rotated set: its interfaces are those of the file before."""
        self._resumable = list(range(len(self.interfaces)))

    def read(self, window: NDArray[np.uint8], at: int) -> tuple[int, str]:
        """Take the complete section, interface or statistics block at ``at``.

        Returns its length, and a reason where it cannot be accepted.
        """
        head = window[at : at + 12].tobytes()
        section = head[:4] == SECTION_MAGIC
        if section:
            self.big = unpack_from(">I", head, 8)[0] == BYTE_ORDER_MAGIC
        kind, length = unpack_from(">II" if self.big else "<II", head)
        block = window[at : at + length].tobytes()
        if section:
            return length, self._section(block)
        if kind == INTERFACE:
            return length, self._interface(interface(block, self.big))
        number, drops = dropped(block, self.big)
        if number < self.described:
            found = self.interfaces[int(self.clocks[number, index.ROW])]
            found.dropped = max(found.dropped, drops)  # they count from the start of the capture
        return length, ""

    def end_section(self) -> None:
        """Add the drops that obsolete packet blocks of the section reported one by one."""
        for clocks in self.clocks[: self.described]:
            if clocks[index.LOST]:
                found = self.interfaces[int(clocks[index.ROW])]
                found.dropped = max(found.dropped, 0) + int(clocks[index.LOST])
        self.described = 0

    def _section(self, block: bytes) -> str:
        self.end_section()
        major, minor = unpack_from(">HH" if self.big else "<HH", block, 12)
        return "" if major == 1 else f"a section of pcapng version {major}.{minor}"

    def _interface(self, found: Interface) -> str:
        if len(self.interfaces) == MAX_INTERFACES:
            return f"more than {MAX_INTERFACES} interfaces"
        row = self.describe(found)
        if self.described == len(self.clocks):
            self.clocks = np.concatenate([self.clocks, np.zeros_like(self.clocks)])
        self.clocks[self.described] = clock(found, row)
        self.described += 1
        return ""

    def describe(self, found: Interface) -> int:
        """The row of an interface: that of its namesake in the file before, or a new one."""
        for row in self._resumable:
            known = self.interfaces[row]
            if (known.link_type, known.name) == (found.link_type, found.name):
                self._resumable.remove(row)
                return row
        self.interfaces.append(found)
        return len(self.interfaces) - 1


def _text(value: bytes) -> str:
    """An option's UTF-8 text, without trailing zeros or characters that would break a line."""
    text = value.decode("utf-8", "replace").rstrip("\0")
    return "".join(letter if letter.isprintable() else "?" for letter in text)
