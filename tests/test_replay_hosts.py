"""Hosts of a replayed run: what their NICs count, in the words of mlx5 and as the collector reads it."""

import csv
import gzip
from pathlib import Path

import polars as pl
import pytest

from analyzers.telemetry.dictionary import builtin
from analyzers.telemetry.labelled_runs import COLUMNS, read_counters
from analyzers.telemetry.timelines import timelines
from collectors import messages as gnmi
from collectors.server import Options
from collectors.timeline import Key
from collectors.vocabulary import MLX5, OPENCONFIG
from dashboards.commands.replay import hosts_of
from fabric.simulator.scenario import load
from fabric.simulator.shipped import find
from tests.accuracy.families import run
from tests.data import real_data
from tests.gnmi_client import asking, sample, streamed

CLOCK_0 = 1_700_000_000 * 10**9
NIC = "/nics/nic[driver=mlx5_core][port={port}]"
# columns of the labelled runs that a NIC reports, from the kernel's description of mlx5 counters
ON_A_NIC = {
    "rx_bytes": ("ethtool/rx_bytes_phy", 1), "rx_pkts": ("ethtool/rx_packets_phy", 1),
    "tx_bytes": ("ethtool/tx_bytes_phy", 1), "tx_pkts": ("ethtool/tx_packets_phy", 1),
    "rx_crc_err": ("ethtool/rx_crc_errors_phy", 1),
    "rx_pfc_frames_refreshed": ("ethtool/rx_prio3_pause", 1),
    "tx_pfc_frames_refreshed": ("ethtool/tx_prio3_pause", 1),
    "rx_pause_ns": ("ethtool/rx_prio3_pause_duration", 1000),
    "tx_pause_ns": ("ethtool/tx_prio3_pause_duration", 1000),
    "ingress_drops": ("ethtool/rx_prio3_discards", 1),
    "rx_cnp": ("hw_counters/rp_cnp_handled", 1), "tx_cnp": ("hw_counters/np_cnp_sent", 1),
    "rx_ce_pkts": ("hw_counters/np_ecn_marked_roce_packets", 1),
    "rx_nak": ("hw_counters/packet_seq_err", 1),
}  # fmt: skip
# neither a NIC nor a switch counts XOFFs apart from XONs or tells what a buffer holds at this moment
NOBODY = {"rx_pfc_xoff", "tx_pfc_xoff", "queue_bytes", "ingress_occupancy_bytes"}


def served(folder: Path, device: str, path: str) -> dict[tuple[int, str], int]:
    lines = [x for x in timelines(read_counters(folder), hosts_of(folder)) if x.device == device]
    found = streamed(lines, Options(), {device: asking(sample(path))})[device]
    return {
        (response.update.timestamp, gnmi.path_text(update.path)): update.val.uint_val
        for response in found
        for update in response.update.update
    }


@pytest.mark.parametrize("name", ["incast15-s1", "inet_slow_receiver-s1"])
def test_all_that_a_labelled_run_knows_of_a_host_is_served(name: str) -> None:
    folder = real_data("groundtruth", name)
    device = "host8"
    with gzip.open(folder / "telemetry.csv.gz", "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["device"] == device]
    expected = {
        (CLOCK_0 + int(row["time_ns"]), f"{NIC.format_map(row)}/{leaf}"): int(row[column]) // unit
        for row in rows
        for column, (leaf, unit) in ON_A_NIC.items()
    }
    assert served(folder, device, "/nics") == expected
    as_a_switch = {c for c, meaning in COLUMNS.items() if meaning in OPENCONFIG}
    assert set(COLUMNS) - as_a_switch - set(ON_A_NIC) == NOBODY
    assert {CLOCK_0 + int(row["time_ns"]) for row in rows} == {
        ts for ts, _ in served(folder, device, "/interfaces")
    }


def test_a_nic_of_the_twin_counts_what_happened_to_it(tmp_path: Path) -> None:
    built, _ = run(load(find("livelock")), tmp_path)
    last = {
        path.rpartition("/")[2]: value
        for (_, path), value in sorted(served(tmp_path, "host0", "/nics").items())
    }
    port = built.state.port[built.port_of["host0:1"]]
    assert last["out_of_sequence"] == port["out_of_sequence"] > 0
    assert last["rx_bytes_phy"] == port["rx_bytes"] > 0
    sender = {
        path.rpartition("/")[2]: value
        for (_, path), value in sorted(served(tmp_path, "host4", "/nics").items())
    }
    assert sender["packet_seq_err"] == built.state.port["rx_nak"][built.port_of["host4:1"]] > 0


def test_a_slow_pcie_link_is_told_and_a_slow_receiver_is_not(tmp_path: Path) -> None:
    for name, stalls in (("pcie_bottleneck", True), ("slow_receiver", False)):
        run(load(find(name)), tmp_path / name)
        share = read_counters(tmp_path / name).filter(
            (pl.col("counter") == "pci_write_stalled_share") & (pl.col("value") > 30)
        )
        assert bool(share.height) == stalls
        assert set(share["device"]) == ({"host6"} if stalls else set())


def test_the_collector_reads_what_the_replay_writes() -> None:
    """Every path means to the dictionary of mlx5 what the vocabulary wrote into it."""
    dictionary = builtin()
    same = {"rx_naks": "sequence_errors"}  # a NIC counts the NAKs for a wrong sequence only
    for (of, counter), leaf in MLX5.items():
        key = Key("1", of, 3, counter)
        match = dictionary.find([(name, dict(keys)) for name, keys in leaf.elements(key)])
        assert match is not None, leaf.path
        assert match.entry.counter == same.get(counter, counter)
        assert match.entry.object == ("priority" if of in ("queue", "pg") else of)
        assert match.port == "1"
