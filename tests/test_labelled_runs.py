"""Recorded runs: their files to COUNTERS, COUNTERS to timelines, and a run served to the last value."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.frames import schema
from analyzers.telemetry.labelled_runs import read_counters
from analyzers.telemetry.timelines import thin, timelines
from collectors import messages as gnmi
from collectors.server import Options
from collectors.timeline import MISSING
from dashboards import cli
from fabric import counters as canonical
from fabric.schema import COUNTERS
from tests.data import ROOT, real_data
from tests.gnmi_client import PATIENCE_S, Client, asking, sample, streamed

CLOCK_0 = 1_700_000_000 * 10**9
RUN = ("groundtruth", "pfc_storm-s1")

# What a column of the CSV is called here, worked out from the description that came with the runs.
MEANING = {
    "rx_bytes": ("port", "rx_bytes"), "tx_pkts": ("port", "tx_packets"), "rx_nak": ("port", "rx_naks"),
    "link_bps": ("port", "link_bps"), "rx_crc_err": ("port", "rx_crc_errors"),
    "rx_pause_ns": ("priority", "rx_pause_ns"), "tx_pfc_xoff": ("priority", "tx_xoff"),
    "rx_pfc_frames_refreshed": ("priority", "rx_pfc_frames"),
    "ecn_marked_pkts": ("queue", "ecn_marked_packets"), "queue_hwm_bytes": ("queue", "queue_peak_bytes"),
    "ingress_drops": ("pg", "dropped_packets"), "ingress_occupancy_bytes": ("pg", "occupancy_bytes"),
}  # fmt: skip


def samples(*parts: str) -> list[dict[str, str]]:
    with gzip.open(real_data(*parts, "telemetry.csv.gz"), "rt") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["pfc_storm-s1", "inet_lossy_link-s1", "cbd_deadlock-s1"])
def test_every_value_of_a_labelled_run_is_a_row(name: str) -> None:
    rows = samples("groundtruth", name)
    found = read_counters(real_data("groundtruth", name))
    assert found.schema == schema(COUNTERS)
    assert found["ts"].is_sorted()
    assert found.height == len(rows) * found.select("object", "counter").n_unique()
    declared = found.select("object", "counter").unique().rows()
    assert set(declared) <= set(canonical.COUNTERS)
    for column, (of, counter) in MEANING.items():
        values = {
            (ts, device, port): (index, value)
            for ts, device, port, index, value in found.filter(object=of, counter=counter)
            .select("ts", "device", "port", "index", "value")
            .iter_rows()
        }
        expected = {
            (CLOCK_0 + int(row["time_ns"]), row["device"], row["port"]): (
                -1 if of == "port" else int(row["priority"]),
                int(row[column]),
            )
            for row in rows
        }
        assert values == expected, column


# Where a column is found on a switch; openconfig's paths, written out once more.
INTERFACE = "/interfaces/interface[name={port}]"
QUEUE = "/qos/interfaces/interface[interface-id={port}]/output/queues/queue[name={priority}]/state"
PFC = INTERFACE + "/ethernet/pfc/priorities/priority[index={priority}]/state"
ON_A_SWITCH = {
    "rx_bytes": INTERFACE + "/state/counters/in-octets",
    "rx_pkts": INTERFACE + "/state/counters/in-pkts",
    "tx_bytes": INTERFACE + "/state/counters/out-octets",
    "tx_pkts": INTERFACE + "/state/counters/out-pkts",
    "rx_crc_err": INTERFACE + "/state/counters/in-fcs-errors",
    "rx_pfc_frames_refreshed": PFC + "/in-frames",
    "tx_pfc_frames_refreshed": PFC + "/out-frames",
    "rx_pause_ns": PFC + "/pfc-on-total-rx-time",
    "ingress_drops": PFC + "/dropped-pkts",
    "ecn_marked_pkts": QUEUE + "/ecn-marked-pkts",
    "queue_hwm_bytes": QUEUE + "/max-queue-len",
}


def test_a_labelled_run_is_served_to_the_last_value() -> None:
    rows = samples(*RUN)
    lines = timelines(read_counters(real_data(*RUN)))
    assert len(lines) == 24
    requests = {line.device: asking(sample("/")) for line in lines}
    found = streamed(lines, Options(), requests)
    served: dict[tuple[str, int, str], int] = {}
    for device, responses in found.items():
        assert sum(r.sync_response for r in responses) == 1
        for note in (r.update for r in responses if not r.sync_response):
            for update in note.update:
                if update.val.WhichOneof("value") == "uint_val":
                    place = (device, note.timestamp, gnmi.path_text(update.path))
                    assert place not in served
                    served[place] = update.val.uint_val
    expected = {
        (row["device"], CLOCK_0 + int(row["time_ns"]), path.format_map(row)): int(row[column])
        for row in rows
        for column, path in ON_A_SWITCH.items()
    }
    assert served == expected


def test_a_labelled_run_as_sonic_serves_it() -> None:
    rows = [row for row in samples(*RUN) if row["device"] == "leaf0"]
    lines = [line for line in timelines(read_counters(real_data(*RUN))) if line.device == "leaf0"]
    request = asking(
        sample("COUNTERS/Ethernet*"), target="COUNTERS_DB", encoding=gnmi.Encoding.JSON_IETF
    )
    found = streamed(lines, Options(platform="sonic"), {"leaf0": request})["leaf0"]
    served = {
        (r.update.timestamp, port): fields
        for r in found
        if not r.sync_response
        for port, fields in json.loads(r.update.update[0].val.json_ietf_val).items()
    }
    expected = {
        (CLOCK_0 + int(row["time_ns"]), row["port"]): {
            "SAI_PORT_STAT_IF_IN_OCTETS": row["rx_bytes"],
            "SAI_PORT_STAT_IF_IN_UCAST_PKTS": row["rx_pkts"],
            "SAI_PORT_STAT_IF_OUT_OCTETS": row["tx_bytes"],
            "SAI_PORT_STAT_IF_OUT_UCAST_PKTS": row["tx_pkts"],
            "SAI_PORT_STAT_IF_IN_ERRORS": row["rx_crc_err"],
            "SAI_PORT_STAT_PFC_3_RX_PKTS": row["rx_pfc_frames_refreshed"],
            "SAI_PORT_STAT_PFC_3_TX_PKTS": row["tx_pfc_frames_refreshed"],
            "SAI_PORT_STAT_PFC_3_RX_PAUSE_DURATION_US": str(int(row["rx_pause_ns"]) // 1000),
        }
        for row in rows
    }
    assert served == expected


# ---- timelines

NAMED = st.tuples(
    st.integers(0, 30),  # time
    st.sampled_from(["leaf2", "leaf10"]),
    st.sampled_from(["1", "2"]),
    st.sampled_from(
        [("port", -1, "rx_bytes"), ("queue", 3, "queue_peak_bytes"), ("queue", 3, "queue_bytes")]
    ),
    st.integers(0, 100),
)


def frame(rows: list[Any]) -> pl.DataFrame:
    full = [(ts, ts, device, port, *what, value) for ts, device, port, what, value in rows]
    return pl.DataFrame(full, schema=schema(COUNTERS), orient="row")


@given(st.lists(NAMED, max_size=30))
def test_timelines_hold_the_readings(rows: list[Any]) -> None:
    lines = timelines(frame(rows))
    expected = {(ts, device, port, *what): value for ts, device, port, what, value in rows}
    found = {
        (ts, line.device, key.port, key.object, key.index, key.counter): value
        for line in lines
        for ts, row in zip(line.times, line.rows, strict=True)
        for key, value in zip(line.keys, row, strict=True)
        if value != MISSING
    }
    assert found == expected
    names = [line.device for line in lines]
    assert names == [name for name in ("leaf2", "leaf10") if name in {row[1] for row in rows}]
    for line in lines:
        assert list(line.times) == sorted(set(line.times))
        for i, key in enumerate(line.keys):
            values = [row[i] for row in line.rows if row[i] != MISSING]
            counted = key.counter == "rx_bytes"
            assert line.growth[i] == (values[-1] - values[0] if counted else 0)


@settings(max_examples=60)
@given(st.lists(NAMED, max_size=30, unique_by=lambda row: row[:4]), st.integers(1, 12))
def test_thinning_keeps_the_last_and_the_highest_peak(rows: list[Any], interval: int) -> None:
    begin = {d: min(row[0] for row in rows if row[1] == d) for d in {row[1] for row in rows}}
    bins: dict[Any, list[tuple[int, int]]] = {}
    for ts, device, port, what, value in sorted(rows, key=lambda row: row[0]):
        turn = 0
        while begin[device] + turn * interval < ts:
            turn += 1
        bins.setdefault((device, port, what, turn), []).append((ts, value))
    expected = {
        (seen[-1][0], device, port, what): (
            max(v for _, v in seen) if "peak" in what[2] else seen[-1][1]
        )
        for (device, port, what, _), seen in bins.items()
    }
    thinned = thin(frame(rows), interval)
    assert thinned.schema == schema(COUNTERS)
    found = {
        (ts, device, port, (of, index, counter)): value
        for ts, _, device, port, of, index, counter, value in thinned.iter_rows()
    }
    assert len(found) == thinned.height
    assert found == expected
    shuffled = frame(rows).sample(fraction=1, shuffle=True, seed=3)
    assert thin(shuffled, interval).sort(pl.all()).equals(thinned.sort(pl.all()))


# ---- files that are none


def twin_run(folder: Path) -> Path:
    """A run of the twin with two switches and three readings, 1 ms apart."""
    rows = [
        (CLOCK_0 + n * 10**6, device, "1", ("port", -1, "rx_bytes"), 10 * n)
        for n in range(3)
        for device in ("leaf0", "leaf1")
    ]
    folder.mkdir(exist_ok=True)
    frame(rows).write_parquet(folder / "counters.parquet")
    return folder


def broken(folder: Path, how: str) -> Path:
    """A folder that cannot be replayed."""
    if how == "no folder":
        return folder / "none"
    if how == "a file":
        (folder / "x").write_text("")
        return folder / "x"
    if how == "parquet cut short":
        whole = (twin_run(folder) / "counters.parquet").read_bytes()
        (folder / "counters.parquet").write_bytes(whole[: len(whole) // 2])
    elif how == "another table":
        pl.DataFrame({"ts": [1]}).write_parquet(folder / "counters.parquet")
    elif how == "no readings":
        frame([]).write_parquet(folder / "counters.parquet")
    elif how != "nothing in it":
        good = "time_ns,device,port,priority,rx_bytes\n0,leaf0,1,3,7\n"
        packed = gzip.compress(good.encode())
        (folder / "telemetry.csv.gz").write_bytes(
            {
                "no gzip": b"time_ns\n0\n", "gzip cut short": packed[:-12],
                "gzip garbled": packed[:14] + b"\xff" * 9 + packed[23:],
                "missing columns": packed, "empty": gzip.compress(b""), "zero bytes": b"",
                "not numbers": gzip.compress(good.replace("7", "seven").encode()),
            }[how]
        )  # fmt: skip
    return folder


BROKEN = [
    "no folder", "a file", "nothing in it", "parquet cut short", "another table", "no readings", "no gzip",
    "gzip cut short", "gzip garbled", "missing columns", "empty", "zero bytes", "not numbers",
]  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_bad_input_is_one_line_and_status_2(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = broken(tmp_path, how)
    assert cli.run(["replay", str(folder), "--listen", "127.0.0.1:0"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert str(tmp_path) in said.err
    assert "internal error" not in said.err


@pytest.mark.parametrize(
    "options",
    [
        ["--platform", "nobody"], ["--speed", "0"], ["--speed", "nan"], ["--listen", "nowhere"],
        ["--listen", "127.0.0.1:65535"], ["--interval", "soon"], ["--tls-cert", "x.pem"],
        ["--tls-cert", "/no/x.pem", "--tls-key", "/no/x.pem"], ["--platform", "sonic", "--one-port"],
        ["--targets", "/no/such/folder/t.toml"],
    ],
)  # fmt: skip
def test_bad_options_are_one_line_and_status_2(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listen = [] if "--listen" in options else ["--listen", "127.0.0.1:0"]
    assert cli.run(["replay", str(twin_run(tmp_path)), *listen, *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "internal error" not in said.err


# ---- the command


def started(folder: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            sys.executable, "-m", "dashboards.cli", "replay", str(folder), "--listen", "127.0.0.1:0",
            "--json", *options,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FABRIC_REPLAY_PASSWORD": "secret"},
    )  # fmt: skip


def test_the_command_serves_a_run_of_the_twin_and_ends(tmp_path: Path) -> None:
    targets = tmp_path / "targets.toml"
    options = ("--speed", "1000", "--targets", str(targets), "--user", "admin", "--wait", "1")
    with started(twin_run(tmp_path / "run"), *options) as running:
        assert running.stdout
        told = json.loads(running.stdout.readline())
        assert tomllib.loads(targets.read_text()) == told
        assert told["interval_ns"] == 10**6
        address = {t["name"]: t["address"] for t in told["targets"]}
        good = (("username", "admin"), ("password", "secret"))
        with Client(address["leaf1"], metadata=good) as client:
            responses = list(client.call("Subscribe", iter([asking(sample("/"))])))
        notes = [r.update for r in responses if not r.sync_response]
        assert [(n.timestamp - CLOCK_0, n.update[0].val.uint_val) for n in notes] == [
            (0, 0), (10**6, 10), (2 * 10**6, 20)
        ]  # fmt: skip
        out, err = running.communicate(timeout=PATIENCE_S)
        assert (running.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_without_a_word_too_many(tmp_path: Path, sign: signal.Signals) -> None:
    with started(twin_run(tmp_path / "run"), "--loop", "--wait", "0") as running:
        assert running.stdout
        json.loads(running.stdout.readline())
        running.send_signal(sign)
        _, err = running.communicate(timeout=PATIENCE_S)
        assert running.returncode == 130
        assert err in ("", "fabric: interrupted\n")
