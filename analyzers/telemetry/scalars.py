"""Value rows that hold a scalar, and time stamps that can be one."""

import numpy as np
from numpy.typing import NDArray

from analyzers.telemetry.flatten import Scalar
from analyzers.telemetry.rows import ValueKind as Kind


def told(ts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which time stamps can be one: behind 1970 and before 2116, so that differences fit."""
    return (ts > 0) & (ts < 1 << 62)


def scalar_of(kind: Kind, value: int, size: int, buffer: NDArray[np.uint8]) -> Scalar:
    """The value of a row that holds a scalar."""
    if kind == Kind.UNSIGNED:
        return value & (1 << 64) - 1
    if kind == Kind.FLOAT:
        return float(np.uint32(value).view(np.float32))
    if kind == Kind.DOUBLE:
        return float(np.int64(value).view(np.float64))
    if kind == Kind.DECIMAL:
        return value if size == 0 else value / 10.0 ** min(size, 400)
    if kind in (Kind.TEXT, Kind.BYTES, Kind.JSON, Kind.LEAFLIST, Kind.BAD_JSON):
        raw = buffer[value : value + size].tobytes()
        return raw if kind == Kind.BYTES else raw.decode(errors="replace")
    return value
