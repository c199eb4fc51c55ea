"""The compiled decoder says what its slow twin says, for any bytes, and reads nothing else."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.capture.batch import (
    DTYPES,
    UNDESCRIBED,
    Tally,
    grow_tally,
    make_batch,
    make_tally,
)
from analyzers.capture.decode import decode
from analyzers.capture.reader import Reader
from tests import decoding, strategies
from tests.data import ROOT, real_data
from tests.decoding import Frame


def test_the_batch_has_the_columns_it_declares() -> None:
    batch = make_batch(5)
    assert batch._fields == tuple(DTYPES)
    for name, column in batch._asdict().items():
        assert column.dtype == DTYPES[name]
        assert column.shape == ((5, 8) if name == "quanta" else (5,))


def test_a_grown_tally_keeps_its_counts() -> None:
    tally = make_tally(2)
    tally[0, Tally.PACKETS], tally[2, Tally.PACKETS] = 3, 4
    grown = grow_tally(tally, 5)
    assert grown.shape == (6, tally.shape[1])
    assert grown[:, Tally.PACKETS].tolist() == [3, 0, 0, 0, 0, 4]
    assert (grown[:, Tally.FIRST] > grown[:, Tally.LAST]).all()


def test_every_frame_of_the_corpus() -> None:
    assert decoding.difference(decode, decoding.corpus()) == ""


@given(st.lists(strategies.frames, min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_random_frames(made: list[strategies.Made]) -> None:
    frames = [(each.frame, int(each.link_type)) for each in made]
    assert decoding.difference(decode, frames) == ""


@given(st.lists(st.tuples(st.binary(max_size=120), st.sampled_from((-1, *decoding.LINK_TYPES)))))
@settings(max_examples=100, deadline=None)
def test_random_bytes(frames: list[Frame]) -> None:
    assert decoding.difference(decode, frames) == ""


@pytest.mark.parametrize("seed", range(4))
def test_spoiled_frames(seed: int) -> None:
    frames = decoding.spoiled(seed, 5_000, decoding.corpus())
    assert decoding.difference(decode, frames) == ""


def test_every_cut_of_some_frames() -> None:
    frames = [
        (data[:size], kind)
        for data, kind in decoding.corpus()[::40]
        for size in range(len(data) + 1)
    ]
    assert decoding.difference(decode, frames) == ""


def test_bytes_behind_a_frame_are_not_looked_at() -> None:
    frames = decoding.spoiled(9, 3_000, decoding.corpus())
    for filler in (0x00, 0x11, 0x45, 0x81, 0xFF):
        assert decoding.difference(decode, frames, filler) == ""


def test_a_row_that_claims_more_than_the_buffer_is_cut_at_its_end() -> None:
    data = next(data for data, kind in decoding.corpus() if kind == 1)
    for size in range(len(data)):
        window, batch, link_types = decoding.indexed([(data, 1)], 0)
        kept = decode(window[:size].copy(), batch, 1, link_types, make_tally(1))
        _, cut, _ = decoding.indexed([(data[:size], 1)], 0)
        assert kept == decode(window, cut, 1, link_types, make_tally(1))
        for name in set(batch._fields) - {"captured", "wire"}:
            assert np.array_equal(getattr(batch, name), getattr(cut, name)), name


def test_how_the_frames_are_cut_into_batches_changes_nothing() -> None:
    frames = decoding.spoiled(5, 700, decoding.corpus())
    window, batch, link_types = decoding.indexed(frames, 7)
    whole = [column.copy() for column in batch[:6]]
    tally = make_tally(len(link_types))
    rows = decoding.rows_of(batch, decode(window, batch, len(frames), link_types, tally))
    for size in (1, 3, 64, 512):
        small, counts, pieces = make_batch(size), make_tally(len(link_types)), []
        for low in range(0, len(frames), size):
            count = min(size, len(frames) - low)
            for column, source in zip(small[:6], whole, strict=True):
                column[:count] = source[low : low + count]
            pieces += decoding.rows_of(small, decode(window, small, count, link_types, counts))
        assert np.array_equal(counts, tally)
        assert [valid(row) for row in pieces] == [valid(row) for row in rows]


def valid(row: dict[str, object]) -> dict[str, object]:
    """The columns of a row that do not depend on what stood in the batch before."""
    names = (*decoding.FROM_INDEX, "kind", "fault", "headers", "src_lo", "dst_lo", "ip_bytes", "tos",
             "vlan", "wrap", "payload", "icrc_at", "l3_at")  # fmt: skip
    bth = ("opcode", "qpn", "psn", "pkey") if row["kind"] in (1, 2) else ()
    return {name: row[name] for name in (*names, *bth)}


def captures(*folders: Path) -> list[Path]:
    return [
        path
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.name.endswith((".pcap", ".pcap.gz", ".pcapng"))
    ]


def frames_of(path: Path) -> list[Frame]:
    """The frames of a capture."""
    reader, batch, frames = Reader([str(path)]), make_batch(), []
    with suppress(ValueError):  # at the end, where it holds only link types that are not read
        for rows in reader.windows(batch):
            link_types = reader.link_types
            for offset, captured, iface in zip(
                *(column[:rows].tolist() for column in (batch.offset, batch.captured, batch.iface)),
                strict=True,
            ):
                kind = -1 if iface == UNDESCRIBED else int(link_types[iface])
                frames.append((reader.window[offset : offset + captured].tobytes(), kind))
    return frames


def test_every_frame_of_our_captures() -> None:
    paths = captures(ROOT / "captures")
    assert len(paths) > 80
    for path in paths:
        assert decoding.difference(decode, frames_of(path)) == "", path


def test_every_frame_of_real_captures() -> None:
    total = 0
    for path in captures(real_data("captures")):
        frames = frames_of(path)
        total += len(frames)
        assert decoding.difference(decode, frames) == "", path
        assert decoding.difference(decode, decoding.spoiled(1, len(frames), frames)) == "", path
    assert total > 1_200


def test_frames_of_simulated_fabrics() -> None:
    paths = captures(real_data("groundtruth"))
    for path in paths[:: max(len(paths) // 6, 1)]:
        frames = frames_of(path)[:3_000]
        assert decoding.difference(decode, frames) == "", path
