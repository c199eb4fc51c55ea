"""FLOWS as a grid asks for them: with duration and mean rate, filtered, sorted, a page at a time."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from analyzers.views.select import Condition, Page, page

SECOND_NS: Final = 1_000_000_000
COLUMNS: Final = (
    "flow", "point", "src", "dst", "qpn", "peer_flow", "first", "duration_ns", "packets", "payload_bytes",
    "rate_bps", "resent", "ce", "cnp", "naks", "rnr_naks", "messages", "inflight_max_bytes", "rtt_p50_ns",
    "rtt_p99_ns", "rtt_max_ns", "sport", "dscp", "recovery",
)  # fmt: skip


def listed(flows: pl.LazyFrame, span: tuple[int, int] | None = None) -> pl.LazyFrame:
    """COLUMNS of FLOWS that were active in a time range; ``rate_bps`` counts bytes on the wire."""
    if span:
        flows = flows.filter(pl.col("last") >= span[0], pl.col("first") <= span[1])
    lasted = pl.col("last") - pl.col("first")
    rate = pl.when(lasted > 0).then(pl.col("wire_bytes") * 8.0 * SECOND_NS / lasted)
    return flows.with_columns(duration_ns=lasted, rate_bps=rate).select(COLUMNS)


def flow_page(
    flows: pl.LazyFrame,
    span: tuple[int, int] | None,
    conditions: Sequence[Condition],
    sort: Sequence[tuple[str, bool]],
    first: int,
    count: int,
) -> Page:
    """One page of :func:`listed`; ValueError for an unknown column or comparison."""
    return page(listed(flows, span), conditions, sort, first, count, key="flow")
