"""Our YAML: what it says, that writing and reading agree, and one broken twin for each error."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric import builders
from fabric.cables import Accelerator, Circuit, Device, Link, Nic, Port, Rank
from fabric.inventory import load
from fabric.inventory.document import json_line, length_m, moment_ns, size_bytes, span_ns, speed_bps
from fabric.inventory.write import speed_text, yaml_text
from fabric.topology import Fabric

GOOD = """\
fabric: 1
name: pod-a
defaults: {speed: 400G, length: 30m}
devices:
  leaf[0-1]: {role: leaf, pod: a}
  spine0: {role: spine}
  ocs0: {role: ocs}
  host0:
    role: host
    nics:
      - 1 name=mlx5_0 address=10.0.0.1,fe80::1 mac=02:00:00:00:00:01
    accelerators:
      - gpu0 nic=1 pci=0000:0f:00.0
links:
  - host0:1 -- leaf0:1 3m rail=0
  - leaf[0-1]:9 -- spine0:[1-2] 800G plane=1
  - leaf0:7 -- ocs0:1 from=2026-01-01 to=2026-02-01T12:00:00+01:00
circuits:
  - ocs0:1 -- 2 to=1000
ranks:
  - {job: train, rank: 3, device: host0, port: 1, qpn: 17, from: 5, to: 9}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pod.yaml"
    path.write_text(text)
    return path


def test_what_the_file_says(tmp_path: Path) -> None:
    inventory = load([written(tmp_path, GOOD)])
    fabric = inventory.fabric
    assert inventory.contradictions == ()
    assert fabric.name == "pod-a"
    assert fabric.devices["leaf1"] == Device("leaf1", "leaf", "a")
    host = fabric.link(Port("host0", "1"), at=0)
    assert host == Link(Port("host0", "1"), Port("leaf0", "1"), 400_000_000_000, 3.0, rail=0)
    up = fabric.link(Port("spine0", "2"), at=0)
    assert up is not None
    assert (up.a, up.speed_bps, up.length_m, up.plane) == (
        Port("leaf1", "9"),
        800_000_000_000,
        30.0,
        1,
    )
    assert fabric.nics == (
        Nic(Port("host0", "1"), "mlx5_0", ("10.0.0.1", "fe80::1"), "02:00:00:00:00:01"),
    )
    assert fabric.accelerators == (Accelerator("host0", "gpu0", "1", "0000:0f:00.0"),)
    assert fabric.ranks == (Rank("train", 3, "host0", "1", 17, 5, 9),)
    assert fabric.circuits == (Circuit("ocs0", "1", "2", 0, 1000),)
    times = [link.valid_from for link in fabric.links if link.b.device == "ocs0"]
    assert times == [1_767_225_600_000_000_000]


@pytest.mark.parametrize(
    "fabric",
    [
        builders.clos2(2, 2, 2, parallel=2),
        builders.clos3(2, 2, 2, 2, 1),
        builders.rail_optimised(4, 2, 2, hosts_per_leaf=2),
        builders.dual_plane(2, 2, 1),
        builders.dragonfly(3, 2, 1),
    ],
    ids=lambda fabric: fabric.name,
)
def test_reading_gives_back_what_was_written(tmp_path: Path, fabric: Fabric) -> None:
    again = load([written(tmp_path, yaml_text(fabric))]).fabric
    assert same(again, fabric)


def same(one: Fabric, two: Fabric) -> bool:
    def plain(fabric: Fabric) -> object:
        links = [
            link._replace(length_m=0) if math.isnan(link.length_m) else link
            for link in fabric.links
        ]
        return (fabric.name, dict(fabric.devices), links, fabric.circuits, set(fabric.nics),
                fabric.accelerators, fabric.ranks)  # fmt: skip

    return plain(one) == plain(two)


names = st.text("abxyz019-_./: #'\"é", min_size=1, max_size=8).filter(
    lambda s: s.strip() == s and " " not in s
)


@settings(max_examples=60, deadline=None)
@given(
    device=names.filter(lambda s: ":" not in s and "." not in s and s != "r"),
    port=names,
    speed=st.sampled_from([0, 25_000_000_000, 400_000_000_000, 1]),
    length=st.sampled_from([math.nan, 0.0, 0.5, 3.0, 2000.0]),
    rail=st.integers(-1, 9),
    span=st.sampled_from([(0, 2**63 - 1), (5, 77)]),
)
def test_any_name_survives_writing(
    tmp_path_factory: pytest.TempPathFactory,
    device: str, port: str, speed: int, length: float, rail: int, span: tuple[int, int],
) -> None:  # fmt: skip
    link = Link(Port(device, port), Port("r", "1"), speed, length, rail, -1, *span)
    fabric = Fabric([Device(device, "leaf"), Device("r", "spine")], [link], name=device)
    path = tmp_path_factory.mktemp("any") / "x.yaml"
    path.write_text(yaml_text(fabric))
    assert same(load([path], kind="native").fabric, fabric)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("fabric: 1", "fabric: 2", r"pod.yaml:1: fabric: this reads format 1"),
        ("name: pod-a", "nam: pod-a", r"pod.yaml:2: nam: unknown key; known are fabric, name"),
        ("speed: 400G,", "speed: fast,", r"pod.yaml:3: defaults.speed: not a speed: 'fast'"),
        ("role: spine", "role: tor", r"pod.yaml:6: devices.spine0.role: unknown role 'tor'"),
        ("spine0: {", "leaf1: {", r"pod.yaml:6: devices.leaf1: leaf1 is described twice"),
        ("    role: host", "    rle: host", r"pod.yaml:9: devices.host0.rle: unknown key"),
        (
            "name=mlx5_0",
            "nam=mlx5_0",
            r"pod.yaml:11: devices.host0.nics.0: unknown word 'nam=mlx5_0'",
        ),
        ("- 1 name", "- name", r"pod.yaml:11: devices.host0.nics.0: the name is missing"),
        ("leaf0:1 3m", "leaf0 3m", r"pod.yaml:15: links.0: not device:port: 'leaf0'"),
        ("host0:1 -- ", "host0:1 - ", r"pod.yaml:15: links.0: write: device:port -- device:port"),
        ("3m rail=0", "3m rail=x", r"pod.yaml:15: links.0: invalid literal"),
        ("3m rail=0", "3m ral=0", r"pod.yaml:15: links.0: unknown word 'ral=0'"),
        (
            "spine0:[1-2]",
            "spine0:[1-3]",
            r"pod.yaml:16: links.1: the ranges differ in size: 2 and 3",
        ),
        ("spine0:[1-2]", "spine0:[2-1]", r"pod.yaml:16: links.1: not a range"),
        ("from=2026-01-01 ", "from=soon ", r"pod.yaml:17: links.2: not a time: 'soon'"),
        ("- ocs0:1 -- 2", "- ocs0 -- 2", r"pod.yaml:19: circuits.0: not device:port"),
        ("to=1000", "rail=1", r"pod.yaml:19: circuits.0: a circuit has no rail"),
        ("rank: 3, ", "", r"pod.yaml:21: ranks.0: rank is missing"),
        ("rank: 3", "rank: x", r"pod.yaml:21: ranks.0.rank: a whole number is expected"),
        ("circuits:", "links:", r"pod.yaml:18: not YAML: the key links stands twice"),
        ("devices:", "devices: [", r"pod.yaml:\d+: not YAML"),
        ("links:\n", "links: 7\nother:\n", r"unknown key"),
    ],
)
def test_each_error_names_its_place(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    with pytest.raises(ValueError, match=complaint):
        load([written(tmp_path, GOOD.replace(old, new, 1))])


def test_a_list_where_a_mapping_belongs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pod.yaml:1: links: a list is expected, not 7"):
        load([written(tmp_path, "links: 7\nfabric: 1\n")])


def test_a_bomb_of_merges_is_refused(tmp_path: Path) -> None:
    lines = ["fabric: 1", "a0: &a0 {" + ", ".join(f"k{i}: 1" for i in range(20)) + "}"]
    lines += [f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 20)}]" for n in range(1, 8)]
    with pytest.raises(ValueError, match="too many merged keys"):
        load([written(tmp_path, "\n".join(lines))], kind="native")


def test_an_honest_merge_may_override(tmp_path: Path) -> None:
    text = ("fabric: 1\ndevices:\n  a: &a {role: leaf, pod: x}\n  b: &b {<<: *a, pod: y}\n"
            "  c: {<<: *b}\n")  # fmt: skip
    fabric = load([written(tmp_path, text)]).fabric
    assert fabric.devices["c"] == Device("c", "leaf", "y")


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_bytes(b"fabric: 1\nname: \xff\n")
    with pytest.raises(ValueError, match="not UTF-8 text at byte 16"):
        load([path])


def test_contradictions_between_two_files(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("fabric: 1\ndevices: {a: {role: leaf}, b: {role: spine}}\n"
                   "links:\n  - a:1 -- b:1 400G 3m\n  - a:2 -- b:2\n")  # fmt: skip
    two.write_text("fabric: 1\ndevices: {a: {role: spine}, b: {}, c: {}}\n"
                   "links:\n  - a:1 -- b:1 100G 5m\n  - a:2 -- c:1\n  - c:5 -- c:5\n")  # fmt: skip
    inventory = load([one, two])
    told = {row.kind: row for row in inventory.contradictions}
    assert set(told) == {
        "roles_differ",
        "two_cables",
        "self_cable",
        "speeds_differ",
        "lengths_differ",
    }
    assert told["speeds_differ"].where == (f"{one}:4: links.0", f"{two}:4: links.0")
    assert told["two_cables"].text.startswith("a:2 is claimed by cables to b:2 and c:1")
    (link,) = inventory.fabric.links
    assert (link.speed_bps, link.length_m) == (100_000_000_000, 5.0)


def test_a_cable_pulled_and_laid_again_is_two_links(tmp_path: Path) -> None:
    text = ("fabric: 1\ndevices: {a: {role: leaf}, b: {role: spine}}\n"
            "links:\n  - a:1 -- b:1 to=10\n  - b:1 -- a:1 from=20\n")  # fmt: skip
    inventory = load([written(tmp_path, text)])
    assert inventory.contradictions == ()
    assert [inventory.fabric.peer(Port("a", "1"), at) for at in (0, 15, 20)] == [
        Port("b", "1"), None, Port("b", "1"),
    ]  # fmt: skip


def test_circuits_that_meet_and_unknown_switches(tmp_path: Path) -> None:
    text = ("fabric: 1\ndevices: {o: {role: ocs}}\n"
            "circuits:\n  - o:1 -- 2\n  - o:2 -- 3\n  - p:1 -- 2\n")  # fmt: skip
    inventory = load([written(tmp_path, text)])
    assert [row.kind for row in inventory.contradictions] == ["circuit", "circuit"]
    assert len(inventory.fabric.circuits) == 1


def test_roles_nobody_said_come_from_names_then_from_tiers(tmp_path: Path) -> None:
    text = ("fabric: 1\ndevices: {server1: {}, server2: {}, x1: {}, x2: {}, y: {}, Spine-7: {}}\n"
            "links:\n  - server1:1 -- x1:1\n  - server2:1 -- x2:1\n  - x1:2 -- y:1\n  - x2:2 -- y:2\n")  # fmt: skip
    fabric = load([written(tmp_path, text)]).fabric
    assert [fabric.role(n) for n in ("server1", "x1", "y", "Spine-7")] == [
        "host",
        "leaf",
        "spine",
        "spine",
    ]
    ring = text + "  - x1:3 -- x2:3\n"
    fabric = load([written(tmp_path, ring)]).fabric
    assert [fabric.role(n) for n in ("server1", "x1", "y")] == ["host", "switch", "switch"]


def test_nothing_here_and_unknown_kinds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match="nothing here describes a fabric"):
        load([tmp_path])
    with pytest.raises(ValueError, match=r"notes.txt: not recognised; known are fabric YAML"):
        load([tmp_path / "notes.txt"])
    with pytest.raises(ValueError, match="no importer is named 'visio'; known are native"):
        load([tmp_path], kind="visio")
    with pytest.raises(FileNotFoundError):
        load([tmp_path / "absent.yaml"])
    written(tmp_path, GOOD)
    assert load([tmp_path]).ignored == (str(tmp_path / "notes.txt"),)


def test_readers_of_values() -> None:
    assert [speed_bps(t) for t in ("400G", "100Gbps", "25000M", "10 Gb/s", "5")] == [
        400 * 10**9, 100 * 10**9, 25 * 10**9, 10**10, 5,
    ]  # fmt: skip
    assert [length_m(t) for t in ("3m", "2km", "50cm", "7")] == [3.0, 2000.0, 0.5, 7.0]
    assert [size_bytes(t) for t in ("150K", "150KB", "150KiB", "1.5M", "9")] == [
        150_000, 150_000, 153_600, 1_500_000, 9,
    ]  # fmt: skip
    assert [span_ns(t) for t in ("200ms", "5 us", "1.5s")] == [200_000_000, 5_000, 1_500_000_000]
    assert moment_ns("1970-01-01T00:00:01.000002") == 1_000_002_000
    for reader in (speed_bps, length_m, size_bytes, span_ns, moment_ns):
        with pytest.raises(ValueError, match="not a"):
            reader("twelve")
    assert [speed_text(b) for b in (400 * 10**9, 2_500_000_000, 7)] == ["400G", "2500M", "7"]


def test_line_of_a_json_key() -> None:
    text = '{\n "a": [1,\n  {"b": 2,\n   "c": 3}],\n "b": {"c": {}}\n}'
    assert json_line(text, ("b",)) == 5
    assert json_line(text, ("a", 1, "c")) == 4
    assert json_line(text, ("a", 1, "missing")) == 3
    assert json_line(text, ()) == 1


def test_declared_routing_is_kept_and_checked(tmp_path: Path) -> None:
    text = "fabric: 1\nrouting: spray\ndevices: {a: {role: leaf}}\n"
    fabric = load([written(tmp_path, text)]).fabric
    assert fabric.routing == "spray"
    assert load([written(tmp_path, yaml_text(fabric))]).fabric.routing == "spray"
    with pytest.raises(ValueError, match=r"pod.yaml:2: routing: routing is one of ecmp, spray"):
        load([written(tmp_path, text.replace("spray", "luck"))])
