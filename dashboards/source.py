"""What pages ask of the data, whatever it is: captures, a kept result, a simulated run, a store.

A :class:`Reader` hands over tables; :class:`Source` asks the views of :mod:`analyzers.views` about them
and remembers the answers until the reader's ``version`` changes. Nothing is computed here.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, Protocol, runtime_checkable

import polars as pl

from analyzers.tables import Tables
from analyzers.views import fleet, load, metrics, sequence, series, targets
from analyzers.views.metrics import METRICS
from dashboards.state import State
from fabric.inventory import Inventory
from fabric.schema import FINDINGS
from fabric.topology import Fabric

ANSWERS: Final = 64  # remembered per source
SETTLED: Final = 240  # pieces kept at most
SETTLED_ROWS: Final = 8_000_000  # in them: half a gigabyte
TOGETHER: Final = ("pause", "ecn", "drops", "use")  # what the first page shows is read at once
CHUNK_INTERVALS: Final = 10  # readings in a piece
RECENT_INTERVALS: Final = 120  # shown of a store at first, fewer of a large fabric
LEAST_INTERVALS: Final = 20
RECENT_CELLS: Final = 400_000  # ports times intervals
INTERVAL_FROM_NS: Final = 3600 * 1_000_000_000  # the last hour tells how often is read
CURVE_BUCKETS: Final = 600  # of a picture: about what it has in pixels
LOOK_BACK_INTERVALS: Final = 3  # a reading older than this many intervals is not "now"


class Reader(Protocol):
    """Where tables come from."""

    @property
    def title(self) -> str:
        """What it is, for the header."""

    @property
    def kind(self) -> str:
        """captures, result, run or store."""

    @property
    def live(self) -> bool:
        """Whether more is to come."""

    def version(self) -> Hashable:
        """Changes when there is something new; OSError or ValueError where the data is gone."""

    def tables(self) -> Tables:
        """All tables; FINDINGS and INCIDENTS included."""

    def inventory(self) -> Inventory | None:
        """The description of the fabric; None unknown."""


@runtime_checkable
class Growing(Protocol):
    """A reader of more readings than one wants to look through: it is asked for a time range."""

    def known(self) -> tuple[int, int]:
        """First and last reading (ns); 0, 0 without any."""

    def counters(self, start: int, end: int) -> pl.LazyFrame:
        """COUNTERS with start <= ts < end."""

    def over(self) -> set[str]:
        """Ids of the incidents that are over."""


class Memory:
    """Answers kept until the version changes; one thread computes each."""

    def __init__(self, most: int = ANSWERS, most_rows: int = 1 << 62) -> None:
        self._most = most
        self._most_rows = most_rows
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._version: Hashable = None
        self._lock = threading.Lock()
        self._busy: dict[Hashable, threading.Lock] = {}

    def get(self, version: Hashable, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The remembered answer, or a new one."""
        with self._lock:
            if version != self._version:
                self._kept.clear()
                self._version = version
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            busy = self._busy.setdefault(key, threading.Lock())
        with busy:
            with self._lock:
                if version == self._version and key in self._kept:
                    return self._kept[key]
            value = compute()
            with self._lock:
                self._busy.pop(key, None)
                if version == self._version:
                    self._kept[key] = value
                    while len(self._kept) > self._most or (
                        len(self._kept) > 1
                        and sum(map(_rows, self._kept.values())) > self._most_rows
                    ):
                        self._kept.popitem(last=False)
        return value

    def forget(self, key: Hashable) -> None:
        """Let it be computed anew."""
        with self._lock:
            self._kept.pop(key, None)


def _rows(answer: Any) -> int:
    """Rows of the frames in an answer."""
    if isinstance(answer, dict):
        return sum(map(_rows, answer.values()))
    return answer.height if isinstance(answer, pl.DataFrame) else 0


class Source:
    """The questions of the pages."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._memory = Memory()
        self._settled = Memory(SETTLED, SETTLED_ROWS)  # what cannot change any more

    @property
    def title(self) -> str:
        """What is looked at, for the header."""
        return self.reader.title

    def _ask(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        return self._memory.get(self.reader.version(), key, compute)

    @property
    def tables(self) -> Tables:
        """All tables as they are now."""
        found: Tables = self._ask("tables", self.reader.tables)
        return found

    @property
    def inventory(self) -> Inventory | None:
        """The description of the fabric; None unknown."""
        found: Inventory | None = self._ask("inventory", self.reader.inventory)
        return found

    @property
    def fabric(self) -> Fabric | None:
        """The topology; None unknown."""
        return self.inventory.fabric if self.inventory else None

    # -- time ---------------------------------------------------------------------------------------

    def known(self) -> tuple[int, int]:
        """First and last moment (ns) of which anything is known; 0, 0 where nothing is."""
        found: tuple[int, int] = self._ask("known", self._known)
        return found

    def span(self, state: State) -> tuple[int, int]:
        """The time range a URL asks for; of a store the last stretch where it asks for none."""
        known = self.known()
        if not isinstance(self.reader, Growing) or state.bounded:
            return state.span(known)
        interval = max(self.interval_ns(), 1)
        ports = self._chunk("use", self._chunks((known[1], known[1]))[0]).height // CHUNK_INTERVALS
        shown = min(max(RECENT_CELLS // max(ports, 1), LEAST_INTERVALS), RECENT_INTERVALS)
        return max(known[0], known[1] - interval * shown), known[1]

    def _known(self) -> tuple[int, int]:
        if isinstance(self.reader, Growing):
            return self.reader.known()
        tables = self.tables
        times = pl.collect_all(
            [
                tables.counters.select(low=pl.col("ts").min(), high=pl.col("ts").max()),
                tables.points.filter(pl.col("packets") > 0).select(
                    low=pl.col("first").min(), high=pl.col("last").max()
                ),
                tables.findings.select(low=pl.col("start").min(), high=pl.col("end").max()),
            ]
        )
        ends = pl.concat(times).drop_nulls()
        if ends.is_empty():
            return 0, 0
        return int(ends["low"].min()), int(ends["high"].max())  # type: ignore[arg-type]

    # -- what was found -----------------------------------------------------------------------------

    def findings(self) -> pl.DataFrame:
        """FINDINGS, gravest first."""
        found: pl.DataFrame = self._ask("findings", self.tables.findings.collect)
        return found

    def incidents(self) -> pl.DataFrame:
        """INCIDENTS in the order in which the diagnosis ranks them."""
        found: pl.DataFrame = self._ask("incidents", self.tables.incidents.collect)
        return found

    def over(self) -> set[str]:
        """Ids of the incidents that are over; in what does not grow any more, none is."""
        if not isinstance(self.reader, Growing):
            return set()
        found: set[str] = self._ask("over", self.reader.over)
        return found

    def points(self) -> pl.DataFrame:
        """POINTS."""
        found: pl.DataFrame = self._ask("points", self.tables.points.collect)
        return found

    def audit(self) -> pl.DataFrame:
        """FINDINGS of the configuration checks; empty where no configuration is known."""
        from analyzers.audit import audit
        from analyzers.frames import empty

        inventory = self.inventory
        if inventory is None:
            return empty(FINDINGS)
        found: pl.DataFrame = self._ask("audit", lambda: audit(inventory))
        return found

    # -- counters -----------------------------------------------------------------------------------

    def links(self) -> pl.DataFrame:
        """LINKS."""
        found: pl.DataFrame = self._ask("links", self.tables.links.collect)
        return found

    def has_counters(self) -> bool:
        """Whether any counter was collected."""
        found: bool = self._ask(
            "has_counters", lambda: not self.tables.counters.head(1).collect().is_empty()
        )
        return found

    def metric(self, key: str, span: tuple[int, int]) -> pl.DataFrame:
        """A metric of every port at every reading in a range: ts, device, port, value."""
        parts = [self._chunk(key, chunk) for chunk in self._chunks(span)]
        return pl.concat(parts).filter(pl.col("ts").is_between(*span))

    def _chunks(self, span: tuple[int, int]) -> list[tuple[int, int]]:
        """The range in aligned pieces, each remembered for itself; one piece where nothing grows."""
        if not isinstance(self.reader, Growing):
            return [self.known()]
        width = self._chunk_ns()
        first, last = span[0] // width, span[1] // width
        return [(n * width, (n + 1) * width) for n in range(first, last + 1)]

    def _chunk_ns(self) -> int:
        return max(self.interval_ns() * CHUNK_INTERVALS, 1)

    def _chunk(self, key: str, chunk: tuple[int, int]) -> pl.DataFrame:
        """A metric in one piece; what lies well behind the newest reading is kept for good."""
        together = TOGETHER if key in TOGETHER else (key,)
        name = ("metrics", together, chunk)
        if isinstance(self.reader, Growing) and chunk[1] < self.known()[1] - self._chunk_ns():
            found = self._settled.get(0, name, lambda: self._metrics(together, chunk))
        else:
            found = self._ask(name, lambda: self._metrics(together, chunk))
        rows: pl.DataFrame = found[key]
        return rows

    def _metrics(self, keys: tuple[str, ...], chunk: tuple[int, int]) -> dict[str, pl.DataFrame]:
        """Computed from the readings of a piece, read once, and a little before: a rate needs two."""
        links = self.links()
        if not isinstance(self.reader, Growing):
            counters = self.tables.counters
            return {key: metrics.port_metric(counters, METRICS[key], links) for key in keys}
        start, end = chunk
        back = LOOK_BACK_INTERVALS * self.interval_ns()
        wanted = [source for key in keys for source in METRICS[key].sources]
        names = {name for _, name in wanted} | {"link_bps"}
        read = (
            self.reader.counters(start - back, end).filter(pl.col("counter").is_in(names)).collect()
        )
        inside = (pl.col("ts") >= start) & (pl.col("ts") < end)
        return {
            key: metrics.port_metric(read.lazy(), METRICS[key], links).filter(inside)
            for key in keys
        }

    def interval_ns(self) -> int:
        """The usual time between two readings of a device; 0 unknown."""
        if isinstance(self.reader, Growing):
            found = int(self._settled.get(0, "interval", self._interval))
            if not found:  # too few readings yet
                self._settled.forget("interval")
        else:
            found = int(self._ask("interval", self._interval))
        return found

    def _interval(self) -> int:
        end = self.known()[1]
        rows = self.tables.counters.filter(
            pl.col("object") == "port", pl.col("counter") == "tx_bytes"
        )
        if isinstance(self.reader, Growing):
            rows = rows.filter(pl.col("ts") > end - INTERVAL_FROM_NS)
        times = rows.select("device", "ts").unique().sort("device", "ts").collect()
        step = times.select(pl.col("ts").diff().over("device").median()).item()
        return int(step or 0)

    def moments(self, span: tuple[int, int], most: int = 200) -> list[int]:
        """Moments at which the fabric was read, at most ``most`` of them, in a range."""
        times = self.metric("use", span)["ts"].unique().sort()
        step = max(1, -(-len(times) // most))
        found = [int(time) for time in times[::step]]
        return found if not found or found[-1] == times[-1] else [*found, int(times[-1])]

    def worst(self, key: str, span: tuple[int, int], at: int | None = None) -> pl.DataFrame:
        """A value per port: the greatest in a range, or that at a moment; device, port, ts, value."""
        back = max(self.interval_ns() * LOOK_BACK_INTERVALS, 1)
        if at is not None:
            return fleet.at_moment(self.metric(key, (at - back, at)), at, back)
        return fleet.worst_in(self.metric(key, span), span)

    def trend(self, key: str, span: tuple[int, int], bins: int = 300) -> pl.DataFrame:
        """The fabric's worst port over time."""
        interval = self.interval_ns() or 1
        most = max(1, min(bins, (span[1] - span[0]) // interval))
        return fleet.over_time(self.metric(key, span), span, most)

    def port(self, key: str, device: str, port: str, span: tuple[int, int]) -> pl.DataFrame:
        """A metric of one port as a curve: ts, value, gaps as nulls, thinned for a picture."""
        here = (pl.col("device") == device, pl.col("port") == port)
        if isinstance(self.reader, Growing):
            back = LOOK_BACK_INTERVALS * self.interval_ns()
            read = self.reader.counters(span[0] - back, span[1] + 1).filter(*here)
            rows = metrics.port_metric(read, METRICS[key], self.links())
        else:
            rows = self.metric(key, span).filter(*here)
        rows = rows.filter(pl.col("ts").is_between(*span)).with_columns(key=pl.lit(""))
        return series.thin(series.with_gaps(rows, ["key"]), ["key"], span, CURVE_BUCKETS)

    def readings(self, device: str, port: str, span: tuple[int, int]) -> pl.DataFrame:
        """Every counter of a port with its rate in a range; see :func:`metrics.rated`."""
        counters = self.tables.counters
        if isinstance(self.reader, Growing):
            counters = self.reader.counters(span[0], span[1] + 1)
        rows = counters.filter(pl.col("device") == device, pl.col("port") == port)
        return metrics.rated(rows).filter(pl.col("ts").is_between(*span))

    def counter_table(self, device: str, port: str, span: tuple[int, int]) -> pl.DataFrame:
        """One row per counter of a port: its first and last reading, increase, mean and peak rate."""
        return metrics.summary(self.readings(device, port, span))

    def loads(self, span: tuple[int, int]) -> list[tuple[str, pl.DataFrame]]:
        """Bits per second of the busiest observation points."""
        found: list[tuple[str, pl.DataFrame]] = self._ask(
            ("loads", span), lambda: load.point_loads(self.tables, span)
        )
        return found

    def operations(self) -> pl.DataFrame:
        """COLLECTIVES in the order of time."""
        found: pl.DataFrame = self._ask(
            "operations", lambda: self.tables.collectives.sort("start").collect()
        )
        return found

    def health(self) -> list[dict[str, Any]]:
        """What collecting processes say of their connections; none where the reader knows none."""
        ask = getattr(self.reader, "health", None)
        found: list[dict[str, Any]] = ask() if ask else []
        return found

    def targets(self) -> pl.DataFrame:
        """One row per device that reports; see :func:`analyzers.views.targets.targets`."""
        found: pl.DataFrame = self._ask("targets", lambda: targets.targets(self.tables))
        return found

    def quality(self) -> pl.DataFrame:
        """What is wrong with the readings, per device and kind."""
        found: pl.DataFrame = self._ask("quality", lambda: targets.quality(self.tables))
        return found

    def sequence(self, flow: int) -> sequence.Sequence | None:
        """One flow over time."""
        found: sequence.Sequence | None = self._ask(
            ("sequence", flow), lambda: sequence.sequence(self.tables, flow)
        )
        return found
