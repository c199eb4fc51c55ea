"""How often a rule that was so sure was right: confidence as a share of runs, by kind of evidence.

The curves were fitted by isotonic regression (``python -m tests.accuracy.calibrate DIR...``) on runs of the
project's own simulator that ``docs/accuracy.md`` does not score. ``counted`` is for received pause time
that devices count, ``inferred`` for holds that follow from frames and load. What a rule leaves open (below 0.6)
stays as the rule says it: it is a question, not a share.
"""

from itertools import pairwise
from typing import Final

# (what the rule said, how often it was right), rising
CURVES: Final[dict[str, tuple[tuple[float, float], ...]]] = {
    "counted": (
        (0.6, 0.727), (0.726, 0.727), (0.835, 0.818), (0.874, 0.833), (0.959, 0.974), (1.0, 0.99),
    ),  # 311 incidents
    "inferred": (
        (0.6, 0.6), (0.715, 0.6), (0.82, 0.682), (0.872, 0.823), (0.926, 0.941), (0.975, 0.984),
        (1.0, 0.99),
    ),  # 326 incidents
}  # fmt: skip


def calibrated(sure: float, evidence: str) -> float:
    """Confidence of a rule's own measure, by straight lines between the knots of its curve."""
    for (x0, y0), (x1, y1) in pairwise(CURVES[evidence]):
        if x0 <= sure <= x1:
            return y0 + (y1 - y0) * (sure - x0) / (x1 - x0)
    return sure
