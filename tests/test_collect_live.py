"""Diagnosis, alerts and metrics beside a collector, on a store that holds a simulated storm."""

import os
import signal
import urllib.request
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analyzers.live import Live
from analyzers.state import State
from analyzers.store import Store, placed
from analyzers.telemetry.labelled_runs import read_counters
from dashboards.commands.collect_config import load
from dashboards.commands.collect_live import Beside
from fabric.inventory import load as load_fabric
from tests.browser_rig import simulated
from tests.test_alerting import hook, status
from tests.test_collect_command import written
from tests.test_collecting import soon

CONFIG = """
folder = "records"
metrics = "127.0.0.1:0"
[[listen]]
address = "127.0.0.1:0"
[store]
url = "store"
[diagnose]
topology = ["pfc_storm/topology.json"]
every = "100ms"
[alerts]
webhooks = ["{hook}"]
"""


def storm(folder: Path, until_ns: int) -> pl.DataFrame:
    """Store the counters of a simulated storm up to a time; the later ones."""
    counters = read_counters(simulated(folder))
    begin = int(counters["ts"].min())  # type: ignore[arg-type]
    rows = placed(
        "counters", counters.with_columns(recorder=pl.lit("r"), segment=pl.lit(1, pl.Int64))
    )
    early = pl.col("ts") <= begin + until_ns
    Store(folder / "store").append("counters", rows.filter(early), {"r": 1})
    return rows.filter(~early)


def test_a_storm_is_diagnosed_told_and_counted(tmp_path: Path) -> None:
    storm(tmp_path, 1_500_000)
    (tmp_path / "records").mkdir()
    with hook(lambda said: 200) as (url, took):
        config = written(tmp_path, CONFIG.format(hook=url))
        with Beside(load(config), tmp_path, status) as beside:

            def told() -> Any:
                return beside.step() and took

            soon(told)
            port = beside.step()["metrics_port"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                page = answer.read().decode()
            assert 'fabric_incidents_open{acknowledged="false",class="pfc_storm"} 1.0' in page
            diagnosis = beside.diagnosis
            assert diagnosis
            assert diagnosis._process
            os.kill(diagnosis._process.pid, signal.SIGKILL)
            soon(lambda: beside.step() and diagnosis.starts == 2)
            assert "status -9" in beside.step()["diagnosis"]["error"]
    assert [(said["state"], said["incident"]["cls"]) for said, _ in took] == [("open", "pfc_storm")]
    assert took[0][0]["incident"]["roots"][0].startswith("host12:")


def test_a_look_reads_no_more_than_its_window(tmp_path: Path) -> None:
    later = storm(tmp_path, 1_500_000)
    store, fabric = (
        Store(tmp_path / "store"),
        load_fabric([tmp_path / "pfc_storm/topology.json"]).fabric,
    )
    with State(tmp_path / "state.sqlite") as state:
        live = Live(store, state, fabric, intervals=20)
        assert [one.state for one in live.step()] == ["open"]
        first = live.since
        store.append("counters", later, {"r": 2})
        live.step()
        assert first is not None
        assert live.since is not None
        assert live.since > first
        assert [one.state for one in state.incidents()] == ["over"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("pfc_storm/topology.json", "nowhere.yaml", "nowhere.yaml"),
        ('"100ms"', '"soon"', "diagnose.every soon: not a time"),
        ("{hook}", "leaf1:80", "alerts.webhooks: .* no http or https address"),
        ('127.0.0.1:0"\n[[listen]]', 'metrics"\n[[listen]]', "metrics: .* is no address"),
    ],
)  # fmt: skip
def test_what_cannot_be_started_is_said(tmp_path: Path, old: str, new: str, said: str) -> None:
    simulated(tmp_path)
    text = CONFIG.replace(old, new).replace("{hook}", "http://127.0.0.1:1/")
    with pytest.raises((ValueError, OSError), match=said):
        Beside(load(written(tmp_path, text)), tmp_path, status).close()


def test_diagnosis_without_a_store_is_refused(tmp_path: Path) -> None:
    text = CONFIG.replace('[store]\nurl = "store"\n', "")
    with pytest.raises(ValueError, match=r"diagnose and alerts work on a \[store\]"):
        load(written(tmp_path, text))
