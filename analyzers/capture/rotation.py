"""Which files are one capture that was cut into pieces while it was written.

tcpdump and dumpcap start a new file by size or by time. Their pieces lie in one folder, differ in
a running number or a time in the name, have the same link types, and follow one another in time.
All of that is checked; files that merely have numbers in their names (``node0.pcap``,
``node1.pcap``) are taps of their own, and so are pieces that overlap, which two captures at the same
time have written.

Names that are recognised, compressed or not:

- dumpcap and editcap: ``x_00001_20240131120000.pcapng``, or the time first;
- tcpdump -C: ``x.pcap``, ``x.pcap1``, ``x.pcap2``... (with -W ``x.pcap00``, ``x.pcap01``...);
- tcpdump -G: a date and a time anywhere in the name, or the seconds since 1970;
- a running number of four or more digits at the end: ``x-0001.pcap``.
"""

import re
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePath
from struct import pack, unpack_from
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.capture import formats
from analyzers.capture.batch import make_batch
from analyzers.capture.reader import Reader
from analyzers.capture.streams import STDIN, open_memory, path_bytes
from fabric import pcap

COMPRESSED = re.compile(r"\.(gz|zst|xz|bz2)$", re.IGNORECASE)
EXTENSION = r"(?:\.(?:pcapng|pcap|cap|dmp|dump))"
# tcpdump -C puts its number behind the extension.
BEHIND = re.compile(rf"({EXTENSION})\d+$", re.IGNORECASE)
RUNNING = (
    re.compile(rf"_\d{{5,}}_\d{{14}}(?={EXTENSION}?$)", re.IGNORECASE),
    re.compile(rf"_\d{{14}}_\d{{5,}}(?={EXTENSION}?$)", re.IGNORECASE),
    # a date, a time of hours and minutes at least, anything but digits around them
    re.compile(
        r"(?<!\d)(?:19|20)\d\d-?\d\d-?\d\d[-_T. ]?\d\d[-_:.h]?\d\d(?:[-_:.m]?\d\d)?s?(?!\d)"
    ),
    re.compile(rf"(?<!\d)1\d{{9}}(?={EXTENSION}?$)", re.IGNORECASE),
    re.compile(rf"[-_.]\d{{4,}}(?={EXTENSION}?$)", re.IGNORECASE),
)
MARK = "*"  # stands for what differs between the names of a set

OVERLAP_NS = 1_000_000  # packets of two receive queues may change places where a file ends
WHOLE_BYTES = 64 << 20  # larger files are not read to their end only to know their last packet
TAIL_BYTES = 512 << 10
FARTHEST_S = 10 * 365 * 86_400  # no set is longer: a time farther on is not a time


class Span(NamedTuple):
    """When the packets of a file were captured; ``first`` is None where it has none."""

    link_types: tuple[int, ...]
    first: int | None
    last: int | None  # None also where the file is too large to look, and compressed


def pattern(name: str) -> str:
    """The file name with what a rotation counts replaced by a mark; unchanged where it has none."""
    name = BEHIND.sub(r"\1", COMPRESSED.sub("", name))
    for running in RUNNING:
        name, count = running.subn(MARK, name, count=1)
        if count:
            break
    return name


def stem(name: str) -> str:
    """What the names of a rotated set have in common, without extension; may be empty."""
    name = re.sub(rf"{EXTENSION}$", "", pattern(name), flags=re.IGNORECASE)
    return "-".join(part.strip("-_.") for part in name.split(MARK) if part.strip("-_."))


def sets(paths: Sequence[str]) -> list[tuple[str, ...]]:
    """Put the files of rotated sets together, each set in the order of time, the rest alone."""
    groups: dict[tuple[str, str], list[str]] = {}
    for path in paths:
        pure = PurePath(path)
        key = (str(pure.parent), pattern(pure.name)) if path != STDIN else (path, path)
        groups.setdefault(key, []).append(path)
    found: list[tuple[str, ...]] = []
    for group in groups.values():
        try:
            found.append(one_tap(group))
        except (OSError, ValueError):
            found.extend((path,) for path in group)
    return found


def one_tap(paths: Sequence[str]) -> tuple[str, ...]:
    """The files in the order of time; ValueError where they cannot be one capture in pieces."""
    if len(paths) == 1:
        return tuple(paths)
    for path in paths:
        if path == STDIN or not Path(path).is_file():
            raise ValueError(f"{path} is a pipe and cannot be one of several files of a point")
    spans = {path: span(path) for path in paths}
    if len({found.link_types for found in spans.values() if found.link_types}) > 1:
        raise ValueError("its files have different link types")
    full = sorted(
        (path for path in paths if spans[path].first is not None),
        key=lambda path: (spans[path].first, path),
    )
    for before, after in pairwise(full):
        last, first = spans[before].last, spans[after].first
        if last is not None and first is not None and first < last - OVERLAP_NS:
            raise ValueError(f"{before} and {after} overlap in time: they are not one capture")
    return (*full, *sorted(set(paths) - set(full)))


def span(path: str, whole_bytes: int = WHOLE_BYTES) -> Span:
    """First and last time of a file; of one larger than ``whole_bytes`` only the ends are read."""
    size = path_bytes(path)
    batch = make_batch(1024)
    reader = Reader([path], window_bytes=64 << 10)
    first: int | None = None
    last: int | None = None
    for rows in reader.windows(batch):
        times = batch.ts[:rows]
        first = int(times.min()) if first is None else min(first, int(times.min()))
        last = int(times.max()) if last is None else max(last, int(times.max()))
        if size > whole_bytes:
            last = _last(path, size, first)
            break
    return Span(tuple(map(int, reader.link_types)), first, last)


def _last(path: str, size: int, first: int) -> int | None:
    """Time of the last packet of a large plain file, from its tail; None where it is not found.

    The tail is cut out of the middle of a record. Where a record header seems to begin, the rest is
    read as if it followed the head of the file; only a chain of records to the very end counts.
    """
    with Path(path).open("rb") as file:
        head = file.read(formats.HEAD_BYTES)
        file.seek(max(size // 4 * 4 - TAIL_BYTES, 0))  # pcapng blocks begin at multiples of four
        tail = np.frombuffer(file.read(), np.uint8)
    kind = formats.identify(head).kind
    if kind == "pcap":
        head, begins = head[: formats.PCAP_HEADER_BYTES], _pcap_begins(head, tail, first)
    elif kind == "pcapng":
        head, begins = _descriptions(head), _pcapng_begins(head, tail)
    else:
        return None  # compressed
    batch = make_batch(1024)
    for begin in begins[:64]:
        rest = partial(open_memory, head + tail[begin:].tobytes())
        reader = Reader([path], opener=rest)
        times = [int(batch.ts[:rows].max()) for rows in reader.windows(batch)]
        if times and not reader.damage and not reader.untimed:
            return max(times)
    return None


def _words(data: NDArray[np.uint8], big: bool) -> NDArray[np.int64]:
    """The 32-bit number at every offset of ``data``, shape (len - 3,)."""
    parts = [data[i : len(data) - 3 + i].astype(np.int64) for i in range(4)]
    order = parts if big else parts[::-1]
    return order[0] << 24 | order[1] << 16 | order[2] << 8 | order[3]


def _pcap_begins(head: bytes, tail: NDArray[np.uint8], first: int) -> list[int]:
    """Offsets of the tail where a packet record may begin."""
    big, scale, header = formats.PCAP_MAGICS[head[:4]]
    words = _words(tail, big)
    count = len(words) - header
    seconds, fraction, captured, wire = (words[i : count + i] for i in (0, 4, 8, 12))
    elapsed = seconds - first // 1_000_000_000
    sound = (fraction * scale < 1_000_000_000) & (captured <= formats.MAX_PACKET_BYTES)
    sound &= (captured > 0) & (captured <= wire) & (elapsed >= 0) & (elapsed < FARTHEST_S)
    return [int(offset) for offset in np.flatnonzero(sound)]


def _descriptions(head: bytes) -> bytes:
    """The first blocks of a pcapng file, up to the first packet."""
    big = head[8:12] == pack(">I", pcap.BYTE_ORDER_MAGIC)
    packets = (pcap.ENHANCED_PACKET, pcap.SIMPLE_PACKET, pcap.OBSOLETE_PACKET)
    at = 0
    while at + 12 <= len(head):
        kind, length = unpack_from(">II" if big else "<II", head, at)
        if kind in packets or length < 12:
            break
        at += length
    return head[:at]


def _pcapng_begins(head: bytes, tail: NDArray[np.uint8]) -> list[int]:
    """Offsets of the tail where an enhanced packet block begins and, as told, ends."""
    words = _words(tail, head[8:12] == pack(">I", pcap.BYTE_ORDER_MAGIC))[::4]
    begins = np.flatnonzero(words[:-1] == pcap.ENHANCED_PACKET)
    lengths = words[begins + 1]
    ends = begins + lengths // 4 - 1
    inside = (lengths >= 32) & (lengths % 4 == 0) & (ends < len(words))
    begins, lengths, ends = begins[inside], lengths[inside], ends[inside]
    return [int(begin) * 4 for begin in begins[words[ends] == lengths]]
