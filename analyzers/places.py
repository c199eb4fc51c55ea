"""Where the points, MAC and IP addresses of captures are in a known fabric.

A tap is at a port when its name is that of the port (``leaf0:5``), or holds the names of a device and
of one of its ports, in this order and whole: ``tap_leaf0_p5.pcap`` is at ``leaf0:5``. A pcapng file
with several interfaces may be named after the device, its interfaces after the ports. What fits two
ports is at neither.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import polars as pl

from analyzers.capture.source import Tap
from fabric.cables import canonical_address
from fabric.qos import DSCPS, Qos
from fabric.topology import Fabric, Port

SEPARATORS = " _.:/-"
PREFIXES = ("", "p", "port", "eth")


@dataclass(frozen=True)
class Places:
    """What the analysis of captures wants to know of a fabric; plain data, for other processes."""

    ports: Mapping[str, Mapping[str, int]]  # device, port: bit/s (0 unknown)
    peers: Mapping[Port, Port]
    addresses: Mapping[str, Port]  # IP, GID or MAC, in canonical form
    introduced: frozenset[Port]  # ports whose MAC address is known
    priorities: Mapping[Port, tuple[int, ...]]  # of each DSCP, where the port's map is known

    @classmethod
    def of(cls, fabric: Fabric, qos: Qos | None = None) -> Self:
        """The wiring after its last change."""
        ports: dict[str, dict[str, int]] = {}
        peers: dict[Port, Port] = {}
        for link in fabric.wiring().links:
            for near, far in ((link.a, link.b), (link.b, link.a)):
                ports.setdefault(near.device, {})[near.port] = link.speed_bps
                peers[near] = far
        addresses: dict[str, Port] = {}
        for nic in fabric.nics:
            for address in (*nic.addresses, nic.mac):
                if address:
                    addresses.setdefault(canonical_address(address), nic.port)
        priorities = {
            port.port: tuple(chain.priority for dscp in DSCPS if (chain := port.chain(dscp)))
            for port in qos or ()
            if port.classes is not None
        }
        introduced = frozenset(nic.port for nic in fabric.nics if nic.mac)
        return cls(ports, peers, addresses, introduced, priorities)

    def port(self, tap: str, interface: str = "") -> Port | None:
        """The port that a tap is at, or one interface of it; None where that is not certain."""
        if interface:
            found = {*self._named(interface), *self._on(tap, interface)}
        else:
            found = set(self._named(tap))
        return found.pop() if len(found) == 1 else None

    def _on(self, tap: str, interface: str) -> list[Port]:
        """Ports called ``interface`` of devices that the tap is named after."""
        return [
            Port(device, interface)
            for device, ports in self.ports.items()
            if interface in ports and _after(device, tap) is not None
        ]

    def _named(self, name: str) -> list[Port]:
        """Ports whose device and own name the text holds; the text's last part before its folders."""
        for text in (name, name.rpartition("/")[2]):
            found = [
                Port(device, port)
                for device, ports in self.ports.items()
                if (rest := _after(device, text)) is not None
                for port in ports
                if rest in {prefix + port for prefix in PREFIXES}
            ]
            if found:
                return found
        return []

    def speed_bps(self, port: Port | None) -> int:
        """Nominal speed of the link at a port; 0 unknown."""
        return self.ports[port.device][port.port] if port else 0

    def at(self, address: str, near: Port | None = None) -> Port | None:
        """The port that answers to an address.

        On the link at ``near``: a MAC address that nobody knows is at the end whose own is not known,
        where the other end's is.
        """
        if found := self.addresses.get(canonical_address(address)):
            return found
        if near is None or near not in self.peers:
            return None
        strangers = [end for end in (near, self.peers[near]) if end not in self.introduced]
        return strangers[0] if len(strangers) == 1 else None

    def renamed(self, taps: tuple[Tap, ...], kept: Mapping[str, int]) -> tuple[Tap, ...]:
        """The taps under the names of their ports; where two are at one, and ``kept``, as they are."""
        ports = [None if tap.point in kept else self.port(tap.point) for tap in taps]
        names = [tap.point for tap in taps] + [str(port) for port in ports if port]
        return tuple(
            tap._replace(point=str(port)) if port and names.count(str(port)) == 1 else tap
            for tap, port in zip(taps, ports, strict=True)
        )

    def pauses(self, rows: pl.DataFrame, near: Mapping[str, Port | None]) -> pl.DataFrame:
        """PAUSES, PAUSE_WINDOWS or PAUSE_BREACHES with places instead of addresses.

        ``near`` has the port of each point.
        """
        columns = [name for name in ("sender", "held", "held_device") if name in rows.columns]
        for name in columns:
            distinct = rows.select("point", name).unique().rows()
            on_link = name != "held_device"  # that may be an IP address, and a device by now
            there = {
                (point, a): self.at(a, near.get(point) if on_link else None)
                for point, a in distinct
                if a
            }
            named = pl.DataFrame(
                [(*key, str(port), port.device, port.port) for key, port in there.items() if port],
                schema=["point", name, "place", "device", "port"],
                schema_overrides=dict.fromkeys(
                    ("point", name, "place", "device", "port"), pl.String
                ),
                orient="row",
            )
            rows = rows.join(named, on=["point", name], how="left", maintain_order="left")
            if name == "held_device":
                rows = rows.with_columns(
                    held_device=pl.coalesce("device", "held_device"),
                    held_port=pl.coalesce("port", "held_port"),
                )
            elif name == "sender" and "held_device" in columns:
                rows = self._holding(rows, there)
            else:
                rows = rows.with_columns(pl.coalesce("place", name).alias(name))
            rows = rows.drop("place", "device", "port")
        return rows

    def _holding(
        self, rows: pl.DataFrame, senders: Mapping[tuple[str, str], Port | None]
    ) -> pl.DataFrame:
        """The peer of who sends the pauses is held."""
        held = {
            str(port): self.peers[port] for port in senders.values() if port and port in self.peers
        }
        device = {sender: port.device for sender, port in held.items()}
        own = {sender: port.port for sender, port in held.items()}
        place = pl.col("place")
        return rows.with_columns(
            sender=pl.coalesce("place", "sender"),
            held_device=place.replace_strict(device, default=pl.col("held_device")),
            held_port=place.replace_strict(own, default=pl.col("held_port")),
        )


def _after(device: str, text: str) -> str | None:
    """What follows a device's name in a text that holds it whole; None where it does not."""
    if device not in text:
        return None
    found = re.search(rf"(?<![A-Za-z0-9]){re.escape(device)}(?![A-Za-z0-9])", text)
    return text[found.end() :].strip(SEPARATORS) if found else None
