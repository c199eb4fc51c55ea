"""Random fabrics and loads for labelled runs: what is drawn before a fault is.

Nothing here is a case that somebody chose: sizes, speeds, loads and places come from a random
generator whose seed is drawn at run time. See :mod:`tests.accuracy.families`.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

from fabric.cables import Port
from fabric.simulator.scenario import fabric_of
from fabric.topology import Fabric

KIB, MIB = 1 << 10, 1 << 20
LAYOUTS = ("clos2", "clos2", "clos2", "clos3", "rail_optimised", "dual_plane")


def layout(rng: Random, kinds: Sequence[str] = LAYOUTS) -> dict[str, Any]:
    """A fabric of 12 to 20 NIC ports, oversubscribed at most two to one."""
    kind = rng.choice(kinds)
    gbps = rng.choice((100, 100, 100, 200, 50))
    if kind == "clos2":
        leaves = rng.choice((2, 3, 4, 5))
        hosts = rng.choice([n for n in range(3, 9) if 12 <= n * leaves <= 20])
        spines = rng.randint(2, 4)
        return {
            "kind": kind, "leaves": leaves, "spines": spines, "hosts_per_leaf": hosts,
            "host_gbps": gbps, "uplink_gbps": _uplink(gbps * hosts, spines),
        }  # fmt: skip
    if kind == "clos3":
        hosts, spines, cores = rng.randint(3, 5), 2, 2
        up = _uplink(gbps * hosts, spines)
        return {
            "kind": kind, "pods": 2, "leaves": 2, "spines": spines, "cores": cores,
            "hosts_per_leaf": hosts, "host_gbps": gbps, "uplink_gbps": up,
        }  # fmt: skip
    if kind == "rail_optimised":
        rails = rng.choice((2, 4))
        hosts, spines = 16 // rails, 2
        return {
            "kind": kind, "hosts": hosts, "rails": rails, "spines": spines,
            "hosts_per_leaf": hosts // 2, "host_gbps": gbps,
            "uplink_gbps": _uplink(gbps * hosts // 2, spines),
        }  # fmt: skip
    if kind == "dual_plane":
        hosts, spines = rng.randint(3, 5), 2
        return {
            "kind": kind, "leaves": 2, "spines": spines, "hosts_per_leaf": hosts,
            "host_gbps": gbps, "uplink_gbps": _uplink(gbps * hosts, spines),
        }  # fmt: skip
    return {"kind": "dragonfly", "groups": 4, "routers": 2, "hosts_per_router": 2, "gbps": gbps}


def _uplink(below_gbps: int, uplinks: int) -> int:
    """The slowest standard speed that carries half of what hangs below."""
    return next(s for s in (50, 100, 200, 400, 800) if s * uplinks * 2 >= below_gbps)


class Place:
    """A drawn fabric and questions about it that faults ask."""

    def __init__(self, rng: Random, drawn: dict[str, Any]) -> None:
        self.rng, self.layout = rng, drawn
        self.fabric: Fabric = fabric_of(dict(drawn))
        self.hosts = list(self.fabric.named("host"))
        self.nics = [str(port) for host in self.hosts for port in self.fabric.ports(host)]
        speeds = [self.fabric.speed_bps(Port.parse(nic)) for nic in self.nics]
        self.bps = speeds[0]

    @staticmethod
    def port(name: str) -> Port:
        """A port by its name."""
        return Port.parse(name)

    def up(self, nic: str) -> str:
        """The switch port that a NIC is cabled to."""
        return str(self.fabric.peer(Port.parse(nic)))

    def leaf(self, nic: str) -> str:
        """The switch that a NIC is cabled to."""
        return self.up(nic).partition(":")[0]

    def uplinks(self, switch: str) -> list[str]:
        """Ports of a switch that lead to switches."""
        ports = self.fabric.ports(switch)
        return [str(p) for p in ports if (q := self.fabric.peer(p)) and self._tier(q.device) > 0]

    def _tier(self, device: str) -> int:
        return 0 if self.fabric.devices[device].role == "host" else 1

    def reachable(self, nic: str) -> list[str]:
        """Other hosts' NICs that this one reaches through the network (planes never meet)."""
        host = nic.partition(":")[0]
        mine = [other for other in self.nics if other.partition(":")[0] != host]
        if self.layout["kind"] == "dual_plane":
            plane = nic.partition(":")[2]
            mine = [other for other in mine if other.partition(":")[2] == plane]
        return mine

    def groups(self) -> list[list[str]]:
        """NICs that form collectives, in the order of the racks: all, or those of each rail or plane."""
        if self.layout["kind"] not in ("rail_optimised", "dual_plane"):
            return [list(self.nics)]
        numbers = sorted({nic.partition(":")[2] for nic in self.nics})
        return [[nic for nic in self.nics if nic.partition(":")[2] == n] for n in numbers]

    def group(self) -> list[str]:
        """One of them."""
        return self.rng.choice(self.groups())

    def across(self, nics: Sequence[str]) -> list[str]:
        """The same NICs so that each neighbour sits below another switch, as far as that goes."""
        racks: dict[str, list[str]] = {}
        for nic in nics:
            racks.setdefault(self.leaf(nic), []).append(nic)
        ordered, rows = [], list(racks.values())
        while any(rows):
            ordered += [row.pop(0) for row in rows if row]
        return ordered


def settings(rng: Random, place: Place) -> dict[str, Any]:
    """Buffers, thresholds and transport of a whole fabric."""
    kmin = rng.choice((50_000, 100_000, 150_000))
    ports = max(len(place.fabric.ports(name)) for name in place.fabric.named("leaf"))
    scale = max(place.bps / 100e9, 1)
    return {
        "switching": {
            "buffer_bytes": round((2 + ports * 0.25) * MIB * scale * rng.uniform(0.8, 1.6)),
            "alpha": rng.choice((0.125, 0.125, 0.25, 0.0625)),
            "kmin_bytes_100g": kmin,
            "kmax_bytes_100g": kmin * rng.choice((3, 4)),
            "pmax": rng.choice((0.1, 0.2, 0.3)),
            "refresh": rng.choice((0.5, 0.5, 0.25)),
        },
        "traffic": {
            "profile": rng.choice(("ns3", "ns3", "nic")),
            "timeout_us": rng.choice((300, 500, 800)),
        },
    }


def background(rng: Random, place: Place, until_us: int, most: float = 0.3) -> list[dict[str, Any]]:
    """A healthy load of every group of NICs, or a mix of two."""
    kind = rng.choice(("poisson", "poisson", "ring", "kv_cache", "storage", "pipeline", "two"))
    kinds = ["poisson", rng.choice(("kv_cache", "storage"))] if kind == "two" else [kind]
    return [
        _load(rng, nics, place.bps, one, until_us, most / len(kinds))
        for nics in place.groups()
        for one in kinds
    ]


def _load(
    rng: Random, nics: list[str], bps: int, kind: str, until_us: int, most: float
) -> dict[str, Any]:
    seed = rng.randrange(1 << 30)
    if kind == "poisson":
        load = round(rng.uniform(0.08, most), 3)
        return {"kind": kind, "hosts": nics, "load": load, "until_us": until_us, "seed": seed}
    if kind == "ring":
        size = round(len(nics) * rng.uniform(64, 400) * KIB)
        step_us = size / len(nics) * 8 * 1e6 / bps + 20
        count = max(int(until_us / (step_us * len(nics))) + 2, 2)
        return {"kind": rng.choice(("all_reduce", "all_gather", "reduce_scatter")), "hosts": nics,
                "size": size, "iterations": count, "think_us": rng.choice((10, 30, 60))}  # fmt: skip
    if kind == "kv_cache":
        half, period = len(nics) // 2, rng.randint(200, 500)
        return {"kind": kind, "prefill": nics[:half], "decode": nics[half:],
                "size": round(rng.uniform(0.2, 0.8) * most * bps / 8e6 * period),
                "requests": until_us // period + 1, "period_us": period, "seed": seed,
                "pull": rng.random() < 0.5}  # fmt: skip
    if kind == "storage":
        servers = max(len(nics) // 4, 1)
        return {"kind": kind, "clients": nics[servers:], "servers": nics[:servers],
                "size": rng.choice((32, 64, 128)) * KIB, "until_us": until_us,
                "period_us": rng.randint(120, 300), "seed": seed,
                "pull": rng.random() < 0.5}  # fmt: skip
    return {"kind": "pipeline", "hosts": nics, "size": rng.choice((64, 128, 256)) * KIB,
            "iterations": 200, "think_us": rng.randint(5, 20)}  # fmt: skip
