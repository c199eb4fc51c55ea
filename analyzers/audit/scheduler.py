"""How queues are served differs between ports of a kind, or RoCE is served strictly first.

The share of a link that RoCE gets under load must be the same at every hop, or the narrowest decides.
Strict priority for RoCE data starves everything below it, control traffic included. It is wrong where
a port to storage is weighted differently on purpose.
"""

from collections.abc import Iterator

from analyzers.audit.common import Remark, Site
from fabric.qos import PortQos, Scheduler


def check(site: Site) -> Iterator[Remark]:
    """Differing schedulers, and strict ones for RoCE data."""

    def served(qos: PortQos) -> tuple[tuple[int, str, int], ...] | None:
        if not qos.schedulers:
            return None
        queues = {chain.queue for d in (*site.roce, *site.cnp) if (chain := site.sent(qos, d))}
        known = qos.schedulers
        rows = [(q, known.get(q, Scheduler("none"))) for q in sorted(queues)]
        return tuple((q, scheduler.kind, scheduler.weight) for q, scheduler in rows)

    for qos, mine, usual in site.odd_ones(site.ports, served):
        yield Remark(
            "scheduler_differs", "warning", qos.port,
            f"serves its queues as {_text(mine)}, most ports of its kind as {_text(usual)}",
            "Bind the same schedulers to the queues of RoCE and CNPs on every port.",
        )  # fmt: skip
    for qos in site.ports:
        for dscp in site.roce:
            chain = site.sent(qos, dscp)
            scheduler = (qos.schedulers or {}).get(chain.queue) if chain else None
            if chain and scheduler and scheduler.kind == "strict":
                yield Remark(
                    "roce_strict", "info", qos.port,
                    f"serves RoCE data (queue {chain.queue}) strictly first: lower queues can starve",
                    "Serve RoCE by weight (ETS) and keep strict priority for CNPs.",
                    priority=chain.priority,
                )  # fmt: skip


def _text(rows: object) -> str:
    if not isinstance(rows, tuple):
        return str(rows)
    parts = (
        f"queue {q} {kind}" + (f" {weight}" if weight >= 0 else "") for q, kind, weight in rows
    )
    return ", ".join(parts) or "nothing"
