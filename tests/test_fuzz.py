"""A short form of the fuzzing that ``python -m tests.fuzz`` does for hours."""

import os
import random
import time
from pathlib import Path

import pytest

from tests import fuzz

COUNT = 12_500 if os.environ.get("CI") else 1_000


@pytest.mark.parametrize("seed", range(8))
def test_harmed_captures_are_read_as_far_as_they_are_sound(seed: int) -> None:
    done, captures = fuzz.fuzz(count=COUNT, seed=seed)
    assert done == COUNT
    assert captures > 0.8 * COUNT


def test_an_input_is_made_again_from_its_number() -> None:
    captures = fuzz.corpus()
    first, again, other = (fuzz.make_input(random.Random(n), captures) for n in (5, 5, 6))
    assert first == again != other


def test_a_failure_names_its_input_and_keeps_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fuzz.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(fuzz.twin_reader, "LONGEST", 0)  # now the twin calls everything too long
    with pytest.raises(AssertionError) as failure:
        fuzz.fuzz(count=50, seed=3, first=7)
    (kept,) = tmp_path.iterdir()
    (note,) = failure.value.__notes__
    assert note == f"seed 3, input {kept.name.split('-')[1]}, kept as {kept}"


def test_a_hang_ends_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended: list[int] = []
    monkeypatch.setattr(fuzz.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(fuzz, "HANG_SECONDS", 0.01)
    monkeypatch.setattr(fuzz.os, "_exit", ended.append)
    watch = fuzz.Watch()
    watch.number, watch.data = 42, b"slow"
    while not ended:
        time.sleep(0.01)
    watch.stop()
    assert ended[0] == 3
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"slow"}
