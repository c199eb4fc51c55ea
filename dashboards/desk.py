"""What the pages share: the sources they may look at, and how a request finds its own."""

from collections.abc import Callable
from dataclasses import dataclass

from dashboards.serving.reviews import Reviews
from dashboards.source import Source
from dashboards.state import State, read


class UnknownSourceError(ValueError):
    """A link names a result that is not here (any more)."""


@dataclass
class Desk:
    """The main source, and further ones by name: results of jobs.

    ``open_result`` turns a name from a URL into a source; it raises :class:`UnknownSourceError`.
    """

    main: Source
    reviews: Reviews
    open_result: Callable[[str], Source] | None = None

    def source(self, state: State) -> Source:
        """The source a URL asks for."""
        if not state.src:
            return self.main
        if self.open_result is None:
            raise UnknownSourceError("no such result here")
        return self.open_result(state.src)

    def at(self, search: str | None) -> tuple[Source, State]:
        """Source and state of a query."""
        state = read(search)
        return self.source(state), state
