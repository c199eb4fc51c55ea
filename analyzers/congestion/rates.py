"""RATE_CONTROL of a run: allowed rate and alpha of every flow that got CNPs.

Only a tap at the sender's side sees when a CNP arrives there; one farther away sees it earlier by the
way that is left, which is little beside the periods of DCQCN. The parameter set is the one that is named,
or the one under which the flows' allowed rates come nearest to what they sent in bins with CNPs.
"""

from typing import Any, Final

import numpy as np
import polars as pl

from analyzers.congestion.profiles import PROFILES, Profile
from analyzers.congestion.reaction import Reaction
from analyzers.frames import schema
from analyzers.tables import Tables
from fabric.schema import RATE_CONTROL

LEAST_CNPS: Final = 2  # of a flow that is worth rebuilding
MOST_FLOWS: Final = 2000  # the ones with most CNPs
FIT_FLOWS: Final = 32  # that decide which parameter set fits


def rate_control(tables: Tables, profile: str = "") -> pl.DataFrame:
    """RATE_CONTROL; ``profile`` names a parameter set, empty takes the one that fits.

    KeyError for a name that is none. Flows without a known link speed are left out.
    """
    paired = tables.flows.select("flow", later="peer_flow")  # the first CNPs come before pairing
    cnps = (
        tables.cnps.join(paired, on="flow")
        .select("ts", flow=pl.coalesce("peer_flow", "later"))
        .filter(pl.col("flow").is_not_null())
        .collect(engine="streaming")
    )
    counts = cnps.group_by("flow").len().filter(pl.col("len") >= LEAST_CNPS)
    chosen = counts.sort(["len", "flow"], descending=[True, False]).head(MOST_FLOWS)
    speeds = tables.points.filter(pl.col("speed_bps") > 0).select("point", "speed_bps")
    lines = tables.flows.select("flow", "point").join(speeds, on="point").collect()
    flows = chosen.join(lines, on="flow", maintain_order="left")
    if flows.is_empty():
        return pl.DataFrame(schema=schema(RATE_CONTROL))
    bins = (
        tables.flow_windows.select("flow", "start", "width_ns", "bytes")
        .join(flows.lazy().select("flow"), on="flow", how="semi")
        .sort("flow", "start")
        .collect(engine="streaming")
    )
    by_flow = {int(key[0]): rows for key, rows in bins.group_by("flow", maintain_order=True)}
    heard = {int(key[0]): rows["ts"].sort().to_numpy() for key, rows in cnps.group_by("flow")}
    some = [(flow, line) for flow, _, _, line in flows.iter_rows() if flow in by_flow]
    name = profile or _fitting(some[:FIT_FLOWS], by_flow, heard)
    rows: list[dict[str, Any]] = []
    for flow, line in some:
        rebuilt = replay(PROFILES[name], line, by_flow[flow], heard[flow])
        error = _error(rebuilt)
        rows += [{"flow": flow, "profile": name, "error": error} | row for row in rebuilt]
    return pl.DataFrame(rows, schema=schema(RATE_CONTROL))


def replay(profile: Profile, line_bps: int, bins: pl.DataFrame, cnps: Any) -> list[dict[str, Any]]:
    """Allowed rate, alpha, what was sent and the CNPs of every bin of one flow."""
    begin = min(bins["start"][0], int(cnps[0]))
    reaction = Reaction(profile, float(line_bps), begin)
    rows = []
    at = 0
    for start, width, size in bins.select("start", "width_ns", "bytes").iter_rows():
        # CNPs may come while nothing is sent
        while at < len(cnps) and cnps[at] < start:
            reaction.advance(int(cnps[at]), 0.0)
            reaction.cnp()
            at += 1
        reaction.advance(start, 0.0)
        before, first, done = reaction.carried_bits, at, start
        pace = size / width
        while at < len(cnps) and cnps[at] < start + width:
            ts = int(cnps[at])
            reaction.advance(ts, pace * (ts - done))
            reaction.cnp()
            done = ts
            at += 1
        reaction.advance(start + width, pace * (start + width - done))
        rows.append(
            {"start": start, "width_ns": width, "alpha": reaction.alpha, "cnp": at - first,
             "rate_bps": (reaction.carried_bits - before) * 1e9 / width,
             "sent_bps": size * 8e9 / width}
        )  # fmt: skip
    return rows


def _error(rows: list[dict[str, Any]]) -> float:
    """Median of |rate - sent| / sent over bins with CNPs and something sent."""
    off = [
        abs(row["rate_bps"] - row["sent_bps"]) / row["sent_bps"]
        for row in rows
        if row["cnp"] and row["sent_bps"] > 0
    ]
    return float(np.median(off)) if off else float("nan")


def _fitting(
    flows: list[tuple[int, int]], bins: dict[int, pl.DataFrame], cnps: dict[int, Any]
) -> str:
    """The parameter set with the least error over some flows."""
    fits = {}
    for name, profile in PROFILES.items():
        errors = [_error(replay(profile, line, bins[flow], cnps[flow])) for flow, line in flows]
        known = [error for error in errors if error == error]
        fits[name] = float(np.median(known)) if known else float("inf")
    return min(fits, key=lambda name: (fits[name], list(PROFILES).index(name)))
