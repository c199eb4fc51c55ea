"""Pictures over time for the HTML report: load, congestion marks, pauses.

A function takes tables and gives figures, none where there is nothing to show. Large tables are
binned in Polars before anything is drawn, so a picture stays small however long the capture.
"""

import polars as pl

from analyzers.tables import Tables
from dashboards.report import words
from dashboards.report.svg import (
    BOTTOM,
    LABELS,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Figure,
    Scale,
    area,
    esc,
    number,
    picture,
    steps,
    text,
    ticks,
    time_axis,
    value_axis,
)

BINS = 500  # time bins of a picture
POINTS = 6  # points that get a picture of their own
RATES = (("Gb/s", 1e9), ("Mb/s", 1e6), ("kb/s", 1e3), ("b/s", 1.0))
CE_MARKS = ((0, "0"), (0.5, "50 %"), (1, "100 %"))
LANES = 24  # senders and priorities shown


def _per_point(tables: Tables) -> pl.LazyFrame:
    """FLOW_WINDOWS summed over the flows of a point: point, start, width_ns, bytes, ect, ce."""
    return (
        tables.flow_windows.join(tables.flows.select("flow", "point"), on="flow")
        .group_by("point", "start", "width_ns")
        .agg(pl.col("bytes", "ect", "ce").sum())
    )


def load(tables: Tables, begin: int) -> list[Figure]:
    """Load and share of marked packets over time, a figure per point, busiest first."""
    bins, points = pl.collect_all([_per_point(tables), tables.points], engine="streaming")
    speeds = {row["point"]: row for row in points.to_dicts()}
    sums = bins.group_by("point").agg(pl.col("bytes").sum())
    busiest = sums.sort("bytes", "point", descending=[True, False])["point"].to_list()
    figures = []
    for name in busiest[:POINTS]:
        point = speeds.get(name, {})
        rows, width = _even(bins.filter(pl.col("point") == name), int(point.get("last", 0)))
        figures.append(_load(name, rows, width, begin, point))
    return figures


def _even(bins: pl.DataFrame, last: int) -> tuple[pl.DataFrame, int]:
    """Bins of equal width, and that width in ns.

    Widths in FLOW_WINDOWS are multiples of the least by powers of two, and so is the width here:
    wide bins are spread evenly over the narrow ones they cover, up to ``last``, the end of the
    capture.
    """
    width = max(1, min(bins["width_ns"].to_list()))
    span = max((bins["start"] + bins["width_ns"]).to_list()) - min(bins["start"].to_list())
    while span > width * BINS:
        width *= 2
    covered = pl.min_horizontal(pl.col("width_ns"), last + 1 - pl.col("start"))
    parts = pl.max_horizontal((covered + width - 1) // width, 1)
    rows = (
        bins.with_columns(pl.col("bytes", "ect", "ce") / parts, part=pl.int_ranges(parts))
        .explode("part")
        .group_by(start=(pl.col("start") + pl.col("part") * width) // width * width)
        .agg(pl.col("bytes", "ect", "ce").sum())
        .sort("start")
    )
    return rows, width


def _load(
    name: str, rows: pl.DataFrame, width: int, begin: int, point: dict[str, object]
) -> Figure:
    starts = [start - begin for start in rows["start"].to_list()]
    rates = [number * 8e9 / width for number in rows["bytes"].to_list()]
    shares = [ce / ect if ect else None for ect, ce in rows.select("ect", "ce").rows()]
    speed = float(str(point.get("speed_bps") or 0))
    top = max([*rates, speed if speed <= 4 * max(rates) else 0.0]) * 1.05
    height, middle, second = 330.0, 190.0, 216.0
    x = Scale(starts[0], starts[-1] + width, LEFT, WIDTH - RIGHT)
    y, low = Scale(0, top, middle, TOP), Scale(0, 1, height - BOTTOM, second)
    unit, scale = next((u, s) for u, s in RATES if top >= s or s == 1.0)
    marks = [(v * scale, number(v)) for v in ticks(0, top / scale, 4)]
    bars = [(s, s + width, r) for s, r in zip(starts, rates, strict=True)]
    marked = [(s, s + width, v) for s, v in zip(starts, shares, strict=True) if v is not None]
    svg = [
        *time_axis(x, height - BOTTOM, TOP),
        *value_axis(y, LEFT, WIDTH - RIGHT, f"load, {unit}", marks),
        *value_axis(low, LEFT, WIDTH - RIGHT, "CE share", CE_MARKS),
        f'<path class="area c1" d="{area(bars, x, y)}"/>',
        f'<path class="area c2" d="{area(marked, x, low)}"/>',
        f'<path class="line c2" d="{steps(marked, x, low)}"/>',
    ]
    if 0 < speed <= top:
        said = f"line rate {words.rate(speed)}, {point.get('speed_source')}"
        svg.append(f'<path class="limit" d="M{LEFT} {y(speed)}H{WIDTH - RIGHT}"/>')
        above = y(speed) - 5 if y(speed) > TOP + 14 else y(speed) + 13
        svg.append(text(WIDTH - RIGHT, above, said, "note", "end"))
    none = "no packet that can be marked"
    table = [
        (words.duration(start), words.rate(bps), none if ce is None else f"{ce:.1%}")
        for start, bps, ce in zip(starts, rates, shares, strict=True)
    ]
    reading = (
        f"Bins of {words.duration(width)}. Above: RoCE bytes with framing; no bar means that none "
        "passed. Below: share of markable packets that carry a congestion mark. Where flows send "
        "little at a time, both are means over longer bins."
    )
    title = f"Load and congestion marks at {name}"
    return Figure(title, reading, picture(height, svg, title), ("time", "load", "CE share"), table)


def pauses(tables: Tables, begin: int, end: int) -> list[Figure]:
    """Who held whom and when: one line per point, sender and priority."""
    holds = tables.pauses.sort("point", "sender", "priority", "start").collect()
    if holds.is_empty():
        return []
    keys = ["point", "sender", "priority"]
    lanes = holds.group_by(keys, maintain_order=True).agg(
        pl.col("paused_ns").sum(), pl.len(), pl.col("end_reason").value_counts().alias("ends")
    )
    shown = lanes.sort("paused_ns", descending=True).head(LANES).sort(keys)
    height = TOP + 26.0 * shown.height + BOTTOM
    first, last = min(holds["start"].to_list()), max(holds["end"].to_list())
    x = Scale(min(begin, first) - begin, max(end, last) - begin, LABELS, WIDTH - RIGHT)
    svg = list(time_axis(x, height - BOTTOM, TOP))
    for line, row in enumerate(shown.to_dicts()):
        y = TOP + 26 * line
        mine = holds.filter(
            pl.col("point") == row["point"],
            pl.col("sender") == row["sender"],
            pl.col("priority") == row["priority"],
        )
        svg.append(text(LABELS - 8, y + 17, _lane(row), anchor="end"))
        svg.append(f'<path class="grid" d="M{LABELS} {y + 13}H{WIDTH - RIGHT}"/>')
        svg += [_hold(x, y, hold, begin) for hold in _merged(mine, (x.high - x.low) / 700)]
    title = "Pauses by sender and priority"
    table = [
        (
            str(row["point"]), str(row["sender"]), _priority(row["priority"]), f"{row['len']:,}",
            words.duration(row["paused_ns"]),
            ", ".join(f"{e['count']} {words.kind(e['end_reason'])}" for e in row["ends"]),
        )
        for row in lanes.to_dicts()
    ]  # fmt: skip
    reading = (
        "Each bar is a time in which the sender named at the left held its peer; where holds lie "
        "closer than a picture can show they are drawn as one, paler by the share really held."
    )
    head = ("point", "sender", "priority", "holds", "held in all", "ended by")
    return [Figure(title, reading, picture(height, svg, title), head, table)]


def _priority(number: int) -> str:
    return "all" if number < 0 else str(number)


def _lane(row: dict[str, object]) -> str:
    name = f"{row['sender']} · priority {_priority(int(str(row['priority'])))}"
    place = str(row["point"])
    return f"{place if len(place) <= 18 else '…' + place[-17:]} · {name}"


def _merged(holds: pl.DataFrame, gap: float) -> list[dict[str, int]]:
    """Holds of one lane; those closer than ``gap`` ns as one, with the time really held."""
    run = (pl.col("start") - pl.col("end").shift(1) > gap).fill_null(value=True).cum_sum()
    return (
        holds.sort("start")
        .group_by(run.alias("run"), maintain_order=True)
        .agg(pl.col("start").min(), pl.col("end").max(), pl.col("paused_ns").sum(), holds=pl.len())
        .to_dicts()
    )


def _hold(x: Scale, y: float, hold: dict[str, int], begin: int) -> str:
    left, right = x(hold["start"] - begin), x(hold["end"] - begin)
    share = hold["paused_ns"] / max(hold["end"] - hold["start"], 1)
    said = (
        f"{words.duration(hold['start'] - begin)}: held for {words.duration(hold['paused_ns'])}"
        f" in {words.count(hold['holds'], 'hold')}"
    )
    return (
        f'<rect class="fill c2" x="{left}" y="{y + 4}" width="{max(right - left, 1):g}" height="18" '
        f'opacity="{0.25 + 0.75 * min(share, 1):.2f}"><title>{esc(said)}</title></rect>'
    )
