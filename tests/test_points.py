"""Points side by side: every outcome in its place, whatever happens to the processes."""

import operator
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from analyzers.points import GROUP, Outcome, map_points, merge_points
from tests.data import ROOT


def square(number: int) -> int:
    if number < 0:
        raise ValueError(f"tap{number}.pcap: negative")
    if number == 13:
        raise KeyError("unlucky")
    return number * number


def fragile(order: str) -> str:
    """Do what the task says; "die" takes a moment, so that innocents run beside it."""
    if order == "die":
        time.sleep(0.2)
        os._exit(7)
    if order == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if order == "slow":
        time.sleep(0.5)
    return order.upper()


def whereabouts(_task: str) -> int:
    return os.getpid()


@pytest.mark.parametrize("jobs", [1, 2])
def test_outcomes_stand_in_the_order_of_the_tasks(jobs: int) -> None:
    told: dict[int, Outcome[int]] = {}
    outcomes = map_points(square, [3, -1, 13, 5], jobs, done=told.__setitem__)
    assert outcomes == [
        Outcome(9),
        Outcome(None, "tap-1.pcap: negative"),
        Outcome(None, "KeyError: 'unlucky'"),
        Outcome(25),
    ]
    assert [told[number] for number in range(4)] == outcomes


def test_no_tasks() -> None:
    assert map_points(square, [], 4) == []


def test_dead_workers_cost_only_their_own_task() -> None:
    orders = ["slow", "die", "a", "b", "slow", "kill", "c"]
    outcomes = map_points(fragile, orders, 2)
    assert [outcome.value for outcome in outcomes] == [
        "SLOW", None, "A", "B", "SLOW", None, "C"
    ]  # fmt: skip
    assert outcomes[1].failure == "its worker process exited with status 7"
    assert outcomes[5].failure == "its worker process was killed by SIGKILL (out of memory?)"


def test_all_workers_die() -> None:
    outcomes = map_points(fragile, ["kill"] * 3, 2)
    assert [outcome.value for outcome in outcomes] == [None] * 3
    assert all("SIGKILL" in outcome.failure for outcome in outcomes)


def test_processes_are_others_except_for_tasks_that_belong_here() -> None:
    outcomes = map_points(whereabouts, ["a", "-", "b"], 2, here=lambda task: task == "-")
    assert outcomes[1].value == os.getpid()
    assert os.getpid() not in (outcomes[0].value, outcomes[2].value)
    assert map_points(whereabouts, ["a", "b"], 1)[0].value == os.getpid()


def test_any_executor_will_do() -> None:
    with ThreadPoolExecutor(2) as executor:
        outcomes = map_points(square, [2, -3, 4], executor=executor)
    assert outcomes == [Outcome(4), Outcome(None, "tap-3.pcap: negative"), Outcome(16)]


def test_an_executor_that_breaks_fails_its_tasks() -> None:
    executor = ThreadPoolExecutor(1, initializer=operator.truediv, initargs=(1, 0))
    with executor:
        outcomes = map_points(square, [2, 3], executor=executor)
    assert [outcome.value for outcome in outcomes] == [None, None]
    assert all("Broken" in outcome.failure for outcome in outcomes)


@pytest.mark.parametrize("count", [1, 2, GROUP, GROUP + 1, GROUP**2 + 3])
def test_merge_is_a_tree_and_keeps_the_order(count: int) -> None:
    widths: list[int] = []

    def join(*parts: str) -> str:
        widths.append(len(parts))
        return "".join(parts)

    letters = [chr(65 + number) for number in range(count)]
    with ThreadPoolExecutor(1) as executor:
        assert merge_points(join, letters, executor) == "".join(letters)
    assert merge_points(join, letters) == "".join(letters)
    assert max(widths, default=0) <= GROUP


INTERRUPTED = """
import os, sys, time
from analyzers.points import map_points

def sleep(path):
    open(path + str(os.getpid()), "w").close()
    time.sleep(60)

if __name__ == "__main__":
    map_points(sleep, [sys.argv[1]] * 3, 2)
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "parent killed"])
def test_no_process_is_left_behind(tmp_path: Path, end: signal.Signals) -> None:
    program = tmp_path / "interrupted.py"
    program.write_text(INTERRUPTED)
    parent = subprocess.Popen(
        [sys.executable, program, f"{tmp_path}/pid"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    workers = wait_until(lambda: pids(tmp_path) if len(pids(tmp_path)) == 2 else None)
    if end == signal.SIGINT:
        os.killpg(parent.pid, end)  # as a terminal does: parent and workers alike
    else:
        parent.kill()
    _, errors = parent.communicate(timeout=30)
    assert errors.decode().count("KeyboardInterrupt") == (1 if end == signal.SIGINT else 0)
    for worker in workers:
        wait_until(lambda worker=worker: gone(worker) or None)


def gone(pid: int) -> bool:
    """The process has ended; a zombie has, too, whether or not anybody asks for its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def pids(folder: Path) -> list[int]:
    return [int(path.name[3:]) for path in folder.glob("pid*")]


def wait_until(condition, seconds: float = 30.0):
    end = time.monotonic() + seconds
    while (result := condition()) is None:
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return result
