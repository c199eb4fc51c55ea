"""PFC is on at one end of a link only: one side asks for pauses that the other never honours.

IEEE 802.1Qbb pauses hop by hop and priority by priority. A port that does not have a priority enabled
ignores the pause frames for it and overruns the headroom of its peer: drops in a class meant to be
lossless. It is wrong for a host that deliberately sends no lossless traffic.
"""

from collections.abc import Iterator

from analyzers.audit.common import PEER, Remark, Site


def check(site: Site) -> Iterator[Remark]:
    """One remark per priority at the end that lacks it."""
    for without, having, _ in site.both_ends:
        if without.pfc is None or having.pfc is None:
            continue
        for priority in sorted(having.pfc - without.pfc):
            used = priority in site.roce_priorities or not site.roce_priorities
            yield Remark(
                "pfc_one_sided",
                "critical" if used else "warning",
                without.port,
                f"has no PFC on priority {priority}, its peer {PEER} has",
                f"Enable PFC on priority {priority} here, or disable it at the peer {PEER}.",
                priority=priority,
                peer=str(having.port),
            )
        if without.global_pause and having.pfc:
            yield Remark(
                "global_pause",
                "warning",
                without.port,
                f"uses whole-port pause while its peer {PEER} uses PFC",
                "Turn 802.3x flow control off: the two exclude each other on a link.",
                peer=str(having.port),
            )
