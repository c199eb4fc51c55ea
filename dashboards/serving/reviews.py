"""What people said about incidents, in one SQLite file that several servers may share (WAL)."""

import sqlite3
import threading
import time
from pathlib import Path
from typing import Final

from dashboards.report.handout import Entry
from dashboards.source import Source

STATES: Final = {"acknowledge": "acknowledged", "close": "closed", "reopen": "open"}
BUSY_S: Final = 10.0
SCHEMA: Final = """
create table if not exists reviews (
    id integer primary key, source text not null, incident text not null, ts integer not null,
    user text not null, action text not null, text text not null);
create index if not exists reviews_incident on reviews (source, incident);
"""


class Reviews:
    """Entries per incident of a source; OSError where the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._here = threading.local()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database().executescript(SCHEMA)

    def _database(self) -> sqlite3.Connection:
        """A connection of this thread."""
        found: sqlite3.Connection | None = getattr(self._here, "database", None)
        if found is None:
            try:
                found = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)
                found.execute("pragma journal_mode = wal")
                found.execute("pragma synchronous = full")
            except sqlite3.Error as error:
                raise OSError(f"{self._path}: {error}") from error
            self._here.database = found
        return found

    def add(self, source: Source, incident: str, action: str, user: str, text: str) -> None:
        """Write one entry; on the disk when this returns."""
        row = (source.title, incident, time.time_ns(), user, action, text)
        try:
            self._database().execute(
                "insert into reviews (source, incident, ts, user, action, text) values (?,?,?,?,?,?)",
                row,
            )
        except sqlite3.Error as error:
            raise OSError(f"{self._path}: {error}") from error

    def entries(self, source: Source, incident: str) -> list[Entry]:
        """All entries of an incident in the order of time."""
        rows = self._database().execute(
            "select ts, user, action, text from reviews where source = ? and incident = ? order by id",
            (source.title, incident),
        )
        return [Entry(*row) for row in rows]

    def state(self, source: Source, incident: str) -> str:
        """open, acknowledged or closed: what the last entry that is no note made it."""
        for entry in reversed(self.entries(source, incident)):
            if entry.action in STATES:
                return STATES[entry.action]
        return "open"
