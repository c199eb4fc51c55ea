"""What a reader says, as a list: for tests that compare it with something else."""

from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from analyzers.capture.batch import Batch, make_batch
from analyzers.capture.reader import Reader
from analyzers.capture.streams import open_memory
from tests.twin_reader import Packet

batch_of = cache(make_batch)


class Reading(NamedTuple):
    packets: list[Packet]
    frames: list[int]
    reader: Reader


def read_all(
    source: bytes | str | Path | list[str], *, rows: int = 8192, window_bytes: int = 1 << 19
) -> Reading:
    """Read a capture: the bytes of one, a path, or the paths of a rotated set."""
    if isinstance(source, bytes):
        opener = partial(open_capture, source)
        reader = Reader(["memory"], window_bytes=window_bytes, opener=opener)
    else:
        paths = source if isinstance(source, list) else [str(source)]
        reader = Reader(paths, window_bytes=window_bytes)
    batch: Batch = batch_of(rows)
    packets, frames = [], []
    for count in reader.windows(batch):
        assert 0 < count <= rows
        for row in range(count):
            start = int(batch.offset[row])
            data = reader.window[start : start + int(batch.captured[row])].tobytes()
            assert len(data) == batch.captured[row]
            packets.append(
                Packet(int(batch.ts[row]), data, int(batch.wire[row]), int(batch.iface[row]))
            )
            frames.append(int(batch.frame[row]))
    assert frames == list(range(1, len(frames) + 1))
    return Reading(packets, frames, reader)


def open_capture(data: bytes, path: str):
    return open_memory(data, path)
