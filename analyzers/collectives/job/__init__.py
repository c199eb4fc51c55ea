"""Reading what a job left behind: one module per format, one place that puts them together.

A reader is a module with ``KIND``, ``matches(path, head)`` and ``read(path) -> JobFile``. To add one:
the module, and its name in ``READERS``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Final

import polars as pl

from analyzers.collectives.job import (
    chakra,
    flight_recorder,
    hccl_log,
    inspector,
    nccl_graph,
    nccl_log,
)
from analyzers.collectives.job.found import JobFile, Member, Operation, QueuePair
from analyzers.frames import schema
from fabric.cables import FOREVER
from fabric.schema import OPERATIONS, RANKS

__all__ = ["READERS", "Job", "load", "reader_of"]

READERS: Final[tuple[ModuleType, ...]] = (
    nccl_log,
    inspector,
    flight_recorder,
    hccl_log,
    nccl_graph,
    chakra,
)
HEAD_BYTES = 65536


@dataclass
class Job:
    """What all files of a job say together."""

    name: str = ""
    files: list[JobFile] = field(default_factory=list)

    @property
    def members(self) -> list[Member]:
        """Ranks, each once; what one file leaves open another may fill in."""
        known: dict[tuple[str, int], Member] = {}
        for member in (m for file in self.files for m in file.members):
            key = (member.communicator, member.rank)
            old = known.get(key)
            if old is None:
                known[key] = member
                continue
            known[key] = Member(
                *key, max(old.ranks, member.ranks), old.device or member.device,
                old.nic or member.nic, old.address or member.address,
            )  # fmt: skip
        return list(known.values())

    @property
    def pairs(self) -> list[QueuePair]:
        """Queue pairs of all ranks."""
        return [pair for file in self.files for pair in file.pairs]

    @property
    def operations(self) -> list[Operation]:
        """Calls of all ranks."""
        return [operation for file in self.files for operation in file.operations]

    @property
    def notes(self) -> list[str]:
        """Lines about what was passed over."""
        return [note for file in self.files for note in file.notes]

    def ranks_frame(self) -> pl.DataFrame:
        """RANKS: a row per queue pair of a rank, or one without where none is told."""
        rows = [
            (self.name, p.rank, p.device, p.nic, p.qpn, 0, FOREVER) for p in self.pairs
        ]  # a log without times says nothing about when a pair was opened
        told = {(p.communicator, p.rank) for p in self.pairs}
        rows += [
            (self.name, m.rank, m.device, m.nic, -1, 0, FOREVER)
            for m in self.members
            if (m.communicator, m.rank) not in told
        ]
        return pl.DataFrame(sorted(set(rows)), schema=schema(RANKS), orient="row")

    def operations_frame(self) -> pl.DataFrame:
        """OPERATIONS."""
        rows = [
            (self.name, o.communicator, o.rank, o.ranks, o.device, o.number, o.kind, o.algorithm,
             o.size, o.peer, o.start, o.end, o.exact, file.path)
            for file in self.files
            for o in file.operations
        ]  # fmt: skip
        return pl.DataFrame(rows, schema=schema(OPERATIONS), orient="row")


def reader_of(path: Path) -> ModuleType | None:
    """The reader that recognises a file; None where none does."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES).decode("utf-8", "replace")
    return next((module for module in READERS if module.matches(path, head)), None)


def load(paths: Iterable[str | Path], name: str = "") -> Job:
    """Read files, and the recognised ones inside folders, into one job.

    OSError for what cannot be read, ValueError naming file, place and reason for what cannot be
    understood, and for a file that no reader knows.
    """
    job = Job(name)
    for given in map(Path, paths):
        job.name = job.name or (given.stem if not given.is_dir() else given.name)
        for path in _files(given):
            reader = reader_of(path)
            if reader is not None:
                job.files.append(_one(reader, path))
            elif path == given:
                kinds = ", ".join(module.KIND for module in READERS)
                raise ValueError(f"{path}: not recognised; known are {kinds}")
    if not job.files:
        raise ValueError(f"{', '.join(map(str, paths))}: nothing here is of a job")
    return job


def _one(reader: ModuleType, path: Path) -> JobFile:
    """Read one file; text inside it may hold line breaks, a complaint does not."""
    try:
        found: JobFile = reader.read(path)
    except ValueError as complaint:
        text = "".join(c if c.isprintable() else " " for c in str(complaint))
        raise ValueError(text) from None
    return found


def _files(path: Path) -> Iterator[Path]:
    """The file itself, or all files below a folder by name."""
    if not path.is_dir():
        yield path
        return
    for inner in sorted(path.rglob("*")):
        if inner.is_file():
            yield inner
