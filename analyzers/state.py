"""What changes: incidents, acknowledgements and jobs, in one SQLite file.

WAL mode with full synchronisation: several processes read and one at a time writes, each waiting for
its turn; what a call has returned from survives a power failure. Counters do not belong here.

An incident is kept by its id with everything the diagnosis said (JSON) and when it was first and last
seen; an acknowledgement belongs to an id and outlives newer versions of the incident. A job is work
that somebody asked for: it is taken by one worker, who reports while he works; one whose worker has not
been heard of for a while can be taken again.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

VERSION: Final = 1
SCHEMA: Final = """
create table incidents (
    id text primary key, cls text not null, state text not null, first_ns integer not null,
    last_ns integer not null, body text not null
) strict;
create index incidents_by_time on incidents (last_ns);
create table acknowledgements (
    incident text not null, at_ns integer not null, who text not null, note text not null,
    until_ns integer not null
) strict;
create index acknowledgements_by_incident on acknowledgements (incident);
create table jobs (
    id integer primary key, kind text not null, given text not null, state text not null,
    worker text not null, created_ns integer not null, heard_ns integer not null,
    share real not null, result text not null
) strict;
create table unknown_paths (
    device text not null, path text not null, count integer not null, example text not null,
    last_ns integer not null, primary key (device, path)
) strict, without rowid;
"""
WAIT_S: Final = 30.0  # for the turn of another writer


class Incident(NamedTuple):
    """An incident as it is kept; ``state`` is open or over."""

    id: str
    cls: str
    state: str
    first_ns: int
    last_ns: int
    body: dict[str, Any]


class Acknowledgement(NamedTuple):
    """Somebody has seen an incident; ``until_ns`` silences it until then, 0 for good."""

    incident: str
    at_ns: int
    who: str
    note: str
    until_ns: int


class Job(NamedTuple):
    """Work asked for; ``state`` is waiting, running, done or failed, ``share`` how far it is."""

    id: int
    kind: str
    given: dict[str, Any]
    state: str
    worker: str
    created_ns: int
    heard_ns: int
    share: float
    result: str


class State:
    """The file at ``path``, created where it is not there; one object a thread.

    OSError where it cannot be opened, ValueError where it is no file of ours or of a later version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)
            self._file.execute("pragma journal_mode = wal")
            self._file.execute("pragma synchronous = full")
        except sqlite3.OperationalError as error:
            raise OSError(f"{path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path}: {error}") from error
        self._prepare()

    def _prepare(self) -> None:
        with self._writing():
            (found,) = self._file.execute("pragma user_version").fetchone()
            if found == 0:
                for statement in SCHEMA.strip().split(";"):
                    self._file.execute(statement)
                self._file.execute(f"pragma user_version = {VERSION}")
        if found > VERSION:
            self._file.close()
            raise ValueError(f"{self.path}: version {found}, made by a later release")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that has its turn from the start, so that it cannot fail half way."""
        try:
            self._file.execute("begin immediate")
        except sqlite3.OperationalError as error:
            raise OSError(f"{self.path}: {error}") from error
        try:
            yield self._file
        except BaseException:
            self._file.execute("rollback")
            raise
        self._file.execute("commit")

    def put_incidents(self, incidents: Iterable[Incident]) -> None:
        """Keep incidents; of one that is there the first time stays and the rest is replaced."""
        rows = [(*one[:5], json.dumps(one.body)) for one in incidents]
        with self._writing() as file:
            file.executemany(
                "insert into incidents values (?, ?, ?, ?, ?, ?) on conflict (id) do update set "
                "cls = excluded.cls, state = excluded.state, body = excluded.body, "
                "first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns)",
                rows,
            )

    def incidents(self, since_ns: int = 0, state: str = "") -> list[Incident]:
        """Incidents seen since then, the latest first."""
        rows = self._file.execute(
            "select id, cls, state, first_ns, last_ns, body from incidents "
            "where last_ns >= ? and (? = '' or state = ?) order by last_ns desc, id",
            (since_ns, state, state),
        )
        return [Incident(i, c, s, first, last, json.loads(b)) for i, c, s, first, last, b in rows]

    def acknowledge(self, incident: str, who: str, note: str = "", until_ns: int = 0) -> None:
        """Note that somebody has seen an incident."""
        with self._writing() as file:
            row = (incident, time.time_ns(), who, note, until_ns)
            file.execute("insert into acknowledgements values (?, ?, ?, ?, ?)", row)

    def acknowledgements(self, incident: str = "") -> list[Acknowledgement]:
        """Acknowledgements of an incident, or all; the latest first."""
        rows = self._file.execute(
            "select * from acknowledgements where ? = '' or incident = ? order by at_ns desc, rowid desc",
            (incident, incident),
        )
        return [Acknowledgement(*row) for row in rows]

    def ask(self, kind: str, given: Mapping[str, Any]) -> int:
        """Ask for a job; its number."""
        with self._writing() as file:
            now = time.time_ns()
            done = file.execute(
                "insert into jobs (kind, given, state, worker, created_ns, heard_ns, share, result) "
                "values (?, ?, 'waiting', '', ?, ?, 0, '')",
                (kind, json.dumps(dict(given)), now, now),
            )
            assert done.lastrowid
            return done.lastrowid

    def take(self, worker: str, patience_s: float = 60.0) -> Job | None:
        """The oldest job that waits, or whose worker was not heard of for so long; None without one."""
        with self._writing() as file:
            now = time.time_ns()
            found = file.execute(
                "select id from jobs where state = 'waiting' or (state = 'running' and heard_ns < ?) "
                "order by id limit 1",
                (now - int(patience_s * 1e9),),
            ).fetchone()
            if found is None:
                return None
            file.execute(
                "update jobs set state = 'running', worker = ?, heard_ns = ?, share = 0 where id = ?",
                (worker, now, found[0]),
            )
        return self.job(found[0])

    def report(self, job: int, worker: str, share: float) -> bool:
        """Say how far a job is; False where it was given to somebody else or stopped."""
        return self._update(job, worker, "share = ?, heard_ns = ?", (share, time.time_ns()))

    def finish(self, job: int, worker: str, result: str, *, failed: bool = False) -> bool:
        """Say that a job is over; False where it was given to somebody else meanwhile."""
        state = "failed" if failed else "done"
        return self._update(job, worker, "share = 1, state = ?, result = ?", (state, result))

    def _update(self, job: int, worker: str, what: str, values: tuple[Any, ...]) -> bool:
        with self._writing() as file:
            done = file.execute(
                f"update jobs set {what} where id = ? and worker = ? and state = 'running'",  # noqa: S608  no input in it
                (*values, job, worker),
            )
        return done.rowcount == 1

    def job(self, job: int) -> Job:
        """A job by its number; KeyError without one."""
        row = self._file.execute("select * from jobs where id = ?", (job,)).fetchone()
        if row is None:
            raise KeyError(job)
        return Job(row[0], row[1], json.loads(row[2]), *row[3:])

    def jobs(self) -> list[Job]:
        """All jobs, the latest first."""
        rows = self._file.execute("select * from jobs order by id desc")
        return [Job(row[0], row[1], json.loads(row[2]), *row[3:]) for row in rows]

    def put_unknown(self, rows: Iterable[tuple[str, str, int, str, int]]) -> None:
        """Keep paths that no dictionary knows (the columns of UNKNOWN_PATHS); counts only grow."""
        with self._writing() as file:
            file.executemany(
                "insert into unknown_paths values (?, ?, ?, ?, ?) on conflict (device, path) do update "
                "set count = max(count, excluded.count), example = excluded.example, "
                "last_ns = max(last_ns, excluded.last_ns)",
                list(rows),
            )

    def unknown(self) -> list[tuple[str, str, int, str, int]]:
        """Paths that no dictionary knows, the most frequent first."""
        rows = self._file.execute("select * from unknown_paths order by count desc, device, path")
        return [(str(d), str(p), int(n), str(e), int(t)) for d, p, n, e, t in rows]
