"""One run: what was said against what is true."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dashboards.score.truth import HEALTHY, NEVER, SET_ROOTS, Fault, Truth

ABSTAINED: Final = "undetermined"
DECIDED: Final = 0.6  # an incident below this confidence is no answer


@dataclass(frozen=True)
class Answer:
    """What was said of one fault (or of a healthy run): the row of a confusion matrix."""

    run: str
    twin: str
    label: str
    said: str
    credit: float
    root: float  # 1 right, 0 wrong, between for sets; -1 not scored
    confidence: float
    late_ns: int = -1  # from the fault's begin to the first right answer; -1 not measured
    never: bool = False  # said what must never be said of it

    @property
    def abstained(self) -> bool:
        """No answer: it counts against nobody but is reported."""
        return self.said == ABSTAINED

    @property
    def wrong(self) -> bool:
        """A confident wrong answer."""
        return not self.abstained and self.credit == 0


@dataclass(frozen=True)
class Outcome:
    """A run with all its answers, and incidents that answer to nothing."""

    truth: Truth
    answers: tuple[Answer, ...]
    extra: tuple[str, ...]
    edges: tuple[int, int, int]  # right, wrong, missed
    victims: tuple[int, int, int]
    contributors: tuple[int, int, int]
    seconds: float
    judged: tuple[tuple[float, bool], ...] = ()
    said: tuple[dict[str, Any], ...] = field(repr=False, default=())


def compare(truth: Truth, told: dict[str, Any], whole: bool = True) -> Outcome:
    """Hold what the child process told against the label.

    Where the evidence does not cover the fabric (``whole`` is false: taps alone) silence is no answer.
    """
    incidents: list[dict[str, Any]] = told["incidents"]
    sure = [one for one in incidents if one["confidence"] >= DECIDED and one["cls"] != ABSTAINED]
    left = list(sure)
    answers = [_answer(truth, fault, left, incidents, told, whole) for fault in truth.faults]
    if truth.healthy:
        said = sure[0]["cls"] if sure else ABSTAINED if incidents or not whole else HEALTHY
        confidence = sure[0]["confidence"] if sure else 1.0
        answers.append(
            Answer(truth.name, truth.twin, truth.cls, said, float(said == HEALTHY), -1, confidence)
        )
        left = left[1:]
    want, got = set(truth.edges), {(held, cause) for held, cause in told["edges"]}
    if (
        truth.own
    ):  # our simulator's provenance is of switches: what a host holds is not listed there
        got = {(held, cause) for held, cause in got if cause.partition(":")[0] not in truth.hosts}
    return Outcome(
        truth,
        tuple(answers),
        tuple(one["cls"] for one in left),
        _overlap(got, want) if whole else (0, 0, 0),
        _victims(truth, sure),
        _contributors(truth, sure),
        told["seconds"],
        tuple(judged(truth, incidents)),
        tuple(incidents),
    )


def judged(truth: Truth, incidents: Sequence[dict[str, Any]]) -> list[tuple[float, bool]]:
    """Confidence of every incident, and whether some fault of the run has its class and place."""
    return [
        (
            float(one["confidence"]),
            any(
                fault.credit(one["cls"]) > 0
                and (not fault.roots or bool(set(_ports(one)) & set(fault.roots)))
                for fault in truth.faults
            ),
        )
        for one in incidents
    ]


def _answer(
    truth: Truth,
    fault: Fault,
    left: list[dict[str, Any]],
    incidents: Sequence[dict[str, Any]],
    told: dict[str, Any],
    whole: bool,
) -> Answer:
    """Take from ``left`` the incident that answers a fault, the best match first.

    Where a run has one fault the first incident is the answer, right or wrong. Where it has several, one
    that names the class or the place.
    """
    single = len(truth.faults) == 1
    if single:
        chosen = left[0] if left else None
    else:
        ranked = sorted(left, key=lambda one: -_fit(fault, one, told["start"]))
        chosen = ranked[0] if ranked and _fit(fault, ranked[0], told["start"]) >= 1 else None
    if chosen is None:
        unsure = any(single or _fit(fault, one, told["start"]) >= 1 for one in incidents)
        said = ABSTAINED if unsure or not whole else HEALTHY
        return Answer(truth.name, truth.twin, fault.cls, said, fault.credit(said), -1, 0.0)
    left.remove(chosen)
    credit = fault.credit(chosen["cls"])
    return Answer(
        truth.name, truth.twin, fault.cls, chosen["cls"], credit,
        _root(fault, chosen) if credit else -1, chosen["confidence"],
        _late(fault, told), chosen["cls"] in NEVER.get(fault.cls, ()),
    )  # fmt: skip


def _fit(fault: Fault, one: dict[str, Any], start: int) -> float:
    """How well an incident answers a fault of several: class and place count, time breaks ties."""
    begin, end = one["start"] - start, one["end"] - start
    shared = max(0, min(end, fault.end_ns) - max(begin, fault.start_ns))
    if not shared:
        return 0.0
    place = bool(set(_ports(one)) & set(fault.roots))
    right = fault.credit(one["cls"])
    return float(2 * (right > 0) * place + place + right * shared / (fault.end_ns - fault.start_ns))


def _ports(one: dict[str, Any]) -> list[str]:
    """``device:port`` of the roots, without the priority where one is told."""
    return [root.rpartition(":")[0] if root.count(":") > 1 else root for root in one["roots"]]


def _root(fault: Fault, one: dict[str, Any]) -> float:
    """Root score: -1 where the label names none; F1 of the set where many ports are the root."""
    want, got = set(fault.roots), _ports(one)
    if not want:
        return -1.0
    if fault.cls in ("cbd_deadlock", "deadlock"):
        return float(want == set(got))
    if fault.cls in SET_ROOTS:
        right = len(want & set(got))
        return 2 * right / (len(want) + len(set(got)))
    return float(bool(got) and got[0] in want)


def _late(fault: Fault, told: dict[str, Any]) -> int:
    for end, classes in told.get("history", ()):
        if any(fault.credit(cls) > 0 for cls in classes):
            return max(int(end - told["start"] - fault.start_ns), 0)
    return -1


def _overlap(got: set[Any], want: set[Any]) -> tuple[int, int, int]:
    return len(got & want), len(got - want), len(want - got)


def _victims(truth: Truth, sure: Sequence[dict[str, Any]]) -> tuple[int, int, int]:
    """Ports told to be held against ports that were paused."""
    if truth.healthy or not truth.paused:
        return 0, 0, 0
    got = {victim.split(" ")[0] for one in sure for victim in one["victims"]}
    return _overlap(got, set(truth.paused))


def _contributors(truth: Truth, sure: Sequence[dict[str, Any]]) -> tuple[int, int, int]:
    """Senders of the incasts, by host."""
    right = wrong = missed = 0
    for fault in truth.faults:
        mine = [one for one in sure if set(_ports(one)) & set(fault.roots) and one["contributors"]]
        if fault.contributors and mine:
            got = {name.partition(":")[0] for name in mine[0]["contributors"]}
            a, b, c = _overlap(got, set(fault.contributors))
            right, wrong, missed = right + a, wrong + b, missed + c
    return right, wrong, missed
