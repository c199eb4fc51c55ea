"""Keep an analysis: every table that has rows as Parquet, and report.json last."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from analyzers.tables import Tables
    from dashboards.report.facts import Facts


def keep(folder: Path, facts: "Facts", tables: "Tables", findings: "pl.DataFrame") -> None:
    """Write into ``folder``; what an earlier run left there goes."""
    from analyzers.tables import NAMES
    from dashboards.commands.files import whole, write_text
    from dashboards.report import json

    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        table: pl.LazyFrame = findings.lazy() if name == "findings" else getattr(tables, name)
        path = folder / f"{name}.parquet"
        path.unlink(missing_ok=True)  # of an earlier run
        if table.head(1).collect().is_empty():
            continue
        with whole(path) as temporary:
            table.sink_parquet(temporary, compression="zstd")
    write_text(folder / "report.json", json.as_text(facts) + "\n")
