"""ECN is absent on the RoCE queue, or starts after PFC: senders learn of congestion only by being stopped.

Marking has to begin well before the ingress buffer asks for a pause; otherwise DCQCN never acts and
PFC does all the work, with its head-of-line blocking. The egress curve is compared with the smallest
XOFF threshold of the device's lossless buffers: static, or the most a dynamic threshold allows on an
idle switch. It is wrong where another mechanism (RTT-based control) replaces ECN.
"""

import math
from collections import defaultdict
from collections.abc import Iterator

from analyzers.audit.common import Remark, Sent, Site
from fabric.qos import Ecn, PortQos


def check(site: Site) -> Iterator[Remark]:
    """Absent, late, toothless and differing curves."""
    floor = _least_xoff(site)
    switches = [qos for qos in site.ports if qos.role != "host" and qos.ecn is not None]
    marked: list[PortQos] = []
    for qos in switches:
        for dscp in site.roce:
            chain = site.sent(qos, dscp)
            if chain is None or not _matters(site, chain):
                continue
            curve = qos.marking(chain.queue)
            if curve is None or not curve.enabled:
                yield Remark(
                    "ecn_absent", "warning", qos.port,
                    f"does not mark ECN on queue {chain.queue} of RoCE (DSCP {dscp})",
                    "Bind a WRED profile with ECN to the queue.", priority=chain.priority,
                )  # fmt: skip
            else:
                marked.append(qos)
                yield from _late(qos, chain, curve, floor.get(qos.port.device, math.inf))
    for qos, mine, usual in site.odd_ones(marked, lambda q: _curve(site, q)):
        yield Remark(
            "ecn_differs", "warning", qos.port,
            f"marks with (kmin, kmax, pmax) = {_text(mine)}, most ports of its kind with "
            f"{_text(usual)}",
            "Use one profile per speed: flows through the stricter port get less.",
        )  # fmt: skip


def _matters(site: Site, chain: Sent) -> bool:
    """Whether the class carries RoCE: losslessly, or all of it is lossy and ECN is the only brake."""
    return chain.priority in site.roce_priorities or not site.roce_priorities


def _least_xoff(site: Site) -> dict[str, float]:
    """Smallest XOFF threshold of each device's lossless buffers (bytes)."""
    least: dict[str, float] = defaultdict(lambda: math.inf)
    for qos in site.ports:
        for buffer in (qos.buffers or {}).values():
            threshold = buffer.xoff_at_bytes()
            if buffer.lossless and not math.isnan(threshold):
                least[qos.port.device] = min(least[qos.port.device], threshold)
    return least


def _late(qos: PortQos, chain: Sent, curve: Ecn, xoff: float) -> Iterator[Remark]:
    if curve.pmax == 0 or curve.kmax_bytes == 0:
        yield Remark(
            "ecn_toothless", "warning", qos.port,
            f"marks nothing on queue {chain.queue}: the probability at kmax is 0",
            "Set the mark probability at kmax (1 to 20 percent).", priority=chain.priority,
        )  # fmt: skip
    if curve.kmin_bytes >= xoff:
        yield Remark(
            "ecn_after_pfc", "critical", qos.port,
            f"starts to mark at {curve.kmin_bytes / 1000:g} kB, after PFC stops the sender at "
            f"{xoff / 1000:g} kB",
            "Lower kmin below the XOFF threshold, or raise the threshold (dynamic_th).",
            priority=chain.priority, value=float(curve.kmin_bytes), limit=xoff, unit="bytes",
        )  # fmt: skip
    elif curve.kmax_bytes > xoff:
        yield Remark(
            "ecn_beyond_pfc", "info", qos.port,
            f"marks everything only from {curve.kmax_bytes / 1000:g} kB, PFC stops the sender at "
            f"{xoff / 1000:g} kB",
            "Lower kmax below the XOFF threshold where PFC should be the exception.",
            priority=chain.priority, value=float(curve.kmax_bytes), limit=xoff, unit="bytes",
        )  # fmt: skip


def _curve(site: Site, qos: PortQos) -> tuple[float, ...] | None:
    for dscp in site.roce:
        chain = site.sent(qos, dscp)
        curve = qos.marking(chain.queue) if chain else None
        if curve:
            pmax = -1.0 if math.isnan(curve.pmax) else curve.pmax
            return (curve.kmin_bytes, curve.kmax_bytes, pmax)
    return None


def _text(curve: object) -> str:
    if not isinstance(curve, tuple):
        return str(curve)
    return f"({curve[0] / 1000:g} kB, {curve[1] / 1000:g} kB, {curve[2]:g})"
