"""The last stretch of a store looked at again and again: causes appear, go on, and are over.

What is found in the window is kept as an open incident under its id; one that is not found any more,
or that ended some intervals ago, is over. Nothing here knows how the readings came into the store.
"""

import time
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from analyzers.diagnosis.incidents import diagnose
from analyzers.state import Incident, State
from analyzers.store import Store, collect
from fabric.topology import Fabric

ENDED_INTERVALS: Final = 4  # without it since so many readings: it is over
LEAST_READINGS: Final = 5  # fewer say nothing
HORIZON_NS: Final = 3600 * 10**9  # how far the first look goes back


@dataclass
class Live:
    """Diagnosis of a window of ``intervals`` readings that ends with the newest one."""

    store: Store
    state: State
    fabric: Fabric
    intervals: int = 60
    since: int | None = None  # the window of the look before began here; nothing older is read

    def step(self) -> list[Incident]:
        """Look once; the incidents of the window, open ones and those that ended in it."""
        counters = self._window()
        if counters["ts"].n_unique() < LEAST_READINGS:
            return []
        last = int(counters["ts"].max())  # type: ignore[arg-type]  # it has rows
        interval = _interval(counters)
        rows = diagnose(counters, self.fabric).to_dicts()
        found = [_incident(row, last - ENDED_INTERVALS * interval) for row in rows]
        names = {one.id for one in found}
        gone = [one for one in self.state.incidents(state="open") if one.id not in names]
        self.state.put_incidents([*found, *(one._replace(state="over") for one in gone)])
        return found

    def _window(self) -> pl.DataFrame:
        """The readings of the last ``intervals`` readings."""
        since = self._newest() - HORIZON_NS if self.since is None else self.since
        moments = collect(
            self.store.scan("counters", since)
            .filter(pl.col("object") == "port", pl.col("counter") == "tx_bytes")
            .select(pl.col("ts").unique())
        )["ts"].sort()
        if moments.is_empty():
            return pl.DataFrame({"ts": []}, schema={"ts": pl.Int64})
        self.since = int(moments[max(len(moments) - self.intervals, 0)])
        return collect(self.store.scan("counters", self.since))

    def _newest(self) -> int:
        """The latest reading by the statistics of the files; a clock ahead of ours counts as ours."""
        files = pl.DataFrame(self.store.table("counters").get_add_actions(flatten=True))
        newest = files["max.ts"].max() if "max.ts" in files.columns else None
        return min(int(newest), time.time_ns()) if isinstance(newest, int) else 0


def _interval(counters: pl.DataFrame) -> int:
    """The usual time between two readings of a device, ns."""
    moments = counters.select("device", "ts").unique().sort("device", "ts")
    step = moments.select(pl.col("ts").diff().over("device").median()).item()
    return int(step or 0)


def _incident(row: dict[str, Any], live_from: int) -> Incident:
    """An INCIDENTS row as it is kept."""
    state = "open" if row["end"] >= live_from else "over"
    return Incident(row["id"], row["cls"], state, row["start"], row["end"], row)


def rows_of(incidents: list[Incident]) -> list[dict[str, Any]]:
    """INCIDENTS rows of kept incidents, open ones first, each from its first to its last moment."""
    ordered = sorted(incidents, key=lambda one: (one.state != "open", -one.last_ns, one.id))
    return [{**one.body, "start": one.first_ns, "end": one.last_ns} for one in ordered]
