"""The fleet at a glance: a row per device, a cell per port, up to a hundred thousand of them."""

import base64
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from analyzers.views.metrics import Metric
from dashboards.figures.palette import SCALE, esc

ROW_PX, MOST_PX, LEAST_PX = 20, 760, 2
NAMED: Final = 20_000  # cells up to which each tells its port's own name


def height(rows: int) -> int:
    """Pixels of the picture for so many devices."""
    return int(min(max(rows * ROW_PX, 60), max(MOST_PX, rows * LEAST_PX))) + 56


def packed(values: npt.NDArray[np.float32]) -> dict[str, str]:
    """An array as Plotly reads it from base64: a tenth of the time and a third of the bytes of JSON."""
    rows, columns = values.shape
    coded = base64.b64encode(values.astype("<f4").tobytes()).decode()
    return {"dtype": "f4", "bdata": coded, "shape": f"{rows}, {columns}"}


def heatmap(grid: pl.DataFrame, metric: Metric) -> dict[str, Any]:
    """The picture of :func:`analyzers.views.fleet.grid`; a port nobody read stays blank."""
    counts = grid["value"].list.len().to_numpy()
    width = int(counts.max()) if len(counts) else 1
    values = np.full((grid.height, width), np.nan, np.float32)
    cells = grid["value"].explode().cast(pl.Float32).fill_null(np.nan).to_numpy()
    values[np.arange(width) < counts[:, None]] = cells
    top = metric.full or float(np.nanmax(values, initial=0.0)) or 1.0
    shown = "%{z:.1%}" if metric.unit == "share" else f"%{{z:,.4~s}} {metric.unit}"
    trace: dict[str, Any] = {
        "type": "heatmap", "z": packed(values), "zmin": 0, "zmax": top, "xgap": 1 if width <= 256 else 0,
        "ygap": 1 if grid.height <= 150 else 0, "y": [esc(name) for name in grid["device"]],
        "colorscale": [[at, colour] for at, colour in SCALE], "hoverongaps": False,
        "colorbar": {"thickness": 10, "len": 1, "outlinewidth": 0, "tickformat": ".0%" if metric.unit == "share" else "~s",
                     "title": {"text": "" if metric.unit == "share" else metric.unit, "side": "right"}},
        "hovertemplate": f"%{{y}} port %{{text}}<br>{shown}<extra></extra>",
    }  # fmt: skip
    if grid.height * width <= NAMED:
        trace["text"] = [[esc(name) for name in names] for names in grid["port"].to_list()]
    else:
        trace["hovertemplate"] = f"%{{y}}, port no. %{{x}}<br>{shown}<extra></extra>"
    few = grid.height <= 60
    return {
        "data": [trace],
        "layout": {
            "margin": {"l": 90 if few else 60, "r": 10, "t": 6, "b": 36}, "dragmode": False,
            "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "inherit", "size": 11.5},
            "xaxis": {"title": {"text": "ports of the device, in their order"}, "showgrid": False,
                      "zeroline": False, "showticklabels": False, "fixedrange": True},
            "yaxis": {"autorange": "reversed", "type": "category", "showgrid": False, "fixedrange": True,
                      "automargin": True, **({} if few else {"nticks": 40})},
        },
    }  # fmt: skip


def place(grid: pl.DataFrame, label: object, number: object) -> tuple[str, str] | None:
    """Device and port of a cell, by the label of its row and its number in it; None where none is."""
    for device, ports in grid.select("device", "port").iter_rows():
        if esc(device) == label and isinstance(number, int) and 0 <= number < len(ports):
            return device, ports[number]
    return None
