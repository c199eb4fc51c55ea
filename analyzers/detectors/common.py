"""What every detector needs: knobs with reasons, names of flows, numbers in words, a finding's shape.

A detector is a module with a docstring, ``Knobs``, ``ADVICE`` and ``detect``. Everything here is a
Polars expression or a function from lazy frame to lazy frame; nothing is collected. No text names a
clock time, so that a finding does not change when all clocks are shifted.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import polars as pl

from analyzers.frames import schema
from analyzers.tables import Tables
from fabric.schema import FINDINGS

SECOND: Final = 1_000_000_000
MS: Final = 1_000_000
US: Final = 1_000
FRAMES: Final = 8  # proof frames that a finding carries
MAC: Final = "^([0-9a-f]{2}:){5}[0-9a-f]{2}$"
MOST: Final = 3  # findings of one kind at one point before they are told as one


def because(
    unit: str, reason: str, stricter: Literal["more", "less", "none"] = "more"
) -> dict[str, str]:
    """Metadata of a field of ``Knobs``: its unit, why it has its value, which way is stricter.

    ``more``: a larger value lets fewer findings through. ``none``: it changes words or severity.
    """
    return {"unit": unit, "reason": reason, "stricter": stricter}


def _plain(number: pl.Expr, digits: int) -> pl.Expr:
    return number.round_sig_figs(digits).cast(pl.String).str.strip_suffix(".0")


def count(number: pl.Expr, one: str, many: str | None = None) -> pl.Expr:
    """``3,000 packets``, ``1 packet``."""
    noun = pl.when(number == 1).then(pl.lit(one)).otherwise(pl.lit(many or one + "s"))
    # The commas between thousands are set from the right.
    digits = (
        number.cast(pl.Int64).cast(pl.String).str.reverse().str.replace_all(r"(\d{3})", "${1},")
    )
    return pl.format("{} {}", digits.str.reverse().str.strip_prefix(","), noun)


def duration(ns: pl.Expr) -> pl.Expr:
    """Nanoseconds in the unit a person would choose, three digits."""
    value = ns.cast(pl.Float64)
    return (
        pl.when(value >= SECOND)
        .then(pl.format("{} s", _plain(value / SECOND, 3)))
        .when(value >= MS)
        .then(pl.format("{} ms", _plain(value / MS, 3)))
        .when(value >= US)
        .then(pl.format("{} us", _plain(value / US, 3)))
        .otherwise(pl.format("{} ns", _plain(value, 3)))
    )


def percent(share: pl.Expr) -> pl.Expr:
    """A share of 0..1 in percent, two digits."""
    return pl.format("{} %", _plain(share.cast(pl.Float64) * 100, 2))


def rate(bits_per_second: pl.Expr) -> pl.Expr:
    """Bits per second in Gb/s or Mb/s, three digits."""
    value = bits_per_second.cast(pl.Float64)
    return (
        pl.when(value >= 1e9)
        .then(pl.format("{} Gb/s", _plain(value / 1e9, 3)))
        .otherwise(pl.format("{} Mb/s", _plain(value / 1e6, 3)))
    )


def size(number: pl.Expr) -> pl.Expr:
    """Bytes in the unit a person would choose, three digits (decimal prefixes)."""
    value = number.cast(pl.Float64)
    return (
        pl.when(value >= 1e9)
        .then(pl.format("{} GB", _plain(value / 1e9, 3)))
        .when(value >= 1e6)
        .then(pl.format("{} MB", _plain(value / 1e6, 3)))
        .when(value >= 1e3)
        .then(pl.format("{} kB", _plain(value / 1e3, 3)))
        .otherwise(pl.format("{} bytes", value.cast(pl.Int64)))
    )


def place(column: str) -> dict[str, pl.Expr]:
    """``device`` and ``port`` of a column that holds ``device:port``; empty for a MAC address."""
    text = pl.col(column)
    known = ~text.str.contains(MAC) & text.str.contains(":", literal=True)
    device = pl.when(known).then(text.str.extract(r"^([^:]+):", 1)).otherwise(pl.lit(""))
    port = pl.when(known).then(text.str.extract(r"^[^:]+:(.*)$", 1)).otherwise(pl.lit(""))
    return {"device": device.fill_null(""), "port": port.fill_null("")}


def flow_name() -> pl.Expr:
    """``10.0.0.1 → 10.0.0.2 qp 0x000011`` from src, dst and qpn."""
    digits = pl.col("qpn").cast(pl.UInt32)
    hexadecimal = pl.concat_str(
        [
            (digits // 16**place % 16).replace_strict(
                list(range(16)), list("0123456789abcdef"), return_dtype=pl.String
            )
            for place in range(5, -1, -1)
        ]
    )
    return pl.format("{} → {} qp 0x{}", "src", "dst", hexadecimal)


def events(tables: Tables, *kinds: str) -> pl.LazyFrame:
    """EVENTS of the given kinds with the identity of their flow and ``proof_frames`` of each.

    Adds src, dst, qpn, packets and peer_flow of the flow. What several points tell of one packet is
    told once, by a point that could decide: the n-th event of a PSN at one point is the n-th at the
    other, so that their clocks need not agree. Capture losses and gaps belong to their point.
    """
    identity = tables.flows.select("flow", "src", "dst", "qpn", "epoch", "packets", "peer_flow")
    proof = pl.concat_list("original_frame", "frame", "reply_frame", "resend_frame")
    nth = pl.int_range(pl.len()).over("flow", "kind", "psn", order_by=("ts", "frame"))
    own = pl.col("kind").is_in(["capture_loss", "gap", "reorder", "hole", "qpn_reuse"])
    where = pl.when(own).then("point").otherwise(pl.lit(""))
    return (
        tables.events.filter(pl.col("kind").is_in(kinds))
        .with_columns(
            proof_frames=proof.list.drop_nulls().list.unique().list.sort(), nth=nth, where=where
        )
        .join(identity, on="flow", how="left", maintain_order="none")
        .sort(pl.col("verdict") == "undetermined", "point", "ts")
        .unique(("src", "dst", "qpn", "epoch", "kind", "psn", "nth", "where"), keep="first")
    )


def told(rows: pl.LazyFrame, *keys: str, extra: Sequence[pl.Expr] = ()) -> pl.LazyFrame:
    """Fold rows of :func:`events` that agree in ``keys`` into what one finding tells.

    Per address pair where there are few pairs, else per receiver, else per sender, else all in one:
    a lossy link in front of one host shows as one receiver, a bad uplink of one host as one sender;
    hundreds of rows that share neither belong to the path that the point looks at.

    Gives ``keys``, start, end, flows and events (how many), flow (where it is one), subject, frames
    (of the first events), lost_ns, packets (of the flows), and ``extra``.
    """
    few_pairs = pl.struct("src", "dst").n_unique().over(keys) <= MOST
    few_receivers = pl.col("dst").n_unique().over(keys) <= MOST
    few_senders = pl.col("src").n_unique().over(keys) <= MOST
    scope = (
        pl.when(few_pairs)
        .then(pl.format("{} → {}", "src", "dst"))
        .when(few_receivers)
        .then(pl.format("→ {}", "dst"))
        .when(few_senders)
        .then(pl.format("{} →", "src"))
        .otherwise(pl.lit("many hosts"))
    )
    flows = pl.col("flow").n_unique()
    first = pl.col("proof_frames").sort_by("ts", "frame", "flow", "psn").head(3)
    return (
        rows.with_columns(scope=scope)
        .group_by(*keys, "scope")
        .agg(
            start=pl.col("ts").min(),
            end=pl.col("end").max(),
            events=pl.len(),
            flows=flows,
            flow=pl.when(flows == 1).then(pl.col("flow").min()),
            subject=pl.when(flows == 1)
            .then(flow_name().first())
            .otherwise(pl.format("{} ({} queue pairs)", pl.col("scope").first(), flows)),
            frames=first.explode().head(FRAMES),
            lost_ns=pl.col("delay_ns").sum(),
            packets=pl.col("packets").filter(pl.col("flow").is_first_distinct()).sum(),
            **{expression.meta.output_name(): expression for expression in extra},
        )
    )


DEFAULTS: Final[dict[str, pl.Expr]] = {
    "device": pl.lit(""),
    "port": pl.lit(""),
    "priority": pl.lit(-1),
    "flow": pl.lit(None, dtype=pl.Int64),
    "subject": pl.lit(""),
    "value": pl.lit(float("nan")),
    "limit": pl.lit(float("nan")),
    "unit": pl.lit(""),
    "lost_ns": pl.lit(0),
    "confidence": pl.lit(1.0),
    "evidence": pl.lit("observed"),
    "missing": pl.lit(""),
    "frames": pl.lit([], dtype=pl.List(pl.Int64)),
}


def findings(
    rows: pl.LazyFrame, detector: str, advice: Mapping[str, str], **given: pl.Expr
) -> pl.LazyFrame:
    """Bring rows to the FINDINGS schema.

    They bring at least kind, severity, start, end, point and summary, as columns or in ``given``;
    what is missing takes its default, ``advice`` goes by kind.

    Ordered and numbered by content, so that neither row order nor a shift of clocks matters.
    """
    name = detector.rpartition(".")[2]
    types = schema(FINDINGS)
    rows = rows.with_columns(**given)
    present = set(rows.collect_schema().names())
    rest: dict[str, pl.Expr] = {k: v for k, v in DEFAULTS.items() if k not in present}
    rest["detector"] = pl.lit(name)
    rest["advice"] = pl.col("kind").replace_strict(
        list(advice), list(advice.values()), default="", return_dtype=pl.String
    )
    order = ("start", "kind", "point", "subject", "priority", "flow", "end", "value")
    return (
        rows.with_columns(**rest)
        .sort(order, nulls_last=True)
        .with_columns(id=pl.format("{}:{}", pl.lit(name), pl.int_range(1, pl.len() + 1)))
        .select(pl.col(column).cast(types[column]) for column in types)
    )
