r"""The raw segment file: what was received, record after record, and how to read it back.

All numbers are little-endian. A file starts with ``FABSEG\0\1``, a CRC-32 and the length of the rest
of its head: the segment's number (8 bytes) and the recorder's name. Then come records::

    offset size
    0      4     marker F5 'R' 'E' 'C', from which reading goes on behind damage
    4      4     CRC-32 (zlib) of everything from offset 8 to the record's end
    8      4     length of the payload
    12     8     ts: the device's clock in ns, 0 unknown
    20     8     seen: our clock in ns
    28     1     method (collectors.records)
    29     1     length of the peer's name
    30     ...   peer (UTF-8), payload

A segment being written is called ``NAME-NUMBER.part`` and ``NAME-NUMBER.seg`` once it is closed. The
last record of a file may be torn: the process died while it wrote, and nobody was told it was safe.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from collectors.records import MAX_PAYLOAD

MAGIC: Final = b"FABSEG\0\1"
MARKER: Final = b"\xf5REC"
START = struct.Struct("<8sIH")  # magic, CRC-32, length of the rest of the head
HEAD = struct.Struct("<4sIIqqBB")  # marker, CRC-32, payload length, ts, seen, method, peer length
CHECKED = 8  # the CRC covers a record from here
NAME = re.compile(r"(?P<recorder>.+)-(?P<number>\d{10})\.(?P<state>seg|part)")


class Record(NamedTuple):
    """One record: where it starts in the file, its clocks, who sent it, in which form, what."""

    offset: int
    ts: int
    seen: int
    method: int
    peer: str
    payload: bytes


class Damage(NamedTuple):
    """What could not be read: from which offset, how many bytes, and why."""

    path: Path
    offset: int
    length: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: at byte {self.offset}: {self.reason} ({self.length} bytes)"


class SegmentName(NamedTuple):
    """Of which recorder a segment is, its number, and whether it is closed."""

    recorder: str
    number: int
    closed: bool


def file_head(recorder: str, number: int) -> bytes:
    """The first bytes of a segment."""
    rest = struct.pack("<Q", number) + recorder.encode()
    return START.pack(MAGIC, zlib.crc32(rest), len(rest)) + rest


def pack(peer: str, method: int, payload: bytes, ts: int, seen: int) -> bytes:
    """The bytes of one record; a peer's name longer than 255 bytes is cut.

    ValueError for a payload above MAX_PAYLOAD and a clock beyond 64 bits.
    """
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"{peer}: a payload of {len(payload)} bytes; at most {MAX_PAYLOAD}")
    name = peer.encode(errors="replace")[:255]
    try:
        head = HEAD.pack(MARKER, 0, len(payload), ts, seen, method, len(name))
    except struct.error as error:
        raise ValueError(f"{peer}: ts {ts}, seen {seen}, method {method}: {error}") from error
    checked = head[CHECKED:] + name
    crc = zlib.crc32(payload, zlib.crc32(checked))
    return b"".join((MARKER, crc.to_bytes(4, "little"), checked, payload))


def parse_name(path: Path) -> SegmentName | None:
    """What a file's name says; None for a file that is no segment."""
    found = NAME.fullmatch(path.name)
    if not found:
        return None
    return SegmentName(found["recorder"], int(found["number"]), found["state"] == "seg")


def segments(folder: Path, *, closed: bool = False) -> list[Path]:
    """Segments of a folder, by recorder and number; ``closed``: without those being written."""
    found = []
    for path in folder.iterdir():
        name = parse_name(path)
        if name and (name.closed or not closed):
            found.append((name, path))
    return [path for _, path in sorted(found)]


class SegmentReader:
    """Records of one segment, in order, with what could not be read in ``damage``.

    Iterating again goes on at ``offset``, the end of the last whole record: a file that still grows is
    tailed that way. A torn end is damage of a closed file and none of one being written. OSError where
    the file cannot be read, ValueError where it is no segment.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.damage: list[Damage] = []
        with path.open("rb") as file:
            start = file.read(START.size)
            magic, crc, length = START.unpack(start.ljust(START.size, b"\0"))
            rest = file.read(length)
        self.growing = path.suffix == ".part"
        if magic != MAGIC and not (self.growing and MAGIC.startswith(start[: len(MAGIC)])):
            raise ValueError(f"{path}: no segment: it starts with {start[:8]!r}")
        self.recorder, self.number = "", -1
        self.offset = offset
        if magic == MAGIC and zlib.crc32(rest) == crc and len(rest) >= 8:
            self.number = int.from_bytes(rest[:8], "little")
            self.recorder = rest[8:].decode(errors="replace")
            self.offset = max(offset, START.size + length)
        elif not self.growing:
            raise ValueError(f"{path}: the head of the segment is damaged (CRC-32)")

    def __iter__(self) -> Iterator[Record]:
        data = self.read()
        yield from self.walk(data, self.offset)

    def read(self) -> bytes:
        """The bytes from ``offset`` to the end as it is now; none while the head is being written."""
        if self.number < 0:
            return b""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read()

    def walk(self, data: bytes, base: int) -> Iterator[Record]:
        """Records of ``data``, which starts at byte ``base`` of the file."""
        for at, size in self.places(data, base):
            _, _, length, ts, seen, method, named = HEAD.unpack_from(data, at)
            begin = at + HEAD.size + named
            peer = data[at + HEAD.size : begin].decode(errors="replace")
            self.offset = base + at + size
            yield Record(base + at, ts, seen, method, peer, data[begin : begin + length])

    def places(self, data: bytes, base: int) -> Iterator[tuple[int, int]]:
        """Where in ``data`` whole records lie, and their sizes; the rest goes to ``damage``."""
        at, view = 0, memoryview(data)
        while at < len(data):
            size, reason = self._check(view, at)
            if size:
                yield at, size
                at += size
                continue
            again = self._resume(data, at + 1)
            if again < 0:
                if not self.growing:
                    self.damage.append(Damage(self.path, base + at, len(data) - at, reason))
                return
            self.damage.append(Damage(self.path, base + at, again - at, reason))
            at = again

    @staticmethod
    def _check(view: memoryview, at: int) -> tuple[int, str]:
        """Size of the record at ``at``; 0 and the reason where there is none."""
        if len(view) - at < HEAD.size:
            return 0, "torn: the file ends inside the head of a record"
        marker, crc, length, _, _, _, named = HEAD.unpack_from(view, at)
        if marker != MARKER:
            return 0, "no record starts here"
        size = HEAD.size + named + length
        if length > MAX_PAYLOAD:
            return 0, f"a record of {length} bytes"
        if at + size > len(view):
            return 0, "torn: the file ends inside a record"
        if zlib.crc32(view[at + CHECKED : at + size]) != crc:
            return 0, "CRC-32 does not match"
        return size, ""

    def _resume(self, data: bytes, at: int) -> int:
        """Where the next whole record starts; -1 if none does."""
        view = memoryview(data)
        while (at := data.find(MARKER, at)) >= 0:
            if self._check(view, at)[0]:
                return at
            at += 1
        return -1


def read_segment(path: Path, offset: int = 0) -> SegmentReader:
    """Records of the segment at ``path`` from byte ``offset`` on; see :class:`SegmentReader`."""
    return SegmentReader(path, offset)
