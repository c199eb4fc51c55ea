"""Counters and captures together: one list of incidents, and what does not add up.

What both show is one incident that is surer than either; what one of them rules out is said. Counters
decide the class where a capture left it open: lost packets on a link whose far end counts bad frames are
corruption, those behind a counted overflow are not.
"""

import zlib
from typing import Any, Final

import polars as pl

from analyzers.diagnosis.causes import RANK
from analyzers.diagnosis.incidents import ADVICE, DECIDED, diagnose
from analyzers.diagnosis.seen import seen
from analyzers.frames import empty, schema
from analyzers.tables import Tables
from fabric.schema import INCIDENTS
from fabric.topology import Fabric

# Classes that a capture may call by the first name where counters know the second.
SAME: Final[dict[str, frozenset[str]]] = {
    "contention": frozenset({"incast", "ecmp_collision", "collective_hotspot", "degraded_link",
                             "slow_receiver", "pfc_storm", "cnp_starvation", "ecn_misconfig"}),
    "incast": frozenset({"collective_hotspot", "cnp_starvation", "ecn_misconfig", "pfc_ignored",
                         "slow_receiver", "pfc_storm", "degraded_link"}),
    "lossy_link": frozenset({"congestion_drop", "headroom_misconfig", "pfc_ignored", "watchdog_drop"}),
    "tail_loss": frozenset({"lossy_link", "congestion_drop", "watchdog_drop"}),
    "livelock": frozenset({"lossy_link", "congestion_drop", "headroom_misconfig"}),
    "pfc_backpressure": frozenset(RANK),
    "slow_receiver": frozenset({"pcie_bottleneck", "pfc_storm"}),
    "pfc_storm": frozenset({"slow_receiver"}),
}  # fmt: skip
RANKED: Final = {cls: number for number, cls in enumerate(RANK)}


def incidents(tables: Tables, findings: pl.DataFrame, fabric: Fabric | None) -> pl.DataFrame:
    """INCIDENTS of all that is known, gravest first."""
    counted: list[dict[str, Any]] = []
    if fabric is not None and not tables.counters.head(1).collect().is_empty():
        counted = diagnose(tables.counters.collect(), fabric).to_dicts()
    packets = seen(tables, findings, fabric)
    for row in packets:
        _meet(row, counted)
    rows = counted + [_finished(row) for row in packets if "met" not in row]
    if not rows:
        return empty(INCIDENTS)
    rows.sort(
        key=lambda row: (row["confidence"] < DECIDED, RANKED.get(row["cls"], 99), -row["lost_ns"])
    )
    columns = [column.name for column in INCIDENTS.columns]
    return pl.DataFrame(
        [{name: row[name] for name in columns} for row in rows], schema=schema(INCIDENTS)
    )


def _meet(row: dict[str, Any], counted: list[dict[str, Any]]) -> None:
    """Join what a capture shows with the counted incident it belongs to, if there is one."""
    for one in counted:
        overlap = row["start"] <= one["end"] and one["start"] <= row["end"]
        same = one["cls"] == row["cls"]
        if not overlap or not (same or one["cls"] in SAME.get(row["cls"], ())):
            continue
        place = {_device(root) for root in one["roots"]} & {_device(root) for root in row["roots"]}
        if same and place:
            one["confidence"] = 1 - (1 - one["confidence"]) * (1 - 0.5 * row["confidence"])
        one["tier"] = "both"
        one["evidence"] += [f"captured: {text}" for text in row["evidence"]]
        one["findings"] += row["findings"]
        row["met"] = True
        return


def _device(root: str) -> str:
    return root.partition(":")[0]


def _finished(row: dict[str, Any]) -> dict[str, Any]:
    """A row that captures alone support, complete."""
    text = "|".join([row["cls"], *row["roots"]])
    advice = row.get("advice") or ADVICE.get(row["cls"], "")
    identity = f"{row['cls']}-{zlib.crc32(text.encode()):08x}"
    return {**row, "id": identity, "tier": "captures", "advice": advice}
