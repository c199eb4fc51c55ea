"""The queries behind the pages, against what is plain to compute."""

import random

import polars as pl
import pytest

from analyzers.frames import schema
from analyzers.tables import tables
from analyzers.views import fleet, metrics, series, targets
from analyzers.views.flows import listed
from analyzers.views.load import point_loads
from analyzers.views.metrics import METRICS
from analyzers.views.select import Condition, page
from analyzers.views.sequence import sequence
from fabric.schema import COUNTERS, FLOW_WINDOWS, FLOWS

STEP = 50_000


def counters(rows: list[tuple[int, str, str, str, int, str, int]]) -> pl.LazyFrame:
    """COUNTERS of (ts, device, port, object, index, counter, value)."""
    full = [(ts, ts, *rest) for ts, *rest in rows]
    return pl.DataFrame(full, schema=schema(COUNTERS), orient="row").lazy()


def test_a_spike_of_one_sample_survives_thinning() -> None:
    rows = pl.DataFrame(
        {"key": ["a"] * 100_000, "ts": range(100_000), "value": [0.0] * 100_000}
    ).with_columns(value=pl.when(pl.col("ts") == 51_234).then(7.0).otherwise("value"))
    thinned = series.thin(rows, ["key"], (0, 100_000), 500)
    assert thinned.height < 2000
    assert thinned.filter(pl.col("value") == 7.0)["ts"].to_list() == [51_234]
    assert set(thinned["ts"].to_list()) <= set(range(100_000))


def test_thinning_keeps_least_and_greatest_of_every_bucket() -> None:
    rng = random.Random(5)
    values = [rng.random() for _ in range(5000)]
    rows = pl.DataFrame({"key": "a", "ts": range(5000), "value": values})
    thinned = dict(series.thin(rows, ["key"], (0, 5000), 50).select("ts", "value").iter_rows())
    for bucket in range(50):
        part = values[bucket * 100 : bucket * 100 + 100]
        kept = [v for ts, v in thinned.items() if bucket * 100 <= ts < bucket * 100 + 100]
        assert min(part) == min(kept)
        assert max(part) == max(kept)


def test_a_line_is_broken_where_readings_stayed_away() -> None:
    times = [0, 10, 20, 30, 90, 100]
    rows = pl.DataFrame({"key": ["a"] * 6, "ts": times, "value": [1.0] * 6})
    broken = series.with_gaps(rows, ["key"])
    assert broken.filter(pl.col("value").is_null())["ts"].to_list() == [31]
    late = series.with_gaps(rows.filter(pl.col("ts") != 20), ["key"])  # one reading lost is no gap
    assert late.filter(pl.col("value").is_null())["ts"].to_list() == [31]


def test_pause_is_the_share_of_the_measured_interval_and_the_worst_priority() -> None:
    read = counters(
        [
            (n * STEP, "leaf0", "1", "priority", priority, "rx_pause_ns", total)
            for priority, totals in ((3, (0, 0, 25_000)), (4, (0, 50_000, 60_000)))
            for n, total in enumerate(totals)
        ]
    )
    rows = metrics.port_metric(read, METRICS["pause"])
    assert rows.select("ts", "value").rows() == [(STEP, 1.0), (2 * STEP, 0.5)]


def test_a_reset_counter_gives_no_rate_and_use_needs_a_speed() -> None:
    read = counters(
        [(n * STEP, "leaf0", "1", "port", -1, "tx_bytes", v) for n, v in enumerate((10**6, 10**6 + 625_000, 5, 312_505))]
    )  # fmt: skip
    bare = metrics.port_metric(read, METRICS["use"])
    assert bare["value"].is_null().all()
    speeds = pl.DataFrame({"device": ["leaf0"], "port": ["1"], "speed_bps": [100_000_000_000]})
    rows = metrics.port_metric(read, METRICS["use"], speeds)
    assert rows["ts"].to_list() == [STEP, 3 * STEP]
    assert rows["value"].to_list() == pytest.approx([1.0, 0.5])


def test_the_worst_port_of_a_bin_is_named() -> None:
    rows = pl.DataFrame(
        {
            "ts": [1, 2, 3, 4],
            "device": ["a", "b", "a", "b"],
            "port": ["1"] * 4,
            "value": [0.0, 3.0, 1.0, 0.0],
        }
    )
    found = fleet.over_time(rows, (0, 4), 2)
    assert found.select("ts", "value", "device").rows() == [(2, 0.0, "a"), (4, 3.0, "b")]
    assert fleet.worst_in(rows, (0, 4)).sort("device").rows() == [
        ("a", "1", 3, 1.0),
        ("b", "1", 2, 3.0),
    ]


def test_devices_and_ports_stand_in_the_order_of_their_numbers() -> None:
    values = pl.DataFrame(
        {
            "device": ["leaf10", "leaf2", "leaf2", "leaf2"],
            "port": ["1", "10", "9", "Ethernet4"],
            "ts": [0] * 4,
            "value": [1.0, 2.0, 3.0, None],
        }
    )
    grid = fleet.grid(values)
    assert grid["device"].to_list() == ["leaf2", "leaf10"]
    assert grid["port"].to_list() == [["9", "10", "Ethernet4"], ["1"]]


def test_groups_of_ports_by_moment_agree_with_a_loop() -> None:
    rng = random.Random(1)
    rows = [
        (rng.randrange(1, 100), f"d{rng.randrange(3)}", f"{rng.randrange(3)}", rng.random())
        for _ in range(500)
    ]
    frame = pl.DataFrame(rows, schema=["ts", "device", "port", "value"], orient="row")
    places = [(f"d{d}", f"{p}", f"e{(d + p) % 4}") for d in range(3) for p in range(3)]
    groups = pl.DataFrame(places, schema=["device", "port", "group"], orient="row")
    moments = [20, 50, 99]
    names, table = fleet.by_moment(frame, groups, moments)
    of = {(d, p): g for d, p, g in places}
    for name, values in zip(names, table, strict=True):
        low = 0
        for moment, value in zip(moments, values, strict=True):
            inside = [v for ts, d, p, v in rows if low < ts <= moment and of[d, p] == name]
            assert value == (max(inside) if inside else None)
            low = moment


@pytest.mark.parametrize(
    ("condition", "keeps"),
    [
        (Condition("src", "contains", "10.0"), lambda r: "10.0" in r["src"]),
        (Condition("src", "not_contains", "0.1"), lambda r: "0.1" not in r["src"]),
        (Condition("src", "starts", "10.0.0.1"), lambda r: r["src"].startswith("10.0.0.1")),
        (Condition("src", "ends", "7"), lambda r: r["src"].endswith("7")),
        (Condition("src", "equals", "10.0.0.3"), lambda r: r["src"] == "10.0.0.3"),
        (Condition("packets", "ge", 40.0), lambda r: r["packets"] >= 40),
        (Condition("packets", "lt", 10.0), lambda r: r["packets"] < 10),
        (Condition("packets", "between", 5.0, 9.0), lambda r: 5 <= r["packets"] <= 9),
        (Condition("rtt", "blank"), lambda r: r["rtt"] is None),
        (Condition("rtt", "not_blank"), lambda r: r["rtt"] is not None),
    ],
)  # fmt: skip
def test_pages_agree_with_a_loop(condition: Condition, keeps: object) -> None:
    rng = random.Random(2)
    rows = [
        {
            "src": f"10.0.0.{rng.randrange(20)}",
            "packets": rng.randrange(50),
            "rtt": rng.choice([None, 1, 2]),
        }
        for _ in range(300)
    ]
    assert callable(keeps)
    kept = sorted((r for r in rows if keeps(r)), key=lambda r: -r["packets"])
    frame = pl.DataFrame(rows).with_row_index("id").lazy()
    for key in ("", "id"):
        found = page(frame, [condition], [("packets", True)], 3, 10, key)
        assert found.total == len(kept)
        assert found.rows.drop("id").to_dicts() == kept[3:13]


@pytest.mark.parametrize(
    ("conditions", "sort"),
    [([Condition("nobody", "eq", 1.0)], []), ([Condition("a", "like", "x")], []), ([Condition("a", "sql", 1.0)], []),
     ([], [("nobody", True)]), ([Condition("a", "eq", 1.0)] * 33, [])],
)  # fmt: skip
def test_what_is_not_understood_is_refused(
    conditions: list[Condition], sort: list[tuple[str, bool]]
) -> None:
    with pytest.raises(ValueError, match=r"no column|no such comparison|more than"):
        page(pl.DataFrame({"a": [1]}).lazy(), conditions, sort)


def test_load_spreads_wide_windows_and_shows_silence() -> None:
    row = dict.fromkeys(schema(FLOWS)) | {"flow": 1, "point": "tap"}
    flows = pl.DataFrame([row], schema=schema(FLOWS))
    blank = dict.fromkeys(schema(FLOW_WINDOWS), 0)
    windows = pl.DataFrame(
        [
            blank | {"flow": 1, "start": 0, "width_ns": 10, "bytes": 100},
            blank | {"flow": 1, "start": 30, "width_ns": 20, "bytes": 400},
        ],
        schema=schema(FLOW_WINDOWS),
    )
    ((name, load),) = point_loads(
        tables({"flows": flows.lazy(), "flow_windows": windows.lazy()}), (0, 50), 5
    )
    assert name == "tap"
    per_byte = 8 * 1_000_000_000 / 10
    assert load["value"].to_list() == [100 * per_byte, 0.0, 0.0, 200 * per_byte, 200 * per_byte]


def test_targets_say_how_late_and_how_often() -> None:
    read = counters(
        [(n * STEP, "a", "1", "port", -1, "tx_bytes", n) for n in range(10)]
        + [(n * STEP, "b", "1", "port", -1, "tx_bytes", n) for n in range(4)]
    )
    found = {row["device"]: row for row in targets.targets(tables({"counters": read})).to_dicts()}
    assert found["b"]["lag_ns"] == 6 * STEP
    assert found["a"]["lag_ns"] == 0
    assert found["a"]["interval_ns"] == STEP
    assert found["a"]["readings"] == 10


def test_an_unknown_flow_has_no_sequence_and_no_flows_are_listed() -> None:
    assert sequence(tables(), 5) is None
    assert listed(tables().flows, (0, 1)).collect().is_empty()
