"""``topology.json`` of a simulated run: nodes with kind, role and address, links with rate and delay.

The file states propagation delays; the length follows from the speed of light in fibre. The MAC
address of every port follows from the numbering that the file itself declares. ``routing``, ``rail`` and
``plane`` of links and ``addresses`` by port are there where they say more than the rest.
"""

import re
from pathlib import Path

from fabric.cables import Device, Nic, Port
from fabric.inventory.document import Node, read_json, routing_of
from fabric.inventory.found import Claim, Found
from fabric.units import LIGHT_M_PER_S, SECOND_NS

KIND = "topology.json"
FIBRE_M_PER_NS = LIGHT_M_PER_S / SECOND_NS
NODES = re.compile(r'"nodes"\s*:\s*\[\s*\{')
MAC_SCHEME = "02:00:00:<node_id hi>:<node_id lo>:<port>"


def matches(path: Path, head: str) -> bool:
    """Whether a file looks like one of these, from its name and beginning."""
    return path.suffix == ".json" and NODES.search(head) is not None


def read(path: Path) -> Found:
    """Read the file; ValueError names file, line and key."""
    root = read_json(path)
    found = Found(str(path), KIND, path.resolve().parent.name, routing_of(root.get("routing")))
    numbers: dict[str, int] = {}
    address: dict[str, str] = {}
    apart: dict[str, dict[str, str]] = {}  # of hosts with several NICs: port -> address
    for node in root.need("nodes").elements():
        name = node.need("name").text()
        if name in found.devices:
            raise node.error(f"a second node is named {name}")
        role = _role(node)
        found.devices[name] = Device(name, role)
        numbers[name] = node.get("id").integer(-1)
        address[name] = node.get("ip").text()
        apart[name] = {port: ip.text() for port, ip in node.get("addresses").members()}
    coded = root.get("mac_scheme").text() == MAC_SCHEME
    for link in root.need("links").elements():
        claim = _claim(link, found)
        found.claims.append(claim)
        for end in (claim.a, claim.b):
            number = numbers[end.device]
            mac = _mac(number, end.port) if coded and number >= 0 else ""
            ip = apart[end.device].get(end.port, address[end.device])
            if mac or ip:
                found.nics.append(Nic(end, "", (ip,) if ip else (), mac))
    return found


def _role(node: Node) -> str:
    kind, role = node.get("kind").text(), node.get("role").text()
    if kind == "host":
        return "host"
    return role if role in ("leaf", "spine", "core", "ocs") else "switch"


def _claim(link: Node, found: Found) -> Claim:
    ends = []
    for key in ("a", "b"):
        end = link.need(key)
        port = end.read(Port.parse)
        if port.device not in found.devices:
            raise end.error(f"unknown node {port.device!r}")
        ends.append(port)
    speed = link.need("bps").integer()
    if speed <= 0:
        raise link.get("bps").error("a link has a positive rate")
    return Claim(
        ends[0],
        ends[1],
        link,
        speed,
        link.get("delay_ns").integer() * FIBRE_M_PER_NS,
        link.get("rail").integer(-1),
        link.get("plane").integer(-1),
    )


def _mac(number: int, port: str) -> str:
    if not port.isdigit():
        return ""
    return f"02:00:00:{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}:{int(port):02x}"
