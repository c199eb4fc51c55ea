"""Colours that colour-blind readers can tell apart, in light and dark, and text made safe for Plotly.

Lines and marks use the colours of Okabe and Ito (2008) in a lightness that reads on both backgrounds;
the scale of the heatmap runs from a faint grey over blue and yellow to vermilion, so that order is
also told by lightness. Axis, grid and text colours come from the style sheet.
"""

import html
import itertools
from typing import Final

LINES: Final = (
    "#2c8cc9",
    "#d9661f",
    "#1a9e77",
    "#b5911b",
    "#b565a0",
    "#6f7bd0",
    "#8a7f76",
    "#3fa9a9",
)
SEVERITY: Final = {"critical": "red", "warning": "yellow", "info": "gray"}
MARK: Final = {"critical": "#d43a2f", "warning": "#c98a00", "info": "#6b7f90"}
SCALE: Final = (
    (0.0, "rgba(127,140,152,0.14)"),
    (0.0001, "rgba(86,156,205,0.45)"),
    (0.25, "#4a9bd1"),
    (0.55, "#f0c33c"),
    (0.8, "#e8762d"),
    (1.0, "#c3271b"),
)


def esc(text: object) -> str:
    """Text for a Plotly label or hover, which would read tags and entities in it."""
    return html.escape("".join(c if c.isprintable() else "\ufffd" for c in str(text)), quote=False)


def shade(share: float) -> str:
    """A colour of the scale at 0..1, as #rrggbb, for what is not drawn by Plotly."""
    stops = ((0.0, (139, 150, 160)), (0.001, (110, 165, 205)), (0.25, (74, 155, 209)),
             (0.55, (240, 195, 60)), (0.8, (232, 118, 45)), (1.0, (195, 39, 27)))  # fmt: skip
    share = min(max(share, 0.0), 1.0)
    for (low, a), (high, b) in itertools.pairwise(stops):
        if share <= high:
            part = (share - low) / (high - low)
            mixed = (round(x + (y - x) * part) for x, y in zip(a, b, strict=True))
            return "#{:02x}{:02x}{:02x}".format(*mixed)
    return "#c3271b"
