"""The lossless buffer of a port differs from that of most ports of its kind: it pauses sooner, or later.

Ports of one role and speed share the load of a tier. One whose buffer may grow less pauses its peer while
its sisters still take frames; one that may grow more eats the shared pool they need. Compared are the
threshold (dynamic or static) and the pool; headroom is left out, it depends on the cable. It is wrong
where a port serves something else on purpose, a storage gateway for example.
"""

import math
from collections.abc import Iterator
from functools import partial

from analyzers.audit.common import Remark, Site
from fabric.qos import PortQos

Row = tuple[float, int, str]


def check(site: Site) -> Iterator[Remark]:
    """One remark per port and priority group of RoCE with a differing threshold or pool."""
    switches = [qos for qos in site.ports if qos.role != "host" and qos.buffers]
    for group in sorted({g for qos in switches for g in _groups(site, qos)}):
        for qos, mine, usual in site.odd_ones(switches, partial(_held, site, group=group)):
            yield Remark(
                "buffer_differs", "warning", qos.port,
                f"gives the lossless group {group} {_text(mine)}, most ports of its kind "
                f"{_text(usual)}",
                "Bind the buffer profile that the other ports of this speed use.",
            )  # fmt: skip


def _groups(site: Site, qos: PortQos) -> set[int]:
    """Priority groups that carry RoCE losslessly."""
    priorities = site.roce_priorities & (qos.pfc or frozenset())
    return {p if qos.pfc_groups is None else qos.pfc_groups.get(p, p) for p in priorities}


def _held(site: Site, qos: PortQos, group: int) -> Row | None:
    """(alpha, static limit, pool) of a group; None where it is not RoCE's or not known."""
    buffer = (qos.buffers or {}).get(group)
    if buffer is None or group not in _groups(site, qos):
        return None
    if buffer.limit_bytes < 0 and math.isnan(buffer.alpha):
        return None
    return (-1.0 if math.isnan(buffer.alpha) else buffer.alpha, buffer.limit_bytes, buffer.pool)


def _text(row: object) -> str:
    if not isinstance(row, tuple):
        return str(row)
    alpha, limit, pool = row
    size = f"{limit / 1000:g} kB" if limit >= 0 else f"{alpha:g} times the free pool"
    return f"{size} ({pool})" if pool else size
