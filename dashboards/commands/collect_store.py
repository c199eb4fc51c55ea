"""What ``fabric collect`` does with what it recorded: decode it, commit it, keep the store small."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dashboards.commands.values import size

if TYPE_CHECKING:
    from dashboards.commands.collect_config import StoreText

UPKEEP_S: Final = 300.0
DAY_S: Final = 86_400


class Keeper:
    """The store behind a collector; :meth:`step` is called about once a second, by one thread."""

    def __init__(self, wanted: "StoreText", base: Path, folder: Path) -> None:
        """OSError where the store cannot be reached or created, ValueError for a wrong size."""
        from analyzers.committer import Committer
        from analyzers.store import Store
        from analyzers.upkeep import Retention

        url = wanted.url if "://" in wanted.url else str(base / wanted.url)
        self.folder, self.wanted = folder, wanted
        self.store = Store(url, wanted.options)
        self.committer = Committer(self.store, [folder])
        self.retention = Retention(wanted.days, size(wanted.size, "size") if wanted.size else 0)
        self.told: dict[str, Any] = {"url": url, "records": 0, "rows": 0, "faults": 0,
                                     "segments": 0, "waiting": 0, "error": ""}  # fmt: skip
        self._upkeep_s = time.monotonic() + UPKEEP_S

    def step(self) -> str:
        """Decode and commit what is new; why that failed, where it did: the next step tries again."""
        try:
            done = self.committer.step()
            self.told["records"] += done.records
            self.told["rows"] += done.rows
            self.told["faults"] += done.faults
            self.told["segments"] += done.committed
            self.told["waiting"] = done.waiting
            if time.monotonic() >= self._upkeep_s:
                self._upkeep_s = time.monotonic() + UPKEEP_S
                self._upkeep()
            self.told["error"] = ""
        except OSError as error:
            self.told["error"] = " ".join(str(error).split())
        return str(self.told["error"])

    def _upkeep(self) -> None:
        from analyzers.committer import forget
        from analyzers.store import TABLES
        from analyzers.upkeep import clean, compact, retain

        compact(self.store)
        retain(self.store, self.retention)
        for name in TABLES:
            clean(self.store, name)
        forget(self.store, self.folder, age_s=self.wanted.raw_days * DAY_S)
