"""What a run hands to the detectors: every declared table, always there, possibly empty."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import polars as pl

from analyzers.frames import conform, empty
from fabric.schema import TABLES


@dataclass(frozen=True)
class Tables:
    """One lazy frame per table of :mod:`fabric.schema`, under its name in lower case."""

    points: pl.LazyFrame
    links: pl.LazyFrame
    qos: pl.LazyFrame
    ranks: pl.LazyFrame
    packets: pl.LazyFrame
    pause_frames: pl.LazyFrame
    pauses: pl.LazyFrame
    pause_windows: pl.LazyFrame
    pause_breaches: pl.LazyFrame
    flows: pl.LazyFrame
    flow_windows: pl.LazyFrame
    host_windows: pl.LazyFrame
    traffic: pl.LazyFrame
    cnps: pl.LazyFrame
    rate_control: pl.LazyFrame
    events: pl.LazyFrame
    messages: pl.LazyFrame
    counters: pl.LazyFrame
    rates: pl.LazyFrame
    quality: pl.LazyFrame
    logs: pl.LazyFrame
    collectives: pl.LazyFrame
    carried: pl.LazyFrame
    stalls: pl.LazyFrame
    operations: pl.LazyFrame
    findings: pl.LazyFrame
    incidents: pl.LazyFrame


def tables(given: Mapping[str, pl.LazyFrame] | None = None) -> Tables:
    """Tables from the frames that exist; the others are empty frames of the right schema.

    ValueError for a name that is not declared; Polars' SchemaError, when the frame is asked for
    rows, where a frame's columns are not the declared ones.
    """
    given = dict(given or {})
    frames = {
        table.name.lower(): conform(given.pop(table.name.lower(), empty(table).lazy()), table)
        for table in TABLES
    }
    if given:
        raise ValueError(f"no such table: {', '.join(sorted(given))}")
    return Tables(**frames)


NAMES: tuple[str, ...] = tuple(field.name for field in fields(Tables))
