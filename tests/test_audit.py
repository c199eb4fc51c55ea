"""A sound fabric passes; every fault put into it is found, named and given a repair, and no other."""

import json
import math
import random
from pathlib import Path

import pytest

from analyzers.audit import CABLING, CHECKS, Knobs, audit, audit_paths
from analyzers.audit.common import Remark, Site, findings
from analyzers.audit.headroom import demand_bytes
from analyzers.frames import schema
from fabric.inventory import load
from fabric.qos import Ecn
from fabric.schema import FINDINGS
from fabric.topology import Port
from tests.data import real_data

SOUND = """\
fabric: 1
devices:
  leaf[0-1]: {role: leaf}
  spine[0-1]: {role: spine}
  host0: {role: host, nics: [1 address=10.0.0.1]}
  host1: {role: host, nics: [1 address=10.0.0.2]}
  host2: {role: host, nics: [1 address=10.0.0.3]}
links:
  - host0:1 -- leaf0:1 400G 5m
  - host1:1 -- leaf1:1 400G 5m
  - host2:1 -- leaf1:4 400G 5m
  - leaf0:[2-3] -- spine[0-1]:1 400G 30m
  - leaf1:[2-3] -- spine[0-1]:2 400G 30m
qos:
  - ports: "*"
    trust: dscp
    dscp: {26: 3, 48: 6}
    pfc: [3]
    mtu: 9216
  - ports: "[ls]*"
    queue: {0: 0, 3: 3, 6: 6}
    group: {0: 0, 3: 3, 6: 0}
    ecn: {3: {kmin: 150K, kmax: 1500K, pmax: 0.05}}
    buffer: {3: {size: 300K, xon: 20K, headroom: 200K, alpha: 0.5, pool: 30M}}
    scheduler: {0: 40, 3: 60, 6: strict}
    watchdog: {action: drop, detect: 200ms, restore: 400ms, poll: 100ms}
  - ports: "host*"
    mtu: 9000
    roce: {dscp: 26, nccl_tc: 106, cnp_dscp: 48, notify: [3], react: [3], gid_type: "RoCE v2"}
"""


def found(tmp_path: Path, text: str, **knobs: int) -> list[tuple[str, str, str]]:
    """(kind, severity, device:port) of every finding but those of coverage."""
    path = tmp_path / "site.yaml"
    path.write_text(text)
    rows = audit_paths([path], Knobs(**knobs)).to_dicts()
    for row in rows:
        assert row["summary"]
        assert row["advice"]
    return [(r["kind"], r["severity"], f"{r['device']}:{r['port']}".rstrip(":")) for r in rows]


def test_a_sound_fabric_has_nothing_to_complain_about(tmp_path: Path) -> None:
    assert found(tmp_path, SOUND) == []


def rule(ports: str, text: str) -> str:
    return SOUND + f'  - ports: "{ports}"\n    {text}\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(rule("spine1:2", "pfc: []"),
                     [("pfc_one_sided", "critical", "spine1:2"), ("roce_lossy", "critical", "spine1:2")],
                     id="PFC off at one end"),
        pytest.param(rule("host1:1", "pfc: []"),
                     [("pfc_one_sided", "critical", "host1:1"), ("roce_lossy", "critical", "host1:1")],
                     id="PFC off at a host"),
        pytest.param(rule("leaf0:2", "dscp: {26: 4, 48: 6}\n    pfc: [3, 4]\n    group: {3: 3, 4: 4, 6: 0}\n"
                          "    buffer: {3: {headroom: 200K, alpha: 0.5, pool: 30M},"
                          " 4: {headroom: 200K, alpha: 0.5, pool: 30M}}"),
                     [("pfc_one_sided", "critical", "spine0:1"), ("dscp_map_differs", "warning", "leaf0:2")],
                     id="another priority where packets enter"),
        pytest.param(rule("leaf0:2", "dscp: {26: 3, 48: 6, 10: 1}"),
                     [("dscp_map_differs", "info", "leaf0:2")], id="map differs elsewhere"),
        pytest.param(rule("leaf1:1", "dscp: {48: 6}"),
                     [("roce_lossy", "critical", "leaf1:1"), ("dscp_map_differs", "warning", "leaf1:1")],
                     id="RoCE in class 0"),
        pytest.param(rule("host1:1", "trust: pcp"), [("trust_pcp", "warning", "host1:1")], id="PCP trust"),
        pytest.param(SOUND.replace("{26: 3, 48: 6}", "{26: 3, 48: 6, 0: 3}"),
                     [("best_effort_lossless", "warning", device) for device in
                      ("host0:1", "host1:1", "host2:1", "leaf0:1", "leaf1:1", "spine0:1", "spine1:1")],
                     id="best effort lossless"),
        pytest.param(rule("leaf*", "pfc: [2, 3, 4]").replace("pfc: [3]", "pfc: [2, 3, 4]")
                     .replace("{3: {size: 300K, xon", "{2: {headroom: 200K}, 4: {headroom: 200K}, 3: {size: 300K, xon"),
                     [("many_lossless", "info", device) for device in
                      ("host0:1", "host1:1", "host2:1", "leaf0:1", "leaf1:1", "spine0:1", "spine1:1")],
                     id="three lossless priorities"),
        pytest.param(rule("leaf0:1", "queue: {0: 0, 3: 3, 6: 3}"),
                     [("cnp_with_data", "warning", "leaf0:1"), ("scheduler_differs", "warning", "leaf0:1")],
                     id="CNPs with data"),
        pytest.param(rule("leaf0:1", "queue: {0: 0, 3: 3, 6: 0}"),
                     [("cnp_unprotected", "warning", "leaf0:1"), ("scheduler_differs", "warning", "leaf0:1")],
                     id="CNPs with best effort"),
        pytest.param(SOUND.replace("6: strict", "6: 20"),
                     [("cnp_not_strict", "info", d) for d in ("leaf0:1", "leaf1:1", "spine0:1", "spine1:1")],
                     id="CNPs by weight"),
        pytest.param(rule("host1:1", "roce: {dscp: 26, cnp_dscp: 46, notify: [3], react: [3]}"),
                     [("cnp_unprotected", "warning", d) for d in ("host0:1", "host1:1", "host2:1", "leaf0:1",
                      "leaf1:1", "spine0:1", "spine1:1")] + [("cnp_dscp_differs", "warning", "host1:1")],
                     id="CNPs marked differently"),
        pytest.param(rule("leaf0:1", "ecn: {}"), [("ecn_absent", "warning", "leaf0:1")], id="no ECN"),
        pytest.param(rule("leaf0:1", "ecn: {3: {kmin: 1K, kmax: 2K, enabled: false}}"),
                     [("ecn_absent", "warning", "leaf0:1")], id="ECN off"),
        pytest.param(rule("leaf0:1", "ecn: {3: {kmin: 150K, kmax: 1500K, pmax: 0}}"),
                     [("ecn_toothless", "warning", "leaf0:1"), ("ecn_differs", "warning", "leaf0:1")],
                     id="ECN marks nothing"),
        pytest.param(SOUND.replace("pool: 30M", "pool: 300K"),
                     [("ecn_after_pfc", "critical", d) for d in ("leaf0:1", "leaf1:1", "spine0:1", "spine1:1")],
                     id="ECN after PFC"),
        pytest.param(SOUND.replace("pool: 30M", "pool: 3M"),
                     [("ecn_beyond_pfc", "info", d) for d in ("leaf0:1", "leaf1:1", "spine0:1", "spine1:1")],
                     id="kmax beyond PFC"),
        pytest.param(rule("leaf0:1", "ecn: {3: {kmin: 100K, kmax: 1500K, pmax: 0.05}}"),
                     [("ecn_differs", "warning", "leaf0:1")], id="ECN differs"),
        pytest.param(rule("leaf0:2", "buffer: {3: {headroom: 60K, alpha: 0.5, pool: 30M}}"),
                     [("headroom_short", "critical", "leaf0:2")], id="headroom short"),
        pytest.param(rule("leaf0:2", "buffer: {0: {headroom: 60K}}"),
                     [("headroom_absent", "critical", "leaf0:2")], id="headroom absent"),
        pytest.param(rule("leaf0:2", "buffer: {3: {headroom: 200K, lossless: false}}"),
                     [("headroom_absent", "critical", "leaf0:2")], id="lossy buffer"),
        pytest.param(rule("leaf0:*", "headroom_pool: 60K"),
                     [("headroom_pool_short", "critical", "leaf0")], id="pool short"),
        pytest.param(SOUND.replace("host1:1 -- leaf1:1 400G 5m", "host1:1 -- leaf1:1 400G 2km"),
                     [("headroom_short", "critical", "leaf1:1")], id="long cable"),
        pytest.param(rule("leaf0:3", "mtu: 1500"),
                     [("mtu_mismatch", "warning", "spine1:1"), ("mtu_small", "info", "leaf0:3")],
                     id="MTU of a switch port"),
        pytest.param(rule("host0:1", "mtu: 9500"), [("mtu_mismatch", "critical", "host0:1")], id="MTU of a host"),
        pytest.param(rule("leaf0:3", "watchdog: false"), [("watchdog_absent", "warning", "leaf0:3")],
                     id="no watchdog"),
        pytest.param(rule("leaf0:3", "watchdog: {detect: 50ms, restore: 60ms, poll: 10ms}"),
                     [("watchdog_short", "warning", "leaf0:3")], id="watchdog short"),
        pytest.param(rule("leaf0:3", "watchdog: {detect: 200ms, restore: 400ms, poll: 400ms}"),
                     [("watchdog_short", "warning", "leaf0:3")], id="watchdog below poll"),
        pytest.param(rule("leaf0:3", "watchdog: {detect: 200ms, restore: 100ms}"),
                     [("watchdog_restores_early", "warning", "leaf0:3")], id="watchdog restores early"),
        pytest.param(rule("leaf0:3", "watchdog: {detect: 200ms, restore: 400ms, action: alert}"),
                     [("watchdog_only_alerts", "info", "leaf0:3")], id="watchdog alerts"),
        pytest.param(rule("leaf0:3", "scheduler: {0: 90, 3: 10, 6: strict}"),
                     [("scheduler_differs", "warning", "leaf0:3")], id="weights differ"),
        pytest.param(SOUND.replace("{0: 40, 3: 60, 6: strict}", "{0: 40, 3: strict, 6: strict}"),
                     [("roce_strict", "info", d) for d in ("leaf0:1", "leaf1:1", "spine0:1", "spine1:1")],
                     id="RoCE strict"),
        pytest.param(rule("host0:1", "roce: {dscp: 26, cnp_dscp: 48, notify: [0], react: [3]}"),
                     [("dcqcn_off", "warning", "host0:1")], id="NP off"),
        pytest.param(rule("host0:1", "roce: {dscp: 26, cnp_dscp: 48, notify: [3], react: []}"),
                     [("dcqcn_off", "warning", "host0:1")], id="RP off"),
        pytest.param(rule("host0:1", 'roce: {dscp: 26, cnp_dscp: 48, gid_type: "IB/RoCE v1"}'),
                     [("gid_not_v2", "critical", "host0:1")], id="RoCE v1"),
        pytest.param(rule("host0:1", "roce: {dscp: 0, nccl_tc: 106, cnp_dscp: 48}"),
                     [("nccl_tc_differs", "info", "host0:1")], id="NCCL class differs"),
        pytest.param(rule("host0:1", "roce: {dscp: 26, nccl_tc: 107, cnp_dscp: 48}"),
                     [("sent_as_marked", "warning", "host0:1")], id="sent as CE"),
        pytest.param(rule("host0:1", "global_pause: true"), [("global_pause", "warning", "host0:1")],
                     id="802.3x"),
        pytest.param(rule("leaf1:2", "buffer: {3: {size: 300K, xon: 20K, headroom: 200K, alpha: 0.0625, pool: 30M}}"),
                     [("buffer_differs", "warning", "leaf1:2")], id="another threshold"),
    ],
)  # fmt: skip
def test_every_fault_is_found_and_no_other(
    tmp_path: Path, text: str, expected: list[tuple[str, str, str]]
) -> None:
    rank = {"critical": 0, "warning": 1, "info": 2}
    got = found(tmp_path, text)
    assert sorted(got) == sorted(expected)
    assert [rank[severity] for _, severity, _ in got] == sorted(rank[s] for _, s, _ in got)


def test_pauses_that_would_stop_the_wrong_queue(tmp_path: Path) -> None:
    """Both priorities are lossless everywhere, but one leaf files RoCE under the other one."""
    text = SOUND.replace("pfc: [3]", "pfc: [3, 4]").replace("3: 3, 6:", "3: 3, 4: 4, 6:")
    text = text.replace("3: 60,", "3: 60, 4: 60,")
    for part in ("{kmin: 150K, kmax: 1500K, pmax: 0.05}",
                 "{size: 300K, xon: 20K, headroom: 200K, alpha: 0.5, pool: 30M}"):  # fmt: skip
        text = text.replace(f"3: {part}", f"3: {part}, 4: {part}")
    assert found(tmp_path, text) == []
    (tmp_path / "site.yaml").write_text(text + '  - {ports: "leaf0:*", dscp: {26: 4, 48: 6}}\n')
    got = audit_paths([tmp_path / "site.yaml"]).to_dicts()
    wrong = [row["subject"] for row in got if row["kind"] == "priority_differs"]
    assert {port for subject in wrong for port in subject.split(", ")} == {
        "host0:1", "leaf0:1", "leaf0:2", "leaf0:3", "spine0:1", "spine1:1",
    }  # fmt: skip
    assert {row["kind"] for row in got} == {
        "priority_differs",
        "dscp_map_differs",
        "scheduler_differs",
    }


def test_a_host_with_another_class_than_the_fabric(tmp_path: Path) -> None:
    text = rule("host0:1", "roce: {dscp: 10, cnp_dscp: 48}")
    kinds = {kind for kind, _, _ in found(tmp_path, text)}
    assert kinds == {"roce_dscp_differs", "lossy_by_design"}


def test_nothing_says_what_roce_is(tmp_path: Path) -> None:
    text = SOUND[: SOUND.index('  - ports: "host*"')]
    assert found(tmp_path, text) == []  # learnt from what is lossless
    kinds = [kind for kind, _, _ in found(tmp_path, text, roce_dscp=0)]
    assert kinds[0] == "lossy_by_design"


def test_a_fabric_that_is_lossy_everywhere(tmp_path: Path) -> None:
    text = SOUND.replace("pfc: [3]", "pfc: []")
    assert [row[:2] for row in found(tmp_path, text)] == [("lossy_by_design", "warning")]


def test_a_nic_in_a_narrow_slot(tmp_path: Path) -> None:
    (tmp_path / "host0.xml").write_text(
        '<system version="1"><pci busid="1" link_speed="16.0 GT/s PCIe" link_width="16">'
        '<nic><net name="1" dev="0" speed="400000" port="1"/></nic></pci></system>'
    )
    (tmp_path / "site.yaml").write_text(SOUND)
    (row,) = audit_paths([tmp_path]).to_dicts()
    assert (row["kind"], row["device"], row["value"], row["limit"]) == (
        "pcie_narrow", "host0", 252.064e9, 400e9,
    )  # fmt: skip
    assert row["confidence"] < 1


def test_silence_is_told(tmp_path: Path) -> None:
    text = SOUND.replace('"host*"', '"host[01]:*"').replace('- ports: "*"', '- ports: "[!h]*:*"')
    text += "  - ports: host[01]:1\n    dscp: {26: 3, 48: 6}\n    pfc: [3]\n    mtu: 9000\n"
    assert found(tmp_path, text) == [("not_audited", "info", "host2")]
    assert [r[0] for r in found(tmp_path, SOUND[: SOUND.index("qos:")])] == ["no_settings"]


def test_cabling_alone(tmp_path: Path) -> None:
    text = SOUND.replace(
        "  - leaf1:[2-3] -- spine[0-1]:2 400G 30m\n", "  - leaf1:2 -- spine0:2 400G 30m\n"
    )
    text = text.replace("  leaf[0-1]:", "  host9: {role: host}\n  leaf[0-1]:")
    path = tmp_path / "x.yaml"
    path.write_text(text)
    rows = audit(load([path]), checks=CABLING).to_dicts()
    assert [(r["kind"], r["device"]) for r in rows] == [
        ("uneven_uplinks", "leaf1"), ("host_without_cable", "host9"),
    ]  # fmt: skip
    path.write_text(SOUND.replace("  - leaf1:[2-3] -- spine[0-1]:2 400G 30m\n", ""))
    kinds = [r["kind"] for r in audit(load([path]), checks=CABLING).to_dicts()]
    assert kinds == ["island"]


def test_contradictions_are_findings_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(SOUND.replace("qos:", "  - leaf0:1 -- spine1:9\nqos:"))
    row = next(r for r in audit_paths([path]).to_dicts() if r["kind"] == "two_cables")
    assert (row["device"], row["port"], row["severity"]) == ("leaf0", "1", "warning")
    assert f"{path}:9" in row["summary"]


# -- cyclic buffer dependency ---------------------------------------------------------------------


def test_the_deadlock_topology_is_warned_of_before_it_locks() -> None:
    label = json.loads(real_data("groundtruth", "cbd_deadlock-s1", "label.json").read_text())
    rows = audit_paths([real_data("groundtruth", "cbd_deadlock-s1", "topology.json")]).to_dicts()
    cycles = [set(r["subject"].split(" > ")) for r in rows if r["kind"] == "buffer_cycle"]
    assert set(label["deadlock_cycle_ports"][0]) in cycles
    assert all(
        r["evidence"] == "inferred" and r["missing"] for r in rows if r["kind"] == "buffer_cycle"
    )


@pytest.mark.parametrize("run", ["healthy_ring-s1", "healthy_ring_64h-s1", "hawkeye_lordma-s1"])
def test_sound_topologies_have_no_cycle(run: str) -> None:
    rows = audit_paths([real_data("groundtruth", run)]).to_dicts()
    assert [r["kind"] for r in rows] == ["no_settings"]


def test_a_cycle_only_counts_where_roce_is_lossless(tmp_path: Path) -> None:
    text = "fabric: 1\ndevices:\n" + "".join(
        f"  s{i}: {{role: switch}}\n  h{i}: {{role: host, nics: [1 address=10.0.0.{i}]}}\n"
        for i in range(4)
    )
    text += "links:\n" + "".join(f"  - s{i}:1 -- s{(i + 1) % 4}:2 100G 3m\n  - h{i}:1 -- s{i}:3 100G 3m\n"
                                 for i in range(4))  # fmt: skip
    text += 'qos:\n  - {ports: "s*", dscp: {26: 3}, pfc: [3]}\n'
    kinds = [k for k, _, _ in found(tmp_path, text, roce_dscp=26)]
    assert kinds.count("buffer_cycle") == 2
    lossy = text + "  - {ports: 's1:*', pfc: []}\n"
    assert "buffer_cycle" not in [k for k, _, _ in found(tmp_path, lossy, roce_dscp=26)]


def test_collected_tables_make_it_certain(tmp_path: Path) -> None:
    lines = ["fabric: 1", "devices:"]
    lines += [
        f"  s{i}: {{role: switch}}\n  h{i}: {{role: host, nics: [1 address=10.0.0.{i}]}}"
        for i in range(3)
    ]
    lines += ["links:"]
    lines += [
        f"  - s{i}:E1 -- s{(i + 1) % 3}:E2 100G\n  - h{i}:1 -- s{i}:E3 100G" for i in range(3)
    ]
    (tmp_path / "pod.yaml").write_text("\n".join(lines))
    assert "buffer_cycle" not in [r["kind"] for r in audit_paths([tmp_path]).to_dicts()]
    for i in range(3):
        around = {
            f"ROUTE_TABLE:10.0.0.{j}": {"ifname": "E1", "nexthop": ""} for j in range(3) if j != i
        }
        (tmp_path / f"s{i}.appl_db.json").write_text(json.dumps(around))
    (row,) = [r for r in audit_paths([tmp_path]).to_dicts() if r["kind"] == "buffer_cycle"]
    assert (row["severity"], row["evidence"], row["confidence"]) == ("critical", "observed", 1.0)
    assert row["subject"] == "s0:E1 > s1:E1 > s2:E1"


# -- arithmetic and shape -------------------------------------------------------------------------


def test_the_demand_is_the_formula_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(SOUND)
    site = Site(load([path]))
    qos = site.inventory.qos.get(Port("leaf0", "2"))
    assert qos is not None
    cable = 2 * 30 * 400e9 / 1.98e8 / 8
    response = 905 * 64
    xoff = math.ceil((4200 + 9216 + cable + response) / 1024) * 1024
    assert demand_bytes(site, qos) == xoff


def test_marking_curve() -> None:
    curve = Ecn(100, 300, 0.2)
    assert [curve.share(q) for q in (50, 100, 200, 299, 300, 900)] == pytest.approx(
        [0, 0, 0.1, 0.199, 1, 1]
    )
    assert Ecn(100, 300, 0.2, enabled=False).share(900) == 0


def test_alike_remarks_of_a_device_are_one_finding() -> None:
    ports = [Port("a", str(n)) for n in range(6)]
    remarks = [Remark("k", "info", port, "does", "Stop it.") for port in ports]
    remarks.append(Remark("k", "info", Port("b", "1"), "does", "Stop it."))
    random.Random(1).shuffle(remarks)
    rows = findings("x", remarks).to_dicts()
    assert [row["summary"] for row in rows] == ["a:0, a:1, a:2, a:3 and 2 more does", "b:1 does"]
    assert [row["id"] for row in rows] == ["audit.x:0", "audit.x:1"]


def test_one_mistake_all_over_the_fabric_is_one_finding(tmp_path: Path) -> None:
    text = """\
fabric: 1
devices: {"leaf[0-31]": {role: leaf}, "host[0-511]": {role: host}}
links:
""" + "".join(
        f"  - host{16 * i + j}:1 -- leaf{i}:{j + 1} 400G 3m\n" for i in range(32) for j in range(16)
    )
    text += """\
qos:
  - {ports: "*", trust: dscp, dscp: {26: 3}, pfc: []}
  - {ports: "leaf*", pfc: [3]}
"""
    (tmp_path / "big.yaml").write_text(text)
    rows = [
        row for row in audit_paths([tmp_path / "big.yaml"]).to_dicts()
        if row["kind"] == "pfc_one_sided"
    ]  # fmt: skip
    assert len(rows) == 1
    assert len(rows[0]["subject"].split(", ")) == 512
    assert rows[0]["summary"] == (
        "host0:1, host1:1, host10:1, host100:1 and 508 more on 512 devices has no PFC on priority 3, "
        "its peer (one each) has"
    )
    assert rows[0]["advice"] == (
        "Enable PFC on priority 3 here, or disable it at the peer (one each)."
    )


def test_access_control_between_gpu_and_nic(tmp_path: Path) -> None:
    host = tmp_path / "host0"
    host.mkdir()
    text = """\
3a:00.0 PCI bridge: Broadcom PEX890xx
\tCapabilities: [100 v1] Access Control Services
\t\tACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+
\t\tACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir+
3b:00.0 PCI bridge: Broadcom PEX890xx
\t\tACSCtl:\tSrcValid- TransBlk- ReqRedir- CmpltRedir-
"""
    (tmp_path / "site.yaml").write_text(SOUND)
    (host / "lspci.txt").write_text(text)
    rows = audit_paths([tmp_path]).to_dicts()
    assert [(row["kind"], row["device"], row["value"]) for row in rows] == [
        ("acs_on", "host0", 1.0)
    ]
    (host / "lspci.txt").write_text(
        text.replace("ReqRedir+ CmpltRedir+\n3b", "ReqRedir- CmpltRedir-\n3b")
    )
    assert audit_paths([tmp_path]).is_empty()
    (host / "lspci.txt").write_text("3a:00.0 PCI bridge\n\tCapabilities: <access denied>\n")
    with pytest.raises(ValueError, match=r"lspci.txt: capabilities are hidden"):
        audit_paths([tmp_path])


def test_every_check_says_what_it_is_and_keeps_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("fabric: 1\n")
    empty = load([path])
    for check in CHECKS:
        assert check.__doc__
        assert "\n\n" in check.__doc__
        name = check.__name__.rpartition(".")[2]
        frame = findings(name, check.check(Site(empty)))
        assert frame.schema == schema(FINDINGS)
        assert frame.height == (1 if name == "coverage" else 0)
    for knob in Knobs.__dataclass_fields__.values():
        assert knob.metadata["reason"]
