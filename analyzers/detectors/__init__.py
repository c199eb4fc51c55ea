"""Who is in the program: every detector, one readable line each.

To add one: a file here, its line below, a capture that shows it, a row in the README.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Final

import polars as pl

from analyzers.detectors import (
    capture_faults,
    capture_loss,
    cnp,
    cnp_starvation,
    collective_hotspot,
    ecn_marking,
    global_pause,
    incast,
    late_rank,
    livelock,
    loss,
    microburst,
    mirror_copies,
    nak_errors,
    one_sided,
    pause_pressure,
    pauses_inferred,
    pauses_seen,
    pfc_ignored,
    pfc_storm,
    qp_reuse,
    rail_misplacement,
    receiver_not_ready,
    reordering,
    retransmission,
    rtt_inflation,
    timeouts,
    top_talkers,
    traffic_pattern,
    undecided,
)
from analyzers.frames import empty, schema
from analyzers.tables import Tables
from fabric.schema import FINDINGS
from fabric.topology import Fabric

DETECTORS: Final[tuple[ModuleType, ...]] = (
    # what was lost, and what it cost
    loss,
    timeouts,
    retransmission,
    reordering,
    livelock,
    receiver_not_ready,
    nak_errors,
    # pauses
    pfc_storm,
    pfc_ignored,
    pause_pressure,
    global_pause,
    pauses_inferred,
    pauses_seen,
    # congestion
    incast,
    ecn_marking,
    cnp_starvation,
    rtt_inflation,
    cnp,
    microburst,
    # collectives
    late_rank,
    collective_hotspot,
    rail_misplacement,
    # what there is
    traffic_pattern,
    top_talkers,
    # how far it can be trusted
    capture_loss,
    capture_faults,
    one_sided,
    undecided,
    mirror_copies,
    qp_reuse,
)
# Above it a table of a capture lies on the disk and is streamed; below, starting to costs more.
MANY_ROWS: Final = 100_000
SEVERITIES: Final = ("critical", "warning", "info")
# Kinds that say what could not be decided, and for want of what.
OPEN_KINDS: Final = frozenset(
    {
        "gap",
        "loss_undetermined",
        "timeout",
        "unexplained_retransmission",
        "cnp_unexplained",
        "one_sided",
        "unpaired",
        "untimed_packets",
    }
)


def run_detectors(
    tables: Tables,
    fabric: Fabric | None = None,
    knobs: Mapping[str, object] | None = None,
    detectors: tuple[ModuleType, ...] = DETECTORS,
) -> pl.DataFrame:
    """FINDINGS of all detectors, gravest first, then by time lost and confidence.

    ``knobs`` replaces the defaults of a detector by its module's short name. A detector without a
    row in the tables it NEEDS, or without one of the EVENTS it reads, finds nothing by contract and
    is not asked. Detectors are asked one by one: planning them together takes longer than they do.
    """
    given = knobs or {}
    rows = _Rows(tables)
    found: list[pl.DataFrame] = [
        module.detect(tables, fabric, given.get(short_name(module), module.Knobs())).collect(
            engine="streaming" if count > MANY_ROWS else "in-memory"
        )
        for module in detectors
        if (count := rows(module))
    ]
    rank = pl.col("severity").replace_strict(
        list(SEVERITIES), list(range(len(SEVERITIES))), return_dtype=pl.Int8
    )
    order = {short_name(module): number for number, module in enumerate(detectors)}
    return _folded(
        pl.concat(found or [empty(FINDINGS)]).match_to_schema(schema(FINDINGS)), detectors
    ).sort(
        rank,
        -pl.col("lost_ns"),
        pl.col("detector").replace_strict(order, return_dtype=pl.Int32),
        -pl.col("confidence"),
        "start",
        "id",
    )


def _folded(found: pl.DataFrame, detectors: tuple[ModuleType, ...]) -> pl.DataFrame:
    """Leave out what a graver finding about the same subject, point and time says better.

    A detector names the kinds that its own cover in ``COVERS``: kind, and the kinds left out for it. One
    that lasts more than twice as long as what covers it is told beside it.
    """
    covers = [
        (kind, covered)
        for module in detectors
        for kind, kinds in getattr(module, "COVERS", {}).items()
        for covered in kinds
    ]
    if not covers:
        return found
    pairs = pl.DataFrame(covers, schema=["by", "kind"], orient="row")
    about = ["point", "subject", "priority"]
    graver = found.select(*about, by="kind", since="start", until="end")
    common = pl.min_horizontal("end", "until") - pl.max_horizontal("start", "since")
    left_out = (
        found.join(pairs, on="kind")
        .join(graver, on=[*about, "by"])
        .filter(2 * common >= pl.col("end") - pl.col("start"))
    )
    return found.join(left_out, on="id", how="anti", maintain_order="left")


def short_name(module: ModuleType) -> str:
    """``loss`` of ``analyzers.detectors.loss``."""
    return module.__name__.rpartition(".")[2]


class _Rows:
    """How many rows a detector reads; each table is looked at once."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._counts: dict[str, int] = {}
        self._kinds = set(tables.events.select(pl.col("kind").unique()).collect()["kind"])

    def __call__(self, module: ModuleType) -> int:
        """Rows of the largest table it NEEDS; 0 where one has none, or no event of its kinds."""
        events = getattr(module, "EVENTS", None)
        if events is not None and self._kinds.isdisjoint(events):
            return 0
        counts = [self._count(name) for name in module.NEEDS]
        return max(counts) if all(counts) else 0

    def _count(self, name: str) -> int:
        if name not in self._counts:
            frame: pl.LazyFrame = getattr(self._tables, name)
            self._counts[name] = int(frame.select(pl.len()).collect().item())
        return self._counts[name]
