"""``fabric collect --status``: how each source of a collector fares, from the file it keeps."""

import json
import time
from pathlib import Path
from typing import Any, Final

import typer

from collectors.health import STATUS

LATE: Final = 5  # periods without a sign of life: the collector is gone
LATE_FLOOR_S: Final = 10.0
WELL: Final = ("streaming", "gone")


def show(folder: Path, *, as_json: bool) -> int:
    """Print the status; 1 where a source is not well, ValueError where no collector runs."""
    found = read(folder)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _table(found)
    return int(any(ill(source) for source in found["sources"]))


def read(folder: Path) -> dict[str, Any]:
    """The status of a collector that runs now."""
    path = folder / STATUS
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        age_s = time.time() - found["at_ns"] / 1e9
    except FileNotFoundError:
        raise ValueError(f"{path}: no collector has run here") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no status: {error}") from error
    if not found.get("running") or age_s > max(LATE * found.get("every_s", 0), LATE_FLOOR_S):
        how = "crashed or hangs" if found.get("running") else "has ended"
        raise ValueError(f"{path}: the collector {how}; its last sign is {age_s:.0f} s old")
    return found


def ill(source: dict[str, Any]) -> bool:
    """Whether somebody should look at a source."""
    return source["state"] not in WELL or bool(source["left_out"])


def _table(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape as no_markup
    from rich.table import Table

    from dashboards.report.words import clean

    def escape(text: str) -> str:
        return no_markup(clean(text))

    console = Console()
    table = Table(box=None, pad_edge=False)
    for name, right in (("source", 0), ("kind", 0), ("state", 0), ("since", 1), ("last", 1),
                        ("messages", 1), ("MB", 1), ("connections", 1), ("faults", 1), ("remark", 0)):  # fmt: skip
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "remark")
    now_ns = found["at_ns"]
    for source in found["sources"]:
        table.add_row(
            escape(source["name"]), escape(source["kind"]), source["state"],
            _ago(now_ns, source["since_ns"]), _ago(now_ns, source["last_ns"]),
            str(source["messages"]), f"{source['bytes'] / 1e6:.1f}", str(source["connections"]),
            str(source["faults"]), escape(source["error"]),
        )  # fmt: skip
    console.print(table)
    for line, sources in _paths(found).items():
        of = sources[0] if len(sources) == 1 else f"{len(sources)} sources"
        console.print(f"{escape(of)}: {escape(line)}", highlight=False, soft_wrap=True)
    recorder = found["recorder"]
    console.print(
        f"{recorder['records']} records, {recorder['acknowledged']} on disk, {recorder['failed']} lost"
        + (f": {escape(recorder['last_error'])}" if recorder["last_error"] else ""),
        highlight=False,
    )
    if store := found.get("store"):
        console.print(
            f"store {escape(store['url'])}: {store['rows']} rows of {store['records']} records, "
            f"{store['segments']} segments committed, {store['waiting']} waiting, {store['faults']} faults"
            + (f": {escape(store['error'])}" if store["error"] else ""),
            highlight=False,
        )


def _paths(found: dict[str, Any]) -> dict[str, list[str]]:
    """What is not asked for as it was configured, and of which sources."""
    lines: dict[str, list[str]] = {}
    for source in found["sources"]:
        for path, why in source["left_out"].items():
            lines.setdefault(f"left out {path} ({why})", []).append(source["name"])
        for path, how in source["changed"].items():
            lines.setdefault(f"{path} is asked for {how}", []).append(source["name"])
    return lines


def _ago(now_ns: int, then_ns: int) -> str:
    if not then_ns:
        return "-"
    seconds = max(now_ns - then_ns, 0) / 1e9
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
