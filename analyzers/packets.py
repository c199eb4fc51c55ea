"""PACKETS rows: what one batch holds, when somebody asks for the packets themselves."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analyzers.addresses import addresses, mac
from analyzers.capture.batch import NO_PRIORITY, PRIORITIES, UNTAGGED, Batch
from analyzers.capture.icrc import GOOD, UNKNOWN
from analyzers.frames import schema
from analyzers.transport.rows import Points
from fabric.codes import FrameKind, Header
from fabric.schema import PACKETS


def packets(
    batch: Batch,
    lo: int,
    hi: int,
    flows: NDArray[np.int64],
    points: Points,
    icrc: NDArray[np.int8] | None = None,
) -> pl.DataFrame:
    """Rows ``lo`` to ``hi`` of a batch as PACKETS.

    ``flows`` are the numbers of their flows, below 0 where a row has none; ``icrc`` says of each row
    of the batch what checking its ICRC found.
    """
    b = Batch._make(column[lo:hi] for column in batch)
    headers = b.headers
    bth = headers & Header.BTH > 0
    ip = b.l3_at >= 0
    pause = np.isin(b.kind, (FrameKind.PFC, FrameKind.GLOBAL_PAUSE))

    def some(values: NDArray[np.generic], known: NDArray[np.bool_]) -> pl.Series:
        return pl.Series(np.array(values)).set(pl.Series(~known), None)

    def of(values: NDArray[np.generic], header: int) -> pl.Series:
        return some(values, headers & header > 0)

    remote = Header.RETH | Header.ATOMICETH
    frame = pl.DataFrame(
        {
            "ts": np.array(b.ts),
            "point": points.of(b.iface),
            "frame": np.array(b.frame),
            "kind": np.array(b.kind),
            "fault": np.array(b.fault),
            "wire_bytes": np.array(b.wire),
            "captured_bytes": np.array(b.captured),
            "flow": some(flows, flows >= 0),
            "src": _texts(b.src_hi, b.src_lo, ip),
            "dst": _texts(b.dst_hi, b.dst_lo, ip),
            "vlan": some(b.vlan, b.vlan != UNTAGGED),
            "priority": some(b.priority, b.priority != NO_PRIORITY),
            "wrap": np.array(b.wrap),
            "dscp": some(b.tos >> 2, ip),
            "ecn": some(b.tos & 3, ip),
            "ttl": some(b.ttl, ip),
            "ip_id": some(b.ip_id, ip & (b.version == 4)),
            "ip_bytes": some(b.ip_bytes, ip),
            "sport": some(b.sport, b.kind == FrameKind.ROCE_V2),
            "opcode": some(b.opcode, bth),
            "headers": np.array(headers),
            "solicited": some(b.bth1 & 0x80 > 0, bth),
            "pad": some(b.bth1 >> 4 & 3, bth),
            "pkey": some(b.pkey, bth),
            "fecn": some(b.bth4 & 0x80 > 0, bth),
            "becn": some(b.bth4 & 0x40 > 0, bth),
            "qpn": some(b.qpn, bth),
            "ack_request": some(b.ack_request > 0, bth),
            "psn": some(b.psn, bth),
            "payload_bytes": some(b.payload, bth),
            "syndrome": of(b.syndrome, Header.AETH),
            "msn": of(b.msn, Header.AETH),
            "va": of(b.va, remote),
            "rkey": of(b.rkey, remote | Header.IETH),
            "dma_bytes": of(b.dma, Header.RETH),
            "immediate": of(b.imm, Header.IMMDT),
            "src_qpn": of(b.src_qpn, Header.DETH),
            "qkey": of(b.qkey, Header.DETH),
            "xrc_srq": of(b.xrc_srq, Header.XRCETH),
            "atomic_swap": of(b.atomic_swap, Header.ATOMICETH),
            "atomic_compare": of(b.atomic_compare, Header.ATOMICETH),
            "atomic_original": of(b.atomic_original, Header.ATOMICACKETH),
            "pause_vector": some(b.pause_vector, b.kind == FrameKind.PFC),
            "quanta": _quanta(b, pause),
            "icrc_ok": pl.Series([None] * (hi - lo), dtype=pl.Boolean)
            if icrc is None
            else some(icrc[lo:hi] == GOOD, icrc[lo:hi] != UNKNOWN),
        }
    )
    return frame.select(pl.col(name).cast(kind) for name, kind in schema(PACKETS).items())


def _texts(hi: NDArray[np.uint64], lo: NDArray[np.uint64], ip: NDArray[np.bool_]) -> pl.Series:
    """Addresses in words: of the network header, or the MAC addresses where none was read."""
    texts = addresses(hi, lo)
    if ip.all():
        return texts
    link = pl.Series([mac(int(number)) for number in lo[~ip]], dtype=pl.String)
    return texts.scatter(np.flatnonzero(~ip), link)


def _quanta(b: Batch, pause: NDArray[np.bool_]) -> pl.Series:
    """Pause times: eight of a PFC frame, one of a global pause, null elsewhere."""
    rows: list[list[int] | None] = [None] * len(pause)
    for row in np.flatnonzero(pause).tolist():
        count = PRIORITIES if b.kind[row] == FrameKind.PFC else 1
        rows[row] = b.quanta[row, :count].tolist()
    return pl.Series(rows, dtype=pl.List(pl.Int64))
