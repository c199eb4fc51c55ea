"""What one source says about a fabric, before it is held against what the others say."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fabric.cables import FOREVER, Accelerator, Circuit, Device, Nic, Port, Rank
from fabric.inventory.document import Node
from fabric.qos import PortQos

# Words that say what a file holds, not of which device.
KINDS_IN_NAMES = re.compile(
    r"[-_.]?(appl_?db|config_?db\d*|route_?table|routes?|aft|topo(logy)?|nccl|lldp|dump|system)$",
    re.IGNORECASE,
)

# How people name devices; asked only where no source says a role.
NAMES = (
    ("ocs", re.compile(r"ocs|optical", re.IGNORECASE)),
    ("core", re.compile(r"super-?spine|core", re.IGNORECASE)),
    ("spine", re.compile(r"spine|agg", re.IGNORECASE)),
    ("leaf", re.compile(r"leaf|tor\d|tor-", re.IGNORECASE)),
    ("host", re.compile(r"host|server|srv|gpu|dgx|hgx|node|compute|worker|client", re.IGNORECASE)),
)


Where = Node | str
"""Where something is said: ``str()`` gives file, line and key."""


class Claim(NamedTuple):
    """A cable as one source has it. ``view`` is the device whose own word it is; empty: a plan's."""

    a: Port
    b: Port
    where: Where
    speed_bps: int = 0
    length_m: float = math.nan
    rail: int = -1
    plane: int = -1
    valid_from: int = 0
    valid_to: int = FOREVER
    view: str = ""


class Said(NamedTuple):
    """A value that a source gives for one end of a cable, and where it says so."""

    port: Port
    value: float
    where: Where


class Contradiction(NamedTuple):
    """Two things that cannot both be true, with the places that say them."""

    kind: str
    device: str
    port: str
    text: str
    where: tuple[str, ...]


class Hop(NamedTuple):
    """One way out of a route: an interface, a neighbour's address, or both."""

    interface: str = ""
    address: str = ""
    weight: int = 1


class Route(NamedTuple):
    """A prefix of a forwarding table and its ways out."""

    prefix: str
    hops: tuple[Hop, ...]


@dataclass
class Found:
    """Everything a file says; what it does not speak of stays empty."""

    path: str
    kind: str
    name: str = ""
    routing: str = ""
    devices: dict[str, Device] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    circuits: list[Circuit] = field(default_factory=list)
    nics: list[Nic] = field(default_factory=list)
    accelerators: list[Accelerator] = field(default_factory=list)
    ranks: list[Rank] = field(default_factory=list)
    speeds: list[Said] = field(default_factory=list)
    lengths: list[Said] = field(default_factory=list)
    aliases: dict[Port, str] = field(default_factory=dict)
    lags: dict[Port, tuple[str, ...]] = field(default_factory=dict)
    interfaces: dict[str, Port] = field(default_factory=dict)  # address -> port that owns it
    qos: list[PortQos] = field(default_factory=list)
    routes: dict[str, list[Route]] = field(default_factory=dict)
    contradictions: list[Contradiction] = field(default_factory=list)

    def add_device(self, name: str, role: str = "") -> None:
        """Remember a device; a later word on its role wins over none."""
        known = self.devices.get(name)
        if known is None or (role and not known.role):
            self.devices[name] = Device(name, role, known.pod if known else "")


def role_from_name(name: str) -> str:
    """The role a device's name speaks of first (``host-leaf0`` is a host); empty where of none."""
    found = [
        (match.start(), i) for i, (_, word) in enumerate(NAMES) if (match := word.search(name))
    ]
    return NAMES[min(found)[1]][0] if found else ""


def device_of_file(path: Path) -> str:
    """The device a dump belongs to: its file's name without the words for what it holds.

    ``leaf0.appl_db.json`` and ``leaf0/appl_db.json`` both belong to ``leaf0``.
    """
    name = path.name.partition(".")[0] if path.name.count(".") < 2 else path.stem
    while True:
        shorter = KINDS_IN_NAMES.sub("", name)
        if shorter == name:
            break
        name = shorter
    return name or path.resolve().parent.name
