"""What is cabled to what: devices, ports, links, rails and planes, and when each link existed.

A :class:`Fabric` is built once from rows and answers the questions a network engineer asks, by name:
the peer of a port, the ports between two devices, what lies upstream, the equal-cost paths. Every
question takes an optional time, because optical circuit switches rewire a fabric while it runs;
without one the answer is about the wiring after the last change. An optical circuit switch is no hop:
its circuits join two cables into one link, and packets, pauses and paths see only the joined link.

The structure is one NetworkX graph that nobody outside this module sees. It answers questions about
the whole (islands, single points of failure). Questions about paths go to index arrays instead
(:mod:`fabric.wiring`), because a graph library would take milliseconds for each of them.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

from fabric.cables import (
    FOREVER,
    ROLES,
    Accelerator,
    Circuit,
    Device,
    Link,
    Nic,
    Path,
    Place,
    Port,
    Rank,
    canonical_address,
    joined,
    valid,
)
from fabric.wiring import Paths, Wiring

__all__ = [
    "FOREVER",
    "ROLES",
    "Accelerator",
    "Circuit",
    "Device",
    "Fabric",
    "Link",
    "Nic",
    "Path",
    "Place",
    "Port",
    "Rank",
]

WIRINGS_KEPT = 16  # a fabric that rewires often is asked about a few moments, not about all

ROUTINGS = ("ecmp", "spray", "adaptive")


class Fabric:
    """Devices and links, asked by name. Rows that contradict each other are a ValueError.

    ``routing`` is how the switches are declared to choose among equal ways: by a hash of the flow
    (``ecmp``), packet by packet (``spray``), or by load (``adaptive``). Where packets of a flow take
    several ways, their overtaking each other is no anomaly.

    Importers report contradictions before they get here; see :mod:`fabric.inventory`.
    """

    def __init__(
        self,
        devices: Iterable[Device],
        links: Iterable[Link],
        circuits: Iterable[Circuit] = (),
        nics: Iterable[Nic] = (),
        accelerators: Iterable[Accelerator] = (),
        ranks: Iterable[Rank] = (),
        name: str = "",
        routing: str = "ecmp",
    ) -> None:
        if routing not in ROUTINGS:
            raise ValueError(f"routing {routing!r}: one of {', '.join(ROUTINGS)}")
        self.name, self.routing = name, routing
        self.devices: Mapping[str, Device] = {device.name: device for device in devices}
        self.links: tuple[Link, ...] = tuple(links)
        self.circuits: tuple[Circuit, ...] = tuple(circuits)
        self.nics: tuple[Nic, ...] = tuple(nics)
        self.accelerators: tuple[Accelerator, ...] = tuple(accelerators)
        self.ranks: tuple[Rank, ...] = tuple(ranks)
        self._wirings: dict[int, Wiring] = {}
        self._check()
        changes = {0, FOREVER}
        for rows in (self.links, self.circuits):
            changes.update(row.valid_from for row in rows)
            changes.update(row.valid_to for row in rows)
        self._changes = sorted(changes)

    def _check(self) -> None:
        for device in self.devices.values():
            if device.role not in ROLES:
                raise ValueError(f"device {device.name}: unknown role {device.role!r}")
        spans: dict[Port, list[Link]] = {}
        for link in self.links:
            if link.a == link.b:
                raise ValueError(f"port {link.a} is cabled to itself")
            for end in (link.a, link.b):
                if end.device not in self.devices:
                    raise ValueError(f"link {link.a} -- {link.b}: unknown device {end.device!r}")
                spans.setdefault(end, []).append(link)
        for port, ends in spans.items():
            if len(ends) > 1:
                ends.sort(key=lambda link: link.valid_from)
                for one, two in pairwise(ends):
                    if two.valid_from < one.valid_to:
                        raise ValueError(f"port {port} is claimed by two cables at one time")

    # -- the wiring of a moment -------------------------------------------------------------------

    @property
    def changes(self) -> tuple[int, ...]:
        """The moments (ns) at which the wiring changes; empty for a fabric that never rewires."""
        return tuple(moment for moment in self._changes if 0 < moment < FOREVER)

    def wiring(self, at: int | None = None) -> Wiring:
        """The index of the wiring that holds at a time (ns); None: after the last change."""
        epoch = bisect_right(self._changes, self._changes[-2] if at is None else at)
        found = self._wirings.pop(epoch, None)
        if found is None:
            moment = self._changes[max(epoch - 1, 0)]
            links = [link for link in self.links if valid(link, moment)]
            circuits = [circuit for circuit in self.circuits if valid(circuit, moment)]
            if self.named("ocs"):
                links = list(joined(links, circuits))
            found = Wiring(self.devices, links)
            if len(self._wirings) >= WIRINGS_KEPT:
                self._wirings.pop(next(iter(self._wirings)))
        self._wirings[epoch] = found
        return found

    # -- devices and ports ------------------------------------------------------------------------

    def role(self, device: str) -> str:
        """Role of a device; KeyError where there is none of that name."""
        return self.devices[device].role

    def named(self, role: str) -> tuple[str, ...]:
        """Names of all devices of a role."""
        return tuple(device.name for device in self.devices.values() if device.role == role)

    def ports(self, device: str, at: int | None = None) -> tuple[Port, ...]:
        """The cabled ports of a device."""
        return self.wiring(at).ports_of(device)

    def link(self, port: Port, at: int | None = None) -> Link | None:
        """The link at a port; None where nothing is cabled."""
        return self.wiring(at).link(port)

    def peer(self, port: Port, at: int | None = None) -> Port | None:
        """The port at the other end of the link; None where nothing is cabled."""
        return self.wiring(at).peer(port)

    def speed_bps(self, port: Port, at: int | None = None) -> int:
        """Nominal speed of the link at a port; 0 unknown."""
        link = self.link(port, at)
        return link.speed_bps if link else 0

    def rail(self, port: Port, at: int | None = None) -> int:
        """Rail of the link at a port; -1 none."""
        link = self.link(port, at)
        return link.rail if link else -1

    def plane(self, port: Port, at: int | None = None) -> int:
        """Plane of the link at a port; -1 none."""
        link = self.link(port, at)
        return link.plane if link else -1

    def ports_between(self, a: str, b: str, at: int | None = None) -> tuple[tuple[Port, Port], ...]:
        """The parallel links between two devices as (port of a, port of b)."""
        return self.wiring(at).between(a, b)

    # -- paths ------------------------------------------------------------------------------------

    def next_hops(self, device: str, to: Place, at: int | None = None) -> tuple[Port, ...]:
        """The equal-cost egress ports of ``device`` towards a device or port; () unreachable."""
        return self.wiring(at).next_hops(device, to)

    def equal_cost_paths(self, source: Place, to: Place, at: int | None = None) -> Paths:
        """Every shortest path, as egress ports from the source's own; empty where there is none.

        Parallel cables count each. The sequence computes a path when it is asked for it.
        """
        return self.wiring(at).paths(source, to)

    def ports_on_paths(self, source: Place, to: Place, at: int | None = None) -> frozenset[Port]:
        """Every egress port that some shortest path from source to destination uses."""
        return self.wiring(at).paths(source, to).ports()

    def upstream_of(self, port: Port, at: int | None = None) -> tuple[Port, ...]:
        """The neighbours' egress ports whose traffic may leave by ``port``.

        These are the ports that a pause spreads to when the egress ``port`` is held. A neighbour
        counts only where a shortest path to some host runs through it and then through ``port``.
        """
        return self.wiring(at).upstream_of(port)

    def downstream_of(self, port: Port, at: int | None = None) -> tuple[Port, ...]:
        """The next device's egress ports that traffic leaving by ``port`` may take."""
        return self.wiring(at).downstream_of(port)

    # -- hosts ------------------------------------------------------------------------------------

    @cached_property
    def _addresses(self) -> dict[str, list[Port]]:
        found: dict[str, list[Port]] = {}
        for nic in self.nics:
            for address in (*nic.addresses, nic.mac):
                if address:
                    found.setdefault(canonical_address(address), []).append(nic.port)
        return found

    def ports_of_address(self, address: str) -> tuple[Port, ...]:
        """The ports that answer to an IP address, GID or MAC; a bonded pair shares one."""
        return tuple(self._addresses.get(canonical_address(address), ()))

    def locate(self, address: str) -> Port | None:
        """The first port that answers to an address; None where nobody does."""
        ports = self.ports_of_address(address)
        return ports[0] if ports else None

    def ranks_on(self, place: Place, at: int | None = None) -> tuple[Rank, ...]:
        """Ranks carried by a host, or by one NIC port of it."""
        moment = self._changes[-2] if at is None else at
        device, port = (place, "") if isinstance(place, str) else place
        return tuple(
            rank
            for rank in self.ranks
            if rank.device == device and port in ("", rank.port) and valid(rank, moment)
        )

    def rank_place(self, job: str, rank: int, at: int | None = None) -> Port | None:
        """Where a rank of a job runs; None unknown."""
        moment = self._changes[-2] if at is None else at
        for row in self.ranks:
            if row.job == job and row.rank == rank and valid(row, moment):
                return Port(row.device, row.port)
        return None

    # -- the whole --------------------------------------------------------------------------------

    @cached_property
    def _graph(self) -> Any:  # networkx publishes no types
        """The packet-level wiring after the last change as a multigraph of devices."""
        import networkx as nx

        graph = nx.MultiGraph(name=self.name)
        graph.add_nodes_from(
            (name, device._asdict())
            for name, device in self.devices.items()
            if device.role != "ocs"
        )
        graph.add_edges_from(
            (link.a.device, link.b.device, {"link": link}) for link in self.wiring().links
        )
        return graph

    def islands(self) -> tuple[tuple[str, ...], ...]:
        """Groups of devices that cannot reach each other, the largest first; one where all is well."""
        import networkx as nx

        groups = (tuple(sorted(group)) for group in nx.connected_components(self._graph))
        return tuple(sorted(groups, key=lambda group: (-len(group), group)))

    def single_points(self) -> tuple[str, ...]:
        """Switches whose loss would part devices that are left."""
        import networkx as nx

        cuts = nx.articulation_points(nx.Graph(self._graph))
        return tuple(sorted(name for name in cuts if self.role(name) != "host"))

    # -- rows of the tables -----------------------------------------------------------------------

    def link_rows(self) -> Iterator[tuple[object, ...]]:
        """Rows of LINKS: each link as packets see it, from both its ends."""
        for link in self._spans() if self.named("ocs") else self.links:
            for near, far in ((link.a, link.b), (link.b, link.a)):
                yield (
                    *near, *far, link.speed_bps, link.length_m,
                    self.role(near.device), self.role(far.device),
                    link.rail, link.plane, link.valid_from, link.valid_to,
                )  # fmt: skip

    def _spans(self) -> tuple[Link, ...]:
        """Joined links with the span of time in which each stood, one row per unbroken span."""
        spans: list[Link] = []
        standing: dict[tuple[Port, Port], Link] = {}
        for moment, end in pairwise(self._changes):
            now = {(link.a, link.b): link for link in self.wiring(moment).links}
            for ends, link in now.items():
                before = standing.get(ends)
                start = before.valid_from if before else moment
                standing[ends] = link._replace(valid_from=start, valid_to=end)
            spans += [standing.pop(ends) for ends in [*standing] if ends not in now]
        return (*spans, *standing.values())

    def rank_rows(self) -> Iterator[tuple[object, ...]]:
        """Rows of RANKS."""
        yield from self.ranks
