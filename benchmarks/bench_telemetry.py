"""Counters: ``python -m benchmarks.bench_telemetry [--rows 30000000] [--commits 1000]``.

Decoding is held against a plain decoder in this run: protobuf's own messages, a path as text, a row a
value. ``--rows 346000000`` builds the whole day of 10,000 ports, 12 counters, every 30 s (about 3 GB);
``--commits 8640`` is a day of commits every 10 s.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analyzers.store import SETTINGS, Store, collect
from analyzers.telemetry.batch import Batch, batch_of, read_batch
from analyzers.telemetry.decode import Decoder
from analyzers.telemetry.rates import rates
from analyzers.upkeep import clean, compact, sizes
from collectors import messages as gnmi
from collectors.recorder import Recorder
from collectors.records import Method
from collectors.segments import segments

S = 1_000_000_000
NOW = 1_750_032_000 * S
PORTS, QUEUES = 512, 8
PORT_LEAVES = ("in-octets", "in-pkts", "out-octets", "out-pkts", "in-errors", "out-errors", "in-discards", "out-discards")  # fmt: skip
QUEUE_LEAVES = ("transmit-pkts", "transmit-octets", "dropped-pkts", "ecn-marked-pkts")


def notifications(rounds: int, each: int = 64) -> Batch:
    """A switch of 512 ports that sends all its leaves ``rounds`` times, ``each`` updates a message."""
    paths = [
        gnmi.path(f"/interfaces/interface[name=Ethernet{p}]/state/counters/{leaf}")
        for p in range(PORTS)
        for leaf in PORT_LEAVES
    ]
    queue = (
        "/qos/interfaces/interface[interface-id=Ethernet{}]/output/queues/queue[name={}]/state/{}"
    )
    paths += [
        gnmi.path(queue.format(p, q, leaf))
        for p in range(PORTS)
        for q in range(QUEUES)
        for leaf in QUEUE_LEAVES
    ]
    rows = []
    for turn in range(rounds):
        for start in range(0, len(paths), each):
            response = gnmi.SubscribeResponse()
            response.update.timestamp = NOW + turn * S
            response.update.prefix.target = "leaf1"
            for n, path in enumerate(paths[start : start + each]):
                response.update.update.add(
                    path=path, val=gnmi.TypedValue(uint_val=(1 << 34) + n * turn)
                )
            rows.append(("leaf1", int(Method.GNMI), response.SerializeToString(), 0, NOW))
    return batch_of(rows)


def plain(batch: Batch) -> pl.DataFrame:
    """What one writes first: protobuf's messages, the path as text, a row for every update."""
    ts: list[int] = []
    path: list[str] = []
    value: list[int] = []
    for record in range(len(batch.offsets)):
        note = gnmi.SubscribeResponse.FromString(batch.payload(record)).update
        prefix = gnmi.elements_of(note.prefix)
        for update in note.update:
            ts.append(note.timestamp)
            path.append(gnmi.path_text(prefix + gnmi.elements_of(update.path)))
            value.append(update.val.uint_val)
    return pl.DataFrame({"ts": ts, "path": path, "value": value})


def blobs(times: int) -> Batch:
    """SONiC's answer to COUNTERS/Ethernet*: one object, numbers as strings."""
    ports = {
        f"Ethernet{p}": {f"SAI_PORT_STAT_PFC_{i}_{way}_PKTS": str(10 ** (i + 3) + p) for i in range(8) for way in ("RX", "TX")}
        | {f"SAI_PORT_STAT_IF_{way}_{what}": str(p << 30) for way in ("IN", "OUT") for what in ("OCTETS", "UCAST_PKTS")}
        for p in range(PORTS)
    }  # fmt: skip
    note = gnmi.Notification(timestamp=NOW, prefix=gnmi.Path(target="COUNTERS_DB"))
    note.update.add(path=gnmi.path("COUNTERS/Ethernet*"), val=gnmi.TypedValue(json_ietf_val=json.dumps(ports).encode()))  # fmt: skip
    payload = gnmi.SubscribeResponse(update=note).SerializeToString()
    return batch_of([("leaf1", int(Method.GNMI), payload, 0, NOW)] * times)


def plain_blobs(batch: Batch) -> pl.DataFrame:
    """The same by json.loads."""
    rows = []
    for record in range(len(batch.offsets)):
        note = gnmi.SubscribeResponse.FromString(batch.payload(record)).update
        for update in note.update:
            for port, fields in json.loads(update.val.json_ietf_val).items():
                rows += [(note.timestamp, port, name, int(value)) for name, value in fields.items()]
    return pl.DataFrame(rows, schema=["ts", "port", "name", "value"], orient="row")


def cpu(work: Callable[[], pl.DataFrame], rounds: int) -> tuple[float, int]:
    """Median CPU seconds, and rows."""
    taken, height = [], 0
    for _ in range(rounds):
        begin = time.process_time()
        height = work().height
        taken.append(time.process_time() - begin)
    return statistics.median(taken), height


def decoding(rounds: int) -> None:
    """Bytes to COUNTERS beside the plain way."""
    decoder = Decoder()
    for what, ours, theirs, unit in (
        ("gNMI PROTO, 64 updates a message", notifications(30), notifications(2), "updates"),
        ("SONiC JSON blobs", blobs(60), blobs(6), "values"),
    ):
        begin = time.process_time()
        first = decoder.decode(ours).counters.height
        learning = time.process_time() - begin
        mine, rows = cpu(lambda b=ours: decoder.decode(b).counters, rounds)  # type: ignore[misc]
        work = plain if unit == "updates" else plain_blobs
        other, few = cpu(lambda b=theirs, w=work: w(b), 3)  # type: ignore[misc]
        assert first == rows
        per, per_plain = rows / mine, few / other
        print(
            f"{what}: {per / 1e6:.2f} M {unit}/s to COUNTERS (first time, every path new: "
            f"{first / learning / 1e6:.2f} M), plain decoder {per_plain / 1e6:.3f} M, "
            f"ratio {per / per_plain:.1f}"
        )


def recording(seconds: float) -> None:
    """Records of 3 kB from 8 threads, each waiting for its acknowledgement, and one that does not."""
    payload, waits = bytes(3_000), []
    with tempfile.TemporaryDirectory(prefix="fabric-bench-") as folder:
        recorder = Recorder(Path(folder), "bench")
        until = time.monotonic() + seconds

        def work() -> None:
            while time.monotonic() < until:
                begin = time.monotonic()
                recorder.wait(recorder.record("leaf1", Method.GNMI, payload))
                waits.append(time.monotonic() - begin)
                time.sleep(0.01)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        begin, count = time.process_time(), 20_000
        for _ in range(count):
            recorder.record("leaf1", Method.GNMI, payload)
        recorder.flush()
        spent = time.process_time() - begin
        recorder.close()
        paths = segments(Path(folder))
        begin = time.process_time()
        read = sum(len(read_batch(path).batch.peers) for path in paths)
        back = time.process_time() - begin
    waits.sort()
    print(
        f"receipt to acknowledgement (fsync): p50 {waits[len(waits) // 2] * 1e3:.0f} ms, "
        f"p99 {waits[len(waits) * 99 // 100] * 1e3:.0f} ms of {len(waits)}; "
        f"recording {count / spent / 1e3:.0f} k records/s of CPU, reading back {read / back / 1e3:.0f} k"
    )


def series(ports: int) -> pl.DataFrame:
    """Twelve counters of each port, 64 ports a switch, in the order of the store."""
    names = (
        "rx_bytes",
        "rx_packets",
        "tx_bytes",
        "tx_packets",
        "rx_crc_errors",
        "rx_dropped_packets",
    )
    rows = [
        (f"leaf{p // 64:03d}", f"Ethernet{p % 64}", "port", -1, name)
        for p in range(ports)
        for name in names
    ]
    rows += [(f"leaf{p // 64:03d}", f"Ethernet{p % 64}", "priority", 3, name) for p in range(ports)
             for name in ("rx_pfc_frames", "tx_pfc_frames", "rx_pause_ns")]  # fmt: skip
    rows += [(f"leaf{p // 64:03d}", f"Ethernet{p % 64}", "queue", 3, name) for p in range(ports)
             for name in ("tx_bytes", "ecn_marked_packets", "dropped_packets")]  # fmt: skip
    frame = pl.DataFrame(
        rows, schema=["device", "port", "object", "index", "counter"], orient="row"
    )
    return frame.with_columns(pl.col("index").cast(pl.Int32)).sort(pl.all())


def readings(of: pl.DataFrame, start: int, samples: int, segment: int) -> pl.DataFrame:
    """Readings of all series every 30 s, growing at different paces."""
    count = of.height
    at = np.repeat(np.arange(count), samples)
    turn = np.tile(np.arange(start, start + samples), count)
    ts = NOW + turn * 30 * S
    return of[pl.Series(at)].with_columns(
        pl.Series("ts", ts),
        pl.Series("seen", ts + 3_000_000 + at % 1000),
        pl.Series("value", turn * (at % 97) * 1_000_003 + at),
        recorder=pl.lit("bench-00000000"),
        segment=pl.lit(segment, pl.Int64),
    )


def committing(commits: int) -> None:
    """Commits of 40,000 rows, compacted and cleaned as in service: what an append takes at the end.

    A day passes in minutes here, so the log is kept for as many commits as there are in an hour of it.
    """
    folder = tempfile.mkdtemp(prefix="fabric-bench-")
    SETTINGS["delta.logRetentionDuration"] = "interval 40 seconds"
    try:
        store, of = Store(folder), series(3_334)
        taken, tidying = [], 0.0
        for n in range(1, commits + 1):
            frame = (
                readings(of[:4_000], n, 10, n) if n > commits - 200 else readings(of[:40], n, 10, n)
            )
            begin = time.monotonic()
            store.append("counters", frame, {"bench-00000000": n})
            taken.append(time.monotonic() - begin)
            if n % 30 == 0:
                begin = time.monotonic()
                compact(store)
                clean(store)
                tidying += time.monotonic() - begin
        late = sorted(taken[-200:])
        print(
            f"append of 40,000 rows after {commits - 200} commits: median {statistics.median(late) * 1e3:.0f} ms, "
            f"p90 {late[180] * 1e3:.0f} ms (fsync included); compaction and clean-up {tidying / (commits / 30):.2f} s "
            f"every 30 commits; log {len(list((Path(folder) / 'counters' / '_delta_log').iterdir()))} files"
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)


def asking(rows: int, where: str = "") -> None:
    """One port's last hour out of a day of readings of as many ports as give ``rows``."""
    folder = Path(where or tempfile.mkdtemp(prefix="fabric-bench-"))
    try:
        store = Store(folder)
        samples = 2_880
        of = series(max(rows // (samples * 12), 64))
        block = max(2_000_000 // of.height, 1)
        if not store.table("counters").file_uris():
            begin = time.monotonic()
            for n, start in enumerate(range(0, samples, block), 1):
                store.append(
                    "counters",
                    readings(of, start, min(block, samples - start), n),
                    {"bench-00000000": n},
                )
            print(f"built in {time.monotonic() - begin:.0f} s")
        count, height, size = sizes(store)["counters"]
        end = NOW + samples * 30 * S
        device, port = of.row(of.height // 2)[:2]
        for name, hours in (("last hour", 1), ("whole day", 24)):
            taken, found = [], pl.DataFrame()
            for _ in range(7):
                begin = time.monotonic()
                rows_of = store.scan(start_ns=end - hours * 3600 * S, end_ns=end)
                found = collect(rows_of.filter(pl.col("device") == device, pl.col("port") == port))
                taken.append(time.monotonic() - begin)
            assert found.height == hours * 120 * 12, found.height
            print(
                f"one port's {name} ({found.height} rows) of {height / 1e6:.0f} M rows in {count} files, "
                f"{size / height:.1f} bytes a row: median {statistics.median(taken) * 1e3:.0f} ms, "
                f"first {taken[0] * 1e3:.0f} ms"
            )
        fresh = collect(Store(folder).scan(start_ns=end - 600 * S, end_ns=end))
        begin = time.process_time()
        made = rates(fresh).rates
        print(
            f"rates: {fresh.height / (time.process_time() - begin) / 1e6:.2f} M readings/s of CPU ({made.height} rows)"
        )
    finally:
        if not where:
            shutil.rmtree(folder)


def main(words: list[str] | None = None) -> None:
    """Run everything, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=30_000_000)
    parser.add_argument("--commits", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--store", default="", help="a folder to build the day in, or one built before"
    )
    parser.add_argument("--only", default="", help="decoding, recording, committing or asking")
    given = parser.parse_args(words)
    parts: dict[str, Callable[[], Any]] = {
        "decoding": lambda: decoding(given.rounds),
        "recording": lambda: recording(5.0),
        "committing": lambda: committing(given.commits),
        "asking": lambda: asking(given.rows, given.store),
    }
    for name, part in parts.items():
        if given.only in ("", name):
            part()


if __name__ == "__main__":
    main()
