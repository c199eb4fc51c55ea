"""NCCL's own log (``NCCL_DEBUG=INFO``): ranks, rings, trees, queue pairs, calls.

What is printed depends on the version and on ``NCCL_DEBUG_SUBSYS``: INIT and GRAPH give ranks and
channels, NET the queue pairs, COLL the calls. Facts as in NCCL's ``src/init.cc``, ``src/collectives.cc``
and ``src/transport/net_ib``: the GID's halves are printed as host integers of network-order bytes; a
line with ``set_ece`` names the *remote* queue pair of the connection that the line before opened.
Several ranks, threads and processes may write into one file; whose line it is says its head
(``host:pid:thread [gpu]``).
"""

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

from analyzers.collectives.job.found import (
    JobFile,
    Member,
    Operation,
    QueuePair,
    kind_of,
    lines,
    total,
)

KIND = "NCCL log"
HEAD: Final = re.compile(r"(?:^|\s)([^\s:]+):(\d+):(\d+) \[(-?\d+)\] NCCL INFO (.*)$")
INIT: Final = re.compile(
    r"comm (0x[0-9a-f]+) rank (\d+) n[rR]anks (\d+).*?(?:commId (0x[0-9a-f]+))?(?: - Init (\w+))?$"
)
CALL: Final = re.compile(
    r"(\w+): opCount ([0-9a-f]+) .*?count (\d+) datatype (\d+) op (\d+) root (-?\d+) "
    r"comm (0x[0-9a-f]+) \[nranks=(\d+)\]"
)
OPENED: Final = re.compile(
    r"NET/IB.*?IbDev (\d+) Port (\d+) (?:qpn|qp_num) (\d+) mtu \d+ .*?"
    r"GID (-?\d+) \(([0-9A-Fa-f]+)/([0-9A-Fa-f]+)\)"
)
REMOTE: Final = re.compile(r"NET/IB.*?IbDev (\d+) Port (\d+) (?:qpn|qp_num) (\d+) set_ece")
DEVICES: Final = re.compile(r"NET/IB : Using (.*)")
DEVICE: Final = re.compile(r"\[(\d+)\](\S+?):(\d+)/")
RING: Final = re.compile(r"Ring \d+ : (\d+) -> (\d+) -> (\d+)")
TREES: Final = re.compile(r"\[\d+\] (-?\d+)/(-?\d+)/(-?\d+)->(\d+)->(-?\d+)")
VIA: Final = re.compile(r"Channel \d+/\d+ : (\d+)\[\w+\] -> (\d+)\[\w+\] \[(send|receive)\]")
# ncclDataType_t, in bytes
WIDTHS: Final = (1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1)


@dataclass
class _Writer:
    """What is known of the process that writes: communicators by pointer, NICs, what is open."""

    device: str
    comms: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    nics: dict[int, str] = field(default_factory=dict)
    now: str = ""  # pointer of the communicator set up last
    peers: list[int] = field(default_factory=list)  # announced [send] connections without a pair
    open: dict[tuple[str, str], int] = field(default_factory=dict)  # device, port -> its pair
    known: set[tuple[str, int]] = field(default_factory=set)  # members told


def matches(path: Path, head: str) -> bool:
    """Whether a file looks like one of these, from its name and beginning."""
    del path
    return " NCCL INFO " in head


def read(path: Path) -> JobFile:
    """Read the log. Lines that are none of NCCL's are passed over; NCCL's broken ones are noted."""
    found = JobFile(str(path), KIND)
    writers: dict[tuple[str, str, str], _Writer] = {}
    bad = 0
    for number, line in lines(path):
        head = HEAD.search(line)
        if head is None:
            continue
        host, process, _, gpu, text = head.groups()
        writer = writers.setdefault((host, process, gpu), _Writer(host))
        try:
            _line(text, writer, found)
        except (ValueError, OverflowError):
            bad += 1
            if bad == 1:
                found.notes.append(f"{path}:{number}: a number in this line makes no sense")
    return found


def _line(text: str, writer: _Writer, found: JobFile) -> None:
    """One line of NCCL's."""
    if "opCount" in text:
        _call(text, writer, found)
    elif match := VIA.search(text):
        if match[3] == "send" and "via NET/" in text:
            writer.peers.append(int(match[2]))
    elif "NET/IB" in text:
        _net(text, writer, found)
    elif text.startswith("comm "):
        _init(text, writer, found)
    elif match := RING.search(text):
        before, rank, after = map(int, match.groups())
        name = _name(writer)
        found.edges |= {(name, "ring", before, rank), (name, "ring", rank, after)}
    elif text.startswith("Trees "):
        for match in TREES.finditer(text):
            *down, rank, up = map(int, match.groups())
            name = _name(writer)
            found.edges |= {(name, "tree", rank, other) for other in (*down, up) if other >= 0}


def _name(writer: _Writer) -> str:
    return writer.comms[writer.now][0] if writer.now in writer.comms else ""


def _init(text: str, writer: _Writer, found: JobFile) -> None:
    match = INIT.match(text)
    if match is None:
        return
    pointer, rank, ranks, identity, state = match.groups()
    if identity:
        writer.comms[pointer] = (identity, int(rank), int(ranks))
    elif pointer not in writer.comms:
        writer.comms[pointer] = (pointer, int(rank), int(ranks))
    if state == "START" or not writer.now:
        writer.now = pointer
    name, own, size = writer.comms[pointer]
    if (name, own) not in writer.known and (identity or state):
        writer.known.add((name, own))
        found.members.append(Member(name, own, size, writer.device))


def _net(text: str, writer: _Writer, found: JobFile) -> None:
    """A line of the IB transport: its devices, a queue pair, or the remote end of one."""
    if match := DEVICES.search(text):
        for nic in DEVICE.finditer(match[1]):
            writer.nics[int(nic[1])] = nic[2]
    elif match := OPENED.search(text):
        device, port, qpn, _, prefix, interface = match.groups()
        name, rank, _ = writer.comms.get(writer.now, ("", -1, -1))
        peer = writer.peers.pop(0) if writer.peers else -1
        own_nic = writer.nics.get(int(device), f"ib{device}")
        writer.open[device, port] = len(found.pairs)
        found.pairs.append(
            QueuePair(name, rank, writer.device, own_nic, _address(prefix, interface), int(qpn),
                      peer=peer)
        )  # fmt: skip
    elif match := REMOTE.search(text):
        device, port, qpn = match.groups()
        at = writer.open.pop((device, port), None)
        if at is not None:
            found.pairs[at] = found.pairs[at]._replace(peer_qpn=int(qpn))


def _address(prefix: str, interface: str) -> str:
    """The address of a GID printed as two integers of network-order bytes (%lX)."""
    halves = (int(half, 16).to_bytes(8, "little") for half in (prefix, interface))
    address = IPv6Address(b"".join(halves))
    return str(address.ipv4_mapped or address)


def _call(text: str, writer: _Writer, found: JobFile) -> None:
    match = CALL.search(text)
    kind = kind_of(match[1]) if match else ""
    if match is None or not kind:
        return
    count, width, ranks = int(match[3]), int(match[4]), int(match[8])
    size = count * WIDTHS[width] if width < len(WIDTHS) else -1
    name, rank, known = writer.comms.get(match[7], (match[7], -1, ranks))
    root = int(match[6]) if kind in ("broadcast", "reduce", "send", "recv") else -1
    # newer versions print nranks=1 for calls outside a group; the communicator's own size counts
    ranks = known if known > 0 else ranks
    found.operations.append(
        Operation(name, rank, ranks, writer.device, int(match[2], 16), kind, "",
                  total(kind, size, ranks), root)
    )  # fmt: skip
