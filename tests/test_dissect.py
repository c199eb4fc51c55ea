"""``fabric packets --frame``: the frame that bears our number, whatever lies around it in the file."""

import gzip
import io
import lzma
import subprocess
import sys
from pathlib import Path

import pytest

from analyzers.capture.source import find
from dashboards import cli
from dashboards.commands import dissect
from fabric.codes import LinkType, Operation
from fabric.pcap import PcapngWriter
from fabric.roce import Route, roce
from tests.data import ROOT, tool

ROUTE = Route("10.0.0.1", "10.0.0.2")
UNKNOWN_BLOCK = 0x0BADF00D
FIRST_PSN = 1001


def odd_file() -> bytes:
    """Eight packets between blocks that are none, on two interfaces, one of them raw IP."""
    file = io.BytesIO()
    writer = PcapngWriter(file)
    writer.section()
    writer.interface(name="a")
    writer.interface(LinkType.RAW, name="b")
    writer.custom(32473, b"not a packet")
    for n in range(8):
        frame = roce(ROUTE, Operation.SEND_ONLY, 0x11, FIRST_PSN + n, payload=bytes(64))
        if n == 3:
            writer.simple(frame)
        elif n % 2:
            writer.packet(1_700_000_000_000_000_000 + n, frame[14:], interface=1)
        else:
            writer.packet(1_700_000_000_000_000_000 + n, frame)
        writer.custom(32473, b"and another")
        writer.block(UNKNOWN_BLOCK, bytes(8))
    return file.getvalue()


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("odd") / "odd.pcapng"
    path.write_bytes(odd_file())
    return path


def test_every_number_is_the_frame_that_bears_it(odd: Path) -> None:
    (tap,) = find([str(odd)]).taps
    for n in range(8):
        cut = dissect._cut(str(odd), tap, n + 1)
        frame = roce(ROUTE, Operation.SEND_ONLY, 0x11, FIRST_PSN + n, payload=bytes(64))
        raw = n % 2 and n != 3
        assert cut.data == (frame[14:] if raw else frame)
        assert cut.link_type == (LinkType.RAW if raw else LinkType.ETHERNET)


def test_tshark_shows_that_frame(odd: Path, tmp_path: Path) -> None:
    tool("tshark")
    (tap,) = find([str(odd)]).taps
    for n in (4, 6):
        single = tmp_path / "single.pcapng"
        dissect._write(single, dissect._cut(str(odd), tap, n))
        for text in (dissect._tshark(single, n), dissect._pyshark(single, n)):
            assert f"Packet Sequence Number: {FIRST_PSN + n - 1}" in text
            assert text.lower().startswith(f"frame {n}")
        assert f"Frame Number: {n}\n" in dissect._tshark(single, n)


@pytest.mark.parametrize("suffix", ["gz", "xz"])
def test_compressed(odd: Path, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"odd.{suffix}"
    data = odd.read_bytes()
    path.write_bytes(gzip.compress(data) if suffix == "gz" else lzma.compress(data))
    (tap,) = find([str(path)]).taps
    assert dissect._cut(str(path), tap, 8).wire_bytes == dissect._cut(str(odd), tap, 8).wire_bytes


def test_standard_input(odd: Path) -> None:
    tool("tshark")
    command = [sys.executable, "-m", "dashboards.cli", "packets", "-", "--frame", "5"]
    done = subprocess.run(
        command, input=gzip.compress(odd.read_bytes()), capture_output=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"Packet Sequence Number: {FIRST_PSN + 4}" in done.stdout.decode()


@pytest.mark.parametrize(
    ("file", "frame", "said"),
    [
        ("captures/healthy.pcap", "9999", "has no frame 9999, the last is"),
        ("captures/cut_record.pcap", "9999", "before the damage"),
        ("captures/README.md", "1", "not a capture"),
        ("captures", "1", "captures; name one"),
        ("nowhere.pcap", "1", "No such file"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    file: str, frame: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tool("tshark")
    path = ROOT / file
    assert cli.run(["packets", str(path), "--frame", frame]) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err.count("\n") == 1
    assert said in caught.err
    assert str(path) in caught.err
