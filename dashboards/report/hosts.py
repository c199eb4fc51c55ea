"""Pictures by host for the HTML report: round trips of address pairs, the traffic matrix."""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from analyzers.tables import Tables
from dashboards.report import words
from dashboards.report.svg import (
    BOTTOM,
    LABELS,
    RIGHT,
    TOP,
    WIDTH,
    Figure,
    LogScale,
    decades,
    esc,
    picture,
    text,
)

HOSTS = 40  # rows and columns of the matrix
PAIRS = 20  # address pairs with round trips
QUANTILES = ("min", "p50", "p99", "max")


def round_trips(tables: Tables) -> list[Figure]:
    """Least, median, 99th percentile and greatest round trip of the slowest address pairs."""
    rows = (
        tables.flows.filter(pl.col("rtt_samples") > 0)
        .group_by("point", "src", "dst")
        .agg(
            pl.col("rtt_samples").sum(),
            pl.col("rtt_min_ns").min(),
            # The flow with most samples speaks for the pair: quantiles of quantiles would lie.
            pl.col("rtt_p50_ns", "rtt_p99_ns").sort_by("rtt_samples", "flow").last(),
            pl.col("rtt_max_ns").max(),
        )
        .sort("rtt_p99_ns", "point", "src", "dst", descending=[True, False, False, False])
        .head(PAIRS)
        .collect()
        .to_dicts()
    )
    if not rows:
        return []
    height = TOP + 22.0 * len(rows) + BOTTOM
    low = max(min(row["rtt_min_ns"] for row in rows) * 0.8, 1)
    high = max(low, *(row["rtt_max_ns"] for row in rows)) * 1.2
    x = LogScale(low, high, LABELS, WIDTH - RIGHT)
    svg = list(_delay_axis(x, height - BOTTOM))
    for line, row in enumerate(rows):
        svg += _trip(x, TOP + 22 * line + 11, row)
    table = [
        (str(row["point"]), f"{row['src']} → {row['dst']}", f"{row['rtt_samples']:,}",
         *(words.duration(row[f"rtt_{name}_ns"]) for name in QUANTILES))
        for row in rows
    ]  # fmt: skip
    title = "Round trips by address pair"
    reading = (
        "Dot: median; thick: to the 99th percentile; thin: least to greatest. Measured at the tap, "
        "so a tap near the receiver sees only part of the way. Slowest pairs first."
    )
    head = ("point", "pair", "samples", "least", "median", "99 %", "greatest")
    return [Figure(title, reading, picture(height, svg, title), head, table)]


def _delay_axis(x: LogScale, bottom: float) -> Iterator[str]:
    for value in decades(x.low, x.high):
        yield f'<path class="grid" d="M{x(value)} {TOP}V{bottom}"/>'
        yield text(x(value), bottom + 15, words.duration(value), anchor="middle")
    middle = (x.start + x.end) / 2
    yield text(middle, bottom + 32, "round trip, logarithmic scale", "axis", "middle")


def _trip(x: LogScale, y: float, row: dict[str, Any]) -> Iterator[str]:
    least, median, high, most = (row[f"rtt_{name}_ns"] for name in QUANTILES)
    yield text(LABELS - 8, y + 4, f"{short(row['src'])} → {short(row['dst'])}", anchor="end")
    yield f'<path class="whisker" d="M{x(least)} {y}H{x(most)}"/>'
    yield f'<path class="box c1" d="M{x(median)} {y}H{x(high)}"/>'
    said = f"<title>median {words.duration(median)}</title>"
    yield f'<circle class="fill c1" cx="{x(median)}" cy="{y}" r="4">{said}</circle>'


def matrix(tables: Tables) -> list[Figure]:
    """Who sent how much to whom: the busiest hosts as a matrix of bytes on the wire."""
    pairs = (
        tables.traffic.group_by("src", "dst")
        .agg(pl.col("bytes", "packets").max())  # several points see the same bytes
        .sort("bytes", "src", "dst", descending=[True, False, False])
        .collect()
    )
    if pairs.height < 2:
        return []
    ends = pl.concat([pairs.select("bytes", host="src"), pairs.select("bytes", host="dst")])
    ranked = ends.group_by("host").agg(pl.col("bytes").sum())
    busiest = ranked.sort("bytes", "host", descending=[True, False])["host"].head(HOSTS)
    hosts = sorted(busiest.to_list(), key=_address)
    svg, height = _cells(hosts, pairs)
    title = "Who sent how much to whom"
    reading = "Rows send, columns receive; empty where nothing was seen."
    if len(hosts) < ranked.height:
        reading += f" The busiest {len(hosts)} of {ranked.height} hosts."
    table = [(s, d, words.size(b), f"{p:,}") for s, d, b, p in pairs.head(200).rows()]
    head = ("from", "to", "bytes", "packets")
    return [Figure(title, reading, picture(height, svg, title), head, table)]


def _cells(hosts: list[str], pairs: pl.DataFrame) -> tuple[list[str], float]:
    """The matrix with names at its sides and its scale at the right; and its height."""
    cell = max(12.0, min(30.0, 620 / len(hosts)))
    longest = max(len(short(host)) for host in hosts)
    left, top = 24 + 7.0 * longest, 24 + 6.2 * longest
    most = max(pairs["bytes"].to_list())
    place = {host: n for n, host in enumerate(hosts)}

    def square(row: int, column: int, style: str) -> str:
        at = f'x="{left + cell * column:g}" y="{top + cell * row:g}"'
        return f'<rect {at} width="{cell - 1:g}" height="{cell - 1:g}" {style}'

    svg = []
    for host, n in place.items():
        middle = cell * (n + 0.5) + 4
        turned = f"translate({left + middle:g} {top - 6:g}) rotate(-60)"
        svg.append(text(left - 6, top + middle, short(host), anchor="end"))
        svg.append(f'<g transform="{turned}">{text(0, 0, short(host))}</g>')
        svg.append(square(n, n, 'class="void"/>'))
    for src, dst, count, packets in pairs.rows():
        if src in place and dst in place:
            said = f"{src} → {dst}: {words.size(count)}, {words.count(packets, 'packet')}"
            style = f"{_shade(count / most)}><title>{esc(said)}</title></rect>"
            svg.append(square(place[src], place[dst], style))
    edge = left + cell * len(hosts) + 30
    svg.append(text(edge, top - 10, "bytes on the wire", "axis"))
    for n, share in enumerate((1.0, 0.75, 0.5, 0.25, 0.0)):
        box = f'x="{edge:g}" y="{top + 18 * n:g}" width="18" height="17"'
        svg.append(f"<rect {box} {_shade(share)}/>")
        svg.append(text(edge + 26, top + 18 * n + 13, words.size(share * most)))
    return svg, max(top + cell * len(hosts), top + 90) + 14


def _shade(share: float) -> str:
    return f'class="fill c1" opacity="{0.12 + 0.88 * share:.2f}"'


def short(host: str) -> str:
    """An address as a label: the middle of a long one left out."""
    return host if len(host) <= 22 else f"{host[:9]}…{host[-10:]}"


def _address(host: str) -> tuple[Sequence[int | str], ...]:
    """Sort key that puts 10.0.0.9 before 10.0.0.10."""
    parts = host.replace(":", ".").split(".")
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
