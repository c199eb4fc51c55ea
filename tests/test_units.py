"""The arithmetic against figures computed by hand and published ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric import units
from fabric.codes import MAX_QUANTA, RNR_TIMER_US

GBPS = 1_000_000_000


@pytest.mark.parametrize(
    ("gbps", "quantum", "full_us"),
    [(10, 51.2, 3355.4), (25, 20.48, 1342.2), (40, 12.8, 838.8), (50, 10.24, 671.1),
     (100, 5.12, 335.5), (200, 2.56, 167.8), (400, 1.28, 83.9), (800, 0.64, 41.9)],
)  # fmt: skip
def test_quanta(gbps: int, quantum: float, full_us: float) -> None:
    assert units.quantum_ns(gbps * GBPS) == pytest.approx(quantum)
    assert units.quanta_ns(MAX_QUANTA, gbps * GBPS) / 1000 == pytest.approx(full_us, abs=0.06)


@given(st.integers(0, MAX_QUANTA), st.sampled_from(units.SPEEDS_BPS))
def test_quanta_and_back(quanta: int, speed: int) -> None:
    exact = quanta * 512 * GBPS // speed
    assert units.ns_quanta(exact, speed) <= quanta
    assert abs(units.quanta_ns(quanta, speed) - exact) <= 1
    assert units.ns_quanta(10**12, speed) == MAX_QUANTA


def test_response_quanta() -> None:
    found = {gbps: units.response_quanta(gbps * GBPS) for gbps in (10, 25, 40, 50, 100, 200, 400)}
    assert found == {10: 67, 25: 80, 40: 118, 50: 147, 100: 394, 200: 453, 400: 905}
    assert units.response_quanta(1 * GBPS) == 67  # not listed: the next one above
    assert units.response_quanta(1600 * GBPS) == 905  # above all: the last
    assert units.quanta_ns(394, 100 * GBPS) == 2017


def test_frames_on_the_wire() -> None:
    assert units.on_wire_bytes(60) == 84  # the least frame with its gap
    assert units.on_wire_bytes(20) == 84
    assert units.on_wire_bytes(1514) == 1538
    assert units.serialisation_ns(60, 10 * GBPS) == pytest.approx(67.2)


def test_standard_speeds() -> None:
    assert units.standard_speed(99e9) == 100 * GBPS
    assert units.standard_speed(100e9) == 100 * GBPS
    assert units.standard_speed(100e9 + 1) == 200 * GBPS
    assert units.standard_speed(0) == GBPS
    assert units.standard_speed(9e15) == units.SPEEDS_BPS[-1]


@pytest.mark.parametrize(("metres", "kilobytes"), [(100, 50.5), (300, 151.5), (2000, 1010.1)])
def test_the_cable_term_of_headroom(metres: float, kilobytes: float) -> None:
    room = units.headroom(
        speed_bps=400 * GBPS,
        cable_m=metres,
        mtu_bytes=9216,
        lossless_mtu_bytes=1024,
        cell_bytes=144,
        small_share=0,
    )
    assert room.cable_bytes / 1000 == pytest.approx(kilobytes, abs=0.05)


def test_headroom_term_by_term() -> None:
    room = units.headroom(
        speed_bps=100 * GBPS,
        cable_m=39.6,  # 40,000 bits: 5,000 bytes there and back
        mtu_bytes=9000,
        lossless_mtu_bytes=1500,
        cell_bytes=144,
        small_share=0.5,
        gearbox_bytes=100,
        mac_phy_bytes=400,
        on_tile_bytes=800,
        pipeline_bytes=18_000,
        response=10,
    )
    assert room.cable_bytes == pytest.approx(5000)
    assert room.response_bytes == 640
    assert room.propagation_bytes == pytest.approx(9000 + 5000 + 200 + 400 + 640 + 800)
    assert room.cell_factor == pytest.approx(2.0)  # half as is, half in three cells of 64 bytes
    assert room.xoff_bytes == 33 * 1024  # 1,500 + 2 * 16,040 = 33,580
    assert room.xon_bytes == 18 * 1024
    assert room.size_bytes == room.xoff_bytes + room.xon_bytes


def test_headroom_of_small_cells_and_of_a_shared_pool() -> None:
    def room(*, shared_pool: bool) -> units.Headroom:
        return units.headroom(
            speed_bps=100 * GBPS,
            cable_m=0,
            mtu_bytes=0,
            lossless_mtu_bytes=0,
            cell_bytes=96,
            small_share=1,
            pipeline_bytes=1,
            shared_pool=shared_pool,
        )

    assert room(shared_pool=False).cell_factor == 2  # 97 bytes take two cells of 96
    assert room(shared_pool=False).xoff_bytes == 50 * 1024  # 394 quanta of 64 bytes, doubled
    assert room(shared_pool=True).size_bytes == 1024


def test_transport_timers() -> None:
    assert units.rnr_timer_ns(0) == 655_360_000
    assert units.rnr_timer_ns(25) == 61_440_000
    assert [units.rnr_timer_ns(code) for code in range(1, 32)] == sorted(
        us * 1000 for us in RNR_TIMER_US[1:]
    )
    assert units.ack_timeout_ns(14) == 67_108_864
    assert units.ack_timeout_ns(20) / GBPS == pytest.approx(4.29, abs=0.01)
    assert units.ack_timeout_ns(0) == 0


def test_half_wrap() -> None:
    assert units.half_wrap_ns(4096, 400 * GBPS) / GBPS == pytest.approx(0.69, abs=0.01)
    assert units.half_wrap_ns(1024, 400 * GBPS) / GBPS == pytest.approx(0.17, abs=0.01)
