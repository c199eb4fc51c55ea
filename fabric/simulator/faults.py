"""Faults: what breaks, where, from when to when. Each is a change of the state between two events."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fabric.simulator import state as st
from fabric.simulator.build import Built, ps_per_byte, schedule
from fabric.simulator.run import Change


class Fault(NamedTuple):
    """One entry of a scenario: kind, place (device or device:port), time and size.

    ``cls`` is the class of cause in the label where it is not that of the kind, ``roots`` its ports
    where they are not those of the place. A ``trigger`` is no cause: without it another one would not
    show.
    """

    kind: str
    place: str
    start_ns: int
    end_ns: int = -1  # -1: to the end
    value: float = 1.0
    cls: str = ""
    roots: tuple[str, ...] = ()
    trigger: bool = False


Undo = Callable[[], None]
Apply = Callable[[Built, int, float], Undo]  # (state, port or node, value)


def _put(table: np.ndarray, at: int | list[int], **values: object) -> Undo:
    """Set fields of a row or of rows; what is returned puts back what was there."""
    old = {name: table[name][at].copy() for name in values}

    def write(these: dict[str, object]) -> None:
        for name, value in these.items():
            table[name][at] = value

    write(values)
    return lambda: write(dict(old))


def _all(*undos: Undo) -> Undo:
    def undo() -> None:
        for one in undos:
            one()

    return undo


def _ports(built: Built, node: int) -> list[int]:
    first, count = (int(built.state.node[name][node]) for name in ("first_port", "ports"))
    return list(range(first, first + count))


def _both(built: Built, port: int) -> list[int]:
    return [port, int(built.state.port["peer"][port])]


def _slow_link(built: Built, port: int, share: float) -> Undo:
    ends, table = _both(built, port), built.state.port
    slower = [round(int(table["nominal_ps_per_byte"][end]) / share) for end in ends]
    return _put(table, ends, ps_per_byte=slower)


def _lossy_link(built: Built, port: int, share: float) -> Undo:
    return _put(built.state.port, _both(built, port), loss=share)


def _down(built: Built, port: int, value: float) -> Undo:
    return _put(built.state.port, _both(built, port), down=int(value > 0))


def _storm(built: Built, node: int, value: float) -> Undo:
    def tell() -> None:
        for port in _ports(built, node):
            schedule(built.state, int(built.state.whole[st.NOW]), st.STORM, port)

    undo = _put(built.state.node, node, storming=int(value > 0))
    tell()
    return _all(undo, tell)


def _slow_receiver(built: Built, node: int, bps: float) -> Undo:
    built.state.node["drain_at"][node] = int(built.state.whole[st.NOW])
    return _put(built.state.node, node, drain_ps_per_byte=ps_per_byte(round(bps)))


def _slow_pci(built: Built, node: int, bps: float) -> Undo:
    limited = _put(built.state.node, node, pci_limited=1)
    return _all(limited, _slow_receiver(built, node, bps))


def _not_ready(built: Built, node: int, code: float) -> Undo:
    return _put(built.state.node, node, ready=0, rnr_code=int(code) if code > 1 else 12)


def _flag(name: str) -> Apply:
    def apply(built: Built, node: int, value: float) -> Undo:
        return _put(built.state.node, node, **{name: int(value > 0)})

    return apply


def _no_pfc(built: Built, port: int, _value: float) -> Undo:
    """The port no longer asks its peer to stop: PFC disabled on its ingress."""
    return _put(built.state.queue, port, lossless=0)


def _headroom(built: Built, port: int, bytes_: float) -> Undo:
    """Too little headroom at an ingress."""
    return _put(built.state.queue, port, headroom_limit=int(bytes_))


def _no_ecn(built: Built, port: int, _value: float) -> Undo:
    return _put(built.state.port, port, kmin=st.NEVER, kmax=st.NEVER)


def _eager_ecn(built: Built, port: int, _value: float) -> Undo:
    """Marks far too early: every packet that finds another one in the queue."""
    return _put(built.state.port, port, kmin=0, kmax=2_000)


def _throttled(built: Built, node: int, times: float) -> Undo:
    """The senders of a host recover this many times more slowly from a cut than their parameters say."""
    mine = np.flatnonzero(np.isin(built.state.qp["source"], _ports(built, node)))
    return _put(built.state.qp, mine.tolist(), rise_scale=times)


def _nothing(_built: Built, _port: int, _value: float) -> Undo:
    """The network works; what is told of it does not (see fabric.simulator.counters)."""
    return lambda: None


# kind -> (what its place names, how it is applied)
KINDS: dict[str, tuple[str, Apply]] = {
    "degraded_link": ("port", _slow_link),
    "lossy_link": ("port", _lossy_link),
    "link_down": ("port", _down),
    "pfc_storm": ("node", _storm),
    "slow_receiver": ("node", _slow_receiver),
    "pcie_bottleneck": ("node", _slow_pci),
    "pfc_ignored": ("node", _flag("ignores_pfc")),
    "receiver_not_ready": ("node", _not_ready),
    "cnp_starvation": ("node", _flag("cnp_off")),
    "livelock": ("node", _flag("go_back_zero")),
    "over_throttle": ("node", _throttled),
    "counter_fault": ("port", _nothing),
    "no_pfc": ("port", _no_pfc),
    "headroom_misconfig": ("port", _headroom),
    "ecn_never": ("port", _no_ecn),
    "ecn_always": ("port", _eager_ecn),
}


def _place(built: Built, what: str, place: str) -> int:
    if what == "port":
        if place in built.port_of:
            return built.port_of[place]
        raise ValueError(f"fault: no port {place}")
    name = place.partition(":")[0]
    if name in built.node_of:
        return built.node_of[name]
    raise ValueError(f"fault: no device {name}")


def changes(built: Built, faults: list[Fault]) -> list[Change]:
    """The changes that a list of faults makes; an unknown kind or place is a ValueError."""
    made: list[Change] = []
    for fault in faults:
        if fault.kind not in KINDS:
            raise ValueError(f"fault: no kind {fault.kind!r}; known: {', '.join(sorted(KINDS))}")
        what, apply = KINDS[fault.kind]
        at = _place(built, what, fault.place)
        undo: list[Undo] = []

        def begin(
            b: Built, at: int = at, apply: Apply = apply, value: float = fault.value,
            undo: list[Undo] = undo,
        ) -> None:  # fmt: skip
            undo.append(apply(b, at, value))

        def end(_: Built, undo: list[Undo] = undo) -> None:
            undo.pop()()

        made.append((fault.start_ns, begin))
        if fault.end_ns >= 0:
            made.append((fault.end_ns, end))
    return made
