"""A plan of traffic: queue pairs on routes through a fabric, and the messages they carry.

The way of a queue pair is chosen hop by hop, as switches do: each hashes the 5-tuple with a seed of
its own and takes that one of its equal-cost next hops (fabric.topology knows them).
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from fabric.cables import Port
from fabric.simulator.build import Cable, Message, QueuePair
from fabric.topology import Fabric

SECOND_PER_METRE = 1 / 1.98e8  # light in fibre, as the headroom formula takes it
DEFAULT_DELAY_NS = 1000


def cables_of(fabric: Fabric) -> tuple[list[tuple[str, bool]], list[Cable]]:
    """Devices (name, is a host) and cables of a fabric; unknown lengths take a microsecond."""
    devices = [(name, device.role == "host") for name, device in fabric.devices.items()]
    cables = []
    for link in fabric.links:
        metres = link.length_m
        delay = (
            DEFAULT_DELAY_NS if metres != metres else max(round(metres * SECOND_PER_METRE * 1e9), 1)
        )
        cables.append(Cable(str(link.a), str(link.b), link.speed_bps, delay))
    return devices, cables


def qpns(qp: int) -> tuple[int, int]:
    """Queue pair numbers of a connection: (sender's, receiver's)."""
    return 0x100 + 2 * qp, 0x101 + 2 * qp


def start_psn(seed: int, qp: int) -> int:
    """The first PSN of a connection; any 24-bit number may come."""
    return (seed * 0x9E3779B1 + qp * 0x85EBCA77 + 0x1234567) & 0xFFFFFF


@dataclass
class Connection:
    """A queue pair and who it belongs to."""

    pair: QueuePair
    tag: str
    sport: int
    source_ip: str
    target_ip: str


@dataclass
class Plan:
    """Traffic under construction; ``qos`` holds fields of QueuePair that all of it shares."""

    fabric: Fabric
    seed: int = 1
    spray: bool = False
    polarised: bool = False  # every tier hashes alike, so the choice of one decides the next
    qos: dict[str, Any] = field(default_factory=dict)
    connections: list[Connection] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)

    def host_port(self, place: str) -> Port:
        """A NIC port by name: ``host3`` (its first port) or ``host3:eth1``."""
        if place.partition(":")[0] not in self.fabric.devices:
            raise ValueError(f"no host {place!r} in the fabric")
        if ":" in place:
            return Port.parse(place)
        ports = self.fabric.ports(place)
        if not ports:
            raise ValueError(f"{place}: a host without a port")
        return ports[0]

    def address(self, port: Port) -> str:
        """The IP address of a NIC port, or one made from its place in the fabric."""
        for nic in self.fabric.nics:
            if nic.port == port and nic.addresses:
                return nic.addresses[0]
        number = list(self.fabric.devices).index(port.device)
        return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{(number & 255) or 254}"

    def connect(
        self,
        source: str,
        target: str,
        tag: str = "",
        ways: Sequence[Sequence[str]] = (),
        *,
        read: bool = False,
    ) -> int:
        """Open a queue pair for data from source to target and return its number.

        ``ways`` overrides the hash (for CBD loops); with ``read`` the target fetches the data.
        """
        a, b = self.host_port(source), self.host_port(target)
        if a.device == b.device:
            raise ValueError(f"{source} - {target}: both ends on one host")
        number = len(self.connections)
        sport = 49152 + zlib.crc32(f"{a}|{b}|{number}|{self.seed}".encode()) % 16384
        forth = [list(way) for way in ways] or self._ways(a, b, sport)
        pair = QueuePair(str(a), str(b), forth, self._ways(b, a, sport), **self.qos, read=read)
        self.connections.append(Connection(pair, tag, sport, self.address(a), self.address(b)))
        return number

    def _ways(self, a: Port, b: Port, sport: int) -> list[list[str]]:
        if self.spray:
            ways = self.fabric.equal_cost_paths(a, b)
            return [[str(port) for port in way] for way in ways[:64]]
        way, at, hops = [a], a, 0
        while (peer := self.fabric.peer(at)) is not None and peer != b:
            choices = self.fabric.next_hops(peer.device, b)
            if not choices or hops > 16:
                raise ValueError(f"no way from {a} to {b}: stuck at {peer.device}")
            own = "" if self.polarised else peer.device
            key = f"{own}|{self.seed}|{a}|{b}|{sport}".encode()
            at = choices[zlib.crc32(key) % len(choices)]
            way.append(at)
            hops += 1
        return [[str(port) for port in way]]

    def way_through(self, devices: Sequence[str]) -> list[str]:
        """Egress ports of the way through these devices; ValueError where two have no cable."""
        way = []
        for here, there in pairwise(devices):
            if unknown := [name for name in (here, there) if name not in self.fabric.devices]:
                raise ValueError(f"no device {unknown[0]!r} in the fabric")
            joined = self.fabric.ports_between(here, there)
            if not joined:
                raise ValueError(f"no cable between {here} and {there}")
            way.append(str(joined[0][0]))
        return way

    def send(
        self,
        qp: int,
        size: int,
        *,
        after: Sequence[int] = (),
        at_ns: int = 0,
        think_ns: int = 0,
        immediate: bool = True,
    ) -> int:
        """Queue a message of ``size`` bytes; returns its number for others to wait for."""
        self.messages.append(
            Message(qp, int(size), int(at_ns), tuple(after), int(think_ns), immediate)
        )
        return len(self.messages) - 1

    def ordered(self) -> tuple[list[Message], list[int]]:
        """Messages grouped by queue pair as the engine wants them, and the old number of each."""
        order = sorted(range(len(self.messages)), key=lambda i: (self.messages[i].qp, i))
        new = {old: i for i, old in enumerate(order)}
        grouped = [
            replace(
                self.messages[old], waits_for=tuple(new[w] for w in self.messages[old].waits_for)
            )
            for old in order
        ]
        return grouped, order
