"""How evenly parallel links are used, how even a perfect hash could make it, and polarisation.

MMR and JFI are named as in the benchmarking draft for AI fabrics (draft-calabria-bmwg); JFI is Jain's
index (Jain, Chiu, Hawe, DEC TR-301, 1984). With few flows a perfect hash is uneven too: measure
against :func:`expected_mmr`, never against 1.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache

from fabric.cables import Path


def mmr(loads: Sequence[float], capacity: Sequence[float] | None = None) -> float:
    """Max to mean ratio of parallel links; 1 is even. With capacities, of their utilisations.

    NaN where nothing was carried. A plane or link that is out counts by leaving it out of both.
    """
    values = _weighed(loads, capacity)
    total = sum(values)
    return max(values) * len(values) / total if total > 0 else math.nan


def jfi(loads: Sequence[float], capacity: Sequence[float] | None = None) -> float:
    """Jain's fairness index (sum x)^2 / (n sum x^2), from 1/n to 1; NaN where nothing was carried."""
    values = _weighed(loads, capacity)
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares > 0 else math.nan


def _weighed(loads: Sequence[float], capacity: Sequence[float] | None) -> list[float]:
    if capacity is None:
        return list(loads)
    return [load / room for load, room in zip(loads, capacity, strict=True) if room > 0]


@lru_cache(maxsize=4096)
def expected_max(balls: int, bins: int) -> float:
    """Mean of the fullest bin when ``balls`` equal balls fall into ``bins`` at random, exactly.

    P(max <= m) is balls! / bins^balls times the coefficient of x^balls in (sum x^i/i!, i <= m)^bins.
    Above a few hundred balls the normal approximation of the extreme is within a percent.
    """
    if balls <= 0 or bins <= 0:
        return 0.0
    if bins == 1:
        return float(balls)
    if balls * bins > 20_000:
        mean = balls / bins
        spread = math.sqrt(mean * (1 - 1 / bins))
        return mean + spread * _normal_extreme(bins)
    below = [_chance_at_most(m, balls, bins) for m in range(balls)]
    return sum(1 - chance for chance in below)


def _chance_at_most(most: int, balls: int, bins: int) -> float:
    """P(no bin holds more than ``most``): bins are filled one by one, binomially."""
    left = [0.0] * balls + [1.0]  # chance that so many balls are left for the remaining bins
    for remaining in range(bins, 1, -1):
        p = 1 / remaining
        after = [0.0] * (balls + 1)
        for n, chance in enumerate(left):
            if chance > 0:
                term = (1 - p) ** n
                for k in range(min(most, n) + 1):
                    after[n - k] += chance * term
                    term *= (n - k) / (k + 1) * p / (1 - p)
        left = after
    return sum(left[: most + 1])


def _normal_extreme(n: int) -> float:
    """Mean of the largest of n standard normal numbers (Blom's approximation)."""
    from statistics import NormalDist

    return NormalDist().inv_cdf((n - 0.375) / (n + 0.25))


def expected_mmr(flows: int, links: int) -> float:
    """MMR that a perfect hash gives on average for equal flows; NaN for none."""
    return expected_max(flows, links) * links / flows if flows > 0 else math.nan


def entropy_bits(choices: Iterable[Hashable]) -> float:
    """Shannon entropy of the choices."""
    counts = Counter(choices)
    total = sum(counts.values())
    return -sum(n / total * math.log2(n / total) for n in counts.values()) if total else 0.0


def polarisation(choices: Iterable[tuple[Hashable, Hashable]], ways: int) -> float:
    """Normalised entropy of a tier's choice given the choice of the tier before: 0 polarised, 1 free.

    ``choices`` are (choice before, choice here) per flow; ``ways`` is how many there are here. What is
    compared with is the entropy that a perfect hash would show for as few flows (Miller and Madow's
    bias, (k - 1) / 2n nats), so that few flows are not mistaken for polarisation. NaN where no group
    holds two flows.
    """
    groups: defaultdict[Hashable, list[Hashable]] = defaultdict(list)
    for before, here in choices:
        groups[before].append(here)
    total = reached = possible = 0.0
    for members in groups.values():
        n = len(members)
        if n < 2 or ways < 2:
            continue
        free = math.log2(min(ways, n)) - (min(ways, n) - 1) / (2 * n * math.log(2))
        total += n
        reached += n * entropy_bits(members)
        possible += n * max(free, 0.5)
    return min(reached / possible, 1.0) if total else math.nan


def polarisation_by_tier(paths: Iterable[Path], ways: Callable[[str], int]) -> dict[int, float]:
    """:func:`polarisation` of every switch hop, by its number on the path (1 is the first switch).

    Which device a flow meets at a tier is what the tier before chose, so flows are grouped by device.
    ``ways`` gives the number of choices a device has; devices without a choice say nothing.
    """
    choices: defaultdict[int, list[tuple[Hashable, Hashable]]] = defaultdict(list)
    widest: defaultdict[int, int] = defaultdict(int)
    for path in paths:
        for tier, port in enumerate(path[1:], 1):
            count = ways(port.device)
            if count > 1:
                choices[tier].append((port.device, port))
                widest[tier] = max(widest[tier], count)
    return {tier: polarisation(rows, widest[tier]) for tier, rows in sorted(choices.items())}
