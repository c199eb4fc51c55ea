"""What the user names becomes taps; what cannot be read is told in one line each."""

import gzip
import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from analyzers.capture import rotation
from analyzers.capture.source import Found, Tap, find
from fabric.pcap import PcapngWriter, PcapWriter
from tests.data import ROOT, real_data
from tests.reading import read_all

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
CAPTURE = ROOT / "captures" / "microseconds.pcap"


def pcap(first_s: float = 0, last_s: float = 1, packets: int = 5, link_type: int = 1) -> bytes:
    """Packets evenly from ``first_s`` to ``last_s`` after START."""
    file = io.BytesIO()
    step = (last_s - first_s) / max(packets - 1, 1)
    writer = PcapWriter(file, link_type)
    writer.write_many(
        (START + round((first_s + step * i) * SECOND), bytes(60), 60) for i in range(packets)
    )
    return file.getvalue()


def pcapng(first_s: float, last_s: float, packets: int = 5, link_type: int = 1) -> bytes:
    file = io.BytesIO()
    writer = PcapngWriter(file, order=">")
    writer.section()
    writer.interface(link_type, name="eth0")
    step = (last_s - first_s) / max(packets - 1, 1)
    for i in range(packets):
        writer.packet(START + round((first_s + step * i) * SECOND), bytes(60))
    writer.statistics(START, received=packets, dropped=0)
    return file.getvalue()


def lay(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def taps(found: Found, folder: Path) -> dict[str, list[str]]:
    """Points and the names of their files, relative to the folder."""
    return {
        tap.point: [str(Path(path).relative_to(folder)) for path in tap.paths] for tap in found.taps
    }


# -- files, folders, globs ----------------------------------------------------------------------


def test_content_decides_and_names_do_not_matter(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "a.txt": pcap(),
            "b": gzip.compress(pcapng(0, 1)),
            "c.pcap": b"hello, this is not a capture",
            "deep/er/d.CAP": pcap(),
            "deep/e.json": b"{}",
            "empty.pcap": b"",
        },
    )
    found = find([str(tmp_path)])
    assert taps(found, tmp_path) == {
        "a.txt": ["a.txt"],
        "b": ["b"],
        "d": ["deep/er/d.CAP"],
    }
    assert found.refused == ()
    assert found.skipped == 3


def test_a_named_file_that_is_no_capture_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    lay(tmp_path, {"a.pcap": pcap(), "b.pcap": b"no", "c.pcap": b"", "d.pcap": pcap()[:20]})
    names = [str(tmp_path / f"{letter}.pcap") for letter in "abcde"]
    found = find(names)
    assert found.taps == (Tap("a", (names[0],)),)
    assert found.refused == (
        f"{names[1]}: not a capture (neither pcap nor pcapng)",
        f"{names[2]}: empty file",
        f"{names[3]}: cut in the middle of the file header",
        f"{names[4]}: No such file or directory",
    )


def test_folders_without_captures_are_told(tmp_path: Path) -> None:
    lay(tmp_path, {"one/readme": b"text", "two/a.pcap": pcap()})
    (tmp_path / "none").mkdir()
    found = find([str(tmp_path / name) for name in ("one", "none", "two")])
    assert len(found.taps) == 1
    assert found.refused == (
        f"{tmp_path}/one: no captures in this folder (1 other files)",
        f"{tmp_path}/none: no captures in this folder (0 other files)",
    )


def test_globs_are_expanded_unless_a_file_is_called_so(tmp_path: Path) -> None:
    lay(tmp_path, {"a1.pcap": pcap(), "a2.pcap": pcap(), "sub/a3.pcap": pcap(), "[x].pcap": pcap()})
    assert taps(find([f"{tmp_path}/a?.pcap"]), tmp_path).keys() == {"a1", "a2"}
    assert taps(find([f"{tmp_path}/**/a*.pcap"]), tmp_path).keys() == {"a1", "a2", "a3"}
    assert taps(find([f"{tmp_path}/su*"]), tmp_path).keys() == {"a3"}
    assert taps(find([f"{tmp_path}/[x].pcap"]), tmp_path).keys() == {"[x]"}
    assert find([f"{tmp_path}/z*.pcap"]).refused == (f"{tmp_path}/z*.pcap: no file matches",)


def test_a_file_is_read_once_however_often_it_is_named(tmp_path: Path) -> None:
    lay(tmp_path, {"a.pcap": pcap()})
    (tmp_path / "link.pcap").symlink_to("a.pcap")
    (tmp_path / "loop").symlink_to(".")
    path = str(tmp_path / "a.pcap")
    assert taps(find([path, str(tmp_path), path]), tmp_path) == {"a": ["a.pcap"]}
    assert taps(find([str(tmp_path), f"leaf1:Ethernet4={path}"]), tmp_path) == {
        "leaf1:Ethernet4": ["a.pcap"]
    }


def test_points_of_equal_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    lay(tmp_path, {f"{folder}/x.pcap": pcap() for folder in ("a/n", "b/n", "c")})
    lay(tmp_path, {"c/y.pcap": pcap(), "c/x.pcapng": pcapng(0, 1)})
    points = {tap.point for tap in find([str(tmp_path)]).taps}
    assert points == {"a/n/x", "b/n/x", "c/x", "c/x#2", "y"}


@pytest.mark.parametrize("name", [b"a\xff.pcap", b"a\nb.pcap", b"a\x1b[31m.pcap"])
def test_names_that_would_break_a_line_or_a_table_are_refused(name: bytes, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    Path(os.fsdecode(path)).write_bytes(pcap())
    for argument in (os.fsdecode(path), str(tmp_path)):
        (line,) = find([argument]).refused
        assert line.isprintable()
        assert line.endswith("a name that is not printable text; please rename the file")


def test_a_name_too_long_for_any_file_is_told() -> None:
    (line,) = find(["x" * 5000]).refused
    assert line.endswith(": File name too long")


def test_an_empty_argument_is_no_folder() -> None:
    assert find([""]).refused == ("an empty path",)


def test_an_equals_sign_in_a_file_name_is_no_point(tmp_path: Path) -> None:
    lay(tmp_path, {"a=b.pcap": pcap()})
    assert taps(find([str(tmp_path / "a=b.pcap")]), tmp_path) == {"a=b": ["a=b.pcap"]}


def test_pipes_are_taken_on_trust_and_belong_to_this_process(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    lay(tmp_path, {"a.pcap": pcap()})
    found = find(["-", str(tmp_path / "pipe"), "leaf=-", str(tmp_path / "a.pcap")])
    assert [(tap.point, tap.once) for tap in found.taps] == [
        ("leaf", True),
        ("pipe", True),
        ("a", False),
    ]
    assert find([str(tmp_path)]).taps == (Tap("a", (str(tmp_path / "a.pcap"),)),)


def test_a_terminal_is_no_capture() -> None:
    main, terminal = os.openpty()
    program = "from analyzers.capture.streams import open_stream; open_stream('-')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdin=terminal,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        check=False,
    )
    os.close(main)
    os.close(terminal)
    assert b"ValueError: -: standard input is a terminal" in done.stderr


# -- what is not read ---------------------------------------------------------------------------


def erf(kind: int, records: int) -> bytes:
    record = struct.pack("<QBBHHH", 1_700_000_000 << 32, kind, 4, 48 << 8, 0, 32 << 8) + bytes(32)
    return record * records


FOREIGN = {
    "snoop": "a Solaris snoop capture",
    "ngsniffer": "a Sniffer (DOS) capture",
    "ngwsniffer_2_0": "a NetXRay or Sniffer (Windows) capture",
    "netmon1": "a Network Monitor 1 capture",
    "netmon2": "a Network Monitor 2 capture",
    "observer": "an Observer capture",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_captures_of_other_kinds_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    subprocess.run(["editcap", "-F", kind, CAPTURE, path], check=True)
    line = f"{path}: {FOREIGN[kind]}, which is not read"
    assert find([str(path)]).refused == (line,)
    assert find([str(tmp_path)]).refused == (line,)
    with pytest.raises(ValueError, match="which is not read") as refusal:
        read_all(path)
    assert str(refusal.value) == line


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (erf(2, 9), "an Endace ERF capture, which is not read"),
        (erf(21, 2), "an Endace ERF capture of InfiniBand, which is not read"),
        (erf(0x80 | 27, 1) + erf(21, 3), "an Endace ERF capture of InfiniBand, which is not read"),
        (pcap(link_type=247), "packets of LINKTYPE_INFINIBAND (247) are not read"),
        (gzip.compress(pcap(link_type=197), mtime=0), "packets of LINKTYPE_ERF (197) are not read"),
        (b"PK\x03\x04" + bytes(30), "a zip archive, which is not read"),
        (b"\x04\x22\x4d\x18" + bytes(30), "LZ4-compressed, which is not read"),
        (gzip.compress(b"some text", mtime=0), "not a capture (neither pcap nor pcapng)"),
        (b"\x1f\x8b\x08", "gzip data are cut in the middle"),
        (erf(2, 1)[:-1], "not a capture (neither pcap nor pcapng)"),
    ],
)
def test_what_is_not_read_says_why(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    assert find([str(path)]).refused == (f"{path}: {reason}",)
    with pytest.raises(ValueError, match=r"^/") as refusal:
        read_all(path)
    assert str(refusal.value) == f"{path}: {reason}"


def test_the_solaris_file_of_others_is_refused() -> None:
    path = real_data("captures", "pcapplusplus", "solaris.snoop")
    assert find([str(path)]).refused == (f"{path}: a Solaris snoop capture, which is not read",)


def test_a_file_that_cannot_be_read_is_told() -> None:
    assert find(["/proc/self/mem"]).refused == ("/proc/self/mem: Input/output error",)


# -- rotated sets -------------------------------------------------------------------------------

DUMPCAP = ("x_00001_20231114221320.pcapng", "x_00002_20231114221330.pcapng")


@pytest.mark.parametrize(
    ("point", "names"),
    [
        ("x", DUMPCAP),
        ("x", ("x_20231114221320_00001.pcapng.gz", "x_20231114221330_00002.pcapng")),
        ("x", ("x.pcap", "x.pcap1", "x.pcap2")),
        ("x", ("x.pcap08.gz", "x.pcap09.gz", "x.pcap10.gz")),
        ("tap-a", ("tap-2023-11-14_22:13:20-a.pcap", "tap-2023-11-14_22:13:30-a.pcap")),
        ("dump", ("dump-1700000000.pcap", "dump-1700000010.pcap")),
        ("x", ("x-0001", "x-0002")),
        ("tmp", ("202311142213.pcap", "202311142214.pcap")),
    ],
)
def test_rotated_files_are_one_tap_in_the_order_of_time(
    point: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "tmp"
    for number, name in enumerate(names):
        data = pcap(number * 10, number * 10 + 9)
        lay(folder, {name: gzip.compress(data) if name.endswith("gz") else data})
    found = find([str(folder)])
    assert taps(found, folder) == {point: list(names)}
    assert read_all(list(found.taps[0].paths)).reader.packets == 5 * len(names)


def test_a_ring_goes_by_time_and_not_by_number(tmp_path: Path) -> None:
    lay(tmp_path, {f"x.pcap{n}": pcap(t, t + 9) for n, t in ((0, 30), (1, 10), (2, 20))})
    assert taps(find([str(tmp_path)]), tmp_path) == {"x": ["x.pcap1", "x.pcap2", "x.pcap0"]}


def test_a_file_without_packets_belongs_to_its_set(tmp_path: Path) -> None:
    lay(tmp_path, {"x.pcap": pcap(0, 9), "x.pcap1": pcap(10, 19), "x.pcap2": pcap(packets=0)})
    assert taps(find([str(tmp_path)]), tmp_path) == {"x": ["x.pcap", "x.pcap1", "x.pcap2"]}


def test_pieces_that_editcap_makes_are_one_tap(tmp_path: Path) -> None:
    whole = real_data("captures", "rdma_ib_tutorial", "rping.pcap")
    subprocess.run(["editcap", "-c", "20", whole, tmp_path / "part.pcap"], check=True)
    (tap,) = find([str(tmp_path)]).taps
    assert tap.point == "part"
    assert len(tap.paths) == 4
    assert read_all(list(tap.paths)).packets == read_all(whole).packets


@pytest.mark.parametrize(
    "files",
    [
        {"node0.pcap": pcap(0, 9), "node1.pcap": pcap(10, 19)},  # no rotation counts like this
        {"x.pcap": pcap(0, 9), "x.pcap1": pcap(5, 19)},  # they overlap
        {"x.pcap": pcap(0, 9), "x.pcap1": pcap(10, 19, link_type=113)},  # another link type
        {"a/x.pcap": pcap(0, 9), "b/x.pcap1": pcap(10, 19)},  # another folder
        {"x.pcap": pcap(0, 9), "y.pcap1": pcap(10, 19)},
        dict(zip(DUMPCAP, (pcapng(0, 9), pcapng(8, 19)), strict=True)),
    ],
)
def test_what_is_no_rotated_set_stays_apart(files: dict[str, bytes], tmp_path: Path) -> None:
    lay(tmp_path, files)
    found = find([str(tmp_path)])
    assert [len(tap.paths) for tap in found.taps] == [1, 1]


def test_the_three_nodes_of_nccl_are_three_points() -> None:
    found = find([str(real_data("captures", "rdma_ib_tutorial", "nccl"))])
    assert [tap.point for tap in found.taps] == ["ring2_node0", "ring2_node1", "ring2_node2"]
    assert found.skipped == 3


def test_a_given_name_joins_files_or_says_why_not(tmp_path: Path) -> None:
    lay(tmp_path, {"late.pcap": pcap(10, 19), "soon.pcap": pcap(0, 9), "same.pcap": pcap(0, 9)})
    late, soon, same = (f"{tmp_path}/{name}.pcap" for name in ("late", "soon", "same"))
    assert find([f"leaf={late}", f"leaf={soon}"]).taps == (Tap("leaf", (soon, late)),)
    found = find([f"leaf={tmp_path}"])
    assert found.taps == ()
    assert found.refused[0].startswith("leaf: ")
    assert found.refused[0].endswith("overlap in time: they are not one capture")
    assert same in found.refused[0]


@pytest.mark.parametrize("kind", ["pcap", "pcapng", "big-endian pcapng", "frames that look alike"])
def test_the_ends_of_a_large_file_are_enough(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "large"
    if kind.endswith("pcapng"):
        with PcapngWriter(path, order=">" if kind.startswith("big") else "<") as writer:
            writer.section()
            writer.interface(resolution=6)
            writer.write_many((START + i * 1000, bytes(i % 1500), 1500) for i in range(3000))
            writer.statistics(START, received=1, dropped=0)
    else:
        # Frames full of what could be record headers do not deceive it.
        fake = pcap(1000, 2000, packets=9)[24:] if kind == "frames that look alike" else b""
        with PcapWriter(path) as writer:
            writer.write_many((START + i * 1000, fake + bytes(i % 1500), 2100) for i in range(3000))
    assert path.stat().st_size > 3 * rotation.TAIL_BYTES
    assert rotation.span(str(path), whole_bytes=0) == rotation.span(str(path))
    assert rotation.span(str(path)).last == START + 2999 * 1000


def test_the_last_time_of_a_large_file_that_is_cut_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(pcap(0, 100, packets=30_000)[:-7])
    assert rotation.span(str(path), whole_bytes=0)[1:] == (START, None)
