"""What a port is judged by at a glance: pause, marks, drops, use, computed from COUNTERS.

A metric is one number per port and reading. Shares and rates have the measured interval as their
denominator; a counter that went backwards (a reset) or that nobody reported gives null, not zero.
"""

from typing import Final, Literal, NamedTuple

import polars as pl

from analyzers.telemetry.rates import KEY, rates
from fabric.counters import COUNTERS as CANONICAL

PORT: Final = ("device", "port")
SECOND_NS: Final = 1_000_000_000
MILLION: Final = 1_000_000


class Metric(NamedTuple):
    """A number per port: its key, name, unit ("share" runs 0..1) and what it says.

    ``sources`` are (object, counter) pairs; ``fold`` says how they and their indices become one
    number. ``bad`` is where it is worth a look (the colour scale of a picture is full there).
    """

    key: str
    title: str
    unit: str
    text: str
    sources: tuple[tuple[str, str], ...]
    fold: Literal["sum", "max"]
    full: float | None = None


METRICS: Final[dict[str, Metric]] = {
    metric.key: metric
    for metric in (
        Metric(
            "pause",
            "held by its peer",
            "share",
            "share of the interval in which this port was not allowed to send; worst priority",
            (("priority", "rx_pause_ns"), ("priority", "rx_pause_share")),
            "max",
            1.0,
        ),
        Metric(
            "holds",
            "holds its peer",
            "share",
            "share of the interval in which this port stopped its peer; worst priority",
            (("priority", "tx_pause_ns"), ("priority", "tx_pause_share")),
            "max",
            1.0,
        ),
        Metric(
            "pfc",
            "PFC frames",
            "frames/s",
            "PFC frames received and sent per second",
            (("priority", "rx_pfc_frames"), ("priority", "tx_pfc_frames")),
            "sum",
        ),
        Metric(
            "ecn",
            "ECN marks",
            "packets/s",
            "packets marked here, or received marked at a host",
            (
                ("queue", "ecn_marked_packets"),
                ("port", "ecn_marked_packets"),
                ("port", "rx_ce_packets"),
            ),
            "max",
        ),
        Metric(
            "drops",
            "drops",
            "packets/s",
            "packets dropped at ingress, at egress, or by the PFC watchdog",
            (("queue", "dropped_packets"), ("pg", "dropped_packets"), ("queue", "watchdog_drops")),
            "sum",
        ),
        Metric(
            "errors",
            "receive errors",
            "packets/s",
            "packets received that were not usable: bad checksum, bad symbols, beyond FEC",
            (("port", "rx_crc_errors"), ("port", "rx_errors"), ("port", "fec_uncorrected")),
            "max",
        ),
        Metric(
            "use",
            "use",
            "share",
            "the busier direction's bits per second over the port's speed",
            (("port", "rx_bytes"), ("port", "tx_bytes")),
            "max",
            1.0,
        ),
        Metric(
            "queue",
            "queue",
            "bytes",
            "longest egress queue since the last reading, or now where no peak is kept",
            (("queue", "queue_peak_bytes"), ("queue", "queue_bytes")),
            "max",
        ),
        Metric(
            "cnp",
            "CNPs",
            "packets/s",
            "congestion notifications received and sent",
            (("port", "rx_cnp"), ("port", "tx_cnp")),
            "sum",
        ),
    )
}


def rated(counters: pl.LazyFrame) -> pl.DataFrame:
    """Readings with what changed: COUNTERS columns, ``interval_ns`` and ``rate`` (per second).

    ``rate`` of a cumulative counter is its increase per second of the measured interval, null at the
    first reading and where it was reset (:mod:`analyzers.telemetry.rates`); of a gauge or peak it is
    the reading itself.
    """
    read = counters.collect()
    made = rates(read).rates.select(*KEY, "ts", "interval_ns", "rate")
    cumulative = [c.name for c in CANONICAL.values() if c.kind == "cumulative"]
    return (
        read.unique([*KEY, "ts"], keep="last")
        .join(made, on=[*KEY, "ts"], how="left")
        .with_columns(
            rate=pl.when(pl.col("counter").is_in(cumulative))
            .then("rate")
            .otherwise(pl.col("value").cast(pl.Float64))
        )
        .sort(*KEY, "ts")
    )


def summary(read: pl.DataFrame) -> pl.DataFrame:
    """One row per counter of :func:`rated`: first, last, grown, mean and peak rate, readings.

    ``grown`` and ``mean`` are null for gauges and peaks; ``grown`` leaves out resets.
    """
    counts = pl.col("counter").is_in([c.name for c in CANONICAL.values() if c.kind == "cumulative"])
    grown = (pl.col("rate") * pl.col("interval_ns") / SECOND_NS).sum()
    measured = pl.col("interval_ns").filter(pl.col("rate").is_not_null()).sum()
    return (
        read.sort("ts")
        .group_by("object", "index", "counter", maintain_order=True)
        .agg(
            first=pl.col("value").first(),
            last=pl.col("value").last(),
            grown=pl.when(counts.first()).then(grown.round(0).cast(pl.Int64)),
            mean=pl.when(counts.first() & (measured > 0)).then(grown * SECOND_NS / measured),
            peak=pl.col("rate").max(),
            readings=pl.len(),
        )
        .sort("object", "index", "counter")
    )


def port_metric(
    counters: pl.LazyFrame, metric: Metric, speeds: pl.DataFrame | None = None
) -> pl.DataFrame:
    """One row per port and reading: ``ts``, ``device``, ``port``, ``value``.

    ``counters`` must hold one reading more, before the first that is wanted: a rate needs two.
    ``speeds`` (device, port, speed_bps) serves ``use`` where no device reports its speed.
    """
    parts = [_quick(counters, of, name) for of, name in metric.sources]
    read = pl.concat(parts)
    folded = pl.col("rate").sum() if metric.fold == "sum" else pl.col("rate").max()
    rows = read.drop_nulls("rate").group_by("ts", *PORT).agg(value=folded).collect()
    if metric.key == "use":
        rows = _share_of_speed(rows, counters, speeds)
    return rows.sort(*PORT, "ts")


def _quick(counters: pl.LazyFrame, of: str, name: str) -> pl.LazyFrame:
    """ts, device, port and rate of one counter, for many ports at once.

    A count that falls is left out here, whatever the reason; :func:`rated` knows wraps and clears, at
    ten times the price. Times held become shares, and shares are counted in parts of a million.
    """
    places = [*PORT, "index"]
    known = CANONICAL.get((of, name))
    rows = (
        counters.filter(pl.col("object") == of, pl.col("counter") == name)
        .select("ts", *places, "value")
        .sort("ts", maintain_order=True)
    )
    if known is None or known.kind != "cumulative":
        scale = MILLION if name.endswith("_share") else 1
        return rows.select("ts", *PORT, rate=pl.col("value") / scale)
    step = pl.col("value") - pl.col("value").shift().over(places)
    lasted = pl.col("ts") - pl.col("ts").shift().over(places)
    per_ns = pl.when(step >= 0, lasted > 0).then(step / lasted)
    scale = 1 if name.endswith("_pause_ns") else SECOND_NS
    return rows.select("ts", *PORT, rate=per_ns * scale)


def _share_of_speed(
    rows: pl.DataFrame, counters: pl.LazyFrame, speeds: pl.DataFrame | None
) -> pl.DataFrame:
    """Bytes per second as a share of the speed; null where the speed is not known."""
    reported = (
        counters.filter(pl.col("object") == "port", pl.col("counter") == "link_bps")
        .group_by(PORT)
        .agg(reported=pl.col("value").sort_by("ts").last())
        .collect()
    )
    nominal = pl.DataFrame(
        schema={"device": pl.String, "port": pl.String, "speed_bps": pl.Int64}
    ) if speeds is None else speeds.select(*PORT, "speed_bps").unique(PORT)  # fmt: skip
    speed = pl.coalesce("reported", "speed_bps")
    return (
        rows.join(reported, on=PORT, how="left")
        .join(nominal, on=PORT, how="left")
        .with_columns(value=pl.when(speed > 0).then(pl.col("value") * 8 / speed))
        .select("ts", *PORT, "value")
    )
