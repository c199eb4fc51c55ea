"""Containerlab topology files (``*.clab.yml``): nodes with kinds, groups and labels, links with endpoints.

Both forms of a link are read: the short one (``endpoints: ["leaf1:eth1", "spine1:eth1"]``) and the
extended one (``type: veth`` with node and interface apart). Links to the outside (``host``,
``mgmt-net``, ``macvlan``, ``vxlan``, ``dummy``) are no cables of the fabric and are left out. A role
comes from the label ``role`` (or ``graph-role``), then from ``group``, inherited through ``defaults``,
``kinds`` and ``groups`` as containerlab does it; labels ``pod``, ``rail`` and ``plane`` are read too.
"""

import re
from pathlib import Path
from typing import Any

from fabric.cables import ROLES, Device, Port
from fabric.inventory.document import Node, length_m, read_yaml, speed_bps
from fabric.inventory.found import Claim, Found
from fabric.qos import PortQos

KIND = "containerlab"
OUTSIDE = ("host", "mgmt-net", "macvlan", "vxlan", "vxlan-stitch", "dummy")
OUTSIDE_NAMES = ("host", "mgmt-net", "macvlan", "dummy")  # node names with that meaning, short form
WORDS = {
    "server": "host", "client": "host", "gpu": "host", "tor": "leaf", "superspine": "core",
    "super-spine": "core", "border": "leaf",
}  # fmt: skip


def matches(path: Path, head: str) -> bool:
    """Whether a file looks like one of these, from its name and beginning."""
    if path.suffix not in (".yaml", ".yml"):
        return False
    return ".clab." in path.name or (
        re.search(r"^topology:", head, re.MULTILINE) is not None and "nodes:" in head
    )


def read(path: Path) -> Found:
    """Read the file; ValueError names file, line and key."""
    root = read_yaml(path)
    if not isinstance(root.value, dict):
        raise root.error("a mapping is expected")
    topology = root.need("topology")
    found = Found(str(path), KIND, name=root.get("name").text())
    for name, node in topology.need("nodes").members():
        labels = _labels(node, topology)
        found.devices[name] = Device(
            name, _role(node, topology, labels), str(labels.get("pod", ""))
        )
    for link in topology.get("links").elements():
        _read_link(link, found)
    return found


def _layers(node: Node, topology: Node) -> list[Node]:
    """Where a property of a node may stand, the strongest first."""
    group, kind = node.get("group").text(), node.get("kind").text()
    defaults = topology.get("defaults")
    kind = kind or topology.get("groups").get(group).get("kind").text()
    kind = kind or defaults.get("kind").text()
    return [node, topology.get("groups").get(group), topology.get("kinds").get(kind), defaults]


def _labels(node: Node, topology: Node) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in reversed(_layers(node, topology)):
        merged |= {key: value.text() for key, value in layer.get("labels").members()}
    return merged


def _role(node: Node, topology: Node, labels: dict[str, Any]) -> str:
    said = labels.get("role") or labels.get("graph-role") or ""
    for word in (said, node.get("group").text()):
        role = WORDS.get(word.lower(), word.lower())
        role = re.sub(r"(s|\d+)$", "", role) if role not in ROLES else role
        if role in ROLES:
            return role
    kinds = [layer.get("kind").text() for layer in _layers(node, topology)]
    return "host" if next(filter(None, kinds), "") == "linux" else ""


def _read_link(link: Node, found: Found) -> None:
    kind = link.get("type").text("veth")
    if kind in OUTSIDE:
        return
    ends = [_end(node, found) for node in link.need("endpoints").elements()]
    if len(ends) != 2:
        raise link.get("endpoints").error(f"a link has two endpoints, not {len(ends)}")
    a, b = ends
    if a is None or b is None:
        return
    values = {key: node.text() for key, node in link.get("labels").members()}
    labels = link.get("labels")
    speed, length = labels.get("speed").read(speed_bps, 0), labels.get("length").read(length_m, -1)
    rail, plane = labels.get("rail").integer(-1), labels.get("plane").integer(-1)
    claim = Claim(a, b, link, speed, rail=rail, plane=plane)
    found.claims.append(claim._replace(length_m=length) if "length" in values else claim)
    mtu = link.get("mtu").integer(-1)
    if mtu > 0:
        found.qos += [
            PortQos(end, found.path, found.devices[end.device].role, mtu_bytes=mtu)
            for end in (a, b)
        ]


def _end(node: Node, found: Found) -> Port | None:
    """An endpoint in either form; None for one outside the fabric."""
    if isinstance(node.value, dict):
        port = Port(node.need("node").text(), node.need("interface").text())
    else:
        port = node.read(Port.parse)
    if port.device not in found.devices:
        if port.device in OUTSIDE_NAMES:
            return None
        raise node.error(f"unknown node {port.device!r}")
    return port
