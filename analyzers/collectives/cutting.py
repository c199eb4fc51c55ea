"""Where one operation of a group ends and the next begins.

A pause is a span in which no message of the group is under way. Whether spans of a group are pauses
between operations or the breath between steps shows in their lengths: sorted, they jump.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]

JUMP: Final = 3.0  # a pause is this much longer than the breath between steps
SHORTEST_NS: Final = 5_000  # and no shorter than this: the way of a message through a fabric
EVEN: Final = 0.4  # of the interval, in the median: independent requests scatter more
OFTEN: Final = 5.0  # a pause between operations is rarer and this much longer than a wait
PATIENCE: Final = 20.0  # where transfers wait for their receiver, waits belong to the operation


class Cut(NamedTuple):
    """Number of the operation of every message (in the order given), and how sure that is."""

    part: Ints
    confidence: float
    missing: str = ""


def idle(start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Lengths of the spans with nothing under way, and the number of the message that ends each.

    Messages are sorted by start.
    """
    if len(start) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    until = np.maximum.accumulate(end)
    gaps = start[1:] - until[:-1]
    at = np.flatnonzero(gaps > 0)
    return gaps[at], at + 1


def limit_ns(gaps: Ints) -> float:
    """Least length of a pause between operations; infinite where lengths do not jump."""
    long = np.sort(gaps[gaps > 0]).astype(np.float64)
    if len(long) == 0:
        return np.inf
    before = np.concatenate([[SHORTEST_NS / JUMP], np.maximum(long[:-1], SHORTEST_NS / JUMP)])
    ratio = long / before
    at = int(np.argmax(ratio))
    return float(np.sqrt(long[at] * before[at])) if ratio[at] >= JUMP else np.inf


def by_pauses(data: pl.DataFrame, *, patient: bool = False) -> Cut:
    """Cut where the group pauses; ``patient`` where its messages wait for each other anyway."""
    gaps, at = idle(data["start"].to_numpy(), data["arrived"].to_numpy())
    limit = limit_ns(gaps)
    if patient and np.isfinite(limit):
        took = (data["arrived"] - data["start"]).to_numpy()
        often = float(np.median(gaps[gaps > limit]))  # spans as long as most are waits, not ends
        limit = max(limit, PATIENCE * float(np.median(took)), OFTEN * often)
    part = np.zeros(len(data), np.int64)
    part[at[gaps > limit]] = 1
    part = np.cumsum(part)
    counts = data.with_columns(part=pl.Series(part)).group_by("part", "src", "dst").len()
    even = counts.group_by("part").agg(even=pl.col("len").n_unique() == 1)["even"].all()
    return Cut(part, 0.8 if even else 0.5)


def _steps(data: pl.DataFrame) -> pl.DataFrame:
    """The messages that carry bytes; all of them where some queue pair carried none."""
    full = data.filter(pl.col("bytes") > 0)
    return full if full["edge"].n_unique() == data["edge"].n_unique() else data


def _tiny_rounds(data: pl.DataFrame) -> bool:
    """Operations smaller than the ranks are many leave most messages empty."""
    return bool((data["bytes"] == 0).any())


def rounds_of(data: pl.DataFrame, steps: int) -> int:
    """How many times ``steps`` messages every queue pair carried; 0 where they disagree."""
    if _tiny_rounds(data):
        return 0
    counts = data.group_by("edge").len()["len"].unique()
    return int(counts[0]) // steps if len(counts) == 1 and counts[0] % steps == 0 else 0


def by_rounds(data: pl.DataFrame, steps: int) -> Cut:
    """Cut after every ``steps`` messages of each queue pair."""
    nth = data.select(pl.int_range(pl.len()).over("edge", order_by="start")).to_series()
    return Cut(nth.to_numpy() // steps, 0.9 if nth.max() == steps - 1 else 0.7)


def pauses_at(data: pl.DataFrame, steps: int) -> bool:
    """Whether the group pauses after every ``steps`` messages of a queue pair."""
    nth = pl.int_range(pl.len()).over("edge", order_by="start") // steps
    rounds = (
        data.with_columns(part=nth)
        .group_by("part")
        .agg(pl.col("start").min(), pl.col("arrived").max())
        .sort("part")
    )
    gaps, _ = idle(data["start"].to_numpy(), data["arrived"].to_numpy())
    limit = limit_ns(gaps)
    between = rounds["start"][1:].to_numpy() - rounds["arrived"][:-1].to_numpy()
    return bool(len(between) and np.isfinite(limit) and np.median(between) > limit)


def is_even(data: pl.DataFrame, least: int) -> bool:
    """Whether every pair of hosts exchanged as many messages, give or take one, and not too few."""
    counts = data.group_by("src", "dst").len()["len"].to_numpy()
    return bool(counts.min() >= least and counts.max() - counts.min() <= 1)


def is_whole(data: pl.DataFrame, part: Ints, steps: int) -> bool:
    """Whether every part has a multiple of ``steps`` messages on each queue pair, empty ones counted."""
    counts = data.with_columns(part=pl.Series(part)).group_by("part", "edge").len()
    even = counts.group_by("part").agg(pl.col("len").n_unique() == 1)["len"].all()
    return bool(even and (counts["len"] % steps == 0).all())


def is_steady(data: pl.DataFrame, part: Ints) -> bool:
    """Whether the messages of a part follow at even intervals, as layers are computed."""
    steps = data.with_columns(part=pl.Series(part)).select(
        step=pl.col("start").diff().over("part", "src", "dst", order_by="start")
    )
    step = steps["step"].drop_nulls().to_numpy().astype(np.float64)
    middle = float(np.median(step)) if len(step) else 0.0
    return middle > 0 and float(np.median(np.abs(step - middle))) < EVEN * middle


def trains(data: pl.DataFrame) -> Ints:
    """Number of the train of every message: those of one pair of hosts that follow closely."""
    keys = ["src", "dst"]
    ordered = data.with_row_index("row").sort(*keys, "start")
    step = pl.col("start").diff().over(keys)
    usual = step.median().over(keys)
    new = step.is_null() | (step > 3 * usual)
    numbered = ordered.with_columns(train=new.cum_sum().cast(pl.Int64) - 1)
    first = numbered.group_by("train").agg(pl.col("start").min()).sort("start", "train")
    order = first.with_row_index("part").select("train", pl.col("part").cast(pl.Int64))
    return numbered.join(order, on="train").sort("row")["part"].to_numpy()
