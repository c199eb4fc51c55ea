"""COUNTERS and a topology as arrays on one time grid: port by time, one array per counter.

A cell shows what the device itself counted in the interval that covers the cell's middle, divided by
the interval it measured; nothing is interpolated, so that a silent interval stays silent. Devices read
at moments of their own: between two devices a cell may be off by one interval. What is not counted is
NaN. A device that reports nothing is filled from the other ends of its cables, as far as they know:
what one end received the other has sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from fabric.cables import Port
from fabric.counters import COUNTERS as CANONICAL
from fabric.topology import Fabric

Array = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

FRAMING_BYTES: Final = 24  # preamble, start delimiter, FCS and gap: IEEE 802.3 clauses 3.1.1, 4.4.2

# What is read, under which name it stands here. The objects differ; the names must not.
READ: Final[dict[tuple[str, str], str]] = {
    ("port", "link_bps"): "link_bps",
    ("port", "rx_bytes"): "rx_bytes",
    ("port", "tx_bytes"): "tx_bytes",
    ("port", "rx_packets"): "rx_packets",
    ("port", "tx_packets"): "tx_packets",
    ("port", "rx_crc_errors"): "crc",
    ("port", "rx_cnp"): "rx_cnp",
    ("port", "tx_cnp"): "tx_cnp",
    ("port", "rx_ce_packets"): "rx_ce",
    ("port", "rx_naks"): "rx_naks",
    ("priority", "rx_pfc_frames"): "rx_pfc",
    ("priority", "tx_pfc_frames"): "tx_pfc",
    ("priority", "rx_xoff"): "rx_xoff",
    ("priority", "tx_xoff"): "tx_xoff",
    ("priority", "rx_pause_ns"): "rx_pause",
    ("priority", "tx_pause_ns"): "tx_pause",
    ("queue", "ecn_marked_packets"): "marked",
    ("queue", "queue_bytes"): "queue",
    ("queue", "queue_peak_bytes"): "peak",
    ("queue", "dropped_packets"): "egress_drops",
    ("queue", "watchdog_storms"): "watchdog_storms",
    ("queue", "watchdog_drops"): "watchdog_drops",
    ("pg", "dropped_packets"): "ingress_drops",
    ("pg", "occupancy_bytes"): "occupancy",
    ("pg", "headroom_peak_bytes"): "headroom",
}
CUMULATIVE: Final = frozenset(
    name for key, name in READ.items() if CANONICAL[key].kind == "cumulative"
)
# What one end counts is what the other end did: (here, at the peer).
MIRRORED: Final = (
    ("tx_bytes", "rx_bytes"),
    ("rx_bytes", "tx_bytes"),
    ("tx_packets", "rx_packets"),
    ("rx_packets", "tx_packets"),
    ("rx_pfc", "tx_pfc"),
    ("tx_pfc", "rx_pfc"),
    ("rx_xoff", "tx_xoff"),
    ("tx_xoff", "rx_xoff"),
    ("rx_pause", "tx_pause"),
    ("tx_pause", "rx_pause"),
)


@dataclass(frozen=True)
class Signals:
    """Readings of one priority on a grid. Arrays are (ports, cells); counts are per cell.

    ``own`` keeps what the devices themselves said before the peers filled the gaps.
    """

    fabric: Fabric
    ports: tuple[Port, ...]
    number: Mapping[Port, int]
    peer: Longs  # number of the port at the other end; -1 none
    device: Longs  # number of the device that owns the port
    devices: tuple[str, ...]
    host: npt.NDArray[np.bool_]  # the port belongs to a host
    speed_bps: Array  # nominal; NaN unknown
    silent: frozenset[str]  # devices of the topology that reported nothing
    priority: int
    start_ns: int  # begin of the first cell
    step_ns: int
    cells: int
    values: Mapping[str, Array]
    totals: Mapping[str, Array]  # increase over the whole run, per port
    own: frozenset[str] = field(default_factory=frozenset)
    faults: tuple[str, ...] = ()  # readings that contradict themselves

    def get(self, name: str) -> Array:
        """The array of a counter; all NaN where nobody counts it."""
        found = self.values.get(name)
        return np.full((len(self.ports), self.cells), np.nan) if found is None else found

    def total(self, name: str) -> Array:
        """Increase of a counter over the run, per port; NaN where it is not counted."""
        found = self.totals.get(name)
        return np.full(len(self.ports), np.nan) if found is None else found

    def has(self, name: str) -> bool:
        """Whether any device counts it."""
        return name in self.own

    def time(self, cell: int) -> int:
        """Begin of a cell."""
        return self.start_ns + cell * self.step_ns

    def on(self, device: int) -> Longs:
        """Ports of a device."""
        return np.flatnonzero(self.device == device)


Longs2 = tuple[Longs, Longs]
Readings = dict[tuple[str, str, int], dict[tuple[str, str], Longs2]]
"""(object, counter, index) -> (device, port) -> times and values, sorted by time."""

MOVING: Final = frozenset(
    {"rx_pfc_frames", "tx_pfc_frames", "rx_xoff", "rx_pause_ns", "tx_pause_ns"}
    | {"ecn_marked_packets", "dropped_packets", "watchdog_storms"}
)


def readings(counters: pl.DataFrame) -> Readings:
    """COUNTERS apart by what was read where; the names that nobody reads here are left out.

    Rows are grouped by a 64-bit hash of their names: a tenth of the time that the names themselves take.
    """
    keys = ["device", "port", "object", "index", "counter"]
    rows = (
        counters.lazy()
        .with_columns(key=pl.struct(keys).hash())
        .group_by("key")
        .agg(pl.col(keys).first(), "ts", "value")
        .collect()
    )
    found: Readings = {}
    names = rows.select(keys).rows()
    for (device, port, of, index, counter), ts, value in zip(
        names, rows["ts"], rows["value"], strict=True
    ):
        if (of, counter) not in READ:
            continue
        moments, told = ts.to_numpy(), value.to_numpy()
        if len(moments) > 1 and not (moments[1:] > moments[:-1]).all():
            order = np.argsort(moments, kind="stable")
            moments, told = moments[order], told[order]
            fresh = np.append(True, moments[1:] > moments[:-1])
            moments, told = moments[fresh], told[fresh]
        if len(moments) > 1:
            found.setdefault((of, counter, index), {})[device, port] = (moments, told)
    return found


def priorities(read: Readings) -> list[int]:
    """Priorities that show pauses, marks or drops; the first known one where none does."""
    moved = {
        index
        for (_, counter, index), places in read.items()
        if counter in MOVING
        and index >= 0
        and any(told.max() > told.min() for _, told in places.values())
    }
    if moved:
        return sorted(moved)
    return sorted({index for of, _, index in read if of == "queue"})[:1] or [-1]


def signals(read: Readings, fabric: Fabric, priority: int) -> Signals | None:
    """Arrays of one priority; None where the readings hold fewer than two moments."""
    ports = tuple(sorted({end for link in fabric.wiring().links for end in (link.a, link.b)}))
    number = {port: i for i, port in enumerate(ports)}
    series = _series(read, number, priority)
    if not series:
        return None
    start, step, cells = _grid(series)
    if cells < 1:
        return None
    middles = start + step * np.arange(cells) + step // 2
    values, totals, faults = _sampled(series, len(ports), middles, step)
    devices = tuple(sorted({port.device for port in ports}))
    numbers = {name: i for i, name in enumerate(devices)}
    heard = {ports[port].device for _, port in series}
    bare = Signals(
        fabric=fabric,
        ports=ports,
        number=number,
        peer=np.array([_peer(fabric, number, port) for port in ports], np.int64),
        device=np.array([numbers[port.device] for port in ports], np.int64),
        devices=devices,
        host=np.array([fabric.role(port.device) == "host" for port in ports]),
        speed_bps=_speeds(fabric, ports, values.get("link_bps")),
        silent=frozenset(set(devices) - heard),
        priority=priority,
        start_ns=start,
        step_ns=step,
        cells=cells,
        values=values,
        totals=totals,
        own=frozenset(values),
        faults=tuple(f"{ports[port]}: {what}" for port, what in faults),
    )
    return _mirrored(bare)


def _peer(fabric: Fabric, number: Mapping[Port, int], port: Port) -> int:
    other = fabric.peer(port)
    return -1 if other is None else number.get(other, -1)


def _speeds(fabric: Fabric, ports: tuple[Port, ...], told: Array | None) -> Array:
    """Nominal speed: of the topology, else the highest that the port ever reported."""
    speeds = np.array([float(fabric.speed_bps(port)) or np.nan for port in ports])
    if told is not None:
        with np.errstate(invalid="ignore"):
            best = np.nanmax(np.where(np.isfinite(told), told, -1.0), axis=1)
        speeds = np.where(np.isfinite(speeds) | (best <= 0), speeds, best)
    return speeds


Series = dict[tuple[str, int], Longs2]


def _series(read: Readings, number: Mapping[Port, int], priority: int) -> Series:
    """Times and readings by (name, port number)."""
    found: Series = {}
    for (of, counter, index), places in read.items():
        if of != "port" and index != priority:
            continue
        for (device, port), pair in places.items():
            place = number.get(Port(device, port))
            if place is not None:
                found[READ[of, counter], place] = pair
    return found


def _grid(series: Series) -> tuple[int, int, int]:
    """Begin, step and number of cells: the step is the median of all measured intervals."""
    steps, first, last = [], [], []
    seen: set[tuple[int, int, int]] = set()
    for moments, _ in series.values():
        clock = (int(moments[0]), int(moments[-1]), len(moments))
        if clock not in seen:
            seen.add(clock)
            steps.append(int(np.median(np.diff(moments))))
            first.append(clock[0])
            last.append(clock[1])
    step = max(int(np.median(steps)), 1)
    start = min(first)
    return start, step, max((max(last) - start) // step, 1)


def _sampled(
    series: Series, ports: int, middles: Longs, step: int
) -> tuple[dict[str, Array], dict[str, Array], list[tuple[int, str]]]:
    """Readings on the grid, increases over the run, and what contradicts itself."""
    values: dict[str, Array] = {}
    totals: dict[str, Array] = {}
    faults: list[tuple[int, str]] = []
    places: dict[tuple[int, int, int], tuple[Longs, npt.NDArray[np.bool_]]] = {}
    for (name, port), (moments, readings) in series.items():
        if name not in values:
            values[name] = np.full((ports, len(middles)), np.nan)
            totals[name] = np.full(ports, np.nan)
        key = (int(moments[0]), int(moments[-1]), len(moments))
        if key not in places:
            at = np.searchsorted(moments, middles)  # the interval ends at moments[at]
            places[key] = (np.clip(at, 1, len(moments) - 1), (at >= 1) & (at < len(moments)))
        at, inside = places[key]
        if name in CUMULATIVE:
            rise = np.diff(readings)
            fell = rise < 0
            if fell.any():  # counted on from zero after a reset or a wrap: the least it can be
                rise = np.where(fell, readings[1:], rise)
                faults.append((port, f"{name} fell {int(fell.sum())} times"))
            share = rise * (step / np.diff(moments))
            values[name][port] = np.where(inside, share[at - 1], np.nan)
            totals[name][port] = float(rise.sum())
        else:
            values[name][port] = np.where(inside, readings[at], np.nan)
            totals[name][port] = float(readings.max())
    return values, totals, faults


def _mirrored(bare: Signals) -> Signals:
    """Fill what a silent device did not say from the other ends of its cables."""
    values, totals = dict(bare.values), dict(bare.totals)
    linked = np.flatnonzero(bare.peer >= 0)
    for here, there in MIRRORED:
        source = bare.values.get(there)
        if source is None:
            continue
        mine = values[here].copy() if here in values else np.full_like(source, np.nan)
        gap = np.isnan(mine[linked])
        mine[linked] = np.where(gap, source[bare.peer[linked]], mine[linked])
        values[here] = mine
        total = totals[here].copy() if here in totals else np.full(len(bare.ports), np.nan)
        gap = np.isnan(total[linked])
        total[linked] = np.where(gap, bare.totals[there][bare.peer[linked]], total[linked])
        totals[here] = total
    return replace(bare, values=values, totals=totals)
