"""Reading a host's NICs: trees shaped as the drivers shape them, a real interface, a real process."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collectors.ethtool import RING, Ethtool
from collectors.ranks import ranks
from collectors.rdma import Rdma, RdmaOptions
from tests.data import tool

MLX5_HW = ("np_cnp_sent", "np_ecn_marked_roce_packets", "rp_cnp_handled", "out_of_sequence",
           "packet_seq_err", "local_ack_timeout_err", "rnr_nak_retry_err", "roce_adp_retrans")  # fmt: skip
BNXT_HW = (
    "to_retransmits",
    "seq_err_naks_rcvd",
    "oos_drop_count",
    "rx_roce_discards",
    "np_cnp_sent",
)


class Host:
    """A sysfs under construction, links as the kernel makes them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, path: str, value: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")

    def link(self, path: str, target: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        (self.root / target).mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.relpath(self.root / target, place.parent))

    def pci(self, address: str, driver: str) -> str:
        home = f"devices/pci0000:00/{address}"
        self.link(f"{home}/driver", f"bus/pci/drivers/{driver}")
        for name, value in (("current_link_speed", "16.0 GT/s PCIe"), ("current_link_width", 8)):
            self.put(f"{home}/{name}", value)
        return home

    def net(self, name: str, home: str, megabits: int, dev_port: int = 0) -> None:
        self.put(f"{home}/net/{name}/speed", megabits)
        self.put(f"{home}/net/{name}/address", "02:00:00:00:00:01")
        self.put(f"{home}/net/{name}/operstate", "up")
        self.put(f"{home}/net/{name}/dev_port", dev_port)
        self.put(f"{home}/net/{name}/statistics/rx_bytes", 5)
        self.link(f"{home}/net/{name}/device", home)
        self.link(f"class/net/{name}", f"{home}/net/{name}")

    def rdma(self, name: str, home: str, hw: Any, port: int = 1, counters: Any = ()) -> None:
        at = f"{home}/infiniband/{name}"
        for n, counter in enumerate(hw):
            self.put(f"{at}/ports/{port}/hw_counters/{counter}", 100 + n)
        for n, counter in enumerate(counters):
            self.put(f"{at}/ports/{port}/counters/{counter}", 200 + n)
        self.put(f"{at}/ports/{port}/state", "4: ACTIVE")
        self.put(f"{at}/ports/{port}/rate", "400 Gb/sec (4X NDR)")
        self.put(f"{at}/ports/{port}/link_layer", "Ethernet")
        self.link(f"{at}/device", home)
        self.link(f"class/infiniband/{name}", at)


def read(host: Host, **how: Any) -> dict[str, Any]:
    ((_, body),) = Rdma(RdmaOptions(host.root, device="node1", **how)).readings()
    return body


def test_mlx5_bnxt_rxe_and_a_plain_nic(tmp_path: Path) -> None:
    host = Host(tmp_path)
    mlx5 = host.pci("0000:17:00.0", "mlx5_core")
    host.net("eth2", mlx5, 400_000)
    host.rdma("mlx5_0", mlx5, MLX5_HW, counters=("port_rcv_data", "port_xmit_wait"))
    host.put(f"{mlx5}/infiniband/mlx5_0/ports/1/hw_counters/lifespan", 10)
    host.put(f"{mlx5}/infiniband/mlx5_0/ports/1/gid_attrs/ndevs/0", "eth2")
    for priority in range(8):
        host.put(f"{mlx5}/net/eth2/ecn/roce_np/enable/{priority}", int(priority == 3))
    bnxt = host.pci("0000:31:00.0", "bnxt_en")
    host.net("ens3", bnxt, -1)
    host.rdma("bnxt_re0", bnxt, BNXT_HW)
    host.put("devices/virtual/infiniband/rxe0/parent", "eth9")
    host.put("devices/virtual/infiniband/rxe0/ports/1/hw_counters/sent_pkts", 9)
    host.link("class/infiniband/rxe0", "devices/virtual/infiniband/rxe0")
    plain = host.pci("0000:99:00.0", "ice")
    host.net("eth5", plain, 100_000)
    host.put("class/net/lo/operstate", "unknown")

    body = read(host)
    found = {nic["nic"] or nic["netdev"]: nic for nic in body["nics"]}
    assert body["device"] == "node1"
    assert list(found) == ["bnxt_re0", "mlx5_0", "rxe0", "eth5"]
    one = found["mlx5_0"]
    assert one["driver"] == "mlx5_core"
    assert one["netdev"] == "eth2"
    assert one["speed_bps"] == 400_000_000_000
    assert one["hw_counters"] == {name: 100 + n for n, name in enumerate(MLX5_HW)}
    assert one["counters"] == {"port_rcv_data": 200, "port_xmit_wait": 201}
    assert one["lifespan_ms"] == "10"
    assert one["pcie"] == {"current_link_speed": "16.0 GT/s PCIe", "current_link_width": "8"}
    assert one["ecn"]["np"]["3"] == 1
    # the same file name, told apart by the driver; the speed of a port without one from its rate
    assert found["bnxt_re0"]["driver"] == "bnxt_en"
    assert found["bnxt_re0"]["netdev"] == "ens3"
    assert found["bnxt_re0"]["counters"] == {}
    assert found["bnxt_re0"]["speed_bps"] == 400_000_000_000
    assert (found["rxe0"]["driver"], found["rxe0"]["netdev"]) == ("rdma_rxe", "eth9")
    assert (found["eth5"]["driver"], found["eth5"]["counters"]) == ("ice", {"rx_bytes": 5})
    assert len(read(host, ethernet=False)["nics"]) == 3


def test_two_ports_on_one_device(tmp_path: Path) -> None:
    host = Host(tmp_path)
    home = host.pci("0000:17:00.0", "mlx4_core")
    for port in (1, 2):
        host.net(f"eth{port}", home, 40_000, dev_port=port - 1)
        host.rdma("mlx4_0", home, ("out_of_sequence",), port=port) if port == 1 else host.put(
            f"{home}/infiniband/mlx4_0/ports/2/hw_counters/out_of_sequence", 7
        )
    found = [(nic["port"], nic["netdev"], nic["hw_counters"]) for nic in read(host)["nics"]]
    assert found == [(1, "eth1", {"out_of_sequence": 100}), (2, "eth2", {"out_of_sequence": 7})]


def test_odd_files_and_hosts_without_nics(tmp_path: Path) -> None:
    assert read(Host(tmp_path / "none"))["nics"] == []
    host = Host(tmp_path)
    home = host.pci("0000:17:00.0", "mlx5_core")
    host.rdma("mlx5_0", home, ())
    folder = f"{home}/infiniband/mlx5_0/ports/1/hw_counters"
    host.put(f"{folder}/text", "not a number")
    host.put(f"{folder}/negative", -1)
    (tmp_path / folder / "folder").mkdir()
    (nic,) = read(host)["nics"]
    assert nic["hw_counters"] == {"negative": -1}


def test_a_nic_that_is_pulled_out_leaves_no_error(tmp_path: Path) -> None:
    host = Host(tmp_path)
    home = host.pci("0000:17:00.0", "mlx5_core")
    host.rdma("mlx5_0", home, MLX5_HW)
    rdma = Rdma(RdmaOptions(tmp_path, device="node1"))
    list(rdma.readings())
    for file in (tmp_path / home / "infiniband/mlx5_0/ports/1/hw_counters").iterdir():
        file.unlink()
    ((_, body),) = rdma.readings()
    assert body["nics"][0]["hw_counters"] == {}
    assert "ranks" not in body  # looked for once a minute


def test_rank_of_a_process_that_holds_a_device(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.put("class/infiniband_verbs/uverbs0/ibdev", "mlx5_0")
    host.put("class/infiniband_verbs/uverbs1/ibdev", "mlx5_1")
    for n in (0, 1):
        host.put(f"dev/infiniband/uverbs{n}", "")
    program = (
        "import sys, time\n"
        f"held = open({str(tmp_path / 'dev/infiniband/uverbs1')!r})\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()"
    )
    secret = {"RANK": "5", "SLURM_JOB_ID": "77", "SECRET": "x"}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, **secret}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        process.stdout.readline()
        found = ranks(tmp_path, dev=tmp_path / "dev")
        process.communicate("")
    assert found == [{"job": "77", "rank": 5, "nic": "mlx5_1", "pid": process.pid}]


def test_ethtool_of_a_real_interface() -> None:
    """A veth counts little, but tells which interface is its peer: a value we can check."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make an interface")
    ip = tool("ip")
    one, two = f"fa{os.getpid() % 10**6}", f"fb{os.getpid() % 10**6}"
    subprocess.run([ip, "link", "add", one, "type", "veth", "peer", "name", two], check=True)
    try:
        index = int(Path(f"/sys/class/net/{two}/ifindex").read_text())
        counters = Ethtool(one)
        assert counters.read()["peer_ifindex"] == index
        subprocess.run([ip, "link", "del", one], check=True)
        with pytest.raises(OSError, match="No such device"):
            counters.read()
        counters.close()
    finally:
        subprocess.run([ip, "link", "del", one], check=False, capture_output=True)


def test_counters_of_rings_are_left_out() -> None:
    kept = [
        "rx_prio3_pause",
        "tx_prio3_pause_duration",
        "rx_64_bytes_phy",
        "rx_65_to_127_bytes_phy",
        "rx_pfc_ena_frames_pri3",
        "pfc_pri3_rx_duration_us",
        "rx_bytes_pri3",
        "rx_packets_cos5",
        "rx_crc_errors_phy",
        "rx_pripause_3_1us_count",
        "frames_rx_pripause",
        "tx_queue_dropped",
        "rx_err_lane_3_phy",
        "rx_drops",
    ]
    dropped = ["rx0_packets", "tx15_bytes", "rx_queue_0_packets", "tx_queue_12_bytes", "ch3_events",
               "rx-0.packets", "rx_0_pkts", "tx_63_clean", "[0]: rx_ucast_packets",
               "rx_posted_desc[3]", "tx3_xdp_xmit"]  # fmt: skip
    assert [name for name in kept if RING.match(name)] == []
    assert [name for name in dropped if not RING.match(name)] == []
