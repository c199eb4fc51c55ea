"""One tap, window by window: from the bytes of its files to indexed batches.

A window is a stretch of the file in a buffer that is used again and again. The index kernel walks the
records in it; what is left of a record at the end moves to the front and the file is read on. So
memory does not grow with the file, and a pipe without an end works too. The buffer grows only
where a single record is larger than it, up to the longest record that is believed (16 MiB).

A capture that is damaged (cut in the middle, an absurd length, damaged compression) is read up to
the damage; ``Reader.damage`` names file, place and reason. Finding the next sound record behind
it is not attempted: in a pcap nothing marks one, and a wrong guess would invent packets.

    reader = Reader(["tap.pcapng"])
    for rows in reader.windows(batch):
        decode(reader.window, batch, rows, reader.link_types, ...)
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analyzers.capture import formats, index
from analyzers.capture.batch import Batch
from analyzers.capture.index import Stop
from analyzers.capture.pcapng import Interface, Sections
from analyzers.capture.streams import Opener, Stream, open_stream, path_bytes, shown

WINDOW_BYTES: Final = 1 << 20  # larger ones leave the caches, smaller ones cost calls of kernels
SLACK_BYTES: Final = 64  # behind the window, so that a wide load at its end stays inside the buffer

REASONS: Final = {
    Stop.TOO_LONG: "a length of {length} bytes, more than a record can have",
    Stop.TOO_SHORT: "a block of {length} bytes, too short for its type",
    Stop.UNALIGNED: "a block of {length} bytes, not a multiple of four",
    Stop.MISMATCH: "a block whose length at its end differs from the {length} bytes at its start",
    Stop.OVERRUN: "a packet that is longer than its block of {length} bytes",
    Stop.NO_MAGIC: "a section header without a byte-order magic",
    Stop.BLANK: "zeros where a packet should begin",
}

Progress = Callable[[int, int], None]
Columns = tuple[NDArray[Any], ...]  # of a batch, as the index kernels take them
Walk = Callable[[int, Columns], tuple[int, int, int]]


class Reader:
    """The packets of one tap: of one file, or of the files of a rotated set in their order.

    Parameters
    ----------
    paths
        Files to read one after the other, ``-`` for standard input. Frames are numbered through.
    window_bytes
        Size of the window buffer.
    progress
        Called now and then with the bytes read so far, as they lie on the disk, and their total
        (0 where it is unknown).
    opener
        How a path becomes a stream of bytes.

    Raises ValueError or OSError, with the path, where the first file cannot be read at all.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        window_bytes: int = WINDOW_BYTES,
        progress: Progress | None = None,
        opener: Opener = open_stream,
    ) -> None:
        self.paths = tuple(paths)
        self.window: NDArray[np.uint8] = np.zeros(window_bytes + SLACK_BYTES, np.uint8)
        self.starts: list[tuple[str, int]] = []  # each file, and the number of its first frame
        self.damages: list[str] = []  # one line each
        self._progress = progress
        self._opener = opener
        self._sections = Sections()
        self._state = np.zeros(index.STATE_SIZE, np.int64)
        self._link_types = np.zeros(0, np.int32)
        self._begin = self._end = 0  # what of the window is not yet indexed
        self._base = 0  # place of the window in the (decompressed) file
        self._done_bytes = 0  # of the files before
        sizes = [path_bytes(path) for path in self.paths] if progress else []
        self._total_bytes = sum(sizes) if all(sizes) else 0

    @property
    def interfaces(self) -> list[Interface]:
        """The interfaces described so far; ``batch.iface`` counts them."""
        return self._sections.interfaces

    @property
    def link_types(self) -> NDArray[np.int32]:
        """LINKTYPE number of each interface described so far."""
        if len(self._link_types) != len(self.interfaces):
            self._link_types = np.array([i.link_type for i in self.interfaces], np.int32)
        return self._link_types

    @property
    def path(self) -> str:
        """The file that is being read."""
        return self.starts[-1][0] if self.starts else self.paths[0]

    @property
    def packets(self) -> int:
        """Packets indexed so far."""
        return int(self._state[index.FRAME])

    @property
    def untimed(self) -> int:
        """Packets that carry no usable time and were given that of the packet before."""
        return int(self._state[index.UNTIMED])

    @property
    def damage(self) -> str:
        """Where and why reading ended early; empty where it did not."""
        return "; ".join(self.damages)

    def windows(self, batch: Batch) -> Iterator[int]:
        """Fill ``batch`` again and again: the rows of each time, until the tap is at its end.

        The rows describe frames in ``self.window`` and hold until the next step.
        """
        columns = batch[:6]
        for number, path in enumerate(self.paths):
            try:
                with self._opener(path) as stream:
                    yield from self._file(stream, columns)
                    self._done_bytes += stream.position
            except (OSError, ValueError) as error:
                if not number:
                    raise
                self.damages.append(str(error))  # of a rotated set: the other files count
        kinds = {found.link_type for found in self.interfaces}
        if kinds and not kinds & formats.READ:
            raise ValueError(f"{shown(self.paths[0])}: {formats.unread(*sorted(kinds))}")

    def _file(self, stream: Stream, columns: Columns) -> Iterator[int]:
        """Index one file; records in ``damages`` why it ended early."""
        walk = self._open(stream)
        rows, reason = 0, ""
        while not reason:
            rows, self._begin, stop = walk(rows, columns)
            if stop == Stop.CONTROL and not (reason := self._control()):
                continue
            if rows:
                yield rows
                rows = 0
            if stop == Stop.MORE and not self._fill(stream):
                reason = stream.damage or ("cut in the middle of a record" if self._rest else "")
                break
            if stop in REASONS:
                reason = REASONS[Stop(stop)].format(length=self._state[index.LENGTH])
        self._sections.end_section()
        if reason:
            place = f"{shown(stream.name)}: byte {self._base + self._begin}: {reason}"
            self.damages.append(f"{place}; read up to packet {self.packets}")

    def _open(self, stream: Stream) -> Walk:
        """Read the beginning of a file and choose how its records are walked."""
        self._begin = self._end = self._base = 0
        self.starts.append((stream.name, self.packets + 1))
        while self._end < formats.PCAP_HEADER_BYTES and self._fill(stream):
            pass
        head = self.window[: min(self._end, formats.HEAD_BYTES)].tobytes()
        verdict = formats.identify(head)
        if verdict.reason:
            raise ValueError(
                f"{shown(stream.name)}: {(not head and stream.damage) or verdict.reason}"
            )
        self._sections.begin_file()
        if verdict.kind == "pcapng":
            return self._pcapng
        self._pcap_header(head)
        return self._pcap

    def _pcap_header(self, head: bytes) -> None:
        """Set the state by the header of a pcap file."""
        big, scale, header = formats.PCAP_MAGICS[head[:4]]
        snaplen, link_type = formats.pcap_header(head)
        row = self._sections.describe(Interface(link_type, snaplen=snaplen))
        limit = min(max(snaplen, formats.MAX_PACKET_BYTES), formats.MAX_RECORD_BYTES)
        if not snaplen:
            limit = formats.MAX_RECORD_BYTES
        state = self._state
        state[index.BIG], state[index.SCALE], state[index.HEADER] = big, scale, header
        state[index.LIMIT], state[index.IFACE] = limit, row
        self._begin = formats.PCAP_HEADER_BYTES

    def _pcap(self, _rows: int, columns: Columns) -> tuple[int, int, int]:
        return index.index_pcap(self.window, self._begin, self._end, self._state, *columns)

    def _pcapng(self, rows: int, columns: Columns) -> tuple[int, int, int]:
        sections = self._sections
        return index.index_pcapng(
            self.window,
            self._begin,
            self._end,
            self._state,
            sections.clocks,
            sections.described,
            rows,
            *columns,
        )

    def _control(self) -> str:
        """Read the section, interface or statistics block at hand; a reason to stop there."""
        length, reason = self._sections.read(self.window, self._begin)
        self._state[index.BIG] = self._sections.big
        if not reason:
            self._begin += length
        return reason

    @property
    def _rest(self) -> int:
        """Bytes of the window that are not indexed."""
        return self._end - self._begin

    def _fill(self, stream: Stream) -> bool:
        """Move the unindexed rest to the front and read on; False at the end of the file."""
        rest, capacity = self._rest, len(self.window) - SLACK_BYTES
        if self._begin:
            self.window[:rest] = self.window[self._begin : self._end]
        elif rest == capacity:
            capacity *= 2
            grown = np.zeros(capacity + SLACK_BYTES, np.uint8)
            grown[:rest] = self.window[:rest]
            self.window = grown
        self._base += self._begin
        self._begin, self._end = 0, rest
        view = self.window.data
        while self._end < capacity and (count := stream.readinto(view[self._end : capacity])):
            self._end += count
        if self._progress:
            self._progress(self._done_bytes + stream.position, self._total_bytes)
        return self._end > rest
