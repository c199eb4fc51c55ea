"""From names to arrays: devices, cables and queue pairs become the engine's state."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fabric.codes import RNR_TIMER_US
from fabric.simulator import state as st


class Cable(NamedTuple):
    """A cable between two ports, written ``device:port``."""

    a: str
    b: str
    bps: int
    delay_ns: int


class Profile(NamedTuple):
    """DCQCN parameters of a NIC family (diagnosis: three families, none is a default of nature)."""

    g: float
    alpha_ns: int
    cut_ns: int
    rise_ns: int
    rise_bytes: int
    fast: int
    ai_bps: float
    hai_bps: float
    min_bps: float
    cnp_ns: int
    clamp: bool  # a cut lowers the goal too; otherwise only the first cut after an increase does
    periodic: bool  # rate and alpha change at the ends of their periods; else when a CNP comes
    echo: bool = False  # ACKs carry the mark back: no CNP, no frame on a wire that says so


PROFILES = {
    # Zhu et al., SIGCOMM 2015, section 5 and table 14
    "paper": Profile(
        1 / 256, 55_000, 0, 55_000, 10_000_000, 5, 40e6, 200e6, 100e6, 50_000, True, False
    ),
    # NVIDIA firmware defaults (DOCA documentation of the rp and np parameters)
    "nic": Profile(
        5 / 1024, 1_000, 4_000, 300_000, 32_767 * 64, 1, 5e6, 50e6, 1e6, 4_000, False, True
    ),
    # what the scripts of HPCC's ns-3 model give plain DCQCN at 100 Gb/s (simulation/run.py)
    "ns3": Profile(1 / 256, 1_000, 4_000, 300_000, 0, 1, 20e6, 200e6, 1e9, 4_000, False, True),
}


@dataclass
class Switching:
    """How every switch of the fabric is set; sizes in bytes."""

    buffer_bytes: int = 16 << 20
    alpha: float = 0.125
    xon_offset_bytes: int = 3072
    reserve_bytes: int = 0  # what each ingress priority owns of the buffer
    headroom_bytes: int = -1  # per port and priority; -1: what speed, delay and MTU demand
    headroom_apart: bool = False  # headroom has memory of its own: the buffer is all shared
    headroom_delays: float = 0.0  # instead: this many one-way delays of each cable
    lossless: tuple[int, ...] = (3,)
    kmin_bytes_100g: int = 100_000
    kmax_bytes_100g: int = 400_000
    pmax: float = 0.2
    refresh: float = (
        0.5  # share of the pause time after which XOFF is said again; 0: never, no expiry
    )
    response_ns: int = 0
    watchdog_detect_ns: int = 0
    watchdog_restore_ns: int = 0
    watchdog_poll_ns: int = 100_000


@dataclass
class QueuePair:
    """One direction of a connection: who sends to whom, by which ports."""

    source: str  # device:port of the sending NIC
    target: str
    paths: Sequence[Sequence[str]]  # egress ports of each way, the NIC's first
    back: Sequence[Sequence[str]]
    priority: int = 3
    reply_priority: int = 3
    cnp_priority: int = 6
    mtu: int = 1024
    ack_every: int = 1
    window_packets: int = 0
    timeout_ns: int = 0
    rate_control: bool = True
    read: bool = False  # the target asks for the data by READ


@dataclass
class Message:
    """One WRITE (or READ) of a queue pair; it begins when all it waits for has been delivered."""

    qp: int
    bytes: int
    earliest_ns: int = 0
    waits_for: Sequence[int] = ()
    think_ns: int = 0
    immediate: bool = True


@dataclass
class Built:
    """The engine's state and the names of what is in it."""

    state: st.State
    ports: list[str]
    port_of: dict[str, int]
    node_of: dict[str, int]
    nodes: list[str]
    rnr: np.ndarray = field(default_factory=lambda: np.array(RNR_TIMER_US, np.int64))

    def make_room(self) -> None:
        """Twice the room for events, where little is left."""
        old = self.state
        if old.whole[st.HEAP_N] + 512 < len(old.heap_time):
            return
        more = np.zeros_like(old.heap_time)
        self.state = old._replace(
            heap_time=np.concatenate([old.heap_time, more]),
            heap_code=np.concatenate([old.heap_code, more]),
        )


def ps_per_byte(bps: int) -> int:
    """Whole picoseconds a byte takes; 8 bits at ``bps``."""
    return max(round(8e12 / bps), 1)


def default_headroom(bps: int, delay_ns: int, mtu: int = 4200) -> int:
    """Bytes still under way after an XOFF: a round trip of the cable and two frames each way."""
    return int(2 * delay_ns * bps / 8e9) + 4 * (mtu + st.OVERHEAD_BYTES)


def _ports(devices: Sequence[tuple[str, bool]], cables: Sequence[Cable]) -> list[str]:
    names: dict[str, list[str]] = {name: [] for name, _ in devices}
    for cable in cables:
        for end in (cable.a, cable.b):
            device = end.partition(":")[0]
            if device not in names:
                raise ValueError(f"cable {cable.a} - {cable.b}: no device for {end}")
            names[device].append(end)
    return [name for device, _ in devices for name in names[device]]


def build(
    devices: Sequence[tuple[str, bool]],
    cables: Sequence[Cable],
    qps: Sequence[QueuePair],
    messages: Sequence[Message],
    switching: Switching,
    profile: Profile,
    *,
    seed: int = 1,
    pool: int = 1 << 17,
    log_rows: int = 1 << 17,
) -> Built:
    """Lay out the arrays; ``devices`` are (name, is a host)."""
    ports = _ports(devices, cables)
    port_of = {name: i for i, name in enumerate(ports)}
    node_of = {name: i for i, (name, _) in enumerate(devices)}
    node = np.zeros(len(devices), st.NODE)
    port = np.zeros(len(ports), st.PORT)
    queue = np.zeros((len(ports), st.PRIORITIES), st.QUEUE)
    _fill_nodes(node, devices, ports, node_of, switching)
    _fill_ports(port, queue, node, ports, node_of, cables, port_of, switching)
    qp, paths, path_at = _fill_qps(qps, port_of, port)
    message, followers = _fill_messages(messages, qp)
    active = np.zeros((len(devices), max(len(qps), 1)), np.int32)
    radix = int(node["ports"].max())
    packet = np.zeros(pool, st.PACKET)
    packet["next"] = np.arange(1, pool + 1)
    packet["next"][-1] = -1
    events = 4 * len(ports) * st.PRIORITIES + 8 * len(qps) + 2 * len(messages) + 4096
    state = st.State(
        port, queue, node, packet, qp, message, active, paths, path_at, followers,
        np.zeros((len(ports) * st.PRIORITIES, radix), np.int64),
        np.zeros(events, np.int64), np.zeros(events, np.int64),
        np.zeros((max(len(qps), 1), 64), np.uint64),
        np.zeros(log_rows, st.TAP), np.zeros(log_rows, st.PROVENANCE),
        np.zeros(log_rows, st.DROP), np.zeros(log_rows, st.PAUSE_LOG),
        np.zeros(st.GLOBALS, np.int64), _parameters(profile, switching),
        np.array([seed * 2654435761 + 88172645463325252], np.uint64),
    )  # fmt: skip
    built = Built(state, ports, port_of, node_of, [name for name, _ in devices])
    _first_events(built, messages, switching)
    return built


def _fill_nodes(
    node: np.ndarray, devices: Sequence[tuple[str, bool]], ports: list[str],
    node_of: dict[str, int], switching: Switching,
) -> None:  # fmt: skip
    node["first_port"] = -1
    for i, name in enumerate(ports):
        device = node_of[name.partition(":")[0]]
        if node["first_port"][device] < 0:
            node["first_port"][device] = i
        node["ports"][device] += 1
    node["host"] = [host for _, host in devices]
    node["ready"] = 1
    node["rnr_code"] = 12
    node["alpha"] = switching.alpha
    node["xon_offset"] = switching.xon_offset_bytes
    node["reserve"] = switching.reserve_bytes
    node["watchdog_detect_ps"] = switching.watchdog_detect_ns * 1000
    node["watchdog_restore_ps"] = switching.watchdog_restore_ns * 1000
    node["drain_xoff"] = 96 * 1024
    node["drain_xon"] = 64 * 1024


def _fill_ports(
    port: np.ndarray, queue: np.ndarray, node: np.ndarray, ports: list[str],
    node_of: dict[str, int], cables: Sequence[Cable], port_of: dict[str, int], switching: Switching,
) -> None:  # fmt: skip
    port["peer"] = -1
    for cable in cables:
        a, b = port_of[cable.a], port_of[cable.b]
        if cable.bps <= 0:
            raise ValueError(f"cable {cable.a} - {cable.b}: speed {cable.bps} bit/s")
        if port["peer"][a] >= 0 or port["peer"][b] >= 0:
            raise ValueError(f"cable {cable.a} - {cable.b}: a port is used twice")
        for one, other in ((a, b), (b, a)):
            port["peer"][one] = other
            port["ps_per_byte"][one] = ps_per_byte(cable.bps)
            port["delay_ps"][one] = cable.delay_ns * 1000
            scale = cable.bps / 100e9
            port["kmin"][one] = int(switching.kmin_bytes_100g * scale)
            port["kmax"][one] = int(switching.kmax_bytes_100g * scale)
            room = switching.headroom_bytes
            if switching.headroom_delays > 0:
                room = round(cable.bps * cable.delay_ns * switching.headroom_delays / 8e9)
            elif room < 0:
                room = default_headroom(cable.bps, cable.delay_ns)
            queue["headroom_limit"][one] = room
    port["nominal_ps_per_byte"] = port["ps_per_byte"]
    port["pmax"] = switching.pmax
    for name in ("flight_head", "flight_tail"):
        port[name] = -1
    port["transmit_at"] = st.NEVER
    port["spare_at"] = -1
    for i, name in enumerate(ports):
        owner = node_of[name.partition(":")[0]]
        port["node"][i] = owner
        port["local"][i] = i - node["first_port"][owner]
        port["host"][i] = node["host"][owner]
    lossless = list(switching.lossless)
    queue["lossless"][:, lossless] = 1
    queue["ecn"][:, lossless] = 1
    for name in ("head", "tail"):
        queue[name] = -1
    for name in ("held_from", "xoff_from", "stuck_from", "free_from", "refresh_at"):
        queue[name] = st.NEVER
    for device in np.flatnonzero(node["host"] == 0):
        first, count = (int(node[name][device]) for name in ("first_port", "ports"))
        reserved = int(queue["headroom_limit"][first : first + count, lossless].sum())
        if switching.headroom_apart:
            reserved = 0
        reserved += switching.reserve_bytes * count * len(lossless)
        node["shared_bytes"][device] = switching.buffer_bytes - reserved
        if switching.buffer_bytes <= reserved:
            raise ValueError(
                f"{ports[first].partition(':')[0]}: headroom of {reserved} bytes leaves nothing of "
                f"a buffer of {switching.buffer_bytes}"
            )


def _fill_qps(
    qps: Sequence[QueuePair], port_of: dict[str, int], port: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    qp = np.zeros(max(len(qps), 1), st.QP)
    paths: list[int] = []
    path_at: list[int] = []
    known: dict[tuple[str, ...], int] = {}

    def lay(ways: Sequence[Sequence[str]]) -> int:
        key = tuple(">".join(way) for way in ways)
        if key not in known:
            known[key] = len(path_at)
            for way in ways:
                path_at.append(len(paths))
                paths.extend(port_of[name] for name in way)
        return known[key]

    for i, pair in enumerate(qps):
        row = qp[i]
        row["source"], row["target"] = port_of[pair.source], port_of[pair.target]
        row["path"], row["paths"] = lay(pair.paths), len(pair.paths)
        row["back"], row["backs"] = lay(pair.back), len(pair.back)
        for name in ("priority", "reply_priority", "cnp_priority", "mtu", "ack_every"):
            row[name] = getattr(pair, name)
        row["rate_control"] = pair.rate_control
        row["read"] = pair.read
        row["window"] = 0 if pair.read else pair.window_packets  # responses are not acknowledged
        row["timeout_ps"] = pair.timeout_ns * 1000
        row["line"] = row["rate"] = row["goal"] = 8e12 / port["ps_per_byte"][row["source"]]
    qp["alpha"] = 1.0
    qp["cut_at"] = -1
    qp["repair"] = -1
    qp["rise_scale"] = 1.0
    qp["timeout_at"] = st.NEVER
    qp["last_cnp"] = -(1 << 60)
    return qp, np.array(paths or [0], np.int32), np.array(path_at or [0], np.int32)


def _fill_messages(messages: Sequence[Message], qp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    message = np.zeros(max(len(messages), 1), st.MESSAGE)
    waiting: list[list[int]] = [[] for _ in messages]
    at: dict[int, int] = {}
    for i, item in enumerate(messages):
        if item.qp in at and messages[i - 1].qp != item.qp:
            raise ValueError(
                f"message {i}: the messages of queue pair {item.qp} must stand together"
            )
        pair, row = qp[item.qp], message[i]
        if item.qp not in at:
            at[item.qp] = 0
            for name in ("first_message", "send_message", "recv_message", "ack_message"):
                pair[name] = i
        pair["messages"] += 1
        row["qp"], row["bytes"] = item.qp, item.bytes
        row["first"] = at[item.qp]
        row["packets"] = max(-(-item.bytes // int(pair["mtu"])), 1)
        at[item.qp] += int(row["packets"])
        row["waits"] = len(item.waits_for)
        row["earliest_ps"] = item.earliest_ns * 1000
        row["think_ps"] = item.think_ns * 1000
        row["immediate"] = item.immediate
        for other in item.waits_for:
            waiting[other].append(i)
    followers: list[int] = []
    for i, list_ in enumerate(waiting):
        message["followers"][i] = len(followers)
        message["followers_n"][i] = len(list_)
        followers.extend(list_)
    for name in ("started", "delivered", "acked"):
        message[name] = -1
    return message, np.array(followers or [0], np.int32)


def _parameters(profile: Profile, switching: Switching) -> np.ndarray:
    values = np.zeros(st.PARAMETERS, np.float64)
    values[st.P_G] = profile.g
    values[st.P_ALPHA_PS] = profile.alpha_ns * 1000
    values[st.P_CUT_PS] = profile.cut_ns * 1000
    values[st.P_RISE_PS] = profile.rise_ns * 1000
    values[st.P_RISE_BYTES] = profile.rise_bytes
    values[st.P_FAST] = profile.fast
    values[st.P_AI] = profile.ai_bps
    values[st.P_HAI] = profile.hai_bps
    values[st.P_MIN_RATE] = profile.min_bps
    values[st.P_CNP_PS] = profile.cnp_ns * 1000
    values[st.P_CLAMP] = profile.clamp
    values[st.P_PERIODIC] = profile.periodic
    values[st.P_ECHO] = profile.echo
    values[st.P_REFRESH] = switching.refresh
    values[st.P_RESPONSE_PS] = switching.response_ns * 1000
    values[st.P_WATCHDOG_PS] = switching.watchdog_poll_ns * 1000
    values[st.P_STORM_PS] = 20_000_000
    return values


def schedule(state: st.State, time_ps: int, kind: int, index: int) -> None:
    """Put an event into the heap from outside the engine."""
    n = int(state.whole[st.HEAP_N])
    code = (kind << st.KIND_SHIFT) | index
    i = n
    while i > 0 and (state.heap_time[(i - 1) >> 2], state.heap_code[(i - 1) >> 2]) > (
        time_ps,
        code,
    ):
        up = (i - 1) >> 2
        state.heap_time[i], state.heap_code[i] = state.heap_time[up], state.heap_code[up]
        i = up
    state.heap_time[i], state.heap_code[i] = time_ps, code
    state.whole[st.HEAP_N] = n + 1


def _first_events(built: Built, messages: Sequence[Message], switching: Switching) -> None:
    for i, item in enumerate(messages):
        if not item.waits_for:
            schedule(built.state, item.earliest_ns * 1000, st.READY, i)
    if switching.watchdog_detect_ns > 0:
        schedule(built.state, switching.watchdog_poll_ns * 1000, st.WATCHDOG, 0)
