"""Incidents, acknowledgements and jobs: kept, shared between threads and processes, never half-written."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from analyzers.state import Incident, State
from tests.data import ROOT


def incident(name: str, first: int, last: int, state: str = "open") -> Incident:
    return Incident(name, "incast", state, first, last, {"roots": ["leaf1:E1:3"], "é": 1})


def test_incidents_keep_their_first_time(tmp_path: Path) -> None:
    with State(tmp_path / "deep" / "store.sqlite") as state:
        state.put_incidents([incident("a", 5, 6), incident("b", 5, 9)])
        state.put_incidents([incident("a", 7, 8, "over")])
        assert [(i.id, i.state, i.first_ns, i.last_ns) for i in state.incidents()] == [
            ("b", "open", 5, 9),
            ("a", "over", 5, 8),
        ]
        assert [i.id for i in state.incidents(since_ns=9)] == ["b"]
        assert [i.id for i in state.incidents(state="over")] == ["a"]
        assert state.incidents()[0].body == {"roots": ["leaf1:E1:3"], "é": 1}
    with State(tmp_path / "deep" / "store.sqlite") as again:
        assert len(again.incidents()) == 2


def test_acknowledgements_outlive_new_versions(tmp_path: Path) -> None:
    with State(tmp_path / "s") as state:
        state.acknowledge("a", "me", "looking", until_ns=9)
        state.put_incidents([incident("a", 1, 2)])
        state.acknowledge("a", "you'); drop table jobs; --")
        assert [(k.who[:3], k.note, k.until_ns) for k in state.acknowledgements("a")] == [
            ("you", "", 0),
            ("me", "looking", 9),
        ]
        assert state.acknowledgements("b") == []
        assert len(state.acknowledgements()) == 2
        assert state.jobs() == []


def test_a_job_is_taken_once_and_again_when_its_worker_dies(tmp_path: Path) -> None:
    with State(tmp_path / "s") as state:
        number = state.ask("analyze", {"path": "x"})
        job = state.take("w1")
        assert job
        assert (job.id, job.kind, job.given, job.state) == (
            number,
            "analyze",
            {"path": "x"},
            "running",
        )
        assert state.take("w2") is None
        assert state.report(number, "w1", 0.5)
        assert state.job(number).share == 0.5
        again = state.take("w2", patience_s=0)  # w1 was not heard of
        assert again
        assert again.worker == "w2"
        assert not state.report(number, "w1", 0.9)
        assert not state.finish(number, "w1", "late")
        assert state.finish(number, "w2", "ok")
        assert state.take("w3", patience_s=0) is None
        assert [(j.state, j.result) for j in state.jobs()] == [("done", "ok")]
        with pytest.raises(KeyError):
            state.job(99)


def test_unknown_paths_only_grow(tmp_path: Path) -> None:
    with State(tmp_path / "s") as state:
        state.put_unknown([("leaf1", "/a", 5, "x", 1), ("leaf1", "/b", 9, "y", 1)])
        state.put_unknown([("leaf1", "/a", 3, "z", 2)])
        assert state.unknown() == [("leaf1", "/b", 9, "y", 1), ("leaf1", "/a", 5, "z", 2)]


def test_many_writers_wait_for_their_turn(tmp_path: Path) -> None:
    path = tmp_path / "s"
    State(path).close()
    taken: list[int] = []

    def work(name: str) -> None:
        with State(path) as state:
            for _ in range(20):
                state.ask("k", {})
            while job := state.take(name):
                taken.append(job.id)
                state.finish(job.id, name, "")

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with State(path) as state:
        assert len(state.jobs()) == 80
    assert sorted(taken) == list(range(1, 81))


def test_two_processes_create_it_at_once(tmp_path: Path) -> None:
    program = f"from pathlib import Path; from analyzers.state import State; State(Path({str(tmp_path / 's')!r})).ask('k', {{}})"
    both = [subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    with State(tmp_path / "s") as state:
        assert len(state.jobs()) == 2


def test_what_is_no_file_of_ours_is_said(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, for sure " * 100)
    with pytest.raises(ValueError, match=r"text: file is not a database"):
        State(tmp_path / "text")
    with pytest.raises(OSError, match=str(tmp_path)):
        State(tmp_path)
    State(tmp_path / "late").close()
    import sqlite3

    file = sqlite3.connect(tmp_path / "late")
    file.execute("pragma user_version = 99")
    file.close()
    with pytest.raises(ValueError, match="version 99, made by a later release"):
        State(tmp_path / "late")
