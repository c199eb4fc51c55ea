"""Learning a fabric: one module per kind of source, one place that holds them against each other.

An importer is a module with ``KIND``, ``matches(path, head)`` and ``read(path) -> Found``. To add one:
the module, and its name in ``IMPORTERS``.
"""

import gc
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from fabric.inventory import (
    containerlab,
    dot,
    groundtruth,
    host,
    lldp,
    native,
    nccl,
    routes,
    sonic,
)
from fabric.inventory.found import Contradiction, Found
from fabric.inventory.merge import Inventory, assemble

__all__ = ["IMPORTERS", "Contradiction", "Found", "Inventory", "assemble", "importer_of", "load"]

IMPORTERS: tuple[ModuleType, ...] = (
    native,
    containerlab,
    dot,
    groundtruth,
    nccl,
    host,
    lldp,
    routes,
    sonic,
)
HEAD_BYTES = 65536


def importer_of(path: Path) -> ModuleType | None:
    """The importer that recognises a file; None where none does."""
    head = ""
    if not path.is_dir():
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES).decode("utf-8", "replace")
    return next((module for module in IMPORTERS if module.matches(path, head)), None)


def load(paths: Iterable[str | Path], kind: str = "") -> Inventory:
    """Read all files, and the recognised ones inside folders, into one inventory.

    ``kind`` names one importer instead of recognising it. OSError for what cannot be read, ValueError
    naming file, line and key for what cannot be understood, and for a file that no importer knows.
    """
    collecting = gc.isenabled()
    gc.disable()  # millions of small objects that all stay: the collector only costs, half the time
    try:
        return assemble(*_read(list(map(Path, paths)), _named(kind)))
    finally:
        if collecting:
            gc.enable()


def _read(paths: list[Path], chosen: ModuleType | None) -> tuple[list[Found], list[str]]:
    found: list[Found] = []
    ignored: list[str] = []
    for given in paths:
        for path in _files(given):
            importer = chosen or importer_of(path)
            if importer is not None:
                found.append(_one(importer, path))
            elif path == given:
                kinds = ", ".join(module.KIND for module in IMPORTERS)
                raise ValueError(f"{path}: not recognised; known are {kinds}")
            else:
                ignored.append(str(path))
    if not found:
        raise ValueError(f"{', '.join(map(str, paths))}: nothing here describes a fabric")
    return found, ignored


def _one(importer: ModuleType, path: Path) -> Found:
    """Read one file; names of things inside it may hold line breaks, a complaint does not."""
    try:
        part: Found = importer.read(path)
    except ValueError as complaint:
        text = "".join(c if c.isprintable() else " " for c in str(complaint))
        raise ValueError(text) from None
    return part


def _named(kind: str) -> ModuleType | None:
    if not kind:
        return None
    for module in IMPORTERS:
        if module.__name__.rpartition(".")[2] == kind:
            return module
    names = ", ".join(module.__name__.rpartition(".")[2] for module in IMPORTERS)
    raise ValueError(f"no importer is named {kind!r}; known are {names}")


def _files(path: Path) -> Iterator[Path]:
    """The file itself, or all files below a folder by name; a copy of /sys counts as one file."""
    if not path.is_dir() or host.matches(path, ""):
        yield path
        return
    for inner in sorted(path.iterdir()):
        yield from _files(inner)
