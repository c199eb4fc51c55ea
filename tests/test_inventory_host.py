"""The inside and the settings of a host: NCCL XML, mlnx_qos, dcb, copies of /sys, NCCL variables."""

from pathlib import Path

import pytest

from fabric.inventory import load
from fabric.inventory.host_text import parse_dcb, parse_mlnx_qos, parse_nccl_settings
from fabric.qos import Buffer, Scheduler
from fabric.topology import Port

XML = """\
<system version="1">
  <cpu numaid="0" arch="x86_64">
    <pci busid="0000:01:00.0" class="0x060400" link_speed="16.0 GT/s PCIe" link_width="16">
      <pci busid="0000:02:00.0" class="0x030200" link_speed="32.0 GT/s PCIe" link_width="16">
        <gpu dev="0" sm="90" rank="8"/>
      </pci>
      <pci busid="0000:03:00.0" class="0x020000" link_speed="16.0 GT/s PCIe" link_width="16">
        <nic><net name="mlx5_0" dev="0" speed="400000" port="1" guid="0x1"/></nic>
      </pci>
    </pci>
    <pci busid="0000:11:00.0" class="0x060400" link_speed="32.0 GT/s PCIe" link_width="16">
      <pci busid="0000:12:00.0"><gpu dev="1" sm="90" rank="9"/></pci>
      <pci busid="0000:13:00.0"><nic><net name="mlx5_1" dev="1" speed="400000" port="1"/>
        <net name="mlx5_7" dev="7" port="2"/>
        <net name="mlx5_1" dev="2" speed="400000" port="2"/></nic></pci>
    </pci>
  </cpu>
  <cpu numaid="1"><pci busid="0000:21:00.0"><gpu dev="2" sm="90"/></pci></cpu>
</system>
"""


def test_nccl_xml_pairs_gpus_with_the_nearest_nic(tmp_path: Path) -> None:
    path = tmp_path / "host7_nccl_topo.xml"
    path.write_text(XML)
    inventory = load([path])
    fabric = inventory.fabric
    assert fabric.role("host7") == "host"
    assert [(a.name, a.nic, a.pci) for a in fabric.accelerators] == [
        ("gpu0", "mlx5_0", "0000:02:00.0"),
        ("gpu1", "mlx5_1", "0000:12:00.0"),
        ("gpu2", "mlx5_7", "0000:21:00.0"),
    ]
    assert [(r.rank, r.device, r.port) for r in fabric.ranks] == [
        (8, "host7", "mlx5_0"), (9, "host7", "mlx5_1"),
    ]  # fmt: skip
    narrow = inventory.qos.get(Port("host7", "mlx5_0"))
    assert narrow is not None
    assert narrow.speed_bps == 400_000_000_000
    assert narrow.roce.pcie_bps == 252_064_000_000  # generation 4, 16 lanes
    wide = inventory.qos.get(Port("host7", "mlx5_1/2"))
    assert wide is not None
    assert wide.roce.pcie_bps == -1
    other = inventory.qos.get(Port("host7", "mlx5_7"))
    assert other is not None
    assert other.speed_bps == 0


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("<system ", '<!DOCTYPE x [<!ENTITY a "b">]>\n<system ', r"xml:1: a document type is not accepted"),
        ("<system ", '<!DOCTYPE x SYSTEM "file:///etc/passwd">\n<system ', r"xml:1: a document type"),
        ("</cpu>\n</system>", "</system>", r"xml:18: not XML: mismatched tag"),
        ('dev="0" sm', 'dev="zero" sm', r"xml:5: gpu.dev: a whole number is expected, not 'zero'"),
        ('rank="8"', 'rank="r"', r"xml:5: gpu.rank: a whole number is expected"),
        ('speed="400000" port="1" guid', 'speed="fast" guid', r"xml:8: net.speed: a whole number"),
        ('name="mlx5_0" ', "", r"xml:8: net: name is missing"),
        ('0x020000" link_speed="16.0 GT/s PCIe"', '0x020000" link_speed="fast"', r"xml:7: pci.link_speed: not a PCIe"),
        ("<system ", "<sistem ", r"xml:19: not XML: mismatched tag"),
    ],
)  # fmt: skip
def test_nccl_xml_errors(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    path = tmp_path / "host7.xml"
    assert old in XML
    path.write_text(XML.replace(old, new, 1))
    with pytest.raises(ValueError, match=complaint):
        load([path], kind="nccl")


def test_nccl_xml_bombs_and_depth(tmp_path: Path) -> None:
    path = tmp_path / "host7.xml"
    path.write_text("<system>" + "<pci>" * 200)
    with pytest.raises(ValueError, match=r"pci: nested too deeply"):
        load([path])
    path.write_text("<other/>")
    with pytest.raises(ValueError, match="system is expected"):
        load([path], kind="nccl")
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    path.write_text(
        f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "ha">{laughs}]><system>&l9;</system>'
    )
    with pytest.raises(ValueError, match="a document type is not accepted"):
        load([path], kind="nccl")


MLNX = """\
DCBX mode: OS controlled
Priority trust state: dscp
dscp2prio mapping:
\tprio:0 dscp:07,06,05,04,03,02,01,00,
\tprio:3 dscp:31,30,29,28,27,26,25,24,
\tprio:6 dscp:48,
default priority:
Receive buffer size (bytes): 20016,156096,0,0,0,0,0,0,
Cable len: 7
PFC configuration:
\tpriority    0   1   2   3   4   5   6   7
\tenabled     0   0   0   1   0   0   0   0
\tbuffer      0   0   0   1   0   0   0   0
tc: 0 ratelimit: unlimited, tsa: ets, bw: 40%
\t priority:  0
\t priority:  1
tc: 3 ratelimit: unlimited, tsa: ets, bw: 60%
\t priority:  3
tc: 6 ratelimit: unlimited, tsa: strict
\t priority:  6
"""


def test_mlnx_qos() -> None:
    said = parse_mlnx_qos(MLNX, "x")
    assert said["trust"] == "dscp"
    assert said["classes"][26] == 3
    assert said["classes"][48] == 6
    assert said["pfc"] == frozenset({3})
    assert said["buffers"][3] == Buffer(size_bytes=156096)
    assert said["buffers"][0] == Buffer(size_bytes=20016)
    assert said["queues"] == {0: 0, 1: 0, 3: 3, 6: 6}
    assert said["schedulers"] == {
        0: Scheduler("ets", 40), 3: Scheduler("ets", 60), 6: Scheduler("strict", -1),
    }  # fmt: skip
    assert said["length_m"] == 7.0
    assert "classes" not in parse_mlnx_qos(MLNX.replace("state: dscp", "state: pcp"), "x")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("state: dscp", "state: maybe", r"x:2: Priority trust state: 'maybe' is none of"),
        ("prio:3 dscp:31", "prio:3 dscp:a", r"x:5: dscp: a whole number is expected, not 'a'"),
        ("enabled     0", "enabled     x", r"x:12: enabled: a whole number is expected"),
        (
            "enabled     0   0",
            "enabled     0",
            r"x:12: enabled: eight priorities are expected, not 7",
        ),
        ("Cable len: 7", "Cable len: long", r"x:9: Cable len: a whole number"),
        ("tc: 0 rate", "tc: a rate", r"x:14: tc: a whole number is expected"),
        ("\tenabled     0   0   0   1   0   0   0   0\n", "", r"x: no PFC configuration"),
    ],
)
def test_mlnx_qos_errors(old: str, new: str, complaint: str) -> None:
    assert old in MLNX
    with pytest.raises(ValueError, match=complaint):
        parse_mlnx_qos(MLNX.replace(old, new, 1), "x")


DCB = """\
pfc-cap 8 macsec-bypass off delay 0
prio-pfc 0:off 1:off 2:off 3:on 4:off 5:off 6:off 7:off
willing off ets-cap 8 cbs off
tc-bw 0:40 3:60 6:0
tc-tsa 0:ets 3:ets 6:strict
prio-tc 0:0 1:0 2:0 3:3 4:0 5:0 6:6 7:0
default-prio 0
dscp-prio AF31:3 CS6:6 24:3
order dscp pcp
prio-buffer 0:0 3:1
buffer-size 0:20016b 1:156Kb
total-size 524288b
"""


def test_dcb() -> None:
    said = parse_dcb(DCB, "x")
    assert said["pfc"] == frozenset({3})
    assert said["classes"] == {26: 3, 48: 6, 24: 3}
    assert said["queues"][6] == 6
    assert said["trust"] == "dscp"
    assert said["schedulers"][3] == Scheduler("ets", 60)
    assert said["buffers"] == {0: Buffer(20016), 3: Buffer(156000)}
    assert parse_dcb(DCB.replace("order dscp pcp\n", ""), "x")["trust"] == "dscp"
    assert parse_dcb(DCB.replace("order dscp pcp", "order pcp"), "x")["trust"] == "pcp"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("3:on", "3", r"x:2: prio-pfc: number:value is expected, not '3'"),
        ("AF31:3", "AF31:x", r"x:8: dscp-prio: a whole number is expected, not 'x'"),
        ("AF31:3", "AF99:3", r"x:8: dscp-prio: not a code point: 'AF99'"),
        ("1:156Kb", "1:lots", r"x:11: buffer-size: not a size: 'lots'"),
        (DCB, "Cannot find device\n", r"x: no dcb setting is in here"),
    ],
)
def test_dcb_errors(old: str, new: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_dcb(DCB.replace(old, new, 1), "x")


def test_nccl_settings() -> None:
    text = "# job\nexport NCCL_IB_TC=106 # AF31\nNCCL_IB_GID_INDEX='3'\nNCCL_DEBUG=INFO\n"
    assert parse_nccl_settings(text, "x") == {"nccl_tc": 106, "gid_index": 3}
    assert parse_nccl_settings("A=1\0NCCL_IB_TC=0x6a\0", "x") == {"nccl_tc": 106}
    with pytest.raises(
        ValueError, match=r"x:2: NCCL_IB_TC: a whole number is expected, not 'high'"
    ):
        parse_nccl_settings("A=1\nNCCL_IB_TC=high\n", "x")


def host_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "host0"
    sys = {
        "class/net/eth0/mtu": "9000",
        "class/net/eth0/speed": "400000",
        "class/net/eth0/address": "02:00:00:00:00:07",
        "class/net/eth0/ecn/roce_np/enable/3": "1",
        "class/net/eth0/ecn/roce_np/enable/0": "0",
        "class/net/eth0/ecn/roce_np/cnp_dscp": "48",
        "class/net/eth0/ecn/roce_np/cnp_802p_prio": "6",
        "class/net/eth0/ecn/roce_rp/enable/3": "0",
        "class/net/lo/mtu": "65536",
        "class/infiniband/mlx5_0/tc/1/traffic_class": "Global tclass=106",
        "class/infiniband/mlx5_0/ports/1/gid_attrs/types/0": "IB/RoCE v1",
        "class/infiniband/mlx5_0/ports/1/gid_attrs/types/3": "RoCE v2",
        "class/infiniband/mlx5_0/ports/1/gid_attrs/ndevs/3": "eth0",
        "class/infiniband/mlx5_1/ports/1/gid_attrs/types/0": "IB/RoCE v1",
        "class/infiniband/mlx5_1/device/net/eth1/mtu": "1500",
        "class/net/eth1/mtu": "1500",
        "kernel/config/rdma_cm/mlx5_1/ports/1/default_roce_tos": "104",
    }
    for name, text in sys.items():
        path = folder / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (folder / "mlnx_qos_eth0.txt").write_text(MLNX)
    (folder / "dcb_eth1.txt").write_text(DCB)
    (folder / "nccl.conf").write_text("NCCL_IB_TC=106\nNCCL_IB_GID_INDEX=3\n")
    return folder


def test_all_sources_of_a_host_meet_at_its_port(tmp_path: Path) -> None:
    host_folder(tmp_path)
    topology = tmp_path / "pod.yaml"
    topology.write_text("fabric: 1\ndevices: {leaf0: {role: leaf}, host0: {role: host}}\n"
                        "links:\n  - host0:mlx5_0 -- leaf0:1 400G 3m\n")  # fmt: skip
    inventory = load([tmp_path])
    assert inventory.contradictions == ()
    assert inventory.fabric.peer(Port("host0", "eth0")) == Port("leaf0", "1")
    assert inventory.fabric.locate("02:00:00:00:00:07") == Port("host0", "eth0")
    qos = inventory.qos.get(Port("host0", "eth0"))
    assert qos is not None
    assert (qos.mtu_bytes, qos.speed_bps, qos.trust, qos.pfc) == (
        9000,
        400_000_000_000,
        "dscp",
        {3},
    )
    assert qos.length_m == 3.0
    assert (qos.roce.dscp, qos.roce.nccl_tc, qos.roce.gid_index) == (26, 106, 3)
    assert (qos.roce.cnp_dscp, qos.roce.cnp_priority) == (48, 6)
    assert (qos.roce.notify, qos.roce.react, qos.roce.gid_type) == ({3}, frozenset(), "RoCE v2")
    chain = qos.chain(26)
    assert chain is not None
    assert (chain.priority, chain.lossless) == (3, True)
    other = inventory.qos.get(Port("host0", "eth1"))
    assert other is not None
    assert (other.roce.dscp, other.roce.gid_type, other.mtu_bytes) == (26, "IB/RoCE v1", 1500)
    assert inventory.qos.get(Port("host0", "lo")) is None


def test_host_errors(tmp_path: Path) -> None:
    folder = host_folder(tmp_path)
    (folder / "sys/class/net/eth0/mtu").write_text("big")
    with pytest.raises(
        ValueError, match=r"class/net/eth0/mtu: a whole number is expected, not 'big'"
    ):
        load([folder])
    (tmp_path / "output.txt").write_text(MLNX)
    with pytest.raises(ValueError, match=r"output.txt: the name says no interface"):
        load([tmp_path / "output.txt"], kind="host")
