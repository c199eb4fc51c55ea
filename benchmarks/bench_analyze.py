"""The whole ``fabric analyze`` beside a plain C loop and the readers people use today.

``python -m benchmarks.bench_analyze [--packets 5000000] [--pipe 50000000]`` makes its own file: several thousand
queue pairs, at least one message per ten packets, 0.1 % loss, some CE, CNP and PFC. Every ratio compares
programs that ran in turn in this run; the others read a part of the file and are scaled by packets.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.make_file import make

FABRIC = str(Path(sys.executable).with_name("fabric"))
HERE = Path(__file__).parent
PART = 200_000  # packets for the slow readers
FIELDS = (
    "frame.time_epoch", "frame.len", "ip.src", "ip.dst", "ip.dsfield.dscp", "ip.dsfield.ecn",
    "udp.srcport", "infiniband.bth.opcode", "infiniband.bth.destqp", "infiniband.bth.psn",
    "infiniband.bth.a", "infiniband.aeth.syndrome",
)  # fmt: skip


class Cost(NamedTuple):
    """What one finished process took."""

    cpu: float
    wall: float
    peak_mb: float


def spend(arguments: list[str], feed: list[str] | None = None) -> Cost:
    """Run a program to its end, fed by another where given; its own CPU, wall and peak memory."""
    begin = time.perf_counter()
    with subprocess.Popen(feed or ["true"], stdout=subprocess.PIPE) as source:
        child = subprocess.Popen(
            arguments, stdin=source.stdout if feed else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begin
    if child.returncode not in (0, 1):
        raise RuntimeError(f"{arguments[0]} ended with {child.returncode}")
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024)


def scapy_cost(path: str) -> None:
    """Read a capture with scapy, layers and all."""
    import scapy.contrib.roce
    import scapy.layers.inet  # noqa: F401  the layers register themselves
    from scapy.utils import PcapReader

    with PcapReader(path) as reader:
        for packet in reader:
            packet.time  # noqa: B018  touching is the work


def dpkt_cost(path: str) -> None:
    """Read a capture with dpkt."""
    import dpkt

    with Path(path).open("rb") as file:
        for _ts, data in dpkt.pcap.Reader(file):
            dpkt.ethernet.Ethernet(data)


def timed(function: Callable[[str], None], path: str) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    function(path)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=5_000_000)
    parser.add_argument("--pipe", type=int, default=50_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fabric-bench-"))
    try:
        measure(given, folder)
    finally:
        shutil.rmtree(folder)


def measure(given: argparse.Namespace, folder: Path) -> None:
    big, part, tiny = (str(folder / name) for name in ("big.pcap", "part.pcap", "tiny.pcap"))
    make(big, given.packets)
    make(part, PART)
    make(tiny, 10)
    loop = str(folder / "decode")
    subprocess.run(
        ["gcc", "-O3", "-march=native", "-o", loop, HERE / "decode/decode.c"], check=True
    )
    analyze = [FABRIC, "analyze", "--json"]
    spend([*analyze, part])  # warm: caches and kernels
    c_loop, whole, start = [], [], []
    for _ in range(given.rounds):
        c_loop.append(spend([loop, big]))
        start.append(spend([*analyze, tiny]))
        whole.append(spend([*analyze, big]))
    c_cpu = statistics.median(cost.cpu for cost in c_loop)
    start_cpu = statistics.median(cost.cpu for cost in start)
    ours = statistics.median(cost.cpu for cost in whole) - start_cpu
    million = given.packets / 1e6
    print(f"file: {given.packets} packets, {Path(big).stat().st_size / 1e6:.0f} MB")
    print(f"C loop: {c_cpu:.2f} s CPU, {million / c_cpu:.1f} M packets/s")
    print(
        f"analyze after start-up: {ours:.2f} s CPU, {million / ours:.1f} M packets/s, "
        f"{ours / c_cpu:.1f}x the C loop (aim 4)"
    )
    print(
        f"start-up and the end, ten packets: {statistics.median(c.wall for c in start):.2f} s wall (aim 1.2)"
    )
    parts = [spend([*analyze, part]).wall for _ in range(given.rounds)]
    print(
        f"whole process, wall: {PART} packets {statistics.median(parts):.2f} s (aim 1.5), "
        f"{given.packets} packets {statistics.median(c.wall for c in whole):.2f} s (aim 3)"
    )
    print(f"peak memory: {max(c.peak_mb for c in whole):.0f} MB from the file (aim 400)")
    others(part, ours / given.packets)
    if given.pipe:
        feed = [sys.executable, "-m", "benchmarks.make_file", "-", "--packets", str(given.pipe)]
        piped = spend([*analyze, "-"], feed)
        print(
            f"pipe: {given.pipe} packets, peak memory {piped.peak_mb:.0f} MB (aim 400), "
            f"{piped.cpu:.1f} s CPU"
        )
    full_size(folder, analyze)


def others(part: str, ours_per_packet: float) -> None:
    """Per packet, the readers people use today."""
    fields = [word for name in FIELDS for word in ("-e", name)]
    tshark = spend(["tshark", "-r", part, "-T", "fields", *fields]).cpu / PART
    print(f"tshark, the same fields: {tshark / ours_per_packet:.0f}x analyze's CPU (aim 150)")
    small = str(Path(part).with_name("scapy.pcap"))
    make(small, 10_000)
    print(f"scapy: {timed(scapy_cost, small) / 10_000 / ours_per_packet:.0f}x (aim 1500)")
    print(f"dpkt: {timed(dpkt_cost, part) / PART / ours_per_packet:.0f}x (aim 100)")


def full_size(folder: Path, analyze: list[str]) -> None:
    """4 KiB frames: as fast as the page cache hands them out."""
    path = str(folder / "full.pcap")
    make(path, 300_000, snap=4400, payload=4096)
    size = Path(path).stat().st_size
    read, run = [], []
    for _ in range(3):
        read.append(spend(["cat", path]).cpu)
        run.append(spend([*analyze, path]))
    seconds = statistics.median(c.wall for c in run)
    print(
        f"4 KiB frames: {size / 1e9 / seconds:.2f} GB/s wall with start-up, {seconds:.2f} s; "
        f"cat reads the file in {statistics.median(read):.2f} s CPU"
    )


if __name__ == "__main__":
    main()
