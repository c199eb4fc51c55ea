"""Kills with -9 whoever records, commits and compacts, at random points, and counts what is left.

``python -m tests.chaos --kills 200``. A recorder writes numbered readings and says which are
acknowledged; a committer and a compactor work on the same store. Each is killed again and again. In the
end every acknowledged reading must be in the store, and none twice.
"""

import argparse
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from analyzers.committer import Committer
from analyzers.store import Store, collect
from analyzers.upkeep import clean, compact
from collectors import messages as gnmi
from collectors.recorder import Recorder
from collectors.records import Method

BATCH = 20
PORTS = 4


class Outcome(NamedTuple):
    """Readings written, acknowledged, found, found more than once; kills by victim; commits that were made."""

    sent: int
    acknowledged: int
    found: int
    twice: int
    missing: int
    kills: Counter[str]
    commits: int
    files: int


def record(folder: Path, first: int, said: Connection) -> None:
    """Numbered readings, for ever."""
    with Recorder(folder, "chaos", limit_bytes=30_000, limit_s=0.1, gather_s=0.002) as recorder:
        number = first
        while True:
            for _ in range(BATCH):
                note = gnmi.Notification(timestamp=1_750_000_000_000_000_000 + number)
                port = f"/interfaces/interface[name=E{number % PORTS}]/state/counters/in-octets"
                note.update.add(path=gnmi.path(port), val=gnmi.TypedValue(uint_val=number))
                payload = gnmi.SubscribeResponse(update=note).SerializeToString()
                ticket = recorder.record("leaf1", Method.GNMI, payload)
                number += 1
            recorder.wait(ticket)
            said.send(number)


def commit(folder: Path, store: Path) -> None:
    """Commit, for ever."""
    committer = Committer(Store(store), [folder])
    while True:
        committer.step()


def tidy(store: Path) -> None:
    """Compact and clean up, for ever."""
    tables = Store(store)
    while True:
        compact(tables, rows=20_000, least=3)
        clean(tables, hours=0 if random.random() < 0.2 else 1)


def chaos(folder: Path, kills: int, seed: int = 0) -> Outcome:
    """Run until so many were killed; then let the committer finish."""
    random.seed(seed)
    raw, store = folder / "raw", folder / "store"
    Store(store).table("counters")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["analyzers.committer", "analyzers.upkeep"])
    promised, counts = 0, Counter[str]()
    running: dict[str, tuple[BaseProcess, Any]] = {}

    def start(who: str) -> None:
        hear, said = context.Pipe(duplex=False)
        what: dict[str, Any] = {
            "recorder": (record, (raw, promised, said)),
            "committer": (commit, (raw, store)),
            "compactor": (tidy, (store,)),
        }
        run, given = what[who]
        process = context.Process(target=run, args=given, daemon=True)
        process.start()
        said.close()
        running[who] = (process, hear)

    def kill(who: str) -> None:
        nonlocal promised
        process, hear = running.pop(who)
        assert process.pid
        assert process.exitcode is None, f"the {who} died by itself"
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        promised = max([promised, *_heard(hear)])

    for who in ("recorder", "committer", "compactor"):
        start(who)
    time.sleep(1.5)
    for _ in range(kills):
        who = random.choice(("recorder", "committer", "committer", "compactor"))
        time.sleep(random.uniform(0.05, 0.6))
        kill(who)
        counts[who] += 1
        start(who)
    for who in list(running):
        kill(who)
    return _count(raw, store, promised, counts)


def _heard(hear: Connection) -> list[int]:
    numbers = []
    try:
        while hear.poll():
            numbers.append(hear.recv())
    except (EOFError, OSError):
        pass
    return numbers


def _count(raw: Path, store: Path, promised: int, kills: Counter[str]) -> Outcome:
    committer = Committer(Store(store), [raw])
    committer.step()
    left = committer.step()
    assert left.waiting == 0
    tables = Store(store)
    rows = collect(tables.scan())
    times = Counter(rows["value"].to_list())
    # A recorder that starts again says again what was written and not acknowledged: a resend.
    segments = collect(_raw_rows(tables))
    return Outcome(
        sent=max(times, default=-1) + 1,
        acknowledged=promised,
        found=len(times),
        twice=segments.height - segments.unique().height,
        missing=len(set(range(promised)) - set(times)),
        kills=kills,
        commits=tables.table("counters").version(),
        files=len(tables.table("counters").file_uris()),
    )


def _raw_rows(tables: Store) -> Any:
    import polars as pl

    return pl.scan_delta(tables.table("counters")).select("recorder", "segment", "ts", "value")


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fabric-chaos-") as folder:
        found = chaos(Path(folder), given.kills, given.seed)
    print(f"seed {given.seed}: {found}")
    if found.missing or found.twice:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
