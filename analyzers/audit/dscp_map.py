"""The DSCP map of a port is not the one most ports of its kind have.

Classification must be the same everywhere, or a packet changes class on its way. A difference that
touches the DSCP of RoCE or CNPs is a warning, any other is information. It is wrong where a border
device maps differently on purpose.
"""

from collections.abc import Iterator

from analyzers.audit.common import Remark, Site
from fabric.qos import DSCPS, PortQos

Map = tuple[int, ...]


def _map(qos: PortQos) -> Map | None:
    if qos.classes is None or not (qos.classes or qos.pfc):
        return None
    return tuple(qos.classes.get(dscp, 0) for dscp in DSCPS)


def check(site: Site) -> Iterator[Remark]:
    """One remark per port and differing map; and ports that trust PCP instead."""
    for qos, mine, usual in site.odd_ones(
        site.ports, _map, alike=lambda q: "host" if q.role == "host" else "switch"
    ):
        if not (isinstance(mine, tuple) and isinstance(usual, tuple)):
            continue
        differing = [dscp for dscp in DSCPS if mine[dscp] != usual[dscp]]
        vital = [dscp for dscp in differing if dscp in site.roce or dscp in site.cnp]
        shown = (vital or differing)[0]
        yield Remark(
            "dscp_map_differs",
            "warning" if vital else "info",
            qos.port,
            f"maps DSCP {shown} to class {mine[shown]}, most ports to {usual[shown]}"
            + (f"; {len(differing) - 1} more differ" if len(differing) > 1 else ""),
            f"Bind the DSCP map that the other ports use (DSCP {shown} to class {usual[shown]}).",
            priority=usual[shown],
        )
    for qos in site.ports:
        if qos.trust == "pcp":
            yield Remark(
                "trust_pcp",
                "warning",
                qos.port,
                "trusts the VLAN tag's priority instead of DSCP: routed RoCE loses its class",
                "Set the trust mode to DSCP (mlnx_qos --trust dscp, or a DSCP map on the switch).",
            )
