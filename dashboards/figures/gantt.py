"""Operations on a time axis: a lane per communicator, a bar per operation, split by who made it wait."""

from typing import Any, Final

import polars as pl

from dashboards.figures import lines
from dashboards.figures.palette import esc
from dashboards.figures.timeaxis import TimeAxis
from dashboards.report import words

MOST: Final = 1500
PARTS: Final = (
    ("transfer_ns", "moving bytes", "#2c8cc9"),
    ("network_wait_ns", "waiting for the network", "#d9661f"),
    ("sender_wait_ns", "waiting for the sender", "#b565a0"),
    ("receiver_wait_ns", "waiting for the receiver", "#b5911b"),
)


def figure(operations: pl.DataFrame, span: tuple[int, int]) -> dict[str, Any]:
    """COLLECTIVES as bars; the parts of a bar are shares of its critical path, not moments."""
    axis = TimeAxis(*span)
    _, unit = axis.unit
    shown = operations.filter(pl.col("end") >= span[0], pl.col("start") <= span[1]).head(MOST)
    lanes = [esc(name) for name in shown["communicator"]]
    base = axis.x(shown["start"].to_list())
    data = []
    for column, name, colour in PARTS:
        share = [max(value or 0, 0) / unit for value in shown[column]]
        said = [_said(row) for row in shown.to_dicts()]
        data.append(
            {"type": "bar", "orientation": "h", "name": name, "y": lanes, "x": share, "base": list(base),
             "marker": {"color": colour, "line": {"width": 0}}, "text": said, "textposition": "none",
             "hovertemplate": "%{text}<extra>" + name + "</extra>", "width": 0.7}
        )  # fmt: skip
        base = [at + part for at, part in zip(base, share, strict=True)]
    layout = lines.layout(axis, hovermode="closest", showlegend=True, barmode="overlay")
    layout["legend"] = {
        "orientation": "h",
        "y": 1.0,
        "yanchor": "bottom",
        "x": 0,
        "font": {"size": 11.5},
    }
    layout["margin"] = layout["margin"] | {"t": 34, "l": 130}
    layout["yaxis"] = {"type": "category", "fixedrange": True, "automargin": True}
    return {"data": data, "layout": layout}


def _said(row: dict[str, Any]) -> str:
    text = f"{words.kind(row['kind'])} of {words.size(row['bytes'])}, {words.duration(row['end'] - row['start'])}"
    if row["busbw_bps"] and row["busbw_bps"] > 0:
        text += f", bus bandwidth {words.rate(row['busbw_bps'])}"
    if row["late"]:
        text += f"<br>held up by {row['late']}"
    return esc(text).replace("&lt;br&gt;", "<br>")
