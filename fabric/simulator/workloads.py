"""What training and inference put on a fabric, as messages that wait for each other.

Byte counts are those of the algorithms: a ring AllReduce of S bytes over n ranks sends 2(n-1) chunks of
S/n on every edge, AllGather and ReduceScatter n-1 of them, AllToAll S/n to every peer.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

from fabric.simulator.plan import Plan


def ring(
    plan: Plan, hosts: Sequence[str], size: int, *, steps_of: int = 2, iterations: int = 1,
    start_ns: int = 0, think_ns: int = 0, late: str = "", late_ns: int = 0, tag: str = "ring",
) -> None:  # fmt: skip
    """Ring collective: ``steps_of`` is 2 for AllReduce, 1 for AllGather and ReduceScatter.

    The host ``late`` computes ``late_ns`` longer before every iteration: a straggler.
    """
    n = len(hosts)
    qps = [plan.connect(hosts[i], hosts[(i + 1) % n], tag) for i in range(n)]
    chunk = max(size // n, 1)
    steps = steps_of * (n - 1)
    last: list[int | None] = [None] * n
    for iteration in range(iterations):
        for step in range(steps):
            sent = []
            for i in range(n):
                before = last[(i - 1) % n]
                first = iteration == 0 and step == 0
                wait = () if before is None else (before,)
                pause = think_ns if step == 0 and not first else 0
                begin = start_ns
                if step == 0 and hosts[i] == late:
                    pause, begin = pause + late_ns, start_ns + (late_ns if first else 0)
                sent.append(plan.send(qps[i], chunk, after=wait, at_ns=begin, think_ns=pause))
            last = list(sent)


def tree(
    plan: Plan, hosts: Sequence[str], size: int, *, iterations: int = 1, start_ns: int = 0,
    think_ns: int = 0, chunks: int = 4, tag: str = "tree",
) -> None:  # fmt: skip
    """Binary tree AllReduce: chunks are reduced towards the first host, then broadcast back."""
    n = len(hosts)
    up = {i: plan.connect(hosts[i], hosts[(i - 1) // 2], tag) for i in range(1, n)}
    down = {i: plan.connect(hosts[(i - 1) // 2], hosts[i], tag) for i in range(1, n)}
    part = max(size // chunks, 1)
    done: list[int] = []
    for iteration in range(iterations):
        gate = tuple(done)
        ends: list[int] = []
        for _ in range(chunks):
            sent: dict[int, int] = {}
            for i in range(n - 1, 0, -1):
                children = [sent[c] for c in (2 * i + 1, 2 * i + 2) if c in sent]
                waits = children or list(gate)
                pause = think_ns if iteration and not children else 0
                sent[i] = plan.send(up[i], part, after=waits, at_ns=start_ns, think_ns=pause)
            got: dict[int, int] = {}
            root = [sent[c] for c in (1, 2) if c in sent]
            for i in range(1, n):
                parent = (i - 1) // 2
                waits = root if parent == 0 else [got[parent]]
                got[i] = plan.send(down[i], part, after=waits, at_ns=start_ns)
            ends.extend(got[i] for i in range(1, n) if 2 * i + 1 >= n)
        done = ends


def all_to_all(
    plan: Plan, hosts: Sequence[str], size: int, *, iterations: int = 1, start_ns: int = 0,
    think_ns: int = 0, shifted: bool = True, tag: str = "all_to_all",
) -> None:  # fmt: skip
    """Every host sends ``size / n`` to every other (MoE dispatch); shifted orders spread the start."""
    n = len(hosts)
    part = max(size // n, 1)
    qps = {
        (i, j): plan.connect(hosts[i], hosts[j], tag) for i in range(n) for j in range(n) if i != j
    }
    gate: dict[int, list[int]] = {}
    for _ in range(iterations):
        received: dict[int, list[int]] = {i: [] for i in range(n)}
        for i in range(n):
            before: tuple[int, ...] = tuple(gate.get(i, ()))
            previous: tuple[int, ...] = ()
            for k in range(1, n):
                j = (i + k) % n
                waits = (*before, *previous) if shifted else before
                sent = plan.send(
                    qps[i, j], part, after=waits, at_ns=start_ns,
                    think_ns=think_ns if before else 0,
                )  # fmt: skip
                previous = (sent,)
                received[j].append(sent)
        gate = received


def pipeline(
    plan: Plan, hosts: Sequence[str], size: int, *, iterations: int = 8, start_ns: int = 0,
    think_ns: int = 10_000, tag: str = "pipeline",
) -> None:  # fmt: skip
    """Pipeline parallel: micro-batches hop from stage to stage, each after some computing."""
    qps = [plan.connect(a, b, tag) for a, b in pairwise(hosts)]
    previous: list[int | None] = [None] * len(qps)
    for _ in range(iterations):
        arrived: int | None = None
        for stage, qp in enumerate(qps):
            waits = [m for m in (arrived, previous[stage]) if m is not None]
            arrived = plan.send(qp, size, after=waits, at_ns=start_ns, think_ns=think_ns)
            previous[stage] = arrived


def kv_cache(
    plan: Plan, prefill: Sequence[str], decode: Sequence[str], size: int, *, layers: int = 8,
    start_ns: int = 0, period_ns: int = 200_000, requests: int = 4, seed: int = 1,
    pull: bool = False, tag: str = "kv_cache",
) -> None:  # fmt: skip
    """Prefill hosts hand the KV cache of a request to a decode host, layer after layer.

    With ``pull`` the decode host fetches each layer by RDMA READ.
    """
    rng = Random(seed)
    part = max(size // layers, 1)
    for i, source in enumerate(prefill):
        for request in range(requests):
            qp = plan.connect(source, decode[rng.randrange(len(decode))], tag, read=pull)
            at = start_ns + request * period_ns + i * period_ns // max(len(prefill), 1)
            for layer in range(layers):
                plan.send(qp, part, at_ns=at + layer * period_ns // (4 * layers))


def incast(
    plan: Plan, senders: Sequence[str], receiver: str, size: int, *, start_ns: int = 0,
    spread_ns: int = 1000, seed: int = 1, tag: str = "incast",
) -> None:  # fmt: skip
    """Many hosts answer one at the same time."""
    rng = Random(seed)
    for sender in senders:
        qp = plan.connect(sender, receiver, tag)
        plan.send(qp, size, at_ns=start_ns + rng.randrange(max(spread_ns, 1)))


def bursts(
    plan: Plan, senders: Sequence[str], receiver: str, size: int, *, start_ns: int = 0,
    period_ns: int = 100_000, count: int = 10, tag: str = "bursts",
) -> None:  # fmt: skip
    """Short line-rate bursts in step, low on average: what a hostile tenant sends."""
    qps = [plan.connect(sender, receiver, tag) for sender in senders]
    for n in range(count):
        for qp in qps:
            plan.send(qp, size, at_ns=start_ns + n * period_ns)


def ready_to_receive(
    plan: Plan, senders: Sequence[str], receiver: str, size: int, *, count: int = 8,
    start_ns: int = 0, wait_ns: int = 0, tag: str = "receive",
) -> None:  # fmt: skip
    """Transfers that wait for a clear-to-send of the receiver, as NCCL's do; ``wait_ns`` delays each."""
    for sender in senders:
        data = plan.connect(sender, receiver, tag)
        ready = plan.connect(receiver, sender, f"{tag} clear-to-send")
        before: tuple[int, ...] = ()
        for _ in range(count):
            clear = plan.send(ready, 64, after=before, at_ns=start_ns, think_ns=wait_ns)
            before = (plan.send(data, size, after=(clear,), at_ns=start_ns),)


def flows(
    plan: Plan, paths: Sequence[str], size: int, *, start_ns: int = 0, count: int = 1,
    tag: str = "flows",
) -> None:  # fmt: skip
    """Transfers on routes given by hand, ``host0>leaf0>spine1>leaf1>host5``: collisions, cycles."""
    for path in paths:
        devices = [part.strip() for part in path.split(">")]
        way = plan.way_through(devices)
        qp = plan.connect(devices[0], devices[-1], tag, ways=[way])
        for _ in range(count):
            plan.send(qp, size, at_ns=start_ns)


# share of messages and their size: mostly small, most bytes in the few large (web search like)
SIZES = ((0.5, 8 << 10), (0.3, 64 << 10), (0.15, 256 << 10), (0.05, 1 << 20))


def poisson(
    plan: Plan, hosts: Sequence[str], load: float, *, until_ns: int, start_ns: int = 0,
    sizes: Sequence[tuple[float, int]] = SIZES, seed: int = 1, tag: str = "poisson",
) -> None:  # fmt: skip
    """Independent messages between random hosts at ``load`` times each host's line rate."""
    rng = Random(seed)
    mean = sum(share * size for share, size in sizes)
    for source in hosts:
        line = plan.fabric.speed_bps(plan.host_port(source)) / 8e9  # bytes per ns
        rate = load * line / mean
        now = start_ns + rng.expovariate(rate)
        while now < until_ns:
            target = hosts[rng.randrange(len(hosts))]
            if target != source:
                pick, size = rng.random(), sizes[-1][1]
                for share, candidate in sizes:
                    if pick < share:
                        size = candidate
                        break
                    pick -= share
                plan.send(plan.connect(source, target, tag), size, at_ns=math.ceil(now))
            now += rng.expovariate(rate)


def storage(
    plan: Plan, clients: Sequence[str], servers: Sequence[str], size: int, *, until_ns: int,
    start_ns: int = 0, period_ns: int = 100_000, seed: int = 1, pull: bool = False,
    tag: str = "storage",
) -> None:  # fmt: skip
    """Checkpoint and data loading in the background: servers push blocks to clients.

    With ``pull`` the clients fetch them by RDMA READ.
    """
    rng = Random(seed)
    for client in clients:
        qps = [plan.connect(server, client, tag, read=pull) for server in servers]
        at = start_ns + rng.randrange(period_ns)
        while at < until_ns:
            plan.send(qps[rng.randrange(len(qps))], size, at_ns=at)
            at += int(rng.expovariate(1 / period_ns)) + 1


WORKLOADS: dict[str, Callable[..., None]] = {
    "all_reduce": ring,
    "all_gather": ring,
    "reduce_scatter": ring,
    "tree": tree,
    "all_to_all": all_to_all,
    "pipeline": pipeline,
    "kv_cache": kv_cache,
    "ready_to_receive": ready_to_receive,
    "flows": flows,
    "incast": incast,
    "bursts": bursts,
    "poisson": poisson,
    "storage": storage,
}
