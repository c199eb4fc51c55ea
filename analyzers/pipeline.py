"""From captures to tables: what ``fabric analyze`` runs before the detectors.

    with analyze(["captures"], Options(jobs=2)) as run:
        findings = run_detectors(run.tables)

Every tap is a point (or several, where it has several interfaces) and is read by itself, in this
process or in others; what they say together is merged at the end. Rows wait in a temporary folder
while ``run`` is open and are gone when it is closed.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from analyzers.capture.batch import ROWS
from analyzers.capture.reader import WINDOW_BYTES
from analyzers.capture.source import Tap, find
from analyzers.capture.streams import path_bytes
from analyzers.collectives.build import with_collectives
from analyzers.collectives.job import Job
from analyzers.merge import distinct, place_losses
from analyzers.places import Places
from analyzers.points import Outcome, map_points
from analyzers.spill import Part, scan_parts
from analyzers.tables import Tables, tables
from analyzers.taps import DECLARED, Progress, Rows, Work, read_tap
from analyzers.transport.flows import Limits


@dataclass(frozen=True)
class Options:
    """What the user may choose; times in ns, speeds in bit/s."""

    speed_bps: int = 0  # of every link; 0 not given
    speeds: Mapping[str, int] = field(default_factory=dict)  # of single points
    places: Places | None = None  # where points and addresses are, by a known topology
    job: Job | None = None  # what the job itself says
    window_ns: int = 1_000_000  # bins of FLOW_WINDOWS
    host_window_ns: int = 10_000  # bins of HOST_WINDOWS
    jobs: int = 1  # points read at a time; 0: one per processor
    packets: bool = False  # keep a row per packet
    icrc: bool = False  # check the invariant CRCs
    most_flows: int = 1 << 17  # active at a time in one input; a power of two
    idle_ns: int = 60_000_000_000
    window_bytes: int = WINDOW_BYTES
    batch_rows: int = ROWS

    @property
    def limits(self) -> Limits:
        """What the flows of an input are told."""
        return Limits(
            most_flows=self.most_flows,
            idle_ns=self.idle_ns,
            flow_bin_ns=self.window_ns,
            host_bin_ns=self.host_window_ns,
        )


@dataclass(frozen=True)
class Run:
    """The tables of some captures; a context manager, because their rows lie in a folder.

    Attributes
    ----------
    tables
        Every declared table.
    refused
        One line for each input that could not be read.
    skipped
        Files met in folders that are no captures.
    evicted
        Flows that were ended because too many were active.
    """

    tables: Tables
    refused: tuple[str, ...]
    skipped: int
    evicted: int
    folder: tempfile.TemporaryDirectory[str]

    @cached_property
    def summary(self) -> dict[str, int | bool]:
        """RoCE packets as counted at all points, the distinct ones behind them, and whether exact.

        Keys: ``points``, ``packets``, ``roce``, ``distinct``, ``exact``, ``resent``, ``copies``.
        """
        counted = self.tables.points.select(
            points=pl.len(), packets=pl.col("packets").sum(), roce=pl.col("roce").sum()
        )
        apart = distinct(self.tables.flows).select("distinct", "exact")
        again = self.tables.flows.select(pl.col("resent", "copies").sum())
        frames = pl.collect_all([counted, apart, again])
        return pl.concat(frames, how="horizontal").row(0, named=True)

    def close(self) -> None:
        """Remove the rows from the disk; the tables are not usable any more."""
        self.folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def analyze(
    paths: Sequence[str],
    options: Options = Options(),
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Run:
    """Read captures into tables.

    Parameters
    ----------
    paths
        Files, folders, globs, ``-`` for standard input; ``NAME=PATH`` names a point.
    progress
        Called now and then with the bytes done and all bytes (0 unknown).
    executor
        Reads the taps instead of ``options.jobs`` processes; its workers must see the files and the
        temporary folder.

    What cannot be read is a line of ``Run.refused``, not an exception.
    """
    found = find(paths)
    if options.places:
        taps = options.places.renamed(found.taps, options.speeds)
        found = found._replace(taps=taps)
    folder = tempfile.TemporaryDirectory(prefix="fabric-", ignore_cleanup_errors=True)
    try:
        work = [
            _work(number, tap, Path(folder.name), options) for number, tap in enumerate(found.taps)
        ]
        outcomes = _read(work, options, progress, executor)
        given = _merge([outcome.value for outcome in outcomes if outcome.value])
        failed = (
            _line(tap, outcome.failure)
            for tap, outcome in zip(found.taps, outcomes, strict=True)
            if outcome.value is None
        )
        evicted = sum(outcome.value.evicted for outcome in outcomes if outcome.value)
        told = with_collectives(tables(given), options.job)
        return Run(told, (*found.refused, *failed), found.skipped, evicted, folder)
    except BaseException:
        folder.cleanup()
        raise


def _work(number: int, tap: Tap, folder: Path, options: Options) -> Work:
    return Work(
        number,
        tap,
        folder / f"{number:05d}",
        options.limits,
        options.speed_bps,
        dict(options.speeds),
        options.places,
        options.packets,
        options.icrc,
        options.window_bytes,
        options.batch_rows,
    )


def _line(tap: Tap, failure: str) -> str:
    """One line for a tap that could not be read; it names the file."""
    reason = failure.partition("\n")[0]
    return reason if any(path in reason for path in tap.paths) else f"{tap.paths[0]}: {reason}"


def _read(
    work: list[Work],
    options: Options,
    progress: Progress | None,
    executor: Executor | None,
) -> list[Outcome[Rows]]:
    """Read every tap, here or elsewhere."""
    jobs = options.jobs or os.cpu_count() or 1
    sizes = [sum(path_bytes(path) for path in item.tap.paths) for item in work] if progress else []
    total = sum(sizes) if all(sizes) else 0
    finished = 0

    def done(number: int, _outcome: Outcome[Rows]) -> None:
        nonlocal finished
        if progress:
            finished += sizes[number]
            progress(finished, total)

    if executor is None and (jobs == 1 or len(work) <= 1):
        step = (lambda here, _: progress(finished + here, total)) if progress else None
        return map_points(partial(read_tap, progress=step), work, done=done)
    away = [item._replace(to_disk=True) for item in work]
    return map_points(read_tap, away, jobs, executor, here=_only_here, done=done)


def _only_here(work: Work) -> bool:
    return work.tap.once


def _merge(read: list[Rows]) -> dict[str, pl.LazyFrame]:
    """Tables over the parts of all taps, and what several points say together."""
    parts: dict[str, list[Part]] = {}
    for rows in read:
        for name, some in rows.parts.items():
            parts.setdefault(name, []).extend(some)
    given = {name: scan_parts(some, DECLARED[name]) for name, some in parts.items()}
    if len(read) > 1 and "events" in given:
        given["events"] = place_losses(given["events"], given["flows"])
    return given
