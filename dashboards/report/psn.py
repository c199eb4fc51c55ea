"""Packet sequence numbers over time of the flow that fared worst: loss, resend and NAK at their place."""

from typing import Final

import polars as pl

from analyzers.tables import Tables
from analyzers.views.sequence import unwrap
from dashboards.report import words
from dashboards.report.svg import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Figure,
    Scale,
    esc,
    number,
    picture,
    text,
    ticks,
    time_axis,
    value_axis,
)

GRAVE: Final = ("loss", "timeout", "rnr", "retransmission", "reorder", "capture_loss", "gap", "nak")
MARKS: Final = {
    "loss": ("cross c2", "lost"),
    "timeout": ("flag c2", "timeout"),
    "gap": ("cross c4", "missing"),
    "capture_loss": ("cross c4", "not captured"),
    "reorder": ("dot c3", "late"),
    "retransmission": ("dot c3", "sent again"),
    "rnr": ("dot c5", "receiver not ready"),
    "nak": ("cross c5", "refused"),
}
SHAPES: Final = {  # drawn around the point
    "cross": "m-4 -4l8 8m0 -8l-8 8",
    "dot": "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0",
    "flag": "v-11l8 3.5l-8 3.5",
}
HEAD: Final = ("time", "what", "verdict", "PSN", "packets", "frame", "time lost", "proof")
READING: Final = (
    "Lines: messages, from their first PSN to their last. Marks: what happened, at the PSN "
    "concerned; a dashed line leads to the time when it was made good."
)
SEGMENTS: Final = 1500
EVENTS: Final = 400


def worst_flow(tables: Tables) -> int | None:
    """The flow that lost most time, then most events; None where nothing happened to any."""
    ranked = (
        tables.events.filter(pl.col("kind").is_in(GRAVE))
        .group_by("flow")
        .agg(lost=pl.col("delay_ns").sum(), events=pl.len())
        .sort("lost", "events", "flow", descending=[True, True, False])
        .head(1)
        .collect()
    )
    return None if ranked.is_empty() else int(ranked["flow"][0])


def psn_over_time(tables: Tables, begin: int) -> list[Figure]:
    """The worst flow as a whole, and close up around the event that cost it most."""
    flow = worst_flow(tables)
    if flow is None:
        return []
    mine = pl.col("flow") == flow
    identity, messages, events = pl.collect_all(
        [
            tables.flows.filter(mine),
            tables.messages.filter(mine).sort("start").head(200_000),
            tables.events.filter(mine, pl.col("kind").is_in(GRAVE)).sort("ts").head(20_000),
        ]
    )
    if identity.is_empty():
        return []
    row = identity.to_dicts()[0]
    base = int(row["first_psn"])
    sent = unwrap(messages, "first_psn", "start", base)
    seen = unwrap(events, "psn", "ts", base)
    name = f"{row['src']} → {row['dst']} qp {row['qpn']:#08x}"
    worst = seen.sort(pl.col("delay_ns").fill_null(0), "ts").tail(1).to_dicts()[0]
    margin = max(4 * int(worst["delay_ns"] or 0), 20_000)
    spans = [("the whole flow", int(row["first"]), int(row["last"]))]
    if margin * 8 < row["last"] - row["first"]:
        spans.append(("around its costliest event", worst["ts"] - margin, worst["end"] + margin))
    return [
        _figure(f"Sequence numbers of {name}: {what}", sent, seen, (low, high), begin)
        for what, low, high in spans
    ]


def _figure(
    title: str, sent: pl.DataFrame, seen: pl.DataFrame, span: tuple[int, int], begin: int
) -> Figure:
    low, high = span
    sent = sent.filter(pl.col("end") >= low, pl.col("start") <= high)
    seen = seen.filter(pl.col("end") >= low, pl.col("ts") <= high)
    if sent.height > SEGMENTS:
        sent = sent.gather_every(-(-sent.height // SEGMENTS))
    shown = seen.head(EVENTS)
    tops = [int(u) + int(n) for u, n in sent.select("u", "packets").rows()]
    values = [*tops, *sent["u"].to_list(), *shown["u"].to_list()]
    floor = min(values, default=0)
    height = 340.0
    x = Scale(low - begin, high - begin, LEFT, WIDTH - RIGHT)
    y = Scale(floor, max([*values, floor + 1]), height - BOTTOM, TOP + 8)
    marks = [(v, number(v)) for v in ticks(y.low, y.high, 5)]
    svg = [
        *time_axis(x, height - BOTTOM, TOP),
        *value_axis(y, LEFT, WIDTH - RIGHT, "PSN, counted from the first", marks),
    ]
    path = "".join(
        f"M{x(max(start, low) - begin)} {y(u)}L{x(min(end, high) - begin)} {y(u + n)}"
        for start, end, u, n in sent.select("start", "end", "u", "packets").rows()
    )
    svg.append(f'<path class="line c1" d="{path}"/>')
    svg += [_mark(x, y, row, begin, high) for row in shown.to_dicts()]
    svg += _legend(sorted(set(shown["kind"].to_list())))
    table = [
        (
            words.duration(row["ts"] - begin), words.kind(row["kind"]), words.kind(row["verdict"]),
            str(row["psn"]), str(row["psns"]), f"{row['frame']}",
            words.duration(row["delay_ns"]) if row["delay_ns"] else "", row["proof"],
        )
        for row in shown.to_dicts()
    ]  # fmt: skip
    reading = READING
    if shown.height < seen.height:
        reading += f" The first {shown.height} of {seen.height} events."
    return Figure(title, reading, picture(height, svg, title), HEAD, table)


def _mark(x: Scale, y: Scale, row: dict[str, object], begin: int, high: int) -> str:
    style, _ = MARKS[str(row["kind"])]
    ts, end, u = (int(str(row[name])) for name in ("ts", "end", "u"))
    at, until, level = x(ts - begin), x(min(end, high) - begin), y(u)
    said = f"{words.kind(str(row['kind']))}, {words.kind(str(row['verdict']))}: PSN {row['psn']}, frame {row['frame']}"
    shape = f"M{at} {level}{SHAPES[style.split()[0]]}"
    lead = f'<path class="lead {style[-2:]}" d="M{at} {level}H{until}"/>' if until - at > 8 else ""
    return f'{lead}<path class="{style}" d="{shape}"><title>{esc(said)}</title></path>'


def _legend(kinds: list[str]) -> list[str]:
    left, parts = LEFT + 14, []
    for kind in kinds:
        style, said = MARKS[kind]
        parts.append(f'<path class="{style}" d="M{left} {TOP + 12}{SHAPES[style.split()[0]]}"/>')
        parts.append(text(left + 10, TOP + 16, said, "note"))
        left += 34 + 7 * len(said)
    return parts
