"""The capture itself is not sound: dropped packets, a damaged file, unreadable or damaged frames.

Verdicts rest on order and completeness, so whatever the capturing system says about its own losses
(pcapng interface statistics), where a file could not be read to its end, and packets stamped earlier
than their predecessor all lower what can be trusted; none of it says anything about the network. A
wrong ICRC (IBTA A17.3.3) alone is a warning: a packet was damaged where no link checksum guards it,
in a switch, a NIC or the capture. Two interfaces merged into one file disturb the order harmlessly.
"""

from dataclasses import dataclass, field

import polars as pl

from analyzers.detectors import common
from analyzers.tables import Tables
from fabric.codes import Fault
from fabric.topology import Fabric

NEEDS = ("points",)
ADVICE = {
    "capture_drops": "Use a larger capture buffer, a smaller snap length, or a hardware tap.",
    "capture_damaged": "What precedes the damage was read; take the capture again if the end counts.",
    "clock_disorder": "Check the clock of the capturing system; merge files with mergecap.",
    "untimed_packets": "Write the capture with timestamps: pcapng's simple packet blocks have none.",
    "unreadable_frames": "Raise the snap length so that headers fit, where they were truncated.",
    "bad_icrc": "Capture at the next hop as well: where the ICRC turns bad, packets are damaged.",
}


WORDS = {
    Fault.TRUNCATED: "cut by the snap length inside a header",
    Fault.BAD_LENGTH: "with contradicting lengths",
    Fault.FRAGMENT: "later IP fragments",
    Fault.UNKNOWN_OPCODE: "of an unknown opcode",
    Fault.NOT_ROCE: "of another protocol on the RoCE port",
    Fault.NESTING: "in too many encapsulations",
    Fault.UNKNOWN_MAC_CONTROL: "of an unknown MAC control opcode",
    Fault.LINK_TYPE: "of a link type that is not read",
    Fault.NO_INTERFACE: "of an interface that was never described",
}


@dataclass(frozen=True)
class Knobs:
    """When a capture is unsound."""

    warning_share: float = field(
        default=0.01,
        metadata=common.because(
            "share", "Above one percent missing, sequence verdicts are not to be trusted.", "none"
        ),
    )
    least: int = field(
        default=1, metadata=common.because("packets", "The reader should know of any.")
    )


def _cases(tables: Tables, knobs: Knobs) -> pl.LazyFrame:
    """One row per point and case: value (packets concerned) and summary."""
    packets = pl.col("packets")
    number = {fault: pl.col("faults_by_kind").list.get(fault, null_on_oob=True) for fault in Fault}
    reasons = [
        pl.when(number[fault] > 0).then(pl.format(f"{{}} {WORDS[fault]}", number[fault]))
        for fault in WORDS
    ]
    damaged = number[Fault.BAD_ICRC].fill_null(0)
    cases = {
        "capture_drops": (
            pl.col("dropped"),
            pl.format(
                "the capturing system dropped {} beside {} captured",
                common.count(pl.col("dropped"), "packet"),
                packets,
            ),
        ),
        "capture_damaged": (
            (pl.col("damage") != "").cast(pl.Int64) * knobs.least,
            pl.format("reading stopped after {}: {}", common.count(packets, "packet"), "damage"),
        ),
        "clock_disorder": (
            pl.col("unordered"),
            pl.format(
                "{} stamped earlier than the one before",
                common.count(pl.col("unordered"), "packet"),
            ),
        ),
        "untimed_packets": (
            pl.col("untimed"),
            pl.format(
                "{} without a time of their own, of {} in all: spans, rates, round trips, pauses and timeouts "
                "mean nothing there",
                common.count(pl.col("untimed"), "packet"),
                packets,
            ),
        ),
        "unreadable_frames": (
            pl.col("faults") - damaged,
            pl.format(
                "{} not read to the end: {}",
                common.count(pl.col("faults") - damaged, "frame"),
                pl.concat_str(reasons, separator=", ", ignore_nulls=True),
            ),
        ),
        "bad_icrc": (
            damaged,
            pl.format("{} with a wrong invariant checksum", common.count(damaged, "packet")),
        ),
    }
    return pl.concat(
        [
            tables.points.select(
                "point", "packets", judged=pl.col("roce") + pl.col("pauses") > 0, start=pl.col("first").fill_null(0),
                end=pl.col("last").fill_null(0), kind=pl.lit(kind),
                value=number.cast(pl.Float64), summary=text,
            )
            for kind, (number, text) in cases.items()
        ]
    ).filter(pl.col("value") >= knobs.least)  # fmt: skip


def detect(tables: Tables, _fabric: Fabric | None, knobs: Knobs) -> pl.LazyFrame:
    """FINDINGS of kind capture_drops, capture_damaged, clock_disorder, untimed_packets, ... bad_icrc."""
    share = pl.col("value") / (pl.col("value") + pl.col("packets"))
    heavy = (pl.col("kind") == "bad_icrc") | (
        (pl.col("kind") == "capture_drops") & (share >= knobs.warning_share) & pl.col("judged")
    )
    return common.findings(
        _cases(tables, knobs),
        __name__,
        ADVICE,
        severity=pl.when(heavy).then(pl.lit("warning")).otherwise(pl.lit("info")),
        subject=pl.col("point"),
        limit=pl.lit(knobs.least),
        unit=pl.lit("packets"),
    )
