"""A real browser on a real server: Chromium through playwright, waitress on a free port of loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from dashboards.desk import Desk
from dashboards.serving.jobs import Jobs
from dashboards.serving.places import Places
from dashboards.serving.reviews import Reviews
from dashboards.serving.serve import Serving, build, listen, server, stop
from dashboards.source import Reader, Source
from tests.data import ROOT, tool

WAIT_MS = 30_000  # a machine may be busy; nothing waits longer than it must


@dataclass
class Site:
    """A running dashboard."""

    url: str
    desk: Desk


@contextmanager
def site(
    reader: Reader, state: Path, roots: tuple[Path, ...] = (), **serving: Any
) -> Iterator[Site]:
    """Serve a reader until the block ends."""
    settings = Serving(port=0, **serving)
    places = Places(state / "uploads", roots, settings.upload_bytes)
    places.uploads.mkdir(parents=True, exist_ok=True)
    desk = Desk(Source(reader), Reviews(state / "reviews.sqlite"), places, Jobs(state / "jobs"))
    taken = listen(settings)
    running = server(build(desk, settings), taken, settings)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        yield Site(f"http://127.0.0.1:{taken.getsockname()[1]}", desk)
    finally:
        desk.jobs.close()
        stop(running)
        thread.join(10)


@contextmanager
def browser() -> Iterator[Browser]:
    """Debian's Chromium without a window."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=tool("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield launched
        finally:
            launched.close()


@dataclass
class Watch:
    """What a page must not do: errors on its console, requests to anybody else, answers of 500."""

    errors: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def attach(self, page: Page, url: str) -> None:
        page.on("console", lambda said: self._say(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self._say(str(error)))
        page.on("request", lambda asked: self._foreign(asked.url, url))

    def _say(self, text: str) -> None:
        if not any(part in text for part in self.expected):
            self.errors.append(text)

    def _foreign(self, asked: str, own: str) -> None:
        if not asked.startswith((own, "data:", "blob:")):
            self.errors.append(f"asked {asked}")


@contextmanager
def opened(
    launched: Browser,
    url: str,
    *,
    dark: bool = False,
    expected: tuple[str, ...] = (),
    **context: Any,
) -> Iterator[Page]:
    """A page in a profile of its own; what must not happen fails the test when the block ends."""
    profile = launched.new_context(
        viewport={"width": 1440, "height": 900}, color_scheme="dark" if dark else "light",
        base_url=url, **context,
    )  # fmt: skip
    profile.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    page = profile.new_page()
    watch = Watch(expected=expected)
    watch.attach(page, url)
    try:
        yield page
        assert watch.errors == []
    finally:
        profile.close()


def simulated(folder: Path, scenario: str = "pfc_storm") -> Path:
    """A run of a shipped scenario."""
    from dashboards.commands.simulate import simulate

    run = folder / scenario
    simulate(ROOT / "fabric/simulator/scenarios" / f"{scenario}.toml", run, None, False)
    return run
