"""The compiled reader says what the slow and obvious one says, whatever the file and the window."""

import bz2
import gzip
import io
import lzma
import random
import struct
import subprocess
import sys
import tracemalloc
from functools import cache
from pathlib import Path

import pytest
import zstandard

from analyzers.capture import formats
from analyzers.capture.index import Stop
from analyzers.capture.reader import REASONS, Reader
from analyzers.capture.streams import Inflated, open_memory
from fabric.codes import LinkType
from fabric.pcap import PcapngWriter, PcapWriter
from tests import twin_reader
from tests.data import REAL_DATA, ROOT, real_data
from tests.reading import batch_of, read_all

REAL = sorted((REAL_DATA / "captures").rglob("*.pcap*"))
OURS = sorted((ROOT / "captures").glob("*.pcap*"))
HOSTILE = "pcapng-generator/output_{}/difficult/test202.pcapng"
REFUSED = {"microsecs_big_endian.pcap": "LINKTYPE_NETLINK (253)"}
NOW = 1_700_000_000_123_456_789


def agree(data: bytes, **how: int) -> Reader:
    """The reader and its twin say the same of ``data``; returns the reader."""
    reading, twin = read_all(data, **how), twin_reader.read(data)
    assert reading.packets == twin.packets
    said = [(i.link_type, i.name, i.speed_bps, i.dropped) for i in reading.reader.interfaces]
    assert said == [(i.link_type, i.name, i.speed_bps, i.dropped) for i in twin.interfaces]
    assert bool(reading.reader.damage) == (twin.damaged_at is not None)
    if twin.damaged_at is not None:
        assert reading.reader.damage.startswith(f"memory: byte {twin.damaged_at}: ")
        assert reading.reader.damage.endswith(f"read up to packet {len(twin.packets)}")
    return reading.reader


# -- real files ---------------------------------------------------------------------------------


def test_there_are_captures_to_compare() -> None:
    assert len(OURS) > 50
    real_data("captures")
    assert len(REAL) > 50


@pytest.mark.parametrize("path", REAL + OURS, ids=lambda path: path.name)
def test_captures_read_as_the_twin_reads_them(path: Path) -> None:
    if path.name in REFUSED:
        with pytest.raises(ValueError, match="not read") as refusal:
            read_all(path)
        assert str(refusal.value) == f"{path}: packets of {REFUSED[path.name]} are not read"
    else:
        agree(path.read_bytes())


def test_packet_counts_are_those_of_capinfos() -> None:
    real_data("captures")
    paths = [path for path in REAL + OURS if path.name not in REFUSED]
    command = ["capinfos", "-rTcm", *paths]  # which fails for a cut file, after telling the rest
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    counts = {line.rpartition(",")[0]: int(line.rpartition(",")[2]) for line in said.splitlines()}
    assert len(counts) >= len(paths) - 2
    readers = {str(path): read_all(path).reader for path in paths}
    assert all(readers[path].damage for path in readers.keys() - counts.keys())
    assert {path: readers[path].packets for path in counts} == counts


@pytest.mark.parametrize(
    "path", sorted((REAL_DATA / "captures" / "pcapng-generator").rglob("*.txt")), ids=str
)
def test_generated_pcapngs_hold_what_their_text_says(path: Path) -> None:
    counts = dict(
        line.strip().split(": ") for line in path.read_text().splitlines() if "B: " in line
    )
    reader = read_all(path.with_suffix(".pcapng")).reader
    assert reader.packets == int(counts.get("EPB", 0)) + int(counts.get("SPB", 0))
    assert reader.untimed == int(counts.get("SPB", 0))
    assert len(reader.interfaces) == int(counts.get("IDB", 0))
    assert not reader.damage


@pytest.mark.parametrize(
    "name",
    [
        HOSTILE.format("be"),
        HOSTILE.format("le"),
        "pcapng-generator/output_le/basic/test008.pcapng",
        "pcapplusplus/many_interfaces-1.pcapng",
        "pcapplusplus/nanosecs_big_endian.pcap",
        "tcpdump/tcp-handshake-nano.pcap",
        "rdma_ib_tutorial/rping.pcap",
    ],
)
def test_times_and_lengths_are_those_of_tshark(name: str) -> None:
    path = real_data("captures", *name.split("/"))
    fields = ["frame.time_epoch", "frame.len", "frame.cap_len", "frame.interface_id"]
    fields.append("frame.section_number")
    command = ["tshark", "-n", "-r", str(path), "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split("\t") for line in lines.splitlines()]
    if path.suffix == ".pcapng":  # it lists custom blocks among the frames, without an interface
        rows = [row for row in rows if row[3]]
    packets = read_all(path).packets
    assert len(rows) == len(packets)
    interfaces: dict[int, set[tuple[str, str]]] = {}
    for packet, (time, length, captured, iface, section) in zip(packets, rows, strict=True):
        if time:  # a simple packet block has none
            seconds, _, fraction = time.partition(".")
            assert packet.ts == int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
        assert (packet.wire, len(packet.data)) == (int(length), int(captured))
        interfaces.setdefault(packet.iface, set()).add((section, iface))
    assert all(len(named) == 1 for named in interfaces.values())
    assert len(set.union(*interfaces.values())) == len(interfaces)


# -- generated files ----------------------------------------------------------------------------


def random_frames(rng: random.Random, tick_ns: int = 1) -> list[tuple[int, bytes, int]]:
    frames = []
    for _ in range(rng.randrange(40)):
        data = rng.randbytes(rng.choice((0, 1, 3, 60, 61, 62, 63, 1500)))
        ts = rng.randrange(0, 2**62) // 2 % (2**32 * 10**9) // tick_ns * tick_ns
        frames.append((ts, data, len(data) + rng.choice((0, 0, 4000))))
    return frames


def random_pcap(rng: random.Random) -> tuple[bytes, list[tuple[int, bytes, int]]]:
    file = io.BytesIO()
    nano, modified = rng.random() < 0.5, rng.random() < 0.3
    frames = random_frames(rng, 1 if nano and not modified else 1000)
    writer = PcapWriter(
        file, rng.choice(list(LinkType)), nano=nano, modified=modified, order=rng.choice("<>")
    )
    writer.write_many(frames)
    return file.getvalue(), frames


def random_pcapng(rng: random.Random) -> tuple[bytes, list[bytes]]:
    """Blocks of all kinds in any order; the frames that were written."""
    file, frames = io.BytesIO(), []
    writer = PcapngWriter(file)
    writer.section()
    describe(rng, writer, LinkType.ETHERNET)  # so that the file is not refused
    for _ in range(rng.randrange(1, 4)):
        writer.section(order=rng.choice("<>"), options=[(1, rng.randbytes(rng.randrange(20)))])
        for _ in range(rng.randrange(4)):
            describe(rng, writer, rng.choice(list(LinkType)))
        for _ in range(rng.randrange(20)):
            frames += block(rng, writer)
    return file.getvalue(), frames


def describe(rng: random.Random, writer: PcapngWriter, link_type: int = 105) -> None:
    writer.interface(
        link_type,
        name=rng.choice(("", "eth0", "Ethernet4")),
        resolution=rng.choice((6, 9, 3, 0, 10, 0x80 | 10, 0x80 | 20, 0x80 | 33)),
        offset_s=rng.choice((0, 0, 1_600_000_000, -7)),
        speed_bps=rng.choice((0, 400_000_000_000)),
        snaplen=rng.choice((0, 0, 64, 65535)),
        options=rng.sample([(1, b"comment"), (3, b"description"), (99, b"")], rng.randrange(3)),
    )


def block(rng: random.Random, writer: PcapngWriter) -> list[bytes]:
    """Write one block of any kind; the frame if it is a packet."""
    count = len(writer.interfaces)
    kind = rng.randrange(8)
    if kind == 0:
        describe(rng, writer)
    elif kind == 1:
        writer.custom(32473, rng.randbytes(rng.randrange(30)))
    elif kind == 2:
        writer.block(rng.choice((4, 10, 0x0BAD, 0x40000BAD, 77)), rng.randbytes(4))
    elif count == 0:
        frame = rng.randbytes(9)  # of an interface that was never described
        head = struct.pack(writer.order + "5I", rng.randrange(3), 0, 5, 9, 9)
        writer.block(6, head + frame)
        return [frame]
    else:
        iface, ts = rng.randrange(count), 1_600_000_000_000_000_000 + rng.randrange(10**14)
        frame = rng.randbytes(rng.randrange(70))
        length = len(frame) + rng.choice((0, 1400))
        if kind == 3:
            writer.simple(frame)
            return [frame[: writer.interfaces[0].snaplen or None]]
        if kind == 4:
            writer.obsolete(ts, frame, length, interface=iface, drops=rng.choice((0, 3, 0xFFFF)))
        elif kind == 5:
            writer.statistics(ts, received=9, dropped=rng.randrange(99), interface=iface)
            return []
        else:
            options = [(1, b"why"), (2, bytes(4))] if kind == 6 else []
            writer.packet(ts, frame, length, interface=iface, options=options)
        return [frame[: writer.interfaces[iface].snaplen or None]]
    return []


@pytest.mark.parametrize("seed", range(60))
def test_pcap_of_any_kind_reads_back(seed: int) -> None:
    data, frames = random_pcap(random.Random(seed))
    agree(data, window_bytes=1 << seed % 12 + 5)
    assert [packet[:3] for packet in read_all(data).packets] == frames


@pytest.mark.parametrize("seed", range(150))
def test_pcapng_of_any_kind_reads_as_the_twin_reads_it(seed: int) -> None:
    data, frames = random_pcapng(random.Random(seed))
    reader = agree(data, window_bytes=1 << seed % 12 + 5, rows=1 + seed % 9)
    assert not reader.damage
    assert [packet.data for packet in read_all(data).packets] == frames


def test_every_resolution_is_exact() -> None:
    rng, file = random.Random(1), io.BytesIO()
    writer = PcapngWriter(file)
    writer.section()
    for resolution in range(256):
        writer.interface(resolution=resolution, offset_s=rng.choice((0, 1, -(2**40))))
    for resolution in range(256):
        for ticks in (0, 1, 2**63, 2**64 - 1, rng.getrandbits(64), rng.getrandbits(34)):
            writer.block(6, struct.pack("<IIIII", resolution, *divmod(ticks, 2**32), 0, 0))
    agree(file.getvalue())


@pytest.mark.parametrize("path", [HOSTILE.format("be"), "rdma_ib_tutorial/rping.pcap"])
def test_window_and_batch_change_nothing(path: str) -> None:
    data = real_data("captures", *path.split("/")).read_bytes()
    whole = read_all(data)
    for window_bytes in (1, 7, 64, 100, 333, 1024, 4096, 1 << 20):
        for rows in (1, 2, 8192):
            reading = read_all(data, window_bytes=window_bytes, rows=rows)
            assert reading.packets == whole.packets
            assert reading.reader.interfaces == whole.reader.interfaces


def test_the_window_grows_only_for_a_record_that_is_larger() -> None:
    file = io.BytesIO()
    PcapWriter(file).write_many((NOW, bytes(size), size) for size in (100, 5000, 100))
    reading = read_all(file.getvalue(), window_bytes=1000)
    assert [len(packet.data) for packet in reading.packets] == [100, 5000, 100]
    assert 5000 < len(reading.reader.window) < 16_000


# -- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "tcpdump/tcp-handshake-nano.pcap",
        HOSTILE.format("be"),
        HOSTILE.format("le"),
        "pcapng-generator/output_le/advanced/test101.pcapng",
    ],
)
def test_a_file_cut_anywhere_is_read_up_to_the_cut(path: str) -> None:
    data = real_data("captures", *path.split("/")).read_bytes()
    for end in range(len(data)):
        if end < formats.PCAP_HEADER_BYTES:
            with pytest.raises(ValueError, match=r"^memory: (cut in the middle|not a cap|empty)"):
                read_all(data[:end])
        else:
            agree(data[:end], window_bytes=512)


def pcap_record(captured: int, wire: int, data: bytes = b"") -> bytes:
    return struct.pack("<IIII", 1_700_000_000, 0, captured, wire) + data


def pcap_file(*records: bytes, snaplen: int = 262_144, link_type: int = 1) -> bytes:
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, link_type) + b"".join(records)


def pcapng_file(*blocks: bytes) -> bytes:
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    return section + struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20) + b"".join(blocks)


def pcapng_block(
    kind: int, body: bytes, length: int | None = None, tail: int | None = None
) -> bytes:
    length = len(body) + 12 if length is None else length
    return (
        struct.pack("<II", kind, length)
        + body
        + struct.pack("<I", length if tail is None else tail)
    )


GOOD_RECORD = pcap_record(4, 60, b"abcd")
GOOD_BLOCK = pcapng_block(6, struct.pack("<5I", 0, 0, 0, 4, 60) + b"abcd")
DAMAGED = {
    "record of 2 GiB": (Stop.TOO_LONG, pcap_file(GOOD_RECORD, pcap_record(1 << 31, 1 << 31))),
    "negative": (Stop.TOO_LONG, pcap_file(GOOD_RECORD, pcap_record(0xFFFFFFFF, 60))),
    "above the limit": (Stop.TOO_LONG, pcap_file(GOOD_RECORD, pcap_record(262_145, 262_145))),
    "no limit": (
        Stop.TOO_LONG,
        pcap_file(GOOD_RECORD, pcap_record((16 << 20) + 1, 1), snaplen=0),
    ),
    "zeros": (Stop.BLANK, pcap_file(GOOD_RECORD, bytes(4096))),
    "block of 4 GiB": (Stop.TOO_LONG, pcapng_file(GOOD_BLOCK, pcapng_block(6, b"", 0xFFFFFFFC))),
    "block of 8": (Stop.TOO_SHORT, pcapng_file(GOOD_BLOCK, pcapng_block(9, b"", 8))),
    "zero blocks": (Stop.TOO_SHORT, pcapng_file(GOOD_BLOCK, bytes(64))),
    "simple block of 12": (Stop.TOO_SHORT, pcapng_file(GOOD_BLOCK, pcapng_block(3, b""))),
    **{
        f"block {kind:#x} of {length}": (
            Stop.TOO_SHORT,
            pcapng_file(
                GOOD_BLOCK, pcapng_block(kind, b"\x4d\x3c\x2b\x1a".ljust(length - 12, b"\0"))
            ),
        )
        for kind, length in {6: 28, 2: 28, 5: 20, 1: 16, 0x0A0D0D0A: 24}.items()
    },
    "length of 18": (Stop.UNALIGNED, pcapng_file(GOOD_BLOCK, pcapng_block(9, bytes(6)))),
    "unaligned": (Stop.UNALIGNED, pcapng_file(GOOD_BLOCK, pcapng_block(9, bytes(5)))),
    "lengths differ": (
        Stop.MISMATCH,
        pcapng_file(GOOD_BLOCK, pcapng_block(6, bytes(24), tail=40)),
    ),
    "packet longer than its block": (
        Stop.OVERRUN,
        pcapng_file(GOOD_BLOCK, pcapng_block(6, struct.pack("<5I", 0, 0, 0, 5, 5) + b"abcd")),
    ),
    "section without magic": (
        Stop.NO_MAGIC,
        pcapng_file(GOOD_BLOCK, pcapng_block(0x0A0D0D0A, bytes(16))),
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_and_what_stands_before_it_is_kept(name: str) -> None:
    stop, data = DAMAGED[name]
    reader = agree(data + GOOD_RECORD)
    assert reader.packets == 1
    assert REASONS[stop].partition("{")[0] in reader.damage
    assert "\n" not in reader.damage


def test_the_longest_record_is_16_mib() -> None:
    size = 16 << 20
    data = pcap_file(pcap_record(size, size, bytes(size)), snaplen=0)
    assert [len(packet.data) for packet in read_all(data).packets] == [size]
    data = pcapng_file(pcapng_block(9, bytes(size - 12)), GOOD_BLOCK)
    assert len(read_all(data).packets) == 1
    data = pcapng_file(pcapng_block(9, bytes(size - 8)), GOOD_BLOCK)
    assert "more than a record can have" in read_all(data).reader.damage


def test_every_damage_has_a_case() -> None:
    assert {stop for stop, _ in DAMAGED.values()} == set(REASONS)


def test_unknown_version_of_a_section_ends_the_file() -> None:
    section = pcapng_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 2, 7, -1))
    reader = agree(pcapng_file(GOOD_BLOCK, section, GOOD_BLOCK))
    assert "a section of pcapng version 2.7" in reader.damage


def test_too_many_interfaces_end_the_file() -> None:
    block = struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20)
    reader = read_all(pcapng_file(GOOD_BLOCK, block * 66_000)).reader
    assert len(reader.interfaces) == formats.MAX_INTERFACES
    assert "more than 65534 interfaces" in reader.damage


@pytest.mark.parametrize("length", [0, 1, 0xFFF0, 0xFFFF])
def test_options_that_overrun_their_block_are_ignored(length: int) -> None:
    body = struct.pack("<HHI", 1, 0, 0) + struct.pack("<HH", 9, length) + bytes(4)
    agree(pcapng_file(pcapng_block(1, body), GOOD_BLOCK))


def test_a_name_cannot_break_the_line() -> None:
    option = struct.pack("<HH", 2, 12) + b"eth\n\x1b[31m0\0\0"
    reader = read_all(pcapng_file(pcapng_block(1, bytes(8) + option))).reader
    assert reader.interfaces[1].name == "eth??[31m0"


# -- link types ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (197, "LINKTYPE_ERF (197)"),
        (247, "LINKTYPE_INFINIBAND (247)"),
        (105, "LINKTYPE_IEEE802_11 (105)"),
        (4242, "link type 4242"),
    ],
)
def test_link_types_are_refused_by_name(number: int, name: str) -> None:
    text = f"^memory: packets of {name} are not read$".replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=text):
        read_all(pcap_file(GOOD_RECORD, link_type=number))
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    with pytest.raises(ValueError, match=text):
        read_all(section + struct.pack("<IIHHII", 1, 20, number, 0, 0, 20) + GOOD_BLOCK)


def test_a_length_of_the_fcs_is_no_part_of_the_link_type() -> None:
    reader = agree(pcap_file(GOOD_RECORD, link_type=0x9400_0001))
    assert reader.interfaces[0].link_type == LinkType.ETHERNET


def test_one_interface_that_is_read_is_enough() -> None:
    other = struct.pack("<IIHHII", 1, 20, 105, 0, 0, 20)
    packet = pcapng_block(6, struct.pack("<5I", 1, 0, 0, 4, 60) + b"abcd")
    reader = agree(pcapng_file(other, packet, GOOD_BLOCK))
    assert reader.link_types.tolist() == [LinkType.ETHERNET, 105]


# -- compression, pipes, sets -------------------------------------------------------------------


def zstd_frames(data: bytes) -> bytes:
    """Two frames with a skippable one before each, as pzstd writes them."""
    half = len(data) // 2
    frames = [zstandard.compress(part) for part in (data[:half], data[half:])]
    skip = b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"size"
    return skip + frames[0] + skip + frames[1]


COMPRESS = {
    "gzip": gzip.compress,
    "gzip members": lambda data: gzip.compress(data[:999]) + gzip.compress(data[999:]),
    "gzip padded": lambda data: gzip.compress(data) + bytes(512),
    "zstd": zstandard.compress,
    "zstd frames": zstd_frames,
    "xz": lambda data: lzma.compress(data, preset=1),
    "xz streams": lambda data: lzma.compress(data[:50]) + bytes(8) + lzma.compress(data[50:]),
    "bzip2": bz2.compress,
    "bzip2 streams": lambda data: bz2.compress(data[:9]) + bz2.compress(data[9:]),
}


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("path", ["rdma_ib_tutorial/rping.pcap", HOSTILE.format("be")])
def test_compressed_files_read_like_plain_ones(name: str, path: str) -> None:
    data = real_data("captures", *path.split("/")).read_bytes()
    reading = read_all(COMPRESS[name](data), window_bytes=1 << 12)
    assert reading.packets == twin_reader.read(data).packets
    assert not reading.reader.damage


@cache
def big_capture() -> bytes:
    rng, file = random.Random(2), io.BytesIO()
    PcapWriter(file).write_many((NOW + i, rng.randbytes(700), 700) for i in range(3000))
    return file.getvalue()


@pytest.mark.parametrize("name", ["gzip", "zstd", "xz", "bzip2"])
@pytest.mark.parametrize("harm", ["cut", "flipped", "followed"])
def test_damaged_compression_keeps_what_comes_before(name: str, harm: str) -> None:
    data = big_capture()
    packed = bytearray(COMPRESS[name](data))
    if harm == "cut":
        del packed[len(packed) * 2 // 3 :]
    elif harm == "flipped":
        at = len(packed) * 2 // 3
        packed[at : at + 40] = bytes(byte ^ 0xFF for byte in packed[at : at + 40])
    else:
        packed += b"no such data"
    reading, twin = read_all(bytes(packed)), twin_reader.read(data)
    found = len(reading.packets)
    sound = 1200 if harm == "flipped" else found  # the bytes flipped may come out before they tell
    assert reading.packets[:sound] == twin.packets[:sound]
    assert found == 3000 if harm == "followed" else 1200 <= found < 3000
    assert name in reading.reader.damage or (harm == "flipped" and reading.reader.damage)
    assert "\n" not in reading.reader.damage


@pytest.mark.parametrize("name", ["gzip", "zstd", "xz", "bzip2"])
def test_a_bomb_costs_time_and_no_memory(name: str) -> None:
    packed = COMPRESS[name](bytes(100 << 20))
    tracemalloc.start()
    stream = open_memory(packed)
    assert isinstance(stream, Inflated)
    view, total = memoryview(bytearray(1 << 16)), 0
    while count := stream.readinto(view):
        total += count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 100 << 20
    assert peak < 40 << 20


def test_a_dictionary_larger_than_we_allow_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 28}]
    with pytest.raises(ValueError, match=r"memory: xz data are damaged .*[Mm]emory"):
        read_all(lzma.compress(pcap_file(GOOD_RECORD), filters=filters))
    params = zstandard.ZstdCompressionParameters(window_log=30)
    compressor = zstandard.ZstdCompressor(compression_params=params).compressobj()
    packed = compressor.compress(pcap_file(GOOD_RECORD)) + compressor.flush()
    with pytest.raises(ValueError, match=r"memory: zstd data are damaged .*memory"):
        read_all(packed)


def test_standard_input_is_read_like_a_file() -> None:
    program = (
        "import sys\n"
        "from analyzers.capture.batch import make_batch\n"
        "from analyzers.capture.reader import Reader\n"
        "reader = Reader(['-'])\n"
        "print(sum(reader.windows(make_batch())), reader.damage or 'sound')"
    )
    data = gzip.compress(big_capture())
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        for start in range(0, len(data), 65_000):  # in pieces, as a pipe delivers
            process.stdin.write(data[start : start + 65_000])
            process.stdin.flush()
        output = process.communicate()[0]
    assert output.decode().split() == ["3000", "sound"]


def test_a_rotated_set_is_one_tap(tmp_path: Path) -> None:
    paths = []
    for number in range(3):
        path = tmp_path / f"{number}.pcapng"
        with PcapngWriter(path) as writer:
            writer.section()
            for name in ("leaf", "spine"):
                writer.interface(name=name)
            writer.interface(name=f"only{number}")
            for i in range(5):
                writer.packet(NOW + number * 10 + i, b"frame", interface=i % 3)
            writer.statistics(NOW, received=5, dropped=number * 7, interface=1)
        paths.append(str(path))
    (tmp_path / "1.pcapng").write_bytes((tmp_path / "1.pcapng").read_bytes()[:-70])
    reading = read_all(paths)
    names = [found.name for found in reading.reader.interfaces]
    assert names == ["leaf", "spine", "only0", "only1", "only2"]
    assert [found.dropped for found in reading.reader.interfaces] == [-1, 14, -1, -1, -1]
    assert reading.reader.starts == [(paths[0], 1), (paths[1], 6), (paths[2], 10)]
    assert [packet.iface for packet in reading.packets] == [
        0,
        1,
        2,
        0,
        1,
        0,
        1,
        3,
        0,
        0,
        1,
        4,
        0,
        1,
    ]
    assert reading.reader.damage.startswith(f"{paths[1]}: byte ")


def test_a_missing_file_of_a_set_is_damage_and_a_missing_first_file_an_error(
    tmp_path: Path,
) -> None:
    good, missing = tmp_path / "good.pcap", str(tmp_path / "missing.pcap")
    good.write_bytes(pcap_file(GOOD_RECORD))
    reader = read_all([str(good), missing]).reader
    assert reader.packets == 1
    assert missing in reader.damage
    with pytest.raises(FileNotFoundError, match=r"missing\.pcap"):
        read_all(missing)


def test_a_disk_that_fails_names_the_file() -> None:
    with pytest.raises(OSError, match="/proc/self/mem"):
        read_all("/proc/self/mem")


def test_progress_goes_up_to_the_size_of_all_files(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a.pcap.gz", "b.pcap")]
    Path(paths[0]).write_bytes(gzip.compress(big_capture()))
    Path(paths[1]).write_bytes(big_capture())
    told: list[tuple[int, int]] = []
    reader = Reader(paths, window_bytes=1 << 16, progress=lambda *now: told.append(now))
    assert sum(reader.windows(batch_of(8192))) == 6000
    total = sum(Path(path).stat().st_size for path in paths)
    done = [now for now, _ in told]
    assert done == sorted(done)
    assert len(set(done)) > 20
    assert told[-1] == (total, total)
    assert {of for _, of in told} == {total}
