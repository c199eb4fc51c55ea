"""Device time as a replay delivers it."""

import asyncio
import time


class Clock:
    """Runs ``speed`` times as fast as ours from the moment it begins; stands at the first reading before.

    ``end_ns`` is the last reading, at which it stops unless it is ``endless``. ``now`` may be asked
    from any thread.
    """

    def __init__(self, start_ns: int, end_ns: int, speed: float, *, endless: bool = False) -> None:
        self.start_ns, self.end_ns, self.speed, self.endless = start_ns, end_ns, speed, endless
        self.began = asyncio.Event()
        self.origin_s = 0.0

    def begin(self) -> None:
        """Let time run, if it does not already."""
        if not self.began.is_set():
            self.origin_s = time.monotonic()
            self.began.set()

    def now(self) -> int:
        """Device time in ns."""
        if not self.began.is_set():
            return self.start_ns
        now_ns = self.start_ns + int((time.monotonic() - self.origin_s) * 1e9 * self.speed)
        return now_ns if self.endless else min(now_ns, self.end_ns)

    async def reach(self, ts: int) -> None:
        """Wait until ``ts``."""
        await self.began.wait()
        due_s = self.origin_s + (ts - self.start_ns) / 1e9 / self.speed
        await asyncio.sleep(max(due_s - time.monotonic(), 0))
