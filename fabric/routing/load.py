"""How much each link has to carry: traffic matrices spread over paths, shared max-min fairly.

A demand is a stream with the shares of it that each egress port carries: one path with share 1 for a
hashed flow, all equal-cost paths for a sprayed one. Max-min fairness (Bertsekas and Gallager, Data
Networks, section 6.5.2): raise all rates together; when a link is full, the streams on it are fixed;
go on with the others.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fabric.cables import Path, Place, Port
from fabric.routing.hashing import Flow
from fabric.routing.router import MOST_HOPS, Router
from fabric.topology import Fabric

EPSILON = 1e-9


class Demand(NamedTuple):
    """A stream: the share of it that each egress port carries, and the rate it would like."""

    shares: Mapping[Port, float]
    wanted_bps: float = float("inf")


class Shares(NamedTuple):
    """The fair outcome: rate per demand, load per egress port (both bit/s)."""

    rates_bps: npt.NDArray[np.float64]
    loads_bps: dict[Port, float]


def on_path(path: Path, wanted_bps: float = float("inf")) -> Demand:
    """A flow that takes one path."""
    return Demand(dict.fromkeys(path, 1.0), wanted_bps)


def sprayed(
    fabric: Fabric,
    source: Place,
    to: Place,
    wanted_bps: float = float("inf"),
    at: int | None = None,
) -> Demand:
    """A stream spread evenly at every hop over all equal-cost next hops."""
    wiring = fabric.wiring(at)
    paths = wiring.paths(source, to)
    shares: dict[Port, float] = {}
    amount: dict[str, float] = {}
    first = {path[0] for path in paths} if len(paths) <= 64 else set(_first(fabric, source, to, at))
    for port in first:
        shares[port] = 1.0 / len(first)
    front = dict(shares)
    while front:
        amount.clear()
        for port, share in front.items():
            beyond = wiring.peer(port)
            if beyond is not None:
                amount[beyond.device] = amount.get(beyond.device, 0.0) + share
        front = {}
        for device, share in amount.items():
            hops = wiring.next_hops(device, to)
            for hop in hops:
                front[hop] = front.get(hop, 0.0) + share / len(hops)
        for port, share in front.items():
            shares[port] = shares.get(port, 0.0) + share
    return Demand(shares, wanted_bps)


def _first(fabric: Fabric, source: Place, to: Place, at: int | None) -> tuple[Port, ...]:
    return (source,) if isinstance(source, Port) else fabric.next_hops(source, to, at)


def of_flow(
    router: Router, flow: Flow, wanted_bps: float = float("inf"), at: int | None = None
) -> Demand:
    """A flow as a router forwards it: by hash, and evenly over all ways where a device sprays.

    Empty shares where it cannot be routed. The load is expected only as far as the path is
    (:class:`fabric.routing.router.Predicted`).
    """
    source, target = router.fabric.locate(flow.src), router.fabric.locate(flow.dst)
    if source is None or target is None:
        return Demand({}, wanted_bps)
    shares: dict[Port, float] = {}
    front = {source: 1.0}
    for _ in range(MOST_HOPS):
        after: dict[Port, float] = {}
        for port, share in front.items():
            shares[port] = shares.get(port, 0.0) + share
            beyond = router.fabric.peer(port, at)
            if beyond is None or beyond.device == target.device:
                continue
            ways, _ = router.ways(beyond.device, flow.dst, at)
            spread = [p for way in ways for p in way.ports]
            if ways and beyond.device not in router.spray:
                spread = [router.choose(beyond.device, flow, ways)]
            for hop in spread:
                after[hop] = after.get(hop, 0.0) + share / len(spread)
        front = after
    return Demand(shares, wanted_bps)


def max_min(demands: Sequence[Demand], capacity_bps: Mapping[Port, float]) -> Shares:
    """Fair rates of all demands. Ports without a capacity do not limit.

    A demand that crosses no limited port and wants no finite rate is a ValueError: it has no answer.
    """
    ports = sorted({port for demand in demands for port in demand.shares})
    number = {port: i for i, port in enumerate(ports)}
    limits = np.array([capacity_bps.get(port) or np.inf for port in ports])
    row = np.array([i for i, d in enumerate(demands) for _ in d.shares], np.int64)
    column = np.array([number[p] for d in demands for p in d.shares], np.int64)
    share = np.array([s for d in demands for s in d.shares.values()])
    wanted = np.array([demand.wanted_bps for demand in demands])
    rates = np.zeros(len(demands))
    open_ = np.ones(len(demands), np.bool_)
    while open_.any():
        used = np.bincount(column, share * rates[row], len(ports))
        rising = np.bincount(column, share * open_[row], len(ports))
        room = np.full(len(ports), np.inf)
        busy = rising > EPSILON
        room[busy] = np.maximum(limits[busy] - used[busy], 0.0) / rising[busy]
        step = min(room.min(initial=np.inf), (wanted - rates)[open_].min())
        if not np.isfinite(step):
            raise ValueError("a demand without a wanted rate crosses no port of known speed")
        rates[open_] += step
        full = busy & (room <= step * (1 + EPSILON))
        stuck = np.zeros(len(demands), np.bool_)
        stuck[row[full[column]]] = True
        open_ &= ~stuck & (rates < wanted * (1 - EPSILON))
    loads = np.bincount(column, share * rates[row], len(ports))
    return Shares(rates, dict(zip(ports, loads.tolist(), strict=True)))


def link_loads(demands: Sequence[Demand]) -> dict[Port, float]:
    """What the ports would have to carry if every demand got the rate it wants (bit/s)."""
    loads: dict[Port, float] = {}
    for demand in demands:
        for port, share in demand.shares.items():
            loads[port] = loads.get(port, 0.0) + share * demand.wanted_bps
    return loads


def capacities(fabric: Fabric, at: int | None = None) -> dict[Port, float]:
    """Speed of every egress port whose link states one."""
    return {
        end: float(link.speed_bps)
        for link in fabric.wiring(at).links
        if link.speed_bps
        for end in (link.a, link.b)
    }
