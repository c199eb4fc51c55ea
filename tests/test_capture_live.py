"""Live capture on real interfaces: a veth pair and the loopback, frames sent through packet sockets."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors.capture import CaptureOptions, CaptureStats, Hardware, capture, dumpcap
from collectors.frames import compiled, kept, roce_filter
from collectors.ring import Ring
from fabric import wire
from fabric.codes import HEADER_BYTES, Header, headers_of
from tests.data import ROOT, tool
from tests.test_collecting import soon
from tests.test_rdma import Host
from tests.twin_reader import read

SECRET = b"private"


def roce(
    opcode: int = 4, *, psn: int = 1, v6: bool = False, tags: int = 0, payload: bytes = SECRET
) -> bytes:
    """A RoCEv2 frame with zeros for its extended headers."""
    extra = sum(HEADER_BYTES[h] for h in headers_of(opcode) or Header.BTH) - 12
    body = wire.bth(opcode, 5, psn) + bytes(extra) + payload + bytes(4)
    body = wire.udp(body, 50000, 4791)
    if v6:
        packet, kind = wire.ipv6(body, "2001:db8::1", "2001:db8::2"), 0x86DD
    else:
        packet, kind = wire.ipv4(body, "10.0.0.1", "10.0.0.2"), 0x0800
    four = [wire.tag(10 + n, 3) for n in range(tags)]
    return wire.ethernet(packet, "02:00:00:00:00:01", "02:00:00:00:00:02", kind, four)


def other(port: int = 53) -> bytes:
    body = wire.udp(SECRET * 30, 5000, port)
    return wire.ethernet(
        wire.ipv4(body, "10.0.0.1", "10.0.0.2"), "02:00:00:00:00:01", "02:00:00:00:00:02", 0x0800
    )


PFC = wire.pfc("02:00:00:00:00:01", {3: 0xFFFF})


def test_only_headers_are_kept() -> None:
    """Of every opcode, known or not, with and without tags: the payload begins where we cut."""
    for opcode in range(256):
        only_headers(opcode)


def only_headers(opcode: int) -> None:
    known = headers_of(opcode)
    extra = sum(HEADER_BYTES[h] for h in Header if known and h in known) if known else 12
    for v6 in (False, True):
        for tags in range(3):
            frame = roce(opcode, v6=v6, tags=tags) if known else roce(4, v6=v6, tags=tags)
            at = 14 + 4 * tags + (40 if v6 else 20) + 8
            frame = frame[:at] + bytes([opcode]) + frame[at + 1 :]
            found = kept(frame)
            assert (found.roce, found.pause, found.size) == (True, False, at + extra)
            if known:
                assert frame[found.size :].startswith(SECRET)


def test_frames_cut_short_and_strange_ones() -> None:
    frame = roce(6, tags=1)
    for size in range(len(frame)):
        assert kept(frame[:size]).size <= size
    assert kept(PFC) == (len(PFC), False, True)
    assert kept(other()).size == 96
    assert kept(b"") == (0, False, False)


@pytest.fixture
def pair() -> Iterator[tuple[str, str]]:
    """Two interfaces joined by a cable."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make interfaces")
    ip, names = tool("ip"), (f"ca{os.getpid() % 10**6}", f"cb{os.getpid() % 10**6}")
    subprocess.run(
        [ip, "link", "add", names[0], "type", "veth", "peer", "name", names[1]], check=True
    )
    try:
        for name in names:
            subprocess.run([ip, "link", "set", name, "up"], check=True)
        yield names
    finally:
        subprocess.run([ip, "link", "del", names[0]], check=False)


def send(interface: str, frames: list[bytes]) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((interface, 0))
        for frame in frames:
            sender.send(frame)


def captured(
    options: CaptureOptions, work: Callable[[], Any], enough: int
) -> tuple[CaptureStats, list[str]]:
    """Capture while ``work`` is done, until so many frames lie on disk."""
    stop, said, found = threading.Event(), [], []
    thread = threading.Thread(target=lambda: found.append(capture(options, stop, said.append)))
    thread.start()
    try:
        soon(lambda: bound(options.interface))
        work()
        if enough:
            soon(lambda: sum(p.stat().st_size for p in options.folder.glob("*")) > enough)
    finally:
        stop.set()
        thread.join(20)
    return found[0], said


def bound(interface: str) -> bool:
    index = f"{socket.if_nametoindex(interface)}"
    lines = Path("/proc/net/packet").read_text().splitlines()[1:]
    return any(line.split()[4] == index for line in lines)


def test_roce_and_pauses_and_nothing_else(pair: tuple[str, str], tmp_path: Path) -> None:
    near, far = pair
    wanted = [
        roce(),
        roce(6),
        roce(17, v6=True),
        roce(tags=1),
        roce(tags=2),
        roce(v6=True, tags=1),
        PFC,
    ]
    unwanted = [
        other(),
        other(4790),
        wire.ethernet(b"x" * 50, "02:00:00:00:00:01", "02:00:00:00:00:02", 0x88B5),
    ]
    stats, _ = captured(
        CaptureOptions(near, tmp_path), lambda: send(far, unwanted + wanted + unwanted), 7 * 90
    )
    (file,) = tmp_path.glob("*.pcapng")
    found = read(file.read_bytes())
    assert [p.data for p in found.packets] == [frame[: kept(frame).size] for frame in wanted]
    assert [p.wire for p in found.packets] == [len(frame) for frame in wanted]
    assert not any(SECRET in p.data for p in found.packets)
    assert found.interfaces[0].name == near
    assert found.interfaces[0].dropped == 0
    assert (stats.frames, stats.roce, stats.pauses, stats.received, stats.dropped) == (
        7,
        6,
        1,
        7,
        0,
    )


def test_payloads_and_filters_when_asked_for(pair: tuple[str, str], tmp_path: Path) -> None:
    near, far = pair
    tool("tcpdump")
    options = CaptureOptions(near, tmp_path, payload=True, filter="udp port 53")
    captured(options, lambda: send(far, [roce(), other(), PFC]), 200)
    (file,) = tmp_path.glob("*.pcapng")
    assert [p.data for p in read(file.read_bytes()).packets] == [other()]


def test_files_rotate_and_the_oldest_go(pair: tuple[str, str], tmp_path: Path) -> None:
    near, far = pair
    stop = threading.Event()
    options = CaptureOptions(near, tmp_path, file_bytes=1 << 30, file_s=0.05, files=3)
    thread = threading.Thread(target=capture, args=(options, stop, print))
    thread.start()
    soon(lambda: bound(near))
    for n in range(6):
        before = sorted(tmp_path.glob("*.pcapng"))[-1:]
        send(far, [roce(psn=n)])
        soon(lambda before=before: sorted(tmp_path.glob("*.pcapng"))[-1:] != before)
    stop.set()
    thread.join(20)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    assert [len(read(file.read_bytes()).packets) for file in files] == [1, 1, 1]
    assert all(file.suffix == ".pcapng" for file in files)


def test_what_the_kernel_drops_is_counted(pair: tuple[str, str]) -> None:
    """A ring that nobody empties overflows; what was dropped plus what is there is what was sent."""
    near, far = pair
    ring = Ring(near, roce_filter(), blocks=2)
    big = roce(payload=bytes(1300))
    send(far, [big] * 5000)
    found = sum(len(block) for block in ring.read(0.3))
    ring.count()
    ring.close()
    assert ring.dropped > 0
    assert found + ring.dropped == ring.received == 5000


def test_loopback_shows_each_frame_once(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to capture")

    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(wire.bth(4, 5, 77) + SECRET, ("127.0.0.1", 4791))

    captured(CaptureOptions("lo", tmp_path), work, 60)
    (file,) = tmp_path.glob("*.pcapng")
    ours = [p for p in read(file.read_bytes()).packets if p.data.endswith((77).to_bytes(3, "big"))]
    assert len(ours) == 1


def test_hardware_that_moves_while_nothing_is_seen(
    pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collectors.capture.LOOK_S", 0.05)
    near, _ = pair
    host = Host(tmp_path / "sys")
    home = host.pci("0000:17:00.0", "mlx5_core")
    host.rdma("mlx5_0", home, ("np_cnp_sent",), counters=("port_rcv_packets",))
    host.put(f"{home}/infiniband/mlx5_0/ports/1/gid_attrs/ndevs/0", near)
    assert Hardware(host.root, near).packets() == 200
    assert Hardware(host.root, "eth9").packets() == 0
    said: list[str] = []
    stop = threading.Event()
    options = CaptureOptions(near, tmp_path / "out", sysfs=host.root)
    thread = threading.Thread(target=capture, args=(options, stop, said.append))
    thread.start()
    soon(lambda: bound(near))
    host.put(f"{home}/infiniband/mlx5_0/ports/1/counters/port_rcv_packets", 5000)
    soon(lambda: said)
    stop.set()
    thread.join(20)
    assert len(said) == 1
    assert "counted 4800 packets" in said[0]
    assert "mirror port or a tap" in said[0]


def test_dumpcap(pair: tuple[str, str], tmp_path: Path) -> None:
    near, far = pair
    tool("dumpcap")
    stop = threading.Event()
    said: list[str] = []
    thread = threading.Thread(
        target=lambda: said.append(dumpcap(CaptureOptions(near, tmp_path), stop))
    )
    thread.start()
    soon(lambda: bound(near))
    for _ in range(100):
        send(far, [roce(payload=SECRET * 10), other(), PFC])
        if any(p.stat().st_size > 500 for p in tmp_path.glob("*.pcapng")):
            break
        stop.wait(0.05)
    stop.set()
    thread.join(20)
    (file,) = tmp_path.glob("*.pcapng")
    lengths = {len(p.data) for p in read(file.read_bytes()).packets}
    assert lengths == {78, len(PFC)}
    assert "dropped" in said[0]


def test_the_command_says_what_was_seen(pair: tuple[str, str], tmp_path: Path) -> None:
    near, far = pair
    command = [sys.executable, "-m", "collectors", "capture", near, "--out", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    soon(lambda: bound(near))
    send(far, [roce(), PFC])
    soon(lambda: any(p.stat().st_size > 240 for p in tmp_path.glob("*")))
    process.terminate()
    _, error = process.communicate(timeout=20)
    assert process.returncode == 0
    assert error.startswith("2 frames (1 RoCE, 1 pause), 0 dropped by the kernel, 1 files in")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["nope0"], "nope0"), (["lo", "--filter", "udp prot 5"], "syntax error")],
)
def test_what_cannot_be_captured_is_one_line(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    tool("tcpdump")
    command = [sys.executable, "-m", "collectors", "capture", *arguments, "--out", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_filter_of_the_users() -> None:
    tool("tcpdump")
    assert len(compiled("udp port 4791")) % 8 == 0
    with pytest.raises(ValueError, match="filter 'x y'"):
        compiled("x y")


def test_an_interface_that_is_down_is_waited_for_and_one_that_is_gone_ends_it(
    pair: tuple[str, str],
) -> None:
    ip, ring = tool("ip"), Ring(pair[0], roce_filter())
    try:
        subprocess.run([ip, "link", "set", pair[0], "down"], check=True)
        soon(lambda: list(ring.read(0.05)) == [] and ring._poll.poll(0) == [])  # nothing wakes it
        subprocess.run([ip, "link", "set", pair[0], "up"], check=True)
        found: list[Any] = []

        def some() -> bool:
            send(pair[1], [roce()])
            found.extend(ring.read(0.05))
            return bool(found)

        soon(some)
        subprocess.run([ip, "link", "del", pair[0]], check=True)

        def look() -> None:
            for _ in range(100):
                list(ring.read(0.05))

        with pytest.raises(OSError, match="the interface is gone"):
            look()
    finally:
        ring.close()
