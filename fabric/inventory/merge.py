"""Many sources, one fabric: agreeing claims become a link, disagreeing ones become contradictions.

What is contradicted is not guessed: a port that two cables claim gets none of them. Where only a
value differs the safer one is used and the contradiction says so: the lower speed, the longer cable.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from fabric.cables import FOREVER, Circuit, Device, Link, Nic, Port, canonical_address
from fabric.inventory.found import Claim, Contradiction, Found, Route, Said, role_from_name
from fabric.qos import PortQos, Qos, Roce
from fabric.topology import Fabric

LENGTH_TOLERANCE_M = 0.5  # two sources that differ by less mean the same cable

Ends = tuple[Port, Port]


class Source(NamedTuple):
    """A file that was read, and as what."""

    path: str
    kind: str


@dataclass(frozen=True)
class Inventory:
    """A fabric as its sources have it, and what they contradict each other about."""

    fabric: Fabric
    qos: Qos
    routes: dict[str, list[Route]]
    lags: dict[Port, tuple[str, ...]]
    interfaces: dict[str, Port]
    contradictions: tuple[Contradiction, ...]
    sources: tuple[Source, ...] = ()
    ignored: tuple[str, ...] = ()


class _Names:
    """One name per device and port: domain names cut off, vendor aliases resolved."""

    def __init__(self, found: Sequence[Found]) -> None:
        self.devices = {name for part in found for name in part.devices}
        self.views = {claim.view for part in found for claim in part.claims if claim.view}
        self.aliases = {port: name for part in found for port, name in part.aliases.items()}
        for part in found:  # LLDP of a NIC often names the port by its MAC address
            for nic in part.nics:
                if nic.mac:
                    self.aliases[Port(nic.port.device, canonical_address(nic.mac))] = nic.port.port

    def device(self, name: str) -> str:
        short = name.partition(".")[0]
        return short if short != name and short in self.devices | self.views else name

    def port(self, port: Port) -> Port:
        device = self.device(port.device)
        name = self.aliases.get(Port(device, port.port), port.port)
        if name == port.port and name.count(":") == 5:
            name = self.aliases.get(Port(device, canonical_address(name)), name)
        return Port(device, name)


def assemble(found: Sequence[Found], ignored: Sequence[str] = ()) -> Inventory:
    """Put the sources together. Never raises for contradictions: they are part of the answer."""
    names = _Names(found)
    told: list[Contradiction] = [row for part in found for row in part.contradictions]
    claims = _renamed(found, names)
    devices = _devices(found, claims, names, told)
    cables = _cables(claims, told)
    _one_way(claims, told)
    said = _Ends(found, names)
    links = [_link(rows, said, told) for claims in cables.values() for rows in _in_time(claims)]
    circuits = [row for part in found for row in part.circuits]
    devices = _with_tiers(devices, links)
    fabric = Fabric(
        devices.values(),
        links,
        _sound_circuits(circuits, devices, told),
        _nics(found, names, told),
        [
            row._replace(nic=names.port(Port(row.device, row.nic)).port)
            for part in found
            for row in part.accelerators
        ],
        [
            row._replace(port=names.port(Port(row.device, row.port)).port)
            for part in found
            for row in part.ranks
        ],
        name=next((part.name for part in found if part.name), ""),
        routing=next((part.routing for part in found if part.routing), "ecmp"),
    )
    return Inventory(
        fabric,
        _qos(found, names, fabric),
        {device: rows for part in found for device, rows in part.routes.items()},
        {port: lags for part in found for port, lags in part.lags.items()},
        {address: port for part in found for address, port in part.interfaces.items()},
        tuple(told),
        tuple(Source(part.path, part.kind) for part in found),
        tuple(ignored),
    )


def _renamed(found: Sequence[Found], names: _Names) -> list[Claim]:
    claims = []
    for part in found:
        for claim in part.claims:
            a, b = names.port(claim.a), names.port(claim.b)
            claims.append(claim._replace(a=a, b=b, view=names.device(claim.view)))
    return claims


def _devices(
    found: Sequence[Found], claims: Iterable[Claim], names: _Names, told: list[Contradiction]
) -> dict[str, Device]:
    roles: dict[str, dict[str, str]] = defaultdict(
        dict
    )  # device -> role -> first file that says it
    devices: dict[str, Device] = {}
    for part in found:
        for device in part.devices.values():
            name = names.device(device.name)
            known = devices.get(name, Device(name, ""))
            devices[name] = Device(name, known.role or device.role, known.pod or device.pod)
            if device.role:
                roles[name].setdefault(device.role, part.path)
    for claim in claims:
        for end in (claim.a, claim.b):
            devices.setdefault(end.device, Device(end.device, ""))
    for name, said in roles.items():
        exact = {role: where for role, where in said.items() if role != "switch"}
        if len(exact) > 1:
            text = f"{name} is said to be " + " and ".join(sorted(exact))
            told.append(Contradiction("roles_differ", name, "", text, tuple(exact.values())))
        elif exact:
            devices[name] = devices[name]._replace(role=next(iter(exact)))
    return devices


def _overlap(one: Claim, two: Claim) -> bool:
    return one.valid_from < two.valid_to and two.valid_from < one.valid_to


def _cables(claims: Iterable[Claim], told: list[Contradiction]) -> dict[Ends, list[Claim]]:
    """Claims by the pair of ports they join; ports that two cables claim are reported, not cabled."""
    cables: dict[Ends, list[Claim]] = defaultdict(list)
    at_port: dict[Port, list[Ends]] = defaultdict(list)
    for claim in claims:
        if claim.a == claim.b:
            text = f"{claim.a} is cabled to itself"
            told.append(Contradiction("self_cable", *claim.a, text, (str(claim.where),)))
            continue
        ends: Ends = (claim.a, claim.b) if claim.a < claim.b else (claim.b, claim.a)
        if ends not in cables:
            at_port[claim.a].append(ends)
            at_port[claim.b].append(ends)
        cables[ends].append(claim)
    struck: set[Ends] = set()
    for port, pairs in at_port.items():
        if len(pairs) == 1:
            continue
        rivals = [
            (ends, cables[ends][0])
            for ends in pairs
            if any(
                _overlap(mine, theirs)
                for other in pairs
                if other != ends
                for mine in cables[ends]
                for theirs in cables[other]
            )
        ]
        if not rivals:
            continue
        peers = [str(ends[1] if ends[0] == port else ends[0]) for ends, _ in rivals]
        text = f"{port} is claimed by cables to " + " and ".join(peers) + "; none is used"
        where = tuple(str(claim.where) for _, claim in rivals)
        told.append(Contradiction("two_cables", *port, text, where))
        struck.update(ends for ends, _ in rivals)
    return {ends: rows for ends, rows in cables.items() if ends not in struck}


def _one_way(claims: Sequence[Claim], told: list[Contradiction]) -> None:
    """Neighbours that only one of two speaking devices knows about."""
    views = {claim.view for claim in claims if claim.view}
    seen = {(claim.view, frozenset((claim.a, claim.b))) for claim in claims if claim.view}
    for claim in claims:
        far = claim.b if claim.a.device == claim.view else claim.a
        ends = frozenset((claim.a, claim.b))
        if claim.view and far.device in views and (far.device, ends) not in seen:
            near = claim.a if far == claim.b else claim.b
            text = f"{near} has {far} as its neighbour, but {far.device} does not have {near}"
            told.append(Contradiction("one_way", *near, text, (str(claim.where),)))


class _Ends:
    """Speeds and lengths that sources give for single ports, indexed once."""

    def __init__(self, found: Sequence[Found], names: _Names) -> None:
        self.speeds: dict[Port, list[Said]] = defaultdict(list)
        self.lengths: dict[Port, list[Said]] = defaultdict(list)
        for part in found:
            for said in part.speeds:
                self.speeds[names.port(said.port)].append(said)
            for said in part.lengths:
                self.lengths[names.port(said.port)].append(said)


def _in_time(claims: Sequence[Claim]) -> list[list[Claim]]:
    """Claims of one pair of ports, parted where the cable was pulled in between.

    A source that knows no times speaks of all of them; a span that another source gives wins.
    """
    groups: list[list[Claim]] = []
    for claim in sorted(claims, key=lambda claim: claim.valid_from):
        if groups and any(_overlap(claim, other) for other in groups[-1]):
            timed = (claim.valid_from, claim.valid_to) != (0, FOREVER)
            groups[-1].insert(0 if timed else len(groups[-1]), claim)
        else:
            groups.append([claim])
    return groups


def _link(rows: Sequence[Claim], said: _Ends, told: list[Contradiction]) -> Link:
    ends = (rows[0].a, rows[0].b)
    speeds = [Said(row.a, row.speed_bps, row.where) for row in rows]
    lengths = [Said(row.a, row.length_m, row.where) for row in rows]
    for end in ends:
        speeds += said.speeds.get(end, ())
        lengths += said.lengths.get(end, ())
    speeds = [one for one in speeds if one.value > 0]
    lengths = [one for one in lengths if one.value >= 0]  # NaN, not known, drops out
    speed = min((one.value for one in speeds), default=0)
    length = max((one.value for one in lengths), default=math.nan)
    if speeds and max(one.value for one in speeds) > speed:
        told.append(_differ("speeds_differ", ends, speeds, "Gb/s", 1e9, "lower"))
    if lengths and length - min(one.value for one in lengths) > LENGTH_TOLERANCE_M:
        told.append(_differ("lengths_differ", ends, lengths, "m", 1.0, "longer"))
    rail, plane = max(row.rail for row in rows), max(row.plane for row in rows)
    return Link(*ends, int(speed), float(length), rail, plane, rows[0].valid_from, rows[0].valid_to)


def _differ(
    kind: str, ends: Ends, values: Sequence[Said], unit: str, scale: float, used: str
) -> Contradiction:
    parts = [f"{said.value / scale:g} {unit} by {said.where}" for said in values]
    text = f"{ends[0]} -- {ends[1]}: " + ", ".join(dict.fromkeys(parts)) + f"; the {used} is used"
    return Contradiction(kind, *ends[0], text, tuple(str(said.where) for said in values))


def _with_tiers(devices: dict[str, Device], links: Sequence[Link]) -> dict[str, Device]:
    """Roles for devices of which nobody said one: from the name, then from the distance to hosts.

    Distance decides only in a layered fabric, where no link joins two switches of one distance.
    """
    known = {
        name: device._replace(role=device.role or role_from_name(name))
        for name, device in devices.items()
    }
    neighbours: dict[str, set[str]] = defaultdict(set)
    for link in links:
        neighbours[link.a.device].add(link.b.device)
        neighbours[link.b.device].add(link.a.device)
    tier = {name: 0 for name, device in known.items() if device.role == "host"}
    front = list(tier)
    while front:
        after = []
        for name in front:
            for other in neighbours[name]:
                if other not in tier and known[other].role != "ocs":
                    tier[other] = tier[name] + 1
                    after.append(other)
        front = after
    layered = all(
        tier.get(link.a.device) != tier.get(link.b.device) or tier.get(link.a.device) == 0
        for link in links
    )
    names = {1: "leaf", 2: "spine", 3: "core"} if layered else {}
    return {
        name: device._replace(role=device.role or names.get(tier.get(name, -1), "switch"))
        for name, device in known.items()
    }


def _sound_circuits(
    circuits: Sequence[Circuit], devices: dict[str, Device], told: list[Contradiction]
) -> list[Circuit]:
    sound: list[Circuit] = []
    for row in circuits:
        rivals = [
            other
            for other in sound
            if other.device == row.device
            and {other.a, other.b} & {row.a, row.b}
            and other.valid_from < row.valid_to
            and row.valid_from < other.valid_to
        ]
        if row.device not in devices or rivals:
            text = (
                f"{row.device}: the circuit {row.a} -- {row.b} meets another one at the same time"
            )
            if row.device not in devices:
                text = f"a circuit names the unknown device {row.device}"
            told.append(Contradiction("circuit", row.device, row.a, text, ()))
        else:
            sound.append(row)
    return sound


def _nics(found: Sequence[Found], names: _Names, told: list[Contradiction]) -> list[Nic]:
    nics: dict[Port, Nic] = {}
    owner: dict[str, Port] = {}
    for part in found:
        for row in part.nics:
            port = names.port(row.port)
            known = nics.get(port, Nic(port))
            addresses = tuple(dict.fromkeys((*known.addresses, *row.addresses)))
            nics[port] = Nic(port, known.name or row.name, addresses, known.mac or row.mac)
            for address in (*row.addresses, row.mac):
                text = canonical_address(address) if address else ""
                first = owner.setdefault(text, port) if text else port
                if first.device != port.device:
                    said = f"{text} is the address of {first} and of {port}"
                    told.append(Contradiction("address_twice", *port, said, (part.path,)))
    return list(nics.values())


def _qos(found: Sequence[Found], names: _Names, fabric: Fabric) -> Qos:
    """Settings by port, completed with the speed and length of the cable."""
    ports: dict[Port, PortQos] = {}
    wiring = fabric.wiring()
    for part in found:
        for row in part.qos:
            port = names.port(row.port)
            known = ports.get(port)
            row = replace(row, port=port)
            ports[port] = row if known is None else combined(known, row)
    for whole in [port for port in ports if port.port == "*"]:  # a setting of the device
        row = ports.pop(whole)
        cabled = fabric.ports(whole.device) if whole.device in fabric.devices else ()
        for port in {*cabled, *(port for port in ports if port.device == whole.device)}:
            row = replace(row, port=port)
            ports[port] = combined(ports[port], row) if port in ports else row
    for port, row in ports.items():
        link = wiring.link(port)
        if link is not None:
            speed = row.speed_bps or link.speed_bps
            length = row.length_m if math.isnan(link.length_m) else link.length_m
            ports[port] = replace(row, speed_bps=speed, length_m=length)
    return Qos(ports)


def combined(one: PortQos, two: PortQos) -> PortQos:
    """Two sources on one port: what the second says wins, what it leaves open comes from the first."""
    blank = PortQos(two.port)
    said = {
        name: value
        for name in PortQos.__dataclass_fields__
        if not _same(value := getattr(two, name), getattr(blank, name))
    }
    spoken = {key: value for key, value in two.roce._asdict().items() if value != _silent[key]}
    said["roce"] = one.roce._replace(**spoken)
    said["source"] = ", ".join(dict.fromkeys(filter(None, (one.source, two.source))))
    return replace(one, **said)


_silent = Roce()._asdict()


def _same(one: object, two: object) -> bool:
    return one == two or (one != one and two != two)  # NaN: not known in both
