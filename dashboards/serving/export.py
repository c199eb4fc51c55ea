"""Whole tables as CSV or Parquet, and an incident as one HTML file.

/export/findings?as=csv     the table behind a page, with the same parameters as the page's URL
"""

import io
from collections.abc import Callable
from typing import Final

import polars as pl
from flask import Flask, Response, request

from dashboards.desk import Desk
from dashboards.pages import tables
from dashboards.report import handout
from dashboards.source import Source
from dashboards.state import State, read

MOST_ROWS: Final = 5_000_000
Table = Callable[[Source, State], pl.LazyFrame]
KINDS: Final = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


def routes(server: Flask, desk: Desk) -> None:
    """Add the routes; names and parameters that are unknown answer 404 and 400 with one line."""

    @server.get("/export/<name>")
    def export(name: str) -> Response:
        state = read(request.query_string.decode("utf-8", "replace"))
        try:
            source = desk.source(state)
            if name == "incident":
                return _incident(desk, source, state)
            made = tables.TABLES.get(name)
            kind = state.text("as", "csv")
            if made is None or kind not in KINDS:
                return Response("no such table or format\n", 404, mimetype="text/plain")
            return _table(name, made(source, state).head(MOST_ROWS), kind)
        except (ValueError, OSError, LookupError) as error:
            return Response(f"{' '.join(str(error).split())}\n", 400, mimetype="text/plain")


def _table(name: str, rows: pl.LazyFrame, kind: str) -> Response:
    buffer = io.BytesIO()
    if kind == "parquet":
        rows.collect().write_parquet(buffer, compression="zstd")
    else:
        _plain(rows.collect()).write_csv(buffer)
    return _file(buffer.getvalue(), f"{name}.{kind}", KINDS[kind])


def _plain(rows: pl.DataFrame) -> pl.DataFrame:
    """Lists as text; text that a spreadsheet would take for a formula is marked as text (CWE-1236)."""
    texts = [name for name, kind in rows.schema.items() if kind == pl.String]
    lists = [name for name, kind in rows.schema.items() if isinstance(kind, pl.List)]
    joined = [pl.col(name).cast(pl.List(pl.String)).list.join("; ") for name in lists]
    rows = rows.with_columns(joined)
    risky = [
        pl.when(pl.col(name).str.contains(r"^[=+\-@\t\r]")).then("'" + pl.col(name)).otherwise(name).alias(name)
        for name in [*texts, *lists]
    ]  # fmt: skip
    return rows.with_columns(risky)


def _incident(desk: Desk, source: Source, state: State) -> Response:
    name = state.text("id")
    rows = source.incidents().filter(pl.col("id") == name).to_dicts()
    if not rows:
        return Response("no such incident\n", 404, mimetype="text/plain")
    found = (
        source.findings().filter(pl.col("id").is_in(rows[0]["findings"])).sort("start").to_dicts()
    )
    text = handout.page(source.title, rows[0], found, desk.reviews.entries(source, name))
    return _file(text.encode(), "incident.html", "text/html; charset=utf-8")


def _file(content: bytes, name: str, kind: str) -> Response:
    answer = Response(content, mimetype=kind.partition(";")[0], content_type=kind)
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
