"""What hosts print: ``mlnx_qos -i DEV``, ``dcb ... show dev DEV``, NCCL's settings, ``lspci -vvv``.

Each parser takes text and the place to name in a complaint and gives the fields of
:class:`fabric.qos.PortQos`. On a host the traffic class of a DSCP is its priority.
"""

import re
from collections.abc import Iterator
from typing import Any

from fabric.qos import Buffer, Scheduler

# RFC 2474, 2597, 3246, 5865: the names that dcb prints for code points.
DSCP_NAMES = (
    {f"CS{n}": 8 * n for n in range(8)}
    | {f"AF{c}{d}": 8 * c + 2 * d for c in range(1, 5) for d in range(1, 4)}
    | {"EF": 46, "VA": 44, "BE": 0}
)
SUFFIX_BYTES = {"": 1, "b": 1, "kb": 1000, "mb": 1_000_000, "k": 1000, "kib": 1024, "mib": 1 << 20}


def parse_mlnx_qos(text: str, where: str) -> dict[str, Any]:
    """Output of mlnx_qos: trust, DSCP map, PFC, receive buffers, traffic classes, cable length."""
    found: dict[str, Any] = {}
    sizes: list[int] = []
    classes: dict[int, int] = {}
    queues: dict[int, int] = {}
    schedulers: dict[int, Scheduler] = {}
    traffic_class = -1
    for number, line in enumerate(text.splitlines(), 1):
        place = f"{where}:{number}"
        head, _, rest = line.strip().partition(":")
        words = line.split()
        if head == "Priority trust state":
            found["trust"] = _one_of(rest.strip(), ("dscp", "pcp", "both"), place, head)
        elif head == "prio" and "dscp:" in rest:
            priority, _, members = rest.partition("dscp:")
            value = _whole(priority.strip(), place, "prio")
            classes |= {_whole(d, place, "dscp"): value for d in members.split(",") if d.strip()}
        elif head.startswith("Receive buffer size"):
            sizes = [_whole(s, place, head) for s in rest.split(",") if s.strip().isdigit()]
        elif head == "Cable len":
            found["length_m"] = float(_whole(rest.strip(), place, head))
        elif words[:1] == ["enabled"]:
            found["pfc"] = frozenset(i for i, on in enumerate(_row(words, place)) if on)
        elif words[:1] == ["buffer"] and len(words) == 9:
            rows = enumerate(_row(words, place))
            found["buffers"] = {p: Buffer(size_bytes=sizes[b]) for p, b in rows if b < len(sizes)}
        elif head == "tc":
            traffic_class = _whole(rest.split()[0] if rest.split() else "", place, "tc")
            schedulers[traffic_class] = _tsa(rest)
        elif head == "priority" and traffic_class >= 0:
            queues |= {_whole(p, place, "priority"): traffic_class for p in rest.split()}
    if "pfc" not in found:
        raise ValueError(f"{where}: no PFC configuration is in here")
    if classes and found.get("trust") in ("dscp", "both"):
        found["classes"] = classes
    return found | ({"queues": queues} if queues else {}) | _some("schedulers", schedulers)


def _some(key: str, value: dict[int, Any]) -> dict[str, Any]:
    return {key: value} if value else {}


def _row(words: list[str], place: str) -> list[int]:
    values = [_whole(word, place, words[0]) for word in words[1:]]
    if len(values) != 8:
        raise ValueError(f"{place}: {words[0]}: eight priorities are expected, not {len(values)}")
    return values


def _tsa(text: str) -> Scheduler:
    kind = re.search(r"tsa:\s*(\w+)", text)
    share = re.search(r"bw:\s*(\d+)", text)
    return Scheduler(kind[1] if kind else "", int(share[1]) if share else -1)


def _whole(text: str, place: str, key: str) -> int:
    try:
        return int(text.strip())
    except ValueError:
        raise ValueError(f"{place}: {key}: a whole number is expected, not {text!r}") from None


def _one_of(text: str, known: tuple[str, ...], place: str, key: str) -> str:
    if text not in known:
        raise ValueError(f"{place}: {key}: {text!r} is none of {', '.join(known)}")
    return text


def parse_dcb(text: str, where: str) -> dict[str, Any]:
    """Output of ``dcb pfc|ets|app|apptrust|buffer show``, one after the other in any order."""
    found: dict[str, Any] = {}
    sizes: dict[int, int] = {}
    buffer_of: dict[int, int] = {}
    tsa: dict[int, str] = {}
    shares: dict[int, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        place = f"{where}:{number}"
        words = line.split()
        key, pairs = (words[0].rstrip(":"), words[1:]) if words else ("", [])
        if key == "prio-pfc":
            found["pfc"] = frozenset(p for p, on in _pairs(pairs, place, key) if on == "on")
        elif key == "dscp-prio":
            found["classes"] = {d: _whole(p, place, key) for d, p in _pairs(pairs, place, key)}
        elif key == "prio-tc":
            found["queues"] = {p: _whole(t, place, key) for p, t in _pairs(pairs, place, key)}
        elif key == "tc-tsa":
            tsa = dict(_pairs(pairs, place, key))
        elif key == "tc-bw":
            shares = {t: _whole(s.rstrip("%"), place, key) for t, s in _pairs(pairs, place, key)}
        elif key == "prio-buffer":
            buffer_of = {p: _whole(b, place, key) for p, b in _pairs(pairs, place, key)}
        elif key == "buffer-size":
            sizes = {b: _bytes(s, place, key) for b, s in _pairs(pairs, place, key)}
        elif key == "order":
            trusted = [word for word in pairs if word in ("dscp", "pcp")]
            found["trust"] = trusted[0] if trusted else ""
    if not found:
        raise ValueError(f"{where}: no dcb setting is in here")
    if "classes" in found and "trust" not in found:
        found["trust"] = "dscp"  # the kernel trusts DSCP as soon as there is a DSCP rule
    rows = {p: Buffer(size_bytes=sizes.get(b, -1)) for p, b in buffer_of.items()}
    schedulers = {t: Scheduler(kind, shares.get(t, -1)) for t, kind in tsa.items()}
    return found | _some("buffers", rows) | _some("schedulers", schedulers)


def _pairs(words: list[str], place: str, key: str) -> Iterator[tuple[int, str]]:
    for word in words:
        left, colon, right = word.partition(":")
        if not colon or not right:
            raise ValueError(f"{place}: {key}: number:value is expected, not {word!r}")
        if not left.isdigit() and left.upper() not in DSCP_NAMES:
            raise ValueError(f"{place}: {key}: not a code point: {left!r}")
        yield int(left) if left.isdigit() else DSCP_NAMES[left.upper()], right


def _bytes(text: str, place: str, key: str) -> int:
    found = re.fullmatch(r"(\d+)([a-z]*)", text.lower())
    if found is None or found[2] not in SUFFIX_BYTES:
        raise ValueError(f"{place}: {key}: not a size: {text!r}")
    return int(found[1]) * SUFFIX_BYTES[found[2]]


def parse_nccl_settings(text: str, where: str) -> dict[str, Any]:
    """``NCCL_IB_TC`` and ``NCCL_IB_GID_INDEX`` from a configuration file or an environment dump."""
    found: dict[str, Any] = {}
    wanted = {"NCCL_IB_TC": "nccl_tc", "NCCL_IB_GID_INDEX": "gid_index"}
    lines = text.replace("\0", "\n").splitlines()
    for number, line in enumerate(lines, 1):
        key, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and key.strip() in wanted:
            value = value.partition("#")[0].strip().strip("'\"")
            try:
                found[wanted[key.strip()]] = int(value, 0)
            except ValueError:
                raise ValueError(
                    f"{where}:{number}: {key.strip()}: a whole number is expected, not {value!r}"
                ) from None
    return found


def parse_lspci(text: str, where: str) -> int:
    """Number of PCIe devices whose access control (ACS) sends peer-to-peer traffic through the root.

    ValueError where the capabilities are hidden: lspci shows them to root only.
    """
    redirecting = 0
    for line in text.splitlines():
        head, _, rest = line.strip().partition(":")
        if head == "ACSCtl":
            redirecting += any(f"{flag}+" in rest.split() for flag in ("ReqRedir", "CmpltRedir"))
    if "<access denied>" in text:
        raise ValueError(f"{where}: capabilities are hidden: run lspci -vvv as root")
    return redirecting
