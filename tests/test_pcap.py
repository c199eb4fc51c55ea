"""What the capture writers write is what the twin reader and tshark read."""

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric.pcap import Order, PcapngWriter, PcapWriter
from fabric.roce import Route, roce
from tests import twin_pcap

SECOND_NS = 1_000_000_000
FRAME = roce(Route("10.0.0.1", "10.0.0.2"), 4, 17, 99, payload=b"x" * 37)
orders = st.sampled_from(("<", ">"))
times = st.integers(0, (SECOND_NS << 32) - 1)
records = st.lists(st.tuples(times, st.binary(max_size=70), st.integers(0, 9000)), max_size=8)


@given(records, orders, st.booleans(), st.booleans())
@settings(deadline=None)
def test_pcap_reads_back(
    rows: list[tuple[int, bytes, int]], order: Order, nano: bool, modified: bool
) -> None:
    file = io.BytesIO()
    with PcapWriter(file, 113, nano=nano, order=order, modified=modified, snaplen=50) as writer:
        writer.write_many(rows)
    tick = 1 if nano and not modified else 1000
    found = twin_pcap.read(file.getvalue()).records
    assert [(r.ts, r.frame, r.wire_bytes, r.link_type) for r in found] == [
        (ts // tick * tick, data[:50], wire, 113) for ts, data, wire in rows
    ]


@given(records, orders, st.sampled_from((6, 9, 3, 0x80 | 30, 0x80 | 20)), st.integers(-9, 9))
@settings(deadline=None)
def test_pcapng_reads_back(
    rows: list[tuple[int, bytes, int]], order: Order, resolution: int, offset_s: int
) -> None:
    file = io.BytesIO()
    writer = PcapngWriter(file, order=order)
    writer.section()
    writer.interface(1)
    number = writer.interface(
        113, name="eth1", resolution=resolution, offset_s=offset_s, speed_bps=10**11, snaplen=50
    )
    rows = [(ts + 9 * SECOND_NS, data, wire) for ts, data, wire in rows]
    writer.write_many(rows, number)
    for ts, data, wire in rows:
        writer.packet(ts, data, wire, interface=number, options=((1, b"remark"),))
        writer.obsolete(ts, data, wire, interface=number)
    writer.statistics(10 * SECOND_NS, received=7, dropped=3, interface=number)
    capture = twin_pcap.read(file.getvalue())
    units = 1 << (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    base = offset_s * SECOND_NS

    def shown(row: tuple[int, bytes, int]) -> tuple[int, bytes, int, int, int]:
        ts = (row[0] - base) * units // SECOND_NS * SECOND_NS // units + base
        return ts, row[1][:50], row[2], 1, 113

    assert [tuple(r) for r in capture.records[: len(rows)]] == [shown(row) for row in rows]
    assert [tuple(r) for r in capture.records[len(rows) :]] == [
        shown(row) for row in rows for _ in range(2)
    ]
    assert capture.interfaces[1] == (113, 50, "eth1", units, offset_s, 10**11)
    assert capture.dropped == {1: 3}


def test_sections_number_their_interfaces_afresh() -> None:
    file = io.BytesIO()
    writer = PcapngWriter(file)
    for order in ("<", ">"):
        writer.section(order=order, options=((1, b"a section"),))
        assert writer.interface(1) == 0
        assert writer.interface(113) == 1
        writer.packet(5, b"one", interface=1)
        writer.simple(b"two", 70)
        writer.custom(32473, b"private")
        writer.block(0x7777, b"nobody knows")
    capture = twin_pcap.read(file.getvalue())
    assert [(r.interface, r.frame) for r in capture.records] == [
        (1, b"one"), (0, b"two\0"), (3, b"one"), (2, b"two\0"),
    ]  # fmt: skip
    assert capture.other_blocks == [0xBAD, 0x7777] * 2


def test_the_default_resolution_is_not_written() -> None:
    sizes = []
    for resolution in (6, 9):
        file = io.BytesIO()
        writer = PcapngWriter(file)
        writer.section()
        writer.interface(resolution=resolution)
        sizes.append(len(file.getvalue()))
    assert sizes[1] - sizes[0] == 12  # the option and the end of the list


def test_times_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="does not fit a pcap record"):
        PcapWriter(io.BytesIO()).write(-1, b"")
    writer = PcapngWriter(io.BytesIO())
    writer.section()
    writer.interface(offset_s=10)
    with pytest.raises(ValueError, match="does not fit an interface"):
        writer.packet(SECOND_NS, b"")


def test_a_path_is_closed_and_a_file_object_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    with PcapWriter(path) as writer:
        writer.write(1, FRAME)
    assert writer.file.closed
    assert twin_pcap.read(path.read_bytes()).records[0].frame == FRAME
    file = io.BytesIO()
    with PcapngWriter(file) as other:
        other.section()
    assert not file.closed


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("name", ["micro", "nano_big", "modified", "ng", "ng_big"])
def test_tshark_reads_the_same(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    order: Order = ">" if "big" in name else "<"
    ts = 1_700_000_000_123_456_789
    if name.startswith("ng"):
        with PcapngWriter(path, order=order) as writer:
            writer.section()
            writer.interface(resolution=6)
            writer.interface(resolution=9, offset_s=1_600_000_000, name="tap1")
            writer.custom(32473, b"private")
            writer.packet(ts, FRAME[:60], len(FRAME), interface=1)
            writer.write_many([(ts, FRAME[:60], len(FRAME))], 1)
            writer.statistics(ts, received=2, dropped=0, interface=1)
    else:
        modified = name == "modified"
        with PcapWriter(path, nano="nano" in name, order=order, modified=modified) as pcap:
            pcap.write_many([(ts, FRAME[:60], len(FRAME))] * 2)
    fields = ("frame.time_epoch", "frame.len", "frame.cap_len", "infiniband.bth.psn")
    command = ["tshark", "-r", str(path), "-Y", "infiniband", "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    fraction = "123456789" if name.startswith("n") else "123456000"
    line = f"1700000000.{fraction}\t{len(FRAME)}\t60\t99"
    assert found[:2] == [line, line]
