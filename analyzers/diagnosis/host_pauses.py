"""A host that holds its switch: pfc_storm, slow_receiver, pcie_bottleneck (A4, A5, A6).

A switch port towards a host can only be held by that host: nothing drains behind it but its own
memory. If it is held without a break the NIC has stopped receiving: a storm (watchdogs ask for 99 % of
the measured interval, sonic-swss #3036; here the first and the last interval may be partial). If it is
held part of the time the receiver takes less than it is sent: slow.

Confounder of both (A3): a host link that is merely full. Then the port sends at line rate in the time
it is not held and nobody holds it; here it is held, which a full link never is.
Confounder of the storm: a slow receiver seen through long intervals. It lets some bytes through in
each, so that not one interval is held from end to end.
"""

from dataclasses import dataclass, field

import numpy as np

from analyzers.detectors.common import because
from analyzers.diagnosis.causes import Case, Cause, percent
from analyzers.diagnosis.evidence import runs


@dataclass(frozen=True)
class Knobs:
    """When a host's holds are a cause."""

    whole: float = field(
        default=0.97,
        metadata=because("share", "Watchdogs ask for 0.99; a sample's clock is off by a percent."),
    )
    storm_cells: int = field(
        default=3,
        metadata=because("samples", "Held from end to end in so many samples one after another."),
    )
    duty: float = field(
        default=0.10,
        metadata=because("share", "Pause pressure, diagnosis.md 2.1: 10 % of the time."),
    )
    least_cells: int = field(
        default=2, metadata=because("samples", "One sample may hold a single late XON.")
    )
    held_cells: float = field(
        default=0.6,
        metadata=because("samples", "Held in all; twice that where holds are inferred only."),
    )
    gap: int = field(
        default=3,
        metadata=because("samples", "A receiver that pauses now and then is one episode."),
    )


def find(case: Case, knobs: Knobs = Knobs()) -> list[Cause]:
    """One cause per host port and stretch of time."""
    s, e = case.signals, case.evidence
    found = []
    for x in np.flatnonzero(~s.host & (s.peer >= 0)):
        host = int(s.peer[x])
        if not s.host[host]:
            continue
        for first, last in runs(e.is_held[x], knobs.gap):
            cause = _judge(case, int(x), host, first, last, knobs)
            if cause:
                found.append(cause)
    return found


def _sure_of_storm(whole: int, knobs: Knobs) -> float:
    """Three samples from end to end may also be a receiver that is slow for once; more hardly."""
    return 0.55 if whole <= knobs.storm_cells else min(0.99, 0.8 + 0.04 * whole)


def _judge(case: Case, x: int, host: int, first: int, last: int, knobs: Knobs) -> Cause | None:
    e, s = case.evidence, case.signals
    held = np.nan_to_num(e.held[x, first:last])
    from_end = max(runs(held >= knobs.whole), key=lambda run: run[1] - run[0], default=(0, 0))
    whole = from_end[1] - from_end[0]
    # Of what the storm's longest stretch leaves over, nothing may be a habit of letting go.
    inner = np.delete(held, np.arange(*from_end))[1:-1]
    habit = len(inner) >= max(whole, 1) and float(inner.mean()) < 0.9
    duty = float(held.mean())
    sent = (
        float(np.nanmean(e.sent[x, first:last]))
        if np.isfinite(e.sent[x, first:last]).any()
        else 0.0
    )
    missing = (
        () if e.counted else ("received pause time: the hold is inferred from frames and load",)
    )
    lost = float(held.sum()) * s.step_ns
    if whole >= knobs.storm_cells and not habit:
        return Cause(
            "pfc_storm", "port", (host,), first, last,
            sure=_sure_of_storm(whole, knobs) - (0 if e.counted else 0.05),
            why=(
                (f"{case.name(host)} held {case.name(x)} for {case.span(first, last)}, "
                f"{percent(duty)} of it, {whole} samples from end to end"),
                f"{case.name(x)} sent {percent(sent)} of line rate meanwhile",
            ),
            against=(
                ("slow_receiver", f"it would let bytes through; {whole} samples in a row did not"),
                ("incast", f"{case.name(x)} would send at line rate; it was held"),
            ),
            missing=missing, lost_ns=lost,
        )  # fmt: skip
    enough = knobs.held_cells if e.counted else 2 * knobs.held_cells
    if last - first < knobs.least_cells or duty < knobs.duty or held.sum() < enough:
        return None
    if whole >= knobs.storm_cells:
        against = ("pfc_storm", f"held from end to end in {whole} samples, but let go in between")
    else:
        against = ("pfc_storm", f"never held through {knobs.storm_cells} samples in a row")
    return Cause(
        "slow_receiver", "port", (host,), first, last,
        sure=min(0.97, 0.75 + 0.03 * (last - first)) - (0 if e.counted else 0.1),
        why=(
            f"{case.name(host)} held {case.name(x)} for {percent(duty)} of {case.span(first, last)}",
            f"{case.name(x)} sent {percent(sent)} of line rate, held back by nobody else",
        ),
        against=(
            against,
            ("pcie_bottleneck", "same behaviour on the wire; PCIe stall counters would tell"),
            ("incast", "a full link is not held by its host"),
        ),
        missing=(*missing, "PCIe stall counters of the host"), lost_ns=lost,
    )  # fmt: skip
