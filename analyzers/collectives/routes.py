"""Which links the flows of operations use: seen at taps, else predicted, and how sure that is.

A tap whose name is a port of the fabric (``leaf0:5``) shows which flows leave there or come in. What no
tap shows is predicted by the router; its hash is chosen among the usual ones by what the taps showed, and
a prediction stays unverified where none of them was confirmed (:mod:`fabric.routing.router`).
"""

from typing import Final, NamedTuple

import polars as pl

from analyzers.tables import Tables
from fabric.cables import Path, Port
from fabric.routing.hashing import FIVE_TUPLE, FUNCTIONS, Flow, HashSetting
from fabric.routing.router import MOST_HOPS, Router
from fabric.topology import Fabric

FIELDS: Final = (FIVE_TUPLE, (*FIVE_TUPLE, "qpn"), ("src", "dst", "qpn"), ("src", "dst"))


class Routed(NamedTuple):
    """A flow with its path and what it carried."""

    flow: Flow
    path: Path
    status: str  # seen, only, verified, unverified, ...
    size: int  # bytes


class Routes:
    """Paths of flows through one fabric: what taps saw at a device wins over the hash."""

    def __init__(self, router: Router, seen: list[tuple[Flow, Port]]) -> None:
        self.router = router
        self._seen: dict[Flow, dict[str, Port]] = {}
        for flow, egress in seen:
            self._seen.setdefault(flow, {})[egress.device] = egress

    @classmethod
    def of(cls, tables: Tables, fabric: Fabric) -> "Routes":
        """With the hash that agrees best with what taps on links of switches saw."""
        seen = _seen(tables, fabric)
        best, hits = Router(fabric), -1
        for setting in settings():
            router = Router(fabric, hashing=setting)
            told = [router.observe(flow, port) for flow, port in seen]
            right = sum(answer is True for answer in told)
            if right > hits:
                best, hits = router, right
            if False not in told:
                break
        return cls(best, seen)

    def path(self, flow: Flow) -> tuple[Path, str]:
        """The path of a flow and how sure it is; an empty path where it cannot be routed."""
        fabric, seen = self.router.fabric, self._seen.get(flow, {})
        source, target = fabric.locate(flow.src), fabric.locate(flow.dst)
        path, status = [source] if source else [], "seen"
        while path and target and len(path) <= MOST_HOPS:
            beyond = fabric.peer(path[-1])
            if beyond is None:
                break
            if beyond.device == target.device:
                return tuple(path), status
            egress = seen.get(beyond.device)
            if egress is None:
                ways, _ = self.router.ways(beyond.device, flow.dst)
                if not ways:
                    break
                egress = self.router.choose(beyond.device, flow, ways)
                if sum(len(way.ports) for way in ways) > 1:
                    trusted = self.router.records[beyond.device].trusted
                    status = "verified" if trusted and status != "unverified" else "unverified"
            path.append(egress)
        return (), "unroutable"

    def routed(self, carried: pl.DataFrame) -> list[Routed]:
        """Paths of the flows that carried something; what cannot be placed is left out."""
        found = []
        rows = carried.group_by("src", "dst", "sport", "qpn").agg(pl.col("bytes").sum())
        for src, dst, sport, qpn, size in rows.sort("src", "dst", "sport", "qpn").iter_rows():
            flow = Flow(src, dst, sport or 0, qpn=qpn)
            path, status = self.path(flow)
            if path and size > 0:
                found.append(Routed(flow, path, status, size))
        return found


def settings() -> list[HashSetting]:
    """The hashes that are tried, the usual one first."""
    return [HashSetting(function, 0, fields) for fields in FIELDS for function in FUNCTIONS]


def _seen(tables: Tables, fabric: Fabric) -> list[tuple[Flow, Port]]:
    """(flow, egress port of a switch) as taps saw them."""
    rows = tables.flows.select("point", "src", "dst", "sport", "qpn").unique().collect()
    ports = {str(port): port for device in fabric.devices for port in fabric.ports(device)}
    found: list[tuple[Flow, Port]] = []
    for point, src, dst, sport, qpn in sorted(rows.iter_rows()):
        port = ports.get(point)
        source, target = fabric.locate(src), fabric.locate(dst)
        if port is None or source is None or target is None or sport is None:
            continue
        flow = Flow(src, dst, sport, qpn=qpn)
        both = (port, fabric.peer(port))  # the tap sees both directions of its link
        found += [(flow, end) for end in both if end and _onward(fabric, flow, end)]
    return found


def _onward(fabric: Fabric, flow: Flow, egress: Port) -> bool:
    """Whether a shortest path of the flow leaves a switch by this port."""
    if fabric.role(egress.device) == "host":
        return False
    source, target = fabric.locate(flow.src), fabric.locate(flow.dst)
    if source is None or target is None:
        return False
    return egress in fabric.ports_on_paths(source, target)
