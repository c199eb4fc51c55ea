"""What a real fabric would have told: counters with columns, moments and devices taken away.

Simulated counters are too good. A tier keeps the columns that a kind of switch has; every device is read
at moments of its own; some are read more slowly; some say nothing.
"""

from typing import Final, NamedTuple

import numpy as np
import polars as pl

from fabric.counters import COUNTERS as CANONICAL

ON_SWITCHES_ONLY_HOSTS: Final = frozenset({"rx_naks", "rx_cnp", "tx_cnp", "rx_ce_packets"})
PAUSE_TIME: Final = frozenset({"rx_pause_ns", "tx_pause_ns", "rx_pause_requested_ns"})
INSIDE: Final = frozenset({"occupancy_bytes", "headroom_peak_bytes", "queue_bytes"})


class Mask(NamedTuple):
    """What is left of a run's counters."""

    tier: str  # a: what any switch has; b: and received pause time; c: every column; d, e: taps
    slower: int = 1  # read every so many intervals
    silent: float = 0.0  # share of switches that say nothing
    phase: bool = True  # devices are read at moments of their own
    nominal: bool = False  # the reported speed stays nominal
    taps: bool = False  # captures as well
    counters: bool = True

    @property
    def name(self) -> str:
        """For tables: ``b, 2x slower, 10 % silent``."""
        parts = [self.tier]
        if self.slower > 1:
            parts.append(f"{self.slower}x slower")
        if self.silent:
            parts.append(f"{self.silent:.0%} of switches silent")
        if self.nominal:
            parts.append("nominal speed")
        return ", ".join(parts)


def masked(counters: pl.DataFrame, hosts: set[str], mask: Mask, seed: int) -> pl.DataFrame:
    """COUNTERS as the mask leaves them; the same for the same seed."""
    dice = np.random.default_rng(seed)
    rows = counters
    if mask.tier != "c":
        hidden = PAUSE_TIME if mask.tier == "a" else PAUSE_TIME - {"rx_pause_ns"}
        gone = hidden | INSIDE
        on_host = pl.col("device").is_in(list(hosts))
        rows = rows.filter(
            ~pl.col("counter").is_in(list(gone)),
            on_host | ~pl.col("counter").is_in(list(ON_SWITCHES_ONLY_HOSTS)),
        )
    if mask.nominal:
        port = ("device", "port", "counter")
        rows = rows.with_columns(
            value=pl.when(pl.col("counter") == "link_bps")
            .then(pl.col("value").max().over(port))
            .otherwise("value")
        )
    if mask.silent:
        switches = sorted(set(counters["device"].unique()) - hosts)
        count = max(round(mask.silent * len(switches)), 1)
        quiet = dice.choice(len(switches), size=count, replace=False)
        rows = rows.filter(~pl.col("device").is_in([switches[i] for i in quiet]))
    if mask.phase or mask.slower > 1:
        rows = _read_at(rows, mask, dice)
    return rows


def _read_at(rows: pl.DataFrame, mask: Mask, dice: np.random.Generator) -> pl.DataFrame:
    """Read every device every ``slower`` intervals, from a random moment on.

    A count between two samples lies on the line between them; a peak is the highest of the samples it
    covers; a length now is the nearest known.
    """
    keys = ["device", "port", "object", "index", "counter"]
    ordered = rows.sort(*keys, "ts")
    moments = np.sort(rows["ts"].unique().to_numpy())
    step = int(np.median(np.diff(moments))) if len(moments) > 1 else 0
    devices = sorted(rows["device"].unique())
    shift = pl.DataFrame(
        {
            "device": devices,
            "skip": dice.integers(0, mask.slower, len(devices)),
            "phase": dice.random(len(devices)) if mask.phase else np.zeros(len(devices)),
        }
    )
    kinds = pl.DataFrame(
        [(of, name, counter.kind) for (of, name), counter in CANONICAL.items()],
        schema=["object", "counter", "kind"],
        orient="row",
    )
    number = pl.int_range(pl.len()).over(keys) + mask.slower - 1 - pl.col("skip")
    group = (number // mask.slower).alias("group")
    between = (
        pl.col("value")
        + ((pl.col("after").fill_null(pl.col("value")) - pl.col("value")) * pl.col("phase"))
    ).cast(pl.Int64)
    return (
        ordered.join(shift, on="device", maintain_order="left")
        .join(kinds, on=["object", "counter"], maintain_order="left")
        .with_columns(after=pl.col("value").shift(-1).over(keys))
        .with_columns(
            group,
            read=pl.when(pl.col("kind") == "cumulative")
            .then(between)
            .when((pl.col("kind") == "peak") & (pl.col("phase") > 0))
            .then(pl.max_horizontal("value", "after"))
            .otherwise("value"),
            moment=pl.col("ts") + (pl.col("phase") * step).cast(pl.Int64),
        )
        .group_by(*keys, "group", maintain_order=True)
        .agg(
            ts=pl.col("moment").last(),
            value=pl.when(pl.col("kind").first() == "peak")
            .then(pl.col("read").max())
            .otherwise(pl.col("read").last()),
            count=pl.len(),
        )
        .filter((pl.col("count") == mask.slower) | (pl.col("group") == 0))
        .with_columns(seen="ts")
        .select(rows.columns)
        .sort("ts")
    )
