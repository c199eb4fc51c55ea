"""Forwarding tables as devices have them: SONiC's APPL_DB and OpenConfig's AFT, from JSON files.

SONiC: a dump of ``ROUTE_TABLE`` keys (``sonic-db-dump`` wraps each hash in type and value; plain
hashes are read too), with ``NEXTHOP_GROUP_TABLE`` where routes refer to it. OpenConfig: the tree of
one gNMI Get or Subscribe on ``/network-instances/network-instance/afts``, with or without module
prefixes. Only the default routing instance is read. The device is told by the file's name.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fabric.inventory.document import Node, read_json
from fabric.inventory.found import Found, Hop, Route, device_of_file

KIND = "forwarding table"


def matches(path: Path, head: str) -> bool:
    """Whether a file looks like one of these, from its name and beginning."""
    if path.suffix != ".json":
        return False
    return "ROUTE_TABLE" in head or ("next-hop-group" in head and "entry" in head)


def read(path: Path) -> Found:
    """Read the file; ValueError names file, line and key."""
    root = read_json(path)
    found = Found(str(path), KIND)
    device = device_of_file(path)
    sonic = any(key.startswith(("ROUTE_TABLE", "NEXTHOP_GROUP_TABLE")) for key, _ in root.members())
    rows = _sonic(root) if sonic else _aft(root)
    found.routes[device] = list(rows)
    if not found.routes[device]:
        raise root.error("no route of the default instance is in here")
    found.add_device(device)
    return found


# -- SONiC ----------------------------------------------------------------------------------------


def _hash(node: Node) -> Node:
    return node.get("value") if node.get("type").value == "hash" else node


def _table(root: Node, name: str) -> Iterator[tuple[str, Node]]:
    for key, node in root.members():
        table, colon, rest = key.partition(":")
        if table == name and colon:
            yield rest, _hash(node)
        elif key == name:
            yield from ((inner, _hash(value)) for inner, value in node.members())


def _sonic(root: Node) -> Iterator[Route]:
    groups = dict(_table(root, "NEXTHOP_GROUP_TABLE"))
    for prefix, node in _table(root, "ROUTE_TABLE"):
        if prefix.startswith("Vrf") or node.get("blackhole").text() == "true":
            continue
        group = node.get("nexthop_group").text()
        if group and group not in groups:
            raise node.get("nexthop_group").error(f"NEXTHOP_GROUP_TABLE:{group} is missing")
        yield Route(_prefix(prefix, node), tuple(_sonic_hops(groups[group] if group else node)))


def _sonic_hops(node: Node) -> Iterator[Hop]:
    """Parallel comma-separated lists: interfaces, next hops, weights."""
    names = node.get("ifname").text().split(",")
    addresses = node.get("nexthop").text().split(",")
    weights = node.get("weight").text().split(",")
    for i, name in enumerate(names):
        weight = weights[i] if i < len(weights) and weights[i] else "1"
        if not weight.isdigit():
            raise node.get("weight").error(f"a weight is a whole number, not {weight!r}")
        address = addresses[i] if i < len(addresses) else ""
        if name:
            yield Hop(name, address, int(weight))


def _prefix(text: str, node: Node) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise node.error(f"not a prefix: {text!r}") from None


# -- OpenConfig -----------------------------------------------------------------------------------


def _plain(node: Node) -> Node:
    """The same tree without module prefixes in its keys."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key).rpartition(":")[2]: strip(inner) for key, inner in value.items()}
        return [strip(inner) for inner in value] if isinstance(value, list) else value

    return Node(node.document, node.keys, strip(node.value))


def _afts(root: Node) -> Node:
    """Down to ``afts`` from wherever the tree begins."""
    if root.get("afts").value is not None:
        return root.get("afts")
    if root.get("ipv4-unicast").value is not None or root.get("next-hops").value is not None:
        return root
    instances = root.get("network-instances") if root.get("network-instances").value else root
    for instance in instances.need("network-instance").elements():
        if instance.get("name").text("default").lower() in ("default", "master", "global"):
            return instance.need("afts")
    raise root.error("no default network-instance")


def _aft(root: Node) -> Iterator[Route]:
    afts = _afts(_plain(root))
    hops = {
        node.need("index").text(): node for node in afts.get("next-hops").get("next-hop").elements()
    }
    groups = {
        node.need("id").text(): node
        for node in afts.get("next-hop-groups").get("next-hop-group").elements()
    }
    for family in ("ipv4-unicast", "ipv6-unicast"):
        kind = f"{family[:4]}-entry"
        for entry in afts.get(family).get(kind).elements():
            state = entry.get("state")
            group = state.get("next-hop-group").text()
            if not group:
                continue
            if group not in groups:
                raise state.get("next-hop-group").error(f"next-hop-group {group} is missing")
            prefix = _prefix(entry.need("prefix").text(), entry)
            yield Route(prefix, tuple(_aft_hops(groups[group], hops)))


def _aft_hops(group: Node, hops: dict[str, Node]) -> Iterator[Hop]:
    for member in group.get("next-hops").get("next-hop").elements():
        index = member.need("index").text()
        if index not in hops:
            raise member.error(f"next-hop {index} is missing")
        hop = hops[index]
        reference = hop.get("interface-ref")
        name = reference.get("state").get("interface").text()
        weight = member.get("state").get("weight").integer(1)
        yield Hop(name, hop.get("state").get("ip-address").text(), weight)
