"""Analyses started from the browser: each a process of its own, with progress, that can be cancelled.

A job's folder holds job.json (what was asked and how it ended) and the result as ``fabric analyze
--out`` writes it. A server that starts again finds the finished ones; what was running is over.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

RECORD: Final = "job.json"
IDENTITY = re.compile(r"[0-9a-f]{12}")
ENDED: Final = frozenset({"done", "failed", "cancelled"})
MOST_WAITING: Final = 50


@dataclass
class Job:
    """One analysis. ``state``: waiting, running, done, failed or cancelled; times in ns, sizes in bytes."""

    id: str
    paths: list[str]
    user: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    created: int = 0
    ended: int = 0
    state: str = "waiting"
    done: int = 0
    total: int = 0
    error: str = ""


class Jobs:
    """All jobs of a state folder; ``at_once`` run beside each other, the others wait their turn."""

    def __init__(self, folder: Path, at_once: int = 1) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._turn = threading.Semaphore(at_once)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._jobs: dict[str, Job] = {}
        for record in sorted(folder.glob(f"*/{RECORD}")):
            self._load(record)

    def _load(self, record: Path) -> None:
        try:
            job = Job(**json.loads(record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return  # not ours, or cut off by a crash
        if IDENTITY.fullmatch(job.id) and job.id == record.parent.name:
            if job.state not in ENDED:
                job.state, job.error = "failed", "the server ended while it ran"
            self._jobs[job.id] = job

    def all(self) -> list[Job]:
        """Every job, the latest first."""
        with self._lock:
            return sorted(self._jobs.values(), key=lambda job: -job.created)

    def get(self, identity: str) -> Job | None:
        """One job; None where there is none of that name."""
        with self._lock:
            return self._jobs.get(identity)

    def result(self, identity: str) -> Path:
        """Folder of a finished job; ValueError where there is none."""
        job = self.get(identity)
        if job is None or job.state != "done":
            raise ValueError("there is no such result")
        return self.folder / job.id

    def start(self, paths: list[str], options: Mapping[str, Any], user: str = "") -> Job:
        """Queue an analysis of captures; ValueError where too many wait already."""
        job = Job(os.urandom(6).hex(), paths, user, dict(options), time.time_ns())
        with self._lock:
            if sum(other.state not in ENDED for other in self._jobs.values()) >= MOST_WAITING:
                raise ValueError("too many analyses are waiting; cancel some first")
            self._jobs[job.id] = job
        (self.folder / job.id).mkdir()
        self._write(job)
        threading.Thread(target=self._run, args=(job,), daemon=True, name=f"job-{job.id}").start()
        return job

    def cancel(self, identity: str) -> None:
        """End a job that runs or waits; nothing for one that is over."""
        with self._lock:
            job = self._jobs.get(identity)
            if job is None or job.state in ENDED:
                return
            job.state = "cancelled"
            process = self._processes.get(identity)
        if process:
            process.send_signal(signal.SIGTERM)

    def remove(self, identity: str) -> None:
        """Delete a job that is over, with its result."""
        with self._lock:
            job = self._jobs.get(identity)
            if job is None or job.state not in ENDED:
                return
            del self._jobs[identity]
        shutil.rmtree(self.folder / identity, ignore_errors=True)

    def close(self) -> None:
        """End whatever runs."""
        for job in self.all():
            self.cancel(job.id)

    def _run(self, job: Job) -> None:
        with self._turn:
            with self._lock:
                if job.state != "waiting":
                    process = None
                else:
                    job.state = "running"
                    process = self._processes[job.id] = self._spawn(job)
            if process:
                self._follow(job, process)
        job.ended = time.time_ns()
        if job.state == "cancelled":
            self._sweep(job)
        self._write(job)

    def _spawn(self, job: Job) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dashboards.commands.job_child", str(self.folder / job.id),
                   json.dumps(job.options), *job.paths]  # fmt: skip
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _follow(self, job: Job, process: subprocess.Popen[bytes]) -> None:
        """Read what the child says until it ends."""
        assert process.stdout is not None
        finished = False
        for line in process.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                continue
            job.done, job.total = int(said.get("done", job.done)), int(said.get("total", job.total))
            job.error = str(said.get("failed", job.error))
            finished = finished or bool(said.get("finished"))
        process.stdout.close()
        status = process.wait()
        with self._lock:
            del self._processes[job.id]
            if job.state == "cancelled":
                return
            job.state = "done" if finished and status == 0 else "failed"
        if job.state == "failed" and not job.error:
            job.error = f"the analysis ended with status {status}"

    def _sweep(self, job: Job) -> None:
        """Nothing half-written stays."""
        for path in (self.folder / job.id).iterdir():
            if path.name != RECORD:
                path.unlink(missing_ok=True)

    def _write(self, job: Job) -> None:
        record = self.folder / job.id / RECORD
        partial = record.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(job)), encoding="utf-8")
        partial.replace(record)
