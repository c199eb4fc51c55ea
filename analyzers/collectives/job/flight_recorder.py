"""PyTorch's flight recorder, as JSON (``dump_nccl_trace_json``).

The usual dump is a pickle, and unpickling runs whatever the file says, so it is refused and the user
told how to get JSON. Keys as in PyTorch's ``FlightRecorder.hpp``, version 2. ``time_discovered_*`` is
when a watchdog looked, not when it happened: an upper bound, never exact. The dump names no rank: the
file's name does, as PyTorch writes it (``..._rank_3``, ``trace_3.json``), or a key that tools add.
"""

import re
from pathlib import Path
from typing import Any

from analyzers.collectives.job.found import (
    JobFile,
    Member,
    Operation,
    kind_of,
    number,
    parse_json,
    whole,
)

KIND = "PyTorch flight recorder"
# c10::ScalarType as spelled in the dump, bytes
WIDTHS = {
    "Byte": 1, "Char": 1, "Bool": 1, "Float8_e5m2": 1, "Float8_e4m3fn": 1, "Short": 2, "Half": 2,
    "BFloat16": 2, "Int": 4, "Float": 4, "Long": 8, "Double": 8, "ComplexFloat": 8,
}  # fmt: skip
PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
RANK = re.compile(r"(?:rank_?|trace_?|_)(\d+)(?:\.\w+)*$")


def matches(path: Path, head: str) -> bool:
    """Whether a file looks like one of these, from its name and beginning."""
    if path.suffix in (".pkl", ".pickle") or head.startswith(("\ufffd\x02}", "\ufffd\x04\ufffd")):
        return True
    return '"pg_config"' in head or ('"entries"' in head and '"profiling_name"' in head)


def read(path: Path) -> JobFile:
    """Read the dump; ValueError names file and key, and refuses pickles."""
    data = whole(path)
    if data.startswith(PICKLES) or path.suffix in (".pkl", ".pickle"):
        raise ValueError(
            f"{path}: a pickle, which could run code when read; dump JSON instead "
            "(dump_nccl_trace_json)"
        )
    document = parse_json(path, data)
    if not isinstance(document, dict) or not isinstance(document.get("entries"), list):
        raise ValueError(f"{path}: entries: a list is expected")  # noqa: TRY004
    found = JobFile(str(path), KIND)
    named = RANK.search(path.name)
    own = number(document.get("rank", named[1] if named else -1), f"{path}: rank", most=1 << 24)
    groups = _groups(document, path)
    unknown = 0
    for at, entry in enumerate(document["entries"]):
        where = f"{path}: entries[{at}]"
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: an object is expected")  # noqa: TRY004
        operation = _operation(entry, own, groups, where)
        if operation is None:
            unknown += 1
        else:
            found.operations.append(operation)
    if unknown:
        found.notes.append(f"{path}: {unknown} entries of kinds that are not known")
    for name, ranks in groups.items():
        if own in ranks:
            found.members.append(Member(name, ranks.index(own), len(ranks), ""))
    return found


def _groups(document: dict[str, Any], path: Path) -> dict[str, list[int]]:
    """Global ranks of each process group, by its name."""
    config = document.get("pg_config", {})
    if not isinstance(config, dict):
        raise ValueError(f"{path}: pg_config: an object is expected")  # noqa: TRY004
    groups: dict[str, list[int]] = {}
    for key, group in config.items():
        if not isinstance(group, dict):
            continue
        ranks = group.get("ranks", "[]")
        if isinstance(ranks, str):
            ranks = parse_json(path, ranks or "[]")
        if isinstance(ranks, list):
            place = f"{path}: pg_config.{key}.ranks"
            groups[str(group.get("name", key))] = [number(rank, place) for rank in ranks]
    return groups


def _operation(
    entry: dict[str, Any], own: int, groups: dict[str, list[int]], where: str
) -> Operation | None:
    group = entry.get("process_group")
    named = isinstance(group, list) and group
    name = str(group[0]) if named and isinstance(group, list) else str(entry.get("pg_id", ""))
    ranks = groups.get(name, [])
    said = str(entry.get("profiling_name", ""))
    peer = re.fullmatch(r"(?:\w+:)?(send|recv) (?:->|<-)?\s*(?:\d+\s*(?:->|<-)\s*)?(\d+).*", said)
    kind = peer[1] if peer else kind_of(said.partition(" ")[0])
    if not kind:
        return None
    size = max(_bytes(entry, "input", where), _bytes(entry, "output", where))
    of = "p2p_seq_id" if kind in ("send", "recv") else "collective_seq_id"
    start = _time(entry, "time_discovered_started_ns", where)
    end = _time(entry, "time_discovered_completed_ns", where)
    if start < 0:
        start = _time(entry, "time_created_ns", where)
    return Operation(
        name, ranks.index(own) if own in ranks else own, len(ranks) or -1, "",
        number(entry.get(of, entry.get("seq_id", -1)), f"{where}.{of}"), kind, "", size,
        int(peer[2]) if peer else -1, start, end,
    )  # fmt: skip


def _time(entry: dict[str, Any], key: str, where: str) -> int:
    value = entry.get(key)
    return -1 if value is None else number(value, f"{where}.{key}")


def _bytes(entry: dict[str, Any], side: str, where: str) -> int:
    """Bytes of all tensors of one side; -1 where shapes or types are not told."""
    sizes, types = entry.get(f"{side}_sizes"), entry.get(f"{side}_dtypes")
    if not isinstance(sizes, list) or not isinstance(types, list):
        return -1
    size = 0
    for shape, kind in zip(sizes, types, strict=False):
        if not isinstance(shape, list) or kind not in WIDTHS:
            return -1
        count = 1
        for extent in shape:
            count *= number(extent, f"{where}.{side}_sizes", least=0, most=1 << 40)
        size += count * WIDTHS[kind]
    return size if size < 1 << 62 else -1
