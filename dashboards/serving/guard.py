"""What every request passes: the gate, the host it names, where it comes from; and what answers carry.

The host check stops a foreign page from reaching a loopback server under a name of its own (DNS
rebinding); the origin check stops it from making the browser's stored password act for it.
"""

import logging
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from dash.exceptions import DashException
from flask import Flask, Response, g, request

from dashboards.serving.auth import Gate

LOG = logging.getLogger("fabric.dashboard")
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
ASSETS: Final = ("/_dash-component-suites/", "/assets/")


def guard(server: Flask, gate: Gate, hosts: Iterable[str], scripts: Iterable[str] = ()) -> None:
    """Put the checks before every route of ``server`` and the headers behind it.

    ``hosts`` are the names under which the server may be asked; empty: any (a proxy in front says
    what it forwards). ``scripts`` are the hashes of inline scripts that may run.
    """
    known = frozenset(host.lower() for host in hosts)
    policy = _policy(scripts)

    def check() -> Response | None:
        if known and _host(request.host) not in known:
            return Response("unknown host name\n", 400, mimetype="text/plain")
        user = gate.user(request.remote_addr or "", dict(request.headers))
        if user is None:
            realm = (
                {"WWW-Authenticate": 'Basic realm="fabric", charset="UTF-8"'} if gate.users else {}
            )
            return Response("please log in\n", 401, realm, mimetype="text/plain")
        if request.method not in SAFE and not _same_origin():
            return Response("request from another site refused\n", 403, mimetype="text/plain")
        g.user = user
        return None

    def stamp(answer: Response) -> Response:
        answer.headers["Content-Security-Policy"] = policy
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["X-Frame-Options"] = "DENY"
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        answer.headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
        if not request.path.startswith(ASSETS):
            answer.headers["Cache-Control"] = "no-store"
        return answer

    def refuse(error: DashException) -> Response:
        """A request for a callback or a file that does not exist is not our failure."""
        LOG.info("refused: %s", " ".join(str(error).split())[:200])
        return Response("no such thing here\n", 404, mimetype="text/plain")

    server.register_error_handler(DashException, refuse)
    # Before anything that Dash has put there: nobody gets past the gate by a route we did not see.
    server.before_request_funcs.setdefault(None, []).insert(0, check)
    server.after_request(stamp)


def _policy(scripts: Iterable[str]) -> str:
    """Nothing from anywhere else. Styles are inline in Plotly, AG Grid and Mantine alike."""
    hashes = " ".join(scripts)
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {hashes}".strip(),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def _host(given: str) -> str:
    """The name in a Host header, without the port."""
    return (urlsplit(f"//{given}").hostname or "").lower()


def _same_origin() -> bool:
    """Whether a changing request comes from our own page, as far as the browser says."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host
