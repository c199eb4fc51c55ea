"""What happens to a RoCE packet inside a port: DSCP -> traffic class -> priority -> queue -> PFC.

One :class:`PortQos` per port, for switches and hosts alike. A value that the configuration does not
say is None or -1, never a default that we made up; what a platform does in that case is filled in by
its importer, which knows. On a switch a *traffic class* leads to an egress queue and to an ingress
priority group, and PFC priorities are bound to both (SONiC's maps). On a host the class is the
priority itself.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from fabric.cables import Port

PRIORITIES = range(8)
DSCPS = range(64)  # RFC 2474 section 3: six bits


class Ecn(NamedTuple):
    """A marking curve: nothing below kmin, ``pmax`` at kmax, everything above it."""

    kmin_bytes: int = -1
    kmax_bytes: int = -1
    pmax: float = math.nan
    enabled: bool = True

    def share(self, queue_bytes: float) -> float:
        """Share of packets marked at a queue length: RED with a step to 1 at kmax."""
        if not self.enabled or queue_bytes <= self.kmin_bytes:
            return 0.0
        if queue_bytes >= self.kmax_bytes:
            return 1.0
        return self.pmax * (queue_bytes - self.kmin_bytes) / (self.kmax_bytes - self.kmin_bytes)


class Buffer(NamedTuple):
    """An ingress buffer: reserved size, XON and headroom, and how far it may grow before XOFF."""

    size_bytes: int = -1
    xon_bytes: int = -1
    headroom_bytes: int = -1  # what may still arrive after XOFF
    alpha: float = math.nan  # dynamic threshold: share of the free pool; 2**dynamic_th in SONiC
    limit_bytes: int = -1  # static threshold
    pool: str = ""
    pool_bytes: int = -1
    lossless: bool = False

    def xoff_at_bytes(self) -> float:
        """Most bytes the buffer can hold before XOFF is sent; NaN where the settings do not say.

        A dynamic threshold is alpha times the free pool; alone on an idle switch a group stops at
        pool * alpha / (1 + alpha) (Choudhury and Hahne, ToN 1998, equation 2).
        """
        if self.limit_bytes >= 0:
            return float(self.limit_bytes)
        if math.isnan(self.alpha) or self.pool_bytes < 0:
            return math.nan
        return self.pool_bytes * self.alpha / (1 + self.alpha)


class Scheduler(NamedTuple):
    """How a queue is served: ``strict``, or by weight (``dwrr``, ``wrr``, ``ets``)."""

    kind: str
    weight: int = -1


class Watchdog(NamedTuple):
    """PFC watchdog of a port."""

    action: str = ""  # drop, forward, alert
    detect_ns: int = -1
    restore_ns: int = -1
    poll_ns: int = -1


class Roce(NamedTuple):
    """What a NIC puts on its RoCE packets and how it takes part in DCQCN; None, -1 unknown."""

    dscp: int = -1
    cnp_dscp: int = -1
    cnp_priority: int = -1
    notify: frozenset[int] | None = None  # priorities on which CE is answered with CNPs
    react: frozenset[int] | None = None  # priorities on which CNPs slow the sender
    gid_index: int = -1
    gid_type: str = ""  # of the index in use: "RoCE v2", "IB/RoCE v1"
    nccl_tc: int = -1  # NCCL_IB_TC, the whole traffic class byte
    pcie_bps: int = -1  # what the slot carries
    acs_bridges: int = -1  # PCIe bridges that send traffic between devices through the root (ACS)


class Chain(NamedTuple):
    """Where one DSCP goes in one port; -1 where a step is not known."""

    dscp: int
    traffic_class: int
    queue: int
    group: int
    priority: int  # the PFC priority that protects it; the class itself where none does
    lossless: bool


@dataclass(frozen=True, slots=True)
class PortQos:
    """Everything one port does to traffic. Maps are None where the source is silent."""

    port: Port
    source: str = ""
    role: str = ""
    trust: str = ""  # dscp, pcp; empty unknown
    classes: Mapping[int, int] | None = None  # DSCP -> traffic class
    queues: Mapping[int, int] | None = None  # traffic class -> egress queue
    groups: Mapping[int, int] | None = None  # traffic class -> ingress priority group
    pfc: frozenset[int] | None = None  # priorities with PFC on
    pfc_queues: Mapping[int, int] | None = None  # PFC priority -> queue it stops
    pfc_groups: Mapping[int, int] | None = None  # PFC priority -> group that asks for it
    global_pause: bool = False
    ecn: Mapping[int, Ecn] | None = None  # by queue
    buffers: Mapping[int, Buffer] | None = None  # by priority group
    schedulers: Mapping[int, Scheduler] | None = None  # by queue
    watchdog: Watchdog | None = None
    watchdog_known: bool = False  # the source would show a watchdog if there were one
    headroom_pool_bytes: int = -1  # shared headroom pool; -1 none known, 0 none
    mtu_bytes: int = -1
    speed_bps: int = 0
    length_m: float = math.nan
    lag: str = ""
    asic: str = ""
    roce: Roce = field(default=Roce())

    def chain(self, dscp: int) -> Chain | None:
        """The way of a DSCP through the port; None where the classification is not known."""
        if self.classes is None:
            return None
        traffic_class = self.classes.get(dscp, 0)
        queue = _step(self.queues, traffic_class)
        group = _step(self.groups, traffic_class)
        priority, lossless = traffic_class, False
        for p in sorted(self.pfc or ()):
            if _step(self.pfc_groups, p) == group:
                priority, lossless = p, True
        return Chain(dscp, traffic_class, queue, group, priority, lossless)

    def stopped_by(self, priority: int) -> int:
        """What a pause of a priority stops: a queue of a switch, the priority itself on a host."""
        return priority if self.role == "host" else _step(self.pfc_queues, priority)

    def marking(self, queue: int) -> Ecn | None:
        """The marking curve of a queue; None where it has none or none is known."""
        return (self.ecn or {}).get(queue)

    def dscps(self, priority: int) -> list[int]:
        """The DSCP values that end in a priority."""
        chains = (self.chain(dscp) for dscp in DSCPS)
        return [chain.dscp for chain in chains if chain and chain.priority == priority]


def _step(mapping: Mapping[int, int] | None, key: int) -> int:
    """One step of the chain; without a map classes, queues and groups carry the same number."""
    return key if mapping is None else mapping.get(key, 0)


class Qos:
    """The settings of all ports that are known, by port."""

    def __init__(self, ports: Mapping[Port, PortQos] | None = None) -> None:
        self.ports: dict[Port, PortQos] = dict(ports or {})

    def __len__(self) -> int:
        return len(self.ports)

    def __iter__(self) -> Iterator[PortQos]:
        return iter(self.ports.values())

    def get(self, port: Port) -> PortQos | None:
        """Settings of a port; None where nobody said any."""
        return self.ports.get(port)

    def of(self, device: str) -> list[PortQos]:
        """Settings of all ports of a device."""
        return [qos for port, qos in self.ports.items() if port.device == device]

    def rows(self) -> Iterator[tuple[object, ...]]:
        """Rows of QOS: eight priorities per port."""
        for qos in self.ports.values():
            by_priority: dict[int, list[int]] = {}
            for dscp in DSCPS:
                chain = qos.chain(dscp)
                if chain:
                    by_priority.setdefault(chain.priority, []).append(dscp)
            for priority in PRIORITIES:
                yield _row(qos, priority, by_priority.get(priority, []))


def _row(qos: PortQos, priority: int, dscps: list[int]) -> tuple[object, ...]:
    known = qos.pfc_queues is not None or qos.queues is not None
    queue = _step(qos.pfc_queues if qos.pfc_queues is not None else qos.queues, priority)
    ecn = qos.marking(queue)
    buffer = (qos.buffers or {}).get(_step(qos.pfc_groups, priority), Buffer())
    return (
        *qos.port, priority, queue if known else -1, dscps,
        priority in (qos.pfc or ()), bool(ecn and ecn.enabled),
        ecn.kmin_bytes if ecn else -1, ecn.kmax_bytes if ecn else -1,
        ecn.pmax if ecn else math.nan, buffer.headroom_bytes, qos.mtu_bytes,
    )  # fmt: skip
