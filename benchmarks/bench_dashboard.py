"""Dashboard: answers of pages on large data, the map in a real browser, uploads in flat memory, many users.

``FABRIC_BENCH_HOURS`` sets how many hours of 10,000 ports with 12 counters every 30 s the store holds
(24 is a day of 346 million rows; 1 by default, because writing them takes longer than reading).
"""

import http.client
import json
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from analyzers.frames import schema
from analyzers.inventory_tables import inventory_tables
from analyzers.tables import tables
from dashboards.desk import Desk
from dashboards.figures import heatmap
from dashboards.pages import flows as flow_page
from dashboards.pages import overview
from dashboards.readers import Fixed
from dashboards.serving.jobs import Jobs
from dashboards.serving.places import Places
from dashboards.serving.reviews import Reviews
from dashboards.serving.serve import Serving, build, listen, server, stop
from dashboards.source import Reader, Source
from dashboards.state import read
from fabric.builders import clos3
from fabric.inventory import Inventory
from fabric.qos import Qos
from fabric.schema import COUNTERS, FLOWS

FLOW_ROWS = 5_000_000
PORTS, STEP_S = 10_000, 30
HOURS = float(os.environ.get("FABRIC_BENCH_HOURS", "1"))
USERS, ASKED = 20, 10
UPLOAD_BYTES = 600_000_000
COUNTER_NAMES = (
    ("port", -1, "rx_bytes"), ("port", -1, "tx_bytes"), ("port", -1, "rx_packets"), ("port", -1, "tx_packets"),
    ("port", -1, "rx_crc_errors"), ("priority", 3, "rx_pause_ns"), ("priority", 3, "tx_pause_ns"),
    ("priority", 3, "rx_pfc_frames"), ("queue", 3, "ecn_marked_packets"), ("queue", 3, "dropped_packets"),
    ("queue", 3, "queue_peak_bytes"), ("pg", 3, "dropped_packets"),
)  # fmt: skip


def resident_bytes() -> int:
    """Resident memory of this process."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def timed(name: str, work: Callable[[], object], times: int = 5) -> None:
    """Print median and worst of some runs, after one that is not counted."""
    work()
    took = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        took.append(time.perf_counter() - begin)
    print(f"{name}: median {statistics.median(took) * 1e3:.0f} ms, worst {max(took) * 1e3:.0f} ms")


@contextmanager
def serving(reader: Reader, folder: Path) -> Iterator[tuple[str, Desk]]:
    """A dashboard on a free port."""
    settings = Serving(port=0, upload_bytes=2 * UPLOAD_BYTES)
    places = Places(folder / "uploads", (), settings.upload_bytes)
    desk = Desk(Source(reader), Reviews(folder / "reviews.sqlite"), places, Jobs(folder / "jobs"))
    taken = listen(settings)
    running = server(build(desk, settings), taken, settings)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{taken.getsockname()[1]}", desk
    finally:
        stop(running)
        thread.join(5)


def fleet_of_100_000() -> None:
    """Recolour a heatmap of 1,024 switches with 128 ports: query, figure, JSON."""
    names = pl.DataFrame(
        {
            "device": np.repeat([f"leaf{n}" for n in range(1024)], 128),
            "port": [f"Ethernet{n}" for n in range(128)] * 1024,
        }
    )
    rng = np.random.default_rng(1)
    rows = pl.concat(
        names.with_columns(ts=pl.lit(n * 30, pl.Int64), value=pl.Series(rng.random(names.height)))
        for n in range(3)
    )

    def recolour() -> str:
        from dash._utils import to_json

        from analyzers.views import fleet
        from analyzers.views.metrics import METRICS

        grid = fleet.grid(fleet.worst_in(rows, (0, 100))).sort("worst", descending=True)
        return str(to_json(heatmap.heatmap(grid, METRICS["pause"])))

    print(f"heatmap of {names.height:,} ports: {len(recolour()) / 1e6:.1f} MB of JSON")
    timed("  recolour on the server", recolour)


def flows_of_5_million() -> None:
    """Filter and sort FLOWS on the disk as the grid asks."""
    rng = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flows.parquet"
        blank = {name: pl.lit(None, kind) for name, kind in schema(FLOWS).items()}
        drawn = pl.DataFrame(
            {"flow": np.arange(FLOW_ROWS), "packets": rng.integers(1, 10**6, FLOW_ROWS),
             "first": np.arange(FLOW_ROWS), "last": np.arange(FLOW_ROWS) + 10**6,
             "wire_bytes": rng.integers(1, 10**9, FLOW_ROWS), "resent": rng.poisson(0.1, FLOW_ROWS)}
        )  # fmt: skip
        text = pl.format("10.0.{}.{}", pl.col("flow") % 250, pl.col("flow") % 240)
        drawn = drawn.with_columns(src=text, dst=text.reverse(), point=pl.lit("tap"))
        rest = [column.alias(name) for name, column in blank.items() if name not in drawn.columns]
        whole = (
            drawn.lazy().with_columns(rest).cast(dict(schema(FLOWS))).select(list(schema(FLOWS)))
        )
        whole.sink_parquet(path)
        reader = Fixed("flows", "result", tables({"flows": pl.scan_parquet(path)}))
        from analyzers.views.flows import flow_page as page
        from dashboards.pages import gridquery

        model = {"packets": {"filterType": "number", "type": "greaterThan", "filter": 500_000},
                 "src": {"filterType": "text", "type": "contains", "filter": "10.0.7."}}  # fmt: skip
        source = Source(reader)
        print(f"flows: {FLOW_ROWS:,} rows, {path.stat().st_size / 1e6:.0f} MB")
        timed(
            "  filter on two columns",
            lambda: page(source.tables.flows, None, gridquery.conditions(model), [], 0, 100),
        )
        timed(
            "  filter and sort",
            lambda: page(
                source.tables.flows,
                None,
                gridquery.conditions(model),
                [("packets", True)],
                0,
                100,
            ),
        )
        timed(
            "  sort all",
            lambda: page(source.tables.flows, None, [], [("packets", True)], 0, 100),
        )
    assert flow_page.PAGE_ROWS == 100


def map_of_1000() -> None:
    """The map of about 1,000 nodes in Chromium without a GPU: panning and a whole recolour."""
    from playwright.sync_api import sync_playwright

    fabric = clos3(8, 16, 8, 4, 6)
    inventory = Inventory(fabric, Qos(), {}, {}, {}, ())
    rows = [
        (n * 10**9, n * 10**9, port.device, port.port, "priority", 3, "rx_pause_ns", n * 10**7)
        for n in range(4) for link in fabric.wiring().links for port in (link.a, link.b)
    ]  # fmt: skip
    given = inventory_tables(inventory) | {
        "counters": pl.DataFrame(rows, schema=schema(COUNTERS), orient="row").lazy()
    }
    program = Path(__file__).with_name("map_speed.js").read_text()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Fixed("map", "run", tables(given), inventory), Path(folder)) as (where, _),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        begin = time.perf_counter()
        page.goto(f"http://{where}/fabric?detail=all")
        page.locator("#map canvas").first.wait_for(timeout=120_000)
        took = time.perf_counter() - begin
        nodes, edges, fps, recolour = page.evaluate(program)
        print(
            f"map of {nodes} nodes, {edges} edges: drawn after {took:.1f} s, panning {fps:.0f} frames/s, recolour {recolour:.0f} ms"
        )
        browser.close()


def upload() -> None:
    """A capture of 600 MB by PUT."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Fixed("x", "run", tables()), Path(folder)) as (where, desk),
    ):
        before, most, done = resident_bytes(), 0, threading.Event()

        def watch() -> None:
            nonlocal most
            while not done.wait(0.02):
                most = max(most, resident_bytes())

        watcher = threading.Thread(target=watch)
        watcher.start()
        begin = time.perf_counter()
        connection = http.client.HTTPConnection(where)
        connection.request(
            "PUT",
            "/upload/large.pcap",
            body=_capture(UPLOAD_BYTES),
            headers={"Content-Length": str(UPLOAD_BYTES)},
        )
        status = connection.getresponse().status
        took = time.perf_counter() - begin
        done.set()
        watcher.join()
        kept = sum(path.stat().st_size for path in desk.places.uploads.iterdir())
        print(
            f"upload of {UPLOAD_BYTES / 1e6:.0f} MB: status {status}, {took:.1f} s, {kept / 1e6:.0f} MB kept, memory +{(most - before) / 1e6:.0f} MB"
        )


def _capture(size: int) -> Iterator[bytes]:
    """A pcap of that size, made while it is sent."""
    import struct

    yield struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)
    left, packet = size - 24, bytes(9000)
    record = struct.pack("<IIII", 1, 0, 9000, 9000) + packet
    block = record * 100
    while left >= len(block):
        yield block
        left -= len(block)
    yield (record * 101)[:left]


def users_on_a_store() -> None:
    """20 users at once on a store of 10,000 ports, 12 counters, every 30 s."""
    from dashboards.store_reader import StoreReader

    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        rows = _store(Path(folder) / "store")
        print(
            f"store of {rows:,} rows ({HOURS:g} h) written in {time.perf_counter() - begin:.0f} s"
        )
        reader = StoreReader(Path(folder) / "store")
        with serving(reader, Path(folder) / "state") as (where, desk):
            begin = time.perf_counter()
            source, state = desk.at("")
            overview._trend(source, source.span(state))
            overview._fleet(source, state)
            print(f"  first page: {time.perf_counter() - begin:.2f} s")
            for name, ask in _asks(desk).items():
                timed(f"  {name}", ask, 5)
            _users(where)
        print(f"  memory of the server: {resident_bytes() / 1e6:.0f} MB")


def _asks(desk: Desk) -> dict[str, Callable[[], object]]:
    rng = random.Random(3)
    source = desk.main

    def port() -> object:
        device = f"leaf{rng.randrange(PORTS // 64)}"
        span = source.known()
        return source.port(
            "pause", device, f"Ethernet{rng.randrange(64)}", (span[1] - 3600 * 10**9, span[1])
        )

    return {
        "heatmap, another metric": lambda: overview._fleet(
            source, read(f"?metric={rng.choice(['pause', 'ecn', 'use'])}")
        ),
        "one port's last hour": port,
    }


def _users(where: str) -> None:
    """Everybody asks for the overview's pieces again and again; what the slowest twentieth waits."""
    took: list[float] = []
    asked = {"output": "..ov-verdict.children...ov-found.children..",
             "outputs": [{"id": "ov-verdict", "property": "children"}, {"id": "ov-found", "property": "children"}],
             "inputs": [{"id": "url", "property": "search", "value": ""}, {"id": "tick", "property": "n_intervals", "value": 1}],
             "changedPropIds": ["tick.n_intervals"], "state": []}  # fmt: skip
    body = json.dumps(asked).encode()

    def user() -> None:
        for _ in range(ASKED):
            begin = time.perf_counter()
            connection = http.client.HTTPConnection(where, timeout=60)
            connection.request(
                "POST", "/_dash-update-component", body, {"Content-Type": "application/json"}
            )
            assert connection.getresponse().status == 200
            took.append(time.perf_counter() - begin)

    threads = [threading.Thread(target=user) for _ in range(USERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took.sort()
    print(
        f"  {USERS} users at once: p50 {took[len(took) // 2] * 1e3:.0f} ms, p95 {took[len(took) * 95 // 100] * 1e3:.0f} ms"
    )


def _store(path: Path) -> int:
    """Write the readings in commits of five minutes; the number of rows."""
    from analyzers.store import Store, placed

    store, rows = Store(path), 0
    places = [(f"leaf{n // 64}", f"Ethernet{n % 64}") for n in range(PORTS)]
    base = pl.DataFrame(
        [(device, port, *counter) for device, port in places for counter in COUNTER_NAMES],
        schema=["device", "port", "object", "index", "counter"], orient="row",
    ).with_columns(pl.col("index").cast(pl.Int32))  # fmt: skip
    growth = np.random.default_rng(4).integers(0, 10**6, base.height)
    start = 1_790_000_000
    for commit in range(int(HOURS * 3600) // 300):
        parts = []
        for n in range(300 // STEP_S):
            second = commit * 300 + n * STEP_S
            ts = pl.lit((start + second) * 10**9, pl.Int64)
            parts.append(
                base.with_columns(ts=ts, seen=ts, value=pl.Series(growth * (second // STEP_S)))
            )
        read = pl.concat(parts).select(schema(COUNTERS).names())
        rows += read.height
        placed_rows = placed(
            "counters",
            read.with_columns(recorder=pl.lit("bench"), segment=pl.lit(commit, pl.Int64)),
        )
        store.append("counters", placed_rows, {"bench": commit})
    return rows


def main() -> None:
    """All of it."""
    fleet_of_100_000()
    flows_of_5_million()
    upload()
    users_on_a_store()
    map_of_1000()


if __name__ == "__main__":
    main()
