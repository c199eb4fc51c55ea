"""Configuration checks: what bites in practice, each with the reason and the repair.

A check is one module with ``check(site)``. To add one: the module, and its name in ``CHECKS``.
"""

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import polars as pl

from analyzers.audit import (
    buffers,
    cabling,
    cnp_class,
    contradictions,
    coverage,
    cycle,
    dscp_map,
    ecn,
    headroom,
    host_roce,
    mtu,
    pfc_one_sided,
    priority_path,
    roce_lossy,
    scheduler,
    watchdog,
)
from analyzers.audit.common import Knobs, Site, findings
from analyzers.frames import empty
from fabric.inventory import Inventory, load
from fabric.schema import FINDINGS

__all__ = ["CABLING", "CHECKS", "Knobs", "audit", "audit_paths"]

CABLING: tuple[ModuleType, ...] = (contradictions, cabling)
CHECKS: tuple[ModuleType, ...] = (
    contradictions,
    cabling,
    pfc_one_sided,
    priority_path,
    dscp_map,
    roce_lossy,
    cnp_class,
    ecn,
    headroom,
    buffers,
    mtu,
    watchdog,
    scheduler,
    host_roce,
    cycle,
    coverage,
)
RANK = ("critical", "warning", "info")


def audit(
    inventory: Inventory, knobs: Knobs | None = None, checks: Iterable[ModuleType] = CHECKS
) -> pl.DataFrame:
    """All findings (FINDINGS), the worst first, then in the order of the checks."""
    site = Site(inventory, knobs or Knobs())
    frames = [findings(check.__name__.rpartition(".")[2], check.check(site)) for check in checks]
    whole = pl.concat([empty(FINDINGS), *frames])
    rank = pl.col("severity").replace_strict(RANK, range(len(RANK)), return_dtype=pl.Int8)
    return whole.sort(rank, maintain_order=True)


def audit_paths(paths: Iterable[str | Path], knobs: Knobs | None = None) -> pl.DataFrame:
    """Load everything at the paths and audit it; ValueError and OSError as :func:`load` raises."""
    return audit(load(paths), knobs)
