"""Bytes and bandwidths of collective operations.

Bus bandwidth is algorithm bandwidth times a factor that makes operations comparable with the speed of
a link: nccl-tests, ``doc/PERFORMANCE.md`` and the ``*GetBw`` functions of ``src/*.cu``. The size S is
that of the same document: the whole result for gathering and scattering operations.
"""

import math
from typing import Final

SCATTERED: Final = ("all_gather", "reduce_scatter", "all_to_all", "gather", "scatter")


def bus_factor(kind: str, ranks: int) -> float:
    """Bus bandwidth over algorithm bandwidth; NaN for fewer than two ranks."""
    if ranks < 2:
        return math.nan
    if kind == "all_reduce":
        return 2 * (ranks - 1) / ranks
    return (ranks - 1) / ranks if kind in SCATTERED else 1.0


def wire_bytes(kind: str, algorithm: str, size: int, ranks: int) -> int:
    """Payload that an operation of ``size`` bytes puts on the wire, over all ranks; -1 not known.

    One rank per NIC. Ring: 2(n-1) chunks of S/n on each of n edges for AllReduce, n-1 of them for
    AllGather and ReduceScatter. Tree: each of n-1 edges carries S up and S down. Direct AllToAll:
    S/n for each of n(n-1) pairs.
    """
    if size < 0 or ranks < 2:
        return -1
    if kind == "all_reduce":
        return 2 * (ranks - 1) * size
    if kind in SCATTERED:
        return (ranks - 1) * size
    if kind == "broadcast" or kind == "reduce":
        return (ranks - 1) * size
    return size if algorithm == "direct" else -1


def size_of(kind: str, edge_bytes: float, edges: int, ranks: int) -> int:
    """Size S of an operation, from the payload that one of its edges carried."""
    if kind == "all_reduce" and edges > ranks:  # a tree: each edge carries the whole
        return round(edge_bytes)
    if kind == "all_reduce":
        return round(edge_bytes * ranks / (2 * (ranks - 1)))
    if kind in ("all_gather", "reduce_scatter"):
        return round(edge_bytes * ranks / (ranks - 1))
    if kind == "all_to_all":
        return round(edge_bytes * ranks)
    return round(edge_bytes)


def bandwidths(kind: str, size: int, ranks: int, took_ns: int) -> tuple[float, float]:
    """Algorithm and bus bandwidth in bit/s; NaN where there is nothing to divide."""
    if size < 0 or took_ns <= 0:
        return math.nan, math.nan
    algorithm = size * 8e9 / took_ns
    return algorithm, algorithm * bus_factor(kind, ranks)
