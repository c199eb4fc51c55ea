"""Live capture into rotating pcapng files: RoCE and pause frames, headers only unless asked otherwise.

RoCE bypasses the kernel. On a host a packet socket sees it only where the driver mirrors it (mlx5's
sniffer flag, or a libpcap that opens the RDMA device), and PFC frames never leave the NIC. So the
hardware's own counters are watched beside the capture: when they move and no RoCE is seen, that is said,
and a mirror port or a tap is what helps. On such a port everything arrives as plain frames.

A file is called ``.part`` while it is written; its last block says how many frames came and how many the
kernel had to drop.
"""

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collectors.frames import compiled, kept, roce_filter
from collectors.rdma import SYSFS, Counters, netdev_of
from collectors.ring import Ring, Seen
from fabric.codes import LinkType
from fabric.pcap import PcapngWriter

# What an RDMA port counts of its traffic, whoever looks at it (packets both ways).
TRAFFIC: Final = frozenset(
    [
        "port_rcv_packets",
        "port_xmit_packets",
        "rx_roce_good_pkts",
        "tx_roce_good_pkts",
        "rx_roce_only_pkts",
        "tx_roce_only_pkts",
        "rdma_rx_packets",
        "rdma_tx_packets",
        "rx_rdma_ucast_pkts",
        "tx_rdma_ucast_pkts",
        "rcvd_pkts",
        "sent_pkts",
    ]
)
MOVED: Final = 1000  # packets that the hardware counted while we saw none
LOOK_S: Final = 5.0
DUMPCAP_SNAP: Final = (
    78  # Ethernet, a tag, IPv4, UDP, BTH, RETH: up to 20 bytes of a payload with it
)


@dataclass(frozen=True)
class CaptureOptions:
    """What is captured into what; files are closed by size or age, and the oldest beyond ``files`` go."""

    interface: str
    folder: Path
    payload: bool = False
    filter: str = ""  # tcpdump's language; RoCE and pauses by default
    file_bytes: int = 100 << 20
    file_s: float = 60.0
    files: int = 100
    sysfs: Path = SYSFS


@dataclass
class CaptureStats:
    """What was seen since the start."""

    frames: int = 0
    roce: int = 0
    pauses: int = 0
    received: int = 0
    dropped: int = 0
    files: int = 0


class Hardware:
    """The RDMA traffic that the NIC of an interface counts itself."""

    def __init__(self, sysfs: Path, interface: str) -> None:
        self.counters: list[Counters] = []
        base = sysfs / "class/infiniband"
        for home in sorted(base.iterdir()) if base.is_dir() else ():
            for port in sorted((home / "ports").iterdir()) if (home / "ports").is_dir() else ():
                if port.name.isdigit() and netdev_of(home, int(port.name)) == interface:
                    self.counters += [Counters(port / "counters"), Counters(port / "hw_counters")]

    def packets(self) -> int:
        """Packets both ways, as far as the driver counts them."""
        return sum(
            value for one in self.counters for name, value in one.read().items() if name in TRAFFIC
        )


class Files:
    """Rotating capture files."""

    def __init__(self, options: CaptureOptions) -> None:
        self.options = options
        options.folder.mkdir(parents=True, exist_ok=True)
        self.made = 0
        self._writer: PcapngWriter | None = None
        self._path = Path()
        self._born_s = 0.0
        self._before = (0, 0)

    def write(self, frames: list[Seen]) -> None:
        """Append frames, in a new file where there is none."""
        if self._writer is None:
            self._open()
        assert self._writer
        self._writer.write_many(frames)
        self._writer.file.flush()  # whoever follows the file sees what there is

    def rotate(self, received: int, dropped: int, *, ending: bool = False) -> None:
        """Close a file that is full or old, with what was received and dropped while it was open."""
        options, writer = self.options, self._writer
        if writer is None:
            return
        old = time.monotonic() - self._born_s >= options.file_s
        if not (ending or old or writer.file.tell() >= options.file_bytes):
            return
        since, lost = self._before
        writer.statistics(time.time_ns(), received=received - since, dropped=dropped - lost)
        writer.close()
        self._path.rename(self._path.with_suffix(".pcapng"))
        self._writer, self._before = None, (received, dropped)
        self._tidy()

    def _open(self) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        self.made += 1
        self._path = self.options.folder / f"{self.options.interface}-{stamp}-{self.made:05d}.part"
        self._writer = PcapngWriter(self._path)
        self._writer.section()
        self._writer.interface(LinkType.ETHERNET, name=self.options.interface)
        self._born_s = time.monotonic()

    def _tidy(self) -> None:
        """Remove the oldest of our files; names sort by time."""
        found = sorted(self.options.folder.glob(f"{self.options.interface}-*.pcapng"))
        for path in found[: -self.options.files or None]:
            path.unlink(missing_ok=True)


def capture(
    options: CaptureOptions, stop: threading.Event, say: Callable[[str], None]
) -> CaptureStats:
    """Capture until told to stop; ``say`` is told what an operator should know.

    OSError where the interface is missing, rights are missing or the disk refuses; ValueError for a
    filter that is none.
    """
    program = compiled(options.filter) if options.filter else roce_filter()
    stats, files = CaptureStats(), Files(options)
    hardware = Hardware(options.sysfs, options.interface)
    counted, roce, warned = hardware.packets(), 0, False
    ring = Ring(options.interface, program)
    try:
        look_s = time.monotonic() + min(LOOK_S, options.file_s)
        while not stop.is_set():
            for block in ring.read(0.2):
                files.write(_taken(block, stats, payload=options.payload))
                if stop.is_set() or time.monotonic() >= look_s:
                    break
            if time.monotonic() < look_s and not stop.is_set():
                continue
            look_s = time.monotonic() + min(LOOK_S, options.file_s)
            ring.count()
            files.rotate(ring.received, ring.dropped)
            now = hardware.packets()
            if not warned and stats.roce == roce and now - counted >= MOVED:
                warned = True
                say(
                    f"{options.interface}: its RDMA hardware counted {now - counted} packets and none "
                    "was seen here: RoCE bypasses the kernel; capture at a mirror port or a tap, "
                    "or switch on the driver's sniffer (ethtool --set-priv-flags IF sniffer on)"
                )
            counted, roce = now, stats.roce
    finally:
        ring.count()
        stats.received, stats.dropped = ring.received, ring.dropped
        files.rotate(ring.received, ring.dropped, ending=True)
        stats.files = files.made
        ring.close()
    return stats


def _taken(block: list[Seen], stats: CaptureStats, *, payload: bool) -> list[Seen]:
    """The frames of a block, cut to what is kept, and counted."""
    found = []
    for ts, frame, wire_bytes in block:
        size, roce, pause = kept(frame)
        stats.roce += roce
        stats.pauses += pause
        found.append(Seen(ts, frame if payload else frame[:size], wire_bytes))
    stats.frames += len(found)
    return found


def dumpcap(options: CaptureOptions, stop: threading.Event) -> str:
    """The same by Wireshark's dumpcap, for mirror ports too fast for us; what it said in the end.

    It cuts every frame at one length, so a few bytes of payloads may stay. OSError where it is not
    installed or refuses.
    """
    options.folder.mkdir(parents=True, exist_ok=True)
    wanted = (
        options.filter or "udp dst port 4791 or ether proto 0x8808 or (vlan and udp dst port 4791)"
    )
    command = [
        "dumpcap", "-q", "-i", options.interface, "-f", wanted,
        "-w", str(options.folder / f"{options.interface}.pcapng"),
        "-b", f"filesize:{options.file_bytes // 1000}", "-b", f"duration:{max(int(options.file_s), 1)}",
        "-b", f"files:{options.files}",
    ]  # fmt: skip
    if not options.payload:
        command += ["-s", str(DUMPCAP_SNAP)]
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError as error:
        raise OSError("dumpcap is not installed") from error
    while not stop.is_set() and process.poll() is None:
        stop.wait(0.2)
    process.terminate()
    _, said = process.communicate()
    line = " ".join(said.split())
    if not stop.is_set():
        raise OSError(f"dumpcap: {line}")
    return line
