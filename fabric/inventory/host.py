"""The settings of a host, from a folder named after it.

    host0/mlnx_qos_eth0.txt      output of mlnx_qos -i eth0
    host0/dcb_eth0.txt           output of dcb pfc|ets|app|apptrust|buffer show dev eth0
    host0/lspci.txt              output of lspci -vvv, taken as root
    host0/nccl.conf              NCCL's settings (or nccl.env, or a copy of /proc/PID/environ)
    host0/sys/...                a copy of parts of /sys, see :func:`read_sys`

The copy of /sys tells which RDMA device belongs to which interface; both names then mean one port.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fabric.cables import Nic, Port
from fabric.inventory.document import text_of
from fabric.inventory.found import Found
from fabric.inventory.host_text import (
    parse_dcb,
    parse_lspci,
    parse_mlnx_qos,
    parse_nccl_settings,
)
from fabric.qos import PortQos, Roce

KIND = "host settings"
NAME = re.compile(r"(mlnx_qos|dcb)[-_.](?P<port>[\w.]+?)(\.(txt|out|log))?$")
LSPCI = re.compile(r"lspci([-_.]\w+)?\.(txt|out|log)$")
NCCL_FILES = ("nccl.conf", "nccl.env", "environ")
LONGEST_BYTES = 65536  # a file of /sys is a page; longer ones are none of those read here
DEEPEST = 8  # and no further: the links inside /sys lead in circles
SKIPPED = ("subsystem", "driver", "power", "statistics", "queues", "counters", "hw_counters")
Tree = Mapping[str, Any]


def matches(path: Path, head: str) -> bool:
    """Whether a file or folder looks like one of these, from its name and beginning."""
    if path.is_dir():
        return path.name == "sys" and (path / "class").is_dir()
    if path.name in NCCL_FILES:
        return "NCCL_" in head
    if LSPCI.match(path.name):
        return "PCI" in head
    return NAME.match(path.name) is not None and ("PFC" in head or "prio" in head)


def read(path: Path) -> Found:
    """Read a file or a copy of /sys; ValueError names file, line and key."""
    found = Found(str(path), KIND)
    host = path.resolve().parent.name
    found.add_device(host, "host")
    if path.is_dir():
        read_sys(host, tree_of(path), found)
    elif path.name in NCCL_FILES:
        settings = parse_nccl_settings(text_of(path), str(path))
        found.qos.append(PortQos(Port(host, "*"), str(path), "host", roce=Roce(**settings)))
    elif LSPCI.match(path.name):
        roce = Roce(acs_bridges=parse_lspci(text_of(path), str(path)))
        found.qos.append(PortQos(Port(host, "*"), str(path), "host", roce=roce))
    else:
        named = NAME.match(path.name)
        if named is None:
            raise ValueError(
                f"{path}: the name says no interface: write mlnx_qos_IF.txt, dcb_IF.txt"
            )
        parse = parse_mlnx_qos if path.name.startswith("mlnx_qos") else parse_dcb
        values = parse(text_of(path), str(path))
        found.qos.append(PortQos(Port(host, named["port"]), str(path), "host", **values))
    return found


def tree_of(folder: Path, depth: int = DEEPEST) -> dict[str, Any]:
    """A folder as nested mappings; the leaves are the texts of its files, stripped."""
    tree: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if depth and path.name not in SKIPPED:
                tree[path.name] = tree_of(path, depth - 1)
        elif path.is_file() and path.stat().st_size <= LONGEST_BYTES:
            tree[path.name] = text_of(path).strip()
    return tree


def read_sys(host: str, tree: Tree, found: Found) -> None:
    """Settings from a tree shaped like /sys.

    ``class/net/IF``: ``mtu``, ``speed``, ``address``, ``ecn/roce_np`` and ``ecn/roce_rp`` (enable per
    priority, cnp_dscp, cnp_802p_prio). ``class/infiniband/DEV``: ``tc/1/traffic_class``, and of port 1
    ``gid_attrs/types``, ``gid_attrs/ndevs``. ``kernel/config/rdma_cm/DEV/ports/1/default_roce_tos``.
    """
    owners: dict[str, str] = {}
    for device, node in _at(tree, "class", "infiniband").items():
        interface = _interface(node)
        owners[interface or device] = device
        if interface:
            found.aliases[Port(host, device)] = interface
    for interface, node in _at(tree, "class", "net").items():
        if interface not in owners and "ecn" not in node:
            continue
        where = f"{found.path}/class/net/{interface}"
        mac = str(node.get("address", ""))
        found.nics.append(Nic(Port(host, interface), owners.get(interface, ""), (), mac))
        found.qos.append(
            PortQos(
                Port(host, interface),
                where,
                "host",
                mtu_bytes=_whole(node, "mtu", where),
                speed_bps=max(_whole(node, "speed", where), 0) * 1_000_000,
                roce=_roce(tree, owners.get(interface, ""), node, where),
            )
        )


def _at(tree: Tree, *names: str) -> Tree:
    """A folder below; empty where it is absent."""
    for name in names:
        inner = tree.get(name)
        tree = inner if isinstance(inner, Mapping) else {}
    return tree


def _interface(node: Tree) -> str:
    """The network interface of an RDMA device: its first GID's, or the one below its PCI device."""
    ndevs = _at(node, "ports", "1", "gid_attrs", "ndevs")
    below = _at(node, "device", "net")
    return str(next(iter(ndevs.values()), "") or next(iter(below), ""))


def _whole(node: Tree, key: str, where: str) -> int:
    text = str(node.get(key, "-1")) or "-1"
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f"{where}/{key}: a whole number is expected, not {text!r}") from None


def _roce(tree: Tree, device: str, net: Tree, where: str) -> Roce:
    np, rp = _at(net, "ecn", "roce_np"), _at(net, "ecn", "roce_rp")
    types = _at(tree, "class", "infiniband", device, "ports", "1", "gid_attrs", "types")
    second = {i: kind for i, kind in types.items() if kind == "RoCE v2"}
    return Roce(
        dscp=_traffic_class(tree, device, where) >> 2,
        cnp_dscp=_whole(np, "cnp_dscp", where),
        cnp_priority=_whole(np, "cnp_802p_prio", where),
        notify=_enabled(np),
        react=_enabled(rp),
        gid_type="RoCE v2" if second else next(iter(types.values()), ""),
    )


def _traffic_class(tree: Tree, device: str, where: str) -> int:
    """The forced traffic class, else the default of connections made by the RDMA connection manager."""
    forced = _at(tree, "class", "infiniband", device, "tc", "1").get("traffic_class", "")
    number = re.search(r"\d+", str(forced))
    if number:
        return int(number[0])
    port = _at(tree, "kernel", "config", "rdma_cm", device, "ports", "1")
    return _whole(port, "default_roce_tos", where)


def _enabled(node: Tree) -> frozenset[int] | None:
    """Priorities whose switch is on; None where the driver shows no switches."""
    switches = _at(node, "enable")
    if not switches:
        return None
    return frozenset(int(p) for p, on in switches.items() if p.isdigit() and on == "1")
