"""What every check of the configuration needs: the site, the rules' knobs, and the shape of a remark.

A check is a module with a docstring (what bites, why, when it is wrong) and ``check(site)``, which
yields remarks. Remarks that differ in nothing but the port and its peer are told as one finding: of a
device, or of the whole fabric where many devices are alike.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import NamedTuple

import polars as pl

from analyzers.frames import schema
from fabric.cables import Link, Port
from fabric.inventory import Inventory
from fabric.qos import PortQos
from fabric.schema import FINDINGS

Setting = Callable[[PortQos], Hashable | None]
"""A comparable setting of a port; None where it is not known."""

PORTS_NAMED = 4  # of a folded finding; the rest are counted
DEVICES_APART = 8  # more devices than this with the same remark are one finding: a pattern
PEER = "{peer}"  # in a reason or a repair: the other end of the cable


def because(unit: str, reason: str) -> dict[str, str]:
    """Metadata of a knob: its unit and why it has its value."""
    return {"unit": unit, "reason": reason}


@dataclass(frozen=True)
class Knobs:
    """What the checks hold settings against."""

    roce_dscp: int = field(
        default=-1,
        metadata=because("", "DSCP of RoCE data; -1: what the hosts say, else what is lossless"),
    )
    cnp_dscp: int = field(
        default=-1, metadata=because("", "DSCP of CNPs; -1: what the hosts say, else 48")
    )
    cell_bytes: int = field(
        default=64, metadata=because("bytes", "smallest cell in use; no chip needs less headroom")
    )
    small_share: float = field(
        default=0.0,
        metadata=because("share", "no packets that fill cells badly: the demand is a lower bound"),
    )
    roce_frame_bytes: int = field(
        default=4200,
        metadata=because("bytes", "RoCE path MTU 4096 with its longest headers over IPv6"),
    )
    least_detect_ms: int = field(
        default=100,
        metadata=because(
            "ms", "below it ordinary incast pauses look like a storm; SONiC's minimum"
        ),
    )
    most_lossless: int = field(
        default=2, metadata=because("", "each lossless priority takes headroom on every port")
    )
    odd_share: float = field(
        default=0.5,
        metadata=because("share", "a setting that most ports of a kind share is the intended one"),
    )


class Remark(NamedTuple):
    """What a check has to say about one place."""

    kind: str
    severity: str
    port: Port
    reason: str  # continues "leaf0:Ethernet4 "; after a "=" it is the whole sentence; may hold PEER
    repair: str
    priority: int = -1
    subject: str = ""
    value: float = math.nan
    limit: float = math.nan
    unit: str = ""
    evidence: str = "observed"
    confidence: float = 1.0
    missing: str = ""
    peer: str = ""


class Ends(NamedTuple):
    """A link of which the settings of both ends are known, seen in one direction."""

    sender: PortQos
    receiver: PortQos
    link: Link


class Sent(NamedTuple):
    """How a port sends a DSCP: class, egress queue, and the priority whose pause stops that queue."""

    traffic_class: int
    queue: int
    priority: int


@dataclass(frozen=True)
class Site:
    """A fabric with its settings, and the questions that several checks ask."""

    inventory: Inventory
    knobs: Knobs = field(default_factory=Knobs)

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """The links that stand after the last change."""
        return self.inventory.fabric.wiring().links

    @cached_property
    def both_ends(self) -> tuple[Ends, ...]:
        """Links with settings at both ends, in both directions."""
        found = []
        for link in self.links:
            a, b = self.inventory.qos.get(link.a), self.inventory.qos.get(link.b)
            if a and b:
                found += [Ends(a, b, link), Ends(b, a, link)]
        return tuple(found)

    @cached_property
    def ports(self) -> tuple[PortQos, ...]:
        """Settings of all cabled ports; of all ports where no cabling is known."""
        cabled = {end for link in self.links for end in (link.a, link.b)}
        return tuple(q for q in self.inventory.qos if not cabled or q.port in cabled)

    @cached_property
    def roce(self) -> Mapping[int, str]:
        """DSCP values of RoCE data, each with how we know it."""
        if self.knobs.roce_dscp >= 0:
            return {self.knobs.roce_dscp: "given"}
        said: dict[int, str] = {}
        for qos in self.ports:
            if qos.roce.nccl_tc >= 0:
                said.setdefault(qos.roce.nccl_tc >> 2, f"NCCL_IB_TC of {qos.port.device}")
            elif qos.roce.dscp >= 0:
                said.setdefault(qos.roce.dscp, f"traffic class of {qos.port.device}")
        return said or self._lossless_dscps()

    def _lossless_dscps(self) -> dict[int, str]:
        """The DSCP values that most switch ports carry losslessly, where not nearly all are."""
        counts: Counter[int] = Counter()
        classified = [q for q in self.ports if q.classes and q.pfc]
        for qos in classified:
            chains = (qos.chain(dscp) for dscp in qos.classes or ())
            counts.update(chain.dscp for chain in chains if chain and chain.lossless)
        usual = [d for d, n in counts.items() if n > len(classified) * self.knobs.odd_share]
        return dict.fromkeys(sorted(usual), "lossless on most ports") if len(usual) <= 16 else {}

    @cached_property
    def cnp(self) -> Mapping[int, str]:
        """DSCP values of CNPs, each with how we know it."""
        if self.knobs.cnp_dscp >= 0:
            return {self.knobs.cnp_dscp: "given"}
        said = {q.roce.cnp_dscp: f"cnp_dscp of {q.port.device}" for q in self.ports}
        said.pop(-1, None)
        return said or {48: "the usual default"}

    @cached_property
    def roce_priorities(self) -> frozenset[int]:
        """Priorities that carry RoCE losslessly somewhere."""
        chains = (q.chain(dscp) for q in self.ports for dscp in self.roce)
        return frozenset(chain.priority for chain in chains if chain and chain.lossless)

    @cached_property
    def _sent_classes(self) -> Callable[[str, int], int]:
        by_device: defaultdict[str, list[PortQos]] = defaultdict(list)
        for qos in self.inventory.qos:
            if qos.classes is not None:
                by_device[qos.port.device].append(qos)

        @cache
        def usual(device: str, dscp: int) -> int:
            classes = Counter((qos.classes or {}).get(dscp, 0) for qos in by_device[device])
            return classes.most_common(1)[0][0] if classes else -1

        return usual

    def sent(self, qos: PortQos, dscp: int) -> Sent | None:
        """How a port sends a DSCP; None where that is not known.

        A packet gets its class where it enters a device, so for a switch the class is the one most of
        its ports give; the queue is the egress port's own. A host classifies what it sends itself.
        """
        if qos.role == "host":
            chain = qos.chain(dscp)
            return Sent(chain.traffic_class, chain.queue, chain.priority) if chain else None
        traffic_class = self._sent_classes(qos.port.device, dscp)
        if traffic_class < 0:
            return None
        queue = traffic_class if qos.queues is None else qos.queues.get(traffic_class, 0)
        stopping = [p for p in sorted(qos.pfc or ()) if qos.stopped_by(p) == queue]
        return Sent(traffic_class, queue, stopping[0] if stopping else traffic_class)

    def odd_ones(
        self, ports: Iterable[PortQos], setting: Setting, alike: Setting | None = None
    ) -> Iterator[tuple[PortQos, Hashable, Hashable]]:
        """Ports whose setting is not that of most ports alike: (port, its setting, the usual one).

        ``alike`` groups ports that should agree; by default those of one role and speed. Groups
        without a majority are passed over: nobody can tell which of them is meant.
        """
        groups: defaultdict[Hashable, list[tuple[PortQos, Hashable]]] = defaultdict(list)
        for qos in ports:
            value = setting(qos)
            if value is not None:
                key = alike(qos) if alike else (qos.role, qos.speed_bps)
                groups[key].append((qos, value))
        for members in groups.values():
            usual, count = Counter(value for _, value in members).most_common(1)[0]
            if count > len(members) * self.knobs.odd_share:
                yield from ((q, value, usual) for q, value in members if value != usual)


def findings(detector: str, remarks: Iterable[Remark]) -> pl.DataFrame:
    """Rows of FINDINGS, alike ports folded, in a stable order."""
    groups: defaultdict[Remark, list[Remark]] = defaultdict(list)
    for remark in remarks:
        groups[remark._replace(port=Port("", ""), peer="")].append(remark)
    folded = [part for members in groups.values() for part in _apart(members)]
    ordered = sorted(folded, key=lambda part: (part[0].port, part[0].kind, part[0].reason))
    rows = [_row(detector, i, part) for i, part in enumerate(ordered)]
    return pl.DataFrame(rows, schema=schema(FINDINGS), orient="row")


def _apart(members: list[Remark]) -> Iterator[list[Remark]]:
    """Equal remarks by device; all together where so many devices share them that it is a pattern."""
    by_device: defaultdict[str, list[Remark]] = defaultdict(list)
    for remark in sorted(members, key=lambda remark: remark.port):
        by_device[remark.port.device].append(remark)
    if len(by_device) > DEVICES_APART:
        yield [remark for part in by_device.values() for remark in part]
    else:
        yield from by_device.values()


def _row(detector: str, number: int, members: list[Remark]) -> dict[str, object]:
    remark = members[0]
    ports = list(dict.fromkeys(member.port for member in members))
    peers = {member.peer for member in members}
    whole = remark.reason.startswith("=")
    names = [str(port) if port.port else port.device for port in ports]
    where = ", ".join(names[:PORTS_NAMED])
    if len(names) > PORTS_NAMED:
        devices = len({port.device for port in ports})
        where += f" and {len(names) - PORTS_NAMED} more"
        where += f" on {devices} devices" if devices > 1 else ""
    peer = next(iter(peers)) if len(peers) == 1 else "(one each)"
    reason, repair = (text.replace(PEER, peer) for text in (remark.reason, remark.repair))
    return {
        "id": f"audit.{detector}:{number}",
        "detector": f"audit.{detector}",
        "kind": remark.kind,
        "severity": remark.severity,
        "start": 0,
        "end": 0,
        "point": "",
        "device": ports[0].device,
        "port": ports[0].port,
        "priority": remark.priority,
        "flow": None,
        "subject": remark.subject or ", ".join(names),
        "value": remark.value,
        "limit": remark.limit,
        "unit": remark.unit,
        "lost_ns": 0,
        "confidence": remark.confidence,
        "evidence": remark.evidence,
        "missing": remark.missing,
        "frames": [],
        "summary": reason.removeprefix("=") if whole else f"{where} {reason}",
        "advice": repair,
    }
