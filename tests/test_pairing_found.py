"""Blind pairing against what is known of traffic that others made: no wrong pair, and none left out.

The simulated runs list both queue pair numbers of every flow, the logs of the NCCL nodes those of every
connection. Nothing of that is in the packets.
"""

import gzip
import re
import struct
from collections import Counter
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from analyzers.pipeline import analyze
from tests.data import real_data

Key = tuple[str, str, int]  # source, destination, destination queue pair
SPORT = 14 + 20  # offset in a frame: Ethernet, IPv4 without options
NUMBER = re.compile(r"IbDev \d+ Port \d+ qpn (\d+) (mtu|set_ece)")
SENDS = re.compile(r" (\d+)\[\d+\] -> (\d+)\[\d+\] \[send\]")
GID = re.compile(r"GID 1 \(0/([0-9A-F]{7,8})FFFF0000\)")


class Told(NamedTuple):
    """Flows whose other direction was found, and the directions that could be paired."""

    right: int
    wrong: list[str]
    unpaired: list[str]


def judge(flows: pl.DataFrame, truth: dict[Key, Key]) -> Told:
    """Pairs as they were told against ``truth``, which names both directions of every queue pair."""
    rows = {row["flow"]: row for row in flows.to_dicts()}
    keys = {flow: (row["src"], row["dst"], row["qpn"]) for flow, row in rows.items()}
    at = {(row["point"], keys[flow]): row for flow, row in rows.items()}
    right, wrong, unpaired = 0, [], []
    for flow, row in rows.items():
        back = at.get((row["point"], truth[keys[flow]]))
        name = f"{row['point']} {keys[flow]}"
        if row["peer_flow"] is not None:
            told = rows[row["peer_flow"]]
            if back is not None and told["flow"] == back["flow"] and row["point"] == told["point"]:
                right += 1
            else:
                wrong.append(f"{name} with {keys[row['peer_flow']]}")
        elif back and (
            (row["requests"] and back["responses"]) or (row["responses"] and back["requests"])
        ):
            unpaired.append(name)
    return Told(right, wrong, unpaired)


def both_ways(pairs: list[tuple[str, str, int, int]]) -> dict[Key, Key]:
    """The other direction of every flow, from (a, b, queue pair at a, queue pair at b)."""
    there = {(a, b, at_b): (b, a, at_a) for a, b, at_a, at_b in pairs}
    return there | {back: key for key, back in there.items()}


def simulated(run: Path) -> dict[Key, Key]:
    """The flows that a simulated run lists."""
    numbers = (pl.col(name).str.strip_prefix("0x").str.to_integer(base=16)
               for name in ("src_qpn", "dst_qpn"))  # fmt: skip
    return both_ways(pl.read_csv(run / "flows.csv").select("src_ip", "dst_ip", *numbers).rows())


def one_port(path: Path, to: Path) -> None:
    """Copy a capture with the same UDP source port in every RoCE packet."""
    data = bytearray(gzip.decompress(path.read_bytes()))
    at = 24
    while at < len(data):
        captured = struct.unpack_from("<I", data, at + 8)[0]
        frame = at + 16
        if data[frame + 12 : frame + 14] == b"\x08\x00":
            data[frame + SPORT : frame + SPORT + 2] = b"\xc0\x00"
        at = frame + captured
    to.write_bytes(data)


@pytest.mark.parametrize("ports", ["as they were", "all the same"])
def test_queue_pairs_of_simulated_fabrics(ports: str, tmp_path: Path) -> None:
    told: dict[str, Told] = {}
    for run in sorted(real_data("groundtruth").glob("*/")):
        taps = sorted(run.glob("tap_*.pcap.gz"))
        if taps and ports == "all the same":
            for tap in taps:
                one_port(tap, tmp_path / f"{run.name}-{tap.stem}")
            taps = sorted(tmp_path.glob(f"{run.name}-*"))
        if taps:
            with analyze([str(tap) for tap in taps]) as found:
                told[run.name] = judge(found.tables.flows.collect(), simulated(run))
    assert [line for result in told.values() for line in result.wrong] == []
    assert [line for result in told.values() for line in result.unpaired] == []
    assert sum(result.right for result in told.values()) >= 700  # so that an empty answer fails


def logged(folder: Path) -> dict[Key, Key]:
    """The connections that NCCL's logs tell of: sender and receiver, and the queue pair of each."""
    hosts: dict[int, str] = {}
    pairs: list[tuple[int, int, int, int]] = []
    for path in sorted(folder.glob("*.log")):
        ranks, own = (-1, -1), -1
        for line in path.read_text().splitlines():
            if found := SENDS.search(line):
                ranks = int(found[1]), int(found[2])
            if found := GID.search(line):  # as a little-endian number
                hosts[ranks[0]] = str(IPv4Address(bytes.fromhex(found[1].zfill(8))[::-1]))
            if found := NUMBER.search(line):
                if found[2] == "mtu":
                    own = int(found[1])
                else:
                    pairs.append((*ranks, own, int(found[1])))
    return both_ways([(hosts[a], hosts[b], at_a, at_b) for a, b, at_a, at_b in pairs])


def test_queue_pairs_of_an_nccl_ring() -> None:
    folder = real_data("captures", "rdma_ib_tutorial", "nccl")
    with analyze([str(path) for path in sorted(folder.glob("*.pcap"))]) as found:
        told = judge(found.tables.flows.collect(), logged(folder))
    assert told == Told(12, [], [])


def test_a_wrong_pair_is_seen() -> None:
    """The judge itself: two pairs crossed, and one direction left alone."""
    names = ("flow", "point", "src", "dst", "qpn", "peer_flow", "requests", "responses")
    rows = [
        (1, "tap", "a", "b", 17, 4, 9, 0), (2, "tap", "b", "a", 18, 3, 0, 9),
        (3, "tap", "a", "b", 19, 2, 9, 0), (4, "tap", "b", "a", 20, 1, 0, 9),
        (5, "tap", "a", "b", 21, None, 9, 0), (6, "tap", "b", "a", 22, None, 0, 9),
    ]  # fmt: skip
    truth = both_ways([("a", "b", 18, 17), ("a", "b", 20, 19), ("a", "b", 22, 21)])
    told = judge(pl.DataFrame(rows, schema=names, orient="row"), truth)
    assert (told.right, len(told.wrong), len(told.unpaired)) == (0, 4, 2)
    assert Counter(line.split()[0] for line in told.wrong) == {"tap": 4}
