"""What ``fabric collect`` does with what it recorded: decode it, commit it, keep the store small."""

import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from dashboards.commands.values import size
from dashboards.report.words import clean

if TYPE_CHECKING:
    from analyzers.telemetry.decode import Decoder
    from dashboards.commands.collect_config import StoreText

UPKEEP_S: Final = 300.0
DAY_S: Final = 86_400


class Keeper:
    """The store behind a collector; :meth:`step` is called about once a second, by one thread."""

    def __init__(self, wanted: "StoreText", base: Path, folder: Path) -> None:
        """OSError where the store cannot be reached or created, ValueError for a wrong size."""
        from analyzers.committer import Committer
        from analyzers.state import State
        from analyzers.store import Store
        from analyzers.upkeep import Retention

        url = address(wanted, base)
        self.folder, self.wanted = folder, wanted
        self.store = Store(url, wanted.options)
        self.committer = Committer(
            self.store,
            [folder],
            decoder(wanted, base),
            state=State(state_path(wanted, base, folder)),
        )
        self.retention = Retention(wanted.days, size(wanted.size, "size") if wanted.size else 0)
        self.told: dict[str, Any] = {"url": url, "records": 0, "rows": 0, "faults": 0,
                                     "segments": 0, "waiting": 0, "error": ""}  # fmt: skip
        self._upkeep_s = time.monotonic() + UPKEEP_S
        self._tending = threading.Thread()

    def step(self) -> str:
        """Decode and commit what is new; why that failed, where it did: the next step tries again."""
        try:
            done = self.committer.step()
            self.told["records"] += done.records
            self.told["rows"] += done.rows
            self.told["faults"] += done.faults
            self.told["segments"] += done.committed
            self.told["waiting"] = done.waiting
            if time.monotonic() >= self._upkeep_s and not self._tending.is_alive():
                self._upkeep_s = time.monotonic() + UPKEEP_S
                self._tending = threading.Thread(target=self._upkeep, name="upkeep", daemon=True)
                self._tending.start()
            self.told["error"] = ""
        except OSError as error:
            self.told["error"] = " ".join(str(error).split())
        return str(self.told["error"])

    def _upkeep(self) -> None:
        """Compact and clean up, beside the commits: that takes seconds."""
        from analyzers.committer import forget
        from analyzers.store import Store
        from analyzers.upkeep import tend

        store = Store(self.told["url"], self.wanted.options)
        try:
            tend(store, self.retention)
            forget(store, self.folder, age_s=self.wanted.raw_days * DAY_S)
            self.told["upkeep"] = ""
        except OSError as error:
            self.told["upkeep"] = " ".join(str(error).split())


def address(wanted: "StoreText", base: Path) -> str:
    """Where the store is; a folder counts from the configuration."""
    return wanted.url if "://" in wanted.url else str(base / wanted.url)


def state_path(wanted: "StoreText", base: Path, folder: Path) -> Path:
    """The file of what changes: in the store, or beside the records where the store is no folder."""
    return (folder if "://" in wanted.url else base / wanted.url) / "state.sqlite"


def decoder(wanted: "StoreText", base: Path) -> "Decoder":
    """A decoder with the dictionaries and names of the configuration; ValueError as :func:`load`'s."""
    from analyzers.telemetry.decode import Decoder
    from analyzers.telemetry.dictionary import load

    own = base / wanted.dictionaries if wanted.dictionaries else None
    if own and not own.is_dir():
        raise FileNotFoundError(f"{own}: no such folder (store.dictionaries)")
    return Decoder(load(own), wanted.devices)


def show_unknown(wanted: "StoreText", base: Path, folder: Path, *, as_json: bool) -> None:
    """Print the paths that no dictionary knows."""
    from analyzers.state import State

    path = state_path(wanted, base, folder)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: nothing was kept yet")
    with State(path) as state:
        rows = state.unknown()
    if as_json:
        names = ("device", "path", "count", "example", "last_ns")
        typer.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows]))
        return
    for device, unknown, count, example, _ in rows:
        typer.echo(
            f"{clean(device)}  {clean(unknown)}  {count} readings, the last {clean(example)}"
        )
    typer.echo(f"{len(rows)} paths that no dictionary knows; they are kept in the raw records")


def decode_again(wanted: "StoreText", base: Path, folder: Path) -> None:
    """Read every record still there once more, and put the rows in the place of the old ones."""
    from analyzers.committer import redecode
    from analyzers.store import Store

    store = Store(address(wanted, base), wanted.options, create=False)
    count = redecode(store, folder, decoder(wanted, base))
    typer.echo(f"{count} segments decoded again")
