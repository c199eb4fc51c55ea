"""Counters of a run as COUNTERS rows (fabric.counters names them), written to Parquet in pieces."""

from pathlib import Path

import numpy as np
import polars as pl

from fabric.simulator.build import Built
from fabric.simulator.run import settled_pauses
from fabric.simulator.scenario import Scenario

PIECE_ROWS = 1 << 20
PORT_FIELDS = {
    "rx_bytes": "rx_bytes",
    "rx_packets": "rx_packets",
    "tx_bytes": "tx_bytes",
    "tx_packets": "tx_packets",
    "rx_crc_errors": "rx_crc_errors",
    "rx_ce_packets": "rx_ce",
    "rx_cnp": "rx_cnp",
    "tx_cnp": "tx_cnp",
    "rx_naks": "rx_nak",
}
QUEUE_FIELDS = {
    ("priority", "rx_xoff"): "rx_xoff",
    ("priority", "tx_xoff"): "tx_xoff",
    ("queue", "tx_bytes"): "tx_bytes",
    ("queue", "tx_packets"): "tx_packets",
    ("queue", "ecn_marked_packets"): "ecn_marked",
    ("queue", "dropped_packets"): "egress_drops",
    ("queue", "queue_bytes"): "bytes",
    ("queue", "queue_peak_bytes"): "peak",
    ("queue", "watchdog_storms"): "watchdog_storms",
    ("queue", "watchdog_drops"): "watchdog_drops",
    ("pg", "rx_bytes"): "rx_bytes",
    ("pg", "rx_packets"): "rx_packets",
    ("pg", "dropped_packets"): "ingress_drops",
    ("pg", "headroom_peak_bytes"): "headroom_peak",
}


class CounterFile:
    """Collects samples and writes them as one Parquet file at the end, in pieces beside it until then."""

    def __init__(self, path: Path, scenario: Scenario, built: Built) -> None:
        self.path, self.start_ns = path, scenario.output.start_ns
        used = {c.pair.priority for c in scenario.plan.connections}
        self.priorities = sorted(used | set(scenario.switching.lossless))
        device, port = zip(*(name.split(":", 1) for name in built.ports), strict=True)
        names = pl.DataFrame({"device": device, "port": port})
        self.told = ~names["device"].is_in(scenario.output.silent).to_numpy()
        self.names = names.filter(self.told)
        self.pieces: list[pl.DataFrame] = []
        self.rows = 0
        self.files: list[Path] = []
        self.stuck = [fault for fault in scenario.faults if fault.kind == "counter_fault"]
        self.frozen: dict[int, tuple[np.void, np.ndarray]] = {}

    def _rows(self, ts: int, of: str, index: int, counter: str, value: np.ndarray) -> pl.DataFrame:
        return self.names.select(
            ts=pl.lit(ts, pl.Int64),
            seen=pl.lit(ts, pl.Int64),
            device="device",
            port="port",
            object=pl.lit(of),
            index=pl.lit(index, pl.Int32),
            counter=pl.lit(counter),
            value=pl.Series(value[self.told].astype(np.int64)),
        )

    def sample(self, time_ns: int, built: Built) -> None:
        """Add the readings of one moment."""
        port, queue = self._told(time_ns, built)
        ts = self.start_ns + time_ns
        held, holding = settled_pauses(built, time_ns * 1000)
        speed = np.rint(8e12 / port["nominal_ps_per_byte"])
        frames = [self._rows(ts, "port", -1, "link_bps", speed)]
        frames += [
            self._rows(ts, "port", -1, name, port[field]) for name, field in PORT_FIELDS.items()
        ]
        for q in self.priorities:
            frames += [
                self._rows(ts, of, q, name, queue[field][:, q])
                for (of, name), field in QUEUE_FIELDS.items()
            ]
            rows = queue[:, q]
            derived = {
                ("priority", "rx_pfc_frames"): rows["rx_xoff"] + rows["rx_xon"],
                ("priority", "tx_pfc_frames"): rows["tx_xoff"] + rows["tx_xon"],
                ("priority", "rx_pause_ns"): held[:, q] // 1000,
                ("priority", "tx_pause_ns"): holding[:, q] // 1000,
                ("pg", "occupancy_bytes"): rows["occupancy"] + rows["headroom"],
            }
            frames += [self._rows(ts, of, q, name, value) for (of, name), value in derived.items()]
        piece = pl.concat(frames)
        self.pieces.append(piece)
        self.rows += piece.height
        if self.rows >= PIECE_ROWS:
            self._flush()

    def _told(self, time_ns: int, built: Built) -> tuple[np.ndarray, np.ndarray]:
        """What devices report: the truth, but for ports whose counters stand still."""
        port, queue = built.state.port, built.state.queue
        for fault in self.stuck:
            at = built.port_of[fault.place]
            over = 0 <= fault.end_ns <= time_ns
            if time_ns < fault.start_ns or over:
                self.frozen.pop(at, None)
            elif at not in self.frozen:
                self.frozen[at] = (port[at].copy(), queue[at].copy())
        if self.frozen:
            port, queue = port.copy(), queue.copy()
            for at, (one, eight) in self.frozen.items():
                port[at], queue[at] = one, eight
        return port, queue

    def _flush(self) -> None:
        if self.pieces:
            path = self.path.with_suffix(f".{len(self.files)}.parquet")
            pl.concat(self.pieces).write_parquet(path, compression="zstd")
            self.files.append(path)
        self.pieces, self.rows = [], 0

    def close(self) -> None:
        """Join the pieces to one file."""
        if not self.files:
            whole = pl.concat(self.pieces) if self.pieces else pl.DataFrame()
            whole.write_parquet(self.path, compression="zstd")
            return
        self._flush()
        pl.scan_parquet(self.files).sink_parquet(self.path, compression="zstd")
        for path in self.files:
            path.unlink()
