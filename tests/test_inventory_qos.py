"""The qos part of our YAML: what rules say, that later ones add, and a broken twin for every error."""

import math
from pathlib import Path

import pytest

from fabric.inventory import Inventory, load
from fabric.qos import Buffer, Ecn, PortQos, Qos, Scheduler, Watchdog
from fabric.topology import Port

GOOD = """\
fabric: 1
devices: {a: {role: leaf}, b: {role: host}}
links:
  - a:1 -- b:1 400G 3m
qos:
  - ports: "*"
    trust: dscp
    dscp: {3: [24, 26], 48: 6}
    pfc: [3]
    mtu: 9216
  - ports: a:1
    pfc: [3, 4]
    queue: {3: 3}
    ecn: {3: {kmin: 150K, kmax: 1MB, pmax: 0.2}}
    buffer: {3: {size: 300K, headroom: 100KiB, alpha: 0.5, pool: 30M}}
    scheduler: {3: 60, 6: strict}
    watchdog: {detect: 200ms}
    length: 7m
  - ports: b:1
    roce: {dscp: 26, nccl_tc: 106, gid_index: 3, notify: [3]}
  - ports: c:9
    mtu: 1500
"""


def read(tmp_path: Path, text: str) -> Inventory:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    return load([path])


def test_rules_add_up(tmp_path: Path) -> None:
    qos = read(tmp_path, GOOD).qos
    a, b, c = (qos.get(Port(*end)) for end in (("a", "1"), ("b", "1"), ("c", "9")))
    assert a is not None
    assert b is not None
    assert c is not None
    assert a.classes == {24: 3, 26: 3, 48: 6}
    assert (a.pfc, b.pfc, a.mtu_bytes, c.mtu_bytes) == ({3, 4}, {3}, 9216, 1500)
    assert a.ecn == {3: Ecn(150_000, 1_000_000, 0.2)}
    assert a.buffers is not None
    assert a.buffers[3] == Buffer(300_000, -1, 102_400, 0.5, -1, "", 30_000_000, lossless=True)
    assert a.schedulers == {3: Scheduler("dwrr", 60), 6: Scheduler("strict")}
    assert a.watchdog == Watchdog("drop", 200_000_000)
    assert (b.roce.dscp, b.roce.nccl_tc, b.roce.gid_index, b.roce.notify) == (26, 106, 3, {3})
    assert b.roce.react is None
    assert (a.speed_bps, a.length_m) == (400_000_000_000, 3.0)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("trust: dscp", "trust: all", r"x.yaml:7: qos.0.trust: trust is dscp or pcp"),
        ("trust: dscp", "trst: dscp", r"x.yaml:7: qos.0.trst: unknown key"),
        ('ports: "*"', "port: x", r"x.yaml:6: qos.0.port: unknown key"),
        ('  - ports: "*"\n    trust', "  - trust", r"x.yaml:6: qos.0: ports is missing"),
        ("48: 6}", "x: 6}", r"x.yaml:8: qos.0.dscp.x: a number is expected as key"),
        ("48: 6}", "48: x}", r"x.yaml:8: qos.0.dscp.48: a whole number"),
        ("pfc: [3]", "pfc: 3", r"x.yaml:9: qos.0.pfc: a list is expected"),
        ("mtu: 9216", "mtu: big", r"x.yaml:10: qos.0.mtu: a whole number"),
        ("kmin: 150K", "kmin: low", r"x.yaml:14: qos.1.ecn.3.kmin: not a size"),
        ("kmin: 150K, ", "", r"x.yaml:14: qos.1.ecn.3: kmin is missing"),
        ("kmax: 1MB", "kmax: 1K", r"x.yaml:14: qos.1.ecn.3.kmax: kmax lies below kmin"),
        ("pmax: 0.2", "pmax: 20", r"x.yaml:14: qos.1.ecn.3.pmax: pmax is a share"),
        ("alpha: 0.5", "alpha: half", r"x.yaml:15: qos.1.buffer.3.alpha: could not convert"),
        ("size: 300K", "siz: 300K", r"x.yaml:15: qos.1.buffer.3.siz: unknown key"),
        ("6: strict", "6: firm", r"x.yaml:16: qos.1.scheduler.6: a whole number"),
        ("detect: 200ms", "restore: 200ms", r"x.yaml:17: qos.1.watchdog: detect is missing"),
        ("detect: 200ms", "detect: 200", r"x.yaml:17: qos.1.watchdog.detect: not a duration"),
        ("length: 7m", "length: far", r"x.yaml:18: qos.1.length: not a length"),
        ("nccl_tc: 106", "nccltc: 106", r"x.yaml:20: qos.2.roce.nccltc: unknown key"),
        ("notify: [3]", "notify: 3", r"x.yaml:20: qos.2.roce.notify: a list is expected"),
    ],
)  # fmt: skip
def test_each_error_names_its_place(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    with pytest.raises(ValueError, match=complaint):
        read(tmp_path, GOOD.replace(old, new, 1))


def test_a_port_of_which_nothing_is_known() -> None:
    qos = PortQos(Port("a", "1"))
    assert qos.chain(26) is None
    assert qos.marking(3) is None
    assert qos.dscps(3) == []
    row = next(iter(Qos({qos.port: qos}).rows()))
    assert row[:4] == ("a", "1", 0, -1)
    assert row[4:8] == ([], False, False, -1)
    assert Qos().of("a") == []


def test_when_xoff_is_sent() -> None:
    assert Buffer(limit_bytes=700, alpha=1.0, pool_bytes=10).xoff_at_bytes() == 700
    assert Buffer(alpha=1.0, pool_bytes=1000).xoff_at_bytes() == 500
    assert math.isnan(Buffer(alpha=1.0).xoff_at_bytes())
    assert math.isnan(Buffer(pool_bytes=1000).xoff_at_bytes())
