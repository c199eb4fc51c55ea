"""The file the benchmarks read is the traffic it claims to be."""

from pathlib import Path

import numpy as np
import pytest

from analyzers.capture.batch import Tally, make_batch, make_tally
from analyzers.capture.decode import decode
from analyzers.capture.reader import Reader
from benchmarks.make_file import make
from fabric import wire
from fabric.codes import Fault, Header, Operation
from tests import decoding

PACKETS = 60_000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("benchmark") / "traffic.pcap"
    make(str(file), PACKETS, pairs=2048)
    return file


def test_it_is_the_traffic_it_claims_to_be(path: Path) -> None:
    reader, batch, tally = Reader([str(path)]), make_batch(1 << 16), make_tally(1)
    columns: dict[str, list[np.ndarray]] = {}
    for rows in reader.windows(batch):
        kept = decode(reader.window, batch, rows, reader.link_types, tally)
        assert kept == rows
        for name in ("opcode", "headers", "syndrome", "src_lo", "dst_lo", "qpn", "captured"):
            columns.setdefault(name, []).append(getattr(batch, name)[:kept].copy())
    counts = tally[0]
    assert counts[Tally.PACKETS] == PACKETS
    assert counts[Tally.FAULTS :].sum() == counts[Tally.FRAGMENTS] == 0
    assert counts[Tally.UNORDERED] == 0
    assert counts[Tally.LAST] > counts[Tally.FIRST]
    assert counts[Tally.PFC] > 10
    assert counts[Tally.CNP] > 100
    assert 0.005 < counts[Tally.CE] / PACKETS < 0.05
    got = {name: np.concatenate(parts) for name, parts in columns.items()}
    roce = got["headers"] & Header.BTH > 0
    code, acks = got["opcode"][roce], got["opcode"][roce] == Operation.ACKNOWLEDGE
    naks = acks & (got["syndrome"][roce] == 0x60)
    # Each message ends in an ACK of its own, or in the last response of its READ.
    ends = (acks & ~naks).sum() + np.isin(code, (0x0F, 0x10)).sum()
    assert ends / PACKETS > 0.1
    assert 0.0004 < naks.sum() / PACKETS < 0.0015
    flows = np.stack([got[name][roce].astype(np.int64) for name in ("src_lo", "dst_lo", "qpn")], 1)
    assert len(np.unique(flows, axis=0)) > 3_000
    assert got["captured"].max() == 128


def test_its_frames_are_sound(path: Path) -> None:
    reader, batch = Reader([str(path)]), make_batch(2_000)
    next(reader.windows(batch))
    frames = []
    for row in range(2_000):
        at, size = int(batch.offset[row]), int(batch.captured[row])
        frames.append((reader.window[at : at + size].tobytes(), 1))
    assert decoding.difference(decode, frames) == ""
    for data, _ in frames:
        row = decoding.twin(data, 1)
        assert row["fault"] == Fault.NONE
        if row["version"] == 4:
            assert wire.checksum(data[14:34]) == 0


def test_a_sender_resends_from_the_lost_packet_on(tmp_path: Path) -> None:
    path = str(tmp_path / "few.pcap")
    make(path, 30_000, pairs=64)
    reader, batch, tally = Reader([path]), make_batch(1 << 15), make_tally(1)
    following: dict[tuple[int, int, int], int] = {}
    steps: list[int] = []
    names = ("src_lo", "dst_lo", "qpn", "psn", "opcode", "headers", "dma")
    for rows in reader.windows(batch):
        kept = decode(reader.window, batch, rows, reader.link_types, tally)
        for src, dst, qpn, psn, opcode, headers, dma in zip(
            *(getattr(batch, name)[:kept].tolist() for name in names), strict=True
        ):
            if headers & Header.BTH and opcode <= Operation.READ_REQUEST:
                flow = (src, dst, qpn)
                steps.append((psn - following.get(flow, psn) + (1 << 23)) % (1 << 24) - (1 << 23))
                spanned = dma // 1024 if opcode == Operation.READ_REQUEST else 1
                following[flow] = (psn + spanned) % (1 << 24)
    # Half of the lost packets were lost before the tap: one PSN is missing there, then the resend.
    gaps, back = steps.count(1), sum(step < 0 for step in steps)
    assert {step for step in steps if step > 0} == {1}
    assert back > 10
    assert 0.2 * back < gaps < 0.8 * back
