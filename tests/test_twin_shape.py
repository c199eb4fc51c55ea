"""The twin shows what independent simulators show: who is paused, who marks, when it begins."""

import pytest

from tests.data import real_data

EXPECTED = {  # run: least overlap of paused and of marking ports
    "healthy_ring-s1": (1.0, 1.0),
    "slow_receiver-s1": (0.9, 0.9),
    "slow_link-s1": (0.9, 0.9),
    "pfc_storm-s1": (0.6, 0.8),
    "incast15-s1": (0.6, 0.6),
    "pfc_ignored-s1": (0.85, 0.7),
    "cbd_deadlock-s1": (0.9, 0.9),
    "ecmp_collision-s1": (1.0, 1.0),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_same_ports_in_the_same_order(name: str) -> None:
    real_data("groundtruth", name)
    from tests.accuracy.compare_twin import compare, overlap

    them, us, _ = compare(name)
    paused, marking = EXPECTED[name]
    assert overlap(them.paused, us.paused) >= paused
    assert overlap(them.marking, us.marking) >= marking
    if them.first_xoff_ns >= 0:
        assert abs(us.first_xoff_ns - them.first_xoff_ns) < 30_000
    assert us.still_paused >= them.still_paused
