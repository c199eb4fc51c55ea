"""How often the tracker's verdicts are right: ``python -m tests.sequence_accuracy --events 1000000``.

Prints, for each kind of truth, how many were decidable by one tap, how many of these were told rightly,
left undetermined or not told, how many verdicts were wrong, and how many of those that one tap
cannot decide were told all the same, and rightly. Ends with status 1 where a verdict was wrong or more
than one in a hundred decidable ones was not told. Seeds are drawn when it runs, and printed.
"""

import argparse
import secrets
import sys
from collections.abc import Callable, Sequence

from tests.injector.capture import SPEED_BPS, make_capture
from tests.injector.packets import Packet
from tests.injector.score import Event, Score

FIXED_SEED = 20_000
PAIRS, BURSTS = 12, 16
STEP = 100_000  # events between two lines of a log
MOST_UNTOLD = 0.01  # of what one tap can decide

Judge = Callable[[Sequence[Packet], int], list[Event]]


def judge_kernel(packets: Sequence[Packet], speed_bps: int) -> list[Event]:
    """What the compiled tracker says."""
    from tests.sequence_rig import Rig

    return [Event(*event[:6]) for event in Rig(packets, speed_bps).run().events]


def judge_twin(packets: Sequence[Packet], speed_bps: int) -> list[Event]:
    """What the slow and obvious form says."""
    from tests.twin_sequence import Twin

    return [Event(*event[:6]) for event in Twin(speed_bps).run(packets).events]


def measure(
    judge: Judge, events: int, first_seed: int, told: Callable[[Score], None] = lambda score: None
) -> Score:
    """Captures until ``events`` faults were injected, from ``first_seed`` on."""
    score, seed = Score(), first_seed
    while score.injected < events:
        capture = make_capture(seed, PAIRS, BURSTS)
        score.add(capture, judge(capture.packets, SPEED_BPS))
        seed += 1
        told(score)
    return score


def verdict(score: Score) -> str:
    """Why the accuracy is not good enough; empty where it is."""
    if score.wrong:
        return f"{score.wrong.total()} wrong verdicts"
    untold = score.undetermined.total() + score.missing.total()
    if untold > MOST_UNTOLD * score.decidable.total():
        return f"{untold} of {score.decidable.total()} decidable ones not told"
    return ""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000, help="faults to inject")
    parser.add_argument("--seed", type=int, default=None, help="first seed; drawn where absent")
    parser.add_argument("--twin", action="store_true", help="ask the slow and obvious form instead")
    options = parser.parse_args()
    seed = secrets.randbits(32) if options.seed is None else options.seed
    print(f"seeds from {seed}", flush=True)

    shown = 0

    def told(score: Score) -> None:
        nonlocal shown
        if sys.stderr.isatty():
            print(f"\r{score.injected:,} of {options.events:,}", end="", file=sys.stderr)
        elif score.injected >= shown + STEP:  # a log: a line now and then
            shown = score.injected
            print(f"{shown:,} of {options.events:,}, {score.wrong.total()} wrong", flush=True)

    score = measure(judge_twin if options.twin else judge_kernel, options.events, seed, told)
    print(f"\n{score.injected:,} faults injected into {score.packets:,} packets\n")
    print(score.table())
    print("\nfaults: " + ", ".join(f"{name} {n:,}" for name, n in sorted(score.faults.items())))
    for example in score.examples[:20]:
        print(example)
    problem = verdict(score)
    print(problem or "no wrong verdict")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
