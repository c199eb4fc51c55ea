"""RoCE lands in a lossy class: congestion then drops packets, and go-back-N resends whole windows.

A RoCE DSCP counts as lossless at a port if the priority it is filed under has PFC on. Where no port at
all carries it losslessly the fabric is run lossy on purpose, and one remark of information says so.
Best-effort traffic in a lossless class is told too: then a slow TCP receiver pauses the training.
"""

from collections.abc import Iterator

from analyzers.audit.common import Remark, Site
from fabric.cables import Port


def check(site: Site) -> Iterator[Remark]:
    """Lossy RoCE ports, a lossy fabric, lossless best effort, too many lossless priorities."""
    known = [qos for qos in site.ports if qos.classes is not None and qos.pfc is not None]
    for dscp, why in site.roce.items():
        chains = [(qos, chain) for qos in known if (chain := qos.chain(dscp))]
        lossy = [(qos, chain) for qos, chain in chains if not chain.lossless]
        if chains and len(lossy) == len(chains):
            yield Remark(
                "lossy_by_design", "warning", Port(chains[0][0].port.device, ""),
                f"and every other device carry DSCP {dscp} ({why}) in a class without PFC",
                "If RoCE is meant to be lossless, enable PFC on its priority on every port.",
                priority=chains[0][1].priority,
            )  # fmt: skip
            continue
        for qos, chain in lossy:
            yield Remark(
                "roce_lossy", "critical", qos.port,
                f"files RoCE (DSCP {dscp}, {why}) under class {chain.traffic_class}, "
                "which has no PFC",
                f"Map DSCP {dscp} to the lossless class and enable PFC on its priority.",
                priority=chain.priority,
            )  # fmt: skip
    for qos in known:
        best_effort = qos.chain(0)
        if qos.classes and best_effort and best_effort.lossless:
            yield Remark(
                "best_effort_lossless", "warning", qos.port,
                f"carries DSCP 0 in the lossless priority {best_effort.priority}: any sender "
                "that marks nothing can pause RoCE",
                "Move best effort to a class without PFC.",
                priority=best_effort.priority,
            )  # fmt: skip
        if qos.pfc and len(qos.pfc) > site.knobs.most_lossless:
            yield Remark(
                "many_lossless", "info", qos.port,
                f"has PFC on {len(qos.pfc)} priorities; each reserves headroom",
                "Keep PFC to the priorities that carry RoCE.",
                value=float(len(qos.pfc)), limit=float(site.knobs.most_lossless), unit="",
            )  # fmt: skip
