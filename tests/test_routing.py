"""Next hops, hash choices, fair shares and balance, against slow and obvious versions of each."""

import csv
import itertools
import json
import math
import random
import zlib
from pathlib import Path

import pytest

from fabric import builders
from fabric.inventory import load
from fabric.inventory.found import Hop, Route
from fabric.routing import balance, cycles
from fabric.routing.forwarding import Forwarding
from fabric.routing.hashing import Flow, HashSetting, crc16, murmur3, xor16
from fabric.routing.load import Demand, capacities, link_loads, max_min, of_flow, on_path, sprayed
from fabric.routing.router import Router
from fabric.topology import Device, Fabric, Link, Nic, Port
from tests.data import REAL_DATA, real_data

G = 1_000_000_000
RUNS = sorted(path.parent.name for path in REAL_DATA.glob("groundtruth/*/topology.json"))
CLOS = [run for run in RUNS if "cbd" not in run]


# -- hashing --------------------------------------------------------------------------------------


def test_hash_functions_against_published_values() -> None:
    assert zlib.crc32(b"123456789") == 0xCBF43926
    assert crc16(b"123456789", 0) == 0x31C3  # CRC-16/XMODEM
    assert murmur3(b"", 0) == 0
    assert murmur3(b"", 1) == 0x514E28B7
    assert murmur3(b"test", 0) == 0xBA6BD213
    assert murmur3(b"Hello, world!", 0x9747B28C) == 0x24884CBA
    assert xor16(b"\x12\x34\x12\x34\x0f", 0) == 0x0F00


def test_fields_and_seed_matter() -> None:
    flow = Flow("10.0.0.1", "10.0.0.2", 50000, qpn=17)
    base = HashSetting("crc32")
    assert base.value(flow) != base.value(flow._replace(sport=50001))
    assert base.value(flow) == base.value(flow._replace(qpn=18))
    with_qpn = HashSetting("crc32", fields=("src", "dst", "sport", "qpn"))
    assert with_qpn.value(flow) != with_qpn.value(flow._replace(qpn=18))
    assert base.value(flow) != HashSetting("crc32", seed=1).value(flow)
    assert HashSetting(shift=8).value(flow) == base.value(flow) >> 8
    assert base.value(flow._replace(src="2001:db8::1", dst="2001:db8::2")) != base.value(flow)


def test_weights_take_their_share() -> None:
    setting = HashSetting("murmur3")
    picks = [setting.choose(Flow("10.0.0.1", "10.0.0.2", s), 3, (1, 2, 5)) for s in range(8000)]
    shares = [picks.count(i) / 8000 for i in range(3)]
    assert shares == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.02)


@pytest.mark.parametrize("bad", [{"function": "md5"}, {"fields": ("src", "ttl")}])
def test_unknown_hash_words_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="known are"):
        HashSetting(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("run", CLOS or ["absent"])
def test_the_simulators_own_hash_replays_every_path(run: str) -> None:
    """The simulators hash with murmur3 over three words, seeded by the switch's number.

    The runs on a ring of switches list their routes in an order of their own; they are left out.
    """
    folder = real_data("groundtruth", run)
    nodes = json.loads((folder / "topology.json").read_text())["nodes"]
    seeds = {node["name"]: node["id"] for node in nodes}
    hashing = {
        name: HashSetting("murmur3", seed=seed, words=True, reverse=True)
        for name, seed in seeds.items()
    }
    router = Router(load([folder / "topology.json"]).fabric, hashing=hashing)
    for row in csv.DictReader((folder / "flows.csv").open()):
        flow = Flow(row["src_ip"], row["dst_ip"], int(row["sim_sport"]), int(row["sim_dport"]))
        assert ">".join(map(str, router.path(flow).path)) == row["path"]


# -- router ---------------------------------------------------------------------------------------


def flows(count: int) -> list[Flow]:
    rng = random.Random(5)
    return [Flow("10.0.0.1", "10.0.0.3", rng.randint(49152, 65535)) for _ in range(count)]


def test_a_prediction_is_unverified_until_it_is_seen() -> None:
    fabric = builders.clos2(2, 4, 2)
    real = Router(fabric, hashing=HashSetting("crc16", seed=7))
    router = Router(fabric, hashing=HashSetting("crc16", seed=7))
    flow = flows(1)[0]
    assert router.path(flow).status == "unverified"
    assert (
        router.path(flow).assumed
        == ("leaf0", "spine0", "leaf1")[:1] + router.path(flow).assumed[1:]
    )
    for other in flows(10):
        assert router.observe(other, real.path(other).path[1]) is True
    assert router.records["leaf0"].trusted
    assert router.path(flow._replace(sport=1)).status == "verified"
    same_leaf = Flow("10.0.0.1", "10.0.0.2", 5)
    assert router.path(same_leaf).status == "only"
    assert router.observe(same_leaf, Port("leaf0", "2")) is None


def test_a_wrong_hash_is_contradicted() -> None:
    fabric = builders.clos2(2, 4, 2)
    real = Router(fabric, hashing=HashSetting("crc16", seed=7))
    wrong = Router(fabric, hashing=HashSetting("xor"))
    verdicts = [wrong.observe(flow, real.path(flow).path[1]) for flow in flows(40)]
    assert False in verdicts
    assert not wrong.records["leaf0"].trusted
    seen = flows(40)[verdicts.index(False)]
    assert wrong.path(seen).status == "contradicted"
    assert wrong.path(Flow("10.0.0.1", "10.0.0.4", 9)).status == "unverified"


def test_spraying_predicts_no_path() -> None:
    fabric = builders.clos2(2, 4, 2)
    router = Router(fabric, spray=("leaf0",))
    flow = flows(1)[0]
    assert router.path(flow).status == "sprayed"
    assert router.observe(flow, Port("leaf0", "3")) is None


def test_unknown_addresses_and_gaps() -> None:
    router = Router(builders.clos2(2, 4, 2))
    assert router.path(Flow("10.9.9.9", "10.0.0.1", 1)).status == "unroutable"
    with pytest.raises(KeyError):
        router.ways("leaf0", "10.9.9.9")


# -- forwarding tables ----------------------------------------------------------------------------


def test_longest_prefix_weights_and_lags() -> None:
    fabric = builders.clos2(2, 2, 2, parallel=2)
    routes = {
        "leaf0": [
            Route("0.0.0.0/0", (Hop("5"),)),
            Route("10.0.0.0/29", (Hop("PortChannel1", weight=2), Hop("5"))),
            Route("10.0.0.4/32", (Hop("", "10.255.0.1"),)),
            Route("10.0.0.3/32", (Hop("Vlan9"),)),
        ]
    }
    lags = {Port("leaf0", "PortChannel1"): ("3", "4", "77")}
    interfaces = {"10.255.0.1": Port("spine1", "x")}
    table = Forwarding(fabric, routes, lags, interfaces)
    ways = table.lookup("leaf0", "10.0.0.2")
    assert ways is not None
    assert [(tuple(map(str, way.ports)), way.weight) for way in ways] == [
        (("leaf0:3", "leaf0:4"), 2), (("leaf0:5",), 1),
    ]  # fmt: skip
    default = table.lookup("leaf0", "10.9.9.9")
    assert default is not None
    assert [str(port) for port in default[0].ports] == ["leaf0:5"]
    neighbour = table.lookup("leaf0", "10.0.0.4")
    assert neighbour is not None
    assert [str(p) for p in neighbour[0].ports] == ["leaf0:5", "leaf0:6"]
    assert table.lookup("leaf1", "10.0.0.4") is None
    assert table.lookup("leaf0", "10.0.0.3") == ()
    assert table.unresolved == [("leaf0", "10.0.0.3/32", Hop("Vlan9"))]
    router = Router(fabric, table)
    predicted = router.path(Flow("10.0.0.1", "10.0.0.4", 50000))
    assert predicted.path[1] in (Port("leaf0", "5"), Port("leaf0", "6"))
    assert "leaf0" not in predicted.assumed
    assert "leaf1" in predicted.assumed


def test_lookup_equals_a_slow_search() -> None:
    rng = random.Random(3)
    fabric = builders.clos2(1, 8, 1)
    rows = {}
    for _ in range(300):
        length = rng.choice((0, 8, 12, 16, 24, 30, 32))
        number = rng.getrandbits(32) & (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF if length else 0
        number = (10 << 24 | number & 0x00FFFFFF) if length >= 8 else 0
        number &= (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF if length else 0
        rows[(number, length)] = str(rng.randint(2, 9))
    text = [Route(f"{n >> 24}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}/{length}", (Hop(port),))
            for (n, length), port in rows.items()]  # fmt: skip
    table = Forwarding(fabric, {"leaf0": text})
    for _ in range(500):
        address = 10 << 24 | rng.getrandbits(24)
        best = max(
            (
                key
                for key in rows
                if key[1] == 0 or address >> (32 - key[1]) == key[0] >> (32 - key[1])
            ),
            key=lambda key: key[1],
            default=None,
        )
        dotted = f"10.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"
        ways = table.lookup("leaf0", dotted)
        expected = () if best is None else (Port("leaf0", rows[best]),)
        assert tuple(port for way in ways or () for port in way.ports) == expected


# -- load -----------------------------------------------------------------------------------------


def slow_max_min(demands: list[Demand], capacity: dict[Port, float]) -> list[float]:
    """Raise all open demands in small steps until something is full."""
    rates = [0.0] * len(demands)
    open_ = set(range(len(demands)))
    step = min(capacity.values()) / 4000
    while open_:
        for i in list(open_):
            rates[i] += step
        load: dict[Port, float] = {}
        for demand, rate in zip(demands, rates, strict=True):
            for port, share in demand.shares.items():
                load[port] = load.get(port, 0) + share * rate
        for i in list(open_):
            over = any(load[port] >= capacity[port] - step / 2 for port in demands[i].shares)
            if over or rates[i] >= demands[i].wanted_bps:
                open_.discard(i)
    return rates


@pytest.mark.parametrize("seed", range(8))
def test_fair_shares_equal_small_steps(seed: int) -> None:
    rng = random.Random(seed)
    fabric = builders.clos2(2, 2, 3)
    hosts = fabric.named("host")
    router = Router(fabric, hashing=HashSetting("murmur3", seed=seed))
    demands = []
    for _ in range(6):
        a, b = rng.sample(hosts, 2)
        if rng.random() < 0.5:
            demands.append(sprayed(fabric, a, b, rng.choice((math.inf, 50 * G))))
        else:
            src, dst = (
                next(n.addresses[0] for n in fabric.nics if n.port.device == h) for h in (a, b)
            )
            demands.append(on_path(router.path(Flow(src, dst, rng.randint(1, 60000))).path))
    capacity = capacities(fabric)
    fair = max_min(demands, capacity)
    slow = slow_max_min(demands, capacity)
    assert fair.rates_bps.tolist() == pytest.approx(slow, abs=2 * 400 * G / 400)
    assert all(load <= capacity[port] * (1 + 1e-6) for port, load in fair.loads_bps.items())


def test_fair_share_of_an_incast() -> None:
    fabric = builders.clos2(4, 4, 4)
    demands = [sprayed(fabric, f"host{i}", "host0") for i in range(4, 12)]
    fair = max_min(demands, capacities(fabric))
    assert fair.rates_bps.tolist() == pytest.approx([50 * G] * 8)
    assert fair.loads_bps[Port("leaf0", "1")] == pytest.approx(400 * G)
    assert fair.loads_bps[Port("spine0", "1")] == pytest.approx(100 * G)


def test_a_stream_is_spread_hop_by_hop() -> None:
    fabric = builders.clos3(2, 2, 2, 2, 1)
    shares = sprayed(fabric, "host0", "host3").shares
    assert sum(1 for share in shares.values() if share == 0.25) == 4 + 4
    assert shares[Port("host0", "1")] == 1
    by_device: dict[str, float] = {}
    for port, share in shares.items():
        by_device[port.device] = by_device.get(port.device, 0) + share
    assert by_device["leaf0"] == by_device["leaf3"] == 1
    assert link_loads([sprayed(fabric, "host0", "host3", 8.0)])[Port("leaf0", "2")] == 4.0


def test_a_flow_loads_its_path_and_sprayed_hops_share_it() -> None:
    fabric = builders.clos2(2, 4, 2)
    flow = Flow("10.0.0.1", "10.0.0.3", 50000)
    router = Router(fabric)
    assert of_flow(router, flow, 8.0).shares == dict.fromkeys(router.path(flow).path, 1.0)
    spread = of_flow(Router(fabric, spray=("leaf0",)), flow, 8.0)
    assert sorted(spread.shares.values()) == [0.25] * 8 + [1.0] * 2
    assert spread.shares == sprayed(fabric, "host0", "host2").shares
    assert of_flow(router, flow._replace(dst="10.9.9.9")).shares == {}


def test_a_demand_without_any_limit_has_no_answer() -> None:
    with pytest.raises(ValueError, match="no port of known speed"):
        max_min([on_path((Port("a", "1"),))], {})


# -- balance --------------------------------------------------------------------------------------


def test_measures() -> None:
    assert balance.mmr([1, 1, 1, 1]) == 1
    assert balance.mmr([4, 0, 0, 0]) == 4
    assert balance.jfi([4, 0, 0, 0]) == 0.25
    assert balance.jfi([2, 2]) == 1
    assert balance.mmr([100, 50], [400, 200]) == 1
    assert math.isnan(balance.mmr([0, 0]))
    assert math.isnan(balance.jfi([]))


@pytest.mark.parametrize(
    ("balls", "bins"), [(1, 4), (2, 2), (3, 4), (4, 3), (5, 2), (6, 1), (4, 5)]
)
def test_expected_maximum_equals_all_throws(balls: int, bins: int) -> None:
    throws = list(itertools.product(range(bins), repeat=balls))
    mean = sum(max(throw.count(i) for i in range(bins)) for throw in throws) / len(throws)
    assert balance.expected_max(balls, bins) == pytest.approx(mean)
    assert balance.expected_mmr(balls, bins) == pytest.approx(mean * bins / balls)


def test_expected_maximum_of_many_balls() -> None:
    rng = random.Random(1)
    draws = []
    for _ in range(400):
        bins = [0] * 8
        for _ in range(4000):
            bins[rng.randrange(8)] += 1
        draws.append(max(bins))
    assert balance.expected_max(4000, 8) == pytest.approx(sum(draws) / len(draws), rel=0.01)


def test_polarisation_of_equal_and_of_different_hashes() -> None:
    rng = random.Random(2)
    some = [Flow("10.0.0.1", "10.0.0.9", rng.randrange(49152, 65536)) for _ in range(4000)]

    def tiers(second: HashSetting) -> float:
        first = HashSetting("crc32")
        pairs = [(first.choose(f, 4), second.choose(f, 4)) for f in some]
        return balance.polarisation(pairs, 4)

    assert tiers(HashSetting("crc32")) == pytest.approx(0, abs=0.01)
    assert tiers(HashSetting("murmur3", seed=99)) > 0.95
    assert (
        balance.polarisation([("a", 1), ("a", 2)], 4) > 0.9
    )  # two flows, two links: as good as it gets
    assert math.isnan(balance.polarisation([("a", 1)], 4))


def test_polarisation_by_tier_of_a_three_tier_clos() -> None:
    """One hash everywhere polarises. Seeds cure a mixing hash, not a CRC: it is linear, a seed only
    flips the same bits of all values."""
    fabric = builders.clos3(2, 2, 4, 4, 1)

    def tiers(function: str, seeds: bool) -> dict[int, float]:
        hashing = {name: HashSetting(function, seed=i * 7919 if seeds else 0)
                   for i, name in enumerate(fabric.devices)}  # fmt: skip
        router = Router(fabric, hashing=hashing)
        last = fabric.nics[-1].addresses[0]
        ports = range(49152, 51152)
        paths = [router.path(Flow("10.0.0.1", last, port)).path for port in ports]
        return balance.polarisation_by_tier(
            paths, lambda device: len(router.next_hops(device, last))
        )

    assert tiers("crc32", seeds=False) == pytest.approx({1: 1, 2: 0}, abs=0.05)
    assert tiers("crc32", seeds=True) == pytest.approx({1: 1, 2: 0}, abs=0.05)
    assert tiers("murmur3", seeds=False) == pytest.approx({1: 1, 2: 0}, abs=0.05)
    assert tiers("murmur3", seeds=True) == pytest.approx({1: 1, 2: 1}, abs=0.05)


# -- cyclic buffer dependency ---------------------------------------------------------------------


def slow_dependencies(fabric: Fabric) -> set[tuple[Port, Port]]:
    edges = set()
    switches = [n for n in fabric.devices if fabric.role(n) != "host"]
    edge = {
        link.a.device if fabric.role(link.b.device) == "host" else link.b.device
        for link in fabric.links
        if "host" in (fabric.role(link.a.device), fabric.role(link.b.device))
    }
    for source, to in itertools.product(switches, edge):
        if source != to:
            for path in fabric.equal_cost_paths(source, to):
                edges.update(itertools.pairwise(path))
    return edges


def ring(size: int) -> Fabric:
    devices = [Device(f"s{i}", "switch") for i in range(size)]
    devices += [Device(f"h{i}", "host") for i in range(size)]
    links = [Link(Port(f"s{i}", "1"), Port(f"s{(i + 1) % size}", "2")) for i in range(size)]
    links += [Link(Port(f"h{i}", "1"), Port(f"s{i}", "3")) for i in range(size)]
    nics = [Nic(Port(f"h{i}", "1"), "", (f"10.0.0.{i}",)) for i in range(size)]
    return Fabric(devices, links, nics=nics)


@pytest.mark.parametrize(
    "fabric",
    [ring(3), ring(4), ring(5), builders.clos2(3, 2, 1), builders.clos3(2, 2, 2, 2, 1),
     builders.dragonfly(4, 2, 1), builders.dragonfly(3, 4, 1, global_links=3)],
    ids=["ring3", "ring4", "ring5", "clos2", "clos3", "dragonfly", "dragonfly4"],
)  # fmt: skip
def test_dependencies_equal_a_slow_walk(fabric: Fabric) -> None:
    """Peeling leaves only what a cycle can pass through, so both are compared after peeling."""
    import networkx as nx

    slow = nx.DiGraph(slow_dependencies(fabric))
    knots = [k for k in nx.strongly_connected_components(slow) if len(k) > 1]
    core = {(a, b) for k in knots for a, b in slow.edges if a in k and b in k}
    fast = {(a, b) for a, after in cycles.of_topology(fabric).items() for b in after}
    assert core <= fast <= set(slow.edges)
    found = cycles.cycles(cycles.of_topology(fabric))
    assert len(found) == len(knots)
    for cycle in found:
        assert any(set(cycle) <= knot for knot in knots)
        for one, two in itertools.pairwise((*cycle, cycle[0])):
            assert (one, two) in slow.edges


def test_a_ring_of_four_locks_and_of_three_does_not() -> None:
    assert cycles.cycles(cycles.of_topology(ring(3))) == []
    assert [len(c) for c in cycles.cycles(cycles.of_topology(ring(4)))] == [4, 4]


def test_a_detour_through_a_leaf_closes_a_cycle() -> None:
    """Two broken uplinks make traffic go down and up again: the classic deadlock of a Clos."""
    fabric = builders.clos2(4, 2, 1)
    assert cycles.cycles(cycles.of_topology(fabric)) == []
    gone = {("leaf0", "spine1"), ("leaf1", "spine0")}
    links = [link for link in fabric.links if (link.a.device, link.b.device) not in gone]
    found = cycles.cycles(cycles.of_topology(Fabric(fabric.devices.values(), links)))
    assert len(found) == 2  # one each way round
    for cycle in found:
        assert {port.device for port in cycle} == {"leaf2", "leaf3", "spine0", "spine1"}


def test_collected_tables_show_a_loop_that_the_topology_hides() -> None:
    fabric = ring(3)
    around = {  # s0 -> s1 -> s2 -> s0 -> ... for every destination but the own host
        f"s{i}": [Route(f"10.0.0.{j}/32", (Hop("1"),)) for j in range(3) if j != i]
        for i in range(3)
    }
    router = Router(fabric, Forwarding(fabric, around))
    addresses = [f"10.0.0.{i}" for i in range(3)]
    (cycle,) = cycles.cycles(cycles.of_router(router, addresses))
    assert [str(port) for port in cycle] == ["s0:1", "s1:1", "s2:1"]
    plain = Router(fabric)
    assert cycles.cycles(cycles.of_router(plain, addresses)) == []


def test_the_deadlock_runs_hold_the_cycle_of_their_label() -> None:
    for folder in sorted(Path(real_data("groundtruth")).glob("*cbd*")):
        label = json.loads((folder / "label.json").read_text())
        paths = [
            tuple(map(Port.parse, row["path"].split(">")))
            for row in csv.DictReader((folder / "flows.csv").open())
        ]
        (cycle,) = cycles.cycles(cycles.of_paths(paths))
        for truth in label["deadlock_cycle_ports"]:
            assert sorted(map(str, cycle)) == sorted(truth)
        fabric = load([folder / "topology.json"]).fabric
        assert cycle in cycles.cycles(cycles.of_topology(fabric))


@pytest.mark.parametrize("run", ["healthy_ring-s1", "incast48_64h-s1", "hawkeye_lordma-s1"])
def test_trees_and_clos_have_no_cycle(run: str) -> None:
    fabric = load([real_data("groundtruth", run, "topology.json")]).fabric
    assert cycles.cycles(cycles.of_topology(fabric)) == []
