"""Lines over time: strips for a whole fabric or point, and the counters of a port."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from dashboards.figures.palette import LINES, esc
from dashboards.figures.timeaxis import TimeAxis

FONT = {"family": "inherit", "size": 12}


class Strip(NamedTuple):
    """One strip: its title, unit, and the lines in it (name, frame of ts and value)."""

    title: str
    unit: str
    lines: Sequence[tuple[str, pl.DataFrame]]
    hover: str = ""
    top: float | None = None


def layout(axis: TimeAxis, **more: Any) -> dict[str, Any]:
    """What all pictures over time share. Colours of text and grid are the style sheet's."""
    return {
        "margin": {"l": 64, "r": 14, "t": 8, "b": 42}, "font": FONT, "hovermode": "x unified",
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "dragmode": "zoom",
        "showlegend": False, "meta": axis.meta, "uirevision": f"{axis.start}-{axis.end}",
        "xaxis": axis.layout(showgrid=True, zeroline=False, automargin=True), **more,
    }  # fmt: skip


def value_axis(unit: str, top: float | None = None) -> dict[str, Any]:
    """A y axis in a unit; a share is shown in percent."""
    axis: dict[str, Any] = {"zeroline": False, "rangemode": "tozero", "fixedrange": True, "nticks": 4,
                            "exponentformat": "SI", "automargin": False}  # fmt: skip
    if unit == "share":
        axis |= {"tickformat": ".0%", "range": [0, (top or 1.0) * 1.04]}
    elif top:
        axis |= {"range": [0, top * 1.04]}
    return axis


def trace(
    name: str, rows: pl.DataFrame, axis: TimeAxis, colour: str, unit: str, **more: Any
) -> dict[str, Any]:
    """A line that ends at every null and holds each value until the next reading."""
    shown = (
        "%{y:.1%}"
        if unit == "share"
        else f"%{{y:,.4~s}} {unit}".replace("%{{", "%{").replace("}}", "}")
    )
    return {
        "type": "scatter", "mode": "lines", "name": esc(name), "x": axis.x(rows["ts"].to_list()),
        "y": rows["value"].to_list(), "connectgaps": False,
        "line": {"width": 1.4, "color": colour, "shape": "vh"}, "hovertemplate": shown, **more,
    }  # fmt: skip


def strips(
    axis: TimeAxis, parts: Sequence[Strip], marks: Sequence[tuple[int, int, str]] = ()
) -> dict[str, Any]:
    """Strips below each other on one time axis; ``marks`` are (start, end, colour) bands behind them."""
    count = max(len(parts), 1)
    gap = 0.22 / count
    tall = (1 - gap * (count - 1)) / count
    data: list[dict[str, Any]] = []
    whole = layout(axis, annotations=[], shapes=[])
    for number, part in enumerate(parts):
        top = 1 - number * (tall + gap)
        suffix = "" if number == 0 else str(number + 1)
        whole[f"yaxis{suffix}"] = value_axis(part.unit, part.top) | {
            "domain": [max(top - tall, 0), top]
        }
        named = f"<b>{esc(part.title)}</b>  {'' if part.unit == 'share' else esc(part.unit)}"
        whole["annotations"].append(
            {"text": named, "x": 0, "xref": "paper", "y": top, "yref": "paper", "xanchor": "left",
             "yanchor": "bottom", "showarrow": False, "font": {"size": 11.5}}
        )  # fmt: skip
        for place, (name, rows) in enumerate(part.lines):
            colour = LINES[(number if len(part.lines) == 1 else place) % len(LINES)]
            data.append(trace(name, rows, axis, colour, part.unit) | {"yaxis": f"y{suffix}"})
    whole["margin"] = whole["margin"] | {"t": 22}
    whole["xaxis"]["anchor"] = f"y{count}" if count > 1 else "y"
    for start, end, colour in marks:
        low, high = axis.x((start, end))
        whole["shapes"].append(
            {"type": "rect", "xref": "x", "yref": "paper", "x0": low, "x1": high, "y0": 0, "y1": 1,
             "fillcolor": colour, "opacity": 0.12, "line": {"width": 0}, "layer": "below"}
        )  # fmt: skip
    return {"data": data, "layout": whole}
