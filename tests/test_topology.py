"""The fabric answers by name; a slow enumeration of all walks must give the same paths."""

import math
import random
from collections import defaultdict
from itertools import pairwise

import pytest

from fabric import builders
from fabric.cables import FOREVER, canonical_address
from fabric.topology import Circuit, Device, Fabric, Link, Nic, Port, Rank


def slow_paths(fabric: Fabric, source: str, to: str) -> set[tuple[Port, ...]]:
    """All shortest walks through switches, found by trying every walk of growing length."""
    out: dict[str, list[tuple[Port, str]]] = defaultdict(list)
    for link in fabric.links:
        out[link.a.device].append((link.a, link.b.device))
        out[link.b.device].append((link.b, link.a.device))
    walks: list[tuple[tuple[Port, ...], str]] = [((), source)]
    for _ in range(len(fabric.devices)):
        arrived = {path for path, at in walks if at == to}
        if arrived:
            return arrived
        walks = [
            ((*path, port), beyond)
            for path, at in walks
            if at == source or fabric.role(at) != "host"
            for port, beyond in out[at]
            if all(beyond != p.device for p in path) and beyond != source
        ]
    return set()


def random_fabric(seed: int) -> Fabric:
    rng = random.Random(seed)
    switches = [f"s{i}" for i in range(rng.randint(2, 6))]
    hosts = [f"h{i}" for i in range(rng.randint(2, 4))]
    used: dict[str, int] = defaultdict(int)
    links = []

    def cable(a: str, b: str) -> None:
        used[a] += 1
        used[b] += 1
        links.append(Link(Port(a, str(used[a])), Port(b, str(used[b]))))

    for host in hosts:
        for switch in rng.sample(switches, rng.randint(1, min(2, len(switches)))):
            for _ in range(rng.choice((1, 1, 2))):
                cable(host, switch)
    for _ in range(rng.randint(len(switches) - 1, 2 * len(switches))):
        cable(*rng.sample(switches, 2))
    devices = [Device(h, "host") for h in hosts] + [Device(s) for s in switches]
    return Fabric(devices, links)


@pytest.mark.parametrize("seed", range(60))
def test_paths_equal_a_slow_search(seed: int) -> None:
    fabric = random_fabric(seed)
    for source in fabric.devices:
        for to in fabric.devices:
            if source == to:
                continue
            expected = slow_paths(fabric, source, to)
            paths = fabric.equal_cost_paths(source, to)
            assert set(paths) == expected
            assert len(paths) == len(expected)
            assert [paths[i] for i in range(len(paths))] == list(paths)
            assert fabric.ports_on_paths(source, to) == {p for path in expected for p in path}
            assert set(fabric.next_hops(source, to)) == {path[0] for path in expected}


@pytest.mark.parametrize("seed", range(20))
def test_upstream_and_downstream_follow_the_paths(seed: int) -> None:
    fabric = random_fabric(seed)
    edge = {
        peer.device
        for host in fabric.named("host")
        for port in fabric.ports(host)
        if (peer := fabric.peer(port)) and fabric.role(peer.device) != "host"
    }
    after: dict[Port, set[Port]] = defaultdict(set)
    for source in (n for n in fabric.devices if fabric.role(n) != "host"):
        for to in edge - {source}:
            for path in slow_paths(fabric, source, to):
                for one, two in pairwise(path):
                    after[one].add(two)
    for one in (p for n in fabric.devices if fabric.role(n) != "host" for p in fabric.ports(n)):
        peer = fabric.peer(one)
        assert peer is not None
        onward = {p for p in fabric.downstream_of(one) if _switch_to_switch(fabric, p)}
        if _switch_to_switch(fabric, one):
            assert onward == after[one]
            for two in onward:
                assert one in fabric.upstream_of(two)


def _switch_to_switch(fabric: Fabric, port: Port) -> bool:
    peer = fabric.peer(port)
    return peer is not None and "host" not in (fabric.role(port.device), fabric.role(peer.device))


def test_a_leaf_pair_by_name() -> None:
    fabric = builders.clos2(2, 2, 2)
    assert fabric.peer(Port("host0", "1")) == Port("leaf0", "1")
    assert fabric.peer(Port("leaf0", "99")) is None
    assert fabric.ports_between("leaf1", "spine1") == ((Port("leaf1", "4"), Port("spine1", "2")),)
    assert fabric.named("spine") == ("spine0", "spine1")
    assert fabric.speed_bps(Port("leaf0", "1")) == 400_000_000_000
    assert fabric.speed_bps(Port("leaf0", "99")) == 0
    paths = fabric.equal_cost_paths("host0", "host3")
    assert [tuple(map(str, path)) for path in paths] == [
        ("host0:1", "leaf0:3", "spine0:2", "leaf1:2"),
        ("host0:1", "leaf0:4", "spine1:2", "leaf1:2"),
    ]
    assert [str(p) for p in fabric.upstream_of(Port("leaf1", "2"))] == [
        "host2:1", "spine0:2", "spine1:2",
    ]  # fmt: skip
    assert [str(p) for p in fabric.upstream_of(Port("leaf0", "3"))] == ["host0:1", "host1:1"]
    assert fabric.downstream_of(Port("leaf1", "2")) == ()
    assert fabric.upstream_of(Port("host0", "1")) == ()
    assert Port("leaf0", "3") in fabric.downstream_of(Port("host0", "1"))


def test_a_path_may_start_and_end_at_one_port_of_a_host() -> None:
    fabric = builders.rail_optimised(8, 4, 2, hosts_per_leaf=4)
    same_rail = fabric.equal_cost_paths(Port("host0", "2"), Port("host7", "2"))
    assert len(same_rail) == 2
    assert all(fabric.rail(port) == 1 for path in same_rail for port in path)
    assert len(fabric.equal_cost_paths(Port("host0", "2"), Port("host1", "2"))) == 1
    assert len(fabric.equal_cost_paths(Port("host0", "1"), Port("host1", "2"))) == 2


def test_planes_do_not_meet() -> None:
    fabric = builders.dual_plane(2, 2, 2)
    assert not fabric.equal_cost_paths(Port("host0", "1"), Port("host3", "2"))
    paths = fabric.equal_cost_paths("host0", "host3")
    assert len(paths) == 4
    for path in paths:
        assert len({fabric.plane(port) for port in path}) == 1
    assert fabric.ports_of_address("10.0.0.1") == (Port("host0", "1"), Port("host0", "2"))


def test_path_index_is_checked() -> None:
    paths = builders.clos2(2, 2, 1).equal_cost_paths("host0", "host1")
    assert paths[-1] == paths[1]
    assert paths[0:2] == tuple(paths)
    with pytest.raises(IndexError):
        paths[2]


def test_unreachable_is_empty_and_islands_are_counted() -> None:
    one, two = builders.clos2(2, 1, 1), builders.clos2(2, 1, 1)
    rename = {name: f"x{name}" for name in two.devices}
    devices = [
        *one.devices.values(),
        *(d._replace(name=rename[d.name]) for d in two.devices.values()),
    ]
    links = [
        *one.links,
        *(
            Link(Port(rename[link.a.device], link.a.port), Port(rename[link.b.device], link.b.port))
            for link in two.links
        ),
    ]
    fabric = Fabric(devices, links)
    assert not fabric.equal_cost_paths("host0", "xhost1")
    assert not fabric.next_hops("leaf0", "xhost1")
    assert [len(group) for group in fabric.islands()] == [5, 5]
    assert "spine0" in fabric.single_points()


def test_a_link_has_its_time() -> None:
    devices = [Device("h", "host"), Device("a", "leaf"), Device("b", "leaf")]
    links = [
        Link(Port("h", "1"), Port("a", "1"), valid_to=100),
        Link(Port("h", "1"), Port("b", "1"), valid_from=100),
    ]
    fabric = Fabric(devices, links)
    assert fabric.peer(Port("h", "1"), at=99) == Port("a", "1")
    assert fabric.peer(Port("h", "1"), at=100) == Port("b", "1")
    assert fabric.peer(Port("h", "1")) == Port("b", "1")
    assert fabric.changes == (100,)
    with pytest.raises(ValueError, match="h:1 is claimed by two cables"):
        Fabric(devices, [links[0]._replace(valid_to=101), links[1]])


def test_an_optical_switch_is_no_hop_and_rewires() -> None:
    devices = [
        Device("h0", "host"), Device("h1", "host"), Device("a", "leaf"), Device("b", "leaf"),
        Device("c", "leaf"), Device("o", "ocs"),
    ]  # fmt: skip
    links = [
        Link(Port("h0", "1"), Port("a", "9"), 400),
        Link(Port("h1", "1"), Port("c", "9"), 400),
        Link(Port("a", "1"), Port("o", "1"), 400, 10.0),
        Link(Port("o", "2"), Port("b", "1"), 200, 20.0),
        Link(Port("o", "3"), Port("c", "1"), 400, 30.0),
    ]
    circuits = [Circuit("o", "1", "2", 0, 1000), Circuit("o", "3", "1", 1000)]
    fabric = Fabric(devices, links, circuits)
    link = fabric.link(Port("a", "1"), at=0)
    assert link is not None
    assert (link.a, link.b, link.speed_bps, link.length_m) == (
        Port("a", "1"),
        Port("b", "1"),
        200,
        30,
    )
    assert fabric.peer(Port("c", "1"), at=0) is None
    assert fabric.peer(Port("a", "1"), at=1000) == Port("c", "1")
    assert not fabric.equal_cost_paths("h0", "h1", at=999)
    assert list(fabric.equal_cost_paths("h0", "h1")) == [
        (Port("h0", "1"), Port("a", "1"), Port("c", "9"))
    ]
    spans = {(row[0], row[2], row[10], row[11]) for row in fabric.link_rows() if row[0] == "a"}
    assert ("a", "b", 0, 1000) in spans
    assert ("a", "c", 1000, FOREVER) in spans


def test_two_optical_switches_in_a_row() -> None:
    devices = [Device("a", "leaf"), Device("b", "leaf"), Device("o", "ocs"), Device("p", "ocs")]
    links = [
        Link(Port("a", "1"), Port("o", "1"), 400, 1.0),
        Link(Port("o", "2"), Port("p", "1"), 400, 2.0),
        Link(Port("p", "2"), Port("b", "1"), 400, 3.0),
    ]
    fabric = Fabric(devices, links, [Circuit("o", "1", "2"), Circuit("p", "2", "1")])
    link = fabric.link(Port("a", "1"))
    assert link is not None
    assert (link.b, link.length_m) == (Port("b", "1"), 6.0)


def test_addresses_have_one_spelling() -> None:
    assert canonical_address("::ffff:10.0.0.1") == "10.0.0.1"
    assert canonical_address("FE80:0:0::1") == "fe80::1"
    assert canonical_address("02-00-00-00-0C-01") == "02:00:00:00:0c:01"
    fabric = Fabric([Device("h", "host"), Device("l", "leaf")], [Link(Port("h", "1"), Port("l", "1"))],
                    nics=[Nic(Port("h", "1"), "mlx5_0", ("10.0.0.1/24",), "02:00:00:00:00:01")])  # fmt: skip
    assert fabric.locate("::ffff:0a00:0001") == Port("h", "1")
    assert fabric.locate("02:00:00:00:00:01") == Port("h", "1")
    assert fabric.locate("10.0.0.2") is None


def test_ranks_in_time() -> None:
    base = builders.clos2(1, 1, 2)
    ranks = [Rank("job", 0, "host0", "1", 17, 0, 50), Rank("job", 0, "host1", "1", 18, 50)]
    fabric = Fabric(base.devices.values(), base.links, ranks=ranks)
    assert fabric.rank_place("job", 0, at=49) == Port("host0", "1")
    assert fabric.rank_place("job", 0, at=50) == Port("host1", "1")
    assert fabric.rank_place("job", 1) is None
    assert fabric.ranks_on("host0", at=0) == (ranks[0],)
    assert fabric.ranks_on(Port("host0", "2"), at=0) == ()
    assert list(fabric.rank_rows()) == [tuple(rank) for rank in ranks]


@pytest.mark.parametrize(
    ("devices", "links", "reason"),
    [
        (["a"], [Link(Port("a", "1"), Port("b", "1"))], "unknown device 'b'"),
        (["a", "b"], [Link(Port("a", "1"), Port("a", "1"))], "cabled to itself"),
        (["a", "b"], [Link(Port("a", "1"), Port("b", "1"))] * 2, "claimed by two cables"),
    ],
)
def test_impossible_rows_are_refused(devices: list[str], links: list[Link], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Fabric([Device(name) for name in devices], links)


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown role 'router'"):
        Fabric([Device("a", "router")], [])


def test_port_text() -> None:
    assert Port.parse("r1:et-0/0/1:2") == Port("r1", "et-0/0/1:2")
    assert str(Port("r1", "7")) == "r1:7"
    for bad in ("r1", "r1:", ":7"):
        with pytest.raises(ValueError, match="not device:port"):
            Port.parse(bad)


@pytest.mark.parametrize(
    ("fabric", "devices", "links", "paths"),
    [
        (builders.clos2(4, 3, 2), 15, 8 + 12, 3),
        (builders.clos2(2, 2, 2, parallel=2), 8, 4 + 8, 8),
        (builders.clos3(2, 2, 2, 3, 1), 4 + 8 + 6, 4 + 8 + 12, 6),
        (builders.rail_optimised(4, 2, 3, hosts_per_leaf=2), 3 + 4 + 4, 8 + 12, 12),
        (builders.dual_plane(2, 2, 2), 8 + 4, 8 + 8, 4),
        (builders.dragonfly(3, 2, 1), 12, 6 + 3 + 3, 2),
    ],
    ids=["clos2", "parallel", "clos3", "rail", "dual", "dragonfly"],
)
def test_builders_count(fabric: Fabric, devices: int, links: int, paths: int) -> None:
    assert len(fabric.devices) == devices
    assert len(fabric.links) == links
    last = fabric.named("host")[-1]
    assert len(fabric.equal_cost_paths("host0", last)) == paths
    assert len(fabric.islands()) == 1
    assert len(list(fabric.link_rows())) == 2 * links
    for link in fabric.links:
        assert link.speed_bps > 0
        assert not math.isnan(link.length_m)


def test_dragonfly_joins_every_pair_of_groups() -> None:
    fabric = builders.dragonfly(5, 4, 1, global_links=2)
    pairs = defaultdict(int)
    for link in fabric.links:
        a, b = (fabric.devices[end.device] for end in (link.a, link.b))
        if a.pod != b.pod:
            pairs[frozenset((a.pod, b.pod))] += 1
    assert len(pairs) == 10
    assert set(pairs.values()) == {2}
