"""Records as the compiled decoder takes them: one buffer and an array for each thing about them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.telemetry.readings import HEAD_BYTES
from analyzers.telemetry.rows import SLACK
from collectors.records import Method
from collectors.segments import HEAD, Damage, read_segment


class Batch(NamedTuple):
    """Payloads of records in one buffer that ends in SLACK more bytes."""

    buffer: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    ts: NDArray[np.int64]  # the record's device clock, 0 unknown
    seen: NDArray[np.int64]
    methods: NDArray[np.uint8]
    peers: Sequence[str]

    def payload(self, record: int) -> bytes:
        """The bytes of a record's payload."""
        at, size = int(self.offsets[record]), int(self.sizes[record])
        return self.buffer[at : at + size].tobytes()

    def head(self, record: int) -> bytes:
        """The first bytes of a record's payload."""
        at = int(self.offsets[record])
        return self.buffer[at : at + min(int(self.sizes[record]), HEAD_BYTES)].tobytes()


class Segment(NamedTuple):
    """What was read of a segment: who recorded it, its records, what could not be read, and how far."""

    recorder: str
    number: int
    batch: Batch
    damage: list[Damage]
    offset: int


def batch_of(records: Iterable[tuple[str, int, bytes, int, int]]) -> Batch:
    """A batch of (peer, method, payload, ts, seen)."""
    rows = list(records)
    sizes = np.array([len(row[2]) for row in rows], np.int64)
    return Batch(
        np.frombuffer(b"".join([row[2] for row in rows]) + bytes(SLACK), np.uint8),
        np.cumsum(sizes) - sizes,
        sizes,
        np.array([row[3] for row in rows], np.int64),
        np.array([row[4] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.uint8),
        [row[0] for row in rows],
    )


def read_batch(path: Path, offset: int = 0) -> Segment:
    """The records of a segment file from a byte on; OSError and ValueError as for its reader."""
    reader = read_segment(path, offset)
    base = reader.offset
    data = reader.read()
    unpack, size = HEAD.unpack_from, HEAD.size
    heads, peers, end = [], [], 0
    names: dict[bytes, str] = {}
    for at, whole in reader.places(data, base):
        _, _, length, ts, seen, method, named = unpack(data, at)
        begin = at + size + named
        heads.append((begin, length, ts, seen, method))
        name = data[at + size : begin]
        if name not in names:
            names[name] = name.decode(errors="replace")
        peers.append(names[name])
        end = at + whole
    columns = np.array(heads, np.int64).reshape(-1, 5)
    batch = Batch(
        np.frombuffer(data + bytes(SLACK), np.uint8),
        columns[:, 0].copy(),
        columns[:, 1].copy(),
        columns[:, 2].copy(),
        columns[:, 3].copy(),
        columns[:, 4].astype(np.uint8),
        peers,
    )
    return Segment(reader.recorder, reader.number, batch, reader.damage, base + end)


COMPILED = frozenset([Method.GNMI, Method.SONIC])
