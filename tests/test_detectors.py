"""The contract every detector keeps, asked of each in the tuple, and what each must say."""

import dataclasses
import importlib
import random
import re
from types import ModuleType

import polars as pl
import pytest

from analyzers.detectors import DETECTORS, OPEN_KINDS, SEVERITIES, run_detectors, short_name
from analyzers.frames import schema
from analyzers.tables import NAMES, Tables, tables
from fabric.schema import FINDINGS, TABLES
from fabric.topology import Fabric
from tests.detector_cases import CASES, MS, Case, bins, given_tables, pause, point

MODULES = {short_name(module): module for module in DETECTORS}
CLOCKS = {"ts", "start", "end", "first", "last", "valid_from", "valid_to"}
SHIFT = 1_700_000_000_000_000_000


def found(module: ModuleType, given: Tables, knobs: object = None) -> pl.DataFrame:
    lazy = module.detect(given, None, knobs or module.Knobs())
    rows = lazy.collect(engine="streaming")  # as run_detectors does
    assert rows.equals(lazy.collect(engine="in-memory"), null_equal=True)
    return rows


def cases_of(name: str) -> list[Case]:
    return [case for case in CASES if case.detector == name]


def changed(given: Tables, change: object) -> Tables:
    return tables({name: change(getattr(given, name)) for name in NAMES})


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.detector}: {case.name}")
def test_what_it_must_say(case: Case) -> None:
    rows = found(MODULES[case.detector], given_tables(case.given))
    assert sorted(rows.select("kind", "severity").rows()) == sorted(case.expected)
    assert case.says in " ".join(rows["summary"].to_list() + rows["subject"].to_list())
    assert rows["id"].to_list() == [f"{case.detector}:{n + 1}" for n in range(rows.height)]
    whole = (
        rows.select(pl.exclude("flow")).null_count().sum_horizontal().item() if rows.height else 0
    )
    assert whole == 0, "only the flow may be null"


@pytest.mark.parametrize("name", MODULES)
def test_schema_and_empty(name: str) -> None:
    assert cases_of(name), "a detector without a case"
    rows = found(MODULES[name], tables())
    assert rows.schema == schema(FINDINGS)
    assert rows.is_empty()
    for case in cases_of(name):
        assert found(MODULES[name], given_tables(case.given)).schema == schema(FINDINGS)


@pytest.mark.parametrize("name", MODULES)
def test_needs_no_row_no_finding(name: str) -> None:
    # run_detectors skips a detector whose needed table is empty: it must have nothing to say then.
    module = MODULES[name]
    for case in cases_of(name):
        for need in module.NEEDS:
            given = {key: rows for key, rows in case.given.items() if key != need}
            assert found(module, given_tables(given)).is_empty()
        if kinds := getattr(module, "EVENTS", None):
            others = [row for row in case.given["events"] if row["kind"] not in kinds]
            assert found(module, given_tables({**case.given, "events": others})).is_empty()


@pytest.mark.parametrize("name", MODULES)
def test_row_order_does_not_matter(name: str) -> None:
    for number, case in enumerate(cases_of(name)):
        seed = random.Random(number)
        shuffled = {key: seed.sample(rows, len(rows)) for key, rows in case.given.items()}
        backwards = {key: rows[::-1] for key, rows in case.given.items()}
        expected = found(MODULES[name], given_tables(case.given))
        assert found(MODULES[name], given_tables(shuffled)).equals(expected, null_equal=True)
        assert found(MODULES[name], given_tables(backwards)).equals(expected, null_equal=True)


@pytest.mark.parametrize("name", MODULES)
def test_shifted_clocks_shift_findings_and_nothing_else(name: str) -> None:
    def shift(frame: pl.LazyFrame) -> pl.LazyFrame:
        clocks = CLOCKS & set(frame.collect_schema().names())
        return frame.with_columns(pl.col(clock) + SHIFT for clock in clocks)

    for case in cases_of(name):
        given = given_tables(case.given)
        expected = found(MODULES[name], given).with_columns(pl.col("start", "end") + SHIFT)
        assert found(MODULES[name], changed(given, shift)).equals(expected, null_equal=True)


@pytest.mark.parametrize("name", MODULES)
def test_a_stricter_knob_never_adds_a_finding(name: str) -> None:
    module = MODULES[name]
    key = ("kind", "point", "subject", "priority")
    for case in cases_of(name):
        given = given_tables(case.given)
        before = found(module, given).select(key).rows()
        for field in dataclasses.fields(module.Knobs):
            stricter = field.metadata["stricter"]
            for factor in (1.001, 1.3, 2.0, 10.0):
                value = field.default * factor if stricter == "more" else field.default / factor
                if isinstance(field.default, int):
                    value = int(value) + (stricter == "more")
                if stricter == "none":
                    continue
                knobs = module.Knobs(**{field.name: value})
                after = found(module, given, knobs).select(key).rows()
                assert set(after) <= set(before), f"{field.name}={value} adds a finding"


@pytest.mark.parametrize("name", MODULES)
def test_terabytes_do_not_overflow(name: str) -> None:
    """Bytes and packets of an hour at 800 Gb/s: shares stay what they are, nothing turns negative."""
    much = 10**8
    large = {
        table.name.lower(): [c.name for c in table.columns
                             if c.kind == "i64" and c.unit in ("bytes", "packets")]
        for table in TABLES
    }  # fmt: skip
    for case in cases_of(name):
        given = {
            key: [
                {**row, **{c: row[c] * much for c in large[key] if row.get(c, 0) > 0}}
                for row in rows
            ]
            for key, rows in case.given.items()
        }
        for row in given.get("points", []):
            row["speed_bps"] *= 4  # and the numbers of both in the product with 8e9
        for row in found(MODULES[name], given_tables(given)).to_dicts():
            assert not row["value"] < 0, row
            assert not re.search(r"(?<![\w.])-\d", row["summary"] + row["subject"]), row


@pytest.mark.parametrize("name", MODULES)
def test_it_explains_itself(name: str) -> None:
    module = MODULES[name]
    first, _, rest = (module.__doc__ or "").partition("\n")
    assert first.endswith((".", "?"))
    assert len(rest) > 200
    assert module.Knobs.__dataclass_params__.frozen
    assert dataclasses.fields(module.Knobs)
    for field in dataclasses.fields(module.Knobs):
        assert field.metadata["unit"]
        assert len(field.metadata["reason"]) > 15
        assert field.metadata["stricter"] in ("more", "less", "none")
    kinds = {kind for case in cases_of(name) for kind, _ in case.expected}
    kinds |= getattr(module, "WITH_FABRIC", set())  # these are asked for in test_collective_places
    assert set(module.ADVICE) == kinds, "advice and cases for the same kinds"


def test_the_tuple_names_every_file_once() -> None:
    folder = importlib.import_module("analyzers.detectors").__path__[0]
    import pathlib

    files = {path.stem for path in pathlib.Path(folder).glob("*.py")} - {"__init__", "common"}
    assert files == set(MODULES)
    assert len(DETECTORS) == len(MODULES)
    assert {kind for module in DETECTORS for kind in module.ADVICE} >= OPEN_KINDS


def test_all_together_are_ranked() -> None:
    given: dict[str, list] = {}
    for case in CASES:
        if case.detector in ("loss", "cnp", "pfc_storm"):
            for key, rows in case.given.items():
                given.setdefault(key, []).extend(rows)
    given["flows"] = list({row["flow"]: row for row in given["flows"]}.values())
    given["points"] = given["points"][:1]
    rows = run_detectors(given_tables(given))
    ranks = [SEVERITIES.index(severity) for severity in rows["severity"]]
    assert ranks == sorted(ranks)
    assert rows["id"].is_unique().all()
    assert {"loss", "cnp", "pfc_storm"} <= set(rows["detector"])
    first = rows.filter(pl.col("severity") == rows["severity"][0])["lost_ns"].to_list()
    assert first == sorted(first, reverse=True)


@pytest.mark.parametrize(
    ("start", "length", "told"),
    [
        (0, 20 * MS, {"pfc_storm"}),  # pressure and the list of pauses say nothing more
        (0, 12 * MS, {"pfc_storm", "pause_pressure"}),  # pressure goes on long after the storm
    ],
)
def test_what_a_graver_finding_says_is_not_said_again(
    start: int, length: int, told: set[str]
) -> None:
    windows = [*bins(1.0, 1, 12), *bins(0.5, 3, 40)[12:]] if length < 20 * MS else bins(1.0, 1)
    given = {"points": [point()], "pauses": [pause(start, length)], "pause_windows": windows}
    assert set(run_detectors(given_tables(given))["kind"]) == told
    elsewhere = {**given, "pause_windows": [{**row, "point": "other"} for row in windows]}
    assert {"pfc_storm", "pause_pressure"} <= set(run_detectors(given_tables(elsewhere))["kind"])
    other = {**given, "pause_windows": [{**row, "priority": 4} for row in windows]}
    assert {"pfc_storm", "pause_pressure"} <= set(run_detectors(given_tables(other))["kind"])


def test_nothing_in_nothing_out() -> None:
    assert run_detectors(tables()).equals(pl.DataFrame(schema=schema(FINDINGS)))


def test_overtaking_is_no_anomaly_where_packets_are_sprayed() -> None:
    module = MODULES["reordering"]
    sprayed = Fabric([], [], routing="spray")
    for case in cases_of("reordering"):
        if not case.expected:
            continue
        given = given_tables(case.given)
        severity = module.detect(given, sprayed, module.Knobs()).collect()["severity"].to_list()
        harm = case.name == "answered with a NAK"
        assert severity == ["warning" if harm else "info"] * len(severity)
