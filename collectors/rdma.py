"""Reads the RDMA NICs of a host: sysfs, the driver's own counters, settings, and who uses them.

Which dictionary applies is decided by the driver, which is read here and sent along: file names lie
(bnxt's out-of-tree driver has mlx5's names with other meanings). Values are taken as they are; 32-bit
counters, ticks and 4-byte units are resolved where they are decoded.

linux: Documentation/ABI/stable/sysfs-class-infiniband, drivers/infiniband/core/sysfs.c.
"""

import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from collectors.ethtool import Ethtool
from collectors.ranks import ranks

SYSFS: Final = Path("/sys")
RATE: Final = re.compile(r"([\d.]+) Gb/sec")
PCIE: Final = ("current_link_speed", "current_link_width", "max_link_speed", "max_link_width")


@dataclass(frozen=True)
class RdmaOptions:
    """How a host is read; ``settings_ns``: how often devices, settings and ranks are looked for."""

    sysfs: Path = SYSFS
    device: str = ""
    interval_ns: int = 1_000_000_000
    settings_ns: int = 60_000_000_000
    ethernet: bool = True  # network interfaces without RDMA too, where they are hardware


def text(path: Path) -> str:
    """A sysfs file's line; empty where it cannot be read (a port that is down, say)."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


class Counters:
    """The counters in a sysfs directory: one number a file."""

    def __init__(self, folder: Path) -> None:
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208 names are wanted, not paths
        except OSError:
            names = []
        self.files = [(name, str(folder / name)) for name in names if name != "lifespan"]

    def read(self) -> dict[str, int]:
        """Those that can be read now."""
        found = {}
        for name, path in self.files:
            try:
                handle = os.open(path, os.O_RDONLY)
            except OSError:
                continue
            try:
                found[name] = int(os.read(handle, 64))
            except (OSError, ValueError):  # a directory, a text, a counter that is switched off
                continue
            finally:
                os.close(handle)
        return found


class Nic:
    """One port of an RDMA device, or a network interface without one."""

    def __init__(self, sysfs: Path, device: str, port: int, netdev: str) -> None:
        self.sysfs, self.device, self.port, self.netdev = sysfs, device, port, netdev
        self.home = sysfs / "class/infiniband" / device if device else sysfs / "class/net" / netdev
        self.net = sysfs / "class/net" / netdev
        folder = self.home / "ports" / str(port)
        own = Counters(folder / "hw_counters")
        self.hw = own if own.files else Counters(self.home / "hw_counters")
        self.plain = Counters(folder / "counters" if device else self.net / "statistics")
        self.ethtool: Ethtool | None = None
        if netdev and sysfs == SYSFS:
            try:
                self.ethtool = Ethtool(netdev)
            except OSError:  # no such request for this driver
                self.ethtool = None
        self.facts = self._facts(folder)

    def close(self) -> None:
        """Release what is open."""
        if self.ethtool:
            self.ethtool.close()

    def _facts(self, folder: Path) -> dict[str, Any]:
        """What does not change from one second to the next."""
        pci = self.home / "device"
        return {
            "nic": self.device,
            "port": self.port,
            "netdev": self.netdev,
            "driver": driver(self.home),
            "firmware": text(self.home / "fw_ver"),
            "link_layer": text(folder / "link_layer"),
            "guid": text(self.home / "node_guid"),
            "mac": text(self.net / "address") if self.netdev else "",
            "lifespan_ms": text(folder / "hw_counters/lifespan"),
            "pci": os.path.basename(os.path.realpath(pci)) if pci.exists() else "",  # noqa: PTH119 as text
            "pcie": {name: value for name in PCIE if (value := text(pci / name))},
            "ecn": self._ecn(),
        }

    def _ecn(self) -> dict[str, dict[str, int]]:
        """Whether each priority takes part in congestion control (mlx5): np, rp."""
        base = self.net / "ecn"
        return {
            side: Counters(base / f"roce_{side}" / "enable").read()
            for side in ("np", "rp")
            if self.netdev and (base / f"roce_{side}").exists()
        }

    def speed_bps(self) -> int:
        """What the port runs at; 0 unknown."""
        megabits = text(self.net / "speed") if self.netdev else ""
        if megabits.isdigit():
            return int(megabits) * 1_000_000
        found = RATE.match(text(self.home / "ports" / str(self.port) / "rate"))
        return int(float(found[1]) * 1e9) if found else 0

    def read(self) -> dict[str, Any]:
        """One object of ``nics``."""
        state = text(self.home / "ports" / str(self.port) / "state") or text(self.net / "operstate")
        try:
            own = self.ethtool.read() if self.ethtool else {}
        except OSError:
            own = {}
        return {
            **self.facts,
            "state": state,
            "speed_bps": self.speed_bps(),
            "hw_counters": self.hw.read(),
            "counters": self.plain.read(),
            "ethtool": own,
        }


def driver(home: Path) -> str:
    """The driver of a device; the software devices have a parent instead of a driver."""
    link = home / "device" / "driver"
    if link.exists():
        return os.path.basename(os.path.realpath(link))  # noqa: PTH119 as text
    if (home / "parent").exists():
        name = re.match(r"[a-z_]+", home.name)
        return {"rxe": "rdma_rxe", "siw": "siw"}.get(name[0] if name else "", "software")
    return ""


def netdev_of(home: Path, port: int) -> str:
    """The network interface behind a port of an RDMA device."""
    told = text(home / "ports" / str(port) / "gid_attrs/ndevs/0") or text(home / "parent")
    if told:
        return told
    behind = home / "device" / "net"
    for entry in sorted(behind.iterdir()) if behind.is_dir() else ():
        place = text(entry / "dev_port")
        if not place.isdigit() or int(place) + 1 == port:
            return entry.name
    return ""


def nics(sysfs: Path, *, ethernet: bool) -> Iterator[Nic]:
    """The ports of a host's RDMA devices, then its other network hardware."""
    taken = set()
    base = sysfs / "class/infiniband"
    for home in sorted(base.iterdir()) if base.is_dir() else ():
        ports = home / "ports"
        for entry in sorted(ports.iterdir()) if ports.is_dir() else ():
            if entry.name.isdigit():
                netdev = netdev_of(home, int(entry.name))
                taken.add(netdev)
                yield Nic(sysfs, home.name, int(entry.name), netdev)
    base = sysfs / "class/net"
    for home in sorted(base.iterdir()) if ethernet and base.is_dir() else ():
        if home.name not in taken and (home / "device").exists():
            yield Nic(sysfs, "", 0, home.name)


class Rdma:
    """Reads one host again and again."""

    def __init__(self, options: RdmaOptions) -> None:
        self.options = options
        self.device = options.device or socket.gethostname()
        self.nics: list[Nic] = []
        self._due = 0

    def close(self) -> None:
        """Release what is open."""
        for nic in self.nics:
            nic.close()
        self.nics = []

    def readings(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Time and JSON object of a reading, as :data:`collectors.records.Method.RDMA` has it."""
        options, now = self.options, time.time_ns()
        body: dict[str, Any] = {"device": self.device}
        if now >= self._due:
            self._due = now + options.settings_ns
            self.close()
            self.nics = list(nics(options.sysfs, ethernet=options.ethernet))
            body["ranks"] = ranks(options.sysfs)
        body["nics"] = [nic.read() for nic in self.nics]
        yield now, body
