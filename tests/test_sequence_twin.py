"""The compiled tracker says what the slow and obvious one says, of traffic with and without faults.

Every column of every event, every packet's mark and every round trip. ``FABRIC_SEQUENCE_CAPTURES`` sets
how many captures of some ten thousand packets are drawn at run time besides the fixed ones.
"""

import os
import random
from collections import Counter

import pytest

from tests.injector import faults
from tests.injector.capture import SPEED_BPS, Capture, make_capture
from tests.sequence_rig import Rig
from tests.twin_sequence import Twin

DRAWN = int(os.environ.get("FABRIC_SEQUENCE_CAPTURES", "2"))
# the drawn ones are drawn inside the test: workers of one run must collect the same tests
SEEDS = [*range(6), *(f"drawn{n}" for n in range(DRAWN))]


def chosen(seed: int | str) -> int:
    """A fixed seed, or one drawn now; a difference names it."""
    return seed if isinstance(seed, int) else random.getrandbits(32)


def differences(capture: Capture) -> str:
    """What the two say differently; empty where they agree."""
    kernel = Rig(capture.packets, SPEED_BPS).run()
    twin = Twin(SPEED_BPS).run(capture.packets)
    ours, theirs = Counter(kernel.events), Counter(twin.events)
    lines = [f"only the tracker: {event}" for event in ours - theirs]
    lines += [f"only the twin: {event}" for event in theirs - ours]
    for name, mine, other in (("mark", kernel.marks, twin.marks), ("rtt", kernel.rtts, twin.rtts)):
        lines += [
            f"{name} of frame {n + 1}: tracker {mine[n]}, twin {other[n]}"
            for n in range(len(mine))
            if mine[n] != other[n]
        ]
    return "\n".join(
        [f"seed {capture.seed}: {len(lines)} differences", *lines[:20]] if lines else []
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_on_one_fault_at_a_time(seed: int | str) -> None:
    assert differences(make_capture(chosen(seed), pairs=8, bursts=12)) == ""


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_on_everything_at_once(seed: int | str) -> None:
    assert differences(make_capture(chosen(seed), pairs=8, bursts=6, chosen=[faults.chaos])) == ""


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_equal_without_faults_and_no_events(seed: int | str) -> None:
    capture = make_capture(chosen(seed), pairs=8, bursts=6, chosen=[faults.nothing])
    assert differences(capture) == ""
    kinds = {event.kind for event in Twin(SPEED_BPS).run(capture.packets).events}
    assert kinds <= {"qpn_reuse", "hole"}


@pytest.mark.parametrize("window", [1, 61, 1000])
def test_how_packets_are_cut_into_windows_changes_nothing(window: int) -> None:
    capture = make_capture(1, pairs=4, bursts=6)
    whole, cut = Rig(capture.packets, SPEED_BPS).run(), Rig(capture.packets, SPEED_BPS).run(window)
    assert whole == cut


@pytest.mark.parametrize("speed_bps", [0, 10_000_000_000])
def test_equal_at_other_speeds(speed_bps: int) -> None:
    capture = make_capture(2, pairs=8, bursts=4)
    kernel, twin = Rig(capture.packets, speed_bps).run(), Twin(speed_bps).run(capture.packets)
    assert sorted(kernel.events) == sorted(twin.events)
