"""Counters of a recorded run: of the twin (counters.parquet) or of another simulator (telemetry.csv.gz).

The CSV has a row per port and sample with one column per counter; its time counts from the start of
the run, whose captures begin at 1,700,000,000 s. Columns that say what no device can know (whether the
egress is paused at this instant) or that COUNTERS has no name for (marked packets sent, NAKs sent, XON
frames) are left out.
"""

import gzip
import zlib
from pathlib import Path

import polars as pl

from analyzers.frames import conform, empty
from fabric.schema import COUNTERS

EPOCH_NS = 1_700_000_000_000_000_000  # what a capture shows at time 0 of the run
TWIN, OTHERS = "counters.parquet", "telemetry.csv.gz"

# column -> object and canonical counter; "port" has no index, the others that of the row's priority
COLUMNS = {
    "link_bps": ("port", "link_bps"),
    "rx_bytes": ("port", "rx_bytes"),
    "rx_pkts": ("port", "rx_packets"),
    "tx_bytes": ("port", "tx_bytes"),
    "tx_pkts": ("port", "tx_packets"),
    "rx_ce_pkts": ("port", "rx_ce_packets"),
    "rx_cnp": ("port", "rx_cnp"),
    "tx_cnp": ("port", "tx_cnp"),
    "rx_nak": ("port", "rx_naks"),
    "rx_crc_err": ("port", "rx_crc_errors"),
    # These simulators send one XOFF and hold until the XON; a device sends XOFF again and again, and
    # the refreshed counts are the frames it would have counted.
    "rx_pfc_frames_refreshed": ("priority", "rx_pfc_frames"),
    "tx_pfc_frames_refreshed": ("priority", "tx_pfc_frames"),
    "rx_pfc_xoff": ("priority", "rx_xoff"),
    "tx_pfc_xoff": ("priority", "tx_xoff"),
    "rx_pause_ns": ("priority", "rx_pause_ns"),
    "tx_pause_ns": ("priority", "tx_pause_ns"),
    "ecn_marked_pkts": ("queue", "ecn_marked_packets"),
    "queue_bytes": ("queue", "queue_bytes"),
    "queue_hwm_bytes": ("queue", "queue_peak_bytes"),
    "ingress_drops": ("pg", "dropped_packets"),
    "ingress_occupancy_bytes": ("pg", "occupancy_bytes"),
}
PLACE = {
    "time_ns": pl.Int64(),
    "device": pl.String(),
    "port": pl.String(),
    "priority": pl.Int32(),
}


def read_counters(folder: Path) -> pl.DataFrame:
    """COUNTERS of a run, sorted by time.

    ValueError or OSError in one line for a folder without counters, and for a file that is damaged or
    lacks a column.
    """
    if (folder / TWIN).is_file():
        frame = _twin(folder / TWIN)
    elif (folder / OTHERS).is_file():
        frame = _others(folder / OTHERS)
    elif folder.is_dir():
        raise ValueError(f"{folder}: no run: neither {TWIN} nor {OTHERS} in it")
    elif folder.exists():
        raise NotADirectoryError(f"{folder}: is a file; a run is the folder around it")
    else:
        raise FileNotFoundError(f"{folder}: no such folder")
    return frame.sort("ts", maintain_order=True)


def _twin(path: Path) -> pl.DataFrame:
    try:
        return conform(pl.scan_parquet(path), COUNTERS).collect()
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path}: {_reason(error)}") from error


def _others(path: Path) -> pl.DataFrame:
    try:
        with gzip.open(path) as file:
            text = file.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: {error}") from error
    types = {**PLACE, **dict.fromkeys(COLUMNS, pl.Int64())}
    try:
        wide = pl.read_csv(text, schema_overrides=types).select(list(types))
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path}: {_reason(error)}") from error
    if bad := [name for name, count in wide.null_count().row(0, named=True).items() if count]:
        raise ValueError(f"{path}: no value in some rows of {', '.join(bad)}")
    names = pl.DataFrame(
        [(column, of, counter) for column, (of, counter) in COLUMNS.items()],
        schema=["column", "object", "counter"],
        orient="row",
    )
    long = (
        wide.unpivot(list(COLUMNS), index=list(PLACE), variable_name="column", value_name="value")
        .join(names, on="column", how="left", maintain_order="left")
        .with_columns(
            ts=pl.col("time_ns") + EPOCH_NS,
            index=pl.when(pl.col("object") == "port").then(-1).otherwise("priority"),
        )
        .with_columns(seen="ts", index=pl.col("index").cast(pl.Int32))
        .select(COUNTERS.names)
    )
    return long if long.height else empty(COUNTERS)


def _reason(error: Exception) -> str:
    """The first line of what Polars has to say."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
