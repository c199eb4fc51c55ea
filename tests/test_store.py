"""The store: idempotent commits, races, compaction, replacement, retention, damage, and kills with -9."""

import os
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from analyzers.committer import Committer, forget, put, redecode
from analyzers.frames import empty, schema
from analyzers.store import Store, collect, day_text, placed, stored, to_arrow
from analyzers.telemetry.decode import Decoded, Decoder
from analyzers.telemetry.dictionary import load
from analyzers.upkeep import (
    Lost,
    Retention,
    clean,
    compact,
    damaged,
    files,
    repair,
    retain,
    sizes,
    tend,
    thin_series,
)
from collectors import messages as gnmi
from collectors.recorder import Recorder
from collectors.records import Method
from collectors.segments import segments
from fabric.schema import COUNTERS, QUALITY, SERIES
from tests.chaos import chaos
from tests.data import ROOT, tool

S = 1_000_000_000
DAY = 86_400 * S
T0 = 1_750_032_000 * S  # 2025-06-16 00:00 UTC


def rows(segment: int, count: int = 10, recorder: str = "r-1", day: int = 0) -> pl.DataFrame:
    """COUNTERS of one segment, every value once."""
    made = [
        (T0 + day * DAY + segment * S + i, T0 + day * DAY + segment * S + i + 5, f"leaf{i % 3}", f"E{i % 2}",
         "port", -1, "rx_bytes", segment * 1000 + i)
        for i in range(count)
    ]  # fmt: skip
    frame = pl.DataFrame(made, schema=schema(COUNTERS), orient="row")
    return frame.with_columns(recorder=pl.lit(recorder), segment=pl.lit(segment, pl.Int64))


def values(store: Store) -> list[int]:
    return sorted(collect(store.scan())["value"].to_list())


def wanted(*parts: int, count: int = 10) -> list[int]:
    return sorted(part * 1000 + i for part in parts for i in range(count))


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert collect(store.scan()).equals(empty(COUNTERS))  # an empty table reads as one
    assert store.last("r-1") == -1
    assert store.append("counters", rows(1), {"r-1": 1})
    found = collect(store.scan()).sort("ts")
    assert found.equals(rows(1).select(COUNTERS.names).sort("ts"))
    assert found.schema == schema(COUNTERS)
    assert store.last("r-1") == 1
    assert store.last("r-2") == -1


def test_limits_of_time_choose_rows_and_days(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for day in range(3):
        store.append("counters", rows(day + 1, day=day), {"r-1": day + 1})
    assert sorted(files(store.table("counters"))["day"]) == [
        "2025-06-16",
        "2025-06-17",
        "2025-06-18",
    ]
    begin = T0 + DAY + 2 * S
    assert values_of(store.scan(start_ns=begin, end_ns=begin + 5)) == [2000, 2001, 2002, 2003, 2004]
    assert values_of(store.scan(start_ns=begin)) == wanted(2, 3)
    assert values_of(store.scan(end_ns=T0 + DAY)) == wanted(1)
    assert day_text(T0 - 1) == "2025-06-15"


def values_of(lazy: pl.LazyFrame) -> list[int]:
    return sorted(collect(lazy)["value"].to_list())


def test_a_clock_far_off_does_not_choose_the_day(tmp_path: Path) -> None:
    frame = rows(1, 3).with_columns(ts=pl.Series([0, -5, 2**63 - 1]))
    made = placed("counters", frame)
    assert made["day"].unique().to_list() == ["2025-06-16"]
    store = Store(tmp_path)
    store.append("counters", frame, {"r-1": 1})
    assert values(store) == [1000, 1001, 1002]
    assert values_of(store.scan(start_ns=-(2**62), end_ns=2**63 - 1)) == [1000, 1001]


def test_a_commit_again_adds_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.append("counters", rows(1), {"r-1": 1})
    assert not store.append("counters", rows(1), {"r-1": 1})
    assert not Store(tmp_path).append("counters", rows(1), {"r-1": 1})
    assert put(store, "counters", rows(1), {"r-1": 1}) == 0
    assert values(store) == wanted(1)
    # Of several segments those that are there already are left out.
    both = pl.concat([rows(1), rows(2), rows(1, recorder="r-2")])
    assert put(store, "counters", both, {"r-1": 2, "r-2": 1}) == 20
    assert values(store) == wanted(1, 1, 2)


def test_a_segment_without_rows_is_committed_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.append("counters", rows(1, 0), {"r-1": 7})
    assert Store(tmp_path).last("r-1") == 7
    assert values(store) == []


def test_committers_that_race_count_nothing_twice(tmp_path: Path) -> None:
    Store(tmp_path).table("counters")
    frames = [rows(n) for n in range(1, 13)]
    added = []

    def work() -> None:
        store = Store(tmp_path)
        for n, frame in enumerate(frames, 1):
            added.append(put(store, "counters", frame, {"r-1": n}))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values(Store(tmp_path)) == wanted(*range(1, 13))
    assert sum(added) == 120


def test_recorder_names_are_plain(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="recorder"):
        store.append("counters", rows(1), {"r' OR '1'='1": 1})


def test_types_that_other_readers_know(tmp_path: Path) -> None:
    """Unsigned, nanosecond and view types are what Delta or its readers refuse or truncate."""
    for name in ("counters", "quality", "series"):
        assert {str(kind) for kind in stored(name).values()} <= {"Int64", "Int32", "String"}
    arrow = to_arrow("counters", placed("counters", rows(1)))
    assert {str(field.type).removeprefix("arro3.core.DataType<").rstrip(">\n") for field in arrow.schema} <= {
        "Int64", "Int32", "Utf8",
    }  # fmt: skip
    store = Store(tmp_path)
    extreme = rows(1, 3).with_columns(value=pl.Series([2**63 - 1, -(2**63 - 1), 0]))
    store.append("counters", extreme, {"r-1": 1})
    assert values(store) == [-(2**63 - 1), 0, 2**63 - 1]
    assert collect(store.scan())["ts"].min() == T0 + S  # not cut to microseconds


def test_compaction_changes_files_and_no_rows(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for n in range(1, 21):
        store.append("counters", rows(n, day=n // 11), {"r-1": n})
    assert len(store.table("counters").file_uris()) == 20
    assert compact(store, least=5) == 20
    found = files(store.table("counters"))
    assert found.select("day", "rows").sort("day").rows() == [
        ("2025-06-16", 100),
        ("2025-06-17", 100),
    ]
    assert values(store) == wanted(*range(1, 21))
    assert compact(store, least=5) == 0
    # In the order in which it is asked for.
    (path,) = [p for p in tmp_path.rglob("*.parquet") if "2025-06-16" in str(p) and _rows(p) == 100]
    key = pl.read_parquet(path).select("device", "port", "ts")
    assert key.equals(key.sort("device", "port", "ts"))
    # An idempotent commit stays one.
    assert not store.append("counters", rows(20), {"r-1": 20})


def _rows(path: Path) -> int:
    return pl.scan_parquet(path).select(pl.len()).collect().item()


def test_compaction_beside_writers_loses_nothing(tmp_path: Path) -> None:
    Store(tmp_path).table("counters")
    done = threading.Event()
    errors: list[BaseException] = []

    def tidy() -> None:
        try:
            store = Store(tmp_path)
            while not done.is_set():
                compact(store, least=3)
                clean(store)
        except BaseException as error:  # noqa: BLE001  a panic too
            errors.append(error)

    compactor = threading.Thread(target=tidy)
    compactor.start()
    writers = [
        threading.Thread(
            target=lambda r: [
                Store(tmp_path).append("counters", rows(n, recorder=r), {r: n})
                for n in range(1, 16)
            ],
            args=(f"r-{k}",),
        )
        for k in range(2)
    ]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    compactor.join()
    assert errors == []
    assert values(Store(tmp_path)) == sorted(wanted(*range(1, 16)) * 2)


def test_two_compactors_and_a_replacement(tmp_path: Path) -> None:
    """One of those that change the same rows does it again with what the other left."""
    store = Store(tmp_path)
    for n in range(1, 9):
        store.append("counters", rows(n), {"r-1": n})
    other = Store(tmp_path)
    met = []

    def first_somebody_else(table: DeltaTable) -> pl.DataFrame:
        if not met:
            met.append(compact(other, least=2))
        return (
            pl.scan_delta(table)
            .filter(pl.col("segment") <= 4)
            .select(list(stored("counters")))
            .collect()
        )

    store.overwrite("counters", first_somebody_else, "recorder = 'r-1' AND segment <= 4")
    assert met == [8]
    assert values(store) == wanted(*range(1, 9))
    store.replace("counters", rows(3, 2), "r-1", (3, 3))
    assert values(store) == sorted([*wanted(1, 2, 4, 5, 6, 7, 8), 3000, 3001])
    store.replace("counters", rows(3, 0), "r-1", (2, 4))
    assert values(store) == wanted(1, 5, 6, 7, 8)
    with pytest.raises(ValueError, match=r"segment 9 of r-1 is not committed"):
        store.replace("counters", rows(9), "r-1", (9, 9))


def test_the_log_stays_short(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for n in range(1, 41):
        store.append("counters", rows(n, 1), {"r-1": n})
    compact(store, least=2)
    log = tmp_path / "counters" / "_delta_log"
    for entry in log.iterdir():  # as after two hours
        os.utime(entry, (1_700_000_000, 1_700_000_000))
    before = len(list(log.iterdir()))
    assert clean(store, hours=0) == 40
    assert len(list(log.iterdir())) < before / 4
    fresh = Store(tmp_path)
    assert fresh.last("r-1") == 40
    assert len(values(fresh)) == 40
    assert not fresh.append("counters", rows(40, 1), {"r-1": 40})


def test_orphans_of_killed_writers_go(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append("counters", rows(1), {"r-1": 1})
    (day,) = (tmp_path / "counters").glob("day=*")
    orphan = day / "part-00000-00000000-0000-0000-0000-000000000000-c000.zstd.parquet"
    shutil.copy(next(day.glob("*.parquet")), orphan)
    os.utime(orphan, (1_700_000_000, 1_700_000_000))
    clean(store)
    assert not orphan.exists()
    assert values(store) == wanted(1)


def test_retention_by_age_and_size(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for n in range(1, 6):
        store.append("counters", rows(n, day=n), {"r-1": n})
    assert retain(store, Retention()) == []
    assert retain(store, Retention(days=3)) == ["2025-06-18", "2025-06-17"]
    assert values(store) == wanted(3, 4, 5)
    size = files(store.table("counters"))["bytes"].max()
    assert isinstance(size, int)
    assert retain(store, Retention(bytes=2 * size)) == ["2025-06-19"]
    assert retain(store, Retention(bytes=1)) == ["2025-06-20"]  # the newest stays
    assert values(store) == wanted(5)
    assert sizes(store)["counters"][:2] == (1, 10)


def record(folder: Path, count: int = 30, first: int = 0, path: str = "") -> None:
    """A segment of numbered readings."""
    with Recorder(folder, "r") as recorder:
        for n in range(first, first + count):
            note = gnmi.Notification(timestamp=T0 + n * S)
            leaf = path or f"/interfaces/interface[name=E{n % 3}]/state/counters/in-octets"
            note.update.add(path=gnmi.path(leaf), val=gnmi.TypedValue(uint_val=n))
            payload = gnmi.SubscribeResponse(update=note).SerializeToString()
            recorder.record("leaf1", Method.GNMI, payload, seen=T0 + n * S)


def test_segments_become_rows_once(tmp_path: Path) -> None:
    raw, store = tmp_path / "raw", Store(tmp_path / "store")
    record(raw)
    seen: list[Decoded] = []
    committer = Committer(store, [raw, tmp_path / "nothing"], on_rows=seen.append)
    assert committer.step().committed == 1
    record(raw, first=30)
    assert committer.step().rows == 30
    assert committer.step().rows == 0
    assert values(store) == list(range(60))
    assert sum(d.counters.height for d in seen) == 60
    again = Committer(Store(tmp_path / "store"), [raw])
    assert again.step().committed == 0
    told = collect(store.scan("series"))
    assert told.schema == schema(SERIES)
    assert told.select("device", "port", "provenance").sort("port").rows() == [
        ("leaf1", f"E{n}", "yang") for n in range(3)
    ]


def test_a_growing_segment_is_seen_before_it_is_committed(tmp_path: Path) -> None:
    raw, store = tmp_path / "raw", Store(tmp_path / "store")
    seen: list[Decoded] = []
    committer = Committer(store, [raw], on_rows=seen.append)
    note = gnmi.Notification(timestamp=T0)
    path = gnmi.path("/interfaces/interface[name=E1]/state/counters/in-octets")
    note.update.add(path=path, val=gnmi.TypedValue(uint_val=1))
    payload = gnmi.SubscribeResponse(update=note).SerializeToString()
    with Recorder(raw, "r") as recorder:
        for number in (1, 2):
            recorder.record("leaf1", Method.GNMI, payload)
            recorder.flush()
            progress = committer.step()
            assert (progress.rows, progress.committed) == (1, 0)
            assert sum(d.counters.height for d in seen) == number
    progress = committer.step()
    assert (progress.rows, progress.committed) == (0, 1)
    assert len(values(store)) == 2
    assert sum(d.counters.height for d in seen) == 2


def test_stopped_between_the_tables(tmp_path: Path) -> None:
    """Quality was written, the process died, counters were not: the next one adds what is missing."""
    raw, store = tmp_path / "raw", Store(tmp_path / "store")
    record(raw)
    with Recorder(raw, "r") as recorder:
        recorder.record("leaf1", Method.GNMI, b"\x0a\xff")
        name = recorder.name
    note = pl.DataFrame(
        [(T0, T0, "leaf1", "", "", -1, "", "fault", 1, "from the first try", name, 2)],
        schema={**schema(QUALITY), "recorder": pl.String(), "segment": pl.Int64()},
        orient="row",
    )
    store.append("quality", note, {name: 2})
    assert Committer(store, [raw]).step().committed == 2
    assert values(store) == list(range(30))
    assert collect(store.scan("quality"))["text"].to_list() == ["from the first try"]


def test_damage_is_a_row_and_the_rest_is_committed(tmp_path: Path) -> None:
    raw, store = tmp_path / "raw", Store(tmp_path / "store")
    record(raw)
    record(raw, first=30)
    one, two = segments(raw)
    data = bytearray(one.read_bytes())
    data[len(data) // 2] ^= 1
    one.write_bytes(data)
    two.write_bytes(b"FABSEG\0\1garbage")
    progress = Committer(store, [raw]).step()
    assert progress.committed == 2
    assert len(progress.unreadable) == 2
    assert len(values(store)) == 29
    told = collect(store.scan("quality")).filter(pl.col("kind") == "damage")["text"].to_list()
    assert any("CRC-32" in text for text in told)
    assert any("head of the segment" in text for text in told)


def test_a_better_dictionary_replaces_rows(tmp_path: Path) -> None:
    raw, own = tmp_path / "raw", tmp_path / "own"
    store = Store(tmp_path / "store")
    record(raw, 5)
    record(raw, 5, path="/vendor/port[id=7]/octets")
    committer = Committer(store, [raw])
    committer.step()
    assert values(store) == list(range(5))
    assert committer.decoder.known.unknown()["path"].to_list() == ["/vendor/port[id=7]/octets"]
    own.mkdir()
    (own / "vendor.toml").write_text(
        'provenance = "seen"\n[[group]]\npath = "/vendor/port[id={port}]"\nleaves.octets = "rx_bytes"'
    )
    for _ in range(2):  # again changes nothing
        assert redecode(store, raw, Decoder(load(own))) == 2
        found = collect(store.scan())
        assert sorted(found["port"].to_list()) == ["7"] * 5 + ["E0", "E0", "E1", "E1", "E2"]
        told = collect(store.scan("series"))
        assert told.filter(pl.col("port") == "7")["provenance"].to_list() == ["seen"]
        assert told.height == 4
    only = redecode(store, raw, Decoder(), lambda _, number: number == 2)
    assert only == 1
    assert values(store) == list(range(5))


def test_a_file_cut_short_by_a_power_failure_is_found_and_mended(tmp_path: Path) -> None:
    raw, store = tmp_path / "raw", Store(tmp_path / "store")
    for n in range(3):
        record(raw, first=n * 30)
        Committer(store, [raw]).step()
    victim = sorted((tmp_path / "store" / "counters").rglob("*.parquet"))[1]
    victim.write_bytes(b"")
    with pytest.raises(OSError, match="the store is damaged"):
        values(Store(tmp_path / "store"))
    store = Store(tmp_path / "store")
    assert damaged(store)["path"].to_list() == [
        str(victim.relative_to(tmp_path / "store" / "counters"))
    ]
    lost = repair(store)
    assert len(values(store)) == 60
    assert repair(store) == []
    assert len(lost) == 1
    assert isinstance(lost[0], Lost)
    redecode(
        store,
        raw,
        Decoder(),
        lambda r, n: any(x.recorder == r and x.first <= n <= x.last for x in lost),
    )
    assert values(store) == list(range(90))


def test_raw_segments_go_when_they_are_safe_and_old(tmp_path: Path) -> None:
    raw, store = tmp_path / "raw", Store(tmp_path / "store")
    for n in range(4):
        record(raw, first=n * 30)
    for number, path in enumerate(segments(raw)):
        os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))
    assert forget(store, raw, age_s=60) == []  # nothing is committed
    Committer(store, [raw]).step()
    newest = segments(raw)[-1]
    size = newest.stat().st_size
    assert len(forget(store, raw, limit_bytes=3 * size)) == 1
    assert len(forget(store, raw, age_s=60)) == 2
    assert segments(raw) == [newest]
    record(raw, first=120)
    Committer(store, [raw]).step()
    assert values(store) == list(range(150))


def test_a_store_by_url(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/store")
    (tmp_path / "store").mkdir()
    assert store.append("counters", rows(1), {"r-1": 1})
    assert compact(store, least=2) == 0
    assert values(Store(f"file://{tmp_path}/store")) == wanted(1)


def test_who_only_reads_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="counters: no store here"):
        Store(tmp_path / "store", create=False).scan()
    assert list(tmp_path.iterdir()) == []
    Store(tmp_path / "store").append("counters", rows(1), {"r-1": 1})
    assert values(Store(tmp_path / "store", create=False)) == wanted(1)


def test_a_store_that_cannot_be_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=str(tmp_path / "file")):
        Store(tmp_path / "file").table("counters")


def test_series_told_again_at_every_start_stay_few(tmp_path: Path) -> None:
    raw, store = tmp_path / "raw", Store(tmp_path / "store")
    for n in range(5):
        record(raw, first=n * 30)
        Committer(store, [raw]).step()
    assert sizes(store)["series"][1] == 15
    before = collect(store.scan("series")).unique().sort("port")
    tend(store)
    assert sizes(store)["series"][1] == 3
    assert collect(store.scan("series")).sort("port").equals(before)
    assert thin_series(store) == 0
    assert values(store) == list(range(150))


FULL = """
import sys
from pathlib import Path
from analyzers.committer import Committer
from analyzers.store import Store, collect
raw, disk = Path(sys.argv[1]), Path(sys.argv[2])
(disk / "filler").write_bytes(bytes(1_000_000 - 60_000))
committer = Committer(Store(disk / "store"), [raw])
try:
    while True:
        committer.step()
        (disk / f"more{len(list(disk.iterdir()))}").write_bytes(bytes(4_000))
except OSError as error:
    print("refused:", str(error).splitlines()[0])
for path in disk.glob("*er*"):
    if path.is_file():
        path.unlink()
store = Store(disk / "store")
committer.step()
print(sorted(collect(store.scan())["value"].to_list()) == list(range(90)))
"""


def test_a_full_disk_is_said_and_nothing_lost_when_there_is_room_again(tmp_path: Path) -> None:
    unshare = tool("unshare")
    raw, disk = tmp_path / "raw", tmp_path / "disk"
    disk.mkdir()
    for n in range(3):
        record(raw, first=n * 30)
    (tmp_path / "full.py").write_text(FULL)
    script = (
        f"mount -t tmpfs -o size=1000k none {disk} || exit 77; "
        f"{sys.executable} {tmp_path}/full.py {raw} {disk}"
    )
    done = subprocess.run(
        [unshare, "-rm", "sh", "-c", script],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    first, second = done.stdout.splitlines()
    assert first.startswith("refused: ")
    assert "No space left" in first
    assert second == "True"


def test_commits_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new data file, its folder and the log, before append returns."""
    synced: list[str] = []
    real = os.fsync
    store = Store(tmp_path)
    store.table("counters")

    def note(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr(os, "fsync", note)
    store.append("counters", rows(1), {"r-1": 1})
    (data,) = (tmp_path / "counters").rglob("*.parquet")
    entry = tmp_path / "counters" / "_delta_log" / "00000000000000000001.json"
    assert {str(data), str(data.parent), str(entry), str(entry.parent)} <= set(synced)


def test_kills_with_9_at_random_points(tmp_path: Path) -> None:
    seed = random.randrange(10_000)
    outcome: Any = chaos(tmp_path, int(os.environ.get("FABRIC_CHAOS_KILLS", "20")), seed)
    assert outcome.acknowledged > 0, seed
    assert (outcome.missing, outcome.twice) == (0, 0), (seed, outcome)
