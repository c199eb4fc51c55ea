"""What runs beside a collector: diagnosis in a process of its own, alerts, metrics."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from dashboards.commands.collect_store import address, state_path
from dashboards.commands.values import NANOSECONDS, duration

if TYPE_CHECKING:
    from dashboards.alerting.alerts import Alerts
    from dashboards.commands.collect_config import AlertsText, DiagnoseText, Loaded, StoreText

AGAIN_S: Final = 5.0  # before a diagnosis that ended is started again
END_S: Final = 5.0
HEARD: Final = "alerts.json"  # beside the records


class Diagnosis:
    """The process that looks at the store, kept alive."""

    def __init__(self, wanted: "DiagnoseText", store: "StoreText", base: Path, state: Path) -> None:
        """OSError or ValueError where the topology cannot be read: better now than in the process."""
        from fabric.inventory import load

        paths = [str(base / name) for name in wanted.topology]
        load(paths)
        every_s = duration(wanted.every, "diagnose.every") / NANOSECONDS["s"]
        self._task = json.dumps(
            {"store": address(store, base), "options": store.options, "state": str(state),
             "topology": paths, "every_s": every_s, "intervals": wanted.intervals}
        )  # fmt: skip
        self.starts, self.error = 0, ""
        self._next_s = 0.0
        self._process: subprocess.Popen[str] | None = None

    def step(self) -> None:
        """Start the process, and start it again where it ended."""
        if self._process and self._process.poll() is None:
            return
        now_s = time.monotonic()
        if self._process:
            self.error = f"the diagnosis ended with status {self._process.returncode}"
            self._process = None
            self._next_s = now_s + AGAIN_S
        if now_s < self._next_s:
            return
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dashboards.commands.live_child", self._task],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.starts += 1

    def close(self) -> None:
        """End the process."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Beside:
    """Everything a configuration asks for beside collecting; a context manager."""

    def __init__(self, loaded: "Loaded", base: Path, status: Callable[[], dict[str, Any]]) -> None:
        """OSError and ValueError for what cannot be started."""
        folder, store = loaded.config.folder, loaded.store
        state = state_path(store, base, folder) if store else None
        self.diagnosis: Diagnosis | None = None
        self.alerts: Alerts | None = None
        self.metrics: Any = None
        if loaded.diagnose and store and state:
            self.diagnosis = Diagnosis(loaded.diagnose, store, base, state)
        if loaded.alerts and state:
            self.alerts = alerts(loaded.alerts, state, folder)
            self.alerts.start()
        if loaded.metrics:
            from dashboards.alerting.metrics import Metrics, Serving

            self.metrics = Serving(loaded.metrics, Metrics(status, state))

    def step(self) -> dict[str, Any]:
        """Look after the diagnosis; what the status says of all this."""
        told: dict[str, Any] = {}
        if self.diagnosis:
            self.diagnosis.step()
            told["diagnosis"] = {"starts": self.diagnosis.starts, "error": self.diagnosis.error}
        if self.alerts:
            told["alerts"] = self.alerts.told()
        if self.metrics:
            told["metrics_port"] = self.metrics.port
        return told

    def close(self) -> None:
        """End everything."""
        if self.diagnosis:
            self.diagnosis.close()
        if self.alerts:
            self.alerts.stop()
        if self.metrics:
            self.metrics.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def alerts(wanted: "AlertsText", state: Path, folder: Path) -> "Alerts":
    """The receivers of a configuration; ValueError names the key that is wrong."""
    import os

    from dashboards.alerting.alerts import Alerts, Receiver, web_address

    token = ""
    if wanted.token_env:
        if wanted.token_env not in os.environ:
            raise ValueError(f"alerts.token_env: {wanted.token_env} is not set")
        token = os.environ[wanted.token_env]
    receivers = [
        Receiver(web_address(url, f"alerts.{key}"), webhook, token)
        for key, urls, webhook in (
            ("alertmanager", wanted.alertmanager, False),
            ("webhooks", wanted.webhooks, True),
        )
        for url in urls
    ]
    return Alerts(state, folder / HEARD, receivers, least=wanted.confidence,
                  dashboard=wanted.dashboard.rstrip("/"))  # fmt: skip
