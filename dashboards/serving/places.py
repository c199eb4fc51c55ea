"""Which files the dashboard may read: those in the roots the operator named, and what was uploaded.

A browser names a file by the number of its root and a path below it. Links that lead out of the root,
``..`` and absolute paths are refused by comparing what the path really is, not how it is spelled.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NamedTuple

NAME = re.compile(r"[A-Za-z0-9_][\w .()+@-]{0,127}")
CHUNK_BYTES: Final = 1 << 20
MOST_LISTED: Final = 5000
MARK: Final = ".partial"


class File(NamedTuple):
    """A file in a root: its path below it, size in bytes, time of the last change in ns."""

    path: str
    size: int
    changed: int


@dataclass(frozen=True)
class Places:
    """Roots that may be looked into; the first is where uploads go.

    ``upload_bytes`` bounds one upload, ``total_bytes`` and ``most_files`` all that lie there.
    """

    uploads: Path
    roots: tuple[Path, ...] = ()
    upload_bytes: int = 8 << 30
    total_bytes: int = 64 << 30
    most_files: int = 1000

    @property
    def all(self) -> tuple[Path, ...]:
        """Every root, the uploads first."""
        return (self.uploads, *self.roots)

    def resolve(self, root: int, path: str) -> Path:
        """The file or folder meant; ValueError where it lies outside or is not there."""
        if not 0 <= root < len(self.all) or "\0" in path:
            raise ValueError("no such folder")
        base = self.all[root].resolve()
        found = (base / path).resolve()
        if not found.is_relative_to(base) or not found.exists():
            raise ValueError(f"{path}: no such file in {self.all[root].name}")
        return found

    def files(self, root: int) -> list[File]:
        """Captures below a root, the latest first; hidden files and links are left out."""
        base = self.all[root].resolve()
        found = [file for file in _walk(base) if _promising(base / file.path)]
        found.sort(key=lambda file: (-file.changed, file.path))
        return found[:MOST_LISTED]

    def receive(self, name: str, stream: IO[bytes], length: int | None) -> str:
        """Keep an upload; the name it got. ValueError says what is wrong with it in one line.

        The file is complete under its name or not there at all.
        """
        self._admit(name, length)
        assert length is not None
        self.uploads.mkdir(parents=True, exist_ok=True)
        target = self._free(name)
        partial = target.with_name(f".{target.name}.{os.urandom(4).hex()}{MARK}")
        try:
            with partial.open("wb") as file:
                left = length
                while left and (data := stream.read(min(CHUNK_BYTES, left))):
                    file.write(data)
                    left -= len(data)
            if left:
                raise ValueError(f"{name}: the upload broke off {left:,} bytes before its end")
            if reason := unreadable(partial):
                raise ValueError(f"{name}: {reason}")
            os.link(partial, target)  # fails where another upload of the name was quicker
        except FileExistsError:
            raise ValueError(f"{name}: is being uploaded already") from None
        finally:
            partial.unlink(missing_ok=True)
        return target.name

    def _admit(self, name: str, length: int | None) -> None:
        if not NAME.fullmatch(name):
            raise ValueError("the file name may hold letters, digits and . _ - ( ) + @ only")
        if length is None or length <= 0:
            raise ValueError(f"{name}: empty")
        if length > self.upload_bytes:
            raise ValueError(
                f"{name}: {length:,} bytes are more than the {self.upload_bytes:,} allowed"
            )
        here = list(_walk(self.uploads)) if self.uploads.is_dir() else []
        if len(here) >= self.most_files:
            raise ValueError(f"{len(here)} files are here already; delete some first")
        if sum(file.size for file in here) + length > self.total_bytes:
            raise ValueError("the space for uploads is full; delete some first")

    def _free(self, name: str) -> Path:
        """A path that is not taken: a number goes before the first dot."""
        target = self.uploads / name
        stem, dot, rest = name.partition(".")
        number = 2
        while target.exists():
            target = self.uploads / f"{stem}-{number}{dot}{rest}"
            number += 1
        return target


def unreadable(path: Path) -> str:
    """Why a file is no capture that can be read; empty where it is one."""
    from analyzers.capture.source import find

    found = find([str(path)])
    if found.taps:
        return ""
    reason = found.refused[0] if found.refused else "not a capture"
    return reason.removeprefix(f"{path}: ")


def _promising(path: Path) -> bool:
    """Whether a file begins like a capture or is compressed; what is inside shows when it is read."""
    from analyzers.capture.formats import compression, identify

    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError:
        return False
    return identify(head).kind in ("pcap", "pcapng") or bool(compression(head))


def _walk(base: Path) -> Iterator[File]:
    """Regular files below a folder, without following links."""
    for folder, folders, names in os.walk(base):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if name.startswith("."):
                continue
            path = Path(folder, name)
            try:
                if path.is_symlink() or not path.is_file():
                    continue
                about = path.stat()
            except OSError:
                continue  # gone meanwhile
            yield File(str(path.relative_to(base)), about.st_size, about.st_mtime_ns)
