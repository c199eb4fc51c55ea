"""The tracker against the injector: no wrong verdict, and almost everything decidable is decided.

A few thousand faults run with the other tests; ``FABRIC_SEQUENCE_EVENTS`` sets another number (CI runs
100,000). The seeds are the same each time, so that a change answers for what it changed; ``make
accuracy`` draws new ones, prints them, and injects a million.
"""

import os
from collections.abc import Sequence

import pytest

from tests.injector.packets import Packet
from tests.injector.score import Event
from tests.sequence_accuracy import FIXED_SEED, judge_kernel, measure, verdict

EVENTS = int(os.environ.get("FABRIC_SEQUENCE_EVENTS", "0"))
SHORT = 3000


@pytest.mark.timeout(900)
def test_verdicts_against_what_was_injected(capsys: pytest.CaptureFixture[str]) -> None:
    score = measure(judge_kernel, EVENTS or SHORT, FIXED_SEED)
    with capsys.disabled():
        if EVENTS:
            print(f"\n{score.table()}")
    assert verdict(score) == "", f"{score.table()}\n" + "\n".join(score.examples[:20])


def test_a_tracker_that_says_nothing_fails() -> None:
    assert "not told" in verdict(measure(lambda packets, speed_bps: [], 300, FIXED_SEED))


def test_a_tracker_that_guesses_fails() -> None:
    def guess(packets: Sequence[Packet], speed_bps: int) -> list[Event]:
        return [event._replace(place="upstream") for event in judge_kernel(packets, speed_bps)]

    assert "wrong" in verdict(measure(guess, 300, FIXED_SEED))
