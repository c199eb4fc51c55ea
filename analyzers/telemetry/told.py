"""What a batch tells beside its readings: faults that are counted, QUALITY and LOGS."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import polars as pl

from analyzers.frames import schema
from analyzers.telemetry import notes
from analyzers.telemetry.batch import Batch
from analyzers.telemetry.values import writable
from fabric.schema import LOGS, QUALITY


class Told:
    """Collects them for one batch; ``device`` is how a peer is called."""

    def __init__(self, batch: Batch, device: Callable[[str], str]) -> None:
        self.faults: Counter[str] = Counter()
        self._batch, self._device = batch, device
        self._quality: list[tuple[Any, ...]] = []
        self._logs: list[tuple[Any, ...]] = []

    def say(
        self, record: int, device: str, kind: str, value: int, text: str,
        of: tuple[str, str, int, str] = ("", "", -1, ""),
    ) -> None:  # fmt: skip
        """A row of QUALITY; ``of`` is port, object, index and counter where it is about one."""
        seen = int(self._batch.seen[record])
        ts = int(self._batch.ts[record]) or seen
        device = device or self._device(self._batch.peers[record])
        self._quality.append((ts, seen, device, *of, kind, value, writable(text)))

    def noted(self, record: int) -> None:
        """A note of a collector: trouble is QUALITY, the rest LOGS; ValueError where it is none."""
        said = notes.note(self._batch.payload(record))
        device = self._device(said.device or self._batch.peers[record])
        if said.kind in notes.TROUBLE:
            self.say(record, device, said.kind, said.value, said.text)
        else:
            seen = int(self._batch.seen[record])
            self._logs.append((seen, seen, device, "", "collector", said.kind, said.text))

    def happened(self, record: int) -> None:
        """Events of one record; ValueError where they are none."""
        seen = int(self._batch.seen[record])
        for said in notes.happenings(self._batch.payload(record)):
            device = self._device(said.device or self._batch.peers[record])
            self._logs.append((said.ts or seen, seen, device, *said[2:]))

    def quality(self) -> pl.DataFrame:
        """QUALITY."""
        return pl.DataFrame(self._quality, schema=schema(QUALITY), orient="row")

    def logs(self) -> pl.DataFrame:
        """LOGS."""
        return pl.DataFrame(self._logs, schema=schema(LOGS), orient="row")
