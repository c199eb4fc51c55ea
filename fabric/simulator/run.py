"""Drive the engine: samples of counters, logs drained to whoever wants them, faults at their time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fabric.simulator import state as st
from fabric.simulator.build import Built
from fabric.simulator.engine import FULL, run
from fabric.simulator.nic import POOL_EMPTY


class Sink(Protocol):
    """Takes what a run produces, piece by piece, so that memory does not grow with time."""

    def sample(self, time_ns: int, built: Built) -> None:
        """Counters as they stand now."""

    def logs(
        self, taps: np.ndarray, why: np.ndarray, drops: np.ndarray, pauses: np.ndarray
    ) -> None:
        """Rows logged since the last call: TAP, PROVENANCE, DROP, PAUSE_LOG."""


@dataclass
class Keep:
    """A sink for tests: keeps everything in memory."""

    samples: list[tuple[int, np.ndarray, np.ndarray]] = field(default_factory=list)
    taps: list[np.ndarray] = field(default_factory=list)
    why: list[np.ndarray] = field(default_factory=list)
    drops: list[np.ndarray] = field(default_factory=list)
    pauses: list[np.ndarray] = field(default_factory=list)

    def sample(self, time_ns: int, built: Built) -> None:
        """Copy the counters."""
        self.samples.append((time_ns, built.state.port.copy(), built.state.queue.copy()))

    def logs(
        self, taps: np.ndarray, why: np.ndarray, drops: np.ndarray, pauses: np.ndarray
    ) -> None:
        """Copy the rows."""
        for rows, into in (
            (taps, self.taps),
            (why, self.why),
            (drops, self.drops),
            (pauses, self.pauses),
        ):
            if len(rows):
                into.append(rows.copy())


Change = tuple[int, Callable[[Built], None]]


def drain(built: Built, sink: Sink) -> None:
    """Hand the logged rows over and start the logs afresh."""
    state, whole = built.state, built.state.whole
    sink.logs(
        state.tap[: whole[st.TAP_N]],
        state.provenance[: whole[st.PROVENANCE_N]],
        state.drop[: whole[st.DROP_N]],
        state.pause[: whole[st.PAUSE_N]],
    )
    for index in (st.TAP_N, st.PROVENANCE_N, st.DROP_N, st.PAUSE_N):
        whole[index] = 0


def settled_pauses(built: Built, now_ps: int) -> tuple[np.ndarray, np.ndarray]:
    """Pause time per port and priority up to now, open holds included: (held, holding), ps."""
    queue = built.state.queue
    open_hold = queue["held_from"] != st.NEVER
    end = np.minimum(queue["paused_until"], now_ps)
    held = queue["rx_pause_ps"] + np.where(open_hold, np.maximum(end - queue["held_from"], 0), 0)
    holds = queue["xoff_from"] != st.NEVER
    holding = queue["tx_pause_ps"] + np.where(holds, now_ps - queue["xoff_from"], 0)
    return held, holding


def simulate(
    built: Built,
    until_ns: int,
    sink: Sink,
    *,
    interval_ns: int = 100_000,
    changes: Sequence[Change] = (),
    progress: Callable[[int], None] | None = None,
) -> None:
    """Run to ``until_ns``; ``changes`` are (time in ns, what to do), done between two events.

    Raises RuntimeError where more packets are under way than the pool holds.
    """
    pending = sorted(changes, key=lambda change: change[0])
    for stop, is_sample in _stops(until_ns, interval_ns, [time for time, _ in pending]):
        while (answer := run(built.state, stop * 1000, built.rnr)) == FULL:
            drain(built, sink)
            built.make_room()
        if answer == POOL_EMPTY:
            raise RuntimeError(f"packet pool of {len(built.state.packet)} used up at {stop} ns")
        while pending and pending[0][0] <= stop:
            pending.pop(0)[1](built)
        if is_sample:
            sink.sample(stop, built)
            built.state.queue["peak"] = built.state.queue["bytes"]
            built.state.queue["headroom_peak"] = built.state.queue["headroom"]
            if progress is not None:
                progress(stop)
    drain(built, sink)


def _stops(until: int, interval: int, changes: list[int]) -> Iterator[tuple[int, bool]]:
    samples = set(range(0, until + 1, interval)) | {until}
    for time in sorted(samples | {t for t in changes if t <= until}):
        yield time, time in samples
