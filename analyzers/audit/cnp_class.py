"""CNPs are not protected: the message that tells senders to slow down waits behind what they sent.

DCQCN needs its notifications within tens of microseconds. In the queue of RoCE data, or in a queue
that shares a weight with best effort, they are late exactly when they matter. A strict-priority queue
of their own keeps them fast; they are so few that they cannot starve anyone.
"""

from collections.abc import Iterator

from analyzers.audit.common import Remark, Site
from fabric.qos import PortQos

REPAIR = "Map the DSCP of CNPs to a queue of its own with strict priority, without PFC."


def check(site: Site) -> Iterator[Remark]:
    """One remark per port and CNP DSCP; and hosts that mark CNPs differently."""
    for qos in site.ports:
        if qos.classes:
            for dscp, why in site.cnp.items():
                yield from _remarks(site, qos, dscp, why)
    for qos, mine, usual in site.odd_ones(
        site.ports,
        lambda q: q.roce.cnp_dscp if q.roce.cnp_dscp >= 0 else None,
        alike=lambda _: "host",
    ):
        yield Remark(
            "cnp_dscp_differs", "warning", qos.port,
            f"sends CNPs with DSCP {mine}, most hosts with {usual}",
            f"Set cnp_dscp to {usual} here, or map DSCP {mine} like {usual} on every switch.",
        )  # fmt: skip


def _remarks(site: Site, qos: PortQos, dscp: int, why: str) -> Iterator[Remark]:
    chain, plain = site.sent(qos, dscp), site.sent(qos, 0)
    data = [c for d in site.roce if d != dscp and (c := site.sent(qos, d))]
    if chain is None or plain is None:
        return
    if any(c.queue == chain.queue for c in data):
        yield Remark(
            "cnp_with_data", "warning", qos.port,
            f"puts CNPs (DSCP {dscp}, {why}) into queue {chain.queue} with RoCE data", REPAIR,
            priority=chain.priority,
        )  # fmt: skip
        return
    served = (qos.schedulers or {}).get(chain.queue)
    strict = served is not None and served.kind == "strict"
    if chain.queue == plain.queue and not strict:
        yield Remark(
            "cnp_unprotected", "warning", qos.port,
            f"puts CNPs (DSCP {dscp}, {why}) into queue {chain.queue} with best effort", REPAIR,
            priority=chain.priority,
        )  # fmt: skip
    elif served is not None and not strict and qos.role != "host":
        yield Remark(
            "cnp_not_strict", "info", qos.port,
            f"serves CNPs (DSCP {dscp}, {why}) in queue {chain.queue} by weight, not strictly",
            REPAIR, priority=chain.priority,
        )  # fmt: skip
