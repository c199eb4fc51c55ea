"""Sequence numbers of one flow over time: messages as lines, events as marks, pauses as bands."""

from typing import Any, Final

import polars as pl

from analyzers.views.sequence import Sequence
from dashboards.figures import lines
from dashboards.figures.palette import esc
from dashboards.figures.timeaxis import TimeAxis
from dashboards.report import words

SEGMENTS: Final = 2000  # messages drawn
MARKS: Final = 1500
BANDS: Final = 150
KINDS: Final = {  # symbol, colour, what the legend says
    "loss": ("x", "#d43a2f", "lost"),
    "timeout": ("diamond", "#d43a2f", "timeout"),
    "retransmission": ("circle-open", "#1a9e77", "sent again"),
    "reorder": ("triangle-up-open", "#1a9e77", "late"),
    "nak": ("cross-thin-open", "#b565a0", "NAK"),
    "rnr": ("star-open", "#b565a0", "receiver not ready"),
    "gap": ("x-open", "#b5911b", "missing"),
    "capture_loss": ("x-open", "#b5911b", "not captured"),
    "hole": ("x-open", "#8a7f76", "hole"),
}


def figure(found: Sequence, span: tuple[int, int]) -> dict[str, Any]:
    """The picture of a time range of a flow."""
    axis = TimeAxis(*span)
    low, high = span
    sent = found.messages.filter(pl.col("end") >= low, pl.col("start") <= high)
    if sent.height > SEGMENTS:
        sent = sent.gather_every(-(-sent.height // SEGMENTS))
    seen = found.events.filter(pl.col("end") >= low, pl.col("ts") <= high).head(MARKS)
    cnps = found.cnps.filter(pl.col("ts").is_between(low, high)).head(MARKS)
    layout = lines.layout(axis, hovermode="closest", showlegend=True, shapes=_bands(found, axis))
    layout["legend"] = {
        "orientation": "h",
        "y": 1.0,
        "yanchor": "bottom",
        "x": 0,
        "font": {"size": 11.5},
    }
    layout["margin"] = layout["margin"] | {"t": 34}
    layout["yaxis"] = {
        "title": {"text": "PSN, counted from the first"},
        "zeroline": False,
        "fixedrange": True,
        "exponentformat": "none",
    }
    data = [_messages(sent, axis), *_events(seen, axis), *_cnps(cnps, axis, _floor(sent, seen))]
    return {"data": data, "layout": layout}


def _floor(sent: pl.DataFrame, seen: pl.DataFrame) -> int:
    lows = [frame["u"].min() for frame in (sent, seen) if frame.height]
    return min((int(low) for low in lows if isinstance(low, int)), default=0)


def _messages(sent: pl.DataFrame, axis: TimeAxis) -> dict[str, Any]:
    """One line per message, from its first PSN to its last."""
    x: list[float | None] = []
    y: list[int | None] = []
    said: list[str | None] = []
    rows = sent.select("start", "end", "u", "packets", "bytes")
    starts, ends = axis.x(rows["start"].to_list()), axis.x(rows["end"].to_list())
    for begin, stop, (_, _, u, packets, size) in zip(starts, ends, rows.iter_rows(), strict=True):
        text = f"{words.count(packets, 'packet')}, {words.size(size)}"
        x += [begin, stop, None]
        y += [u, u + packets - 1, None]
        said += [text, text, None]
    return {
        "type": "scatter", "mode": "lines+markers", "name": "messages", "x": x, "y": y, "text": said,
        "line": {"width": 1.5, "color": "#2c8cc9"}, "marker": {"size": 3, "color": "#2c8cc9"},
        "hovertemplate": "PSN +%{y:,}<br>%{text}<extra>message</extra>",
    }  # fmt: skip


def _events(seen: pl.DataFrame, axis: TimeAxis) -> list[dict[str, Any]]:
    traces = []
    for (kind,), rows in sorted(seen.partition_by("kind", as_dict=True).items()):
        symbol, colour, name = KINDS.get(
            str(kind), ("circle-open", "#6b7f90", words.kind(str(kind)))
        )
        said = [
            f"{esc(words.kind(row['verdict']))}: PSN {row['psn']}, frame {row['frame']}<br>{esc(row['proof'])}"
            for row in rows.to_dicts()
        ]
        traces.append(
            {"type": "scatter", "mode": "markers", "name": name, "x": axis.x(rows["ts"].to_list()),
             "y": rows["u"].to_list(), "text": said, "hovertemplate": "%{text}<extra></extra>",
             "marker": {"symbol": symbol, "size": 9, "color": colour, "line": {"width": 1.6, "color": colour}}}
        )  # fmt: skip
    return traces


def _cnps(cnps: pl.DataFrame, axis: TimeAxis, floor: int) -> list[dict[str, Any]]:
    if cnps.is_empty():
        return []
    return [
        {"type": "scatter", "mode": "markers", "name": "CNP", "x": axis.x(cnps["ts"].to_list()),
         "y": [floor] * cnps.height, "text": [f"cause: {esc(cause)}" for cause in cnps["cause"]],
         "hovertemplate": "CNP, %{text}<extra></extra>",
         "marker": {"symbol": "line-ns-open", "size": 10, "color": "#6f7bd0", "line": {"width": 1.5, "color": "#6f7bd0"}}}
    ]  # fmt: skip


def _bands(found: Sequence, axis: TimeAxis) -> list[dict[str, Any]]:
    """Shaded where a pause was in force at the flow's point; the longest if there are many."""
    inside = found.pauses.filter(pl.col("end") >= axis.start, pl.col("start") <= axis.end)
    shown = inside.sort("paused_ns", descending=True).head(BANDS)
    bands = []
    for start, end in shown.select("start", "end").iter_rows():
        low, high = axis.x((max(start, axis.start), min(end, axis.end)))
        bands.append(
            {"type": "rect", "xref": "x", "yref": "paper", "x0": low, "x1": high, "y0": 0, "y1": 1,
             "fillcolor": "#e8762d", "opacity": 0.18, "line": {"width": 0}, "layer": "below"}
        )  # fmt: skip
    return bands


def rates(found: Sequence, span: tuple[int, int]) -> dict[str, Any]:
    """Rate, round trips and bytes in flight of the flow over time, from FLOW_WINDOWS."""
    windows = found.windows.filter(
        pl.col("start") + pl.col("width_ns") >= span[0], pl.col("start") <= span[1]
    ).with_columns(ts=pl.col("start") + pl.col("width_ns"))
    rate = windows.select("ts", value=pl.col("bytes") * 8e9 / pl.col("width_ns"))
    trips = windows.filter(pl.col("rtt_count") > 0)
    mean = trips.select("ts", value=pl.col("rtt_sum_ns") / pl.col("rtt_count") / 1000)
    most = trips.select("ts", value=pl.col("rtt_max_ns") / 1000)
    marks = windows.select(
        "ts", value=pl.when(pl.col("ect") > 0).then(pl.col("ce") / pl.col("ect"))
    )
    flight = windows.select("ts", value=pl.col("inflight_bytes"))
    parts = [
        lines.Strip("rate on the wire", "bit/s", [("rate", rate)]),
        lines.Strip("round trip, mean and longest", "µs", [("mean", mean), ("longest", most)]),
        lines.Strip("share of packets marked", "share", [("CE", marks)]),
        lines.Strip("most bytes in flight", "bytes", [("in flight", flight)]),
    ]
    return lines.strips(TimeAxis(*span), parts)
