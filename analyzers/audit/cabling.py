"""The cabling itself: parts that cannot reach each other, hosts without a cable, uneven uplinks.

Hashing spreads flows evenly over next hops, not over capacity: a switch with fewer or slower uplinks
than its sisters runs hot at the same load. It is wrong where a fabric is being built or drained.
"""

from collections import defaultdict
from collections.abc import Iterator

from analyzers.audit.common import Remark, Site
from fabric.cables import Port

TIERS = {"host": 0, "leaf": 1, "spine": 2, "core": 3}


def check(site: Site) -> Iterator[Remark]:
    """Islands, uncabled hosts, uneven uplinks."""
    fabric = site.inventory.fabric
    islands = [group for group in fabric.islands() if len(group) > 1]
    for group in islands[1:]:
        yield Remark(
            "island", "warning", Port(group[0], ""),
            f"and {len(group) - 1} more cannot reach the other {len(islands[0])} devices",
            "Check the cabling between the parts, or whether a source is missing.",
        )  # fmt: skip
    for name in fabric.named("host"):
        if not fabric.ports(name):
            yield Remark(
                "host_without_cable", "info", Port(name, ""), "has no cable that any source knows",
                "Add the source that knows it (LLDP, DEVICE_NEIGHBOR), or remove the host.",
            )  # fmt: skip
    yield from _uneven(site)


def _uneven(site: Site) -> Iterator[Remark]:
    """Switches whose uplinks carry less than those of most switches of their tier and pod."""
    fabric = site.inventory.fabric
    capacity: dict[str, int] = defaultdict(int)
    for link in site.links:
        for near, far in ((link.a, link.b), (link.b, link.a)):
            tiers = [TIERS.get(fabric.role(end.device), -1) for end in (near, far)]
            if 0 < tiers[0] < tiers[1]:
                capacity[near.device] += link.speed_bps
    groups: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for name, bps in capacity.items():
        groups[fabric.role(name), fabric.devices[name].pod][name] = bps
    for members in groups.values():
        values = sorted(members.values())
        usual = values[len(values) // 2]
        for name, bps in members.items():
            if bps < usual:
                yield Remark(
                    "uneven_uplinks", "warning", Port(name, ""),
                    f"has uplinks of {bps / 1e9:g} Gb/s in all, its sisters have {usual / 1e9:g}",
                    "Find the missing or slow uplink; until then weigh its routes by capacity.",
                    value=float(bps), limit=float(usual), unit="bit/s",
                )  # fmt: skip
