"""Sources disagree about the fabric: a cable claimed by two ports, speeds that differ, one-way neighbours.

Until it is settled every statement about a place behind such a cable rests on sand. It is wrong only
where an old dump was given together with a newer one.
"""

from collections.abc import Iterator

from analyzers.audit.common import Remark, Site
from fabric.cables import Port

SEVERITY = {"roles_differ": "info", "lengths_differ": "info"}
REPAIR = {
    "two_cables": "Trace the cable, then correct the source that is wrong.",
    "self_cable": "Correct the entry.",
    "speeds_differ": "Set both ends to one speed, or correct the source that is wrong.",
    "lengths_differ": "Measure the cable; headroom is computed from its length.",
    "one_way": "Trace the cable, then complete or correct the neighbour table of the silent device.",
    "roles_differ": "Correct the role in one of the sources.",
    "address_twice": "Give one of the two another address.",
    "dangling_reference": "Create the profile or map, or correct the reference: the port runs without it.",
    "unknown_port": "Remove the entry, or create the port (breakout mode).",
    "circuit": "Correct the times of the circuits.",
}


def check(site: Site) -> Iterator[Remark]:
    """One remark per contradiction."""
    for row in site.inventory.contradictions:
        places = "; ".join(row.where)
        yield Remark(
            row.kind,
            SEVERITY.get(row.kind, "warning"),
            Port(row.device, row.port),
            f"={row.text}" + (f" ({places})" if places else ""),
            REPAIR.get(row.kind, "Correct the source that is wrong."),
            subject=row.text,
        )
