"""One tap from its first byte to its rows: the streaming loop of ``fabric analyze``.

Windows of the file become batches, batches become rows of tables, and nothing of a packet is left
when the next window is read. What is known only at the end (the speed of the link, hence how long a
pause lasted) is worked out of the rows that were spilled.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analyzers.breaches import CLASS_SELECTOR, Breaches
from analyzers.capture.batch import ROWS, Batch, Tally, grow_tally, make_batch, make_tally
from analyzers.capture.decode import decode
from analyzers.capture.icrc import verify_icrc
from analyzers.capture.pcapng import Interface
from analyzers.capture.reader import WINDOW_BYTES, Reader
from analyzers.capture.source import Tap
from analyzers.frames import empty, schema
from analyzers.memory import return_freed
from analyzers.packets import packets
from analyzers.pauses import Link, bin_width, pauses
from analyzers.places import Places
from analyzers.silences import silences
from analyzers.spill import Part, Spill
from analyzers.transport.flows import Emit, Flows, Limits
from analyzers.transport.rows import Points
from analyzers.transport.windows import peak_rate_bps
from fabric.schema import POINTS, TABLES, TRAFFIC
from fabric.topology import Port

Progress = Callable[[int, int], None]

DECLARED = {table.name.lower(): table for table in TABLES}
# Nominal speeds of Ethernet ports: IEEE 802.3, its amendments bz (2.5, 5) and df (800, 1600).
NOMINAL_GBPS = (1, 2.5, 5, 10, 25, 40, 50, 100, 200, 400, 800, 1600)
CLOCK_ERROR = 0.03  # how much faster than its link a train may seem


class Work(NamedTuple):
    """A tap to be read, and all that whoever reads it must know."""

    number: int
    tap: Tap
    folder: Path  # its own, for parts
    limits: Limits = Limits()
    speed_bps: int = 0  # given for all points; 0 not given
    speeds: Mapping[str, int] = {}  # given for single points
    places: Places | None = None  # where points and addresses are
    packets: bool = False
    icrc: bool = False
    window_bytes: int = WINDOW_BYTES
    batch_rows: int = ROWS
    to_disk: bool = False  # leave no rows in memory: another process will read them


class Rows(NamedTuple):
    """What became of a tap: parts of its tables by name, in order."""

    parts: dict[str, list[Part]]
    evicted: int  # flows ended because there were too many


def read_tap(work: Work, progress: Progress | None = None) -> Rows:
    """Read a tap to its end; ValueError or OSError where it cannot be read at all."""
    return _Reading(work, progress).run()


def list_packets(work: Work) -> Iterator[tuple[int, pl.DataFrame]]:
    """PACKETS of a tap while it is read, each with the time of the tap's first packet, ns.

    Nothing else is kept, and what is not asked for is not read. Raises as :func:`read_tap` does.
    """
    found: list[pl.DataFrame] = []

    def keep(name: str, frame: pl.DataFrame, /, *, borrowed: bool = False) -> None:  # noqa: ARG001
        if name == "packets":
            found.append(frame)

    reading = _Reading(work._replace(packets=True), None, keep)
    for _ in reading.windows():
        first = int(reading.tally[:, Tally.FIRST].min())
        yield from ((first, frame) for frame in found)
        found.clear()


def nominal_bps(rate_bps: float) -> int:
    """The least nominal speed that can carry a measured rate; 0 where none was measured."""
    if rate_bps <= 0:
        return 0
    fits = [round(g * 1e9) for g in NOMINAL_GBPS if g * 1e9 * (1 + CLOCK_ERROR) >= rate_bps]
    return fits[0] if fits else round(rate_bps)


class _Reading:
    """The tap that is being read; its rows go to ``emit``, to be spilled where none is given."""

    def __init__(self, work: Work, progress: Progress | None, emit: Emit | None = None) -> None:
        return_freed()
        self.work = work
        self.emit = emit or self._spill
        self.points = Points(work.tap.point)
        self.spills: dict[str, Spill] = {}
        self.ports: dict[str, Port | None] = {}  # by name of the interface, as asked for
        self.reader = Reader(work.tap.paths, window_bytes=work.window_bytes, progress=progress)
        self.tally: NDArray[np.int64] = make_tally(0)
        keep = self._packets if work.packets else None
        self.flows = Flows(work.number, self.points, self.emit, work.limits, keep)
        self.breaches = Breaches(self.points, self._emit_placed, self._priorities())
        self.icrc = np.empty(work.batch_rows, np.int8) if work.icrc else None

    def _spill(self, name: str, frame: pl.DataFrame, /, *, borrowed: bool = False) -> None:
        """Add rows to a table."""
        if name not in self.spills:
            self.spills[name] = Spill(self.work.folder, DECLARED[name])
        self.spills[name].append(frame, borrowed=borrowed)

    def run(self) -> Rows:
        """All windows, then what can only be said at the end."""
        for _ in self.windows():
            pass
        self._meet_interfaces()
        self.flows.finish()
        self.breaches.finish()
        self._finish()
        parts = {
            name: spill.parts(to_disk=self.work.to_disk) for name, spill in self.spills.items()
        }
        return Rows(parts, self.flows.evicted)

    def windows(self) -> Iterator[int]:
        """Take in one window after the other; the number of rows kept of each."""
        batch = make_batch(self.work.batch_rows)
        for rows in self.reader.windows(batch):
            self._meet_interfaces()
            window = self.reader.window
            kept = decode(window, batch, rows, self.reader.link_types, self.tally)
            if self.icrc is not None:
                verify_icrc(window, batch, kept, self.tally, self.icrc)
            self.breaches.take(window, batch, kept, self.tally)
            self.flows.take(batch, kept)
            yield kept

    def _meet_interfaces(self) -> None:
        """Make room for interfaces that were described since the last window."""
        interfaces = self.reader.interfaces
        for found in interfaces[len(self.points.names) :]:
            self.points.add(found.name)
        if len(self.tally) <= len(interfaces):
            self.tally = grow_tally(self.tally, len(interfaces))
            self.flows.set_interfaces(len(interfaces))
        drops = sum(max(found.dropped, 0) for found in interfaces)
        speeds = [self._known_speed(n)[0] for n in range(len(interfaces))]
        self.flows.set_link(min(speeds, default=0), drops)
        self.breaches.set_links(speeds, self.reader.link_types)

    def _packets(self, batch: Batch, lo: int, hi: int, flows: NDArray[np.int64]) -> None:
        self.emit("packets", packets(batch, lo, hi, flows, self.points, self.icrc))

    def _known_speed(self, number: int) -> tuple[int, str]:
        """Speed of the link at an interface and who says so, before anything was measured."""
        work, point = self.work, self.points.names[number]
        if given := work.speeds.get(point, work.speed_bps):
            return given, "given"
        if work.places and (planned := work.places.speed_bps(self._port(number))):
            return planned, "topology"
        described = self.reader.interfaces[number].speed_bps
        return (described, "given") if described else (0, "unknown")

    def _port(self, number: int) -> Port | None:
        """Where an interface is, by the topology."""
        places, interfaces = self.work.places, self.reader.interfaces
        if places is None:
            return None
        name = interfaces[number].name if len(interfaces) > 1 else ""
        if name not in self.ports:
            self.ports[name] = places.port(self.work.tap.point, name)
        return self.ports[name]

    def _priorities(self) -> Sequence[int]:
        """Priorities of the DSCPs at this tap: as its port is configured, else by class selector."""
        places = self.work.places
        port = places.port(self.work.tap.point) if places else None
        return places.priorities.get(port, CLASS_SELECTOR) if places and port else CLASS_SELECTOR

    def _emit_placed(self, name: str, frame: pl.DataFrame) -> None:
        """Rows about pauses, with places instead of addresses where the topology has them."""
        if self.work.places and not frame.is_empty():
            near = {point: self._port(n) for n, point in enumerate(self.points.names)}
            frame = self.work.places.pauses(frame, near).select(DECLARED[name].names)
        self.emit(name, frame)

    def _speed(self, number: int) -> tuple[int, str]:
        """The same at the end: the peak rate of packet trains tells what nobody else does."""
        known, source = self._known_speed(number)
        if known:
            return known, source
        measured = nominal_bps(peak_rate_bps(self.flows.ledger.rates[number]))
        return (measured, "inferred") if measured else (0, "unknown")

    def _finish(self) -> None:
        """Write POINTS, PAUSES, PAUSE_WINDOWS and TRAFFIC."""
        interfaces = self.reader.interfaces
        rows, links = [], dict[str, Link]()
        for number, found in enumerate(interfaces):
            name, speed = self.points.names[number], self._speed(number)
            row = self._point(name, found, self.tally[number], *speed)
            rows.append(row)
            counts = self.tally[number]
            first, last = int(counts[Tally.FIRST]), int(counts[Tally.LAST])
            links[name] = Link(speed[0], last, bin_width(max(last - first, 0)))
        if self.tally[-1, Tally.PACKETS] or not rows:
            stray = Interface(-1, dropped=-1)
            rows.append(self._point(self.points.stray, stray, self.tally[-1], 0, "unknown"))
        self.emit("points", pl.DataFrame(rows, schema=schema(POINTS)))
        if "pause_frames" in self.spills:
            pauses(self.spills["pause_frames"].frames(), links, self._emit_placed)
        if {"flow_windows", "messages"} <= self.spills.keys():
            named = ("flows", "flow_windows", "messages", "events")
            self._emit_placed("pauses", silences(*(self._scan(name) for name in named)))
        if "flows" in self.spills:
            self.emit("traffic", traffic(self.spills["flows"].scan()))

    def _scan(self, name: str) -> pl.LazyFrame:
        """The rows of a table so far."""
        return self.spills[name].scan() if name in self.spills else empty(DECLARED[name]).lazy()

    def _point(
        self, name: str, found: Interface, tally: NDArray[np.int64], speed_bps: int, source: str
    ) -> dict[str, object]:
        """A row of POINTS."""
        counts = dict(zip([column.name.lower() for column in Tally], tally.tolist(), strict=False))
        faults = tally[Tally.FAULTS :].tolist()
        seen = counts["packets"] > 0
        return {
            "point": name,
            "path": " ".join(self.work.tap.paths),
            "interface": found.name,
            "link_type": found.link_type,
            "first": counts["first"] if seen else None,
            "last": counts["last"] if seen else None,
            "packets": counts["packets"],
            "bytes": counts["wire_bytes"],
            "roce": counts["roce"],
            "cnp": counts["cnp"],
            "pauses": counts["pfc"] + counts["global_pause"],
            "ce": counts["ce"],
            "faults": sum(faults[1:]),
            "faults_by_kind": faults,
            "dropped": found.dropped,
            "unordered": counts["unordered"],
            "untimed": self.reader.untimed if name == (self.points.names or [name])[0] else 0,
            "speed_bps": speed_bps,
            "speed_source": source,
            "damage": self.reader.damage,
        }


def traffic(flows: pl.LazyFrame) -> pl.DataFrame:
    """TRAFFIC rows: FLOWS summed up by pairs of addresses."""
    summed = flows.group_by("point", "src", "dst").agg(
        flows=pl.len(),
        packets=pl.col("packets").sum(),
        bytes=pl.col("wire_bytes").sum(),
        payload_bytes=pl.col("payload_bytes").sum(),
        first=pl.col("first").min(),
        last=pl.col("last").max(),
    )
    columns = [pl.col(name).cast(kind) for name, kind in schema(TRAFFIC).items()]
    return summed.select(columns).sort("point", "src", "dst").collect()
