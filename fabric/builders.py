"""Fabrics by the book: Clos of two and three tiers, rail-optimised, dual-plane, dragonfly.

Each builder returns a :class:`fabric.topology.Fabric` whose names and numbers say where things are:
``host3``, ``leaf0``, ``spine2``; ports count from 1, hosts' ports first, then the uplinks. Addresses
are IPv4, one per NIC port, from 10.0.0.0/8.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable

from fabric.cables import Accelerator, Device, Link, Nic, Port
from fabric.topology import Fabric

GBPS = 1_000_000_000


class _Plan:
    """Devices and links as they are laid; a device's ports are numbered in the order of use."""

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}
        self.links: list[Link] = []
        self.nics: list[Nic] = []
        self.accelerators: list[Accelerator] = []
        self._used: Counter[str] = Counter()

    def add(self, name: str, role: str, pod: str = "") -> str:
        self.devices.setdefault(name, Device(name, role, pod))
        return name

    def port(self, device: str) -> Port:
        self._used[device] += 1
        return Port(device, str(self._used[device]))

    def cable(
        self,
        a: str,
        b: str,
        speed_bps: int,
        length_m: float,
        *,
        count: int = 1,
        rail: int = -1,
        plane: int = -1,
    ) -> None:
        """Lay ``count`` parallel cables."""
        for _ in range(count):
            one = self.port(a)
            self.links.append(Link(one, self.port(b), speed_bps, length_m, rail, plane))

    def attach(self, host: str, leaf: str, speed_bps: int, rail: int = -1, plane: int = -1) -> None:
        """Cable a host to a leaf with 3 m and give the new NIC port an address."""
        self.cable(host, leaf, speed_bps, 3.0, rail=rail, plane=plane)
        port = self.links[-1].a
        address = ipaddress.IPv4Address((10 << 24) + len(self.nics) + 1)
        self.nics.append(Nic(port, f"mlx5_{int(port.port) - 1}", (str(address),)))

    def fabric(self, name: str) -> Fabric:
        return Fabric(
            self.devices.values(), self.links, (), self.nics, self.accelerators, name=name
        )


def clos2(
    leaves: int,
    spines: int,
    hosts_per_leaf: int,
    *,
    host_gbps: int = 400,
    uplink_gbps: int = 400,
    parallel: int = 1,
) -> Fabric:
    """Leaf and spine: each leaf has ``parallel`` links to each spine, each host one to its leaf."""
    plan = _Plan()
    names = [plan.add(f"leaf{i}", "leaf") for i in range(leaves)]
    tops = [plan.add(f"spine{i}", "spine") for i in range(spines)]
    for i, leaf in enumerate(names):
        for j in range(hosts_per_leaf):
            host = plan.add(f"host{i * hosts_per_leaf + j}", "host")
            plan.attach(host, leaf, host_gbps * GBPS)
    for leaf in names:
        for spine in tops:
            plan.cable(leaf, spine, uplink_gbps * GBPS, 30.0, count=parallel)
    return plan.fabric(f"clos2-{leaves}x{spines}")


def clos3(
    pods: int,
    leaves: int,
    spines: int,
    cores: int,
    hosts_per_leaf: int,
    *,
    host_gbps: int = 400,
    uplink_gbps: int = 400,
) -> Fabric:
    """Pods of leaves and spines below cores: spine *s* of every pod meets the same ``cores`` cores.

    ``leaves`` and ``spines`` count per pod, ``cores`` per spine; there are ``spines * cores`` cores.
    """
    plan = _Plan()
    host = 0
    for p in range(pods):
        below = [plan.add(f"leaf{p * leaves + i}", "leaf", f"pod{p}") for i in range(leaves)]
        above = [plan.add(f"spine{p * spines + i}", "spine", f"pod{p}") for i in range(spines)]
        for leaf in below:
            for _ in range(hosts_per_leaf):
                name = plan.add(f"host{host}", "host", f"pod{p}")
                plan.attach(name, leaf, host_gbps * GBPS)
                host += 1
        for leaf in below:
            for spine in above:
                plan.cable(leaf, spine, uplink_gbps * GBPS, 30.0)
    for s in range(spines):
        for c in range(cores):
            core = plan.add(f"core{s * cores + c}", "core")
            for p in range(pods):
                plan.cable(f"spine{p * spines + s}", core, uplink_gbps * GBPS, 100.0)
    return plan.fabric(f"clos3-{pods}x{leaves}x{spines}")


def rail_optimised(
    hosts: int,
    rails: int,
    spines: int,
    *,
    hosts_per_leaf: int = 32,
    host_gbps: int = 400,
    uplink_gbps: int = 400,
    parallel: int = 1,
) -> Fabric:
    """NIC *r* of every host goes to the leaf of rail *r*; a spine layer joins all leaves.

    A group of ``hosts_per_leaf`` hosts shares one leaf per rail; GPU *r* sits next to NIC *r*.
    """
    plan = _Plan()
    tops = [plan.add(f"spine{i}", "spine") for i in range(spines)]
    groups = -(-hosts // hosts_per_leaf)
    for g in range(groups):
        leaves = [plan.add(f"leaf{g * rails + r}", "leaf", f"pod{g}") for r in range(rails)]
        for h in range(g * hosts_per_leaf, min(hosts, (g + 1) * hosts_per_leaf)):
            host = plan.add(f"host{h}", "host", f"pod{g}")
            for r, leaf in enumerate(leaves):
                plan.attach(host, leaf, host_gbps * GBPS, rail=r)
                plan.accelerators.append(Accelerator(host, f"gpu{r}", str(r + 1)))
        for r, leaf in enumerate(leaves):
            for spine in tops:
                plan.cable(leaf, spine, uplink_gbps * GBPS, 30.0, count=parallel, rail=r)
    return plan.fabric(f"rail-{hosts}x{rails}")


def dual_plane(
    leaves: int,
    spines: int,
    hosts_per_leaf: int,
    *,
    host_gbps: int = 200,
    uplink_gbps: int = 400,
) -> Fabric:
    """Two fabrics that never meet but in the hosts: each NIC has one port in each plane.

    ``leaves`` and ``spines`` count per plane. The two ports of a NIC share one address (a bond).
    """
    plan = _Plan()
    for p in range(2):
        below = [plan.add(f"leaf{p}-{i}", "leaf") for i in range(leaves)]
        above = [plan.add(f"spine{p}-{i}", "spine") for i in range(spines)]
        for i, leaf in enumerate(below):
            for j in range(hosts_per_leaf):
                number = i * hosts_per_leaf + j
                host = plan.add(f"host{number}", "host")
                plan.cable(host, leaf, host_gbps * GBPS, 3.0, plane=p)
                address = ipaddress.IPv4Address((10 << 24) + number + 1)
                plan.nics.append(Nic(plan.links[-1].a, "bond0", (str(address),)))
        for leaf in below:
            for spine in above:
                plan.cable(leaf, spine, uplink_gbps * GBPS, 30.0, plane=p)
    return plan.fabric(f"dual-plane-{leaves}x{spines}")


def dragonfly(
    groups: int,
    routers: int,
    hosts_per_router: int,
    *,
    global_links: int = 1,
    gbps: int = 400,
) -> Fabric:
    """Groups of fully meshed routers; each pair of groups has ``global_links`` long cables.

    Global cables are dealt to the routers of a group in turn (Kim et al., ISCA 2008, section 3).
    """
    plan = _Plan()
    for g in range(groups):
        mesh = [plan.add(f"router{g * routers + i}", "leaf", f"group{g}") for i in range(routers)]
        for i, router in enumerate(mesh):
            for j in range(hosts_per_router):
                host = (g * routers + i) * hosts_per_router + j
                plan.attach(plan.add(f"host{host}", "host", f"group{g}"), router, gbps * GBPS)
        for i, one in enumerate(mesh):
            for two in mesh[i + 1 :]:
                plan.cable(one, two, gbps * GBPS, 5.0)
    turn: Counter[int] = Counter()
    for _ in range(global_links):
        for g in range(groups):
            for other in range(g + 1, groups):
                a = f"router{g * routers + turn[g] % routers}"
                b = f"router{other * routers + turn[other] % routers}"
                turn[g] += 1
                turn[other] += 1
                plan.cable(a, b, gbps * GBPS, 100.0)
    return plan.fabric(f"dragonfly-{groups}x{routers}")


BUILDERS: dict[str, Callable[..., Fabric]] = {
    "clos2": clos2,
    "clos3": clos3,
    "rail": rail_optimised,
    "dual-plane": dual_plane,
    "dragonfly": dragonfly,
}
