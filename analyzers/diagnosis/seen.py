"""Causes that packets show: findings and pause episodes of captures, folded.

A capture sees one link. It proves what crossed it (who held whom, what was lost, who was not ready), and
says nothing of the rest of the fabric; each class states here what would be needed to be surer.

Holds: a host that sends XOFF holds its switch. If it never lets go while the capture lasts, its receive
side has stopped (pfc_storm, A4); if it lets go now and then it is slow (slow_receiver, A5). A switch that
sends XOFF hands on what stands behind it (pfc_backpressure, A3): the root is elsewhere. Loss (A13, A14):
where packets are marked or held at the same time, a buffer may have been full; a capture cannot tell that
from a bad link, so both are named and the confidence is low.
"""

from typing import Any, Final, NamedTuple

import polars as pl

from analyzers.tables import Tables
from fabric.cables import Port
from fabric.topology import Fabric

LEAST_SHARE: Final = 0.10  # of the capture held: pause pressure, diagnosis.md section 2.1
OPEN_NS: Final = 50_000  # a hold still open at the end tells something once it lasted so long


class Kind(NamedTuple):
    """Which class a finding speaks for, how far, and what would make it sure."""

    cls: str
    sure: float
    missing: str
    against: str


SPEAKS: Final[dict[str, Kind]] = {
    "pfc_storm": Kind("pfc_storm", 0.95, "", "slow_receiver: it would let go in between"),
    "pfc_ignored": Kind("pfc_ignored", 0.9, "", "headroom_misconfig: the sender did not stop"),
    "receiver_not_ready": Kind(
        "receiver_not_ready", 0.95, "", "lossy_link: the receiver says itself that it has no buffer"
    ),
    "cnp_starvation": Kind(
        "cnp_starvation", 0.85, "", "incast: marks arrived and nobody told the senders"
    ),
    "reordering": Kind("reordering", 0.85, "", "lossy_link: what was missing came later"),
    "retransmission_waste": Kind("livelock", 0.8, "what loses the packets", ""),
    "incast": Kind(
        "incast", 0.85, "counters of the switch before the receiver", "slow_receiver: the link was full"
    ),
    "ecn_marking": Kind(
        "contention", 0.6, "counters of the ports on the way: which of them marks",
        "incast: too few senders at once",
    ),
    "loss_between": Kind("lossy_link", 0.6, "error and drop counters of this link", "congestion_drop"),
    "loss_upstream": Kind("lossy_link", 0.5, "error and drop counters on the way", "congestion_drop"),
    "loss_downstream": Kind("lossy_link", 0.5, "error and drop counters on the way", "congestion_drop"),
    "sender_late": Kind("sender_late", 0.9, "", "contention: the network was free while it waited"),
    "receiver_late": Kind("receiver_late", 0.9, "", "contention: the network was free while it waited"),
    "tail_loss": Kind("tail_loss", 0.8, "which link lost it", "receiver_late: it was sent again"),
}  # fmt: skip
LATER_NS: Final = (
    100_000_000  # a loss shows when it is sent again: after an ACK timeout of 67 ms, say
)
# A cause makes these symptoms of it.
EXPLAINS: Final[dict[str, frozenset[str]]] = {
    "pfc_storm": frozenset(
        {"incast", "contention", "slow_receiver", "pfc_backpressure", "tail_loss"}
    ),
    "slow_receiver": frozenset({"incast", "contention", "pfc_backpressure"}),
    "pfc_ignored": frozenset(
        {"lossy_link", "incast", "contention", "pfc_backpressure", "tail_loss"}
    ),
    "incast": frozenset({"contention", "pfc_backpressure"}),
    "lossy_link": frozenset({"tail_loss", "livelock"}),
    "reordering": frozenset({"lossy_link"}),
}


def seen(tables: Tables, findings: pl.DataFrame, fabric: Fabric | None) -> list[dict[str, Any]]:
    """Rows of INCIDENTS by what captures show, unranked; [] where nothing speaks for a cause."""
    rows = [*_holds(tables, fabric), *_spoken(findings, fabric)]
    rows = _one_each(rows)
    points = dict(findings.select("id", "point").iter_rows())
    pairs = [
        (one, row) for one in rows for row in rows if _makes(one, row, points, fabric is not None)
    ]
    explained = {id(row) for _, row in pairs}
    kept = [row for row in rows if id(row) not in explained]
    for one in kept:
        for cause, row in pairs:
            if cause is one:
                one["findings"] += row["findings"]
                one["victims"] += [root for root in row["roots"] if root not in one["victims"]]
    return kept


def _makes(
    one: dict[str, Any], row: dict[str, Any], points: dict[str, str], one_fabric: bool
) -> bool:
    """Whether a cause makes another's symptoms: at the time or soon after, and where it can.

    Without a topology nobody knows whether two points are of one fabric; what a point itself saw is.
    """
    if row["cls"] not in EXPLAINS.get(one["cls"], ()):
        return False
    if one["start"] > row["end"] or row["start"] > one["end"] + LATER_NS:
        return False
    here, there = ({points.get(name, "") for name in case["findings"]} for case in (one, row))
    return one_fabric or not here or not there or not here.isdisjoint(there)


def _row(cls: str, root: str, start: int, end: int, sure: float) -> dict[str, Any]:
    return {
        "cls": cls, "scope": "port", "roots": [root] if root else [], "start": start, "end": end,
        "confidence": sure, "lost_ns": 0.0, "evidence": [], "missing": [], "alternatives": [],
        "contributors": [], "victims": [], "tree": [], "findings": [],
    }  # fmt: skip


def _holds(tables: Tables, fabric: Fabric | None) -> list[dict[str, Any]]:
    """Who held whom in the captures, and how."""
    span = (
        tables.points.select("point", "first", "last").collect().rows_by_key("point", unique=True)
    )
    some = (
        tables.pauses.filter(pl.col("kind") == "observed", pl.col("priority") >= 0)
        .group_by("point", "sender", "priority", "held_device", "held_port")
        .agg(
            pl.col("start").min(),
            pl.col("end").max(),
            held=pl.col("paused_ns").sum(),
            longest=pl.col("paused_ns").max(),
            let_go=(pl.col("end_reason") == "xon").sum(),
            cut=(pl.col("end_reason") == "end_of_capture").any(),
        )
        .collect()
    )
    return [row for one in some.to_dicts() if (row := _hold(one, span[one["point"]], fabric))]


def _hold(
    one: dict[str, Any], span: tuple[int, int], fabric: Fabric | None
) -> dict[str, Any] | None:
    whole = max(span[1] - one["start"], 1)
    share = one["held"] / whole
    sender = one["sender"]
    role = _role(sender, fabric)
    if share < LEAST_SHARE or role == "":
        return None
    if role != "host":
        cls, sure = "pfc_backpressure", 0.55
        why = "a switch hands on what stands behind it"
        missing = ["counters of the sender: which of its ports is full"]
    elif one["let_go"] == 0 and share > 0.95 and one["longest"] >= OPEN_NS:
        cls, sure = "pfc_storm", 0.7 if one["longest"] < 10_000_000 else 0.95
        why = "a host that never lets go has stopped receiving"
        missing = ["a longer capture: it ends during the hold"] if one["cut"] else []
    else:
        cls, sure = "slow_receiver", 0.75
        why = "a host that lets go in between takes less than it is sent"
        missing = ["PCIe stall counters of the host"]
    row = _row(cls, f"{sender}:{one['priority']}", one["start"], one["end"], sure)
    held = ":".join(filter(None, (one["held_device"], one["held_port"]))) or one["point"]
    row["evidence"] = [
        (
            f"{sender} held {held} for {one['held'] / 1e3:.4g} us of {whole / 1e3:.4g} us seen, "
            f"let go {one['let_go']} times: {why}"
        )
    ]
    row["missing"], row["lost_ns"] = missing, float(one["held"])
    row["victims"], row["tree"] = [f"{held} {one['held'] / 1e6:.3g} ms"], [f"{held} ← {sender}"]
    return row


def _role(sender: str, fabric: Fabric | None) -> str:
    """Role of the device that sent a pause; empty where the topology does not say."""
    if fabric is None or ":" not in sender:
        return ""
    device = Port.parse(sender).device
    return fabric.role(device) if device in fabric.devices else ""


def _spoken(findings: pl.DataFrame, fabric: Fabric | None) -> list[dict[str, Any]]:
    """What findings of a warning and above speak for."""
    kinds = set(findings.filter(pl.col("severity") != "info")["kind"])
    crowded = bool(kinds & {"ecn_marking", "incast", "pause_pressure", "pfc_storm"})
    rows = []
    for one in findings.filter(
        pl.col("severity") != "info",
        pl.col("kind").is_in(list(SPEAKS)),
        pl.col("start").is_not_null(),
    ).to_dicts():
        kind = SPEAKS[one["kind"]]
        sure = kind.sure * one["confidence"]
        if kind.cls == "lossy_link" and crowded:
            sure = min(sure, 0.45)  # a full buffer loses packets too
        row = _row(kind.cls, _root(one, fabric), one["start"], one["end"], sure)
        row["evidence"] = [one["summary"]]
        row["missing"] = [text for text in (kind.missing, one["missing"]) if text]
        row["alternatives"] = [kind.against] if kind.against else []
        row["lost_ns"], row["findings"] = float(one["lost_ns"] or 0), [one["id"]]
        row["advice"] = one["advice"]
        rows.append(row)
    return rows


def _root(one: dict[str, Any], fabric: Fabric | None) -> str:
    """The port a finding points at: its own, or that towards the receiver it names."""
    priority = f":{one['priority']}" if one["priority"] >= 0 else ""
    if one["device"] and one["port"]:
        return f"{one['device']}:{one['port']}{priority}"
    if one["kind"] == "pfc_storm":
        return f"{one['subject'].partition(' holds')[0]}{priority}"
    address = one["subject"].rpartition("→ ")[2].partition(" ")[0]
    port = fabric.locate(address) if fabric and address else None
    peer = (
        fabric.peer(port) if fabric and port and one["kind"] in ("incast", "ecn_marking") else port
    )
    return str(peer) if peer else address


def _one_each(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that say the same of the same place are one."""
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["cls"], row["roots"][0] if row["roots"] else "")
        before = kept.setdefault(key, row)
        if before is not row:
            before["start"], before["end"] = (
                min(before["start"], row["start"]),
                max(before["end"], row["end"]),
            )
            before["confidence"] = max(before["confidence"], row["confidence"])
            for name in ("evidence", "missing", "alternatives", "findings", "victims", "tree"):
                before[name] = list(dict.fromkeys([*before[name], *row[name]]))
            before["lost_ns"] += row["lost_ns"]
    return list(kept.values())
