"""SONiC ``config_db.json``: intended cabling, ports, LAGs, and the QoS settings of every port.

The file that SONiC saves and a dump of the database with flat keys are read alike. A file is one device, or one ASIC of a multi-ASIC device (``config_db0.json``; or one file with the
namespaces ``localhost``, ``asic0``, ... at its top). All ASICs of a device count as one device here,
because front panel port names are unique across them; backplane ports are no cables of the fabric.
Breakout ports are ports like any other; vendor aliases are kept, since LLDP may report those.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fabric.cables import Port
from fabric.inventory import sonic_qos
from fabric.inventory.document import Document, Key, Node, json_line, length_m, read_json
from fabric.inventory.found import Claim, Contradiction, Found, Said, device_of_file, role_from_name

KIND = "SONiC config_db"
SECTIONS = ("DEVICE_METADATA", "DEVICE_NEIGHBOR", "PORT_QOS_MAP", "BUFFER_PG", "PORT")

# SONiC counts tiers from the racks: T0 ToRRouter, T1 LeafRouter, T2 SpineRouter. Many fabrics of two
# tiers call their devices otherwise, so a name that speaks of a tier wins over the type.
ROLES = {
    "ToRRouter": "leaf",
    "BackEndToRRouter": "leaf",
    "LeafRouter": "spine",
    "BackEndLeafRouter": "spine",
    "LowerSpineRouter": "spine",
    "SpineRouter": "core",
    "UpperSpineRouter": "core",
    "Server": "host",
}
INNER_ROLES = ("Int", "Inb", "Rec", "Dpc")  # PORT.role of ports that do not leave the device


def matches(path: Path, head: str) -> bool:
    """Whether a file looks like one of these, from its name and beginning."""
    if path.suffix != ".json" or "ROUTE_TABLE:" in head or "LLDP_ENTRY_TABLE" in head:
        return False
    return "config_db" in path.name or any(
        f'"{section}"' in head or f'"{section}|' in head for section in SECTIONS
    )


def read(path: Path) -> Found:
    """Read the file; ValueError names file, line and key."""
    root = read_json(path)
    if not isinstance(root.value, dict):
        raise root.error("a mapping of tables is expected")
    found = Found(str(path), KIND)
    if any("|" in str(key) for key in root.value):
        root = _nested(root)
    for asic, tree in _namespaces(root):
        _read_tree(tree, asic, path, found)
    return found


def _nested(root: Node) -> Node:
    """A dump of the database (``PORT|Ethernet0``, hashes maybe wrapped) in the shape of the file."""
    tables: dict[str, Any] = {}
    for key, node in root.members():
        table, bar, entry = key.partition("|")
        value = node.get("value").value if _wrapped(node) else node.value
        if bar:
            tables.setdefault(table, {})[entry] = value
        else:
            tables[table] = value

    def line_of(text: str, keys: Sequence[Key]) -> int:
        flat = ("|".join(str(key) for key in keys[:2]), *keys[2:])
        return json_line(text, flat)

    document = Document(root.document.path, root.document.text, line_of)
    return Node(document, (), tables)


def _wrapped(node: Node) -> bool:
    return isinstance(node.value, dict) and node.value.get("type") == "hash"


def _namespaces(root: Node) -> Iterator[tuple[str, Node]]:
    """The configuration, or one per ASIC."""
    if not any(section in root.value for section in SECTIONS) and "localhost" in root.value:
        for name, node in root.members():
            yield ("" if name == "localhost" else name), node
    else:
        yield "", root


def _read_tree(tree: Node, asic: str, path: Path, found: Found) -> None:
    metadata = tree.get("DEVICE_METADATA").get("localhost")
    known = next(iter(found.devices), "")
    device = metadata.get("hostname").text() or known or device_of_file(path)
    asic = asic or metadata.get("asic_name").text() or metadata.get("asic_id").text()
    type_role = ROLES.get(metadata.get("type").text(), "")
    found.add_device(device, _role(device, type_role))
    for name, neighbour in tree.get("DEVICE_NEIGHBOR_METADATA").members():
        found.add_device(name, _role(name, ROLES.get(neighbour.get("type").text(), "")))
    ports = {name: node for name, node in tree.get("PORT").members() if not _inner(name, node)}
    for name, node in ports.items():
        port = Port(device, name)
        speed = node.get("speed")
        if speed.value is not None:
            megabits = speed.integer()
            if megabits <= 0:
                raise speed.error("a speed in Mb/s is expected")
            found.speeds.append(Said(port, megabits * 1_000_000, speed))
        alias = node.get("alias").text()
        if alias and alias != name:
            found.aliases[Port(device, alias)] = name
    for _, table in tree.get("CABLE_LENGTH").members():
        for name, node in table.members():
            found.lengths.append(Said(Port(device, name), node.read(length_m), node))
    _lags(tree, device, found)
    _addresses(tree, device, found)
    _neighbours(tree, device, ports, found)
    role = found.devices[device].role or "switch"
    found.qos += sonic_qos.read_ports(tree, device, role, asic, ports, found)


def _role(name: str, type_role: str) -> str:
    spoken = role_from_name(name)
    return spoken if spoken in ("leaf", "spine", "core") else type_role


def _inner(name: str, node: Node) -> bool:
    return name.startswith("Ethernet-") or node.get("role").text() in INNER_ROLES


def _lags(tree: Node, device: str, found: Found) -> None:
    members: dict[str, list[str]] = {}
    for key, node in tree.get("PORTCHANNEL_MEMBER").members():
        lag, bar, port = key.partition("|")
        if not bar:
            raise node.error("a member is written PortChannelN|EthernetM")
        members.setdefault(lag, []).append(port)
    for lag, ports in members.items():
        found.lags[Port(device, lag)] = tuple(ports)


def _addresses(tree: Node, device: str, found: Found) -> None:
    """Interface addresses: what next hops of a neighbour's routes point at."""
    for table in ("INTERFACE", "PORTCHANNEL_INTERFACE"):
        for key, _ in tree.get(table).members():
            name, bar, address = key.partition("|")
            if bar:
                found.interfaces[address.partition("/")[0].lower()] = Port(device, name)


def _neighbours(tree: Node, device: str, ports: dict[str, Node], found: Found) -> None:
    inner = {name for name, _ in tree.get("PORT").members()} - set(ports)
    for name, node in tree.get("DEVICE_NEIGHBOR").members():
        if name in inner or name.startswith("Ethernet-"):
            continue
        far = Port(node.need("name").text(), node.need("port").text())
        if ports and name not in ports:
            text = f"{device} has a neighbour at {name}, which is none of its ports"
            found.contradictions.append(
                Contradiction("unknown_port", device, name, text, (str(node),))
            )
            continue
        found.claims.append(Claim(Port(device, name), far, node, view=device))
