"""The twin against closed forms: what a wire, a buffer and a rate controller must do."""

import numpy as np
import pytest

from fabric.builders import clos2
from fabric.kernel import kernel
from fabric.simulator import state as st
from fabric.simulator.build import PROFILES, Built, Switching, build
from fabric.simulator.faults import Fault, changes
from fabric.simulator.nic import REQUEST_BYTES, cut, settle_rate
from fabric.simulator.plan import Plan, cables_of
from fabric.simulator.run import Keep, simulate
from fabric.simulator.switch import marks
from fabric.simulator.workloads import all_to_all, incast, kv_cache, pipeline, ring, tree
from fabric.topology import Fabric
from fabric.units import headroom

GBPS = 100


# the engine folds these helpers into its loop; here each is a kernel of its own
@kernel
def cut_one(qp, now, parameter):
    cut(qp, 0, now, parameter)


@kernel
def settle_one(qp, now, parameter):
    settle_rate(qp, 0, now, parameter)


@kernel
def count_marks(port, length, tries, random):
    n = 0
    for _ in range(tries):
        n += marks(port, 0, length, random)
    return n


BYTE_PS = 80  # 100 Gb/s
NO_ECN = {"kmin_bytes_100g": 1 << 40, "kmax_bytes_100g": 1 << 41}


def small() -> Fabric:
    return clos2(2, 2, 4, host_gbps=GBPS, uplink_gbps=GBPS)


def lay(plan: Plan, switching: Switching, profile: str = "ns3", seed: int = 1) -> Built:
    devices, cables = cables_of(plan.fabric)
    messages, _ = plan.ordered()
    pairs = [c.pair for c in plan.connections]
    return build(devices, cables, pairs, messages, switching, PROFILES[profile], seed=seed)


def delay_ps(built: Built, way: list[str]) -> int:
    return sum(int(built.state.port["delay_ps"][built.port_of[name]]) for name in way)


def test_one_flow_runs_at_line_rate_to_the_picosecond() -> None:
    plan = Plan(small(), qos={"rate_control": False})
    qp = plan.connect("host0", "host7")
    plan.send(qp, 100 * 1024, immediate=False)
    built = lay(plan, Switching())
    simulate(built, 1_000_000, Keep())
    message = built.state.message[0]
    way = plan.connections[qp].pair.paths[0]
    frame = 58 + 1024 + st.OVERHEAD_BYTES
    first = frame + 16
    # all frames leave one after the other; each hop stores and forwards, the longest first
    expected = (first + 99 * frame) * BYTE_PS + (len(way) - 1) * first * BYTE_PS
    assert message["delivered"] - message["started"] == expected + delay_ps(built, way)


def test_a_read_takes_the_request_and_then_the_data() -> None:
    plan = Plan(small(), qos={"rate_control": False})
    qp = plan.connect("host0", "host7", read=True)  # host7 fetches from host0
    plan.send(qp, 100 * 1024)
    built = lay(plan, Switching())
    simulate(built, 1_000_000, Keep())
    message, pair = built.state.message[0], plan.connections[qp].pair
    wire = 58 + 1024 + st.OVERHEAD_BYTES
    edge = wire + 4  # the first and the last carry an AETH
    hops = len(pair.paths[0])
    request = hops * (REQUEST_BYTES + st.OVERHEAD_BYTES) * BYTE_PS + delay_ps(built, pair.back[0])
    data = (2 * edge + 98 * wire + (hops - 1) * edge) * BYTE_PS + delay_ps(built, pair.paths[0])
    assert message["delivered"] - message["started"] == request + data
    there = built.state.port[built.port_of[pair.target]]
    assert there["rx_bytes"] == 100 * (58 + 1024) + 2 * 4
    assert there["tx_bytes"] == REQUEST_BYTES  # no acknowledgement
    assert built.state.port["read_requests"].sum() == 1


@pytest.mark.parametrize("selective", [0, 1])
def test_reads_survive_loss_of_requests_and_of_responses(selective: int) -> None:
    plan = Plan(clos2(1, 1, 2, host_gbps=GBPS), qos={"timeout_ns": 300_000})
    qp = plan.connect("host0", "host1", read=True)
    for _ in range(400):
        plan.send(qp, 3000)
    built = lay(plan, Switching())
    built.state.node["selective"] = selective
    fault = Fault("lossy_link", str(plan.host_port("host0")), 0, value=0.02)
    keep = Keep()
    simulate(built, 60_000_000, keep, interval_ns=1_000_000, changes=changes(built, [fault]))
    lost = np.concatenate(keep.drops)["kind"]
    assert {st.REQUEST, st.RESPONSE} <= set(lost.tolist())
    assert (built.state.message["delivered"] >= 0).all()
    assert built.state.qp["msn"][0] == 400
    assert built.state.port["implied_nak"].sum() > 0
    assert built.state.whole[st.PACKETS_OUT] == 0


@pytest.mark.parametrize("senders", [2, 3, 4])
def test_flows_over_one_link_share_it_evenly(senders: int) -> None:
    plan = Plan(clos2(1, 1, senders + 1, host_gbps=GBPS), qos={"rate_control": False})
    for i in range(1, senders + 1):
        plan.send(plan.connect(f"host{i}", "host0"), 4 << 20)
    built = lay(plan, Switching(**NO_ECN))
    simulate(built, 400_000, Keep())
    share = built.state.qp["expected"].astype(float)
    assert share.sum() * 1082 * 8 / 400_000 > 90  # Gb/s over the shared link
    assert share.sum() ** 2 / (senders * (share**2).sum()) > 0.99  # Jain's index


def test_incast_fills_the_queue_at_the_surplus_rate() -> None:
    plan = Plan(clos2(1, 1, 5, host_gbps=GBPS), qos={"rate_control": False})
    for i in range(1, 5):
        plan.send(plan.connect(f"host{i}", "host0"), 8 << 20)
    built = lay(plan, Switching(buffer_bytes=1 << 30, alpha=8.0, **NO_ECN))
    keep = Keep()
    simulate(built, 100_000, keep, interval_ns=10_000)
    egress = int(built.state.port["peer"][built.port_of[str(plan.host_port("host0"))]])
    lengths = [int(queue["bytes"][egress, 3]) for _, _, queue in keep.samples]
    payload_share = (1024 + 58) / (1024 + 58 + st.OVERHEAD_BYTES)
    surplus = 3 * GBPS / 8 * payload_share  # bytes per ns: four arrive, one leaves
    grown = (lengths[-1] - lengths[2]) / (keep.samples[-1][0] - keep.samples[2][0])
    assert grown == pytest.approx(surplus, rel=0.01)


def test_a_storm_holds_the_port_for_exactly_its_time() -> None:
    plan = Plan(small())
    plan.send(plan.connect("host0", "host5"), 8 << 20)
    built = lay(plan, Switching())
    storm = Fault("pfc_storm", "host5", 100_000, 300_000)
    keep = Keep()
    simulate(built, 500_000, keep, changes=changes(built, [storm]))
    host = built.port_of[str(plan.host_port("host5"))]
    held = int(built.state.port["peer"][host])
    assert built.state.queue["rx_pause_ps"][held, 3] == pytest.approx(200_000_000, abs=200_000)
    assert built.state.queue["tx_pause_ps"][host, 3] == pytest.approx(200_000_000, abs=200_000)
    moved = [int(q["tx_packets"][held, 3]) for t, _, q in keep.samples if 100_000 < t <= 300_000]
    assert moved[0] == moved[-1]


def test_xoff_that_is_not_renewed_expires_after_its_quanta() -> None:
    plan = Plan(small())
    plan.send(plan.connect("host0", "host5"), 16 << 20)
    built = lay(plan, Switching())
    host = built.port_of[str(plan.host_port("host5"))]
    held = int(built.state.port["peer"][host])
    built.state.parameter[st.P_STORM_PS] = 1e15  # said once, never again
    storm = Fault("pfc_storm", "host5", 100_000)
    simulate(built, 1_000_000, Keep(), changes=changes(built, [storm]))
    assert built.state.queue["rx_pause_ps"][held, 3] == 65535 * 512 * 1000 // GBPS


def _worst_headroom(limit: int) -> tuple[int, int, Built]:
    plan = Plan(clos2(1, 1, 5, host_gbps=GBPS), qos={"rate_control": False})
    for i in range(1, 5):
        plan.send(plan.connect(f"host{i}", "host0"), 4 << 20)
    switching = Switching(buffer_bytes=4 << 20, alpha=0.125, headroom_bytes=limit, **NO_ECN)
    built = lay(plan, switching)
    keep = Keep()
    simulate(built, 300_000, keep, interval_ns=1000)
    peak = max(int(queue["headroom_peak"].max()) for _, _, queue in keep.samples)
    return peak, int(built.state.queue["ingress_drops"].sum()), built


def test_headroom_of_the_formula_never_drops_and_less_than_the_need_does() -> None:
    plan = Plan(clos2(1, 1, 5, host_gbps=GBPS))
    metres = plan.fabric.links[0].length_m
    bound = headroom(
        speed_bps=GBPS * 10**9, cable_m=metres, mtu_bytes=1106, lossless_mtu_bytes=1106,
        cell_bytes=208, small_share=0, response=0,
    ).xoff_bytes  # fmt: skip
    need, drops, _ = _worst_headroom(bound)
    assert drops == 0
    assert 0 < need <= bound
    # the engine is deterministic: exactly the need suffices, a cell below it does not
    assert _worst_headroom(need)[1] == 0
    assert _worst_headroom(need - 208)[1] > 0


def test_dcqcn_rate_after_k_notifications() -> None:
    profile = PROFILES["paper"]
    qp = np.zeros(1, st.QP)
    qp["rate"] = qp["goal"] = qp["line"] = 100e9
    qp["alpha"], qp["cut_at"], qp["rise_scale"] = 1.0, -1, 1
    parameter = np.zeros(st.PARAMETERS)
    parameter[st.P_G], parameter[st.P_ALPHA_PS] = profile.g, profile.alpha_ns * 1000
    parameter[st.P_RISE_PS], parameter[st.P_FAST] = 1e15, 5
    parameter[st.P_CLAMP] = 1
    rate, alpha = 100e9, 1.0
    for k in range(12):
        cut_one(qp, k * 50_000_000, parameter)
        rate *= 1 - alpha / 2
        alpha = (1 - profile.g) * alpha + profile.g
        assert qp["rate"][0] == pytest.approx(rate)
        assert qp["alpha"][0] == pytest.approx(alpha)


@pytest.mark.parametrize("apart_us", [1, 4])
def test_periodic_control_cuts_at_the_end_of_its_periods(apart_us: int) -> None:
    """Alpha looks every us, the rate every 4 us: notified in each us, alpha stays one and rate halves."""
    qp = np.zeros(1, st.QP)
    qp["rate"] = qp["goal"] = qp["line"] = 100e9
    qp["alpha"], qp["cut_at"], qp["rise_scale"] = 1.0, -1, 1
    parameter = np.zeros(st.PARAMETERS)
    gain = 1 / 256
    parameter[st.P_G], parameter[st.P_ALPHA_PS], parameter[st.P_CUT_PS] = gain, 1e6, 4e6
    parameter[st.P_RISE_PS], parameter[st.P_PERIODIC] = 1e15, 1
    for at_us in range(0, 20, apart_us):
        cut_one(qp, at_us * 1_000_000 + 500_000, parameter)
    settle_one(qp, 20_600_000, parameter)
    rate, alpha, heard = (
        100e9,
        1.0,
        range(apart_us, 20, apart_us),
    )  # the first one sets alpha to one
    for us in range(20):
        alpha = (1 - gain) * alpha + (gain if us in heard else 0.0)
        if us % 4 == 3:
            rate *= 1 - alpha / 2
    assert qp["rate"][0] == pytest.approx(rate)
    if apart_us == 1:
        assert rate == pytest.approx(100e9 / 2**5, rel=0.03)


def test_fast_recovery_halves_the_distance_to_the_goal() -> None:
    qp = np.zeros(1, st.QP)
    qp["rate"], qp["goal"], qp["line"] = 50e9, 100e9, 100e9
    qp["cut_at"], qp["rise_scale"] = 0, 1
    parameter = np.zeros(st.PARAMETERS)
    parameter[st.P_RISE_PS], parameter[st.P_FAST] = 55e6, 5
    settle_one(qp, 3 * 55_000_000, parameter)
    assert qp["rate"][0] == pytest.approx(100e9 - 50e9 / 8)


@pytest.mark.parametrize("length", [50_000, 150_000, 250_000, 390_000, 500_000])
def test_marks_follow_the_wred_curve(length: int) -> None:
    port = np.zeros(1, st.PORT)
    port["kmin"], port["kmax"], port["pmax"] = 100_000, 400_000, 0.2
    random = np.array([88172645463325252], np.uint64)
    tries = 40_000
    got = count_marks(port, length, tries, random) / tries
    curve = 0.0 if length <= 100_000 else 1.0 if length > 400_000 else 0.2 * (length - 1e5) / 3e5
    assert abs(got - curve) <= 4 * np.sqrt(max(curve * (1 - curve), 1e-9) / tries)


@pytest.mark.parametrize(("steps_of", "factor"), [(2, 2), (1, 1)])
def test_ring_collectives_move_their_bytes(steps_of: int, factor: int) -> None:
    plan, size, n = Plan(small()), 1 << 20, 8
    ring(plan, [f"host{i}" for i in range(n)], size, steps_of=steps_of)
    built = lay(plan, Switching())
    simulate(built, 5_000_000, Keep())
    assert (built.state.message["delivered"] >= 0).all()
    for qp in range(n):
        mine = built.state.message["qp"] == qp
        assert built.state.message["bytes"][mine].sum() == factor * (n - 1) * (size // n)
        assert built.state.qp["sent_packets"][qp] == built.state.message["packets"][mine].sum()


def test_other_workloads_come_to_their_end() -> None:
    hosts = [f"host{i}" for i in range(8)]
    plan = Plan(small())
    tree(plan, hosts, 1 << 20, iterations=2)
    all_to_all(plan, hosts, 1 << 20, iterations=2)
    pipeline(plan, hosts[:4], 1 << 16)
    kv_cache(plan, hosts[:2], hosts[4:], 1 << 20)
    built = lay(plan, Switching())
    simulate(built, 300_000_000, Keep(), interval_ns=50_000_000)
    assert (built.state.message["delivered"] >= 0).all()


def busy(seed: int) -> tuple[Built, Keep]:
    fabric = small()
    plan = Plan(fabric, seed, qos={"timeout_ns": 500_000})
    ring(plan, [f"host{i}" for i in range(8)], 1 << 20)
    incast(plan, [f"host{i}" for i in range(1, 8)], "host0", 1 << 19, start_ns=50_000)
    built = lay(plan, Switching(buffer_bytes=3 << 20), seed=seed)
    leaf = next(str(p) for p in fabric.ports("leaf0") if fabric.peer(p).device == "spine0")
    keep = Keep()
    fault = Fault("lossy_link", leaf, 0, value=0.003)
    simulate(built, 30_000_000, keep, interval_ns=500_000, changes=changes(built, [fault]))
    return built, keep


@pytest.mark.parametrize("seed", [1, 2])
def test_frames_are_conserved_on_every_link(seed: int) -> None:
    built, keep = busy(seed)
    port, peer = built.state.port, built.state.port["peer"]
    lost = np.zeros(len(port), int)
    for drops in keep.drops:
        on_the_wire = drops[drops["reason"] == st.CORRUPTED]
        np.add.at(lost, peer[on_the_wire["port"]], 1)
    assert (port["flight_head"] == -1).all(), "the run has come to rest"
    assert (port["tx_packets"] == port["rx_packets"][peer] + lost).all()
    assert built.state.whole[st.PACKETS_OUT] == 0
    assert (built.state.share == 0).all()
    assert (built.state.node["shared_used"] == 0).all()
    assert lost.sum() > 0
    assert (built.state.message["delivered"] >= 0).all(), "loss is repaired"


def test_the_same_seed_gives_the_same_run() -> None:
    one, other, third = busy(1)[0], busy(1)[0], busy(2)[0]
    assert (one.state.message == other.state.message).all()
    assert (one.state.message["delivered"] != third.state.message["delivered"]).any()


def test_a_selective_nic_repeats_only_what_is_missing() -> None:
    resent = {}
    for selective in (0, 1):
        plan = Plan(clos2(1, 1, 2, host_gbps=GBPS), qos={"rate_control": False})
        plan.send(plan.connect("host0", "host1"), 4 << 20)
        built = lay(plan, Switching())
        built.state.node["selective"] = selective
        fault = Fault("lossy_link", str(plan.host_port("host0")), 0, value=0.002)
        simulate(built, 3_000_000, Keep(), changes=changes(built, [fault]))
        assert built.state.message["delivered"][0] >= 0
        resent[selective] = int(built.state.qp["resent_packets"][0])
    assert 0 < resent[1] * 3 < resent[0]


def test_watchdog_drops_what_a_storm_holds_and_lets_go_again() -> None:
    plan = Plan(small(), qos={"timeout_ns": 300_000})
    plan.send(plan.connect("host0", "host5"), 4 << 20)
    switching = Switching(
        watchdog_detect_ns=100_000, watchdog_restore_ns=100_000, watchdog_poll_ns=10_000
    )
    built = lay(plan, switching)
    storm = Fault("pfc_storm", "host5", 100_000, 400_000)
    simulate(built, 3_000_000, Keep(), changes=changes(built, [storm]))
    held = int(built.state.port["peer"][built.port_of[str(plan.host_port("host5"))]])
    assert built.state.queue["watchdog_storms"][held, 3] == 1
    assert built.state.queue["watchdog_drops"][held, 3] > 0
    assert not built.state.queue["blocked"][held, 3]
    assert built.state.message["delivered"][0] >= 0


def test_a_slow_receiver_takes_no_more_than_it_drains() -> None:
    plan = Plan(small(), qos={"rate_control": False})
    plan.send(plan.connect("host0", "host5"), 64 << 20)
    built = lay(plan, Switching())
    slow = Fault("slow_receiver", "host5", 0, value=40e9)
    simulate(built, 2_000_000, Keep(), changes=changes(built, [slow]))
    rate = int(built.state.qp["expected"][0]) * 1082 * 8 / 2_000_000
    assert rate == pytest.approx(40, rel=0.03)
    held = int(built.state.port["peer"][built.port_of[str(plan.host_port("host5"))]])
    duty = built.state.queue["rx_pause_ps"][held, 3] / 2e9
    assert 0.4 < duty < 0.75


def test_a_nic_that_ignores_pfc_overruns_headroom() -> None:
    def drops(ignores: int) -> int:
        plan = Plan(clos2(1, 1, 5, host_gbps=GBPS), qos={"rate_control": False})
        for i in range(1, 5):
            plan.send(plan.connect(f"host{i}", "host0"), 4 << 20)
        built = lay(plan, Switching(buffer_bytes=2 << 20, **NO_ECN))
        built.state.node["ignores_pfc"][built.node_of["host1"]] = ignores
        simulate(built, 500_000, Keep())
        return int(built.state.queue["ingress_drops"].sum())

    assert drops(0) == 0
    assert drops(1) > 0


def test_adaptive_routing_spreads_what_a_hash_would_pile_up() -> None:
    def busiest(adaptive: int, *, spray: bool) -> float:
        fabric = clos2(2, 4, 4, host_gbps=GBPS, uplink_gbps=GBPS)
        plan = Plan(fabric, seed=3, spray=spray, qos={"rate_control": False})
        for i in range(4):
            plan.send(plan.connect(f"host{i}", f"host{4 + i}"), 4 << 20)
        built = lay(plan, Switching(**NO_ECN))
        built.state.node["selective"] = 1
        built.state.node["adaptive"] = adaptive
        simulate(built, 200_000, Keep())
        up = [p for p in fabric.ports("leaf0") if (fabric.peer(p) or p).device.startswith("spine")]
        sent = built.state.port["tx_bytes"][[built.port_of[str(p)] for p in up]]
        return float(sent.max() / sent.mean())

    assert busiest(0, spray=False) > 1.3
    assert busiest(0, spray=True) < 1.1
    assert busiest(1, spray=True) < 1.1


def test_the_heap_of_events_neither_grows_without_bound_nor_overflows() -> None:
    """Senders at a thousandth of their rate, and frames of others that pass their ports meanwhile."""
    fabric = clos2(2, 2, 4, host_gbps=GBPS, uplink_gbps=GBPS)
    plan = Plan(fabric, seed=1)
    for i in range(4):
        for _ in range(4):
            plan.send(plan.connect(f"host{i}", f"host{4 + i}"), 1 << 26)
        plan.send(plan.connect(f"host{4 + i}", f"host{i}"), 1 << 26)
    built = lay(plan, Switching(kmin_bytes_100g=1_000, kmax_bytes_100g=2_000), "nic")
    for field in ("rate", "goal", "line"):
        slow = [n for n in range(len(plan.connections)) if n % 5 != 4]
        built.state.qp[field][slow] = 2e7  # a frame every 400 us
    most = 0
    for until_us in range(20, 2000, 20):
        simulate(built, until_us * 1000, Keep(), interval_ns=10**9)
        most = max(most, int(built.state.whole[st.HEAP_N]))
    assert most < 400


def test_a_full_heap_is_enlarged() -> None:
    plan = Plan(small(), 1, qos={"timeout_ns": 500_000})
    ring(plan, [f"host{i}" for i in range(8)], 1 << 20)
    incast(plan, [f"host{i}" for i in range(1, 8)], "host0", 1 << 19, start_ns=50_000)
    built = lay(plan, Switching(buffer_bytes=3 << 20))
    tight = int(built.state.whole[st.HEAP_N]) + 260
    built.state = built.state._replace(
        heap_time=built.state.heap_time[:tight].copy(),
        heap_code=built.state.heap_code[:tight].copy(),
    )
    simulate(built, 30_000_000, Keep(), interval_ns=500_000)
    assert len(built.state.heap_time) > tight
    assert (built.state.message["delivered"] >= 0).all()
