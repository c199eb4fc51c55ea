"""The twin feeds the analysis: what its taps captured, analysed, shows what the label says."""

from pathlib import Path

import polars as pl
import pytest

from analyzers.detectors import run_detectors
from analyzers.pipeline import Options, analyze
from tests.data import ROOT
from tests.test_scenarios import run

EXPECTED = {  # scenario: kinds of which one must be told as more than information
    "incast": {"incast", "ecn_marking"},
    "pfc_storm": {"pfc_storm", "pause_pressure"},
    "livelock": {"loss_downstream"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_taps_show_what_the_label_says(name: str, tmp_path: Path) -> None:
    _, label = run(ROOT / f"fabric/simulator/scenarios/{name}.toml", tmp_path)
    assert label["cls"] == ("lossy_link" if name == "livelock" else name)
    taps = [str(path) for path in tmp_path.glob("tap_*.pcap")]
    with analyze(taps, Options(speed_bps=100_000_000_000)) as found:
        findings = run_detectors(found.tables)
        told = set(findings.filter(pl.col("severity") != "info")["kind"].to_list())
        points = found.tables.points.collect()
    assert points["faults"].sum() == 0
    assert points["roce"].sum() > 100
    assert told & EXPECTED[name]
