"""Every capture of our own, analysed: what its expectation file says is found, and nothing else."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analyzers.detectors import run_detectors
from analyzers.pipeline import Options, analyze
from fabric.codes import Fault
from tests.data import ROOT

CASES = sorted((ROOT / "captures").glob("*.json"))
KEYS = ("kind", "verdict", "place", "psn", "psns")


class Found:
    """All tables of one case that the expectations speak of, collected."""

    def __init__(self, case: dict[str, Any]) -> None:
        speed = case.get("speed_bps", 0)
        options = Options(speed_bps=speed, icrc="icrc" in case, packets=True)
        paths = [str(ROOT / "captures" / name) for name in case["files"]]
        # each file is a point: rotated-looking names are not meant to be joined here
        with analyze(paths, options) as run:
            tables = run.tables
            self.findings = run_detectors(tables)
            if isinstance(self.findings, pl.LazyFrame):
                self.findings = self.findings.collect()
            for name in ("points", "events", "flows", "pauses", "cnps", "messages", "packets"):
                setattr(self, name, getattr(tables, name).collect())


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Found]:
    case = json.loads(Path(request.param).read_text())
    return case, Found(case)


def spread(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows for _ in range(row.get("times", 1))]


@pytest.mark.parametrize("found", CASES, ids=lambda path: path.stem, indirect=True)
class TestCase:
    def test_counts(self, found: tuple[dict[str, Any], Found]) -> None:
        case, seen = found
        points = seen.points
        wrong = case.get("icrc", {}).get("bad", 0)  # a fault only where the ICRC is checked
        wanted = case["counts"] | {"faults": case["counts"]["faults"] + wrong}
        assert {name: points[name].sum() for name in wanted} == wanted
        if "icrc" in case:
            given = Counter(seen.packets["icrc_ok"].to_list())
            assert (given[True], given[False]) == (case["icrc"]["valid"], wrong)
        for name in ("dropped", "unordered"):
            if name in case:
                assert points[name].sum() == case[name]
        for name in ("copies", "ce"):
            if name in case:
                assert seen.flows[name].sum() == case[name], name

    def test_events(self, found: tuple[dict[str, Any], Found]) -> None:
        case, seen = found
        wanted = spread(case.get("events", []))
        rows = seen.events.to_dicts()
        if len(case["files"]) > 1:
            for row in rows:  # joined over taps; what one tap says alone is the expectation
                row["place"] = "" if row["place"].startswith("between") else row["place"]
            wanted = [w | {"place": w["place"]} for w in wanted]
            assert Counter(w["kind"] for w in wanted) == Counter(r["kind"] for r in rows)
            return
        assert Counter(tuple(row[k] for k in KEYS) for row in rows) == Counter(
            tuple(row[k] for k in KEYS) for row in wanted
        )
        for want in wanted:
            row = next(r for r in rows if all(r[k] == want[k] for k in KEYS))
            for key in ("resent", "delay_ns", "limit_ns", "extent"):
                if key in want and "times" not in want:
                    assert row[key] == want[key], (key, row)
        assert seen.events["proof"].str.len_chars().min() in (None, *range(10, 400))

    def test_findings(self, found: tuple[dict[str, Any], Found]) -> None:
        case, seen = found
        told = seen.findings.filter(pl.col("severity") != "info")["kind"].to_list()
        wanted = set(case.get("findings", []))
        assert wanted <= set(seen.findings["kind"].to_list())
        wrong = {"bad_icrc"} if case.get("icrc", {}).get("bad") else set()
        assert wrong <= set(told) <= wanted | wrong | set(case.get("allowed", []))

    def test_pauses(self, found: tuple[dict[str, Any], Found]) -> None:
        case, seen = found
        wanted = spread(case.get("pauses", []))
        assert seen.pauses.height == len(wanted)
        keys = ("priority", "end_reason", "frames")
        given = seen.pauses.select(*keys).rows()
        assert Counter(given) == Counter(tuple(w[k] for k in keys) for w in wanted)
        for want in wanted:
            assert any(abs(want["paused_ns"] - ns) <= 1 for ns in seen.pauses["paused_ns"]), want

    def test_cnps_and_faults(self, found: tuple[dict[str, Any], Found]) -> None:
        case, seen = found
        if "cnps" in case:
            assert dict(Counter(seen.cnps["cause"].to_list())) == case["cnps"]
        if "faults" in case:
            given = Counter(Fault(f).name.lower() for f in seen.packets["fault"] if f)
            assert dict(given) == {k.lower(): v for k, v in case["faults"].items()}
        if "messages" in case:
            assert seen.messages.height == case["messages"]
        if "flows" in case:
            assert seen.flows.height == case["flows"]
        if "recovery" in case:
            assert case["recovery"] in seen.flows["recovery"].to_list()
