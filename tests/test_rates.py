"""RATES against a slow twin that walks each series by hand, and what spoils readings one by one."""

import itertools
import random
from collections import defaultdict
from typing import Any

import polars as pl
import pytest

from analyzers.frames import empty, schema
from analyzers.telemetry.decode import Decoder
from analyzers.telemetry.rates import KEY, rates, switched_off
from fabric.counters import COUNTERS as CANONICAL
from fabric.schema import COUNTERS, QUALITY, RATES, SERIES

S = 1_000_000_000
T0 = 1_750_000_000 * S
Row = tuple[Any, ...]


def frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema(COUNTERS), orient="row")


def counter(
    values: list[int], name: str = "rx_bytes", of: str = "port", device: str = "leaf1", **times: Any
) -> list[Row]:
    """Readings a second apart; ``ts`` and ``seen`` in seconds from the start replace the times."""
    ts = times.get("ts", list(range(len(values))))
    seen = times.get("seen", [t + 0.01 for t in ts])
    index = -1 if of == "port" else 3
    return [
        (T0 + round(t * S), T0 + round(s * S), device, "E1", of, index, name, v)
        for t, s, v in zip(ts, seen, values, strict=True)
    ]


def series_rows(bits: int, name: str = "rx_bytes", of: str = "port") -> pl.DataFrame:
    row = ("leaf1", "E1", of, -1 if of == "port" else 3, name, "x", "/x", bits, "seen")
    return pl.DataFrame([row], schema=schema(SERIES), orient="row")


def twin(
    counters: pl.DataFrame, bits: dict[tuple[Any, ...], int]
) -> dict[tuple[Any, ...], list[Row]]:
    """(ts, interval, delta) per series, for devices with steady clocks."""
    readings: dict[tuple[Any, ...], dict[int, tuple[int, int]]] = defaultdict(dict)
    clears = defaultdict(set)
    for ts, seen, device, port, of, index, name, value in counters.rows():
        held = readings[device, port, of, index, name]
        if ts not in held or seen >= held[ts][0]:
            held[ts] = (seen, value)
        if name == "last_clear_ns":
            clears[device, port].add(value)
    found = {}
    for key, held in readings.items():
        kind = CANONICAL[key[2], key[4]].kind
        rows: list[Row] = []
        ordered = sorted(held.items())
        for (before, (_, was)), (now, (_, value)) in itertools.pairwise(ordered):
            if kind == "gauge":
                continue
            if kind == "peak":
                rows.append((now, now - before, value))
                continue
            delta = value - was
            if any(before < cleared <= now for cleared in clears[key[:2]]):
                continue
            if delta < 0:
                width = bits.get(key, 64)
                delta += 1 << width
                if width == 64 or not 0 <= delta < 1 << (width - 1):
                    continue
            rows.append((now, now - before, delta))
        if rows:
            found[key] = rows
    return found


def found_rates(made: pl.DataFrame) -> dict[tuple[Any, ...], list[Row]]:
    found: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in made.sort(*KEY, "ts").iter_rows(named=True):
        found[tuple(row[k] for k in KEY)].append((row["ts"], row["interval_ns"], row["delta"]))
    return dict(found)


def test_random_histories_are_what_the_twin_says() -> None:
    random.seed(31)
    rows: list[Row] = []
    told: dict[tuple[Any, ...], int] = {}
    names = [("port", "rx_bytes"), ("queue", "tx_bytes"), ("queue", "queue_peak_bytes"),
             ("queue", "queue_bytes"), ("port", "out_of_buffer")]  # fmt: skip
    for device in ("leaf1", "leaf2", "host1"):
        for port in ("E1", "E2"):
            for of, name in names:
                width = 32 if name == "out_of_buffer" else 64
                key = (device, port, of, -1 if of == "port" else 2, name)
                told[key] = width
                value, t = random.randrange(2**31, 2**32), T0
                for _ in range(60):
                    t += random.randrange(1, 3 * S)
                    value += random.randrange(2**28)
                    if random.random() < 0.05:
                        value = random.randrange(100)  # reset
                    reading = value % 2**32 if width == 32 else value
                    seen = t + random.randrange(S // 100)
                    rows.append((t, seen, *key, reading))
                    if random.random() < 0.1:  # a copy by another collector
                        rows.append((t, seen + 5, *key, reading))
    for port in ("E1", "E2"):
        for k in range(3):
            t = T0 + (k * 20 + 7) * S
            rows.append((t, t + 1, "leaf1", port, "port", -1, "last_clear_ns", t - S // 3))
    random.shuffle(rows)
    told_frame = pl.DataFrame(
        [(*key, "x", "/x", width, "seen") for key, width in told.items()],
        schema=schema(SERIES),
        orient="row",
    )
    made = rates(frame(rows), told_frame)
    assert made.rates.schema == schema(RATES)
    assert made.quality.schema == schema(QUALITY)
    assert found_rates(made.rates) == twin(frame(rows), told)
    cumulative = made.rates.filter(pl.col("counter") != "queue_peak_bytes")
    again = cumulative["delta"] / cumulative["interval_ns"] * S
    assert ((again - cumulative["rate"]).abs() <= 1e-6 * again.abs() + 1e-9).all()
    assert {"repeated", "reset", "wrap"} <= set(made.quality["kind"])
    # The order in which rows come makes no difference.
    random.shuffle(rows)
    assert rates(frame(rows), told_frame).rates.equals(made.rates)


def deltas(rows: list[Row], **kwargs: Any) -> tuple[list[int], list[str]]:
    made = rates(frame(rows), **kwargs)
    return made.rates["delta"].to_list(), sorted(set(made.quality["kind"]))


def test_plain() -> None:
    assert deltas(counter([5, 7, 7, 9])) == ([2, 0, 2], [])
    made = rates(frame(counter([0, 30], ts=[0, 1.5]))).rates
    assert made.select("interval_ns", "rate").rows() == [(1_500_000_000, 20.0)]


@pytest.mark.parametrize(
    ("width", "back"), [(8, 250), (16, 65_000), (32, 2**32 - 10), (48, 2**48 - 10)]
)
def test_a_narrow_register_wraps(width: int, back: int) -> None:
    rows = counter([back, 5])
    assert deltas(rows, series=series_rows(width)) == ([5 + 2**width - back], ["wrap"])
    assert deltas(rows) == ([], ["reset"])
    # Too far round to be one turn.
    assert deltas(counter([100, 5]), series=series_rows(width)) == ([], ["reset"])


def test_a_full_register_is_reset_never_wrapped() -> None:
    assert deltas(counter([2**63 - 2, 1, 4])) == ([3], ["reset"])


def test_last_clear_is_believed_even_where_the_count_grew() -> None:
    rows = counter([5, 7, 9_000, 9_001])
    rows += counter([T0 + round(1.5 * S)], "last_clear_ns", ts=[3])
    assert deltas(rows) == ([2, 1], ["reset"])


def test_copies_and_repeated_stamps() -> None:
    twice = counter([5, 7]) + counter([5, 7], seen=[0.5, 1.5])
    assert deltas(twice) == ([2], ["repeated"])
    corrected = [*counter([5, 7]), *counter([8], ts=[1], seen=[1.5])]  # same stamp, later value
    assert deltas(corrected) == ([3], ["repeated"])


def test_a_buffer_sent_late_falls_into_place() -> None:
    live = counter([0, 10, 20, 60, 70], ts=[0, 1, 2, 6, 7])
    late = counter([30, 40, 50], ts=[3, 4, 5], seen=[9.00, 9.01, 9.02])
    assert deltas(live + late) == ([10] * 7, [])


def test_a_clock_set_back_does_not_make_rates() -> None:
    ts = [100, 101, 102, 43, 44, 45]
    rows = counter([0, 10, 20, 30, 40, 50], ts=ts, seen=[0, 1, 2, 3, 4, 5])
    found, kinds = deltas(rows)
    assert found == [10] * 5
    assert "step" in kinds


def test_a_clock_set_right_does_not_make_rates() -> None:
    ts = [-3600, -3599, -3598, 3, 4, 5]
    rows = counter([0, 10, 20, 30, 40, 50], ts=ts, seen=[0.1, 1.1, 2.1, 3.1, 4.1, 5.1])
    made = rates(frame(rows))
    assert made.rates["delta"].to_list() == [10] * 5
    assert made.rates["interval_ns"].to_list() == [S] * 5
    assert "step" in made.quality["kind"].to_list()


def test_a_steady_difference_is_said_and_harmless() -> None:
    rows = counter([0, 10, 20], ts=[0, 1, 2], seen=[3600, 3601, 3602])
    made = rates(frame(rows))
    assert made.rates["rate"].to_list() == [10.0, 10.0]
    assert made.quality.filter(pl.col("kind") == "skew")["value"].to_list() == [-3600 * S]


def test_gap_and_silence() -> None:
    rows = counter(list(range(10)), ts=[0, 1, 2, 3, 4, 9, 10, 11, 12, 13])
    rows += counter([1, 2, 3, 4], device="leaf2", ts=[0, 1, 2, 3])
    quality = rates(frame(rows)).quality
    assert quality.select("device", "kind", "value").rows() == [
        ("leaf2", "stale", 10 * S),
        ("leaf1", "gap", 5 * S),
    ]


def test_peaks_belong_to_their_interval_and_gauges_have_no_rate() -> None:
    rows = counter([100, 30, 80], "queue_peak_bytes", "queue") + counter(
        [1, 2, 3], "queue_bytes", "queue"
    )
    made = rates(frame(rows)).rates
    assert made.select("counter", "interval_ns", "delta", "rate").rows() == [
        ("queue_peak_bytes", S, 30, None),
        ("queue_peak_bytes", S, 80, None),
    ]


def test_quanta_become_time_by_the_speed_and_stay_apart_from_measured_time() -> None:
    rows = counter([0, 1_000_000], "rx_pause_requested_quanta", "priority")
    assert rates(frame(rows)).rates["counter"].to_list() == ["rx_pause_requested_quanta"]
    speed = pl.DataFrame({"device": ["leaf1"], "port": ["E1"], "speed_bps": [100_000_000_000]})
    told = rows + counter([400_000_000_000], "link_bps", ts=[0.5])
    for given, expected in (({"speeds": speed}, 5_120_000), ({}, 1_280_000)):
        made = rates(frame(told if not given else rows), **given).rates
        time = made.filter(pl.col("counter") == "rx_pause_requested_ns")
        assert time["delta"].to_list() == [expected]  # 512 bit times each
        assert "rx_pause_ns" not in made["counter"].to_list()


def test_a_share_of_the_window_is_time_held() -> None:
    made = rates(frame(counter([100_000, 400_000], "rx_pause_share", "priority"))).rates
    assert made.select("counter", "delta", "rate").rows() == [("rx_pause_ns", 400_000_000, 4e8)]


def test_nothing() -> None:
    made = rates(empty(COUNTERS))
    assert made.rates.equals(empty(RATES))
    assert made.quality.equals(empty(QUALITY))
    one = rates(frame(counter([5])))
    assert one.rates.height == 0
    odd = rates(frame([(T0, T0, "leaf1", "E1", "port", -1, "nobody_knows", 5)] * 2))
    assert odd.rates.height == 0


def test_a_group_switched_off_is_said() -> None:
    rows = [("leaf1", "Ethernet0", "queue", 3, "tx_packets", "sonic", "/x", 64, "vendor"),
            ("leaf2", "Ethernet0", "queue", 3, "tx_packets", "sonic", "/x", 64, "vendor"),
            ("leaf2", "Ethernet0", "queue", 3, "ecn_marked_packets", "sonic", "/x", 64, "vendor")]  # fmt: skip
    made = switched_off(pl.DataFrame(rows, schema=schema(SERIES), orient="row"))
    assert made.schema == schema(QUALITY)
    off = made.filter(pl.col("counter") == "ecn_marked_packets")
    assert off.select("device", "object", "kind").rows() == [("leaf1", "queue", "off")]
    assert "SAI_QUEUE_STAT_WRED_ECN_MARKED_PACKETS" in off["text"][0]
    assert switched_off(Decoder().known.new_series()).height == 0
