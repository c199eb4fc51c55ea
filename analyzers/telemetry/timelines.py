"""COUNTERS rows as the timelines that a replay serves, one per device."""

import re
from array import array
from collections.abc import Collection, Iterator

import numpy as np
import polars as pl

from collectors.timeline import MISSING, Key, Timeline
from fabric.counters import COUNTERS

KEY = ("port", "object", "index", "counter")
PEAKS = [name for (_, name), counter in COUNTERS.items() if counter.kind == "peak"]


def thin(counters: pl.DataFrame, interval_ns: int) -> pl.DataFrame:
    """The readings of devices that refresh only every ``interval_ns`` of their clock.

    Of the readings in each interval, counted from a device's first one, the last stays; a peak is the
    highest of them, because that is when it would have been cleared.
    """
    if interval_ns <= 0:
        raise ValueError(f"interval {interval_ns} ns: a positive number")
    start = pl.col("ts").min().over("device")
    turn = -((start - pl.col("ts")) // interval_ns)  # rounded up: an interval ends with its reading
    return (
        counters.sort("ts")
        .with_columns(turn=turn)
        .group_by("device", *KEY, "turn", maintain_order=True)
        .agg(
            pl.col("ts", "seen").last(),
            pl.when(pl.col("counter").is_in(PEAKS).first())
            .then(pl.col("value").max())
            .otherwise(pl.col("value").last()),
        )
        .select(counters.columns)
        .sort("ts", maintain_order=True)
    )


def timelines(counters: pl.DataFrame, hosts: Collection[str] = ()) -> list[Timeline]:
    """A timeline for each device of COUNTERS, in the order of their names and numbers.

    Of two readings of one counter at one time the later row counts. ``hosts`` are the devices that
    are no switches.
    """
    return list(_timelines(counters, hosts))


def _timelines(counters: pl.DataFrame, hosts: Collection[str]) -> Iterator[Timeline]:
    devices = counters.partition_by("device", as_dict=True)
    for device, rows in sorted(((str(d), r) for (d,), r in devices.items()), key=_by_number):
        keys = rows.select(KEY).unique(maintain_order=True).with_row_index("column")
        times = rows.select("ts").unique().sort("ts").with_row_index("place")
        placed = rows.join(keys, on=KEY, maintain_order="left").join(
            times, on="ts", maintain_order="left"
        )
        table = np.full((times.height, keys.height), MISSING, np.int64)
        table[placed["place"].to_numpy(), placed["column"].to_numpy()] = placed["value"].to_numpy()
        names = tuple(Key(*row) for row in keys.select(KEY).iter_rows())
        yield Timeline(
            device=device,
            keys=names,
            times=times["ts"].to_list(),
            rows=[array("q", row.tobytes()) for row in table],
            growth=[_growth(key, table[:, i]) for i, key in enumerate(names)],
            host=device in hosts,
        )


def _by_number(named: tuple[str, pl.DataFrame]) -> list[str]:
    """Order of names in which leaf2 comes before leaf10."""
    return [part.zfill(9) if part.isdigit() else part for part in re.split(r"(\d+)", named[0])]


def _growth(key: Key, column: np.ndarray) -> int:
    """What a pass adds to a counter; 0 to a gauge, a peak, and a counter nobody declared."""
    counter = COUNTERS.get((key.object, key.counter))
    read = column[column != MISSING]
    if counter is None or counter.kind != "cumulative" or not len(read):
        return 0
    return int(read[-1] - read[0])
