"""Figures over many runs: n of N with Wilson intervals, precision, recall, F1, confusion matrix."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median

from dashboards.score.outcome import Answer, Outcome
from dashboards.score.truth import ANSWERS


def wilson(n: float, of: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson, JASA 22, 1927); (0, 1) of nothing."""
    if not of:
        return 0.0, 1.0
    share = n / of
    middle = share + z * z / (2 * of)
    spread = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    below = 1 + z * z / of
    return max((middle - spread) / below, 0.0), min((middle + spread) / below, 1.0)


def f1(counts: Iterable[tuple[int, int, int]]) -> float:
    """F1 of (right, wrong, missed) summed over runs; NaN where there is nothing to find."""
    right, wrong, missed = (sum(column) for column in zip(*counts, strict=True))
    total = 2 * right + wrong + missed
    return 2 * right / total if total else math.nan


def calibration_error(pairs: Sequence[tuple[float, bool]], bins: int = 10) -> float:
    """Expected calibration error: mean distance of stated confidence and share right, by bins."""
    sums: defaultdict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for sure, right in pairs:
        one = sums[min(int(sure * bins), bins - 1)]
        one[0] += sure
        one[1] += right
    return (
        sum(abs(said - right) for said, right in sums.values()) / len(pairs) if pairs else math.nan
    )


def bootstrap(pairs: Sequence[tuple[float, bool]], rounds: int = 200) -> tuple[float, float]:
    """95 % interval of the calibration error over resampled incidents; the same every time."""
    dice = Random(1)
    if not pairs:
        return math.nan, math.nan
    errors = sorted(calibration_error(dice.choices(pairs, k=len(pairs))) for _ in range(rounds))
    return errors[int(0.025 * rounds)], errors[int(0.975 * rounds)]


@dataclass(frozen=True)
class Line:
    """One class: how many, how many right, root score, precision, delay."""

    label: str
    samples: int
    credit: float
    abstained: int
    root: float
    roots: int
    said: int  # incidents of the classes that answer this label
    said_right: float
    late_ns: float

    @property
    def recall(self) -> float:
        """Right answers of all faults, abstentions included."""
        return self.credit / self.samples if self.samples else math.nan

    @property
    def precision(self) -> float:
        """Right ones among all incidents that say this class."""
        return self.said_right / self.said if self.said else math.nan


def once(answers: Sequence[Answer]) -> list[Answer]:
    """Twins counted once: of runs that share topology, load and fault the worse answer stands."""
    kept: dict[tuple[str, str, int], Answer] = {}
    nth: Counter[tuple[str, str]] = Counter()
    for answer in answers:
        nth[answer.run, answer.label] += 1
        key = (answer.twin, answer.label, nth[answer.run, answer.label])
        before = kept.get(key)
        if before is None or (answer.credit, answer.root) < (before.credit, before.root):
            kept[key] = answer
    return list(kept.values())


def lines(answers: Sequence[Answer], extra: Sequence[str]) -> list[Line]:
    """A line per label, in alphabetical order."""
    by_label: defaultdict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_label[answer.label].append(answer)
    found = []
    for label, some in sorted(by_label.items()):
        names = set(ANSWERS.get(label, {label: 1.0}))
        told = [answer for answer in answers if answer.said in names]
        scored = [answer for answer in some if answer.root >= 0]
        delays = [answer.late_ns for answer in some if answer.late_ns >= 0]
        found.append(
            Line(
                label,
                len(some),
                sum(answer.credit for answer in some),
                sum(answer.abstained for answer in some),
                sum(answer.root for answer in scored),
                len(scored),
                len(told) + sum(name in names for name in extra),
                sum(answer.credit > 0 for answer in told),
                median(delays) if delays else math.nan,
            )
        )
    return found


@dataclass(frozen=True)
class Summary:
    """All runs of one condition."""

    name: str
    samples: int
    credit: float
    abstained: int
    wrong: int
    extra: int
    root: float
    roots: int
    edges: float
    victims: float
    contributors: float
    seconds: float

    @property
    def decided(self) -> int:
        """Answers given."""
        return self.samples - self.abstained


def summary(name: str, outcomes: Sequence[Outcome]) -> Summary:
    """Figures of one condition, twins once."""
    answers = once([answer for outcome in outcomes for answer in outcome.answers])
    scored = [answer for answer in answers if answer.root >= 0]
    return Summary(
        name,
        len(answers),
        sum(answer.credit for answer in answers),
        sum(answer.abstained for answer in answers),
        sum(answer.wrong for answer in answers),
        sum(len(outcome.extra) for outcome in outcomes),
        sum(answer.root for answer in scored),
        len(scored),
        f1(outcome.edges for outcome in outcomes),
        f1(outcome.victims for outcome in outcomes),
        f1(outcome.contributors for outcome in outcomes),
        max((outcome.seconds for outcome in outcomes), default=0.0),
    )


def confusion(answers: Sequence[Answer]) -> tuple[list[str], dict[str, Counter[str]]]:
    """Columns (what was said) and rows by label."""
    rows: dict[str, Counter[str]] = {}
    for answer in answers:
        rows.setdefault(answer.label, Counter())[answer.said] += 1
    columns = sorted({said for row in rows.values() for said in row})
    return columns, dict(sorted(rows.items()))
