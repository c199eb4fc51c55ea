"""The twin's engine: packet-hops per second, and how its memory grows with simulated time.

The yardstick in the same run is the plainest Python network: a heap of events and a queue per port,
without buffers, pauses, marks or transport. An engine not well ahead of it is not worth its compiler.
"""

import heapq
import resource
import time
from collections import deque

from fabric.builders import clos2
from fabric.simulator import state as st
from fabric.simulator.build import PROFILES, Built, Switching, build
from fabric.simulator.engine import REACHED, run
from fabric.simulator.plan import Plan, cables_of


def prepared(hosts_per_leaf: int = 8, leaves: int = 8) -> Built:
    """64 hosts at 100 Gb/s, each sending to the ninth after it on a spine of its own: no link idles."""
    fabric = clos2(leaves, 8, hosts_per_leaf, host_gbps=100, uplink_gbps=100)
    plan = Plan(fabric)
    hosts = leaves * hosts_per_leaf
    for i in range(hosts):
        to, spine = (i + 9) % hosts, i % hosts_per_leaf
        above = (f"leaf{i // hosts_per_leaf}", f"spine{spine}", f"leaf{to // hosts_per_leaf}")
        way = plan.way_through([f"host{i}", *above, f"host{to}"])
        plan.send(plan.connect(f"host{i}", f"host{to}", ways=[way]), 1 << 30)
    devices, cables = cables_of(fabric)
    messages, _ = plan.ordered()
    pairs = [c.pair for c in plan.connections]
    return build(devices, cables, pairs, messages, Switching(), PROFILES["ns3"])


def engine(duration_ns: int) -> tuple[int, float]:
    """Packet-hops and CPU seconds of ``duration_ns`` simulated."""
    built = prepared()
    run(built.state, 0, built.rnr)
    begin = time.process_time()
    assert run(built.state, duration_ns * 1000, built.rnr) == REACHED
    return int(built.state.whole[st.HOPS]), time.process_time() - begin


def plain(hops: int) -> float:
    """Hops per second of the plainest store-and-forward network in Python: a heap, a queue per port."""
    ports, gap, delay = 512, 88_480, 1_000_000
    queues: list[deque[list[int]]] = [deque() for _ in range(ports)]
    heap: list[tuple[int, int, int, list[int]]] = []
    for i in range(4096):
        heapq.heappush(heap, (i * 21_617, i, i % ports, [i, 0]))
    serial, done = 4096, 0
    begin = time.process_time()
    while done < hops:
        now, _, at, frame = heapq.heappop(heap)
        if frame:  # arrives: join the queue; an idle port begins to send
            queues[at].append(frame)
            frame[1] += 1
            done += 1
            if len(queues[at]) > 1:
                continue
        else:  # sent
            queues[at].popleft()
            if not queues[at]:
                continue
        frame, serial = queues[at][0], serial + 2
        heapq.heappush(heap, (now + gap, serial, at, []))
        heapq.heappush(heap, (now + gap + delay, serial + 1, (at * 31 + 7) % ports, frame))
    return hops / (time.process_time() - begin)


def main() -> None:
    engine(10_000)
    engine(1_000_000)
    peak_small = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    hops, seconds = engine(5_000_000)
    peak_large = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yardstick = plain(300_000)
    print(
        f"simulator, 64 hosts at 100G, 5 ms: {hops / 1e6:.1f} M packet-hops in {seconds:.1f} s CPU"
    )
    print(f"  {hops / seconds / 1e6:.2f} M packet-hops/s (aim 3), 15 s aimed at for the run")
    print(
        f"  {hops / seconds / yardstick:.0f}x the plainest Python network (heap and queues, no buffers, no PFC)"
    )
    print(
        f"  peak memory {peak_small / 1024:.0f} MB after 1 ms, {peak_large / 1024:.0f} MB after 5 ms"
    )


if __name__ == "__main__":
    main()
