"""Collectives recognised, joined and timed: on the twin, whose truth is known, and on a real job."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analyzers.collectives.build import with_collectives
from analyzers.collectives.job import load
from analyzers.frames import schema
from analyzers.pipeline import analyze
from analyzers.tables import tables
from fabric.schema import CARRIED, COLLECTIVES, STALLS
from tests.collective_rig import address, draw, nccl_logs, scenario, seen, some_hosts
from tests.data import ROOT, real_data

KB = 1 << 10
NEAR_NS = 3000  # a message is seen at its sender's tap a little after it began


def workload(kind: str, rng: Any) -> dict[str, Any]:
    """A workload of a kind with members, size and pauses drawn."""
    hosts, size = some_hosts(rng, 4, 8), rng.randint(8, 32) * 8 * KB
    repeated = {"hosts": hosts, "size": size, "iterations": rng.randint(2, 4)}
    half = len(hosts) // 2
    given: dict[str, dict[str, Any]] = {
        "all_reduce": repeated | {"think_us": rng.randint(40, 90)},
        "all_gather": repeated | {"think_us": rng.randint(40, 90)},
        "tree": repeated | {"hosts": some_hosts(rng, 5, 9), "think_us": rng.randint(60, 90)},
        "all_to_all": repeated,
        "pipeline": repeated | {"size": size // 4, "iterations": rng.randint(4, 8)},
        "kv_cache": {
            "prefill": hosts[:half], "decode": hosts[half:], "size": size, "requests": 3,
            "layers": rng.randint(5, 9), "period_us": rng.randint(400, 600), "seed": rng.randint(1, 99),
        },
        "storage": {
            "servers": hosts[:2], "clients": hosts[2:4], "size": 32 * KB, "until_us": 2000,
            "seed": rng.randint(1, 99),
        },
        "incast": {"senders": hosts[1:], "receiver": hosts[0], "size": size},
        "bursts": {"senders": hosts[1:], "receiver": hosts[0], "size": 16 * KB},
        "poisson": {"hosts": "all", "load": 0.08, "until_us": 800, "seed": rng.randint(1, 99)},
    }  # fmt: skip
    return {"kind": kind} | given[kind]


RECOGNISED = {
    "all_reduce": ("all_reduce", "ring"), "all_gather": ("all_gather", "ring"),
    "tree": ("all_reduce", "tree"), "all_to_all": ("all_to_all", "direct"),
    "pipeline": ("send_recv", "direct"), "kv_cache": ("kv_cache", "direct"),
    "storage": ("storage", "direct"),
}  # fmt: skip


@pytest.mark.parametrize("kind", RECOGNISED)
def test_kind_members_and_ledger_are_recognised(kind: str, tmp_path: Path) -> None:
    rng = draw()
    given = workload(kind, rng)
    plan = scenario([given], seed=rng.randint(1, 10**6))
    with seen(tmp_path, plan) as what:
        rows = with_collectives(what.run.tables).collectives.collect()
    assert rows.select("kind", "algorithm").unique().rows() == [RECOGNISED[kind]]
    wanted = given.get("hosts", given.get("prefill", []) + given.get("decode", []))
    used = {c.source_ip for c in plan.plan.connections} | {
        c.target_ip for c in plan.plan.connections
    }
    if kind != "storage":
        assert set(rows["members"][0]) <= {address(plan, host) for host in wanted} & used
    assert rows["measured_bytes"].sum() == sum(m.bytes for m in plan.plan.messages)
    for row in rows.filter(pl.col("expected_bytes") >= 0).iter_rows(named=True):
        assert row["measured_bytes"] == pytest.approx(row["expected_bytes"], rel=1e-3)
        assert row["bytes"] == pytest.approx(given["size"], rel=2e-3)


@pytest.mark.parametrize("kind", ["all_reduce", "all_gather", "tree", "all_to_all"])
def test_operations_begin_and_end_where_they_did(kind: str, tmp_path: Path) -> None:
    rng = draw()
    given = workload(kind, rng)
    plan = scenario([given], seed=rng.randint(1, 10**6))
    with seen(tmp_path, plan) as what:
        rows = with_collectives(what.run.tables).collectives.collect().rows(named=True)
    assert len(rows) == given["iterations"]
    count = len(plan.plan.messages) // given["iterations"]
    for number, row in enumerate(rows):
        start, end = what.span(number * count, count)
        assert row["start"] == pytest.approx(start, abs=NEAR_NS)
        assert row["end"] == pytest.approx(end, abs=NEAR_NS)
        took = row["transfer_ns"] + sum(
            row[f"{cause}_wait_ns"] for cause in ("network", "sender", "receiver")
        )
        assert took <= 1.02 * (row["end"] - row["start"])


@pytest.mark.parametrize("kind", ["incast", "bursts", "poisson"])
def test_traffic_without_a_plan_is_no_collective(kind: str, tmp_path: Path) -> None:
    rng = draw()
    plan = scenario([workload(kind, rng)], seed=rng.randint(1, 10**6))
    with seen(tmp_path, plan) as what:
        assert with_collectives(what.run.tables).collectives.collect().is_empty()


def test_a_pulled_kv_cache_flows_from_prefill_to_decode(tmp_path: Path) -> None:
    rng = draw()
    prefill, decode = ["host1", "host2"], ["host9", "host10", "host14"]
    given = {"kind": "kv_cache", "prefill": prefill, "decode": decode, "size": 128 * KB, "layers": 6,
             "requests": 4, "period_us": 500, "pull": True, "seed": rng.randint(1, 99)}  # fmt: skip
    plan = scenario([given], seed=rng.randint(1, 10**6))
    with seen(tmp_path, plan) as what:
        found = with_collectives(what.run.tables)
        rows, carried = found.collectives.collect(), found.carried.collect()
    assert rows["kind"].unique().to_list() == ["kv_cache"]
    assert set(carried["src"]) <= {address(plan, host) for host in prefill}
    assert set(carried["dst"]) <= {address(plan, host) for host in decode}
    assert rows["measured_bytes"].sum() == sum(m.bytes for m in plan.plan.messages)


def test_two_jobs_on_the_same_hosts_are_told_apart(tmp_path: Path) -> None:
    rng = draw()
    ring = {"kind": "all_reduce", "hosts": ["host0-7"], "size": 256 * KB, "iterations": 3,
            "think_us": 60}  # fmt: skip
    mesh = {"kind": "all_to_all", "hosts": ["host0", "host5", "host10", "host15"], "size": 64 * KB}
    plan = scenario([ring, mesh], seed=rng.randint(1, 10**6))
    with seen(tmp_path, plan) as what:
        rows = with_collectives(what.run.tables).collectives.collect()
    found = rows.group_by("kind").agg(pl.len(), pl.col("ranks").first()).sort("kind").rows()
    assert found == [("all_reduce", 3, 8), ("all_to_all", 1, 4)]
    assert rows["communicator"].n_unique() == 2


def test_a_late_sender_is_named_with_its_time(tmp_path: Path) -> None:
    rng = draw()
    hosts, late_us = some_hosts(rng, 4, 8), rng.randint(60, 250)
    late = rng.choice(hosts)
    given = {"kind": "all_reduce", "hosts": hosts, "size": 128 * KB, "iterations": 3,
             "late": late, "late_us": late_us}  # fmt: skip
    plan = scenario([given], seed=rng.randint(1, 10**6))
    with seen(tmp_path, plan) as what:
        found = with_collectives(what.run.tables)
        rows, stalls = found.collectives.collect(), found.stalls.collect()
    assert rows["late"].to_list() == [address(plan, late)] * 3
    assert stalls.select("cause", "late", "clear_to_send").unique().rows() == [
        ("sender", address(plan, late), "unused")
    ]
    for row in rows.iter_rows(named=True):
        assert row["sender_wait_ns"] == pytest.approx(late_us * 1000, rel=0.02, abs=NEAR_NS)
        assert row["skew_ns"] == pytest.approx(late_us * 1000, rel=0.05, abs=NEAR_NS)
        assert row["receiver_wait_ns"] == 0


def test_a_late_receiver_is_known_by_its_clear_to_send(tmp_path: Path) -> None:
    rng = draw()
    receiver, *senders = some_hosts(rng, 3, 5)
    wait_us, count = rng.randint(60, 200), rng.randint(4, 8)
    given = {"kind": "ready_to_receive", "senders": senders, "receiver": receiver,
             "size": 32 * KB, "count": count, "wait_us": wait_us}  # fmt: skip
    plan = scenario([given], seed=rng.randint(1, 10**6))
    with seen(tmp_path, plan) as what:
        found = with_collectives(what.run.tables)
        (row,), stalls = found.collectives.collect().rows(named=True), found.stalls.collect()
    assert row["late"] == address(plan, receiver)
    told = stalls.filter(pl.col("cause") == "receiver")
    assert told["late"].unique().to_list() == [address(plan, receiver)]
    assert told["clear_to_send"].unique().to_list() == ["late"]
    # the first clear-to-send waits too, but nobody has shown yet that he waits for it
    assert row["receiver_wait_ns"] == pytest.approx((count - 1) * wait_us * 1000, rel=0.02)
    assert row["sender_wait_ns"] < 0.02 * row["receiver_wait_ns"]


FAULTS = {
    "degraded_link": ("network", 0.2), "pfc_storm": ("network", 1.0),
    "receiver_not_ready": ("receiver", 1.0),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_network_and_refusals_are_not_the_senders_fault(kind: str, tmp_path: Path) -> None:
    rng = draw()
    hosts = some_hosts(rng, 4, 8)
    place = rng.choice(hosts)
    cause, value = FAULTS[kind]
    given = {
        "kind": "all_reduce",
        "hosts": hosts,
        "size": 256 * KB,
        "iterations": 3,
        "think_us": 50,
    }
    fault = {"kind": kind, "place": f"{place}:1" if kind == "degraded_link" else place,
             "start_us": 10, "end_us": 300, "value": value}  # fmt: skip
    plan = scenario([given], seed=rng.randint(1, 10**6), faults=[fault], duration_us=6000)
    with seen(tmp_path, plan) as what:
        found = with_collectives(what.run.tables)
        rows, stalls = found.collectives.collect(), found.stalls.collect()
    waits = rows.select(pl.col("^.*_wait_ns$")).sum().row(0, named=True)
    assert max(waits, key=lambda name: waits[name]) == f"{cause}_wait_ns"
    assert waits["sender_wait_ns"] < 0.1 * waits[f"{cause}_wait_ns"]
    here = address(plan, place)
    if cause == "network":
        assert set(rows["late"]) == {""}
        touching = (pl.col("late") == here) | (pl.col("waits") == here)
        assert stalls.filter(touching).height >= 0.9 * stalls.height > 0
    else:
        assert rows["late"][0] == here


def test_a_jobs_logs_name_ranks_kinds_and_every_byte(tmp_path: Path) -> None:
    rng = draw()
    hosts = some_hosts(rng, 4, 6)
    n, count = len(hosts), rng.randint(4, 8) * 1024
    given = {
        "kind": "all_gather",
        "hosts": hosts,
        "size": 4 * n * count,
        "iterations": 3,
        "tag": "job",
    }
    plan = scenario([given], seed=rng.randint(1, 10**6))
    # three halves of an AllReduce in a row: on the wire they could be anything
    call = f"ReduceScatter: # count {count} datatype 7"
    nccl_logs(tmp_path / "logs", plan, hosts, "job", "; ".join([call] * 3))
    with seen(tmp_path / "run", plan) as what:
        found = with_collectives(what.run.tables, load([tmp_path / "logs"]))
        rows, carried = found.collectives.collect(), found.carried.collect()
        payload = int(what.run.tables.messages.select(pl.col("bytes").sum()).collect().item())
    assert rows.select("kind", "number", "evidence", "communicator").rows() == [
        ("reduce_scatter", number, "job", "0xfeed") for number in range(3)
    ]
    assert rows["bytes"].unique().to_list() == [4 * n * count]
    assert rows["measured_bytes"].to_list() == rows["expected_bytes"].to_list()
    assert 2 * carried["bytes"].sum() == payload  # every message is seen at two taps
    ring = {(rank, (rank + 1) % n) for rank in range(n)}
    assert set(carried.select("src_rank", "dst_rank").unique().iter_rows()) == ring
    assert found.operations.collect().height == 3 * n


def test_double_trees_have_no_shape_but_a_log(tmp_path: Path) -> None:
    rng = draw()
    hosts = some_hosts(rng, 6, 8)
    n, half = len(hosts), rng.randint(2, 4) * 16 * KB
    trees = [
        {
            "kind": "tree",
            "hosts": order,
            "size": half,
            "iterations": 2,
            "think_us": 90,
            "tag": "job",
        }
        for order in (hosts, hosts[::-1])
    ]
    plan = scenario(trees, seed=rng.randint(1, 10**6))
    call = f"AllReduce: # count {2 * half} datatype 0"
    nccl_logs(tmp_path / "logs", plan, hosts, "job", f"{call}; {call}")
    with seen(tmp_path / "run", plan) as what:
        rows = with_collectives(what.run.tables, load([tmp_path / "logs"])).collectives.collect()
    assert rows.select("kind", "evidence", "number").rows() == [
        ("all_reduce", "job", 0), ("all_reduce", "job", 1),
    ]  # fmt: skip
    assert rows["measured_bytes"].to_list() == [2 * (n - 1) * 2 * half] * 2
    assert rows["expected_bytes"].to_list() == rows["measured_bytes"].to_list()


def test_logs_that_do_not_fit_are_not_forced_on_the_traffic(tmp_path: Path) -> None:
    rng = draw()
    hosts = some_hosts(rng, 4, 6)
    given = {"kind": "all_reduce", "hosts": hosts, "size": 64 * KB, "iterations": 3, "think_us": 50,
             "tag": "job"}  # fmt: skip
    plan = scenario([given], seed=rng.randint(1, 10**6))
    nccl_logs(tmp_path / "logs", plan, hosts, "job", "AllReduce: # count 999 datatype 7")
    with seen(tmp_path / "run", plan) as what:
        rows = with_collectives(what.run.tables, load([tmp_path / "logs"])).collectives.collect()
    assert rows["evidence"].unique().to_list() == ["traffic"]
    assert rows["number"].unique().to_list() == [-1]
    assert "not joined" in rows["missing"][0]


@pytest.mark.parametrize("with_logs", [False, True])
def test_a_real_job_of_three_nodes(with_logs: bool) -> None:
    folder = real_data("captures/rdma_ib_tutorial/nccl")
    job = load(sorted(folder.glob("*.log"))) if with_logs else None
    with analyze([str(path) for path in sorted(folder.glob("*.pcap"))]) as run:
        found = with_collectives(run.tables, job)
        barrier, reduce = found.collectives.collect().rows(named=True)
        carried = found.carried.collect()
    assert barrier["kind"] == reduce["kind"] == "all_reduce"
    assert barrier["algorithm"] == reduce["algorithm"] == "ring"
    order = ["172.30.0.11", "172.30.0.12", "172.30.0.25"]
    assert reduce["members"] == order
    assert (barrier["bytes"], reduce["bytes"]) == (1, 24576)
    # 35,796 IP bytes forward on an edge are 32,769 or 32,770 of payload, over both operations
    assert carried.group_by("flow").agg(pl.col("bytes").sum())["bytes"].sort().to_list() == [
        32769, 32769, 32770,
    ]  # fmt: skip
    assert reduce["measured_bytes"] == reduce["expected_bytes"] == 98304
    assert 9.9e9 < reduce["period_ns"] < 10.1e9
    assert reduce["late"] == "172.30.0.11"
    assert reduce["late_rank"] == (1 if with_logs else -1)
    assert reduce["communicator"] == ("0x1f82f8f6b7863cd3" if with_logs else "group 0")


def test_one_tap_says_what_it_cannot_see() -> None:
    folder = real_data("captures/rdma_ib_tutorial/nccl")
    with analyze([str(folder / "ring2_node0.pcap")]) as run:
        (row,) = run.tables.collectives.collect().rows(named=True)
    assert row["kind"] == "send_recv"
    assert row["confidence"] <= 0.4
    assert "may be a ring" in row["missing"]


def test_nothing_in_nothing_out_and_schemas_hold() -> None:
    found = with_collectives(tables())
    for frame, table in (
        (found.collectives, COLLECTIVES), (found.carried, CARRIED), (found.stalls, STALLS),
    ):  # fmt: skip
        assert frame.collect().schema == schema(table)
        assert frame.collect().is_empty()


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dashboards.cli", "analyze", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_takes_job_data_and_refuses_broken_ones(tmp_path: Path) -> None:
    folder = real_data("captures/rdma_ib_tutorial/nccl")
    captures = [str(path) for path in sorted(folder.glob("*.pcap"))]
    logs = [f"--job={path}" for path in sorted(folder.glob("*.log"))]
    done = run_command(*captures, *logs, "--json", f"--out={tmp_path / 'kept'}")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)["collectives"]
    assert (told["communicator"], told["operations"], told["ranks"]) == ("0x1f82f8f6b7863cd3", 2, 3)
    kept = pl.read_parquet(tmp_path / "kept" / "collectives.parquet")
    assert kept["late_rank"].to_list()[-1] == 1
    assert pl.read_parquet(tmp_path / "kept" / "carried.parquet")["src_rank"].min() == 0
    broken = tmp_path / "dump.pkl"
    broken.write_bytes(b"\x80\x04}.")
    done = run_command(*captures, f"--job={broken}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert str(broken) in done.stderr
