"""NCCL's XML: topology (``NCCL_TOPO_DUMP_FILE``) and search result (``NCCL_GRAPH_DUMP_FILE``).

The topology goes to :mod:`fabric.inventory.nccl`, which knows it; its ranks and NICs are taken over.
A graph lists channels: which NIC a ring or tree enters a host by, the GPUs in order, the NIC it leaves
by (``src/graph/search.cc``). Of it only the note of how many channels there are is of use here.
"""

from pathlib import Path
from xml.parsers import expat

from analyzers.collectives.job.found import JobFile, Member, whole
from fabric.inventory import nccl

KIND = "NCCL topology or graph XML"
DEEPEST = 100
PATTERNS = {"1": "tree", "2": "tree", "3": "tree", "4": "ring", "5": "nvls", "6": "collnet"}


def matches(path: Path, head: str) -> bool:
    """Whether a file looks like one of these, from its name and beginning."""
    return path.suffix == ".xml" and ("<system" in head or "<graphs" in head)


def read(path: Path) -> JobFile:
    """Read the file; ValueError names file, line and attribute."""
    found = JobFile(str(path), KIND)
    data = whole(path)
    if b"<graphs" in data[:4096]:
        found.notes += _channels(path, data)
        return found
    inventory = nccl.read(path)
    found.members += [
        Member(rank.job, rank.rank, -1, rank.device, rank.port) for rank in inventory.ranks
    ]
    return found


def _channels(path: Path, data: bytes) -> list[str]:
    """One line per graph: its pattern and channels."""
    said: list[str] = []
    depth = 0
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise ValueError(f"{path}:{parser.CurrentLineNumber}: a document type is not accepted")

    def start(tag: str, values: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"{path}:{parser.CurrentLineNumber}: {tag}: nested too deeply")
        if tag == "graph":
            pattern = PATTERNS.get(values.get("pattern", ""), values.get("pattern", "?"))
            crosses = "" if values.get("crossnic", "0") == "0" else ", NICs of several rails"
            said.append(f"{path}: {pattern}, {values.get('nchannels', '?')} channels{crosses}")

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(data, True)
    except expat.ExpatError as bad:
        reason = expat.errors.messages[bad.code]
        raise ValueError(f"{path}:{bad.lineno}: not XML: {reason}") from None
    return said
