"""MTU mismatch: frames one end may send are too long for the other, or RoCE's packets do not fit.

Switches drop such frames without a word, and only the large ones: connections come up and transfers
hang. A host that sends less than its switch allows is fine. RoCE with a path MTU of 4096 needs about
4200 bytes; a smaller MTU makes NICs fall back to 1024 and quadruples the packet rate.
"""

from collections.abc import Iterator

from analyzers.audit.common import PEER, Remark, Site


def check(site: Site) -> Iterator[Remark]:
    """One remark per direction that can send too much, and per port too small for RoCE."""
    for sender, receiver, _ in site.both_ends:
        mine, theirs = sender.mtu_bytes, receiver.mtu_bytes
        if receiver.role != "host" and mine > theirs > 0:
            yield Remark(
                "mtu_mismatch",
                "critical" if sender.role == "host" else "warning",
                sender.port,
                f"may send {mine} bytes, its peer {PEER} takes {theirs}",
                "Set the same MTU on all switch ports, and no larger one on hosts.",
                value=float(mine), limit=float(theirs), unit="bytes", peer=str(receiver.port),
            )  # fmt: skip
    for qos in site.ports:
        if 0 < qos.mtu_bytes < site.knobs.roce_frame_bytes:
            yield Remark(
                "mtu_small", "info", qos.port,
                f"has an MTU of {qos.mtu_bytes}: RoCE cannot use a path MTU of 4096",
                "Raise the MTU to 9000 or more along the whole path.",
                value=float(qos.mtu_bytes), limit=float(site.knobs.roce_frame_bytes), unit="bytes",
            )  # fmt: skip
