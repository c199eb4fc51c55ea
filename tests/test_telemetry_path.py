"""The whole way: devices that serve gNMI, the collector, raw segments, the store, RATES."""

import random
import time
from pathlib import Path

import polars as pl
import pytest

from analyzers.committer import Committer
from analyzers.frames import schema
from analyzers.store import Store, collect
from analyzers.telemetry.rates import rates
from analyzers.telemetry.timelines import timelines
from collectors.collecting import collecting
from collectors.config import Config, Target
from collectors.server import Options, serving
from collectors.vocabulary import PLATFORMS
from fabric.schema import COUNTERS
from tests.collecting import QUICK, sampled

STEP = 100_000_000
TIMES = 5
PATHS = {
    "openconfig": ["/interfaces", "/qos"],
    "sonic": ["COUNTERS/Ethernet*", "COUNTERS/Ethernet*/Queues", "COUNTERS/Ethernet*/Pfcwd"],
}


def run(platform: str, now: int) -> pl.DataFrame:
    """Counters of three devices that grow by what is easy to recognise."""
    random.seed(41)
    rows = []
    for device in ("leaf1", "leaf2", "spine1"):
        for port in ("Ethernet0", "Ethernet4"):
            for (of, counter), leaf in PLATFORMS[platform].items():
                if leaf.source == "APPL_DB" or (of == "pg" and platform == "sonic"):
                    continue
                pace = random.randrange(1, 1_000) * max(leaf.unit, 1)
                if counter == "link_bps":
                    pace = 0
                start = 400_000_000_000 if counter == "link_bps" else 7_000_000
                for n in range(TIMES):
                    ts = now + n * STEP
                    index = -1 if of == "port" else 3
                    rows.append((ts, ts, device, port, of, index, counter, start + n * pace))
    return pl.DataFrame(rows, schema=schema(COUNTERS), orient="row")


@pytest.mark.parametrize("platform", list(PATHS))
def test_what_devices_count_is_in_the_store(platform: str, tmp_path: Path) -> None:
    wanted = run(platform, time.time_ns())
    served = timelines(wanted)
    options = Options(
        platform=platform, wait=3 * (len(PATHS[platform]) if platform == "sonic" else 1)
    )
    store = Store(tmp_path / "store")
    committer = Committer(store, [tmp_path / "raw"])
    target = "COUNTERS_DB" if platform == "sonic" else ""
    with serving(served, options) as replay:
        targets = [
            Target(name, at, sampled(*PATHS[platform], interval_ns=STEP if platform == "openconfig" else 1_000_000_000), prefix_target=target)
            for name, at in replay.endpoints
        ]  # fmt: skip
        with collecting(Config(tmp_path / "raw", "c", tuple(targets), backoff=QUICK)):
            once = wanted.height // TIMES  # rows of one reading of everything
            until = time.monotonic() + 20
            wait_for, rows = once if platform == "sonic" else 3 * once, 0
            while time.monotonic() < until and rows < wait_for:
                rows += committer.step().rows
                time.sleep(0.05)
    committer.step()
    found = collect(store.scan())
    key = COUNTERS.names[:1] + COUNTERS.names[2:]
    told = found.select(key).unique()
    assert told.join(wanted.select(key), on=key, how="anti").height == 0
    assert told.select(key[1:-1]).unique().height == once  # nothing is missing
    if platform == "openconfig":
        made = rates(found)
        assert set(made.quality["kind"]) <= {"repeated", "gap"}
        # A reading may fall out where the machine is busy, and the interval says so.
        assert (made.rates["interval_ns"] % STEP == 0).all()
        paces = made.rates.filter(pl.col("rate").is_not_null()).group_by(key[1:-1])
        assert (paces.agg(pl.col("rate").n_unique())["rate"] == 1).all()
