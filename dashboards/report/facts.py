"""What every form of the report says: collected once from the tables, then only laid out.

``Facts`` holds plain Python values. Text in it may come from captures and is not escaped: each
form escapes for its own medium.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from analyzers.detectors import OPEN_KINDS, SEVERITIES
from analyzers.merge import distinct
from analyzers.tables import Tables
from dashboards.report import jobs, words
from fabric.codes import Fault
from fabric.topology import Fabric

Row = dict[str, Any]
DECIDED: Final = 0.6  # an incident below asks a question
STOPS: Final = frozenset({"deadlock", "deadlock_fed", "pfc_storm", "watchdog_drop", "pfc_ignored"})
HEALTHY: Final = "healthy"
EMPTY: Final = "nothing_to_judge"
ALIKE: Final = 3  # findings of one kind that are shown in full; many taps say the same


@dataclass(frozen=True)
class Facts:
    """One analysis, ready to be laid out.

    Attributes
    ----------
    inputs
        POINTS as rows; ``faults`` maps the name of a fault to its count.
    refused
        One line for each input that could not be read at all.
    other_files
        Files met in folders that are no captures.
    findings
        FINDINGS as rows, gravest first; no NaN, absent numbers are None.
    counts
        How much was looked at: packets, roce, distinct, flows, queue_pairs, messages, ...
    events
        EVENTS counted by kind.
    names
        ``device:port`` of the addresses that findings speak of, where a topology knows them.
    incidents
        INCIDENTS as rows, gravest first.
    collectives
        What the job did: a row per communicator and kind (:mod:`dashboards.report.jobs`).
    """

    inputs: list[Row]
    findings: list[Row]
    counts: dict[str, int]
    events: dict[str, int]
    refused: tuple[str, ...] = ()
    other_files: int = 0
    names: dict[str, str] = field(default_factory=dict)
    incidents: list[Row] = field(default_factory=list)
    collectives: list[Row] = field(default_factory=list)
    first_reading: int | None = None  # ns

    @property
    def decided(self) -> list[Row]:
        """Incidents whose cause is decided; the others ask a question."""
        return [row for row in self.incidents if row["confidence"] >= DECIDED]

    @property
    def verdict(self) -> str:
        """The gravest severity above info, ``healthy``, or ``nothing_to_judge``."""
        present = {row["severity"] for row in self.findings}
        present |= {"critical" if row["cls"] in STOPS else "warning" for row in self.decided}
        for severity in SEVERITIES[:-1]:
            if severity in present:
                return str(severity)
        looked = self.counts["roce"] + self.counts["pauses"] + self.counts["readings"]
        return HEALTHY if looked else EMPTY

    @property
    def severities(self) -> dict[str, int]:
        """Findings by severity, all of them named."""
        return {s: sum(row["severity"] == s for row in self.findings) for s in SEVERITIES}

    @property
    def main(self) -> list[Row]:
        """Findings above info."""
        return [row for row in self.findings if row["severity"] != "info"]

    @property
    def notes(self) -> list[Row]:
        """Findings of severity info that are answers."""
        return [row for row in self._info if row["kind"] not in OPEN_KINDS]

    @property
    def undecided(self) -> list[Row]:
        """Findings of severity info that say what could not be decided, and for want of what."""
        return [row for row in self._info if row["kind"] in OPEN_KINDS]

    @property
    def _info(self) -> list[Row]:
        return [row for row in self.findings if row["severity"] == "info"]

    @property
    def begin(self) -> int:
        """Time of the first packet or reading of all, ns; 0 without either."""
        first = [row["first"] for row in self.inputs if row["packets"]]
        return min(first + [self.first_reading] * (self.first_reading is not None), default=0)

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        counts = self.counts
        seen = (
            f"{words.count(counts['roce'], 'RoCE packet')} in "
            f"{words.count(counts['flows'], 'flow')}, {words.count(counts['pauses'], 'pause frame')}"
        )
        if self.counts["readings"]:
            seen += f", {words.count(self.counts['readings'], 'counter reading')}"
        if self.verdict == EMPTY:
            total = words.count(counts["packets"], "packet")
            return f"no RoCE packet and no pause frame among {total}"
        if self.verdict == HEALTHY:
            return f"nothing wrong was seen in {seen}"
        if self.decided:
            row = self.decided[0]
            where = ", ".join(row["roots"][:4]) or "an unknown place"
            why = row["evidence"][0] if row["evidence"] else ""
            return f"{words.kind(row['cls'])} at {where}: {why}"
        return str(self.findings[0]["summary"])


def gather(
    tables: Tables,
    findings: pl.DataFrame,
    refused: Sequence[str] = (),
    other_files: int = 0,
    fabric: Fabric | None = None,
    incidents: pl.DataFrame | None = None,
) -> Facts:
    """Collect what the report says; reads POINTS, FLOWS, EVENTS and counts MESSAGES and COUNTERS."""
    flows = tables.flows.select(
        flows=pl.len(),
        queue_pairs=pl.col("peer_flow").is_not_null().sum() // 2,
        resent=pl.col("resent").sum(),
        copies=pl.col("copies").sum(),
    )
    messages = tables.messages.select(messages=pl.len())
    events = tables.events.group_by("kind").len().sort("kind")
    apart = distinct(tables.flows).select(pl.col("distinct").fill_null(0))
    readings = tables.counters.select(readings=pl.len())
    dated = tables.counters.select(pl.col("ts").min())
    points, event_rows, read, *sums = pl.collect_all(
        [tables.points, events, dated, flows, messages, apart, readings]
    )
    inputs = [_input(row) for row in points.to_dicts()]
    summed = ("packets", "bytes", "roce", "cnp", "pauses", "ce")
    counts = {name: sum(row[name] for row in inputs) for name in summed}
    return Facts(
        inputs=inputs,
        findings=[_no_nan(row) for row in findings.to_dicts()],
        counts=counts | {name: n for row in sums for name, n in row.row(0, named=True).items()},
        events=dict(event_rows.rows()),
        refused=tuple(refused),
        other_files=other_files,
        names=_names(findings, fabric) if fabric else {},
        incidents=[] if incidents is None else [_no_nan(row) for row in incidents.to_dicts()],
        collectives=jobs.gather(tables),
        first_reading=read.item(),
    )


def folded(rows: Sequence[Row], alike: int = ALIKE) -> tuple[list[Row], list[Row]]:
    """The first few rows of each kind and severity, and the others: repeats at other points."""
    seen: Counter[tuple[str, str]] = Counter()
    shown, rest = list[Row](), list[Row]()
    for row in rows:
        key = row["kind"], row["severity"]
        seen[key] += 1
        (shown if seen[key] <= alike else rest).append(row)
    return shown, rest


def _names(findings: pl.DataFrame, fabric: Fabric) -> dict[str, str]:
    """Ports of the addresses in summaries and subjects."""
    texts = [*findings["summary"].to_list(), *findings["subject"].to_list()]
    found = {address for text in texts for address in words.addresses(text)}
    return {a: str(port) for a in sorted(found) if (port := fabric.locate(a))}


def _input(row: Row) -> Row:
    """A row of POINTS with its faults by name."""
    numbers = row.pop("faults_by_kind") or []
    row["faults"] = {
        (Fault(n).name.lower() if n in set(Fault) else str(n)): number
        for n, number in enumerate(numbers)
        if n and number
    }
    return row


def _no_nan(row: Row) -> Row:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }
