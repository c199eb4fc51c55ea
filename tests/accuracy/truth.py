"""Whether a drawn fault did what its label says, by the engine's own account of the run.

No detector and no threshold of the analysis comes in here: queues that grew because of a port
(provenance), frames that were lost there and why, pauses obeyed, packets sent again. Where a label
names ports of which only some took part, the others are struck out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fabric.simulator import state as st
from fabric.simulator.build import Built
from fabric.simulator.run import settled_pauses
from fabric.simulator.scenario import Scenario

NATURAL = 0.01  # share of a run that a port may be held without anything being wrong


class Run(NamedTuple):
    """A finished run."""

    scenario: Scenario
    built: Built
    label: dict[str, Any]

    def at(self, port: str) -> int:
        """Number of a port."""
        return self.built.port_of[port]

    def count(self, field: str, port: str) -> int:
        """A counter of the port, over its priorities where it has them."""
        state = self.built.state
        if field in (state.port.dtype.names or ()):
            return int(state.port[field][self.at(port)])
        return int(state.queue[field][self.at(port)].sum())

    def held_ns(self, port: str) -> int:
        """How long the port's egress was held by its peer."""
        now = int(self.built.state.whole[st.NOW])
        return int(settled_pauses(self.built, now)[0][self.at(port)].sum()) // 1000

    def because(self, port: str) -> int:
        """XOFFs that were sent because of bytes waiting for this port."""
        edges = self.label["observed_from_simulator"]["pfc_tree_edges"]
        return sum(edge["xoffs"] for edge in edges if edge["because_of"] == port)

    def lost(self, port: str, *why: str) -> int:
        """Frames lost at a port."""
        drops = self.label["observed_from_simulator"]["drops"]
        return sum(d["frames"] for d in drops if d["port"] == port and d["reason"] in why)

    def of_host(self, field: str, host: str, end: str = "source") -> np.ndarray:
        """A field of the queue pairs that send from (or to) a host."""
        state = self.built.state
        node = self.built.node_of[host]
        return np.asarray(state.qp[field][state.port["node"][state.qp[end]] == node])

    def peer(self, port: str) -> str:
        """The port at the other end of the cable."""
        return self.built.ports[int(self.built.state.port["peer"][self.at(port)])]


Fault = dict[str, Any]
Check = Callable[[Run, Fault], bool]


def _span_ns(fault: Fault) -> int:
    begin, end = fault["window_ns"]
    return int(end) - int(begin)


def _any(fault: Fault, test: Callable[[str], bool]) -> bool:
    """Whether some root port passes; the others are struck from the label."""
    fault["root_ports"] = [port for port in fault["root_ports"] if test(port)]
    return bool(fault["root_ports"])


def _host(fault: Fault) -> str:
    return str(fault["root_ports"][0]).partition(":")[0]


def _contention(run: Run, fault: Fault) -> bool:
    root = fault["root_ports"][0]
    return run.count("ecn_marked", root) > 0 and run.because(root) == 0


def _congested(run: Run, fault: Fault) -> bool:
    root = fault["root_ports"][0]
    return run.count("ecn_marked", root) > 0 or run.because(root) > 0


def _backpressure(run: Run, fault: Fault) -> bool:
    return run.because(fault["root_ports"][0]) > 1


def _storm(run: Run, fault: Fault) -> bool:
    """Somebody's data waited for the storming host; its other ports stood behind nothing."""
    span = _span_ns(fault)
    return _any(
        fault,
        lambda port: (
            run.held_ns(run.peer(port)) > 0.8 * span
            and (run.because(run.peer(port)) > 0 or run.count("bytes", run.peer(port)) > 0)
        ),
    )


def _slow(run: Run, fault: Fault) -> bool:
    span = _span_ns(fault)
    return _any(fault, lambda port: 0.03 * span < run.held_ns(run.peer(port)) < 0.97 * span)


def _not_ready(run: Run, fault: Fault) -> bool:
    return _any(fault, lambda port: run.count("out_of_buffer", port) > 0)


def _deadlock(run: Run, fault: Fault) -> bool:
    """Every port of the cycle has been held with data waiting, without a break, to the end."""
    state, now = run.built.state, int(run.built.state.whole[st.NOW])
    since = []
    for port in fault["root_ports"]:
        queue = state.queue[run.at(port)]
        held = (queue["held_from"] < 0.85 * now) & (queue["paused_until"] > now)
        frozen = held & (queue["bytes"] > 0)
        if not frozen.any():
            return False
        since.append(int(queue["held_from"][frozen].min()) // 1000)
    fault["window_ns"][0], fault["deadlock_locked_at_ns"] = min(since), max(since)
    return True


def _victim(run: Run, fault: Fault) -> bool:
    return _any(fault, lambda port: run.held_ns(port) > 0.05 * _span_ns(fault))


def _collision(run: Run, fault: Fault) -> bool:
    """The uplink is congested and has an idle sibling."""
    root = fault["root_ports"][0]
    device = root.partition(":")[0]
    switch = [p for p in run.built.ports if p.startswith(device + ":")]
    fabric = [p for p in switch if not run.built.state.port["host"][run.at(run.peer(p))]]
    sent = {port: run.count("tx_bytes", port) / _bps(run, port) for port in fabric}
    return _congested(run, fault) and min(sent.values()) < 0.5 * sent[root]


def _bps(run: Run, port: str) -> float:
    return 8e12 / float(run.built.state.port["nominal_ps_per_byte"][run.at(port)])


def _polarized(run: Run, fault: Fault) -> bool:
    """Uplinks of the second tier of which one carries what was meant for all."""
    busiest = []
    spines = {p.partition(":")[0] for p in fault["root_ports"] if p.startswith("spine")}
    for spine in spines:
        up = [
            p
            for p in run.built.ports
            if p.startswith(spine + ":") and run.peer(p).startswith("core")
        ]
        sent = [run.count("tx_bytes", port) for port in up]
        if sum(sent) > 1_000_000 and max(sent) > 0.9 * sum(sent):
            busiest.append(up[int(np.argmax(sent))])
    fault["root_ports"] = sorted(busiest)
    return bool(busiest)


def _corrupted(run: Run, fault: Fault) -> bool:
    return sum(run.count("rx_crc_errors", port) for port in fault["root_ports"]) >= 3


def _dropped(run: Run, fault: Fault) -> bool:
    return _any(fault, lambda port: run.lost(port, "no_headroom") > 0)


def _watchdog(run: Run, fault: Fault) -> bool:
    ports = [p for p in fault["root_ports"] if run.count("watchdog_drops", p) > 0]
    fault["root_ports"] = [end for port in ports for end in (run.peer(port), port)]
    return bool(ports)


def _ignored(run: Run, fault: Fault) -> bool:
    return _any(fault, lambda port: run.lost(run.peer(port), "no_headroom") > 0)


def _marks(run: Run, fault: Fault) -> bool:
    """Never: the queue grew until PFC stepped in, unmarked. Always: marks, and no queue that earns them."""
    root = fault["root_ports"][0]
    if fault["kind"] == "ecn_never":
        return run.because(root) > 0 and run.count("ecn_marked", root) == 0
    return run.count("ecn_marked", root) > 20 and run.because(root) == 0


def _starved(run: Run, fault: Fault) -> bool:
    return _any(
        fault, lambda port: run.count("rx_ce", port) > 50 and run.count("tx_cnp", port) == 0
    )


def _throttled(run: Run, fault: Fault) -> bool:
    """A sender that was told once and still sends at less than a third of its line, with data left."""
    host = _host(fault)
    rate, line = run.of_host("rate", host), run.of_host("line", host)
    left = run.of_host("una", host) < run.of_host("limit", host)
    return bool(((run.of_host("cnps", host) > 0) & left & (rate < 0.33 * line)).any())


def _tail(run: Run, fault: Fault) -> bool:
    port, ports = run.built.state.port, [run.at(p) for p in fault["root_ports"]]
    told = int(port["out_of_sequence"].sum())
    return int(port["ack_timeout"].sum()) >= 2 > told and port["rx_crc_errors"][ports].sum() > 0


def _reordered(run: Run, fault: Fault) -> bool:
    return int(run.built.state.port["out_of_sequence"].sum()) > 20 and not _losses(run)


def _losses(run: Run) -> bool:
    return bool(run.label["observed_from_simulator"]["drops"])


def _always(run: Run, fault: Fault) -> bool:
    """A change of the workload itself: there is nothing that could have failed to happen."""
    return _span_ns(fault) > 0 and bool((run.built.state.message["delivered"] >= 0).any())


def _hotspot(run: Run, fault: Fault) -> bool:
    between = [
        p for p in fault["root_ports"] if not run.built.state.port["host"][run.at(run.peer(p))]
    ]
    fault["root_ports"] = between
    return bool(between)


def _crossing(run: Run, fault: Fault) -> bool:
    return _any(fault, lambda port: run.count("tx_bytes", port) > 100_000)


def _degraded(run: Run, fault: Fault) -> bool:
    if fault["kind"] == "link_down":
        return sum(run.lost(port, "link_down") for port in fault["root_ports"]) > 0
    return any(
        run.count("ecn_marked", port) > 0 or run.because(port) > 0 for port in fault["root_ports"]
    )


def _frozen(run: Run, fault: Fault) -> bool:
    share = _span_ns(fault) / run.scenario.duration_ns
    root = fault["root_ports"][0]
    return (run.count("tx_bytes", root) + run.count("rx_bytes", root)) * share > 500_000


def _livelock(run: Run, fault: Fault) -> bool:
    host = fault["root_ports"]
    hosts = {p.partition(":")[0] for p in host if run.built.state.port["host"][run.at(p)]}
    for name in hosts:
        sent, again = run.of_host("sent_packets", name), run.of_host("resent_packets", name)
        if (again > 0.3 * np.maximum(sent, 1)).any():
            return True
    return False


CHECKS: dict[str, Check] = {
    "contention": _contention,
    "incast": _congested,
    "pfc_backpressure": _backpressure,
    "pfc_storm": _storm,
    "slow_receiver": _slow,
    "pcie_bottleneck": _slow,
    "receiver_not_ready": _not_ready,
    "deadlock": _deadlock,
    "deadlock_fed": _deadlock,
    "victim": _victim,
    "ecmp_collision": _collision,
    "polarization": _polarized,
    "lossy_link": _corrupted,
    "congestion_drop": _dropped,
    "watchdog_drop": _watchdog,
    "headroom_misconfig": _dropped,
    "pfc_ignored": _ignored,
    "ecn_misconfig": _marks,
    "cnp_starvation": _starved,
    "over_throttle": _throttled,
    "tail_loss": _tail,
    "reordering": _reordered,
    "sender_late": _always,
    "receiver_late": _always,
    "collective_hotspot": _hotspot,
    "rail_misplacement": _crossing,
    "degraded_link": _degraded,
    "counter_fault": _frozen,
    "livelock": _livelock,
    "hostile_burst": _congested,
}


def seen(scenario: Scenario, built: Built, label: dict[str, Any], fault: Fault) -> bool:
    """Whether a fault of the label took effect; its root ports are narrowed to those that took part."""
    return CHECKS[fault["cls"]](Run(scenario, built, label), fault)


def calm(scenario: Scenario, built: Built, label: dict[str, Any], *, planned: bool) -> bool:
    """Whether nothing is wrong: no loss, and (but for a planned collective) no pause worth the name."""
    run = Run(scenario, built, label)
    most = max(run.held_ns(port) for port in built.ports)
    return not _losses(run) and (planned or most <= NATURAL * scenario.duration_ns)
