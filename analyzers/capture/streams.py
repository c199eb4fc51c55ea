"""Bytes of a capture file as one stream: plain or compressed, from a disk or a pipe.

What a file is compressed with is decided by its first bytes. Decompression is bounded: a call
yields a bounded piece however much a hostile input expands to. Damage to the compressed data ends the
stream as the end of a file does, and ``damage`` says what was wrong, so that everything before it
counts.
"""

import bz2
import io
import lzma
import os
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, Self

import zstandard

from analyzers.capture.formats import compression

STDIN: Final = "-"
MAX_DICTIONARY_BYTES: Final = 128 << 20  # of xz and zstd; the highest presets need 64 and 128 MiB
PIECE_BYTES: Final = 64 << 10  # decompressed at a time; what a damaged piece can cost
READ_BYTES: Final = 32 << 10


class Decoder(Protocol):
    """One member of a compressed file, as the bz2 module has it."""

    @property
    def eof(self) -> bool:
        """The member is at its end."""

    @property
    def needs_input(self) -> bool:
        """Nothing more comes out before something goes in."""

    @property
    def unused_data(self) -> bytes:
        """What was given beyond the end of the member."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Take ``data`` in, give at most ``max_length`` bytes out."""


class Gzip:
    """zlib's decoder in the shape of :class:`Decoder`."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)
        self._rest = b""

    @property
    def eof(self) -> bool:  # noqa: D102 see Decoder
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:  # noqa: D102 see Decoder
        return not self._rest

    @property
    def unused_data(self) -> bytes:  # noqa: D102 see Decoder
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """At most ``max_length`` bytes; input that was not needed yet is kept."""
        piece = self._zlib.decompress(self._rest + data, max_length)
        self._rest = self._zlib.unconsumed_tail
        return piece


class Zstd:
    """zstandard's decoder in the shape of :class:`Decoder`.

    Its output has no bound, so it is fed little: four bytes can stand for a block of 128 KiB, hence
    512 bytes for 16 MiB at the worst.
    """

    FEED = 512

    def __init__(self) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_DICTIONARY_BYTES)
        self._zstd = decompressor.decompressobj()
        self._data = b""
        self._at = 0

    @property
    def eof(self) -> bool:  # noqa: D102 see Decoder
        return self._zstd.eof

    @property
    def needs_input(self) -> bool:  # noqa: D102 see Decoder
        return self._at >= len(self._data)

    @property
    def unused_data(self) -> bytes:  # noqa: D102 see Decoder
        return self._zstd.unused_data + self._data[self._at :]

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:  # noqa: ARG002 see above
        """What the next FEED bytes of input stand for."""
        if data:
            self._data, self._at = data, 0
        feed = self._data[self._at : self._at + self.FEED]
        self._at += len(feed)
        return self._zstd.decompress(feed)


def _xz() -> Decoder:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DICTIONARY_BYTES + (16 << 20))


DECODERS: Final[dict[str, Callable[[], Decoder]]] = {
    "gzip": Gzip,
    "zstd": Zstd,
    "xz": _xz,
    "bzip2": bz2.BZ2Decompressor,
}
# What the decoders raise on damaged input. OSError comes from bz2 here, never from the file.
BROKEN: Final = (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, ValueError, EOFError)


class Raw:
    """A file as it lies on the disk or comes out of a pipe; a few first bytes can be looked at."""

    def __init__(self, file: io.FileIO | io.BytesIO, name: str, size: int = 0) -> None:
        self.name = name
        self.size = size  # bytes; 0 where it has no end to be seen
        self.position = 0  # bytes handed out
        self.damage = ""
        self._file = file
        self._head = b""

    def peek(self, count: int) -> bytes:
        """The first ``count`` bytes (fewer at the end), which stay unread."""
        head = self.read(count)
        while len(head) < count and (more := self.read(count - len(head))):
            head += more
        self.unread(head)
        return head

    def unread(self, data: bytes) -> None:
        """Give bytes back: they are the next to be read."""
        self._head = data + self._head
        self.position -= len(data)

    def readinto(self, view: memoryview) -> int:
        """Read some bytes into ``view``; 0 at the end. A failing disk ends a file already begun."""
        count = min(len(view), len(self._head))
        if count:
            view[:count], self._head = self._head[:count], self._head[count:]
        else:
            try:
                count = self._file.readinto(view)
            except OSError as error:
                if not self.position:
                    raise OSError(error.errno, error.strerror, self.name) from error
                self.damage = f"reading failed: {error.strerror}"
        self.position += count
        return count

    def read(self, count: int) -> bytes:
        """At most ``count`` bytes; none at the end."""
        buffer = bytearray(count)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Inflated:
    """The decompressed bytes of a :class:`Raw` file, any number of members one after another."""

    def __init__(self, raw: Raw, kind: str) -> None:
        self.name = raw.name
        self.size = raw.size
        self.kind = kind
        self._raw = raw
        self._decoder = DECODERS[kind]()
        self._piece = memoryview(b"")
        self._damage = ""

    @property
    def position(self) -> int:
        """Bytes of the compressed file handed out."""
        return self._raw.position

    @property
    def damage(self) -> str:
        """Why the stream ended early; empty where it did not."""
        return self._raw.damage or self._damage

    def readinto(self, view: memoryview) -> int:
        """Put some decompressed bytes into ``view``; 0 at the end."""
        while not self._piece:
            if self._damage or not self._decode():
                return 0
        count = min(len(view), len(self._piece))
        view[:count], self._piece = self._piece[:count], self._piece[count:]
        return count

    def _decode(self) -> bool:
        """Decompress the next piece, which may be empty; False at the end of everything."""
        if self._decoder.eof and not self._next_member():
            return False
        data = self._raw.read(READ_BYTES) if self._decoder.needs_input else b""
        try:
            self._piece = memoryview(self._decoder.decompress(data, PIECE_BYTES))
        except BROKEN as error:
            self._damage = f"{self.kind} data are damaged ({error})"
        else:
            if not (data or self._piece or self._decoder.eof) and self._decoder.needs_input:
                self._damage = f"{self.kind} data are cut in the middle"
        return not self._damage

    def _next_member(self) -> bool:
        """Begin the next member; zeros behind the last one are padding."""
        rest = self._decoder.unused_data
        while len(rest := rest.lstrip(b"\0")) < 6 and (more := self._raw.read(READ_BYTES)):
            rest += more
        if not rest:
            return False
        if compression(rest) != self.kind:
            self._damage = f"what follows the {self.kind} data is none"
            return False
        self._decoder = DECODERS[self.kind]()
        self._raw.unread(rest)
        return True

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


Stream = Raw | Inflated
Opener = Callable[[str], Stream]


def inflate(raw: Raw) -> Stream:
    """The stream itself, or what it decompresses to."""
    kind = compression(raw.peek(6))
    return Inflated(raw, kind) if kind else raw


def open_stream(path: str) -> Stream:
    """Open a capture file, or standard input where ``path`` is ``-``.

    Raises OSError with the path where that is not possible.
    """
    if path == STDIN:
        if os.isatty(0):
            raise ValueError("-: standard input is a terminal; pipe a capture into it")
        return inflate(Raw(io.FileIO(os.dup(0)), path, 0))
    file = io.FileIO(path)
    status = os.fstat(file.fileno())
    regular = stat.S_ISREG(status.st_mode)
    return inflate(Raw(file, path, status.st_size if regular else 0))


def open_memory(data: bytes, name: str = "memory") -> Stream:
    """A capture that is already in memory."""
    return inflate(Raw(io.BytesIO(data), name, len(data)))


def shown(path: str) -> str:
    """The path for people and tables: one line of valid Unicode, whatever the file is called."""
    text = path.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def path_bytes(path: str) -> int:
    """Size of a regular file; 0 for a pipe or what cannot be looked at."""
    try:
        status = Path(path).stat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
