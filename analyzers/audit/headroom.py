"""The headroom of a lossless port is smaller than what its cable can still deliver after XOFF.

After a port asks for a pause, the frame it is just sending, the data on the cable both ways, and what
the peer sends while it reacts (IEEE 802.3 31B.3.7) still arrive (:func:`fabric.units.headroom`). What
does not fit is dropped, in a class that must not drop. The demand computed here is a lower bound: no
small packets, no gearbox, and 0 m where the length is not known, so a shortage is certain. A port
whose headroom comes from a shared pool is held against the pool.
"""

import math
from collections import defaultdict
from collections.abc import Iterator

from analyzers.audit.common import Remark, Site
from fabric.cables import Port
from fabric.qos import Buffer, PortQos
from fabric.units import headroom


def check(site: Site) -> Iterator[Remark]:
    """Short and absent headroom per port and priority, and pools that are too small."""
    demands: dict[str, list[float]] = defaultdict(list)
    pools: dict[str, int] = {}
    for qos in site.ports:
        if qos.role == "host" or not qos.pfc or qos.buffers is None:
            continue
        for priority in sorted(qos.pfc):
            group = priority if qos.pfc_groups is None else qos.pfc_groups.get(priority, priority)
            buffer = qos.buffers.get(group)
            if buffer is None or not buffer.lossless:
                yield _absent(qos, priority, group)
            elif qos.speed_bps:
                need = demand_bytes(site, qos)
                demands[qos.port.device].append(need)
                pools[qos.port.device] = qos.headroom_pool_bytes
                yield from _short(qos, priority, buffer, need)
    for device, needs in demands.items():
        if 0 < pools[device] < max(needs):
            yield Remark(
                "headroom_pool_short", "critical", Port(device, ""),
                f"has a shared headroom pool of {pools[device] / 1024:.0f} KiB, one port alone can "
                f"need {max(needs) / 1024:.0f} KiB",
                "Enlarge the pool (xoff of the ingress pool), or shorten the longest cable.",
                value=float(pools[device]), limit=max(needs), unit="bytes",
            )  # fmt: skip


def demand_bytes(site: Site, qos: PortQos) -> float:
    """Least headroom that one lossless priority of a port needs (bytes)."""
    mtu = qos.mtu_bytes if qos.mtu_bytes > 0 else site.knobs.roce_frame_bytes
    return float(
        headroom(
            speed_bps=qos.speed_bps,
            cable_m=0.0 if math.isnan(qos.length_m) else qos.length_m,
            mtu_bytes=mtu,
            lossless_mtu_bytes=min(mtu, site.knobs.roce_frame_bytes),
            cell_bytes=site.knobs.cell_bytes,
            small_share=site.knobs.small_share,
        ).xoff_bytes
    )


def _short(qos: PortQos, priority: int, buffer: Buffer, need: float) -> Iterator[Remark]:
    have = buffer.headroom_bytes
    if have < 0 or have >= need or qos.headroom_pool_bytes > 0:
        return
    known = not math.isnan(qos.length_m)
    cable = f"{qos.length_m:g} m" if known else "0 m (length not known)"
    yield Remark(
        "headroom_short", "critical", qos.port,
        f"has {have / 1024:.0f} KiB of headroom for priority {priority}; at "
        f"{qos.speed_bps / 1e9:g} Gb/s and {cable} at least {need / 1024:.0f} KiB arrive after XOFF",
        f"Set xoff of the buffer profile to {need:.0f} bytes or more.",
        priority=priority, value=float(have), limit=need, unit="bytes",
        missing="" if known else "cable length",
    )  # fmt: skip


def _absent(qos: PortQos, priority: int, group: int) -> Remark:
    return Remark(
        "headroom_absent", "critical", qos.port,
        f"has PFC on priority {priority} but no lossless buffer for its priority group {group}",
        f"Bind a lossless buffer profile to group {group} (BUFFER_PG), or disable PFC there.",
        priority=priority,
    )  # fmt: skip
