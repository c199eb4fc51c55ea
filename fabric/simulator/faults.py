"""Faults: what breaks, where, from when to when. Each is a change of the state between two events."""

from collections.abc import Callable
from typing import NamedTuple

from fabric.simulator import state as st
from fabric.simulator.build import Built, ps_per_byte, schedule
from fabric.simulator.run import Change


class Fault(NamedTuple):
    """One entry of a scenario: kind, place (device or device:port), time and size."""

    kind: str
    place: str
    start_ns: int
    end_ns: int = -1  # -1: to the end
    value: float = 1.0


Apply = Callable[[Built, int, float], None]  # (state, port or node, value)


def _now(built: Built) -> int:
    return int(built.state.whole[st.NOW])


def _port(built: Built, place: str) -> int:
    if place in built.port_of:
        return built.port_of[place]
    raise ValueError(f"fault: no port {place}")


def _node(built: Built, place: str) -> int:
    name = place.partition(":")[0]
    if name in built.node_of:
        return built.node_of[name]
    raise ValueError(f"fault: no device {name}")


def _both(built: Built, port: int) -> list[int]:
    return [port, int(built.state.port["peer"][port])]


def _slow_link(built: Built, port: int, share: float) -> None:
    for end in _both(built, port):
        nominal = int(built.state.port["nominal_ps_per_byte"][end])
        built.state.port["ps_per_byte"][end] = round(nominal / share) if share else nominal


def _lossy_link(built: Built, port: int, share: float) -> None:
    for end in _both(built, port):
        built.state.port["loss"][end] = share


def _down(built: Built, port: int, value: float) -> None:
    for end in _both(built, port):
        built.state.port["down"][end] = 1 if value else 0


def _storm(built: Built, node: int, value: float) -> None:
    built.state.node["storming"][node] = 1 if value else 0
    first, count = (int(built.state.node[name][node]) for name in ("first_port", "ports"))
    for port in range(first, first + count):
        schedule(built.state, _now(built), st.STORM, port)


def _slow_receiver(built: Built, node: int, bps: float) -> None:
    built.state.node["drain_ps_per_byte"][node] = ps_per_byte(round(bps)) if bps else 0
    built.state.node["drain_at"][node] = _now(built)


def _flag(name: str, on: int, off: int) -> Apply:
    def apply(built: Built, node: int, value: float) -> None:
        built.state.node[name][node] = on if value else off
        if name == "ready":
            built.state.node["rnr_code"][node] = int(value) if value > 1 else 12

    return apply


def _no_pfc(built: Built, port: int, value: float) -> None:
    """The port no longer asks its peer to stop: PFC disabled on its ingress."""
    lossless = built.state.queue["ecn"].max(axis=0)  # ECN and PFC belong to the same queues
    built.state.queue["lossless"][port] = 0 if value else lossless


def _headroom(built: Built, port: int, bytes_: float) -> None:
    """Too little headroom at an ingress."""
    built.state.queue["headroom_limit"][port] = int(bytes_)


def _no_ecn(built: Built, port: int, value: float) -> None:
    built.state.port["kmin"][port] = st.NEVER if value else built.state.port["kmax"][port] // 4
    if value:
        built.state.port["kmax"][port] = st.NEVER
    else:
        built.state.port["kmax"][port] = 400_000


def _eager_ecn(built: Built, port: int, share: float) -> None:
    """Marks far too early: every packet that finds another one in the queue."""
    built.state.port["kmin"][port] = 0 if share else 100_000
    built.state.port["kmax"][port] = 2_000 if share else 400_000


def _nothing(built: Built, port: int, value: float) -> None:
    """The network works; what is told of it does not (see fabric.simulator.counters)."""


# kind -> (what its place names, how it is applied, value that undoes it)
KINDS: dict[str, tuple[str, Apply, float]] = {
    "degraded_link": ("port", _slow_link, 0.0),
    "lossy_link": ("port", _lossy_link, 0.0),
    "link_down": ("port", _down, 0.0),
    "pfc_storm": ("node", _storm, 0.0),
    "slow_receiver": ("node", _slow_receiver, 0.0),
    "pcie_bottleneck": ("node", _slow_receiver, 0.0),
    "pfc_ignored": ("node", _flag("ignores_pfc", 1, 0), 0.0),
    "receiver_not_ready": ("node", _flag("ready", 0, 1), 0.0),
    "cnp_starvation": ("node", _flag("cnp_off", 1, 0), 0.0),
    "counter_fault": ("port", _nothing, 0.0),
    "no_pfc": ("port", _no_pfc, 0.0),
    "headroom_misconfig": ("port", _headroom, -1.0),
    "ecn_never": ("port", _no_ecn, 0.0),
    "ecn_always": ("port", _eager_ecn, 0.0),
}


def changes(built: Built, faults: list[Fault]) -> list[Change]:
    """The changes that a list of faults makes; an unknown kind or place is a ValueError."""
    made: list[Change] = []
    for fault in faults:
        if fault.kind not in KINDS:
            raise ValueError(f"fault: no kind {fault.kind!r}; known: {', '.join(sorted(KINDS))}")
        what, apply, undo = KINDS[fault.kind]
        at = _port(built, fault.place) if what == "port" else _node(built, fault.place)

        def begin(b: Built, at: int = at, apply: Apply = apply, value: float = fault.value) -> None:
            apply(b, at, value)

        made.append((fault.start_ns, begin))
        if fault.end_ns >= 0:
            old = int(built.state.queue["headroom_limit"][at].max()) if what == "port" else 0
            back = float(old) if fault.kind == "headroom_misconfig" else undo

            def end(b: Built, at: int = at, apply: Apply = apply, value: float = back) -> None:
                apply(b, at, value)

            made.append((fault.end_ns, end))
    return made
