"""Jobs on the twin, seen by taps at their hosts: what the tests of collectives have in common."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv6Address
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from analyzers.pipeline import Options, Run, analyze
from fabric.simulator.faults import changes
from fabric.simulator.outputs import RunFolder
from fabric.simulator.plan import qpns
from fabric.simulator.run import simulate
from fabric.simulator.scenario import Scenario, parse

GBPS = 100
FABRIC = {
    "kind": "clos2", "leaves": 4, "spines": 4, "hosts_per_leaf": 4, "host_gbps": GBPS,
    "uplink_gbps": GBPS,
}  # fmt: skip


def scenario(
    workloads: Sequence[dict[str, Any]], *, seed: int, duration_us: int = 3000,
    faults: Sequence[dict[str, Any]] = (), taps: Sequence[str] = (),
) -> Scenario:  # fmt: skip
    """A scenario with taps at the NIC of every host, and more where they are named."""
    return parse(
        {
            "seed": seed, "duration_us": duration_us, "fabric": dict(FABRIC),
            "switching": {"buffer_bytes": 4 << 20}, "traffic": {"profile": "ns3"},
            "workload": [dict(w) for w in workloads], "fault": [dict(f) for f in faults],
            "output": {"taps": [*(f"host{n}:1" for n in range(16)), *taps], "interval_us": 1000},
        },
        "job",
    )  # fmt: skip


class Seen(NamedTuple):
    """What the taps saw, and when each message of the plan truly began and arrived (ns; -1 never)."""

    run: Run
    started: list[int]
    delivered: list[int]

    def span(self, first: int, count: int) -> tuple[int, int]:
        """True start and end of messages ``first`` and so many more."""
        chosen = slice(first, first + count)
        return min(self.started[chosen]), max(self.delivered[chosen])


@contextmanager
def seen(folder: Path, plan: Scenario) -> Iterator[Seen]:
    """Simulate, and analyse what the taps saw."""
    built = plan.build()
    with RunFolder(folder, plan, built) as out:
        simulate(
            built, plan.duration_ns, out, interval_ns=plan.output.interval_ns,
            changes=changes(built, plan.faults),
        )  # fmt: skip
        out.finish()
    _, order = plan.plan.ordered()
    message = built.state.message
    started, delivered = [-1] * len(order), [-1] * len(order)
    for row, old in enumerate(order):
        base = plan.output.start_ns
        if message["delivered"][row] >= 0:
            started[old] = base + int(message["started"][row]) // 1000
            delivered[old] = base + int(message["delivered"][row]) // 1000
    taps = [f"{port}={folder}/tap_{port.replace(':', '_')}.pcap" for port in plan.output.taps]
    with analyze(taps, Options(speed_bps=GBPS * 10**9)) as run:
        yield Seen(run, started, delivered)


def draw() -> Random:
    """A generator with the test's seed, which is shown where the test fails."""
    seed = random.getrandbits(32)
    print("seed", seed)
    return Random(seed)


def some_hosts(rng: Random, least: int, most: int) -> list[str]:
    """Some of the hosts, in any order."""
    return [f"host{n}" for n in rng.sample(range(16), rng.randint(least, most))]


def gid(address: str) -> str:
    """An address as NCCL prints its GID: two integers of network-order bytes, in hexadecimal."""
    packed = IPv6Address(f"::ffff:{address}").packed
    return "/".join(f"{int.from_bytes(half, 'little'):X}" for half in (packed[:8], packed[8:]))


def nccl_logs(folder: Path, plan: Scenario, hosts: Sequence[str], tag: str, calls: str) -> None:
    """Write the log every rank of a job would have written; ``calls`` are its calls, in order."""
    folder.mkdir()
    for rank, host in enumerate(hosts):
        head = f"{host}:77:78 [0] NCCL INFO "
        text = [
            f"comm 0xaa rank {rank} nranks {len(hosts)} cudaDev 0 busId 1 commId 0xfeed - Init START"
        ]
        for number, connection in enumerate(plan.plan.connections):
            own, peer = qpns(number)
            if connection.tag == tag and connection.pair.source.startswith(f"{host}:"):
                text.append(
                    f"NET/IB: NCCL Dev 0 IbDev 0 Port 1 qpn {own} mtu 3 GID 1 "
                    f"({gid(connection.source_ip)}) fifoRkey=0x1 fifoLkey=0x1"
                )
                text.append(f"NET/IB: IbDev 0 Port 1 qpn {peer} set_ece={{supported=0}}")
        text += [
            f"{call.replace('#', f'opCount {number:x} sendbuff 0x1 recvbuff 0x2')} op 0 root 0 "
            f"comm 0xaa [nranks={len(hosts)}] stream 0x1"
            for number, call in enumerate(filter(None, calls.split("; ")))
        ]
        (folder / f"{host}.log").write_text("".join(f"{head}{line}\n" for line in text))


def address(plan: Scenario, host: str) -> str:
    """Address of a host's NIC."""
    return plan.plan.address(plan.plan.host_port(host))
