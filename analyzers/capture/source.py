"""From what the user names to the taps that are read: files, folders, globs, standard input.

What a file is, is decided by its first bytes, never by its name. A folder is searched to its depth;
what is no capture in it is counted and passed over. A file that was named and cannot be read is an
error of one line, and the other files are read all the same. Files that a capture tool wrote one
after the other (:mod:`analyzers.capture.rotation`) are one tap; every other file is a tap of its
own. ``NAME=PATH`` says that PATH is one tap, and calls its point NAME.
"""

import glob
import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from analyzers.capture import rotation
from analyzers.capture.formats import HEAD_BYTES, Verdict, identify
from analyzers.capture.streams import STDIN, open_stream, shown

SUFFIX = re.compile(r"(\.(pcapng|pcap|cap|dmp|dump))?(\.(gz|zst|xz|bz2))?$", re.IGNORECASE)


class Tap(NamedTuple):
    """One observation point's file, or its rotated files in the order of time."""

    point: str
    paths: tuple[str, ...]

    @property
    def once(self) -> bool:
        """It can be read only once and only in this process: standard input or another pipe."""
        return any(not _regular(path) for path in self.paths)


class Found(NamedTuple):
    """What the user's paths led to."""

    taps: tuple[Tap, ...]
    refused: tuple[str, ...]  # one line for each file or folder that was meant and cannot be read
    skipped: int  # files of folders that are no captures


def find(arguments: Iterable[str]) -> Found:
    """Turn the user's arguments into taps; nothing is raised, what cannot be read is in ``refused``.

    A pipe is not looked into, because it can be read only once: what is wrong with it shows when it
    is read.
    """
    search = _Search()
    for argument in arguments:
        search.argument(argument)
    taps = _taps(_unique(search.captures), search.refused)
    return Found(tuple(taps), tuple(search.refused), search.skipped)


class Capture(NamedTuple):
    """A file that is a capture, and the name its point was given, if any."""

    name: str
    path: str


class _Search:
    """What was found so far."""

    def __init__(self) -> None:
        self.captures: list[Capture] = []
        self.refused: list[str] = []
        self.skipped = 0

    def _refuse(self, path: str, reason: str | None) -> None:
        self.refused.append(f"{shown(path)}: {reason}")

    def argument(self, argument: str) -> None:
        """Follow one argument of the user."""
        name, path = _split(argument)
        if not path:
            self.refused.append("an empty path")
            return
        matches = [path]
        if path != STDIN and not _exists(path) and glob.has_magic(path):
            matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 takes absolute ones
            if not matches:
                self._refuse(path, "no file matches")
        for match in matches:
            if match != STDIN and os.path.isdir(match):  # noqa: PTH112 see _exists
                self._folder(name, match)
            else:
                self._named(name, match)

    def _named(self, name: str, path: str) -> None:
        """A file that the user named: it is a capture, or an error."""
        try:
            verdict = _look(path)
        except OSError as error:
            self._refuse(path, error.strerror)
        else:
            if verdict.reason:
                self._refuse(path, verdict.reason)
            else:
                self.captures.append(Capture(name, path))

    def _folder(self, name: str, folder: str) -> None:
        """Search a folder to its depth; links to folders may go in circles and are not followed."""
        before = len(self.captures) + len(self.refused), self.skipped

        def failed(error: OSError) -> None:
            self._refuse(str(error.filename), error.strerror)

        for parent, folders, files in os.walk(folder, onerror=failed):
            folders.sort()
            for file in sorted(files):
                path = os.path.join(parent, file)  # noqa: PTH118 keeps the path as it was given
                if _regular(path):
                    self._met(name, path)
        if len(self.captures) + len(self.refused) == before[0]:
            files_seen = self.skipped - before[1]
            self._refuse(folder, f"no captures in this folder ({files_seen} other files)")

    def _met(self, name: str, path: str) -> None:
        """A file that a folder led to: passed over where it is no capture of any kind."""
        try:
            verdict = _look(path)
        except OSError as error:
            self._refuse(path, error.strerror)
            return
        if verdict.kind == "other":
            self.skipped += 1
        elif verdict.reason:
            self._refuse(path, verdict.reason)
        else:
            self.captures.append(Capture(name, path))


def _split(argument: str) -> tuple[str, str]:
    """NAME and PATH of an argument; a file that is called so keeps its equals sign."""
    name, sign, path = argument.partition("=")
    if not (name and sign and path) or "/" in name or _exists(argument):
        return "", argument
    return name, str(Path(path).expanduser()) if path.startswith("~") else path


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110 Path.exists raises where a folder forbids to look


def _regular(path: str) -> bool:
    try:
        return path != STDIN and stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        return False


def _look(path: str) -> Verdict:
    """What a file is; OSError where it cannot be opened or read. A pipe is taken on trust."""
    if path == STDIN or (_exists(path) and not _regular(path)):
        return Verdict("pcap")
    with open_stream(path) as stream:
        head = bytearray(HEAD_BYTES)
        size = 0
        while size < HEAD_BYTES and (count := stream.readinto(memoryview(head)[size:])):
            size += count
        verdict = identify(bytes(head[:size]))
    if stream.damage and not size:
        return Verdict("foreign", stream.damage)
    if not verdict.reason and shown(path).encode() != os.fsencode(path):
        return Verdict("foreign", "a name that is not printable text; please rename the file")
    return verdict


def _unique(captures: Iterable[Capture]) -> list[Capture]:
    """Each file once, however many arguments lead to it; a given name wins."""
    kept: dict[object, Capture] = {}
    for capture in sorted(captures, key=lambda capture: not capture.name):
        identity: object = capture.path
        if _regular(capture.path):
            status = Path(capture.path).stat()
            identity = status.st_dev, status.st_ino
        kept.setdefault(identity, capture)
    return list(kept.values())


def _taps(captures: Sequence[Capture], refused: list[str]) -> list[Tap]:
    """Put files together that are one tap, and name the points."""
    given: dict[str, list[str]] = {}
    for capture in captures:
        if capture.name:
            given.setdefault(capture.name, []).append(capture.path)
    taps = []
    for name, paths in given.items():
        try:
            taps.append(Tap(name, rotation.one_tap(paths)))
        except (ValueError, OSError) as error:
            refused.append(f"{name}: {error}")
    sets = rotation.sets([capture.path for capture in captures if not capture.name])
    points = _points([_label(paths) for paths in sets], {tap.point for tap in taps})
    return taps + [Tap(point, paths) for point, paths in zip(points, sets, strict=True)]


def _label(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Folders and bare name of a tap: what its point can be called."""
    path = PurePath(paths[0])
    if paths[0] == STDIN:
        return ("stdin",)
    bare = rotation.stem(path.name) if len(paths) > 1 else SUFFIX.sub("", path.name)
    return (*path.parent.parts, bare) if bare else path.parent.parts or (path.name,)


def _points(labels: Sequence[tuple[str, ...]], taken: set[str]) -> list[str]:
    """The shortest ends of the labels by which all differ; a number where even that is not enough."""
    points: list[str] = []
    for label in labels:
        rivals = [other for other in labels if other[-1] == label[-1] and other != label]
        depth = 1
        while depth < len(label) and any(other[-depth:] == label[-depth:] for other in rivals):
            depth += 1
        point = name = "/".join(label[-depth:])
        number = 1
        while point in taken:
            number += 1
            point = f"{name}#{number}"
        taken.add(point)
        points.append(point)
    return points
