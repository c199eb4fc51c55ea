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
NIC_FIELDS = {  # of hosts only
    "out_of_sequence": "out_of_sequence",
    "implied_naks": "implied_nak",
    "duplicate_requests": "duplicate_request",
    "ack_timeouts": "ack_timeout",
    "rnr_naks": "rnr_nak_retry",
    "out_of_buffer": "out_of_buffer",
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
        self.hosts = self.told & built.state.port["host"].astype(bool)
        self.names = {id(rows): names.filter(rows) for rows in (self.told, self.hosts)}
        self.before = (
            0,
            built.state.port["rx_bytes"].copy(),
        )  # time, ps, and bytes at the last sample
        self.pieces: list[pl.DataFrame] = []
        self.rows = 0
        self.files: list[Path] = []
        self.stuck = [fault for fault in scenario.faults if fault.kind == "counter_fault"]
        self.frozen: dict[int, list[np.ndarray]] = {}

    def _rows(
        self, ts: int, of: str, index: int, counter: str, value: np.ndarray,
        which: np.ndarray | None = None,
    ) -> pl.DataFrame:  # fmt: skip
        """Rows of a counter for every port that tells, or for ``which`` of them."""
        which = self.told if which is None else which
        return self.names[id(which)].select(
            ts=pl.lit(ts, pl.Int64),
            seen=pl.lit(ts, pl.Int64),
            device="device",
            port="port",
            object=pl.lit(of),
            index=pl.lit(index, pl.Int32),
            counter=pl.lit(counter),
            value=pl.Series(value[which].astype(np.int64)),
        )

    def sample(self, time_ns: int, built: Built) -> None:
        """Add the readings of one moment."""
        port, queue, held, holding = self._told(time_ns, built)
        ts = self.start_ns + time_ns
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
        frames += [
            self._rows(ts, "port", -1, name, port[field], self.hosts)
            for name, field in NIC_FIELDS.items()
        ]
        stalled = self._stalled(time_ns * 1000, built)
        frames.append(self._rows(ts, "port", -1, "pci_write_stalled_share", stalled, self.hosts))
        piece = pl.concat(frames)
        self.pieces.append(piece)
        self.rows += piece.height
        if self.rows >= PIECE_ROWS:
            self._flush()

    def _stalled(self, now_ps: int, built: Built) -> np.ndarray:
        """Percent of the time since the last sample in which a slow PCIe link had writes to carry."""
        state = built.state
        since, bytes_ = self.before
        self.before = (now_ps, state.port["rx_bytes"].copy())
        node = state.node[state.port["node"]]
        cost = np.where(node["pci_limited"] > 0, node["drain_ps_per_byte"], 0)
        busy = (state.port["rx_bytes"] - bytes_ + node["drain_backlog"]) * cost
        share: np.ndarray = np.minimum(100 * busy // max(now_ps - since, 1), 100)
        return share

    def _told(self, time_ns: int, built: Built) -> tuple[np.ndarray, ...]:
        """What devices report: the truth, but for ports whose counters stand still."""
        tables = [built.state.port, built.state.queue, *settled_pauses(built, time_ns * 1000)]
        for fault in self.stuck:
            at = built.port_of[fault.place]
            over = 0 <= fault.end_ns <= time_ns
            if time_ns < fault.start_ns or over:
                self.frozen.pop(at, None)
            elif at not in self.frozen:
                self.frozen[at] = [table[at].copy() for table in tables]
        if self.frozen:
            tables = [table.copy() for table in tables]
            for at, rows in self.frozen.items():
                for table, row in zip(tables, rows, strict=True):
                    table[at] = row
        return tuple(tables)

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
