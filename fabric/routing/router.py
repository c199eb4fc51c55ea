"""The path of a flow: next hops from the real table or the topology, the choice by hash, and a verdict.

A hash setting is a guess about silicon. So a predicted path says how far it can be trusted: ``only``
where no hop had a choice, ``verified`` where every choice was confirmed by packets seen there,
``contradicted`` where packets were seen elsewhere, ``unverified`` otherwise.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from fabric.cables import Path, Port
from fabric.routing.forwarding import Forwarding, Way
from fabric.routing.hashing import Flow, HashSetting
from fabric.topology import Fabric

Status = Literal["only", "verified", "contradicted", "unverified", "sprayed", "unroutable"]
MOST_HOPS = 32  # a longer path is a loop
CHANCE = 0.01  # a device's hash counts as known when luck explains its hits less often than this


class Predicted(NamedTuple):
    """A path, how far to trust it, and which of its devices' tables were only assumed."""

    path: Path
    status: Status
    assumed: tuple[str, ...]


@dataclass
class Record:
    """How often a device's choice came out as predicted, and how likely luck alone does that."""

    right: int = 0
    wrong: int = 0
    luck: float = field(default=1.0)

    @property
    def trusted(self) -> bool:
        """All predictions right, and too many of them to be luck."""
        return self.wrong == 0 and self.luck < CHANCE


class Router:
    """Paths of flows through one fabric.

    ``hashing`` is one setting for all devices or one per device (absent ones get the default; the
    default's seed is what vendors ship: the same everywhere, which polarises). ``spray`` names the
    devices that spread packets over all ways instead of choosing by flow.
    """

    def __init__(
        self,
        fabric: Fabric,
        forwarding: Forwarding | None = None,
        hashing: HashSetting | Mapping[str, HashSetting] | None = None,
        spray: Iterable[str] = (),
    ) -> None:
        self.fabric = fabric
        self.forwarding = forwarding
        self._default = hashing if isinstance(hashing, HashSetting) else HashSetting()
        self._hashing = hashing if isinstance(hashing, Mapping) else {}
        self.spray = frozenset(spray)
        self.records: defaultdict[str, Record] = defaultdict(Record)
        self._seen: defaultdict[Flow, dict[str, Port]] = defaultdict(dict)

    def setting(self, device: str) -> HashSetting:
        """The hash of a device."""
        return self._hashing.get(device, self._default)

    def ways(self, device: str, dst: str, at: int | None = None) -> tuple[tuple[Way, ...], bool]:
        """Ways of a device towards an address, and whether they are assumed from the topology.

        A table without a route drops: no ways. KeyError where nobody answers to the address.
        """
        target = self.fabric.locate(dst)
        if target is None:
            raise KeyError(dst)
        table = self.forwarding.lookup(device, dst) if self.forwarding else None
        if table is not None:
            direct = tuple(
                near
                for near, far in self.fabric.ports_between(device, target.device, at)
                if far == target
            )
            # the attached subnet is a connected route, through an interface that may be a VLAN
            return (table or tuple(Way((port,)) for port in direct)), False
        hops = self.fabric.next_hops(device, target, at)
        return tuple(Way((port,)) for port in hops), True

    def next_hops(self, device: str, dst: str, at: int | None = None) -> tuple[Port, ...]:
        """All egress ports a packet to an address may take."""
        return tuple(port for way in self.ways(device, dst, at)[0] for port in way.ports)

    def choose(self, device: str, flow: Flow, ways: tuple[Way, ...]) -> Port:
        """The egress port of a flow: the way by hash, then the member of a LAG by the same hash."""
        setting = self.setting(device)
        equal = all(way.weight == ways[0].weight for way in ways)
        weights = () if equal else tuple(way.weight for way in ways)
        way = ways[setting.choose(flow, len(ways), weights)]
        return way.ports[setting.choose(flow, len(way.ports))]

    def path(self, flow: Flow, at: int | None = None) -> Predicted:
        """The predicted path of a flow; the part before the gap where a device has no route."""
        source, target = self.fabric.locate(flow.src), self.fabric.locate(flow.dst)
        if source is None or target is None:
            return Predicted((), "unroutable", ())
        path = [source]
        assumed: list[str] = []
        status = "only"
        seen = self._seen.get(flow, {})
        while len(path) <= MOST_HOPS:
            beyond = self.fabric.peer(path[-1], at)
            if beyond is None:
                break
            device = beyond.device
            if device == target.device:
                return Predicted(tuple(path), _status(status), tuple(assumed))
            ways, guessed = self.ways(device, flow.dst, at)
            if not ways:
                break
            assumed += [device] if guessed else []
            status = _worse(status, self._hop_status(device, flow, ways, seen))
            path.append(self.choose(device, flow, ways))
        return Predicted(tuple(path), "unroutable", tuple(assumed))

    def _hop_status(
        self, device: str, flow: Flow, ways: tuple[Way, ...], seen: Mapping[str, Port]
    ) -> str:
        if sum(len(way.ports) for way in ways) == 1:
            return "only"
        if device in self.spray:
            return "sprayed"
        if device in seen:
            return "verified" if seen[device] == self.choose(device, flow, ways) else "contradicted"
        return "verified" if self.records[device].trusted else "unverified"

    def observe(self, flow: Flow, egress: Port, at: int | None = None) -> bool | None:
        """Learn that a flow was seen leaving by a port (a tap, an sFlow sample).

        Returns whether the prediction for that device agrees; None where it had no choice to predict,
        or sprays.
        """
        device = egress.device
        self._seen[flow][device] = egress
        ways, _ = self.ways(device, flow.dst, at)
        fan = sum(len(way.ports) for way in ways)
        if fan < 2 or device in self.spray:
            return None
        agrees = self.choose(device, flow, ways) == egress
        record = self.records[device]
        if agrees:
            record.right += 1
            record.luck /= fan
        else:
            record.wrong += 1
        return agrees


ORDER = ("only", "verified", "unverified", "sprayed", "contradicted")


def _worse(one: str, two: str) -> str:
    return one if ORDER.index(one) >= ORDER.index(two) else two


def _status(text: str) -> Status:
    known: dict[str, Status] = {
        "only": "only", "verified": "verified", "unverified": "unverified",
        "sprayed": "sprayed", "contradicted": "contradicted",
    }  # fmt: skip
    return known[text]
