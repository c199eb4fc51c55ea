"""When a subscribed path is due: SAMPLE, ON_CHANGE and TARGET_DEFINED over a row of readings at a time.

All intervals are device time. A reading that is not there (MISSING) is never sent and changes nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from collectors.messages import Encoding, SubscriptionMode
from collectors.timeline import MISSING
from collectors.trees import Row, Selection, Tree

EVERY: Final = 1  # ns: shorter than any refresh, so each reading is due


class Paced:
    """Columns of a selection with one rule.

    ``interval_ns`` 0 sends what changed and no more; otherwise the readings nearest to the multiples of
    the interval after the first are sent, all of them or with ``suppress`` those that changed since
    they were last sent. Unchanged ones are repeated after ``heartbeat_ns`` where that is not 0.
    ``refresh_ns`` is the distance of the device's readings.
    """

    def __init__(
        self,
        selection: Selection,
        columns: tuple[int, ...],
        refresh_ns: int,
        *,
        interval_ns: int,
        suppress: bool = False,
        heartbeat_ns: int = 0,
    ) -> None:
        self.selection, self.columns = selection, columns
        self.interval_ns, self.early_ns = interval_ns, refresh_ns // 2
        self.selective = suppress or interval_ns == 0
        self.heartbeat_ns = heartbeat_ns
        self.next_ns = 0
        self.last: dict[int, tuple[int, int]] = {}  # column -> value and time it was last sent

    def begin(self, ts: int, row: Row) -> None:
        """Take a row as known to the client, from which changes and intervals count."""
        self.next_ns = ts + self.interval_ns
        self._sent(ts, row, self.columns)

    def due(self, ts: int, row: Row) -> Sequence[int]:
        """Columns to send of the reading at ``ts``, which is later than any before."""
        if self.interval_ns:
            if ts + self.early_ns < self.next_ns:
                return ()
            passed = (ts + self.early_ns - self.next_ns) // self.interval_ns
            self.next_ns += (passed + 1) * self.interval_ns
        if not self.selective:
            return self.columns
        never = (MISSING, ts)
        changed = [
            c
            for c in self.columns
            if row[c] != self.last.get(c, never)[0]
            or (self.heartbeat_ns and ts - self.last.get(c, never)[1] >= self.heartbeat_ns)
        ]
        changed = [c for c in changed if row[c] != MISSING]
        self._sent(ts, row, changed)
        return changed

    def _sent(self, ts: int, row: Row, columns: Sequence[int]) -> None:
        if self.selective:
            for c in columns:
                if row[c] != MISSING:
                    self.last[c] = (row[c], ts)

    def responses(self, ts: int, row: Row, columns: Sequence[int]) -> Iterator[Any]:
        """SubscribeResponses with the readings of ``columns``."""
        return self.selection.responses(ts, row, columns)


def encoding_of(number: int, tree: Tree) -> Encoding:
    """The encoding of that number; NotImplementedError where the platform has it not."""
    for encoding in tree.encodings:
        if encoding == number:
            return encoding
    raise NotImplementedError(f"encoding {number}")


def selections(request: Any, tree: Tree) -> list[Selection]:
    """What each path of a SubscriptionList names; ValueError where there is none."""
    if not request.subscription:
        raise ValueError("the subscription names no path")
    encoding = encoding_of(request.encoding, tree)
    return [
        tree.select(request.prefix, one.path, encoding, grouped=request.allow_aggregation)
        for one in request.subscription
    ]


def paced(request: Any, chosen: Sequence[Selection], refresh_ns: int) -> list[Paced]:
    """The rules of a streamed SubscriptionList, in its order.

    A sample interval of 0 is the device's own; a shorter one than that is refused with ValueError
    (gNMI 3.5.1.5.2). Left to the target, counters are sampled and states sent on change.
    """
    rules = []
    for one, selection in zip(request.subscription, chosen, strict=True):
        columns = selection.columns
        beat = one.heartbeat_interval
        if one.mode == SubscriptionMode.SAMPLE:
            if 0 < one.sample_interval < refresh_ns:
                raise ValueError(
                    f"sample interval {one.sample_interval} ns: the device refreshes every {refresh_ns} ns"
                )
            every, suppress = one.sample_interval or EVERY, one.suppress_redundant
            rule = Paced(
                selection, columns, refresh_ns, interval_ns=every, suppress=suppress, heartbeat_ns=beat
            )  # fmt: skip
            rules.append(rule)
        elif one.mode == SubscriptionMode.ON_CHANGE:
            rules.append(Paced(selection, columns, refresh_ns, interval_ns=0, heartbeat_ns=beat))
        elif one.mode == SubscriptionMode.TARGET_DEFINED:
            counts = tuple(c for c in columns if c not in selection.states)
            states = tuple(c for c in columns if c in selection.states)
            rules.append(Paced(selection, counts, refresh_ns, interval_ns=EVERY))
            rules.append(Paced(selection, states, refresh_ns, interval_ns=0, heartbeat_ns=beat))
        else:
            raise ValueError(f"subscription mode {one.mode}")
    return rules
