"""What could not be checked: ports and links whose settings no source tells.

A clean audit means nothing for places nobody looked at, so they are counted and named.
"""

from collections.abc import Iterator

from analyzers.audit.common import Remark, Site
from fabric.cables import Port


def check(site: Site) -> Iterator[Remark]:
    """One remark per device without settings, and one where it is not known what RoCE is."""
    known = {qos.port.device for qos in site.inventory.qos}
    if not known:
        yield Remark(
            "no_settings", "info", Port("", ""),
            "=no QoS settings were given: only the cabling and the routes were checked",
            "Add configurations (config_db.json, mlnx_qos output, a copy of /sys).",
            missing="QoS settings",
        )  # fmt: skip
    else:
        for name, device in site.inventory.fabric.devices.items():
            if name not in known and device.role != "ocs":
                yield Remark(
                    "not_audited", "info", Port(name, ""), "told no QoS settings: not checked",
                    "Add its configuration (config_db.json, mlnx_qos output, a copy of /sys).",
                    missing="QoS settings",
                )  # fmt: skip
    if known and not site.roce:
        first = min(known)
        yield Remark(
            "roce_unknown", "info", Port(first, ""),
            "and the others do not tell which DSCP carries RoCE: class checks were left out",
            "Name it (--roce-dscp), or add the settings of a host.", missing="DSCP of RoCE",
        )  # fmt: skip
