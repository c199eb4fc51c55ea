"""``--topology``: which port a capture is at, what its link carries, who is held, what hosts are called."""

import json
import pickle
from pathlib import Path

import polars as pl
import pytest

from analyzers.capture.source import Tap
from analyzers.pipeline import Options, analyze
from analyzers.places import Places
from dashboards import cli
from dashboards.report import words
from fabric.cables import Device, Link, Nic, Port
from fabric.inventory import load
from fabric.qos import PortQos, Qos
from fabric.topology import Fabric
from tests.data import ROOT, real_data

G100, G400 = 100 * 10**9, 400 * 10**9
NIC, LEAF = "02:aa:00:00:00:02", "02:aa:00:00:00:01"  # who is who in captures/pfc_*.pcap


def fabric(nic_mac: str = NIC) -> Fabric:
    devices = [Device("host1", "host"), Device("leaf-1", "leaf"), Device("leaf-11", "leaf"),
               Device("spine0", "spine")]  # fmt: skip
    links = [
        Link(Port("host1", "1"), Port("leaf-1", "Ethernet4"), G100),
        Link(Port("leaf-1", "Ethernet48"), Port("spine0", "1"), G400),
        Link(Port("leaf-11", "1"), Port("spine0", "11"), G400),
    ]
    return Fabric(devices, links, nics=[Nic(Port("host1", "1"), "", ("10.0.0.1",), nic_mac)])


PLACES = Places.of(fabric())


@pytest.mark.parametrize(
    ("tap", "interface", "port"),
    [
        ("leaf-1:Ethernet4", "", "leaf-1:Ethernet4"),
        ("leaf-1_Ethernet48", "", "leaf-1:Ethernet48"),
        ("tap_spine0_p1", "", "spine0:1"),
        ("run7/tap_spine0_p11", "", "spine0:11"),
        ("mirror.spine0.port11", "", "spine0:11"),
        ("leaf-11_p1", "", "leaf-11:1"),  # not leaf-1 with a port 1
        ("leaf-1", "", None),
        ("leaf-1_Ethernet5", "", None),
        ("leaf-1_Ethernet4_after", "", None),
        ("spine01", "", None),
        ("capture", "spine0:1", "spine0:1"),
        ("leaf-1", "Ethernet4", "leaf-1:Ethernet4"),
        ("leaf-1", "Ethernet5", None),
        ("spine0_p1", "0", None),  # the name of a file does not say which of its interfaces
        ("leaf-11 spine0", "1", None),  # two devices have such a port
    ],
)
def test_where_a_tap_is(tap: str, interface: str, port: str | None) -> None:
    found = PLACES.port(tap, interface)
    assert (str(found) if found else None) == port


def test_taps_bear_the_names_of_their_ports() -> None:
    names = ["spine0_p1", "spine0:11", "run/spine0_p11", "leaf-1_Ethernet4", "other"]
    taps = tuple(Tap(name, (name,)) for name in names)
    renamed = PLACES.renamed(taps, {"leaf-1_Ethernet4": G100})
    # two at spine0:11 keep their names, and so does one that --speed names
    assert [tap.point for tap in renamed] == ["spine0:1", *names[1:]]


def test_an_unknown_address_is_at_the_other_end() -> None:
    near = Port("leaf-1", "Ethernet4")
    assert PLACES.at(NIC.upper()) == Port("host1", "1")
    assert PLACES.at("10.0.0.1") == Port("host1", "1")
    assert PLACES.at(LEAF) is None
    assert PLACES.at(LEAF, near) == near
    assert PLACES.at(LEAF, Port("spine0", "1")) is None  # nothing is known of either end


def test_it_travels_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(PLACES)) == PLACES


def capture(name: str, tmp_path: Path, point: str) -> str:
    path = tmp_path / f"{point}.pcap"
    path.write_bytes((ROOT / "captures" / f"{name}.pcap").read_bytes())
    return str(path)


def test_speed_and_who_is_held(tmp_path: Path) -> None:
    path = capture("pfc_both_ends", tmp_path, "leaf-1_Ethernet4")
    for jobs in (1, 2):
        paths = [path, str(ROOT / "captures" / "healthy.pcap")]
        with analyze(paths, Options(places=PLACES, jobs=jobs)) as run:
            points = run.tables.points.sort("point").collect()
            pauses = run.tables.pauses.sort("start").collect()
            windows = run.tables.pause_windows.select("sender").unique().collect()
        assert points.select("point", "speed_bps", "speed_source").rows()[1] == (
            "leaf-1:Ethernet4", G100, "topology"
        )  # fmt: skip
        assert pauses.select("sender", "held_device", "held_port").rows() == [
            ("host1:1", "leaf-1", "Ethernet4"),
            ("leaf-1:Ethernet4", "host1", "1"),
        ]
        assert sorted(windows["sender"]) == ["host1:1", "leaf-1:Ethernet4"]


def test_a_given_speed_counts_before_that_of_the_topology(tmp_path: Path) -> None:
    path = capture("healthy", tmp_path, "leaf-1_Ethernet4")
    with analyze([path], Options(places=PLACES, speeds={"leaf-1_Ethernet4": 5 * 10**9})) as run:
        point = run.tables.points.collect().row(0, named=True)
    assert (point["point"], point["speed_bps"]) == ("leaf-1_Ethernet4", 5 * 10**9)


def test_without_addresses_the_senders_keep_their_macs(tmp_path: Path) -> None:
    path = capture("pfc_both_ends", tmp_path, "leaf-1_Ethernet4")
    with analyze([path], Options(places=Places.of(fabric(nic_mac="")))) as run:
        rows = run.tables.pauses.select("sender", "held_device").collect().rows()
    assert sorted(rows) == [(LEAF, ""), (NIC, "")]


def test_the_map_of_the_port_says_which_frames_are_held(tmp_path: Path) -> None:
    """DSCP 26 is of priority 3 by its class selector, of 5 here: what went on was not held."""
    run = real_data("groundtruth", "pfc_ignored-s1")
    inventory = load([run / "topology.json"])
    port = PortQos(Port("leaf2", "1"), classes={26: 5})
    places = Places.of(inventory.fabric, Qos({port.port: port}))
    assert places.priorities[port.port][25:28] == (0, 5, 0)
    for given, breaches in ((Places.of(inventory.fabric), 1), (places, 0)):
        with analyze([str(run / "tap_leaf2_p1.pcap.gz")], Options(places=given)) as found:
            assert found.tables.pause_breaches.collect().height == breaches


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("10.0.0.1 → 10.0.0.2 qp 0x000011", "10.0.0.1 (host1:1) → 10.0.0.2 qp 0x000011"),
        ("from 10.0.0.1, 10.0.0.1 (3 %)", "from 10.0.0.1 (host1:1), 10.0.0.1 (host1:1) (3 %)"),
        ("110.0.0.1 and 10.0.0.11", "110.0.0.1 and 10.0.0.11"),
        ("fe80::1 → 02:aa:00:00:00:02", "fe80::1 (v6:1) → 02:aa:00:00:00:02"),
        ("12:30:45", "12:30:45"),
    ],
)
def test_addresses_in_sentences(text: str, named: str) -> None:
    assert words.named(text, {"10.0.0.1": "host1:1", "fe80::1": "v6:1"}) == named


def test_a_simulated_fabric(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = real_data("groundtruth", "pfc_ignored-s1")
    html = tmp_path / "report.html"
    command = ["analyze", str(run), "--topology", str(run), "--html", str(html)]
    assert cli.run([*command, "--json"]) == 1
    whole = json.loads(capsys.readouterr().out)
    (point,) = whole["inputs"]
    assert (point["point"], point["speed_bps"]) == ("leaf2:1", G100)
    first = whole["findings"][0]
    root = json.loads((run / "label.json").read_text())["root"]["port"]
    assert (first["kind"], f"{first['device']}:{first['port']}") == ("pfc_ignored", root)
    page = html.read_text()
    assert "11.0.8.1 (host8:1)" in page
    assert "PFC ignored" in page.split("<h2>Causes</h2>")[1].split("<h2>What was seen</h2>")[0]
    assert cli.run(command) == 1
    assert "(host10:1)" in capsys.readouterr().out


def test_every_tap_of_the_simulated_fabrics_is_at_a_port() -> None:
    for run in sorted(real_data("groundtruth").glob("*/")):
        if taps := sorted(run.glob("tap_*.pcap.gz")):
            inventory = load([run / "topology.json"])
            with analyze(
                [str(tap) for tap in taps], Options(places=Places.of(inventory.fabric))
            ) as seen:
                points = seen.tables.points.collect()
                pauses = seen.tables.pauses.collect()
            assert set(points["speed_source"]) == {"topology"}
            assert {str(Port.parse(point)) for point in points["point"]} == set(points["point"])
            known = pl.col("sender").str.contains(r"^[a-z]+\d+:\d+$") & (
                pl.col("held_device") != ""
            )
            assert pauses.select(known.all()).item()


def test_a_topology_that_cannot_be_read_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("fabric: 1\nlinks: [host]\n")
    for path in (bad, tmp_path / "missing"):
        assert (
            cli.run(["analyze", str(ROOT / "captures/healthy.pcap"), "--topology", str(path)]) == 2
        )
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert str(path) in err
