"""The dashboard as a server: waitress, on loopback unless somebody has to log in."""

import logging
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dashboards.app import create
from dashboards.desk import Desk
from dashboards.serving import auth, export, uploads
from dashboards.serving.auth import Gate
from dashboards.serving.guard import LOOPBACK, guard

THREADS: Final = 8
SMALL_BODY: Final = 1 << 20  # of requests that are no uploads


@dataclass(frozen=True)
class Serving:
    """Where to listen and who may ask; upload limits in bytes and files."""

    host: str = "127.0.0.1"
    port: int = 8050
    gate: Gate = field(default_factory=Gate)
    hosts: tuple[str, ...] = ()
    upload_bytes: int = 8 << 30

    def check(self) -> None:
        """ValueError where strangers could reach the data."""
        if not auth.is_loopback(self.host) and not self.gate.closed:
            raise ValueError(
                f"--host {self.host}: others could reach this without logging in; "
                "give --users FILE or --trusted-header NAME, or listen on 127.0.0.1"
            )


def state_folder() -> Path:
    """Where uploads, results and reviews are kept (XDG base directories)."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "fabric"


def build(desk: Desk, serving: Serving) -> Any:
    """The WSGI application, guarded; ValueError as :meth:`Serving.check` says."""
    serving.check()
    app = create(desk)
    export.routes(app.server, desk)
    uploads.routes(app.server, desk.places)
    guard(app.server, serving.gate, _hosts(serving), app.csp_hashes())
    return app.server


def _hosts(serving: Serving) -> Iterable[str]:
    """Host names under which requests are taken: loopback's own and those named."""
    if auth.is_loopback(serving.host):
        return {*LOOPBACK, *serving.hosts}
    return serving.hosts


def listen(serving: Serving) -> socket.socket:
    """Take the port now, so that a port in use is said before anything is computed."""
    family = socket.AF_INET6 if ":" in serving.host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((serving.host.strip("[]"), serving.port))
    except OSError as error:
        taken.close()
        raise OSError(f"{serving.host} port {serving.port}: {error.strerror}") from error
    return taken


def server(application: Any, taken: socket.socket, serving: Serving) -> Any:
    """The waitress server; ``run()`` serves until ``close()``."""
    from waitress.server import create_server

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a burst of callbacks is normal
    return create_server(
        application, sockets=[taken], threads=THREADS, ident=None, clear_untrusted_proxy_headers=False,
        max_request_body_size=max(serving.upload_bytes, SMALL_BODY), channel_timeout=120,
    )  # fmt: skip


def stop(running: Any) -> None:
    """End a server from another thread: its loop ends when nothing is open any more."""
    from waitress import wasyncore

    running.trigger.pull_trigger(lambda: wasyncore.close_all(running._map, ignore_all=True))
    running.task_dispatcher.shutdown()
