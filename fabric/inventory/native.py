"""Our own YAML: devices, links, circuits, ranks and QoS in a form that people write and diff.

``docs/topology.md`` describes it. A link is one line, ``leaf0:5 -- spine0:1 400G 30m rail=2``, so that
a fabric of a hundred thousand links loads in a second; what a line leaves out comes from ``defaults``.
"""

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fabric.cables import FOREVER, ROLES, Accelerator, Circuit, Device, Nic, Port, Rank
from fabric.inventory.document import Node, length_m, moment_ns, read_yaml, routing_of, speed_bps
from fabric.inventory.found import Claim, Found
from fabric.inventory.native_qos import read_qos

KIND = "fabric YAML"
VERSION = 1
RANGE = re.compile(r"\[(\d+)-(\d+)\]")
METRES = re.compile(r"[\d.]+(m|cm|km)")
MOST_NAMES = 1_000_000  # of one line: more is a slip of the pen


def matches(path: Path, head: str) -> bool:
    """Whether a file looks like one of these, from its name and beginning."""
    return (
        path.suffix in (".yaml", ".yml") and re.search(r"^fabric:", head, re.MULTILINE) is not None
    )


def read(path: Path) -> Found:
    """Read the file; ValueError names file, line and key."""
    root = read_yaml(path)
    if not isinstance(root.value, dict):
        raise root.error("a mapping is expected")
    root.known(
        "fabric", "name", "routing", "defaults", "devices", "links", "circuits", "ranks", "qos"
    )
    if root.need("fabric").integer() != VERSION:
        raise root.get("fabric").error(f"this reads format {VERSION}")
    found = Found(str(path), KIND, root.get("name").text(), routing_of(root.get("routing")))
    for key, node in root.get("devices").members():
        for name in expand(key, node):
            _device(name, node, found)
    defaults = _defaults(root.get("defaults"))
    for node in root.get("links").elements():
        found.claims += _link(node, defaults)
    for node in root.get("circuits").elements():
        found.circuits.append(_circuit(node))
    for node in root.get("ranks").elements():
        found.ranks.append(_rank(node))
    found.qos += read_qos(root.get("qos"), found)
    return found


def expand(text: str, node: Node) -> Iterator[str]:
    """``leaf[0-3]`` names four devices; several ranges multiply."""
    spans = [(int(part[1]), int(part[2])) for part in RANGE.finditer(text)]
    if any(high < low for low, high in spans):
        raise node.error(f"not a range: {text}")
    if math.prod(high - low + 1 for low, high in spans) > MOST_NAMES:
        raise node.error(f"more than {MOST_NAMES} names: {text}")
    pieces = RANGE.split(text)[::3]
    for numbers in itertools.product(*(range(low, high + 1) for low, high in spans)):
        yield "".join(
            f"{piece}{number}" for piece, number in zip(pieces, (*numbers, ""), strict=True)
        )


def _device(name: str, node: Node, found: Found) -> None:
    if name in found.devices:
        raise node.error(f"{name} is described twice")
    node.known("role", "pod", "nics", "accelerators")
    role = node.get("role").text()
    if role and role not in ROLES:
        raise node.get("role").error(f"unknown role {role!r}; known are {', '.join(ROLES)}")
    found.devices[name] = Device(name, role, node.get("pod").text())
    for nic in node.get("nics").elements():
        port, said = _words(nic, "name", "address", "mac")
        addresses = tuple(text for text in said["address"].split(",") if text)
        found.nics.append(Nic(Port(name, port), said["name"], addresses, said["mac"]))
    for accelerator in node.get("accelerators").elements():
        label, said = _words(accelerator, "nic", "pci")
        found.accelerators.append(Accelerator(name, label, said["nic"], said["pci"]))


def _words(node: Node, *keys: str) -> tuple[str, dict[str, str]]:
    """``1 name=mlx5_0 address=10.0.0.1``: a name, then words with a key; absent ones are empty."""
    name, *words = node.text().split() or [""]
    said = dict.fromkeys(keys, "")
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key not in said:
            raise node.error(f"unknown word {word!r}; known are {', '.join(keys)}")
        said[key] = text
    if not name or "=" in name:
        raise node.error("the name is missing")
    return name, said


OPTIONS: dict[str, Any] = {
    "rail": int,
    "plane": int,
    "from": moment_ns,
    "to": moment_ns,
    "speed": speed_bps,
    "length": length_m,
}
FIELDS = {"from": "valid_from", "to": "valid_to", "speed": "speed_bps", "length": "length_m"}


def _defaults(node: Node) -> dict[str, Any]:
    node.known("speed", "length")
    return {FIELDS[key]: value.read(OPTIONS[key]) for key, value in node.members()}


def _link(node: Node, defaults: dict[str, Any]) -> Iterator[Claim]:
    """One line, or several where both ends hold ranges of the same size."""
    words = node.text().split()
    if len(words) < 3 or words[1] != "--":
        raise node.error("write: device:port -- device:port [400G] [30m] [rail=N] [plane=N]")
    values = defaults | _options(words[3:], node)
    left, right = list(expand(words[0], node)), list(expand(words[2], node))
    if len(left) != len(right):
        raise node.error(f"the ranges differ in size: {len(left)} and {len(right)}")
    for one, two in zip(left, right, strict=True):
        try:
            a, b = Port.parse(one), Port.parse(two)
        except ValueError as complaint:
            raise node.error(str(complaint)) from None
        yield Claim(a, b, node, **values)


def _options(words: list[str], node: Node) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            text = word
            key = "length" if METRES.fullmatch(word) else "speed"
        if key not in OPTIONS:
            raise node.error(f"unknown word {word!r}; known are {', '.join(OPTIONS)}")
        try:
            values[FIELDS.get(key, key)] = OPTIONS[key](text)
        except ValueError as complaint:
            raise node.error(str(complaint)) from None
    return values


def _circuit(node: Node) -> Circuit:
    """``ocs0:1 -- 5 from=... to=...``: both ends are ports of one circuit switch."""
    words = node.text().split()
    if len(words) < 3 or words[1] != "--":
        raise node.error("write: device:port -- port [from=TIME] [to=TIME]")
    values = _options(words[3:], node)
    try:
        one = Port.parse(words[0])
    except ValueError as complaint:
        raise node.error(str(complaint)) from None
    other = words[2].removeprefix(f"{one.device}:")
    if unknown := set(values) - {"valid_from", "valid_to"}:
        raise node.error(f"a circuit has no {', '.join(sorted(unknown))}")
    return Circuit(one.device, one.port, other, **values)


def _rank(node: Node) -> Rank:
    node.known("job", "rank", "device", "port", "qpn", "from", "to")
    return Rank(
        node.get("job").text(),
        node.need("rank").integer(),
        node.need("device").text(),
        node.get("port").text(),
        node.get("qpn").integer(-1),
        node.get("from").read(moment_ns, 0),
        node.get("to").read(moment_ns, FOREVER),
    )
