"""Pause episodes against a slow twin, and the rules of the standard one by one."""

import random
from collections import defaultdict
from typing import Any

import polars as pl
import pytest

from analyzers import pauses
from analyzers.frames import schema
from analyzers.pauses import Link, bin_width
from fabric.schema import PAUSE_FRAMES, PAUSE_WINDOWS, PAUSES

G100 = 100_000_000_000
Frame = dict[str, Any]


def frame(
    ts: int, number: int = 1, src: int = 1, vector: int = 8, point: str = "p", **q: int
) -> Frame:
    """A pause frame; ``q3=100`` is the time of priority 3."""
    quanta = {f"quanta_{n}": q.get(f"q{n}", 0) for n in range(8)}
    return {"ts": ts, "point": point, "frame": number, "src": src, "vector": vector, **quanta}


def table(frames: list[Frame]) -> pl.DataFrame:
    return pl.DataFrame(frames, schema=schema(PAUSE_FRAMES))


def run(
    frames: list[Frame], links: dict[str, Link] | None = None, part: int = 10_000
) -> tuple[list[Any], list[Any]]:
    """PAUSES and PAUSE_WINDOWS rows."""
    last = max((f["ts"] for f in frames), default=0)
    links = links or {"p": Link(G100, last + 10_000_000, 10_000)}
    found: dict[str, list[pl.DataFrame]] = {"pauses": [], "pause_windows": []}
    parts = [table(frames[at : at + part]) for at in range(0, len(frames), part)]
    pauses.pauses(parts, links, lambda name, rows: found[name].append(rows))
    for name, declared in (("pauses", PAUSES), ("pause_windows", PAUSE_WINDOWS)):
        for rows in found[name]:
            assert rows.schema == schema(declared)
    return tuple([row for some in found[name] for row in some.to_dicts()] for name in found)  # type: ignore[return-value]


def twin(frames: list[Frame], links: dict[str, Link]) -> tuple[list[Any], list[Any]]:
    """The same by lists: episodes of each sender and class first, then bins by overlap."""
    asked: dict[tuple[str, int, int], list[tuple[int, int, int]]] = defaultdict(list)
    for f in frames:
        for c in range(9):
            if f["vector"] == 0x100 if c == 8 else f["vector"] != 0x100 and f["vector"] >> c & 1:
                asked[f["point"], f["src"], c].append((f["ts"], f["frame"], f[f"quanta_{c % 8}"]))
    episodes, bins = [], []
    for (point, src, c), steps in asked.items():
        link = links[point]
        open_: dict[str, Any] | None = None
        mine = []
        last = None
        for ts, number, quanta in steps:
            last = now = ts if last is None else max(last, ts)
            if open_ and open_["expiry"] < now:
                mine.append(open_ | {"end": open_["expiry"], "end_reason": "expiry"})
                open_ = None
            if quanta:
                open_ = open_ or {"start": now, "frames": 0, "first_frame": number}
                open_["expiry"] = now + round(quanta * 512 * 10**9 / link.speed_bps + 1e-6)
            elif not open_:
                continue
            open_ |= {"frames": open_["frames"] + 1, "last_frame": number}
            if not quanta:
                mine.append(open_ | {"end": now, "end_reason": "xon"})
                open_ = None
        if open_ and open_["expiry"] <= link.last:
            mine.append(open_ | {"end": open_["expiry"], "end_reason": "expiry"})
        elif open_:
            mine.append(open_ | {"end": max(link.last, last), "end_reason": "end_of_capture"})
        common = {"point": point, "sender": src.to_bytes(6, "big").hex(":"),
                  "priority": -1 if c == 8 else c}  # fmt: skip
        sums: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        for e in mine:
            del e["expiry"]
            episodes.append(common | e | {"held_device": "", "held_port": "", "kind": "observed",
                                          "paused_ns": e["end"] - e["start"]})  # fmt: skip
            width = link.bin_ns
            sums[e["start"] // width * width][1] += 1
            for start in range(e["start"] // width * width, e["end"], width):
                sums[start][0] += min(start + width, e["end"]) - max(start, e["start"])
        bins += [
            common | {"start": start, "width_ns": width, "paused_ns": ns, "duty": ns / width,
                      "transitions": count}
            for start, (ns, count) in sums.items() if ns or count
        ]  # fmt: skip
    return episodes, bins


def same(one: list[Any], two: list[Any]) -> None:
    for rows in (one, two):
        for row in rows:
            row["duty"] = round(row.get("duty") or 0, 12)
    assert sorted(map(repr, (sorted(row.items()) for row in one))) == sorted(
        map(repr, (sorted(row.items()) for row in two))
    )


def storm(seed: int, count: int) -> list[Frame]:
    rng = random.Random(seed)
    frames, ts = [], 1_700_000_000_000_000_000
    for number in range(count):
        ts += rng.choice([0, 100, 3_000, 20_000, 500_000]) - (rng.random() < 0.05) * 2_000
        vector = rng.choice([0x100, 0xFF, 8, 8, 1 << rng.randrange(8), rng.randrange(256)])
        quanta = {
            f"q{n}": rng.choice([0, 0, 7, 1000, 65535, rng.randrange(65536)]) for n in range(8)
        }
        frames.append(frame(ts, number, rng.randrange(1, 4), vector, rng.choice("pq"), **quanta))
    return frames


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_twin_whatever_the_parts(seed: int) -> None:
    frames = storm(seed, 600)
    last = max(f["ts"] for f in frames)
    links = {"p": Link(G100, last, 20_000), "q": Link(25_000_000_000, last + 40_000, 1_000_000)}
    expected = twin(frames, links)
    for part in (600, 7):
        found = run(frames, links, part)
        same(found[0], expected[0])
        same(found[1], expected[1])


def test_full_rings_lose_nothing() -> None:
    frames = [
        frame(n * 400_000, n, vector=0xFF, **{f"q{c}": 65535 for c in range(8)})
        for n in range(3000)
    ]
    links = {"p": Link(G100, 3000 * 400_000, 50_000)}
    found, expected = run(frames, links), twin(frames, links)
    assert len(expected[0]) > pauses.RING_ROWS
    same(found[0], expected[0])
    same(found[1], expected[1])


def test_forgotten_senders_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = storm(3, 400)
    links = {"p": Link(G100, frames[-1]["ts"], 20_000), "q": Link(G100, frames[-1]["ts"], 20_000)}
    expected = run(frames, links)
    monkeypatch.setattr(pauses, "SENDERS_KEPT", 0)
    found = run(frames, links, part=50)
    same(found[0], expected[0])
    assert sum(row["paused_ns"] for row in found[1]) == sum(row["paused_ns"] for row in expected[1])


def test_millions_of_senders_stay_few_in_memory() -> None:
    work = pauses.Pauses({"p": Link(G100, 10**12, 10_000_000)}, lambda _name, _rows: None)
    for part in range(6):
        first = part * 5000
        work.take(
            table([frame(n * 100_000, n, src=n + 1, q3=100) for n in range(first, first + 5000)])
        )
        assert len(work._senders) <= 5000


@pytest.mark.parametrize(
    ("steps", "start", "end", "reason"),
    [
        ([(0, 1000)], 0, 5120, "expiry"),
        ([(0, 1000), (2000, 0)], 0, 2000, "xon"),
        ([(0, 1000), (2000, 1000)], 0, 7120, "expiry"),  # replaces, does not add
        ([(0, 1000), (2000, 10)], 0, 2051, "expiry"),  # and may shorten
        ([(0, 1000), (5120, 1000)], 0, 10240, "expiry"),  # at the very end it goes on
    ],
)
def test_one_episode(steps: list[tuple[int, int]], start: int, end: int, reason: str) -> None:
    (row,), _ = run([frame(ts, n, q3=q) for n, (ts, q) in enumerate(steps)])
    assert (row["start"], row["end"], row["end_reason"]) == (start, end, reason)
    assert row["paused_ns"] == end - start
    assert row["frames"] == len(steps)


def test_a_later_xoff_begins_another_episode() -> None:
    rows, _ = run([frame(0, q3=1000), frame(5121, q3=1000)])
    assert [row["end_reason"] for row in rows] == ["expiry", "expiry"]


def test_xon_without_xoff_is_nothing() -> None:
    assert run([frame(0, q3=0)]) == ([], [])


def test_a_class_that_is_not_enabled_means_nothing() -> None:
    rows, _ = run([frame(0, vector=0x08, q3=1000, q4=65535)])
    assert [row["priority"] for row in rows] == [3]
    rows, _ = run([frame(0, vector=0x18, q3=1000, q4=65535), frame(100, vector=0x10, q4=0)])
    assert {(row["priority"], row["end_reason"]) for row in rows} == {(3, "expiry"), (4, "xon")}


def test_global_pause_is_kept_apart() -> None:
    rows, _ = run([frame(0, vector=0x100, q0=1000), frame(100, vector=0x01, q0=0)])
    assert [(row["priority"], row["end_reason"]) for row in rows] == [(-1, "expiry")]


def test_the_capture_ends_first() -> None:
    (row,), _ = run([frame(0, q3=65535)], {"p": Link(G100, 1000, 1000)})
    assert (row["end"], row["paused_ns"], row["end_reason"]) == (1000, 1000, "end_of_capture")


def test_an_unknown_speed_is_not_made_up() -> None:
    unknown = {"p": Link(0, 10**9, 10_000)}
    frames = [frame(0, q3=65535), frame(1_000_000, q3=65535), frame(9_000_000, q3=5),
              frame(9_000_100, q3=0)]  # fmt: skip
    rows, windows = run(frames, unknown)
    assert [(r["start"], r["end"], r["paused_ns"], r["end_reason"]) for r in rows] == [
        (0, 1_000_000, None, "expiry"),
        (9_000_000, 9_000_100, None, "xon"),
    ]
    assert [(r["transitions"], r["paused_ns"], r["duty"]) for r in windows] == [(1, None, None)] * 2


def test_no_frames_no_rows() -> None:
    assert run([]) == ([], [])


@pytest.mark.parametrize(
    ("span", "width"),
    [(10**12, 10_000_000), (200_000_000, 10_000_000), (199_999_999, 5_000_000),
     (99_000_000, 2_000_000), (39_000_000, 1_000_000), (1_000_000, 50_000), (0, 1_000)],
)  # fmt: skip
def test_bins_are_short_enough_for_the_capture(span: int, width: int) -> None:
    assert bin_width(span) == width
