"""Waiting, in an event loop, until records are on disk."""

import asyncio
from collections.abc import Sequence

from collectors.recorder import Recorder


async def safe(recorder: Recorder, tickets: Sequence[int]) -> None:
    """Wait for tickets (0 is safe already); OSError where one of them could not be written."""
    if any(tickets):
        await asyncio.wrap_future(recorder.future(max(tickets)))
        for ticket in tickets:  # a later one may have been written where an earlier one failed
            recorder.wait(ticket, 0)
