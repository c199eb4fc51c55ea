"""Observation points are independent: work on them side by side, then merge what they say.

Any :class:`concurrent.futures.Executor` will do, a cluster's too. Without one, ``jobs`` processes
are spawned; never forked, because the thread pools of Polars and numba do not survive that. A task
that raises, and a worker process that dies (out of memory, killed), cost that task's outcome and
no other: every other task is run to its end, and the outcome names the reason.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from concurrent.futures.process import ProcessPoolExecutor
from multiprocessing.connection import wait as wait_for_exit
from multiprocessing.process import BaseProcess
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)
GROUP = 8  # outcomes merged at a time: a tree of this width keeps the merging node's memory small


class Outcome(NamedTuple, Generic[R]):
    """What became of a task: its value, or one line that says why there is none."""

    value: R | None
    failure: str = ""


Done = Callable[[int, Outcome[R]], None]


def map_points(
    function: Callable[[T], R],
    tasks: Sequence[T],
    jobs: int = 1,
    executor: Executor | None = None,
    *,
    here: Callable[[T], bool] = lambda _: False,
    done: Done[R] = lambda _number, _outcome: None,
) -> list[Outcome[R]]:
    """Apply ``function`` to every task; the outcomes stand in the order of the tasks.

    Parameters
    ----------
    function, tasks
        Both are sent to other processes, so the function stands at the top of a module.
    jobs
        Number of spawned processes; 1 works in this process. Ignored where ``executor`` is given.
    here
        Tells tasks that only this process can do: those that read its standard input.
    done
        Called in this process with the number and outcome of each task as it is finished.
    """
    outcomes: dict[int, Outcome[R]] = {}

    def finish(number: int, outcome: Outcome[R]) -> None:
        outcomes[number] = outcome
        done(number, outcome)

    alone = executor is None and (jobs <= 1 or len(tasks) <= 1)
    away = [] if alone else [number for number, task in enumerate(tasks) if not here(task)]
    if executor is not None:
        _on_executor(executor, function, tasks, away, finish)
    elif away:
        _Processes(function, tasks, min(jobs, len(away)), finish).run(away)
    for number in range(len(tasks)):
        if number not in outcomes:
            finish(number, attempt(function, tasks[number]))
    return [outcomes[number] for number in range(len(tasks))]


def merge_points(
    merge: Callable[..., R], values: Sequence[R], executor: Executor | None = None
) -> R:
    """Merge at least one value to one, as a tree: ``merge(*values)`` of up to GROUP at a time.

    ``merge`` has to be associative; the order of the values is kept.
    """
    level = list(values)
    while len(level) > 1:
        groups = [level[start : start + GROUP] for start in range(0, len(level), GROUP)]
        if executor is None:
            level = [merge(*group) for group in groups]
        else:
            level = [future.result() for future in [executor.submit(merge, *g) for g in groups]]
    return level[0]


def attempt(function: Callable[[T], R], task: T) -> Outcome[R]:
    """The outcome of one task. Exceptions become text here, so that none has to travel."""
    try:
        return Outcome(function(task))
    except (ValueError, OSError) as error:
        return Outcome(None, str(error) or type(error).__name__)
    except Exception as error:  # one point's bug must not cost the others their outcome
        log.debug("task failed", exc_info=error)
        return Outcome(None, f"{type(error).__name__}: {error}")


def _on_executor(
    executor: Executor,
    function: Callable[[T], R],
    tasks: Sequence[T],
    numbers: Sequence[int],
    finish: Done[R],
) -> None:
    """Hand the tasks to somebody else's executor, which retries and isolates as it likes."""
    running = {executor.submit(attempt, function, tasks[number]): number for number in numbers}
    try:
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                finish(running.pop(future), _outcome(future))
    except BaseException:
        for future in running:
            future.cancel()
        raise


def _outcome(future: Future[Outcome[R]]) -> Outcome[R]:
    """What a finished future holds; an executor's own exception is the task's failure."""
    error = future.exception()
    return Outcome(None, f"{type(error).__name__}: {error}") if error else future.result()


class _Processes(Generic[T, R]):
    """Tasks on a pool of spawned processes that survives the death of a worker.

    A pool does not tell which task killed a worker: all that were running fail together, and the
    pool is lost. These suspects are run again in a new pool, one at a time, so that the next death
    has one culprit; the others keep their turn.
    """

    def __init__(
        self, function: Callable[[T], R], tasks: Sequence[T], jobs: int, finish: Done[R]
    ) -> None:
        self._function = function
        self._tasks = tasks
        self._jobs = jobs
        self._finish = finish
        self._pool: ProcessPoolExecutor | None = None
        self._workers: set[BaseProcess] = set()
        self._running: dict[Future[Outcome[R]], int] = {}

    def run(self, numbers: Sequence[int]) -> None:
        """Finish the tasks of these numbers. An exception (Ctrl-C) leaves no process behind."""
        waiting, suspects = deque(numbers), deque[int]()
        try:
            while waiting or suspects or self._running:
                queue, limit = (suspects, 1) if suspects else (waiting, self._jobs)
                while queue and len(self._running) < limit and self._submit(queue):
                    pass
                suspects.extend(self._collect())
        except BaseException:
            self._kill()
            raise
        if self._pool:
            self._pool.shutdown()

    def _submit(self, queue: deque[int]) -> bool:
        """Start the first task of the queue; False where the pool turns out to be lost."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._jobs, context, _begin_worker)
            self._workers = set()
        others = set(multiprocessing.active_children()) - self._workers
        try:
            future = self._pool.submit(attempt, self._function, self._tasks[queue[0]])
        except BrokenExecutor:
            if not self._running:  # an idle worker died: nobody is to blame, a new pool is made
                self._pool = None
            return False
        self._workers |= set(multiprocessing.active_children()) - others
        self._running[future] = queue.popleft()
        return True

    def _collect(self) -> list[int]:
        """Wait for a task to end; returns the suspects where a worker has died with several."""
        if not self._running:
            return []
        ended = wait(self._running, return_when=FIRST_COMPLETED).done
        if not any(isinstance(future.exception(), BrokenExecutor) for future in ended):
            for future in ended:
                self._finish(self._running.pop(future), _outcome(future))
            return []
        wait(self._running)
        suspects = []
        for future, number in self._running.items():
            if isinstance(future.exception(), BrokenExecutor):
                suspects.append(number)
            else:
                self._finish(number, _outcome(future))
        self._running.clear()
        cause = self._cause_of_death()
        self._pool = None
        if len(suspects) > 1:
            return suspects
        self._finish(suspects[0], Outcome(None, f"its worker process {cause}"))
        return []

    def _cause_of_death(self) -> str:
        """How the first dead worker ended; the pool then terminates the others."""
        codes = []
        for worker in self._workers:
            worker.join(10)
            codes.append(worker.exitcode)
        code = next((code for code in codes if code not in (None, 0, -signal.SIGTERM)), None)
        if code is None:
            return "was terminated"
        if code > 0:
            return f"exited with status {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"was killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"

    def _kill(self) -> None:
        """End all workers at once."""
        for worker in self._workers:
            worker.terminate()
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.join(5)
            if worker.exitcode is None:
                worker.kill()


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_exit([parent.sentinel])
        os._exit(1)
