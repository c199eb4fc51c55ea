"""What the pages share: the sources they may look at, and how a request finds its own."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from dashboards import readers
from dashboards.serving.jobs import Jobs
from dashboards.serving.places import Places
from dashboards.serving.reviews import Reviews
from dashboards.source import Source
from dashboards.state import State, read

OPEN_RESULTS: Final = 8  # kept open at a time; another is opened anew when asked for


@dataclass
class Desk:
    """The main source, what people said about it, and the captures and jobs beside it."""

    main: Source
    reviews: Reviews
    places: Places
    jobs: Jobs
    _open: OrderedDict[str, Source] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def source(self, state: State) -> Source:
        """The source a URL asks for: the main one, or the result of a job; ValueError where it is gone."""
        if not state.src:
            return self.main
        folder = self.jobs.result(state.src)
        with self._lock:
            found = self._open.pop(state.src, None) or Source(readers.result(folder))
            self._open[state.src] = found
            while len(self._open) > OPEN_RESULTS:
                self._open.popitem(last=False)
        return found

    def at(self, search: str | None) -> tuple[Source, State]:
        """Source and state of a query."""
        state = read(search)
        return self.source(state), state
