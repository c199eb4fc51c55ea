"""Fit the curves of :mod:`analyzers.diagnosis.calibration` on labelled runs.

    .venv/bin/python -m tests.accuracy.calibrate DIR... [--seed N]

Each run is masked as tiers a and b are; every incident is held against the label, class and place. Pool
adjacent violators (Barlow et al., 1972) gives the rising curve; a bin holds at least twenty incidents, and
one right and one wrong one are added to each, so that no share is 0 or 1. Prints the table to paste.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from analyzers.diagnosis.judge import judge
from dashboards.score.masks import Mask, masked
from dashboards.score.outcome import DECIDED, judged
from dashboards.score.suite import counters_of
from dashboards.score.truth import Truth, find
from fabric.inventory import load

LEAST = 20
EVIDENCE = {"a": "inferred", "b": "counted"}


def said(truth: Truth, tier: str, seed: int) -> list[tuple[float, bool]]:
    """What the rules said of a run before calibration, and whether it was right."""
    fabric = load([truth.folder / "topology.json"]).fabric
    counters = masked(counters_of(truth), set(truth.hosts), Mask(tier, nominal=True), seed)
    rows = [
        {
            "cls": cause.cls,
            "roots": [f"{verdict.case.name(x)}:0" for x in cause.roots],
            "confidence": cause.sure,
        }
        for verdict in judge(counters, fabric)
        for cause in verdict.causes
    ]
    return judged(truth, rows)


def isotonic(pairs: Sequence[tuple[float, bool]]) -> list[tuple[float, float]]:
    """Knots of the rising curve that fits best: mean of what was said, share that was right."""
    ordered = sorted(pairs)
    bins: list[list[float]] = []  # said, right, count
    for start in range(0, len(ordered), LEAST):
        some = ordered[start : start + LEAST]
        bins.append([sum(x for x, _ in some), float(sum(y for _, y in some)), float(len(some))])
        while len(bins) > 1 and _share(bins[-2]) >= _share(bins[-1]):
            last = bins.pop()
            bins[-1] = [a + b for a, b in zip(bins[-1], last, strict=True)]
    return [(said / count, _share([said, right, count])) for said, right, count in bins]


def _share(one: list[float]) -> float:
    return (one[1] + 1) / (one[2] + 2)


def curve(pairs: Sequence[tuple[float, bool]]) -> tuple[tuple[float, float], ...]:
    """The curve of what is decided, rounded; what a rule leaves open stays as it says it."""
    knots = isotonic([pair for pair in pairs if pair[0] >= DECIDED])
    top = max(knots[-1][1], 0.99 if knots[-1][1] > 0.97 else knots[-1][1])
    whole = [(DECIDED, max(knots[0][1], DECIDED)), *knots, (1.0, top)]
    return tuple((round(x, 3), max(round(y, 3), DECIDED)) for x, y in whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    truths = find(options.folders)
    for tier, evidence in EVIDENCE.items():
        pairs = [
            pair
            for number, truth in enumerate(truths)
            for pair in said(truth, tier, options.seed + number)
        ]
        print(f'    "{evidence}": {curve(pairs)},  # {len(pairs)} incidents')


if __name__ == "__main__":
    main()
