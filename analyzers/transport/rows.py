"""From the kernels' records to rows of the declared tables."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analyzers.addresses import address, addresses
from analyzers.capture.batch import NO_PRIORITY
from analyzers.frames import schema
from analyzers.transport.account_state import NEVER, RING_ROWS, Cause, Records
from analyzers.transport.verdicts import Recovery
from fabric.codes import PSN_MASK
from fabric.schema import (
    CNPS,
    FLOWS,
    HOST_WINDOWS,
    MESSAGES,
    PAUSE_FRAMES,
    Table,
)


class Points:
    """Names of the points of one input: of its interfaces, in the order of their description."""

    def __init__(self, tap: str) -> None:
        self.tap = tap
        self.names: list[str] = []

    def add(self, interface: str) -> None:
        """Name one more interface: the first is the tap itself, others say which they are."""
        name = self.tap
        if self.names:
            name = f"{self.tap}/{interface or len(self.names)}"
            if name in self.names:
                name = f"{self.tap}/{len(self.names)}"
        self.names.append(name)

    @property
    def stray(self) -> str:
        """Point of packets that belong to no interface that was described."""
        return f"{self.tap}/undescribed" if self.names else self.tap

    def of(self, ifaces: NDArray[Any]) -> pl.Series:
        """Names of the points of many rows."""
        names = pl.Series([*self.names, self.stray], dtype=pl.String)
        return names.gather(pl.Series(np.minimum(ifaces, len(self.names)).astype(np.uint32)))


def columns(records: Records, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Fields of records as arrays of their own."""
    return {name: np.array(records[name]) for name in names}


def taken(ring: Records, count: int) -> dict[str, Any]:
    """The first rows of a ring as columns: of their own, unless they are borrowed.

    Where nearly all of a ring is taken its rows make a part of a table, which is written at once:
    copying them first would cost as much as all else that is done to them.
    """
    columns = {name: ring[name][0, :count] for name in ring.dtype.names or ()}
    return columns if borrowed(count) else {name: col.copy() for name, col in columns.items()}


def borrowed(count: int) -> bool:
    """Whether that many rows of a ring are handed out as they lie there, to be used at once."""
    return count > RING_ROWS // 2


def fit(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The declared columns in their order and types."""
    return frame.select(pl.col(name).cast(kind) for name, kind in schema(table).items())


def flow_windows(ring: Records, count: int) -> pl.DataFrame:
    """FLOW_WINDOWS rows: the ring has its columns already."""
    return pl.DataFrame(taken(ring, count))


def host_windows(
    ring: Records, count: int, points: Points, hosts: NDArray[np.uint64]
) -> pl.DataFrame:
    """HOST_WINDOWS rows; ``hosts`` are the halves of the hosts' addresses by their number."""
    found = taken(ring, count)
    named = np.zeros(len(hosts), np.uint32)
    named[found["host"]] = 1
    distinct = np.flatnonzero(named)
    named[distinct] = np.arange(len(distinct))
    texts = pl.Series([address(*map(int, hosts[number])) for number in distinct], dtype=pl.String)
    found["dst"] = texts.gather(pl.Series(named[found.pop("host")]))
    found["point"] = points.of(found.pop("iface"))
    return pl.DataFrame({name: found[name] for name in HOST_WINDOWS.names})


def messages(ring: Records, count: int) -> pl.DataFrame:
    """MESSAGES rows: the ring has its columns already."""
    found = taken(ring, count)
    found["complete"] = found["complete"].view(np.bool_)
    return pl.DataFrame({name: found[name] for name in MESSAGES.names})


def cnps(ring: Records, count: int, points: Points) -> pl.DataFrame:
    """CNPS rows."""
    causes = pl.Series([cause.name.lower() for cause in Cause])
    spans = ("since_mark_ns", "since_nak_ns", "since_cnp_ns")
    found = taken(ring, count)
    found["point"] = points.of(found.pop("iface"))
    found["cause"] = causes.gather(pl.Series(found["cause"].astype(np.uint32)))
    frame = pl.DataFrame({name: found[name] for name in CNPS.names})
    return frame.with_columns(
        pl.col("peer_flow").replace(0, None), pl.col(spans).replace(NEVER, None)
    )


def pause_frames(ring: Records, count: int, points: Points) -> pl.DataFrame:
    """PAUSE_FRAMES rows."""
    found = taken(ring, count)
    found["point"] = points.of(found.pop("iface"))
    return pl.DataFrame({name: found[name] for name in PAUSE_FRAMES.names})


class Ended(NamedTuple):
    """Records of flows that ended, copied out of their slots."""

    flows: Records  # FLOW
    accounts: Records  # ACCOUNT
    totals: Records  # TOTALS
    seq: Records  # SEQ


def flows(ended: Ended, points: Points, first_flow: int) -> pl.DataFrame:
    """FLOWS rows; ``first_flow`` plus a serial is a flow's number."""
    who, a, t, seq = ended.flows, ended.accounts, ended.totals, ended.seq
    asked = seq["asked"] > 0
    sampled = t["rtt_count"] > 0
    recovery = np.array(["" if r == Recovery.UNKNOWN else r.name.lower() for r in Recovery])
    frame = pl.DataFrame(
        {
            **columns(who, ("qpn", "epoch")),
            **columns(a, ("service", "last", "responses", "messages", "fingerprint")),
            **columns(t, ("sports", "dscp", "first", "first_frame", "packets", "copies", "cnp")),
            **columns(
                t, ("wire_bytes", "payload_bytes", "resent", "ect", "ce", "naks", "rnr_naks")
            ),
            "flow": first_flow + who["serial"],
            "point": points.of(who["iface"]),
            "src": addresses(who["src_hi"], who["src_lo"]),
            "dst": addresses(who["dst_hi"], who["dst_lo"]),
            "peer_flow": _where(seq["peer_serial"] > 0, first_flow + seq["peer_serial"]),
            "pair_confidence": seq["pair_confidence"].astype(np.float64).round(6),
            "sport": t["first_sport"],
            "priority": np.where(t["priority"] == NO_PRIORITY, -1, t["priority"].astype(np.int32)),
            "requests": t["packets"] - a["responses"] - t["cnp"] - t["unknown"],
            "bytes": a["ip_bytes"],
            "unique_bytes": t["payload_bytes"] - t["resent_payload"],
            "pmtu": seq["pmtu"],
            "first_psn": np.where(asked, seq["base"] & PSN_MASK, 0),
            "last_psn": np.where(asked, (seq["nxt"] - 1) & PSN_MASK, 0),
            "span_psn": np.where(asked, seq["nxt"] - seq["base"], 0),
            "inflight_max_bytes": t["inflight_max"],
            "rtt_samples": t["rtt_count"],
            "rtt_min_ns": _where(sampled, t["rtt_min"]),
            "rtt_p50_ns": _where(sampled, t["rtt_p50"]),
            "rtt_p99_ns": _where(sampled, t["rtt_p99"]),
            "rtt_max_ns": _where(sampled, t["rtt_max"]),
            "recovery": recovery[seq["recovery"]],
        }
    )
    return fit(frame, FLOWS)


def _where(known: NDArray[np.bool_], values: NDArray[Any]) -> pl.Series:
    """Numbers as int64, null where not ``known``."""
    whole = np.where(known, values, 0).astype(np.int64)
    return pl.Series(whole).set(pl.Series(~known), None)
