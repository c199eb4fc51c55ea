"""Holds that were not obeyed, against a slow twin that works from the list of frames, and each rule."""

import random
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from analyzers import breaches
from analyzers.breaches import allowance_ns
from analyzers.pipeline import Options, analyze
from fabric import wire
from fabric.codes import Operation
from fabric.pcap import PcapngWriter, PcapWriter
from fabric.roce import Route, roce
from tests.data import real_data

G100 = 100_000_000_000
T0 = 1_700_000_000_000_000_000
NIC, SWITCH, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
US = 1_000
FULL = 0xFFFF


class Frame(NamedTuple):
    """A frame of the tap in words; ``quanta`` of a pause by class, -1 the global pause."""

    ts: int
    src_mac: str
    dst_mac: str = ""
    dscp: int = 26
    pcp: int | None = None
    quanta: dict[int, int] | None = None

    def data(self) -> bytes:
        if self.quanta is not None:
            if -1 in self.quanta:
                return wire.global_pause(self.src_mac, self.quanta[-1])
            return wire.pfc(self.src_mac, self.quanta)
        tags = () if self.pcp is None else (wire.tag(30, self.pcp),)
        route = Route("10.0.0.1", "10.0.0.2", dscp=self.dscp, tags=tags, src_mac=self.src_mac,
                      dst_mac=self.dst_mac)  # fmt: skip
        return roce(
            route, Operation.WRITE_MIDDLE, 0x11, self.ts // 100 & 0xFFFFFF, payload=bytes(64)
        )


def found(path: Path, frames: list[Frame], speed_bps: int = G100, **options: Any) -> list[Any]:
    with PcapWriter(path) as writer:
        for frame in frames:
            writer.write(T0 + frame.ts, frame.data())
    with analyze([str(path)], Options(speed_bps=speed_bps, **options)) as run:
        assert not run.refused
        return run.tables.pause_breaches.collect().to_dicts()


def twin(frames: list[Frame], speed_bps: int) -> list[dict[str, Any]]:
    """Every hold as a span first, then the frames that lie in it too late."""
    asked: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for frame in frames:
        for c, quanta in (frame.quanta or {}).items():
            asked.setdefault((frame.src_mac, c), []).append((frame.ts, quanta))
    rows = []
    for (sender, c), steps in asked.items():
        spans: list[list[int]] = []  # start, and every time at which the end was moved
        ends: list[list[tuple[int, int]]] = []
        for ts, quanta in steps:
            over = not spans or ts > ends[-1][-1][1]
            if quanta and over:
                spans.append([ts])
                ends.append([])
            if spans and (quanta or not over):
                ends[-1].append((ts, ts + (quanta * (65536 * 512 * 10**9 // speed_bps) >> 16)))
        for (start,), moves in zip(spans, ends, strict=True):
            late = []
            for n, frame in enumerate(frames):
                if frame.quanta is not None or frame.dst_mac != sender:
                    continue
                own = frame.pcp if frame.pcp is not None else frame.dscp >> 3
                moved = [end for ts, end in moves if ts <= frame.ts]
                closed = any(ts < frame.ts and end == ts for ts, end in moves)
                in_time = frame.ts <= start + allowance_ns(speed_bps)
                if (
                    c in (own, -1)
                    and moved
                    and not closed
                    and not in_time
                    and frame.ts <= moved[-1]
                ):
                    late.append((n + 1, frame))
            if late:
                held = {frame.src_mac for _, frame in late}
                rows.append({"sender": sender, "priority": c, "start": T0 + start,
                             "first": T0 + late[0][1].ts, "last": T0 + late[-1][1].ts,
                             "packets": len(late), "first_frame": late[0][0],
                             "last_frame": late[-1][0], "tagged": late[0][1].pcp is not None,
                             "held": held.pop() if len(held) == 1 else "",
                             "bytes": sum(len(f.data()) + 24 for _, f in late)})  # fmt: skip
    return rows


def traffic(seed: int, count: int) -> list[Frame]:
    rng = random.Random(seed)
    frames, ts = [], 0
    for _ in range(count):
        ts += rng.choice([1, 90, 700, 4_000, 60_000])
        if rng.random() < 0.2:
            some = rng.sample(range(8), rng.randrange(1, 4))
            quanta = {c: rng.choice([0, 0, 100, 3_000, FULL]) for c in some}
            quanta = {-1: rng.choice([0, 3_000])} if rng.random() < 0.1 else quanta
            frames.append(Frame(ts, rng.choice([NIC, SWITCH, OTHER]), quanta=quanta))
        else:
            src, dst = rng.sample([NIC, SWITCH, OTHER], 2)
            pcp = rng.choice([None, None, rng.randrange(8)])
            frames.append(Frame(ts, src, dst, rng.choice([26, 26, 48, 0, 33]), pcp))
    return frames


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_twin_whatever_the_windows(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = traffic(seed, 1500)
    expected = twin(frames, G100)
    assert len(expected) > 30
    monkeypatch.setattr(breaches, "RING_ROWS", 12)
    for rows in (8192, 50):
        seen = found(tmp_path / "tap.pcap", frames, batch_rows=rows)
        mine = [{name: row[name] for name in expected[0]} for row in seen]
        key = ("sender", "priority", "start")
        assert sorted(mine, key=lambda r: [r[k] for k in key]) == sorted(
            expected, key=lambda r: [r[k] for k in key]
        )


def stream(dst: str = SWITCH, src: str = NIC, until: int = 60, **more: Any) -> list[Frame]:
    """A frame every microsecond."""
    return [Frame(us * US, src, dst, **more) for us in range(until)]


def with_pause(frames: list[Frame], *pauses: Frame) -> list[Frame]:
    return sorted([*frames, *pauses], key=lambda frame: frame.ts)


XOFF = Frame(10 * US + 1, SWITCH, quanta={3: FULL})


@pytest.mark.parametrize(
    ("frames", "packets"),
    [
        (stream(), 60 - 17),  # 10 us, and the allowance of 6.8
        (stream(until=17), None),  # obeyed in time
        (stream(dscp=48), None),  # another priority goes on
        (stream(dscp=48, pcp=3), 43),  # the tag counts, not the DSCP
        (stream(pcp=0), None),
        (stream(dst=NIC, src=SWITCH), None),  # the other direction is not held
        (stream(dst=OTHER), None),  # nor is what does not go to the one who asks
    ],
)
def test_which_frames_break_a_hold(
    frames: list[Frame], packets: int | None, tmp_path: Path
) -> None:
    assert 6_700 < allowance_ns(G100) < 7_000
    rows = found(tmp_path / "tap.pcap", with_pause(frames, XOFF))
    assert [row["packets"] for row in rows] == ([packets] if packets else [])


def test_xon_and_expiry_end_it(tmp_path: Path) -> None:
    released = with_pause(stream(), XOFF, Frame(30 * US + 1, SWITCH, quanta={3: 0}))
    (row,) = found(tmp_path / "tap.pcap", released)
    assert (row["first"], row["last"]) == (T0 + 17 * US, T0 + 30 * US)
    short = with_pause(stream(), XOFF._replace(quanta={3: 3000}))  # 15.36 us
    (row,) = found(tmp_path / "tap.pcap", short)
    assert (row["held"], row["src"], row["last"]) == (NIC, "10.0.0.1", T0 + 25 * US)


def test_a_refreshed_hold_is_one_and_allows_once(tmp_path: Path) -> None:
    again = [XOFF._replace(ts=at * US + 1, quanta={3: 3000}) for at in (10, 20, 30, 40)]
    (row,) = found(tmp_path / "tap.pcap", with_pause(stream(), *again))
    assert (row["start"], row["packets"]) == (T0 + 10 * US + 1, 56 - 17)


def test_global_pause_holds_every_priority(tmp_path: Path) -> None:
    frames = with_pause(stream(dscp=0), XOFF._replace(quanta={-1: FULL}))
    (row,) = found(tmp_path / "tap.pcap", frames)
    assert (row["priority"], row["packets"]) == (-1, 43)


def test_an_unknown_speed_finds_less_and_makes_nothing_up(tmp_path: Path) -> None:
    (row,) = found(tmp_path / "tap.pcap", with_pause(stream(), XOFF), speed_bps=0)
    # held as long as at 800 Gb/s (41.9 us), allowed as much as at 10 Gb/s
    assert row["last"] == T0 + 51 * US
    assert row["allowed_ns"] == allowance_ns(0) > 2 * allowance_ns(G100)


def test_several_that_go_on_are_not_named(tmp_path: Path) -> None:
    frames = with_pause([*stream(), *stream(src=OTHER)], XOFF)
    (row,) = found(tmp_path / "tap.pcap", frames)
    assert (row["held"], row["packets"]) == ("", 86)


def test_interfaces_are_links_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "two.pcapng"
    with PcapngWriter(path) as writer:
        writer.section()
        writer.interface()
        writer.interface()
        for frame in with_pause(stream(), XOFF):
            data = frame.data()
            writer.write_many([(T0 + frame.ts, data, len(data))], int(frame.quanta is None))
    with analyze([str(path)], Options(speed_bps=G100)) as run:
        assert run.tables.points.collect()["pauses"].to_list() == [1, 0]
        assert run.tables.pause_breaches.collect().is_empty()


def test_many_senders_are_bounded(tmp_path: Path) -> None:
    made_up = [Frame(n, f"06:00:00:00:{n:02x}:00", quanta={3: FULL}) for n in range(200)]
    assert found(tmp_path / "tap.pcap", with_pause([*made_up, *stream()], XOFF)) == []


def test_simulated_fabrics_obey_except_the_one_that_does_not() -> None:
    broken: dict[str, list[Any]] = {}
    holds = 0
    for run in sorted(real_data("groundtruth").glob("*/")):
        if taps := sorted(run.glob("tap_*.pcap.gz")):
            with analyze([str(tap) for tap in taps], Options(speed_bps=G100)) as seen:
                broken[run.name] = seen.tables.pause_breaches.collect().to_dicts()
                holds += seen.tables.pauses.select(pl.len()).collect().item()
    (row,) = broken.pop("pfc_ignored-s1")
    assert (row["src"], row["priority"]) == ("11.0.8.1", 3)  # host8, as the label says
    assert not any(broken.values())
    assert holds > 40
