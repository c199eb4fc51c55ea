"""Settings written as our YAML and read again are the same, whatever source they came from."""

import math
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fabric.builders import clos2
from fabric.inventory import load
from fabric.inventory.write import yaml_text
from fabric.qos import Buffer, Ecn, PortQos, Roce, Scheduler, Watchdog
from fabric.topology import Port
from tests.test_audit import SOUND
from tests.test_inventory_qos import GOOD
from tests.test_inventory_sonic import config, written

HOST = {
    "mlnx_qos_eth0.txt": """\
Priority trust state: dscp
dscp2prio mapping:
\tprio:0 dscp:07,06,05,04,03,02,01,00,
\tprio:3 dscp:31,30,29,28,27,26,25,24,
Cable len: 7
PFC configuration:
\tpriority    0   1   2   3   4   5   6   7
\tenabled     0   0   0   1   0   0   0   0
tc: 0 ratelimit: unlimited, tsa: vendor
\t priority:  1
tc: 1 ratelimit: unlimited, tsa: ets, bw: 60%
\t priority:  3
""",
    "nccl.conf": "NCCL_IB_TC=106\nNCCL_IB_GID_INDEX=3\n",
    "lspci.txt": "3a:00.0 PCI bridge\n\t\tACSCtl:\tSrcValid+ ReqRedir+ CmpltRedir+\n",
}


def plain(qos: PortQos) -> object:
    """All but where it was read; NaN equal to itself."""
    fields = {name: getattr(qos, name) for name in PortQos.__slots__ if name != "source"}
    fields["buffers"] = qos.buffers and {
        g: tuple(-7.0 if isinstance(v, float) and math.isnan(v) else v for v in b)
        for g, b in qos.buffers.items()
    }
    fields["length_m"] = -1.0 if math.isnan(qos.length_m) else qos.length_m
    return fields


def again(tmp_path: Path, *sources: Path) -> None:
    first = load(sources)
    path = tmp_path / "again.yaml"
    path.write_text(yaml_text(first.fabric, first.qos))
    second = load([path])
    assert {q.port: plain(q) for q in second.qos} == {q.port: plain(q) for q in first.qos}
    assert len(first.qos) > 0
    path.write_text(yaml_text(second.fabric, second.qos))
    assert yaml_text(load([path]).fabric, load([path]).qos) == path.read_text()


def test_what_sonic_said(tmp_path: Path) -> None:
    folder = tmp_path / "configs"
    folder.mkdir()
    again(tmp_path, written(folder, config(), config("spine0", "leaf0")))


def test_what_hosts_said(tmp_path: Path) -> None:
    host = tmp_path / "host-leaf0"
    host.mkdir()
    for name, text in HOST.items():
        (host / name).write_text(text)
    folder = tmp_path / "configs"
    folder.mkdir()
    again(tmp_path, host, written(folder, config()))


def test_what_our_own_rules_said(tmp_path: Path) -> None:
    for i, text in enumerate((GOOD, SOUND)):
        path = tmp_path / f"{i}.yaml"
        path.write_text(text)
        again(tmp_path, path)


def test_ports_that_agree_share_a_rule() -> None:
    fabric = clos2(2, 2, 8)
    qos = [PortQos(port, pfc=frozenset({3})) for d in fabric.devices for port in fabric.ports(d)]
    assert yaml_text(fabric, qos).count("- ports:") == 2 + 2 + 16
    other = [replace(qos[0], pfc=frozenset()), *qos[1:]]
    assert yaml_text(fabric, other).count("pfc: []") == 1


numbers = st.integers(0, 7)
counts = st.integers(-1, 1 << 40)
maps = st.none() | st.dictionaries(numbers, numbers, max_size=4)
shares = st.floats(0, 1) | st.just(math.nan)
flags = st.none() | st.frozensets(numbers)
curves = st.tuples(counts, counts, st.floats(0, 1), st.booleans()).map(
    lambda c: Ecn(min(c[0], c[1]), max(c[0], c[1]), c[2], c[3])
)
roces = st.builds(
    Roce, dscp=st.integers(-1, 63), cnp_dscp=st.integers(-1, 63), cnp_priority=st.integers(-1, 7),
    notify=flags, react=flags, gid_index=st.integers(-1, 9), nccl_tc=st.integers(-1, 255),
    gid_type=st.sampled_from(["", "RoCE v2", 'a "b" \\\\ c']), pcie_bps=counts,
    acs_bridges=st.integers(-1, 9),
)  # fmt: skip
settings_of = st.builds(
    PortQos, port=st.just(Port("leaf0", "1")), role=st.just("leaf"),
    trust=st.sampled_from(["", "dscp", "pcp"]),
    classes=st.none() | st.dictionaries(st.integers(0, 63), numbers, max_size=5), queues=maps,
    groups=maps, pfc=flags, pfc_queues=maps, pfc_groups=maps, global_pause=st.booleans(),
    ecn=st.none() | st.dictionaries(numbers, curves, max_size=3),
    buffers=st.none()
    | st.dictionaries(
        numbers,
        st.builds(Buffer, counts, counts, counts, shares, counts, st.sampled_from(["", "p-1"]),
                  counts, st.booleans()),
        max_size=2,
    ),
    schedulers=st.none()
    | st.dictionaries(
        numbers, st.builds(Scheduler, st.sampled_from(["strict", "dwrr", "ets"]), st.integers(-1, 99)),
        max_size=3,
    ),
    watchdog=st.builds(Watchdog, st.sampled_from(["drop", "alert"]), st.integers(0, 1 << 40), counts, counts),
    watchdog_known=st.just(True), headroom_pool_bytes=counts, mtu_bytes=counts,
    speed_bps=st.just(400_000_000_000), length_m=st.just(3.0),
    lag=st.sampled_from(["", "PortChannel7"]), asic=st.sampled_from(["", "asic1"]), roce=roces,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(settings_of)
def test_whatever_a_port_is_set_to(qos: PortQos) -> None:
    import tempfile

    fabric = clos2(1, 1, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.yaml"
        path.write_text(yaml_text(fabric, [qos]))
        found = load([path]).qos.get(qos.port)
    assert found is not None
    assert plain(found) == plain(qos)
