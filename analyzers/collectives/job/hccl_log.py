"""HCCL's log (Ascend): communicators and calls, as its run log prints them.

    [INFO] HCCL(pid,name):2025-03-07-11:43:32.305.623 [file.cc:56][thread]Entry-HcclAllReduce: tag[..],
    sendBuf[..], recvBuf[..], count[..], dataType[float32], op[sum], localRank[0], ...

Calls are printed where ``HCCL_ENTRY_LOG_ENABLE`` is set; communicators always. Times are local times
without a zone and are read as UTC: order and distance are right, the hour may not be.
"""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from analyzers.collectives.job.found import JobFile, Member, Operation, kind_of, lines, total

KIND = "HCCL log"
LINE: Final = re.compile(
    r"HCCL\((\d+)[^)]*\):(\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d)\.(\d{3})\.(\d{3}).*?Entry-(Hccl\w+?):\s*(.*)"
)
FIELD: Final = re.compile(r"(\w+)\[([^\]]*)\]")
WIDTHS: Final = {
    "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "fp16": 2, "bfloat16": 2,
    "bfp16": 2, "int32": 4, "uint32": 4, "float32": 4, "fp32": 4, "int64": 8, "uint64": 8,
    "float64": 8, "fp64": 8,
}  # fmt: skip


def matches(path: Path, head: str) -> bool:
    """Whether a file looks like one of these, from its name and beginning."""
    del path
    return "HCCL(" in head and "Entry-Hccl" in head


def read(path: Path) -> JobFile:
    """Read the log; lines that are not understood are passed over, broken numbers noted."""
    found = JobFile(str(path), KIND)
    sizes: dict[str, tuple[str, int, int]] = {}  # process -> communicator, rank, ranks
    counts: dict[tuple[str, str], int] = {}
    bad = 0
    for number, line in lines(path):
        match = LINE.search(line)
        if match is None:
            continue
        process, clock, ms, us, call, rest = match.groups()
        fields: dict[str, str] = dict(FIELD.findall(rest))
        try:
            if call.startswith("HcclCommInit") and "ranks" in fields:
                name = fields.get("identifier", process)
                sizes[process] = (name, int(fields["rank"]), int(fields["ranks"]))
                found.members.append(Member(name, int(fields["rank"]), int(fields["ranks"]), ""))
            elif "count" in fields and (kind := kind_of(call.removesuffix("Inner"))):
                at = _ns(clock, int(ms), int(us))
                found.operations.append(_call(kind, fields, sizes.get(process), counts, at))
        except (ValueError, KeyError, OverflowError):
            bad += 1
            if bad == 1:
                found.notes.append(f"{path}:{number}: a value in this line makes no sense")
    return found


def _call(
    kind: str, fields: dict[str, str], known: tuple[str, int, int] | None,
    counts: dict[tuple[str, str], int], at: int,
) -> Operation:  # fmt: skip
    tag = fields.get("tag", "").partition("_")[2] or fields.get("comm", "")
    name, rank, ranks = known or (tag, int(fields.get("localRank", "-1")), -1)
    key = (name, str(rank))
    counts[key] = counts.get(key, -1) + 1
    width = WIDTHS.get(fields.get("dataType", "").lower().removeprefix("hccl_data_type_"), 0)
    size = int(fields["count"]) * width if width else -1
    peer = int(fields.get("destRank", fields.get("srcRank", fields.get("root", "-1"))))
    return Operation(
        name, rank, ranks, "", counts[key], kind, "", total(kind, size, ranks), peer, at
    )


def _ns(clock: str, ms: int, us: int) -> int:
    seconds = datetime.strptime(clock, "%Y-%m-%d-%H:%M:%S").replace(tzinfo=UTC)
    return int(seconds.timestamp()) * 1_000_000_000 + ms * 1_000_000 + us * 1000
