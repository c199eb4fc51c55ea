"""Diagnosis of 64 hosts and 10 s of counters every 10 ms: seconds, and against reading them from disk."""

import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from analyzers.diagnosis.incidents import diagnose
from analyzers.frames import schema
from fabric import builders
from fabric.schema import COUNTERS
from fabric.topology import Fabric

SAMPLES, STEP_NS = 1000, 10_000_000
PORT = ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets", "rx_crc_errors", "link_bps")
PRIORITY = ("rx_pfc_frames", "tx_pfc_frames", "rx_pause_ns")
QUEUE = ("ecn_marked_packets", "queue_peak_bytes")


def counters(fabric: Fabric, seed: int = 1) -> pl.DataFrame:
    """COUNTERS of every port under a random load; one host holds its switch for two seconds."""
    dice = np.random.default_rng(seed)
    ports = sorted({end for link in fabric.links for end in (link.a, link.b)})
    ts = np.arange(SAMPLES, dtype=np.int64) * STEP_NS
    victim = next(p for p in ports if fabric.role(fabric.peer(p).device) == "host")
    frames = []
    for port in ports:
        speed = fabric.speed_bps(port)
        load = dice.uniform(0.1, 0.5, SAMPLES) * speed / 8e9 * STEP_NS
        load = (load * (1 if port != victim else (ts < 3e9) | (ts > 5e9))).astype(np.int64)
        pause = np.where((ts >= 3e9) & (ts <= 5e9) & (port == victim), STEP_NS, 0)
        values = {
            "link_bps": np.full(SAMPLES, speed), "queue_peak_bytes": dice.integers(0, 20_000, SAMPLES),
            "rx_pause_ns": np.cumsum(pause), "rx_pfc_frames": np.cumsum(pause > 0),
            "rx_bytes": np.cumsum(load), "tx_bytes": np.cumsum(load),
            "rx_packets": np.cumsum(load // 1000), "tx_packets": np.cumsum(load // 1000),
        }  # fmt: skip
        if port == victim:
            values["queue_peak_bytes"] = np.where(pause > 0, 500_000, 10_000)
        for names, of, index in (
            (PORT, "port", -1),
            (PRIORITY, "priority", 3),
            (QUEUE, "queue", 3),
        ):
            frames += [
                pl.DataFrame({
                    "ts": ts, "seen": ts, "value": values.get(name, np.zeros(SAMPLES, np.int64)),
                }).with_columns(
                    device=pl.lit(port.device), port=pl.lit(port.port), object=pl.lit(of),
                    index=pl.lit(index), counter=pl.lit(name),
                )
                for name in names
            ]  # fmt: skip
    whole = pl.concat(frames).sort("ts")
    return whole.select(pl.col(name).cast(kind) for name, kind in schema(COUNTERS).items())


def main() -> None:
    fabric = builders.clos2(8, 4, 8, host_gbps=100, uplink_gbps=200)
    rows = counters(fabric)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counters.parquet"
        rows.write_parquet(path)
        begin = time.perf_counter()
        rows = pl.read_parquet(path)
        reading = time.perf_counter() - begin
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        found = diagnose(rows, fabric)
        best = min(best, time.perf_counter() - begin)
    print(
        f"{rows.height:,} readings of {len(fabric.named('host'))} hosts: diagnosed in {best:.2f} s "
        f"({best / reading:.1f} times the reading of the file), {found['cls'].to_list()}"
    )


if __name__ == "__main__":
    main()
