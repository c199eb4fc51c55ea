"""How fast a large fabric loads and answers: ``python -m benchmarks.bench_topology``.

Two fabrics: a rail-optimised one of 10,000 hosts with 8 NICs each (100,480 links), and a Clos of three
tiers with 10,240 hosts, whose pods see each other over 1,024 equal-cost paths. NetworkX answers one of
the questions too, as the yardstick in the same run.
"""

import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fabric.builders import clos3, rail_optimised
from fabric.inventory import load
from fabric.inventory.write import yaml_text
from fabric.routing import cycles
from fabric.routing.hashing import Flow
from fabric.routing.router import Router
from fabric.topology import Fabric, Port


def seconds(what: str, work: Callable[[], object]) -> None:
    start = time.perf_counter()
    work()
    print(f"  {what:52} {time.perf_counter() - start:8.2f} s")


def micros(what: str, ask: Callable[[], object], count: int = 2000) -> None:
    times = []
    for _ in range(count):
        start = time.perf_counter()
        ask()
        times.append(time.perf_counter() - start)
    times.sort()
    p50, p99 = times[count // 2] * 1e6, times[count * 99 // 100] * 1e6
    print(f"  {what:52} {p50:8.1f} us  p99 {p99:8.1f} us")


def questions(fabric: Fabric, rng: random.Random) -> None:
    hosts = fabric.named("host")
    nics = list(fabric.nics)
    router = Router(fabric)
    ports = [end for link in rng.sample(fabric.links, 1000) for end in (link.a, link.b)]

    def nic() -> Port:
        return rng.choice(nics).port

    def path_by_hash() -> object:
        a, b = rng.sample(nics, 2)
        return router.path(Flow(a.addresses[0], b.addresses[0], rng.randrange(49152, 65536)))

    micros("peer of a port", lambda: fabric.peer(rng.choice(ports)))
    micros("next hops, first and repeated questions mixed", lambda: fabric.next_hops(
        fabric.peer(nic()).device, nic()))  # type: ignore[union-attr]  # fmt: skip
    micros(
        "equal-cost paths between two NIC ports: how many",
        lambda: len(fabric.equal_cost_paths(nic(), nic())),
    )
    micros("one of them", lambda: next(iter(fabric.equal_cost_paths(nic(), nic())), None))
    micros("path of a flow by hash, with its verdict", path_by_hash)
    micros("upstream of a port", lambda: fabric.upstream_of(rng.choice(ports)), 200)
    micros("equal-cost paths between two hosts: how many", lambda: len(
        fabric.equal_cost_paths(*rng.sample(hosts, 2))))  # fmt: skip


def networkx_path(fabric: Fabric, rng: random.Random) -> None:
    import networkx as nx

    graph = nx.Graph((link.a.device, link.b.device) for link in fabric.links)
    hosts = fabric.named("host")
    micros(
        "NetworkX: one shortest path", lambda: nx.shortest_path(graph, *rng.sample(hosts, 2)), 100
    )


def measure(build: Callable[[], Fabric]) -> None:
    start = time.perf_counter()
    fabric = build()
    fabric.wiring()
    took = time.perf_counter() - start
    print(f"{fabric.name}: {len(fabric.devices):,} devices, {len(fabric.links):,} links")
    print(f"  {'built and indexed':52} {took:8.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fabric.yaml"
        path.write_text(yaml_text(fabric))
        seconds(f"loaded from YAML ({path.stat().st_size / 1e6:.1f} MB)", lambda: load([path]))
    rng = random.Random(1)
    questions(fabric, rng)
    networkx_path(fabric, rng)
    seconds("cycle check of all routes", lambda: cycles.cycles(cycles.of_topology(fabric)))


def main() -> None:
    measure(lambda: rail_optimised(10_000, 8, 64, hosts_per_leaf=256))
    measure(lambda: clos3(10, 32, 32, 32, 32))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
