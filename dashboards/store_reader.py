"""A store that collectors are writing, as a :class:`dashboards.source.Reader`; it is only read."""

import json
import threading
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

import polars as pl

from analyzers.frames import schema
from analyzers.inventory_tables import inventory_tables
from analyzers.live import rows_of
from analyzers.state import State
from analyzers.store import Store
from analyzers.tables import Tables, tables
from fabric.inventory import Inventory
from fabric.schema import INCIDENTS

STATE: Final = "state.sqlite"
LOG: Final = "counters/_delta_log"
FRESH_S: Final = 1.0  # a version is asked for at most so often


def is_store(path: Path) -> bool:
    """Whether a folder is a store."""
    return (path / LOG).is_dir()


class StoreReader:
    """Tables of a store in a folder.

    ``description`` is what is known of the fabric, ``status`` the file in which the collector tells how
    its sources fare.
    """

    kind = "store"
    live = True

    def __init__(
        self, path: Path, description: Inventory | None = None, status: Path | None = None
    ) -> None:
        self.path = path
        self.title = str(path)
        self.description = description
        self.status = status
        self._here = threading.local()
        self._version: Hashable = None
        self._asked = -FRESH_S
        self._static = inventory_tables(description) if description else {}

    def _store(self) -> Store:
        """The store of this thread; FileNotFoundError where it has gone, so that nobody creates it anew."""
        if not is_store(self.path):
            raise FileNotFoundError(f"{self.path}: the store is not there (any more)")
        found: Store | None = getattr(self._here, "store", None)
        if found is None:
            found = self._here.store = Store(self.path)
        return found

    def version(self) -> Hashable:
        """The version of the counters and of what changes beside them."""
        now = time.monotonic()
        if now - self._asked >= FRESH_S or not is_store(self.path):
            self._version = (self._store().table("counters").version(), self._changed())
            self._asked = now
        return self._version

    def _changed(self) -> int:
        """When incidents were last written; their log grows with every commit."""
        files = (self.path / STATE, self.path / f"{STATE}-wal")
        return max((file.stat().st_mtime_ns for file in files if file.exists()), default=0)

    def tables(self) -> Tables:
        """Counters and quality as they are now, incidents as the diagnosis left them."""
        store = self._store()
        given = dict(self._static)
        given["counters"] = store.scan("counters")
        if (self.path / "quality/_delta_log").is_dir():
            given["quality"] = store.scan("quality")
        rows = rows_of(self._incidents())
        given["incidents"] = pl.DataFrame(rows, schema=schema(INCIDENTS)).lazy()
        return tables(given)

    def _incidents(self) -> list[Any]:
        if not (self.path / STATE).is_file():
            return []
        with State(self.path / STATE) as state:
            return state.incidents()

    def over(self) -> set[str]:
        """Ids of the incidents that are over."""
        return {one.id for one in self._incidents() if one.state != "open"}

    def known(self) -> tuple[int, int]:
        """First and last reading, from the statistics of the files."""
        actions = pl.DataFrame(self._store().table("counters").get_add_actions(flatten=True))
        if actions.is_empty() or "min.ts" not in actions.columns:
            return 0, 0
        ends = actions.select(pl.col("min.ts").min(), pl.col("max.ts").max()).row(0)
        return (int(ends[0]), int(ends[1])) if None not in ends else (0, 0)

    def counters(self, start: int, end: int) -> pl.LazyFrame:
        """COUNTERS with start <= ts < end; only the files concerned are read.

        The store puts readings of a clock that is years off under the day on which they came, so the
        upper end is left to the files' own statistics.
        """
        return self._store().scan("counters", start).filter(pl.col("ts") < end)

    def health(self) -> list[dict[str, Any]]:
        """How the collector's sources fare; none where no collector wrote it down."""
        if self.status is None or not self.status.is_file():
            return []
        try:
            told = json.loads(self.status.read_text(encoding="utf-8"))
            return [dict(one) for one in told.get("sources", [])]
        except (OSError, ValueError, TypeError, AttributeError):
            return []  # being written, or not ours

    def inventory(self) -> Inventory | None:
        """The description of the fabric, where one was given."""
        return self.description
