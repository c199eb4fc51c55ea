"""Mutated captures, as fast as they can be made: nothing crashes, hangs, grows or is misread.

Every input is a few records of a real capture with structured harm: extreme numbers in length
fields and headers, bytes flipped, inserted and deleted, records repeated, moved, or taken from
another file, damaged compression. Each one is read and decoded. The reader must agree with its slow
twin on every packet and on the place of the damage; nothing but ValueError and OSError that name
the file may come out; memory must stay where it was.

Input number N of seed S is always the same: ``python -m tests.fuzz --seed S --first N --count 1``
runs it again. An input that fails is kept in a file, whose name is printed.
"""

import argparse
import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import resource
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import zstandard

from analyzers.capture.batch import UNDESCRIBED, Tally, grow_tally, make_batch, make_tally
from analyzers.capture.decode import decode
from analyzers.capture.reader import SLACK_BYTES, Reader
from analyzers.tables import NAMES
from fabric.codes import Fault, FrameKind
from fabric.pcap import PcapngWriter
from tests import twin_reader
from tests.data import REAL_DATA, ROOT
from tests.decoding import rows_of, twin_rows
from tests.reading import open_capture

LARGEST_FILE = 1 << 20
RECORDS = 12  # of a file in one input
NUMBERS = (
    0, 1, 2, 3, 4, 5, 8, 11, 12, 15, 16, 20, 24, 27, 28, 31, 32, 33, 40, 60, 0x7F, 0x80, 0xFF,
    0x100, 0xFFFF, 0x8000, 262_144, 262_145, 16 << 20, (16 << 20) + 4, 0x7FFFFFFF, 0x80000000,
    0xFFFFFFFC, 0xFFFFFFFF, 0x0A0D0D0A, 0x1A2B3C4D, 0x4D3C2B1A, 0xA1B2C3D4,
)  # fmt: skip
PACKS: tuple[Callable[[bytes], bytes], ...] = (
    partial(gzip.compress, compresslevel=1),
    zstandard.compress,
    partial(lzma.compress, preset=0),
    bz2.compress,
)
PCAPS = {
    struct.pack(order + "I", magic)
    for order in "<>"
    for magic in (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34)
}
THOROUGH = 5  # every fifth input goes through the decoder's twin as well
WHOLE = 100  # every so many inputs go through the whole analysis, a hundred times as dear
OWN = {"fragment"}  # what the twin says of a frame beyond its columns
HANG_SECONDS = 120  # a kernel may have to be compiled first
GROWTH_BYTES = 96 << 20  # what the process may grow by after its first inputs


Frame = tuple[bytes, int]  # captured bytes and link type; -1 without an interface


class Capture(NamedTuple):
    """A file taken apart: what comes first and must stay, and the records behind it."""

    head: bytes
    records: list[bytes]


# -- real captures, taken apart -----------------------------------------------------------------


def corpus() -> list[Capture]:
    """The project's captures and, where they are there, those of others."""
    folders = (ROOT / "captures", REAL_DATA / "captures")
    paths = [path for folder in folders for path in sorted(folder.rglob("*.pcap*"))]
    small = [path.read_bytes() for path in paths if path.stat().st_size <= LARGEST_FILE]
    again = [as_pcapng(data, number) for number, data in enumerate(small) if data[:4] in PCAPS]
    return [take_apart(data) for data in (*small, *again)]


def as_pcapng(data: bytes, number: int) -> bytes:
    """The first packets of a pcap as a pcapng with two interfaces and every kind of block."""
    file, twin, order = io.BytesIO(), twin_reader.read(data), "<" if number % 2 else ">"
    writer = PcapngWriter(file, order=order)
    writer.section()
    for resolution in (9, 0x80 | 30):
        writer.interface(twin.interfaces[0].link_type, name="eth", resolution=resolution)
    for i, packet in enumerate(twin.packets[:60]):
        kind, iface = (i + number) % 7, i % 2
        if kind == 0:
            writer.simple(packet.data)
        elif kind == 1:
            writer.obsolete(packet.ts, packet.data, packet.wire, interface=iface, drops=i)
        else:
            options = [(1, b"a comment")] if kind == 2 else []
            writer.packet(packet.ts, packet.data, packet.wire, interface=iface, options=options)
        if kind == 3:
            writer.custom(32473, b"ours")
        elif kind == 4:
            writer.statistics(packet.ts, received=i, dropped=1, interface=iface)
    return file.getvalue()


def take_apart(data: bytes) -> Capture:
    if data[:4] != b"\n\r\r\n":
        order = "<" if data[:1] in (b"\xd4", b"\x4d", b"\x34") else ">"
        header = 24 if b"\xcd" in data[1:3] else 16
        records = list(split(data, 24, partial(pcap_length, order, header)))
        return Capture(data[:24], records[:200])
    order = "<" if data[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
    blocks = list(split(data, 0, partial(pcapng_length, order)))
    packets = (struct.pack(order + "I", kind) for kind in (2, 3, 6))
    starts = tuple(packets)
    first = next((i for i, block in enumerate(blocks) if block.startswith(starts)), len(blocks))
    return Capture(b"".join(blocks[:first]), blocks[first : first + 200])


def split(data: bytes, at: int, length_at: Callable[[bytes, int], int]) -> Iterator[bytes]:
    while at + 16 <= len(data):
        length = length_at(data, at)
        yield data[at : at + length]
        at += length


def pcap_length(order: str, header: int, data: bytes, at: int) -> int:
    return header + int(struct.unpack_from(order + "I", data, at + 8)[0])


def pcapng_length(order: str, data: bytes, at: int) -> int:
    if data[at : at + 4] == b"\n\r\r\n":
        order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
    return max(int(struct.unpack_from(order + "I", data, at + 4)[0]), 12)


# -- harm ---------------------------------------------------------------------------------------


def make_input(rng: random.Random, captures: Sequence[Capture]) -> bytes:
    """One input: records of a capture, harmed a few times."""
    capture = rng.choice(captures)
    start = rng.randrange(max(len(capture.records) - RECORDS, 0) + 1)
    records = capture.records[start : start + rng.randrange(1, RECORDS)]
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        records = rng.choice(RECORD_HARMS)(rng, records, captures)
    data = capture.head + b"".join(records)
    for _ in range(rng.choice((0, 0, 1, 2))):
        data = rng.choice(BYTE_HARMS)(rng, data)
    if rng.random() < 0.02:
        data = rng.choice(PACKS)(data)
        if rng.random() < 0.8:
            data = rng.choice(BYTE_HARMS)(rng, data)
    return data


def put_number(rng: random.Random, data: bytes, within: int) -> bytes:
    """An extreme number, of any width and byte order, somewhere in the first bytes."""
    width = rng.choice("BHII")
    number = rng.choice(NUMBERS) if rng.random() < 0.7 else rng.getrandbits(32)
    packed = struct.pack(rng.choice("<>") + width, number & (1 << 8 * struct.calcsize(width)) - 1)
    at = rng.randrange(max(min(within, len(data)) - len(packed), 0) + 1)
    return data[:at] + packed + data[at + len(packed) :]


def harm_header(
    rng: random.Random, records: list[bytes], _captures: Sequence[Capture]
) -> list[bytes]:
    """A number in the header of a record, or in the headers of its frame."""
    if not records:
        return records
    i = rng.randrange(len(records))
    harmed = put_number(rng, records[i], rng.choice((4, 8, 16, 28, 60, 80, 100, 140, 10_000)))
    return [*records[:i], harmed, *records[i + 1 :]]


def nudge(rng: random.Random, records: list[bytes], _captures: Sequence[Capture]) -> list[bytes]:
    """A number of a record's header a little larger or smaller, where limits are."""
    if not records:
        return records
    i, at, order = rng.randrange(len(records)), rng.randrange(7) * 4, rng.choice("<>")
    record = records[i]
    if at + 4 > len(record):
        return records
    number = struct.unpack_from(order + "I", record, at)[0] + rng.choice((-8, -4, -1, 1, 2, 4, 8))
    harmed = record[:at] + struct.pack(order + "I", number % 2**32) + record[at + 4 :]
    return [*records[:i], harmed, *records[i + 1 :]]


def repeat(rng: random.Random, records: list[bytes], _captures: Sequence[Capture]) -> list[bytes]:
    i = rng.randrange(len(records) + 1)
    return records[:i] + records[i - 1 : i] * rng.randrange(4) + records[i:]


def shuffle(rng: random.Random, records: list[bytes], _captures: Sequence[Capture]) -> list[bytes]:
    return rng.sample(records, len(records))


def drop(rng: random.Random, records: list[bytes], _captures: Sequence[Capture]) -> list[bytes]:
    return [record for record in records if rng.random() < 0.7]


def splice(rng: random.Random, records: list[bytes], captures: Sequence[Capture]) -> list[bytes]:
    """Records, or the beginning, of another capture."""
    other = rng.choice(captures)
    i, start = rng.randrange(len(records) + 1), rng.randrange(len(other.records) + 1)
    part = other.records[start : start + rng.randrange(4)]
    return records[:i] + ([other.head] if rng.random() < 0.3 else []) + part + records[i:]


def stretch(rng: random.Random, records: list[bytes], _captures: Sequence[Capture]) -> list[bytes]:
    """Bytes inserted in or taken from the middle of a record, whose lengths then lie."""
    if not records:
        return records
    i = rng.randrange(len(records))
    return [*records[:i], rng.choice((insert, delete))(rng, records[i]), *records[i + 1 :]]


def flip(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    harmed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        harmed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(harmed)


def insert(rng: random.Random, data: bytes) -> bytes:
    at, count = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 16, 100))
    return data[:at] + (bytes(count) if rng.random() < 0.5 else rng.randbytes(count)) + data[at:]


def delete(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice((1, 2, 4, 16, 100)) :]


def cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def number_anywhere(rng: random.Random, data: bytes) -> bytes:
    return put_number(rng, data, len(data))


RECORD_HARMS = (
    harm_header,
    harm_header,
    harm_header,
    nudge,
    repeat,
    shuffle,
    drop,
    splice,
    stretch,
)
BYTE_HARMS = (flip, insert, delete, cut, number_anywhere)


# -- what must hold -----------------------------------------------------------------------------


class Target:
    """Reads and decodes inputs; batch and tally are used again, as in an analysis."""

    def __init__(self) -> None:
        self.batch = make_batch(64)

    def __call__(self, data: bytes, window_bytes: int, *, thorough: bool = False) -> bool:
        """True where the input was a capture; AssertionError where something does not hold.

        ``thorough`` also compares every decoded row with the decoder's slow twin.
        """
        reader = Reader(["memory"], window_bytes=window_bytes, opener=partial(open_capture, data))
        found: list[tuple[int, int, int, int]] = []
        tally = make_tally(0)
        try:
            for rows in reader.windows(self.batch):
                found += self.indexed(reader, rows)
                if len(tally) != len(reader.interfaces) + 1:
                    tally = grow_tally(tally, len(reader.interfaces))
                frames = self.frames(reader, rows) if thorough else []
                kept = decode(reader.window, self.batch, rows, reader.link_types, tally)
                self.decoded(rows, kept)
                if thorough:
                    self.as_the_twin(frames, kept)
        except (ValueError, OSError) as error:
            if not refusal(error, reader):
                raise
            return False
        assert tally[:, Tally.PACKETS].sum() == reader.packets == len(found)
        agree(data, found, reader)
        return True

    def indexed(self, reader: Reader, rows: int) -> list[tuple[int, int, int, int]]:
        """The rows as (time, captured, wire, interface), found to lie inside the window."""
        batch, size = self.batch, len(reader.window) - SLACK_BYTES
        ends = batch.offset[:rows] + batch.captured[:rows]
        assert batch.offset[:rows].min() >= 0
        assert ends.max() <= size, "a frame beyond the window"
        ifaces = batch.iface[:rows]
        assert ((ifaces < len(reader.interfaces)) | (ifaces == UNDESCRIBED)).all()
        columns = (batch.ts, batch.captured, batch.wire, batch.iface)
        return list(zip(*(column[:rows].tolist() for column in columns), strict=True))

    def frames(self, reader: Reader, rows: int) -> list[tuple[int, Frame]]:
        """The rows as (number, (bytes, link type)), before the decoder moves them."""
        batch, frames = self.batch, []
        for row in range(rows):
            start, iface = int(batch.offset[row]), int(batch.iface[row])
            data = reader.window[start : start + int(batch.captured[row])].tobytes()
            kind = -1 if iface == UNDESCRIBED else int(reader.link_types[iface])
            frames.append((int(batch.frame[row]), (data, kind)))
        return frames

    def as_the_twin(self, frames: list[tuple[int, Frame]], kept: int) -> None:
        """The decoder kept the rows that its twin keeps, with the same columns."""
        numbers = [number for number, _ in frames]
        expected = twin_rows(frame for _, frame in frames)
        assert self.batch.frame[:kept].tolist() == [numbers[place - 1] for place, _ in expected]
        for found, (place, row) in zip(rows_of(self.batch, kept), expected, strict=True):
            for name in row.keys() - OWN:
                assert found[name] == row[name], (name, frames[place - 1])

    def decoded(self, rows: int, kept: int) -> None:
        """The kept rows hold values of their kind and point into their frames."""
        batch = self.batch
        assert 0 <= kept <= rows
        if not kept:
            return
        kind, fault = batch.kind[:kept], batch.fault[:kept]
        assert kind.max() <= max(FrameKind)
        assert fault.max() <= max(Fault)
        assert ((kind != FrameKind.OTHER) | (fault != Fault.NONE)).all()
        ends = batch.offset[:kept] + batch.captured[:kept]
        for column, least in ((batch.icrc_at, 4), (batch.l3_at, 1)):
            at = column[:kept]
            inside = (at >= batch.offset[:kept]) & (at + least <= ends)
            roce = (kind == FrameKind.ROCE_V1) | (kind == FrameKind.ROCE_V2)
            assert (inside | (at == -1) | ~roce).all()


def refusal(error: ValueError | OSError, reader: Reader) -> bool:
    """One line, of this file, about a file of which nothing, or no interface, can be read."""
    text = str(error)
    return (
        text.startswith("memory: ")
        and "\n" not in text
        and (reader.packets == 0 or text.endswith("not read"))
    )


def agree(data: bytes, found: list[tuple[int, int, int, int]], reader: Reader) -> None:
    """The reader said what the twin says of a file that is not compressed."""
    if data[:4] not in PCAPS and data[:4] != b"\n\r\r\n":
        return
    twin = twin_reader.read(data)
    assert found == [(p.ts, len(p.data), p.wire, p.iface) for p in twin.packets]
    assert "\n" not in reader.damage
    damaged = reader.damage.startswith(f"memory: byte {twin.damaged_at}: ")
    assert damaged if twin.damaged_at is not None else not reader.damage, reader.damage


def whole(data: bytes, rng: random.Random) -> None:
    """The input goes through everything that ``fabric analyze`` does, and is counted right."""
    from analyzers.detectors import run_detectors
    from analyzers.pipeline import Options, analyze

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder, "memory")
        path.write_bytes(data)
        options = Options(
            packets=True, icrc=True, window_bytes=1 << rng.randrange(8, 17), batch_rows=64
        )
        with analyze([str(path)], options) as run:
            for line in run.refused:
                assert line.startswith(f"{path}: "), line
                assert line.isprintable(), line
            points = run.tables.points.collect()
            for name in NAMES:
                getattr(run.tables, name).collect()
            run_detectors(run.tables)
    plain = data[:4] in PCAPS or data[:4] == b"\n\r\r\n"
    if plain and not run.refused:
        assert points["packets"].sum() == len(twin_reader.read(data).packets)


# -- running ------------------------------------------------------------------------------------


class Watch:
    """Ends the process, and keeps the input, where one takes too long; kernels let it look."""

    def __init__(self) -> None:
        self.number = -1
        self.data = b""
        self._over = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        last = None
        while not self._over.wait(HANG_SECONDS):
            if self.number == last:
                sys.stderr.write(f"input {self.number} hangs; kept as {keep(self)}\n")
                os._exit(3)
            last = self.number

    def stop(self) -> None:
        self._over.set()


def keep(watch: Watch) -> str:
    """Write the input at hand to a file and return its name."""
    with tempfile.NamedTemporaryFile(
        prefix=f"fuzz-{watch.number}-", suffix=".pcap", delete=False
    ) as file:
        file.write(watch.data)
    return file.name


def fuzz(
    count: int | None = None, seconds: float | None = None, seed: int = 0, first: int = 0
) -> tuple[int, int]:
    """Run inputs until one limit is reached: (inputs, how many of them were captures)."""
    forget_peak()
    captures, target, watch = corpus(), Target(), Watch()
    end = time.monotonic() + (seconds if seconds is not None else float("inf"))
    useful, number, before = 0, first, 0
    try:
        while (count is None or number < first + count) and time.monotonic() < end:
            rng = random.Random(seed << 40 | number)
            watch.data, watch.number = make_input(rng, captures), number
            window_bytes = rng.choice((64, 300, 2048, 65_536))
            useful += target(watch.data, window_bytes, thorough=number % THOROUGH == 0)
            if number % WHOLE == 0:
                whole(watch.data, rng)
            number += 1
            if number - first == 2000:
                before = peak_bytes()
            elif number % 1000 == 0 and before:
                assert peak_bytes() < before + GROWTH_BYTES, "memory grows"
    except Exception as error:
        error.add_note(f"seed {seed}, input {number}, kept as {keep(watch)}")
        raise
    finally:
        watch.stop()
    return number - first, useful


def forget_peak() -> None:
    """Begin the peak of resident memory anew, proc(5): earlier work of the process is not ours."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, help="stop after this time")
    parser.add_argument("--count", type=int, help="stop after so many inputs")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    options = parser.parse_args()
    limits = options.count, options.seconds
    started = time.monotonic()
    count = 100_000 if limits == (None, None) else options.count
    done, useful = fuzz(count, options.seconds, options.seed, options.first)
    print(
        f"{done} inputs of seed {options.seed} in {time.monotonic() - started:.0f} s, "
        f"{useful} of them captures: no crash, no hang, nothing misread"
    )


if __name__ == "__main__":
    main()
