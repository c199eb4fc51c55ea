"""Events against the truth: right, undetermined, missing, wrong."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from fabric.codes import PSN_MASK
from tests.injector.capture import Capture
from tests.injector.packets import Flow, Truth

Key = tuple[Flow, str, str, str, int]
COUNTED_BY_PSN = {"capture_loss", "reorder"}  # one event may tell of several neighbours at once


class Event(NamedTuple):
    """What an analyzer says, in the words of ``docs/sequence.md``."""

    flow: Flow
    kind: str
    verdict: str
    place: str
    psn: int
    psns: int


@dataclass
class Score:
    """Counts per (kind, verdict, place) of the truth, and what went wrong."""

    decidable: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    right: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    undetermined: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    missing: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    undecidable: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    told: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # and rightly so
    wrong: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    packets: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def injected(self) -> int:
        """Faults so far."""
        return self.faults.total() - self.faults["nothing"]

    def add(self, capture: Capture, events: Iterable[Event]) -> None:
        """Judge one capture's events."""
        self.packets += len(capture.packets)
        self.faults += capture.faults
        truths = _by_key(capture.truths)
        found: set[int] = set()
        unsure: set[int] = set()  # bursts about which something was left open
        for event in events:
            burst = capture.troubles.get((event.flow, event.psn))
            if event.verdict == "undetermined":
                if burst is None:
                    self._wrong(capture, event, "nothing was done there")
                else:
                    unsure.add(burst)
            elif (numbers := _match(truths, event, found)) is None:
                self._wrong(capture, event, "not so")
            else:
                found |= numbers
        self._settle(capture, found, unsure)

    def _settle(self, capture: Capture, found: set[int], unsure: set[int]) -> None:
        for n, truth in enumerate(capture.truths):
            kind = (truth.kind, truth.verdict, truth.place)
            if not truth.decidable:
                self.undecidable[kind] += 1
                self.told[kind] += n in found
                continue
            self.decidable[kind] += 1
            if n in found:
                self.right[kind] += 1
            elif capture.troubles.get((truth.flow, truth.psn)) in unsure:
                self.undetermined[kind] += 1
                self._note(f"undetermined: seed {capture.seed} {truth}")
            else:
                self.missing[kind] += 1
                self._note(f"missing: seed {capture.seed} {truth}")

    def _wrong(self, capture: Capture, event: Event, why: str) -> None:
        self.wrong[event.kind, event.verdict, event.place] += 1
        self.examples.insert(0, f"WRONG ({why}): seed {capture.seed} {event}")

    def _note(self, text: str) -> None:
        if len(self.examples) < 1000:
            self.examples.append(text)

    def table(self) -> str:
        """One line per kind of truth."""
        head = (
            "truth",
            "decidable",
            "right",
            "undetermined",
            "missing",
            "wrong",
            "undecidable",
            "told",
        )
        lines = [f"{head[0]:44}" + "".join(f"{name:>13}" for name in head[1:])]
        columns = (self.decidable, self.right, self.undetermined, self.missing, self.wrong,
                   self.undecidable, self.told)  # fmt: skip
        kinds = sorted(set().union(*columns))
        lines += [
            f"{' '.join(kind):44}" + "".join(f"{c[kind]:13,}" for c in columns) for kind in kinds
        ]
        lines.append(f"{'all':44}" + "".join(f"{c.total():13,}" for c in columns))
        return "\n".join(lines)


def _by_key(truths: list[Truth]) -> dict[Key, list[int]]:
    """Truth numbers by flow, kind, verdict, place and PSN."""
    out: defaultdict[Key, list[int]] = defaultdict(list)
    for n, truth in enumerate(truths):
        out[truth.flow, truth.kind, truth.verdict, truth.place, truth.psn].append(n)
    return out


def _match(truths: dict[Key, list[int]], event: Event, found: set[int]) -> set[int] | None:
    """The truths that ``event`` tells, each only once; None where one of its PSNs has none."""
    numbers: set[int] = set()
    psns = event.psns if event.kind in COUNTED_BY_PSN else 1
    for psn in range(event.psn, event.psn + psns):
        key = (event.flow, event.kind, event.verdict, event.place, psn & PSN_MASK)
        at = truths.get(key, [])
        fresh = [n for n in at if n not in found]
        if not fresh:
            return None
        numbers.add(fresh[0])
    return numbers
