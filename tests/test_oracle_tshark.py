"""Field by field against tshark, and against scapy for the headers it knows.

All frames of our captures, of the third-party captures and of some simulated fabrics are gathered
into one file per link type, which the compiled decoder and the other readers then read. Where tshark
is wrong, ``EXCUSES`` says why; each must be needed, so that a newer tshark shows which are not.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from analyzers.capture.batch import make_batch, make_tally
from analyzers.capture.decode import decode
from analyzers.capture.reader import Reader
from fabric.codes import Fault, FrameKind, Header, Service
from fabric.pcap import PcapWriter
from tests import decoding, oracle
from tests.data import REAL_DATA, ROOT, tool

ROCE = (FrameKind.ROCE_V2, FrameKind.ROCE_V1)
Row = dict[str, Any]


class Origin(NamedTuple):
    """Where a gathered frame comes from."""

    path: Path
    frame: int
    data: bytes
    wire_bytes: int


def excuse_source_port(_ours: Row, theirs: Row) -> bool:
    """Tshark takes UDP port 4791 on either side; annex A17.3.1 gives it to the destination."""
    return theirs.get("sport") == 4791 and theirs.get("dport") != 4791


def excuse_version(ours: Row, _theirs: Row) -> bool:
    """Tshark reads a BTH of any version; the only one there is is 0 (IBTA 9.2.1)."""
    return bool(ours.get("fault") == Fault.NOT_ROCE)


def excuse_depth(ours: Row, _theirs: Row) -> bool:
    """We follow four encapsulations on purpose, tshark follows more."""
    return bool(ours.get("fault") == Fault.NESTING)


def excuse_xrc(ours: Row, _theirs: Row) -> bool:
    """Tshark 4.0 knows no opcode of XRC and reads no header behind its BTH."""
    return ours["opcode"] >> 5 == Service.XRC and ours["fault"] == Fault.NONE


def excuse_rd(ours: Row, _theirs: Row) -> bool:
    """Tshark takes what follows a BTH of RD for a DETH; an RDETH stands there (IBTA table 38)."""
    return ours["opcode"] >> 5 == Service.RD and ours["fault"] == Fault.UNKNOWN_OPCODE


Excuse = Callable[[Row, Row], bool]
NOT_OURS: tuple[Excuse, ...] = (excuse_source_port, excuse_version, excuse_depth)
EXTENDED: tuple[Excuse, ...] = (excuse_xrc, excuse_rd)
EXTENDED_COLUMNS = {"extended", "va", "rkey", "dma", "imm", "syndrome", "msn", "qkey", "src_qpn", "payload",
                    "atomic_swap", "atomic_compare", "atomic_original"}  # fmt: skip


def sources() -> Iterator[Path]:
    yield from sorted((ROOT / "captures").glob("*.pcap*"))
    yield from sorted((REAL_DATA / "captures").rglob("*.pcap*"))
    yield from sorted((REAL_DATA / "groundtruth").glob("*/tap_*.pcap.gz"))[::150]
    yield from sorted((REAL_DATA / "groundtruth").glob("*/full_*.pcap.gz"))[::150]


@cache
def gathered() -> dict[int, list[Origin]]:
    """All frames by link type."""
    frames: dict[int, list[Origin]] = {}
    for path in sources():
        reader, batch = Reader([str(path)]), make_batch()
        with suppress(ValueError):  # at the end, where it holds only link types that are not read
            for rows in reader.windows(batch):
                link_types = reader.link_types
                for row in range(rows):
                    at, iface = int(batch.offset[row]), int(batch.iface[row])
                    data = reader.window[at : at + int(batch.captured[row])].tobytes()
                    if iface < len(link_types):
                        origin = Origin(path, int(batch.frame[row]), data, int(batch.wire[row]))
                        frames.setdefault(int(link_types[iface]), []).append(origin)
    return frames


class Compared(NamedTuple):
    """What comparing the frames of one link type came to."""

    columns: int
    complaints: list[str]
    excuses: set[str]


@cache
def compared(link_type: int) -> Compared:
    """Read all frames of a link type with both and compare them."""
    origins, excuses, complaints, columns = gathered()[link_type], set(), [], 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "all.pcap"
        with PcapWriter(path, link_type) as writer:
            for number, origin in enumerate(origins):
                writer.write(number, origin.data, max(origin.wire_bytes, len(origin.data)))
        ours, theirs = ours_in(path), dict(oracle.read(tool("tshark"), path))

    def excused(choice: tuple[Excuse, ...], number: int) -> bool:
        found = {e.__name__ for e in choice if e(ours.get(number, {}), theirs[number])}
        excuses.update(found)
        return bool(found)

    for number, origin in enumerate(origins, 1):
        mine, expected = ours.get(number, {"kind": FrameKind.OTHER}), theirs.get(number)
        where = f"{origin.path.name} frame {origin.frame}"
        if expected is None:
            if mine["kind"] != FrameKind.OTHER:
                complaints.append(f"{where}: only we see it")
        elif mine["kind"] == FrameKind.OTHER:
            if not excused(NOT_OURS, number):
                complaints.append(f"{where}: only tshark sees it")
        else:
            columns += len(expected)
            wrong = {name for name, value in expected.items() if mine.get(name) != value}
            if wrong and not (wrong <= EXTENDED_COLUMNS and excused(EXTENDED, number)):
                complaints += [f"{where}: {n} {mine.get(n)}, not {expected[n]}" for n in wrong]
    return Compared(columns, complaints, excuses)


def ours_in(path: Path) -> dict[int, Row]:
    """Kept rows by frame number, with columns as the oracle spells them."""
    reader, batch, found = Reader([str(path)]), make_batch(), {}
    for rows in reader.windows(batch):
        kept = decode(reader.window, batch, rows, reader.link_types, make_tally(1))
        for row in decoding.rows_of(batch, kept):
            if row["kind"] in ROCE:
                row["extended"] = row["headers"] & ~(Header.BTH | Header.GRH)
                row["dport"] = 4791
                at = row["offset"] + row["icrc_at"]
                if row["icrc_at"] >= 0:
                    row["icrc"] = int.from_bytes(reader.window[at : at + 4].tobytes(), "big")
            else:
                row |= {f"quanta_{n}": quanta for n, quanta in enumerate(row["quanta"])}
            found[row["frame"]] = row
    return found


@pytest.mark.parametrize(
    ("link_type", "columns"), [(1, 100_000), (101, 100), (113, 100), (276, 100)]
)
def test_every_column_of_every_frame_is_what_tshark_reads(link_type: int, columns: int) -> None:
    result = compared(link_type)
    assert result.complaints == []
    assert result.columns > columns


def test_every_excuse_is_needed() -> None:
    assert compared(1).excuses == {excuse.__name__ for excuse in (*NOT_OURS, *EXTENDED)}


SCAPY_BTH = {
    "opcode": "opcode", "pkey": "pkey", "qpn": "dqpn", "psn": "psn", "ack_request": "ackreq",
}  # fmt: skip


def test_transport_headers_are_what_scapy_reads() -> None:
    from scapy.contrib.roce import AETH, BTH
    from scapy.layers.l2 import Ether

    frames = [o for n, o in enumerate(gathered()[1]) if o.data[42:43] == b"\x81" or n % 8 == 0]
    rows = rows_of([(origin.data, 1) for origin in frames])
    congestion = 0
    for number, origin in enumerate(frames, 1):
        packet = Ether(origin.data)
        row = rows.get(number)
        if row is None or row["kind"] != FrameKind.ROCE_V2 or row["wrap"] or BTH not in packet:
            continue
        bth = packet[BTH]
        where = f"{origin.path.name} frame {origin.frame}"
        assert {name: row[name] for name in SCAPY_BTH} == {
            name: getattr(bth, theirs) for name, theirs in SCAPY_BTH.items()
        }, where
        first = bth.solicited << 7 | bth.migreq << 6 | bth.padcount << 4 | bth.version
        assert (row["bth1"], row["bth4"] >> 6) == (first, bth.fecn << 1 | bth.becn), where
        congestion += bth.becn
        if AETH in packet and row["headers"] & Header.AETH:
            assert (row["syndrome"], row["msn"]) == (packet[AETH].syndrome, packet[AETH].msn), where
    assert congestion > 10


def test_pause_frames_are_what_scapy_reads() -> None:
    from scapy.contrib.mac_control import MACControlClassBasedFlowControl as Pfc
    from scapy.contrib.mac_control import MACControlPause
    from scapy.layers.l2 import Ether

    frames = [o for o in gathered()[1] if o.data[12:14] == b"\x88\x08"][:400]
    rows, seen = rows_of([(origin.data, 1) for origin in frames]), set()
    for number, origin in enumerate(frames, 1):
        packet, row = Ether(origin.data), rows[number]
        seen.add(row["kind"])
        if row["kind"] == FrameKind.PFC:
            quanta = [getattr(packet[Pfc], f"c{n}_pause_time") for n in range(8)]
            enabled = [getattr(packet[Pfc], f"c{n}_enabled") for n in range(8)]
            assert row["quanta"] == quanta
            assert [row["pause_vector"] >> n & 1 for n in range(8)] == enabled
        elif row["kind"] == FrameKind.GLOBAL_PAUSE:
            assert row["quanta"][0] == packet[MACControlPause].pause_time
    assert seen >= {FrameKind.PFC, FrameKind.GLOBAL_PAUSE}


def rows_of(frames: list[decoding.Frame]) -> dict[int, Row]:
    window, batch, link_types = decoding.indexed(frames, 0)
    kept = decode(window, batch, len(frames), link_types, make_tally(len(link_types)))
    return {row["frame"]: row for row in decoding.rows_of(batch, kept)}
