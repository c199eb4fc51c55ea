"""Open incidents to Alertmanager and webhooks, again and again until they have heard.

Alertmanager (API v2, ``POST /api/v2/alerts``) is told the whole picture each round: it resolves an alert
that nobody repeats, and folds repeats by their labels. A webhook is told each change once: ``open``,
``over``. What a receiver has heard stands in a file beside the records, so a restart repeats nothing.
A receiver that is away is asked again after a pause that doubles, and is told what holds then.

An incident that somebody acknowledged for a time is silent until then.
"""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from analyzers.diagnosis.incidents import DECIDED
from analyzers.state import Acknowledgement, Incident, State

REPEAT_S: Final = 60.0  # Alertmanager's resolve_timeout is five minutes
FIRST_PAUSE_S: Final = 1.0
LAST_PAUSE_S: Final = 120.0
TIMEOUT_S: Final = 10.0
LINES: Final = 5  # of evidence, and of victims, in an annotation
HEARD: Final = 10_000  # incidents whose telling is remembered


def web_address(text: str, what: str) -> str:
    """The address of a receiver; ValueError where it is none for HTTP."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{what}: {text!r} is no http or https address")
    return text.rstrip("/")


def alert(one: Incident, dashboard: str) -> dict[str, Any]:
    """An incident as Alertmanager takes it; labels are what makes it the same one next time."""
    body = one.body
    roots = [str(root) for root in body.get("roots", ())]
    sure = float(body.get("confidence", 0.0))
    where = ", ".join(roots) or "an unknown place"
    annotations = {
        "summary": f"{one.cls} at {where}, {100 * sure:.0f} % sure",
        "evidence": _lines(body.get("evidence")),
        "victims": _lines(body.get("victims")),
        "missing": _lines(body.get("missing")),
        "advice": str(body.get("advice") or ""),
    }
    told: dict[str, Any] = {
        "labels": {
            "alertname": "FabricIncident",
            "incident": one.id,
            "class": one.cls,
            "root": roots[0] if roots else "",
            "severity": "critical" if sure >= DECIDED else "warning",
        },
        "annotations": {name: text for name, text in annotations.items() if text},
        "startsAt": _rfc3339(one.first_ns),
    }
    if one.state == "over":
        told["endsAt"] = _rfc3339(max(one.last_ns, one.first_ns + 1))
    if dashboard:
        told["generatorURL"] = f"{dashboard}/incident?id={quote(one.id)}"
    return told


def _lines(texts: Any) -> str:
    """The first few of some texts, one a line."""
    return "\n".join(str(text) for text in list(texts or ())[:LINES])


def _rfc3339(ns: int) -> str:
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def loud(
    incidents: Sequence[Incident], notes: Sequence[Acknowledgement], least: float, now_ns: int
) -> list[Incident]:
    """Incidents that are sure enough and that nobody has silenced."""
    silent = {note.incident for note in notes if note.until_ns > now_ns}
    return [
        one
        for one in incidents
        if one.id not in silent and float(one.body.get("confidence", 0.0)) >= least
    ]


@dataclass
class Receiver:
    """One address; ``heard`` is what it took: id of an incident to the state it was told."""

    url: str
    webhook: bool
    token: str = ""
    heard: dict[str, str] = field(default_factory=dict)
    error: str = ""
    failures: int = 0
    told: int = 0
    next_s: float = 0.0  # monotonic; not before

    def fresh(self, incidents: Sequence[Incident]) -> list[Incident]:
        """Those whose state it has not heard; the end of one it never heard of is no news."""
        return [
            one
            for one in incidents
            if self.heard.get(one.id) != one.state and (one.state == "open" or one.id in self.heard)
        ]

    def ready(self, incidents: Sequence[Incident], now_s: float) -> bool:
        """A change is told at once, a repeat when it is time, a failure after its pause."""
        if now_s >= self.next_s:
            return True
        return not self.failures and bool(self.fresh(incidents))

    def tell(self, incidents: Sequence[Incident], dashboard: str, now_s: float) -> bool:
        """Send what it has not heard; whether anything new was taken. Failures are kept, not raised."""
        fresh = self.fresh(incidents)
        try:
            if self.webhook:
                for one in fresh:
                    self._post(
                        self.url, {"version": 1, "state": one.state, "incident": _plain(one)}
                    )
                    self._took([one])
            else:
                told = [one for one in incidents if one.state == "open" or one in fresh]
                if told:
                    self._post(f"{self.url}/api/v2/alerts", [alert(one, dashboard) for one in told])
                self._took(fresh)
        except (OSError, ValueError) as error:
            self.error = " ".join(str(error).split())
            pause_s = min(FIRST_PAUSE_S * 2.0 ** min(self.failures, 16), LAST_PAUSE_S)
            self.failures += 1
            self.next_s = now_s + pause_s
            return False
        self.error, self.failures = "", 0
        self.next_s = now_s + (0.0 if self.webhook else REPEAT_S)
        return bool(fresh)

    def _took(self, some: Sequence[Incident]) -> None:
        for one in some:
            self.heard.pop(one.id, None)  # to the end: the oldest goes first
            self.heard[one.id] = one.state
            self.told += 1
        for old in list(self.heard)[: max(len(self.heard) - HEARD, 0)]:
            del self.heard[old]

    def _post(self, url: str, data: Any) -> None:
        """OSError where it was not taken."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(url, json.dumps(data).encode(), headers)  # noqa: S310  checked by web_address
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            answer.read()


def _plain(one: Incident) -> dict[str, Any]:
    return {**one.body, "id": one.id, "cls": one.cls, "start": one.first_ns, "end": one.last_ns}


class Alerts:
    """Tells every receiver what is open; :meth:`start` does it in a thread of its own.

    ``state`` is where incidents are kept, ``memory`` the file that remembers what was heard.
    """

    def __init__(
        self, state: Path, memory: Path, receivers: Sequence[Receiver], *,
        least: float = DECIDED, dashboard: str = "",
    ) -> None:  # fmt: skip
        self.state, self.memory, self.receivers = state, memory, list(receivers)
        self.least, self.dashboard = least, dashboard
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._restore()

    def start(self) -> None:
        """Begin; every second until :meth:`stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End; a receiver that is being told is waited for."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(TIMEOUT_S)

    def _run(self) -> None:
        while not self._over.wait(1.0):
            self.step()

    def step(self, now_s: Callable[[], float] = time.monotonic) -> None:
        """One round: whoever may be asked is told what holds now."""
        if not self.state.exists():
            return
        now_ns = time.time_ns()
        try:
            with State(self.state) as state:
                found = self._recent(state)
                wanted = loud(found, state.acknowledgements(), self.least, now_ns)
        except (OSError, ValueError) as error:
            for receiver in self.receivers:
                receiver.error = " ".join(str(error).split())
            return
        asked = [one for one in self.receivers if one.ready(wanted, now_s())]
        if any([one.tell(wanted, self.dashboard, now_s()) for one in asked]):  # noqa: C419  all of them
            self._remember()

    def _recent(self, state: State) -> list[Incident]:
        """What is open, and what is over since somebody heard that it was open."""
        rows = state.incidents(state="open")
        heard = {name for r in self.receivers for name, said in r.heard.items() if said == "open"}
        gone = heard - {one.id for one in rows}
        if gone:
            rows += [one for one in state.incidents(state="over") if one.id in gone]
        return rows

    def told(self) -> list[dict[str, Any]]:
        """How each receiver fares, for the status."""
        return [{"url": _public(r.url), "told": r.told, "error": r.error} for r in self.receivers]

    def _remember(self) -> None:
        partial = self.memory.with_name(f".{self.memory.name}.new")
        try:
            partial.write_text(json.dumps({r.url: r.heard for r in self.receivers}))
            partial.replace(self.memory)
        except OSError as error:  # told twice after a restart is better than not at all
            for receiver in self.receivers:
                receiver.error = f"{self.memory}: {error.strerror}"

    def _restore(self) -> None:
        try:
            known: Mapping[str, Any] = json.loads(self.memory.read_bytes())
        except FileNotFoundError:
            return
        except ValueError as error:
            raise ValueError(
                f"{self.memory}: {error}; delete it to tell everything again"
            ) from error
        for receiver in self.receivers:
            receiver.heard = {str(k): str(v) for k, v in dict(known.get(receiver.url, {})).items()}


def _public(url: str) -> str:
    """An address without the user and password that may stand in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
