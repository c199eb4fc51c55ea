"""The event queue: a four-ary heap of (time, code) in two arrays; equal times leave by code."""

import numpy as np
import numpy.typing as npt

from fabric.kernel import inline
from fabric.simulator.state import HEAP_N

Longs = npt.NDArray[np.int64]


@inline
def push(times: Longs, codes: Longs, whole: Longs, time: int, code: int) -> None:
    """Add an event. The arrays must have room: the state is sized for every possible event."""
    i = whole[HEAP_N]
    whole[HEAP_N] = i + 1
    while i > 0:
        up = (i - 1) >> 2
        if times[up] < time or (times[up] == time and codes[up] <= code):
            break
        times[i] = times[up]
        codes[i] = codes[up]
        i = up
    times[i] = time
    codes[i] = code


@inline
def pop(times: Longs, codes: Longs, whole: Longs) -> None:
    """Drop the first event; the caller has read it."""
    n = whole[HEAP_N] - 1
    whole[HEAP_N] = n
    time = times[n]
    code = codes[n]
    i = 0
    while True:
        child = 4 * i + 1
        if child >= n:
            break
        best = child
        last = min(child + 4, n)
        for k in range(child + 1, last):
            if times[k] < times[best] or (times[k] == times[best] and codes[k] < codes[best]):
                best = k
        if times[best] > time or (times[best] == time and codes[best] >= code):
            break
        times[i] = times[best]
        codes[i] = codes[best]
        i = best
    times[i] = time
    codes[i] = code
