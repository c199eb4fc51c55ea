"""A DSCP travels in different priorities along its path: pauses stop the wrong queue.

The receiver asks for a pause of the priority it filed the packet under; the sender stops the queue it
has for that priority number. If the same DSCP sits in another queue there, the pause hits bystanders
and the guilty traffic flows on. Exactly that is tested, link by link in both directions, with each
side's own maps. It is wrong only where packets are remarked on the link by something not configured
on either end.
"""

from collections.abc import Iterator

from analyzers.audit.common import PEER, Remark, Site


def check(site: Site) -> Iterator[Remark]:
    """One remark per link direction and RoCE DSCP whose pause would miss."""
    for sender, receiver, _ in site.both_ends:
        for dscp in site.roce:
            there, here = receiver.chain(dscp), site.sent(sender, dscp)
            if not (here and there and there.lossless):
                continue
            if there.priority not in (sender.pfc or ()):
                continue  # not honoured at all: PFC on one side only says so
            stopped = sender.stopped_by(there.priority)
            host = sender.role == "host"
            held, what = (here.priority, "priority") if host else (here.queue, "queue")
            if stopped != held:
                yield Remark(
                    "priority_differs",
                    "critical",
                    sender.port,
                    f"sends DSCP {dscp} in {what} {held}, but a pause from {PEER}, which "
                    f"files it under priority {there.priority}, stops {what} {stopped}",
                    f"Give DSCP {dscp} one priority on both ends: class {here.traffic_class} here, "
                    f"{there.traffic_class} there.",
                    priority=there.priority,
                    peer=str(receiver.port),
                )
