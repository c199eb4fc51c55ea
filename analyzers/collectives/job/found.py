"""What one file of a job says, before it is joined to packets, and helpers the readers share."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

LARGEST = 1 << 30  # a file of a job that is larger is not one
LONGEST_LINE = 1 << 20
NO_RANK: Final = -1
NO_TIME: Final = -1

# NCCL's spelling, PyTorch's and HCCL's, in lower case without underscores -> ours
KINDS: Final[dict[str, str]] = {
    "allreduce": "all_reduce",
    "allgather": "all_gather",
    "allgatherbase": "all_gather",
    "allgatherintotensor": "all_gather",
    "allgatherv": "all_gather",
    "reducescatter": "reduce_scatter",
    "reducescatterbase": "reduce_scatter",
    "reducescattertensor": "reduce_scatter",
    "reducescatterv": "reduce_scatter",
    "alltoall": "all_to_all",
    "alltoallbase": "all_to_all",
    "alltoallv": "all_to_all",
    "alltoallvc": "all_to_all",
    "broadcast": "broadcast",
    "bcast": "broadcast",
    "reduce": "reduce",
    "gather": "gather",
    "scatter": "scatter",
    "barrier": "barrier",
    "allreducebarrier": "barrier",
    "send": "send",
    "recv": "recv",
    "receive": "recv",
    "isend": "send",
    "irecv": "recv",
}
# Where a call's count is that of one rank, nccl-tests counts all of them (doc/PERFORMANCE.md).
PER_RANK: Final = frozenset({"all_gather", "reduce_scatter", "all_to_all", "gather", "scatter"})


class Operation(NamedTuple):
    """A call on one rank: the row of OPERATIONS without job and path."""

    communicator: str
    rank: int
    ranks: int
    device: str
    number: int
    kind: str
    algorithm: str
    size: int  # bytes as nccl-tests counts them; -1 unknown
    peer: int = NO_RANK
    start: int = NO_TIME
    end: int = NO_TIME
    exact: bool = False


class QueuePair(NamedTuple):
    """A queue pair of a rank: its own number, its NIC's address, and its peer's where it is told."""

    communicator: str
    rank: int
    device: str
    nic: str
    address: str  # empty unknown
    qpn: int
    peer_qpn: int = -1
    peer: int = NO_RANK


class Member(NamedTuple):
    """A rank of a communicator: the host and NIC it runs on."""

    communicator: str
    rank: int
    ranks: int
    device: str
    nic: str = ""
    address: str = ""


@dataclass
class JobFile:
    """Everything one file of a job says; what it does not speak of stays empty."""

    path: str
    kind: str
    members: list[Member] = field(default_factory=list)
    pairs: list[QueuePair] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    edges: set[tuple[str, str, int, int]] = field(default_factory=set)
    """(communicator, shape, rank, next rank) of rings and trees."""
    notes: list[str] = field(default_factory=list)
    """One line each about what could not be read and was passed over."""


def kind_of(name: str) -> str:
    """Our word for an operation's name; empty for one that is none."""
    plain = name.rpartition(":")[2].lower().removeprefix("hccl").removeprefix("nccl")
    return KINDS.get(plain.replace("_", "").replace(" ", ""), "")


def total(kind: str, size: int, ranks: int) -> int:
    """Bytes of one rank's buffer as nccl-tests counts the whole operation; -1 where not known."""
    if size < 0 or (kind in PER_RANK and ranks < 1):
        return -1
    return size * ranks if kind in PER_RANK else size


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a text file, cut to a bearable length; ValueError for one too large."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path}: {path.stat().st_size:,} bytes are too many for a job's log")
    with path.open("rb") as file:
        for number, raw in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
            yield number, raw.decode("utf-8", "replace").rstrip("\r\n")


def parse_json(path: Path, text: str | bytes, line: int = 1) -> Any:
    """JSON of a file or of one line of it; ValueError names file, line and reason."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as bad:
        raise ValueError(f"{path}:{line + bad.lineno - 1}: not JSON: {bad.msg}") from None
    except (UnicodeDecodeError, RecursionError, ValueError) as bad:
        raise ValueError(f"{path}:{line}: not JSON: {type(bad).__name__}") from None


def whole(path: Path) -> bytes:
    """All bytes of a file; ValueError for one too large to be a job's."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path}: {path.stat().st_size:,} bytes are too many for a job's file")
    return path.read_bytes()


def number(value: object, where: str, least: int = -1, most: int = 2**63 - 1) -> int:
    """A whole number that JSON may have as text or float; ValueError names the place."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{where}: a number is expected, not {str(value)[:40]!r}")  # noqa: TRY004
    try:
        found = int(value, 0) if isinstance(value, str) else int(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{where}: a number is expected, not {str(value)[:40]!r}") from None
    if not least <= found <= most:
        raise ValueError(f"{where}: {found} is out of range")
    return found
