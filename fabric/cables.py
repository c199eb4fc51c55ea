"""The rows a fabric is made of: ports, devices, links, circuits, NICs, accelerators, ranks.

Times are int64 nanoseconds; a row holds from ``valid_from`` up to ``valid_to``, exclusive.
"""

import ipaddress
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

FOREVER = 2**63 - 1
ROLES = ("host", "leaf", "spine", "core", "ocs", "switch")


class Port(NamedTuple):
    """A port: ``leaf0:5`` in text, an ordinary tuple in tables."""

    device: str
    port: str

    def __str__(self) -> str:
        return f"{self.device}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Port":
        """``device:port``; the port's own name may hold colons (``et-0/0/1:2``)."""
        device, colon, port = text.partition(":")
        if not (device and colon and port):
            raise ValueError(f"not device:port: {text!r}")
        return cls(device, port)


Path = tuple[Port, ...]
"""The egress ports a packet leaves by, hop after hop, the sender's first."""

Place = str | Port
"""A device by name, or one port of it."""


class Device(NamedTuple):
    """A host, a switch or an optical circuit switch; ``switch`` is a switch of no known tier."""

    name: str
    role: str = "switch"
    pod: str = ""


class Link(NamedTuple):
    """A cable between two ports, from ``valid_from`` up to ``valid_to``, exclusive (ns)."""

    a: Port
    b: Port
    speed_bps: int = 0  # 0 unknown
    length_m: float = math.nan
    rail: int = -1
    plane: int = -1
    valid_from: int = 0
    valid_to: int = FOREVER


class Circuit(NamedTuple):
    """A light path through an optical circuit switch: it joins the cables of two of its ports."""

    device: str
    a: str
    b: str
    valid_from: int = 0
    valid_to: int = FOREVER


class Nic(NamedTuple):
    """The network side of a host port: its RDMA device and the addresses it answers to."""

    port: Port
    name: str = ""
    addresses: tuple[str, ...] = ()
    mac: str = ""


class Accelerator(NamedTuple):
    """A GPU or NPU and the NIC port nearest to it."""

    device: str
    name: str
    nic: str = ""
    pci: str = ""


class Rank(NamedTuple):
    """A rank of a job: the host and NIC port that carry it, in the time it ran there."""

    job: str
    rank: int
    device: str
    port: str = ""
    qpn: int = -1
    valid_from: int = 0
    valid_to: int = FOREVER


def canonical_address(address: str) -> str:
    """One spelling per address: IPv4 inside IPv6 unwrapped, MAC addresses in lower-case colons."""
    text = address.strip().lower()
    try:
        ip = ipaddress.ip_address(text.partition("/")[0])
    except ValueError:
        return text.replace("-", ":")
    mapped = getattr(ip, "ipv4_mapped", None)
    return str(mapped or ip)


def valid(row: Link | Circuit | Rank, at: int) -> bool:
    """Whether the row holds at this time (ns)."""
    return row.valid_from <= at < row.valid_to


def joined(links: Iterable[Link], circuits: Iterable[Circuit]) -> Iterator[Link]:
    """The links packets see: cables, and pairs of cables that a circuit joins end to end.

    Chains through several circuit switches join too. A cable into a circuit switch that no circuit
    continues ends in the dark and is left out.
    """
    through: dict[Port, Port] = {}
    dark: set[str] = set()
    for device, a, b, *_ in circuits:
        dark.add(device)
        through[Port(device, a)] = Port(device, b)
        through[Port(device, b)] = Port(device, a)
    cables = list(links)
    stub = {end: link for link in cables for end in (link.a, link.b) if end.device in dark}
    for link in cables:
        if link.a.device not in dark and link.b.device not in dark:
            yield link
    for first in cables:
        if (first.a.device in dark) == (first.b.device in dark):
            continue
        near, end = (first.b, first.a) if first.a.device in dark else (first.a, first.b)
        link = first._replace(a=near)
        for _ in range(len(cables)):
            following = stub.get(through.get(end, end))
            if end not in through or following is None:
                break
            end = following.b if following.a == through[end] else following.a
            link = link._replace(
                speed_bps=min(link.speed_bps, following.speed_bps),
                length_m=link.length_m + following.length_m,
            )
            if end.device not in dark:
                if near < end:  # the chain is found from both its ends
                    yield link._replace(b=end)
                break
