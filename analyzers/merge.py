"""What several points say together and none of them alone.

A packet that passes two taps is seen twice and was sent once. Points are compared by flow: source,
destination, queue pair number and epoch are the same everywhere. Equal counts and equal fingerprints
(sums of a hash over what no hop changes) say that two points saw the same packets.

A loss is placed by one point as far as it can: ``downstream`` where the lost packet was seen,
``upstream`` where it was not. Where one point saw it and another did not, it was lost between them.
Clocks of points differ, so losses of the same packet number are matched by their order.
"""

import polars as pl

KEY = ("src", "dst", "qpn", "epoch")
LOSS = (*KEY, "kind", "psn", "nth")


def distinct(flows: pl.LazyFrame) -> pl.LazyFrame:
    """One row: ``packets`` as all points counted them, ``distinct`` packets behind them, ``exact``.

    Where points saw different packets of a flow, at least as many were sent as the point that saw
    most has counted; ``exact`` is then false. Copies count at no point.
    """
    return (
        flows.group_by(*KEY, "point")
        .agg(pl.col("packets", "fingerprint").sum())
        .group_by(KEY)
        .agg(
            packets=pl.col("packets").sum(),
            most=pl.col("packets").max(),
            same=pl.struct("packets", "fingerprint").n_unique() == 1,
        )
        .select(
            packets=pl.col("packets").sum(),
            distinct=pl.col("most").sum(),
            exact=pl.col("same").all(),
        )
    )


def place_losses(events: pl.LazyFrame, flows: pl.LazyFrame) -> pl.LazyFrame:
    """EVENTS with losses placed between two points where that is possible; the rest is untouched.

    Where several points saw the packet, or several did not, all are named: which of them is nearest
    to the loss cannot be known without the topology.
    """
    one_sided = pl.col("place").is_in(["upstream", "downstream"])
    losses = (
        events.filter(one_sided & pl.col("kind").is_in(["loss", "timeout"]))
        .select("flow", "point", "kind", "psn", "ts", "frame", "place")
        .join(flows.select("flow", *KEY), on="flow")
        .with_columns(nth=pl.col("ts").rank("ordinal").over("flow", "kind", "psn"))
    )
    between = (
        losses.group_by(LOSS)
        .agg(
            seen=pl.col("point").filter(place="downstream").unique().sort(),
            missed=pl.col("point").filter(place="upstream").unique().sort(),
        )
        .filter(pl.col("seen").list.len() > 0, pl.col("missed").list.len() > 0)
        .with_columns(pl.col("seen", "missed").list.join(" or "))
    )
    found = losses.join(between, on=LOSS).select(
        "flow", "kind", "psn", "ts", "frame", "seen", "missed"
    )
    placed = found.collect()
    if placed.is_empty():
        return events
    told = pl.col("seen").is_not_null()
    place = pl.format("between {} and {}", "seen", "missed")
    proof = pl.format("{} It was seen at {} and not at {}.", "proof", "seen", "missed")
    return (
        events.join(
            placed.lazy(),
            on=["flow", "kind", "psn", "ts", "frame"],
            how="left",
            maintain_order="left",
        )
        .with_columns(
            place=pl.when(told).then(place).otherwise("place"),
            proof=pl.when(told).then(proof).otherwise("proof"),
        )
        .drop("seen", "missed")
    )
