"""What a client asks of a target: subscriptions as messages, and milder forms of what was refused."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final, NamedTuple

from collectors import messages as gnmi
from collectors.config import SECOND_NS, Subscription, Target

# The densest first; the order in which a client falls back (telemetry: BYTES and ASCII hold no counters).
PREFERRED: Final = (gnmi.Encoding.PROTO, gnmi.Encoding.JSON_IETF, gnmi.Encoding.JSON)
SLOWER_NS: Final = tuple(s * SECOND_NS for s in (1, 10, 30, 60))
STALE_FACTOR: Final = 3  # readings that may be missed before silence is called stale
STALE_FLOOR_NS: Final = 10 * SECOND_NS


class Entry(NamedTuple):
    """One path and how it is wanted."""

    path: str
    wanted: Subscription


@dataclass(frozen=True)
class Ask:
    """What one Subscribe RPC asks for: lists share everything but the entries."""

    entries: tuple[Entry, ...]
    target: str = ""
    updates_only: bool = False
    poll_ns: int = 0
    encoding: int = gnmi.Encoding.PROTO
    extras: bool = True  # with QoS marking and the depth extension, where they are configured

    def request(self, target: Target) -> Any:
        """The SubscribeRequest. Only the prefix may name a target; origins stay with their paths."""
        prefix = gnmi.Path(target=self.target) if self.target else None
        listed = gnmi.SubscriptionList(
            prefix=prefix,
            mode=gnmi.ListMode.POLL if self.poll_ns else gnmi.ListMode.STREAM,
            encoding=self.encoding,
            updates_only=self.updates_only,
        )
        for path, wanted in self.entries:
            one = listed.subscription.add(path=gnmi.path(path))
            if self.poll_ns:
                continue
            one.mode = gnmi.SubscriptionMode[wanted.mode.upper()]
            one.heartbeat_interval = wanted.heartbeat_ns
            if wanted.mode == "sample":
                one.sample_interval = wanted.interval_ns
                one.suppress_redundant = wanted.suppress_redundant
        made = gnmi.SubscribeRequest(subscribe=listed)
        if self.extras and target.qos:
            listed.qos.marking = target.qos
            made.subscribe.CopyFrom(listed)
        if self.extras and target.depth:
            made.extension.append(depth(target.depth))
        return made

    def silence_ns(self, target: Target) -> int:
        """How long nothing may come before that is reported; 0 where silence says nothing."""
        expected = [_expected_ns(entry.wanted) for entry in self.entries]
        due = [ns for ns in expected if ns]
        if not due:
            return 0
        return target.stale_ns or max(STALE_FACTOR * min(due), STALE_FLOOR_NS)


def _expected_ns(wanted: Subscription) -> int:
    """The longest time between two messages of a path; 0 unknown."""
    if wanted.heartbeat_ns:
        return wanted.heartbeat_ns
    if wanted.mode == "poll" or (wanted.mode == "sample" and not wanted.suppress_redundant):
        return wanted.interval_ns or 10 * SECOND_NS
    return 0


def asks(target: Target) -> list[Ask]:
    """The Subscribe RPCs of a target: as few as the differences between its subscriptions allow.

    ValueError names a path that cannot be read and an unknown encoding.
    """

    def key(wanted: Subscription) -> tuple[str, bool, int]:
        poll_ns = wanted.interval_ns if wanted.mode == "poll" else 0
        return wanted.target or target.prefix_target, wanted.updates_only, poll_ns

    found = []
    for (prefix, updates_only, poll_ns), group in groupby(
        sorted(target.subscriptions, key=key), key
    ):
        entries = tuple(Entry(path, wanted) for wanted in group for path in wanted.paths)
        for path, _ in entries:
            gnmi.path(path)
        found.append(Ask(entries, prefix, updates_only, poll_ns))
    return found


def encodings(target: Target, supported: list[int]) -> list[int]:
    """Encodings to try, best first; ValueError for one that does not exist."""
    if target.encoding:
        try:
            return [gnmi.Encoding[target.encoding.upper()]]
        except KeyError:
            known = ", ".join(e.name.lower() for e in gnmi.Encoding)
            raise ValueError(
                f"{target.name}: encoding {target.encoding!r}: one of {known}"
            ) from None
    return [e for e in PREFERRED if e in supported] or list(PREFERRED)


def depth(level: int) -> bytes:
    """The depth extension (openconfig/gnmi: proto/gnmi_ext/gnmi_ext.proto, Extension 5, Depth.level 1)."""
    low = min(level, 127)
    return bytes((5 << 3 | 2, 2, 1 << 3, low))


def milder(entry: Entry) -> Iterator[tuple[str, Entry]]:
    """Other ways to ask for a path that was refused, and how each differs."""
    path, wanted = entry
    if wanted.suppress_redundant or wanted.heartbeat_ns:
        plain = replace(wanted, suppress_redundant=False, heartbeat_ns=0)
        yield "without heartbeat and suppression", Entry(path, plain)
        wanted = plain
    if wanted.mode == "sample":
        for ns in SLOWER_NS:
            if ns > wanted.interval_ns:
                text = f"every {ns // SECOND_NS} s"
                yield text, Entry(path, replace(wanted, interval_ns=ns))
    if wanted.mode in ("sample", "on_change"):
        yield "as the target defines", Entry(path, replace(wanted, mode="target_defined"))
