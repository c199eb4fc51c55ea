"""Decode to columns beside a plain C loop: ``python -m benchmarks.bench_decode [--packets 5000000]``.

Both read the same file in the same windows with a warm page cache and fill the same columns of the same
batch. They run in turn in this run; a ratio is the median over the rounds of CPU by CPU, start-up of
Python and of the kernels left out. Other programs read a part of the file and are scaled by packets.
"""

import argparse
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from analyzers.capture.batch import ROWS, make_batch, make_tally
from analyzers.capture.decode import decode
from analyzers.capture.icrc import verify_icrc
from analyzers.capture.reader import WINDOW_BYTES, Reader
from benchmarks.make_file import make
from fabric.pcap import PcapWriter

HERE = Path(__file__).parent
CAPTURES = HERE.parent / "captures"
WRAPPED = ("vlan", "qinq", "ipv6", "ipv6_extensions", "vxlan", "erspan_3", "nested")
IN_C = ("vlan", "qinq", "ipv6")  # the loop in C reads these too
PART, FEW = 200_000, 10_000  # packets for slow and very slow readers
FIELDS = (
    "frame.time_epoch", "frame.len", "frame.cap_len", "ip.src", "ip.dst", "ip.len", "ip.id", "ip.ttl",
    "ip.dsfield", "udp.srcport", "infiniband.bth.opcode", "infiniband.bth.p_key",
    "infiniband.bth.destqp", "infiniband.bth.a", "infiniband.bth.psn", "infiniband.aeth.syndrome",
    "infiniband.aeth.msn", "infiniband.reth.va", "infiniband.reth.r_key", "infiniband.reth.dmalen",
)  # fmt: skip


def ours(path: str, *, icrc: bool = False) -> tuple[float, int]:
    """CPU seconds to decode a file, and rows kept."""
    batch, tally, found = make_batch(ROWS), make_tally(1), np.zeros(ROWS, np.int8)
    before, kept = time.process_time(), 0
    reader = Reader([path])
    for rows in reader.windows(batch):
        count = decode(reader.window, batch, rows, reader.link_types, tally)
        kept += count
        if icrc:
            verify_icrc(reader.window, batch, count, tally, found)
    return time.process_time() - before, kept


def in_c(loop: str, path: str) -> tuple[float, int]:
    """The same for the C loop, by its own account."""
    words = [loop, path, str(WINDOW_BYTES), str(ROWS)]
    line = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return float(line[0]), int(line[2])


def beside(loop: str, path: str, rounds: int) -> tuple[float, float, float]:
    """Median seconds of ours and of C, and the median of their ratios."""
    pairs = []
    for _ in range(rounds):
        (mine, kept), (theirs, expected) = ours(path), in_c(loop, path)
        if kept != expected:
            raise RuntimeError(f"{path}: {kept} rows, the C loop has {expected}")
        pairs.append((mine, theirs))
    middle = [statistics.median(column) for column in zip(*pairs, strict=True)]
    return middle[0], middle[1], statistics.median(a / b for a, b in pairs)


def repeated(name: str, path: Path, packets: int) -> int:
    """Write the frames of one of our captures again and again; how many."""
    reader, batch = Reader([str(CAPTURES / f"{name}.pcap")]), make_batch()
    rows = next(reader.windows(batch))
    places = zip(batch.offset[:rows].tolist(), batch.captured[:rows].tolist(), strict=True)
    frames = [(0, reader.window[at : at + size].tobytes(), size) for at, size in places]
    times = packets // rows
    with PcapWriter(path, int(reader.link_types[0])) as writer:
        for _ in range(times):
            writer.write_many(frames)
    return times * rows


def child_cpu(words: list[str]) -> float:
    """CPU seconds of another program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def with_dpkt(path: str) -> None:
    """Parse Ethernet, IP and UDP with dpkt; it knows no BTH."""
    import dpkt

    with Path(path).open("rb") as file:
        for _, data in dpkt.pcap.Reader(file):
            dpkt.ethernet.Ethernet(data)


def with_scapy(path: str) -> None:
    """Dissect with scapy, the BTH included."""
    import scapy.contrib.roce  # noqa: F401  binds the layer
    from scapy.layers.l2 import Ether
    from scapy.utils import RawPcapReader

    with RawPcapReader(path) as reader:
        for data, _ in reader:
            Ether(data)


def own_cpu(function: Callable[[str], None], path: str) -> float:
    """CPU seconds of a function."""
    before = time.process_time()
    function(path)
    return time.process_time() - before


def others(folder: Path, per_packet: float) -> None:
    """What people use today, per packet, on a part of the traffic."""
    part, few = str(folder / "part.pcap"), str(folder / "few.pcap")
    make(part, PART)
    make(few, FEW)
    names = [word for name in FIELDS for word in ("-e", name)]
    tshark = child_cpu(["tshark", "-n", "-r", part, "-T", "fields", *names]) / PART
    with_scapy(few)  # its import is not counted
    readers = {
        f"tshark -T fields, the same fields ({PART} packets)": tshark,
        f"dpkt, Ethernet to UDP ({PART} packets)": own_cpu(with_dpkt, part) / PART,
        f"scapy ({FEW} packets)": own_cpu(with_scapy, few) / FEW,
    }
    for name, seconds in readers.items():
        print(f"  {name}: {seconds * 1e6:.2f} us per packet, {seconds / per_packet:.0f}x ours")


def main() -> None:
    """Make the files, run everything, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fabric-bench-") as name:
        folder = Path(name)
        loop, big = str(folder / "decode"), str(folder / "big.pcap")
        source = str(HERE / "decode" / "decode.c")
        subprocess.run(["gcc", "-O3", "-march=native", "-o", loop, source], check=True)
        make(big, given.packets)
        ours(big)
        mine, theirs, ratio = beside(loop, big, given.rounds)
        size = Path(big).stat().st_size
        print(f"decode to columns, {given.packets} packets, {size / 1e6:.0f} MB, CPU:")
        for who, seconds in (("kernel", mine), ("C", theirs)):
            rate = given.packets / seconds / 1e6
            print(
                f"  {who}: {seconds:.3f} s, {rate:.1f} M packets/s, {size / seconds / 1e9:.1f} GB/s"
            )
        print(f"  ratio: {ratio:.2f} (aim 1.3)")
        others(folder, mine / given.packets)
        wrapped(folder, loop, given.rounds)
        full_size(folder, loop, given.rounds)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak memory of this process, makers of the files included: {peak:.0f} MB")


def wrapped(folder: Path, loop: str, rounds: int) -> None:
    """Frames that take the way from header to header."""
    print("other frames, 500000 each:")
    for name in WRAPPED:
        path = folder / f"{name}.pcap"
        packets = repeated(name, path, 500_000)
        seconds = statistics.median(ours(str(path))[0] for _ in range(rounds))
        line = f"  {name}: {packets / seconds / 1e6:.1f} M packets/s"
        if name in IN_C:
            line += f", {beside(loop, str(path), rounds)[2]:.2f} times the C loop's CPU"
        print(line)
        path.unlink()


def full_size(folder: Path, loop: str, rounds: int) -> None:
    """Whole 4 KiB frames, with and without their ICRC checked."""
    path = str(folder / "full.pcap")
    make(path, 300_000, snap=4400, payload=4096)
    size = Path(path).stat().st_size
    mine, _, ratio = beside(loop, path, rounds)
    checked = statistics.median(ours(path, icrc=True)[0] for _ in range(3))
    print(
        f"4 KiB frames, {size / 1e9:.2f} GB: {size / mine / 1e9:.1f} GB/s, {ratio:.2f} times the C "
        f"loop's CPU; with every ICRC checked {size / checked / 1e9:.1f} GB/s"
    )


if __name__ == "__main__":
    main()
