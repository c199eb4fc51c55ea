"""COUNTERS to RATES: increases over the interval that was measured, and what spoils them as QUALITY.

Per series (device, port, object, index, counter), in the order of the clock:

- Of readings with one time stamp the last to arrive counts; copies (two collectors, a repeated
  message) are counted once.
- A count that falls has wrapped where its register is known to be narrow and the way round is shorter
  than half of it; otherwise it was reset, and the interval has no row: what was counted before the
  reset is not known. The same where the device says it cleared its counters in the interval.
- A peak belongs to the interval that ends with it: ``delta`` is the peak, ``rate`` is null.
- A gauge has no rate and no row.
- Summed pause quanta become time by the speed of the port (512 bit times each, IEEE 802.3 31B.2):
  what was *asked for*, an upper bound. A share of the window becomes time held.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import polars as pl

from analyzers.frames import empty
from analyzers.telemetry.clocks import ClockKnobs, skewed, stepped
from analyzers.telemetry.dictionary import Dictionary, builtin
from fabric.codes import QUANTUM_BITS
from fabric.counters import COUNTERS as CANONICAL
from fabric.schema import QUALITY, RATES

KEY: Final = ("device", "port", "object", "index", "counter")
KINDS: Final = pl.DataFrame(
    [(c.object, c.name, c.kind) for c in CANONICAL.values()],
    schema=["object", "counter", "kind"],
    orient="row",
)
SECOND_NS: Final = 1_000_000_000
DERIVED: Final = {
    "rx_pause_requested_quanta": "rx_pause_requested_ns",
    "tx_pause_requested_quanta": "tx_pause_requested_ns",
}
SHARES: Final = {"rx_pause_share": "rx_pause_ns", "tx_pause_share": "tx_pause_ns"}


@dataclass(frozen=True)
class RateKnobs:
    """Limits, each with its reason."""

    clock: ClockKnobs = field(default_factory=ClockKnobs)
    gap: float = 3.0  # usual intervals: two readings in a row may be late, not three
    least_gap_ns: int = 1_000_000_000  # below a second it is jitter


class Rated(NamedTuple):
    """RATES and QUALITY."""

    rates: pl.DataFrame
    quality: pl.DataFrame


def rates(
    counters: pl.DataFrame,
    series: pl.DataFrame | None = None,
    speeds: pl.DataFrame | None = None,
    knobs: RateKnobs | None = None,
) -> Rated:
    """RATES of COUNTERS, and what is wrong with the readings.

    ``series`` is SERIES where it is known (where counters wrap); ``speeds`` has device, port and
    speed_bps for ports whose speed is not among the readings.
    """
    knobs = knobs or RateKnobs()
    numbered, names = _number(counters, series)
    if not numbered.height:
        return Rated(empty(RATES), empty(QUALITY))
    steps = stepped(numbered, knobs.clock)
    timed = numbered.with_columns(
        t=pl.when(pl.col("device").is_in(steps["device"].to_list())).then("seen").otherwise("ts")
    )
    once = timed.sort("s", "t", "seen", maintain_order=True).unique(
        ["s", "t"], keep="last", maintain_order=True
    )
    pairs = _pairs(once, _clears(counters))
    quality = pl.concat(
        [
            _quality_of_clocks(numbered, steps, knobs),
            _repeated(timed, once),
            _breaks(pairs, names),
            _gaps(once, knobs),
        ]
    ).sort(QUALITY.names)
    return Rated(_rates(pairs, names, counters, speeds), quality)


def _number(
    counters: pl.DataFrame, series: pl.DataFrame | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Readings with a number for their series, and what is known of each: kind and width."""
    names = (
        counters.select(KEY)
        .unique(maintain_order=True)
        .join(KINDS, on=["object", "counter"], how="left", maintain_order="left")
        .with_columns(pl.col("kind").fill_null("gauge"))
        .with_row_index("s")
    )
    if series is None or not series.height:
        names = names.with_columns(bits=pl.lit(64, pl.Int32))
    else:
        narrow = series.group_by(KEY).agg(pl.col("bits").min())
        names = names.join(narrow, on=KEY, how="left", maintain_order="left").with_columns(
            pl.col("bits").fill_null(64)
        )
    rows = counters.join(
        names.select("s", "kind", "bits", *KEY), on=KEY, how="left", maintain_order="left"
    ).select(
        "s", "device", "port", "kind", "bits", "ts", "seen", "value",
        cumulative=pl.col("kind") == "cumulative",
    )  # fmt: skip
    return rows, names


def _clears(counters: pl.DataFrame) -> pl.DataFrame:
    """When devices cleared the counters of a port, by their own account."""
    return (
        counters.filter(pl.col("counter") == "last_clear_ns")
        .select("device", "port", cleared="value")
        .unique()
        .sort("cleared")
    )


def _pairs(once: pl.DataFrame, clears: pl.DataFrame) -> pl.DataFrame:
    """Each reading with the one before it: interval, change, and whether it wrapped or was reset."""
    rows = once.filter(pl.col("kind") != "gauge").with_columns(
        before=pl.col("t").shift(1).over("s"),
        was=pl.col("value").shift(1).over("s"),
    )
    if clears.height:
        rows = rows.sort("t").join_asof(
            clears, left_on="t", right_on="cleared", by=["device", "port"], strategy="backward",
            check_sortedness=False,
        ).sort("s", "t")  # fmt: skip
    else:
        rows = rows.with_columns(cleared=pl.lit(None, pl.Int64))
    change = pl.col("value") - pl.col("was")
    # 2^bits as an integer; only narrow registers wrap here (a value has 63 bits).
    width = pl.lit(1, pl.Int64) * pl.col("bits").replace_strict(
        {8: 1 << 8, 16: 1 << 16, 32: 1 << 32, 48: 1 << 48}, default=0, return_dtype=pl.Int64
    )
    round_trip = change + width
    cleared = (pl.col("cleared") > pl.col("before")).fill_null(value=False)
    fell = pl.col("cumulative") & (change < 0)
    return rows.filter(pl.col("before").is_not_null()).with_columns(
        interval_ns=pl.col("t") - pl.col("before"),
        change=change,
        wrapped=fell & ~cleared & (width > 0) & (round_trip >= 0) & (round_trip < width // 2),
        round_trip=round_trip,
    ).with_columns(
        reset=pl.col("cumulative") & ((fell & ~pl.col("wrapped")) | cleared),
    )  # fmt: skip


def _rates(
    pairs: pl.DataFrame,
    names: pl.DataFrame,
    counters: pl.DataFrame,
    speeds: pl.DataFrame | None,
) -> pl.DataFrame:
    peak = pl.col("kind") == "peak"
    delta = pl.when(peak).then("value").when("wrapped").then("round_trip").otherwise("change")
    made = (
        pairs.filter(~pl.col("reset"))
        .with_columns(delta=delta)
        .select(
            "s", "interval_ns", "delta", ts="t",
            rate=pl.when(~peak).then(
                pl.col("delta").cast(pl.Float64) * SECOND_NS / pl.col("interval_ns")
            ),
        )
        .join(names.select("s", *KEY), on="s", how="left", maintain_order="left")
        .select(RATES.names)
    )  # fmt: skip
    asked = _asked(made, counters, speeds)
    held = _held(counters)
    return pl.concat([made, asked, held]).sort(*KEY, "ts")


def _asked(made: pl.DataFrame, counters: pl.DataFrame, speeds: pl.DataFrame | None) -> pl.DataFrame:
    """Pause time asked for, from quanta and the speed the port had."""
    quanta = made.filter(pl.col("counter").is_in(list(DERIVED)))
    told = counters.filter((pl.col("counter") == "link_bps") & (pl.col("value") > 0)).select(
        "device", "port", "ts", bps="value"
    )
    given = (
        speeds.select("device", "port", given_bps="speed_bps").unique(["device", "port"])
        if speeds is not None
        else pl.DataFrame(schema={"device": pl.String, "port": pl.String, "given_bps": pl.Int64})
    )
    placed = (
        quanta.sort("ts")
        .join_asof(
            told.sort("ts"), on="ts", by=["device", "port"], strategy="nearest",
            check_sortedness=False,
        )
        .join(given, on=["device", "port"], how="left")
        .with_columns(bps=pl.coalesce("bps", "given_bps"))
        .filter(pl.col("bps") > 0)
    )  # fmt: skip
    one = pl.lit(float(QUANTUM_BITS * SECOND_NS)) / pl.col("bps")
    return placed.with_columns(
        counter=pl.col("counter").replace_strict(DERIVED, default=None),
        delta=(pl.col("delta") * one).round().cast(pl.Int64),
        rate=pl.col("rate") * one,
    ).select(RATES.names)


def _held(counters: pl.DataFrame) -> pl.DataFrame:
    """Time held, from the share of a window that a device reports instead of a count."""
    rows = counters.filter(pl.col("counter").is_in(list(SHARES))).sort(*KEY, "ts", "seen")
    return (
        rows.unique([*KEY, "ts"], keep="last", maintain_order=True)
        .with_columns(interval_ns=pl.col("ts").diff().over(KEY))
        .filter(pl.col("interval_ns") > 0)
        .with_columns(
            counter=pl.col("counter").replace_strict(SHARES, default=None),
            delta=(pl.col("value") * pl.col("interval_ns") / 1e6).round().cast(pl.Int64),
            rate=pl.col("value") / 1e6 * SECOND_NS,
        )
        .select(RATES.names)
    )


def _said(frame: pl.DataFrame, kind: str | pl.Expr, value: pl.Expr, text: pl.Expr) -> pl.DataFrame:
    """QUALITY rows; what a frame does not name is empty."""
    blanks = {"port": "", "object": "", "counter": ""}
    missing = [
        pl.lit(blank).alias(name) for name, blank in blanks.items() if name not in frame.columns
    ]
    if "index" not in frame.columns:
        missing.append(pl.lit(-1, pl.Int32).alias("index"))
    word = pl.lit(kind) if isinstance(kind, str) else kind
    return frame.with_columns(*missing).select(
        *QUALITY.names[:7],
        kind=word.cast(pl.String),
        value=value.cast(pl.Int64),
        text=text.cast(pl.String),
    )


def _quality_of_clocks(rows: pl.DataFrame, steps: pl.DataFrame, knobs: RateKnobs) -> pl.DataFrame:
    last = rows.group_by("device").agg(pl.col("ts", "seen").max())
    step = pl.col("step_ns")
    skew = pl.col("skew_ns")
    return pl.concat(
        [
            _said(
                steps.join(last, on="device"), "step", step,
                pl.format("the clock was set by {} ms: ours is used", step // 1_000_000),
            ),
            _said(
                skewed(rows, knobs.clock), "skew", skew,
                pl.format("the clock differs from ours by {} ms", skew // 1_000_000),
            ),
        ]
    )  # fmt: skip


def _repeated(timed: pl.DataFrame, once: pl.DataFrame) -> pl.DataFrame:
    """Readings of one moment more than once, by device."""
    all_of = timed.group_by("device").agg(pl.len().alias("all"), pl.col("ts", "seen").max())
    kept = once.group_by("device").agg(pl.len().alias("kept"))
    found = all_of.join(kept, on="device").filter(pl.col("all") > pl.col("kept"))
    count = pl.col("all").cast(pl.Int64) - pl.col("kept").cast(pl.Int64)
    text = pl.format("{} readings came again with the same time stamp", count)
    return _said(found, "repeated", count, text)


def _breaks(pairs: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Resets and wraps, a row each."""
    found = pairs.filter(pl.col("reset") | pl.col("wrapped")).with_columns(ts=pl.col("t"))
    found = found.select("s", "ts", "seen", "reset", "was", "value", "bits").join(
        names.select("s", *KEY), on="s", how="left", maintain_order="left"
    )
    return _said(
        found,
        pl.when("reset").then(pl.lit("reset")).otherwise(pl.lit("wrap")),
        pl.col("was"),
        pl.when("reset")
        .then(pl.format("from {} to {}: the interval is left out", "was", "value"))
        .otherwise(pl.format("from {} to {} round {} bits", "was", "value", "bits")),
    )


def _gaps(once: pl.DataFrame, knobs: RateKnobs) -> pl.DataFrame:
    """Times in which a device said nothing, though it usually says something: in between, and at the end."""
    times = once.select("device", "t", "seen").group_by("device", "t").agg(pl.col("seen").max()).sort(
        "device", "t"
    ).with_columns(step=pl.col("t").diff().over("device"))  # fmt: skip
    usual = times.group_by("device").agg(
        usual=pl.col("step").median(), last=pl.col("t").max(), heard=pl.col("seen").max()
    )
    limit = pl.max_horizontal(pl.col("usual") * knobs.gap, pl.lit(float(knobs.least_gap_ns)))
    gaps = (
        times.join(usual, on="device").filter(pl.col("step") > limit).with_columns(ts=pl.col("t"))
    )
    silent = usual.with_columns(quiet=pl.col("heard").max() - pl.col("heard")).filter(
        pl.col("quiet") > limit
    ).with_columns(ts=pl.col("last"), seen=pl.col("heard"))  # fmt: skip
    return pl.concat(
        [
            _said(
                gaps, "gap", pl.col("step"),
                pl.format("nothing for {} ms", pl.col("step") // 1_000_000),
            ),
            _said(
                silent, "stale", pl.col("quiet"),
                pl.format("silent for {} ms while others report", pl.col("quiet") // 1_000_000),
            ),
        ]
    )  # fmt: skip


def switched_off(series: pl.DataFrame, dictionary: Dictionary | None = None) -> pl.DataFrame:
    """QUALITY rows for counters that a platform has and a device of it does not report.

    They are those the dictionary calls optional: polled only when somebody switches their group on.
    A device is asked about a counter where it reports others of the same object by the same dictionary.
    """
    entries = (dictionary or builtin()).entries
    able = pl.DataFrame(
        [(e.dictionary, e.object, e.counter, e.path) for e in entries if e.optional],
        schema=["dictionary", "object", "counter", "path"],
        orient="row",
    )
    has = series.select("device", "dictionary", "object").unique()
    tells = series.select("device", "object", "counter").unique()
    # Several paths may lead to one counter (us or quanta): one that is there is enough.
    missing = (
        has.join(able, on=["dictionary", "object"])
        .join(tells, on=["device", "object", "counter"], how="anti")
        .unique(["device", "object", "counter"])
        .sort("device", "object", "counter")
        .with_columns(ts=pl.lit(0, pl.Int64), seen=pl.lit(0, pl.Int64))
    )
    text = pl.format("not reported; switch it on to see {}", pl.col("path"))
    return _said(missing, "off", pl.lit(0), text)
