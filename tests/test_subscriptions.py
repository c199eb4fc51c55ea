"""When a reading is due, against a slow twin that looks at the whole history each time."""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors import messages as gnmi
from collectors.subscriptions import Paced
from collectors.timeline import MISSING, Course, Key, Timeline
from collectors.trees import covers
from collectors.vocabulary import MODELS, PLATFORMS, SPEEDS, VERSIONS
from fabric.counters import COUNTERS

STEP = 100


class Everything:
    """A selection of all columns of a row."""

    def __init__(self, width: int) -> None:
        self.columns = tuple(range(width))
        self.states = frozenset[int]()

    def responses(self, ts: int, row: Sequence[int], columns: Sequence[int]) -> Iterator[Any]:
        raise NotImplementedError


CELLS = st.one_of(st.integers(0, 2), st.just(MISSING))
ROWS = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=12)
)


def twin(rows: list[list[int]], interval: int, suppress: bool, beat: int) -> list[list[int]]:
    """Columns sent at each reading after the first, which the client knows."""
    times = [n * STEP for n in range(len(rows))]
    if interval:  # each multiple of the interval takes the first reading not half a step too early
        served = [
            next((ts for ts in times[1:] if ts + STEP // 2 >= m * interval), None)
            for m in range(1, 100)
        ]
    else:
        served = list(times)
    sent = {c: [(0, v)] for c, v in enumerate(rows[0])}
    plan = []
    for ts, row in zip(times[1:], rows[1:], strict=True):
        chosen = []
        for c, v in enumerate(row):
            known = [(t, old) for t, old in sent[c] if old != MISSING]
            changed = not known or v != known[-1][1]
            silent = bool(beat and known) and ts - known[-1][0] >= beat
            if ts in served and (interval and not suppress):
                chosen.append(c)  # what is missing is left out where it is written
            elif ts in served and v != MISSING and (changed or silent):
                chosen.append(c)
                sent[c].append((ts, v))
        plan.append(chosen)
    return plan


@given(
    ROWS,
    st.sampled_from([0, 100, 150, 200, 330, 1000]),
    st.booleans(),
    st.sampled_from([0, 200, 350]),
)
def test_due_columns_are_those_of_the_twin(
    rows: list[list[int]], interval: int, suppress: bool, beat: int
) -> None:
    width = len(rows[0])
    rule = Paced(
        Everything(width), tuple(range(width)), STEP, interval_ns=interval, suppress=suppress, heartbeat_ns=beat
    )  # fmt: skip
    rule.begin(0, rows[0])
    found = [list(rule.due(n * STEP, row)) for n, row in enumerate(rows[1:], 1)]
    assert found == twin(rows, interval, suppress, beat)


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=6),
    st.integers(0, 30),
    st.integers(-20, 2000),
)
def test_a_course_repeats_its_timeline(steps: list[int], gap: int, now: int) -> None:
    times = [sum(steps[: i + 1]) for i in range(len(steps))]
    rows = [array("q", (i, 5, MISSING)) for i in range(len(times))]
    keys = tuple(Key("1", "port", -1, name) for name in ("rx_bytes", "link_bps", "rx_cnp"))
    line = Timeline("d", keys, times, rows, (len(times) - 1, 0, 9))
    period = times[-1] - times[0] + 1 + gap
    passes = 2020 // period + 2
    long = [
        (ts + turn * period, [i + turn * (len(times) - 1), 5, MISSING])
        for turn in range(passes)
        for i, ts in enumerate(times)
    ]
    course = Course(line, period)
    assert [(course.time(n), list(course.row(n))) for n in range(len(long))] == long
    assert course.has(len(long) + 10**6)
    assert course.latest(now) == sum(ts <= now for ts, _ in long) - 1
    once = Course(line)
    assert [once.has(n) for n in range(len(times) + 1)] == [True] * len(times) + [False]
    assert once.latest(now) == sum(ts <= now for ts in times) - 1


@pytest.mark.parametrize(
    ("times", "interval"), [([5], 1), ([], 1), ([0, 10, 20, 21], 10), ([0, 10, 20, 30, 1000], 10)]
)
def test_the_refresh_is_the_usual_distance(times: list[int], interval: int) -> None:
    rows = [array("q", (0,)) for _ in times]
    assert Timeline("d", (Key("1", "port", -1, "x"),), times, rows, (0,)).interval_ns == interval


ELEMENT = st.sampled_from([("a", {}), ("b", {}), ("c", {"k": "1"}), ("c", {"k": "2"})])
WILD = st.one_of(ELEMENT, st.sampled_from([("*", {}), ("...", {}), ("c", {}), ("c", {"k": "*"})]))


def spelled(pattern: list[gnmi.Elem], length: int) -> list[list[gnmi.Elem]]:
    """Every way to replace ``...`` by single wildcards."""
    if ("...", {}) not in pattern:
        return [pattern]
    at = pattern.index(("...", {}))
    ways = []
    for count in range(length + 1):
        ways += spelled(pattern[:at] + [("*", {})] * count + pattern[at + 1 :], length)
    return ways


@given(st.lists(WILD, max_size=4), st.lists(ELEMENT, max_size=4))
def test_wildcards_cover_what_they_can_be_spelled_as(
    pattern: list[gnmi.Elem], elems: list[gnmi.Elem]
) -> None:
    def same(one: gnmi.Elem, other: gnmi.Elem) -> bool:
        keys = all(
            other[1].get(k) is not None and v in ("*", other[1][k]) for k, v in one[1].items()
        )
        return one[0] in ("*", other[0]) and keys

    expected = any(
        len(way) <= len(elems) and all(map(same, way, elems))
        for way in spelled(pattern, len(elems))
    )
    assert covers(pattern, elems) == expected


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_platform_speaks_of_known_counters_in_paths_of_its_own(platform: str) -> None:
    words = PLATFORMS[platform]
    assert set(words) <= set(COUNTERS)
    assert len({leaf.path for leaf in words.values()}) == len(words)
    modules = {name for name, _, _ in MODELS[platform]}
    for (of, counter), leaf in words.items():
        one = gnmi.path_text(leaf.elements(Key("Ethernet1/1", of, 3, counter)))
        assert "{" not in one
        assert ("3" in one.replace("Ethernet1/1", "")) == (of != "port")
        assert gnmi.elements(one) == leaf.elements(Key("Ethernet1/1", of, 3, counter))
        if platform == "openconfig":
            assert leaf.source in {*modules, ""}
    assert platform in VERSIONS


def test_units() -> None:
    sonic, openconfig = PLATFORMS["sonic"], PLATFORMS["openconfig"]
    assert sonic["priority", "rx_pause_ns"].written(1_234_999) == 1234  # us
    assert sonic["port", "link_bps"].written(400_000_000_000) == 400_000  # Mbit/s
    assert openconfig["priority", "rx_pause_ns"].written(1_234_999) == 1_234_999  # ns
    assert openconfig["port", "link_bps"].written(400_000_000_000) == "SPEED_400GB"
    assert openconfig["port", "link_bps"].written(12_500_000_000) == "SPEED_UNKNOWN"
    for bps, name in SPEEDS.items():
        number = int("".join(c for c in name if c.isdigit()))
        assert bps == number * (10**9 if name.endswith("GB") else 10**6)
