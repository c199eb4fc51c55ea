"""The whole ``fabric analyze`` beside a plain C loop and the readers people use today.

``python -m benchmarks.bench_analyze [--packets 5000000] [--pipe 20000000]`` makes its own files:
several thousand queue pairs, at least one message per ten packets, 0.1 % loss, some CE, CNP and PFC.
Every ratio compares programs that ran in turn in this run; the others read a part of the file and are
scaled by packets. CPU is user and system time of a whole process with all its threads. It takes
three minutes or so on two quiet processors; ``--pipe 50000000`` takes a minute more.
"""

import argparse
import os
import resource
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
STARTUP_AIM_S, COMPILE_AIM_S, MEMORY_AIM_MB = 1.2, 30, 400


class Cost(NamedTuple):
    """What one finished process took."""

    cpu: float
    wall: float
    peak_mb: float


def environment(**more: str) -> dict[str, str]:
    """That of an installed distribution: modules compiled, by whoever runs them first."""
    ours = ("PYTHONDONTWRITEBYTECODE", "NUMBA_CACHE_DIR")  # the second is set by fabric.kernel
    kept = {name: text for name, text in os.environ.items() if name not in ours}
    return kept | {"PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "bench-pyc")} | more


def spend(arguments: list[str], feed: list[str] | None = None, **more: str) -> Cost:
    """Run a program to its end, fed by another where given; its own CPU, wall and peak memory."""
    begin = time.perf_counter()
    with subprocess.Popen(feed or ["true"], stdout=subprocess.PIPE) as source:
        child = subprocess.Popen(
            arguments, stdin=source.stdout if feed else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(**more),
        )  # fmt: skip
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begin
    if child.returncode not in (0, 1):
        raise RuntimeError(f"{arguments[0]} ended with {child.returncode}")
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024)


def scapy_cost(path: str) -> None:
    """Read a capture with scapy, the BTH included."""
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
    """Make the files, run everything in turn, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=5_000_000)
    parser.add_argument("--pipe", type=int, default=20_000_000, help="packets; 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fabric-bench-") as name:
        measure(given, Path(name))


def middle(costs: list[Cost]) -> Cost:
    """The median of each column."""
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def measure(given: argparse.Namespace, folder: Path) -> None:
    """All figures of one run."""
    big, part, tiny = (str(folder / name) for name in ("big.pcap", "part.pcap", "tiny.pcap"))
    make(big, given.packets)
    make(part, PART)
    make(tiny, 10)
    loop = str(folder / "decode")
    subprocess.run(
        ["gcc", "-O3", "-march=native", "-o", loop, HERE / "decode/decode.c"], check=True
    )
    analyze = [FABRIC, "analyze", "--json"]
    for _ in range(2):  # modules, kernels and the page cache
        spend([*analyze, part])
    rounds: list[list[Cost]] = [
        [
            spend(words)
            for words in ([loop, big], [*analyze, tiny], [*analyze, part], [*analyze, big])
        ]
        for _ in range(given.rounds)
    ]
    c_loop, start, some, whole = (middle(list(costs)) for costs in zip(*rounds, strict=True))
    ours = whole.cpu - start.cpu
    million, size = given.packets / 1e6, Path(big).stat().st_size / 1e6
    print(f"file: {given.packets} packets, {size:.0f} MB; medians of {given.rounds} rounds in turn")
    print(f"C loop: {c_loop.cpu:.2f} s CPU, {million / c_loop.cpu:.1f} M packets/s")
    ratios = [(r[3].cpu - r[1].cpu) / r[0].cpu for r in rounds]
    print(
        f"analyze after start-up: {ours:.2f} s CPU, {million / ours:.1f} M packets/s, "
        f"{statistics.median(ratios):.1f}x the C loop ({min(ratios):.1f} to {max(ratios):.1f}; aim 4)"
    )
    print(
        f"start-up, ten packets: {start.wall:.2f} s wall, {start.cpu:.2f} s CPU (aim {STARTUP_AIM_S})"
    )
    print(
        f"whole process, wall: {PART} packets {some.wall:.2f} s (aim 1.5), "
        f"{given.packets} packets {whole.wall:.2f} s (aim 3)"
    )
    others(part, ours / given.packets)
    memory(analyze, given, max(round_[3].peak_mb for round_ in rounds), start.peak_mb)
    full_size(folder, analyze, start)
    compile_time(folder)


def others(part: str, ours_per_packet: float) -> None:
    """Per packet, the readers people use today."""
    import dpkt  # noqa: F401  what a reader takes to start is not counted
    import scapy.contrib.roce
    import scapy.layers.inet  # noqa: F401  the layers register themselves

    fields = [word for name in FIELDS for word in ("-e", name)]
    small = str(Path(part).with_name("scapy.pcap"))
    make(small, 10_000)
    found = (
        ("tshark, the same fields", spend(["tshark", "-n", "-r", part, "-T", "fields", *fields]).cpu / PART, 150),
        ("scapy", timed(scapy_cost, small) / 10_000, 1500),
        ("dpkt", timed(dpkt_cost, part) / PART, 100),
    )  # fmt: skip
    for name, seconds, aim in found:
        print(
            f"{name}: {seconds * 1e6:.2f} us CPU per packet, {seconds / ours_per_packet:.0f}x "
            f"(aim {aim})"
        )


def memory(analyze: list[str], given: argparse.Namespace, peak_mb: float, least_mb: float) -> None:
    """Peak memory from a file and through a pipe: traffic that goes on and on."""
    print(
        f"peak memory: {peak_mb:.0f} MB, {given.packets} packets from the file "
        f"(aim {MEMORY_AIM_MB}; ten packets {least_mb:.0f} MB)"
    )
    if given.pipe:
        feed = [sys.executable, "-m", "benchmarks.make_file", "-", "--packets", str(given.pipe)]
        piped = spend([*analyze, "-"], feed)
        print(
            f"peak memory: {piped.peak_mb:.0f} MB, {given.pipe} packets through a pipe "
            f"(aim {MEMORY_AIM_MB}, and the same), {piped.cpu:.1f} s CPU"
        )


def full_size(folder: Path, analyze: list[str], start: Cost) -> None:
    """4 KiB frames: as fast as the page cache hands them out."""
    path = str(folder / "full.pcap")
    make(path, 600_000, snap=4400, payload=4096)
    size = Path(path).stat().st_size / 1e9
    rounds = [(spend(["cat", path]), spend([*analyze, path])) for _ in range(3)]
    read, run = (middle(list(costs)) for costs in zip(*rounds, strict=True))
    after = run.wall - start.wall
    print(
        f"4 KiB frames, {size:.2f} GB: {run.wall:.2f} s wall, {size / after:.2f} GB/s after start-up; "
        f"cat reads the file at {size / read.wall:.2f} GB/s"
    )
    Path(path).unlink()


def compile_time(folder: Path) -> None:
    """All kernels into an empty cache."""
    cost = spend([FABRIC, "warm"], FABRIC_CACHE_DIR=str(folder / "kernels"))
    print(
        f"compiling every kernel: {cost.wall:.1f} s wall, {cost.cpu:.1f} s CPU (aim {COMPILE_AIM_S})"
    )


if __name__ == "__main__":
    main()
