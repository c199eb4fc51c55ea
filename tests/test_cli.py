"""The command as a user meets it, with bad input above all.

What a process of its own proves (status, streams, signals, encodings) runs in one; what the command says
of this or that input is asked of the same code in this process.
"""

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from dashboards import cli
from dashboards.commands import values
from dashboards.commands.files import whole, write_text
from dashboards.commands.select import opcodes
from fabric.pcap import PcapWriter
from tests.data import ROOT, real_data

CAPTURES = ROOT / "captures"
LOSS = CAPTURES / "loss_upstream.pcap"
HEALTHY = CAPTURES / "healthy.pcap"


def fabric(*arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dashboards.cli", *map(str, arguments)]
    said = {"capture_output": True, "text": True, "cwd": ROOT, "timeout": 120, "encoding": None}
    return subprocess.run(command, check=False, **{**said, **more})


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process: same answer, none of the time that starting one takes."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        status = cli.run([str(argument) for argument in arguments])
        return subprocess.CompletedProcess(arguments, status, *capsys.readouterr())

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


# Bad input: what is given, the status, and what is said.


def not_a_capture(folder: Path) -> Path:
    (folder / "notes.txt").write_text("no packets here, only words\n" * 100)
    return folder / "notes.txt"


def empty(folder: Path) -> Path:
    (folder / "empty.pcap").write_bytes(b"")
    return folder / "empty.pcap"


def no_captures(folder: Path) -> Path:
    not_a_capture(folder)
    (folder / "below").mkdir()
    return folder


def missing(folder: Path) -> Path:
    return folder / "missing.pcap"


def loop(folder: Path) -> Path:
    (folder / "self").symlink_to(folder / "self")
    return folder / "self"


def folder_loop(folder: Path) -> Path:
    (folder / "round").symlink_to(folder)
    return folder


def infiniband(folder: Path) -> Path:
    with PcapWriter(folder / "ib.pcap", 247) as out:
        out.write(1, bytes(60))
    return folder / "ib.pcap"


def snoop(folder: Path) -> Path:
    (folder / "a.snoop").write_bytes(b"snoop\0\0\0" + struct.pack(">II", 2, 4) + bytes(64))
    return folder / "a.snoop"


def cut_header(folder: Path) -> Path:
    (folder / "short.pcap").write_bytes(LOSS.read_bytes()[:20])
    return folder / "short.pcap"


def cut_gzip(folder: Path) -> Path:
    import gzip

    (folder / "cut.pcap.gz").write_bytes(gzip.compress(LOSS.read_bytes())[:12])
    return folder / "cut.pcap.gz"


class Bad(NamedTuple):
    make: Callable[[Path], Path]
    says: str


HOPELESS = [
    Bad(not_a_capture, "notes.txt"),
    Bad(empty, "empty"),
    Bad(no_captures, "no captures"),
    Bad(missing, "No such file"),
    Bad(loop, "self"),
    Bad(folder_loop, "no captures"),
    Bad(infiniband, "ib.pcap"),
    Bad(snoop, "snoop"),
    Bad(cut_header, "short.pcap"),
    Bad(cut_gzip, "cut.pcap.gz"),
]


@pytest.mark.parametrize("bad", HOPELESS, ids=lambda bad: bad.make.__name__)
def test_nothing_could_be_done_is_status_2_and_one_line(
    bad: Bad, here: Command, tmp_path: Path
) -> None:
    done = here("analyze", bad.make(tmp_path), "--json")
    assert done.returncode == 2
    assert done.stdout == ""
    assert bad.says in one_line(done)


def test_a_process_says_so_too(tmp_path: Path) -> None:
    done = fabric("analyze", not_a_capture(tmp_path), missing(tmp_path), "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 2
    assert "Traceback" not in done.stderr


def cut_record(folder: Path) -> tuple[Path, str]:
    data = LOSS.read_bytes()
    (folder / "cut.pcap").write_bytes(data[: len(data) * 2 // 3])
    return folder / "cut.pcap", "cut in the middle"


def absurd_length(folder: Path) -> tuple[Path, str]:
    data = bytearray(LOSS.read_bytes())
    struct.pack_into("<I", data, 24 + 8, 0xFFFFFFF0)
    (folder / "absurd.pcap").write_bytes(data)
    return folder / "absurd.pcap", "a length of 4294967280 bytes"


@pytest.mark.parametrize("make", [cut_record, absurd_length], ids=lambda make: make.__name__)
def test_damage_is_told_and_what_precedes_it_counts(
    make: Callable[[Path], tuple[Path, str]], here: Command, tmp_path: Path
) -> None:
    path, says = make(tmp_path)
    done = here("analyze", path, "--json")
    assert done.returncode in (0, 1)
    assert done.stderr == ""
    given = json.loads(done.stdout)
    assert says in given["inputs"][0]["damage"]
    assert "capture_damaged" in {finding["kind"] for finding in given["findings"]}


def test_a_short_snap_length_is_counted_as_faults(here: Command, tmp_path: Path) -> None:
    import dpkt

    with LOSS.open("rb") as file, PcapWriter(tmp_path / "snap.pcap", snaplen=40) as out:
        for seconds, frame in dpkt.pcap.Reader(file):
            out.write(int(seconds * 10**9), frame[:40], len(frame))
    done = here("analyze", tmp_path / "snap.pcap", "--json")
    assert done.returncode == 0
    given = json.loads(done.stdout)
    assert given["inputs"][0]["faults"] == {"truncated": given["inputs"][0]["packets"]}
    assert given["summary"]["verdict"] == "nothing_to_judge"


def test_one_bad_file_does_not_hide_the_good_ones(here: Command, tmp_path: Path) -> None:
    done = here("analyze", LOSS, missing(tmp_path), not_a_capture(tmp_path), "--json")
    assert done.returncode == 1
    given = json.loads(done.stdout)
    assert len(given["inputs"]) == 1
    assert len(given["refused"]) == 2
    assert given["summary"]["verdict"] != "healthy"


# What it does when all is well.


def test_findings_are_status_1_and_healthy_is_0(here: Command, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = fabric("analyze", LOSS, "--html", page, "--out", tmp_path / "kept", "--packets")
    assert (done.returncode, done.stderr) == (1, "")
    assert "loss upstream" in done.stdout
    assert page.read_text().startswith("<!doctype html>")
    kept = {path.name for path in (tmp_path / "kept").iterdir()}
    assert {"report.json", "events.parquet", "flows.parquet", "packets.parquet"} <= kept
    assert names(tmp_path) == ["kept", "report.html"]
    healthy = here("analyze", HEALTHY)
    assert (healthy.returncode, healthy.stderr) == (0, "")
    assert healthy.stdout.startswith(" HEALTHY ")


def test_standard_input_and_named_points(here: Command) -> None:
    with LOSS.open("rb") as file:
        done = fabric("analyze", "-", "--json", stdin=file)
    assert done.returncode == 1
    named = json.loads(here("analyze", f"spine1:3={LOSS}", "--json").stdout)
    assert named["inputs"][0]["point"] == "spine1:3"
    first = json.loads(done.stdout)
    assert [f["summary"] for f in first["findings"] if f["severity"] != "info"]
    assert first["summary"]["roce"] == named["summary"]["roce"]


def test_a_terminal_of_another_encoding_shows_what_it_can() -> None:
    plain = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    shown = fabric("analyze", LOSS, env=plain, encoding="latin-1")
    assert (shown.returncode, shown.stderr) == (1, "")
    given = fabric("analyze", LOSS, "--json", env=plain, encoding="utf-8")
    assert json.loads(given.stdout)["findings"][0]["subject"].startswith("10.0.0.1 → 10.0.0.2")


@pytest.mark.parametrize("name", ["rdma_write_bw", "rdma_send_bw", "rdma_write_lat", "rping"])
def test_public_captures_are_healthy(name: str, here: Command) -> None:
    done = here("analyze", real_data("captures", "rdma_ib_tutorial", f"{name}.pcap"), "--json")
    given = json.loads(done.stdout)
    assert done.returncode == 0, given["findings"]
    assert given["summary"]["verdict"] == "healthy"
    assert given["summary"]["resent"] == 0


def test_three_taps_of_an_all_reduce(here: Command) -> None:
    given = json.loads(
        here("analyze", real_data("captures", "rdma_ib_tutorial", "nccl"), "--json").stdout
    )
    assert [row["roce"] for row in given["inputs"]] == [184, 184, 184]
    assert given["summary"]["verdict"] == "healthy"
    assert given["summary"]["resent"] == 0
    kinds = {finding["kind"]: finding for finding in given["findings"]}
    assert kinds["traffic_pattern"]["subject"] == "ring of 3 hosts"
    assert kinds["several_points"]["value"] >= 90


# Wrong command lines, and being stopped.


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("analyze",), "PATH"),
        (("analyze", HEALTHY, "--speed", "fast"), "not a speed"),
        (("analyze", HEALTHY, "--window", "0ms"), "not a time"),
        (("analyze", HEALTHY, "--html", "/nowhere/r.html"), "/nowhere"),
        (("packets", HEALTHY, "--opcode", "bogus"), "no such opcode"),
        (("packets", HEALTHY, "--kind", "bogus"), "one of roce"),
        (("packets", HEALTHY, "--psn", "x"), "not a number"),
        (("packets", HEALTHY, "--frame", "999999"), "frame 999999"),
        (("bogus",), "bogus"),
    ],
)
def test_wrong_command_lines_are_status_2(
    arguments: tuple[object, ...], says: str, here: Command
) -> None:
    done = here(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def unread(pipe: int) -> int:
    """Bytes in a pipe that its reader has not taken yet."""
    buffer = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, buffer)
    return int.from_bytes(buffer, sys.byteorder)


def test_interrupted_leaves_nothing_half_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    page = tmp_path / "report.html"
    command = [sys.executable, "-m", "dashboards.cli", "analyze", str(tmp_path / "pipe"), "--html", str(page)]  # fmt: skip
    spill = tmp_path / "tmp"
    spill.mkdir()
    child = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(spill)}
    )  # fmt: skip
    with (tmp_path / "pipe").open("wb") as pipe:
        pipe.write(LOSS.read_bytes())
        pipe.flush()
        while unread(pipe.fileno()):
            assert child.poll() is None
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=60) == 130
    assert child.stderr is not None
    assert "Traceback" not in child.stderr.read()
    assert names(tmp_path) == ["pipe", "tmp"]
    assert names(spill) == []


def test_a_foreign_fabric_is_refused(tmp_path: Path) -> None:
    info = tmp_path / "fabric-3.2.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fabric\nVersion: 3.2.2\n")
    done = fabric("--version", env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"})
    assert done.returncode == 2
    assert "another distribution named fabric (3.2.2)" in one_line(done)


def test_start_up_is_light_and_every_command_has_an_example() -> None:
    script = (
        "import sys\nfrom dashboards import cli\n"
        "status = cli.run(sys.argv[1:])\n"
        "heavy = {'numpy', 'polars', 'numba', 'networkx', 'pyshark'} & set(sys.modules)\n"
        "sys.exit(status or (f'loaded: {heavy}' if heavy else 0))\n"
    )
    for arguments in (["--version"], ["--help"], ["analyze", "--help"]):
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr
    from typer.main import get_command

    def examples(group: object, name: str) -> None:
        for word, command in group.commands.items():
            if hasattr(command, "commands"):
                examples(command, f"{name} {word}")
            else:
                assert f"Example: {name} {word}" in command.help

    examples(get_command(cli._app()), "fabric")


# fabric packets


def test_packets_lists_filters_and_limits(here: Command) -> None:
    listed = fabric("packets", LOSS)  # in a process of its own
    assert listed.returncode == 0
    assert "RC" in listed.stdout
    rows = [json.loads(line) for line in here("packets", LOSS, "--json", "--limit", "5000").stdout.splitlines()]  # fmt: skip
    naks = [row for row in rows if row["syndrome"] is not None and row["syndrome"] >> 5 == 3]
    assert naks
    psn = naks[0]["psn"]
    same = here("packets", LOSS, "--json", "--psn", f"{psn}-{psn}").stdout.splitlines()
    assert len(same) == sum(row["psn"] == psn for row in rows)
    acks = here("packets", LOSS, "--csv", "--opcode", "acknowledge", "--limit", "3").stdout
    assert acks.splitlines()[0].startswith("ts,point,frame")
    assert len(acks.splitlines()) == 4


# The small parts.


def test_speeds_times_ranges() -> None:
    assert values.speed("400G") == 400 * 10**9
    assert values.speed("2.5gb/s") == 2_500_000_000
    assert values.speeds(["100G", "leaf0:p3=25G", "a=b=1G"]) == (
        100 * 10**9,
        {"leaf0:p3": 25 * 10**9, "a=b": 10**9},
    )
    assert values.duration("250us", "--window") == 250_000
    assert values.span("0x10-32", "--psn") == (16, 32)
    assert values.span("7", "--psn") == (7, 7)
    assert values.times("0-2ms", "--time") == (0, 2_000_000)
    for text in ("", "G", "-1G", "0G", "1e9", "4 00G"):
        with pytest.raises(ValueError, match="not a speed"):
            values.speed(text)


def test_opcodes_by_name_and_number() -> None:
    assert opcodes("0x81") == opcodes("cnp") == [0x81]
    assert set(opcodes("rc write only")) == {0x0A, 0x0B}
    assert {0x11, 0xB1} <= set(opcodes("ACKNOWLEDGE"))


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    write_text(target, "old")

    def stopped() -> None:
        with whole(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["report.html"]
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_internal_errors_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def broken() -> None:
        raise KeyError("a\nb")

    monkeypatch.setattr(cli, "_app", lambda _: lambda **_: broken())
    monkeypatch.delenv("FABRIC_DEBUG", raising=False)
    assert cli.run([]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setenv("FABRIC_DEBUG", "1")
    with pytest.raises(KeyError):
        cli.run([])
