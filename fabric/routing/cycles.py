"""Cyclic buffer dependencies: rings of links each of which can wait for the next one to drain.

In a lossless class the buffer behind a link empties only as fast as the links its packets take next
(Dally and Seitz, IEEE ToC 1987; for PFC: Hu et al., HotNets 2016). If the routes in use let such
waiting close a ring, one burst can stop all of it for good. The graph here has a node per egress port
and an edge where some route leaves by one port and, at the next device, by another; a deadlock needs a
cycle in it. Only ports between switches can be part of one: hosts do not forward.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from fabric.cables import Path, Port
from fabric.routing.router import Router
from fabric.topology import Fabric
from fabric.wiring import Wiring

Edges = dict[Port, set[Port]]
Longs = npt.NDArray[np.int64]


def of_paths(paths: Iterable[Path]) -> Edges:
    """Dependencies of paths that are known to be in use."""
    edges: Edges = {}
    for path in paths:
        for i in range(1, len(path) - 1):
            edges.setdefault(path[i], set()).add(path[i + 1])
    return edges


def of_topology(fabric: Fabric, at: int | None = None) -> Edges:
    """Dependencies of all shortest paths between switches with hosts, as far as they can close a ring.

    What no cycle can pass through is peeled away while everything is still an index: a link is a pair
    of neighbouring switches in one direction, a dependency is a pair of links. For each destination the
    links that lead downhill are joined with the downhill links of the switch they arrive at.
    """
    wiring = fabric.wiring(at)
    source = np.repeat(np.arange(wiring.switches), np.diff(wiring.start))
    widest = int(np.diff(wiring.start).max(initial=0))
    mark = np.zeros(len(source) * widest, np.bool_)
    for end in np.flatnonzero(wiring.ends):
        field = wiring.distances((int(end),))
        down = np.flatnonzero(field[source] == field[wiring.following] + 1)
        beyond = wiring.following[down]
        low = np.searchsorted(source[down], beyond)
        count = np.searchsorted(source[down], beyond, side="right") - low
        shift = np.repeat(low - (np.cumsum(count) - count), count)
        onward = down[shift + np.arange(int(count.sum()))]
        mark[np.repeat(down * widest - wiring.start[beyond], count) + onward] = True
    arcs = np.flatnonzero(mark)
    if not len(arcs):
        return {}
    before = arcs // widest
    after = wiring.start[wiring.following[before]] + arcs % widest
    before, after = _peeled(before, after, len(source))
    return _with_ports(wiring, source, before.tolist(), after.tolist())


def _peeled(before: Longs, after: Longs, links: int) -> tuple[Longs, Longs]:
    """Dependencies without those that start at a link nobody waits for, or end at one that never waits."""
    while True:
        waits = np.bincount(before, minlength=links) > 0
        awaited = np.bincount(after, minlength=links) > 0
        keep = waits[after] & awaited[before]
        if keep.all():
            return before, after
        before, after = before[keep], after[keep]


def _with_ports(wiring: Wiring, source: Longs, before: list[int], after: list[int]) -> Edges:
    """Dependencies between ports: parallel cables behave alike."""
    edges: Edges = {}

    def ports(link: int) -> list[Port]:
        numbers = wiring.toward[int(source[link])][int(wiring.following[link])]
        return [wiring.port[i] for i in numbers]

    for one, two in zip(before, after, strict=True):
        for port in ports(one):
            edges.setdefault(port, set()).update(ports(two))
    return edges


def of_router(router: Router, destinations: Iterable[str], at: int | None = None) -> Edges:
    """Dependencies of the routes that lead to these addresses, real tables first.

    Every switch that traffic to a destination can reach from a host is followed, so loops and detours
    in collected tables show up, and routes that no host can use do not.
    """
    fabric = router.fabric
    edges: Edges = {}
    entries = _entries(fabric, at)
    for address in destinations:
        target = fabric.locate(address)
        front = list(entries) if target else []
        seen = set(front)
        while front:
            device = front.pop()
            for port in router.next_hops(device, address, at):
                beyond = fabric.peer(port, at)
                if beyond is None or fabric.role(beyond.device) == "host":
                    continue
                after = {
                    hop
                    for hop in router.next_hops(beyond.device, address, at)
                    if (peer := fabric.peer(hop, at)) and fabric.role(peer.device) != "host"
                }
                if after:
                    edges.setdefault(port, set()).update(after)
                if beyond.device not in seen:
                    seen.add(beyond.device)
                    front.append(beyond.device)
    return edges


def _entries(fabric: Fabric, at: int | None) -> tuple[str, ...]:
    found = {
        peer.device
        for host in fabric.named("host")
        for port in fabric.ports(host, at)
        if (peer := fabric.peer(port, at)) and fabric.role(peer.device) != "host"
    }
    return tuple(sorted(found))


def cycles(edges: Edges) -> list[tuple[Port, ...]]:
    """One shortest cycle of every knot of dependencies (strongly connected component), sorted.

    An empty list proves that no cycle exists. A knot may hold more cycles than the one shown.
    """
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_edges_from((one, two) for one, afters in edges.items() for two in afters)
    knots = nx.strongly_connected_components(graph)
    closed = (k for k in knots if len(k) > 1 or any(port in edges.get(port, ()) for port in k))
    return sorted(_shortest_cycle(edges, knot) for knot in closed)


def _shortest_cycle(edges: Edges, knot: set[Port]) -> tuple[Port, ...]:
    """A cycle through the first port of the knot, by breadth-first search, turned to start lowest."""
    start = min(knot)
    before: dict[Port, Port] = {}
    front = [start]
    while start not in before:
        after = []
        for port in front:
            for following in sorted(edges.get(port, ())):
                if following in knot and following not in before:
                    before[following] = port
                    after.append(following)
        front = after
    cycle = [start]
    while before[cycle[-1]] != start:
        cycle.append(before[cycle[-1]])
    cycle.reverse()
    lowest = cycle.index(min(cycle))
    return tuple(cycle[lowest:] + cycle[:lowest])
