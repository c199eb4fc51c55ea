"""Forwarding tables as collected from devices, with their next hops resolved to ports of the fabric."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from fabric.cables import Port
from fabric.inventory.found import Hop, Route
from fabric.topology import Fabric


class Way(NamedTuple):
    """One entry of a route's next-hop group: a port, or the members of a LAG, and its weight."""

    ports: tuple[Port, ...]
    weight: int = 1


class Forwarding:
    """Longest-prefix lookup per device; devices without a table are simply not known here."""

    def __init__(
        self,
        fabric: Fabric,
        routes: Mapping[str, Sequence[Route]],
        lags: Mapping[Port, tuple[str, ...]] | None = None,
        interfaces: Mapping[str, Port] | None = None,
    ) -> None:
        self._fabric = fabric
        self._lags = lags or {}
        self._interfaces = interfaces or {}
        self.unresolved: list[tuple[str, str, Hop]] = []  # device, prefix, hop
        self._tables: dict[str, dict[tuple[int, int], dict[int, tuple[Way, ...]]]] = {}
        self._found: dict[tuple[str, str], tuple[Way, ...]] = {}
        for device, rows in routes.items():
            self._tables[device] = self._table(device, rows)

    def knows(self, device: str) -> bool:
        """Whether the table of a device was collected."""
        return device in self._tables

    def _table(
        self, device: str, rows: Sequence[Route]
    ) -> dict[tuple[int, int], dict[int, tuple[Way, ...]]]:
        table: dict[tuple[int, int], dict[int, tuple[Way, ...]]] = {}
        for row in rows:
            network = ip_network(row.prefix)
            ways = []
            for hop in row.hops:
                ports = self._ports(device, hop)
                if ports:
                    ways.append(Way(ports, hop.weight))
                else:
                    self.unresolved.append((device, row.prefix, hop))
            key = (network.version, network.prefixlen)
            number = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
            table.setdefault(key, {})[number] = tuple(ways)
        return dict(sorted(table.items(), key=lambda item: -item[0][1]))

    def _ports(self, device: str, hop: Hop) -> tuple[Port, ...]:
        """Ports a hop leaves by: the interface, the members of a LAG, or the way to the neighbour."""
        wiring = self._fabric.wiring()
        port = Port(device, hop.interface)
        if port in wiring.port_number:
            return (port,)
        members = self._lags.get(port, ())
        cabled = tuple(
            Port(device, name) for name in members if Port(device, name) in wiring.port_number
        )
        if cabled:
            return cabled
        owner = self._interfaces.get(hop.address.lower()) or self._fabric.locate(hop.address)
        if owner is None or device not in wiring.number or owner.device not in wiring.number:
            return ()
        return tuple(near for near, _ in wiring.between(device, owner.device))

    def lookup(self, device: str, address: str) -> tuple[Way, ...] | None:
        """The ways of the longest matching prefix; () drops; None where the table is not known."""
        table = self._tables.get(device)
        if table is None:
            return None
        key = (device, address)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._longest(table, address)
        return found

    @staticmethod
    def _longest(
        table: Mapping[tuple[int, int], Mapping[int, tuple[Way, ...]]], address: str
    ) -> tuple[Way, ...]:
        ip = ip_address(address)
        for (version, length), rows in table.items():
            if version == ip.version:
                ways = rows.get(int(ip) >> (ip.max_prefixlen - length))
                if ways is not None:
                    return ways
        return ()
