"""What tshark reads out of a capture, column by column, in the decoder's spelling."""

import csv
import ipaddress
import subprocess
from collections.abc import Iterator
from pathlib import Path

from fabric.codes import Header

Columns = dict[str, int]

# tshark's field, our column, base of tshark's notation (0: it says so itself).
NUMBERS = (
    ("infiniband.bth.opcode", "opcode", 0),
    ("infiniband.bth.p_key", "pkey", 0),
    ("infiniband.bth.destqp", "qpn", 0),
    ("infiniband.bth.psn", "psn", 0),
    ("infiniband.aeth.syndrome", "syndrome", 0),
    ("infiniband.aeth.msn", "msn", 0),
    ("infiniband.reth.dmalen", "dma", 0),
    ("infiniband.atomiceth.swapdt", "atomic_swap", 0),
    ("infiniband.atomiceth.cmpdt", "atomic_compare", 0),
    ("infiniband.atomicacketh.origremdt", "atomic_original", 0),
    ("infiniband.deth.q_key", "qkey", 0),
    ("infiniband.deth.srcqp", "src_qpn", 0),
    ("infiniband.reth.va", "va", 0),
    ("infiniband.reth.r_key", "rkey", 0),
    ("infiniband.immdt", "imm", 16),
    ("infiniband.ieth", "rkey", 16),
    ("infiniband.invariant.crc", "icrc", 0),
    ("udp.srcport", "sport", 0),
    ("udp.dstport", "dport", 0),
)
OTHERS = (
    "frame.number", "frame.protocols", "ip.src", "ip.dst", "ip.len", "ip.id", "ip.ttl", "ip.dsfield",
    "ipv6.src", "ipv6.dst", "ipv6.plen", "ipv6.hlim", "ipv6.tclass", "infiniband.grh.sgid",
    "infiniband.grh.dgid", "infiniband.grh.paylen", "infiniband.grh.hoplmt", "infiniband.grh.tclass",
    "vlan.id", "vlan.priority", "infiniband.bth.se", "infiniband.bth.m", "infiniband.bth.padcnt",
    "infiniband.bth.tver", "infiniband.bth.a", "infiniband.payload", "macc.opcode",
    "macc.pause_time", "macc.cbfc.enbv", *(f"macc.cbfc.pause_time.c{n}" for n in range(8)), "eth.src",
    "eth.dst",
)  # fmt: skip
FIELDS = (*OTHERS, *(name for name, _, _ in NUMBERS))
EXTENDED = {
    "infiniband.reth.dmalen": Header.RETH, "infiniband.aeth.syndrome": Header.AETH,
    "infiniband.immdt": Header.IMMDT, "infiniband.atomiceth.cmpdt": Header.ATOMICETH,
    "infiniband.atomicacketh.origremdt": Header.ATOMICACKETH, "infiniband.deth.q_key": Header.DETH,
    "infiniband.ieth": Header.IETH,
}  # fmt: skip


def read(tshark: str, path: Path) -> Iterator[tuple[int, Columns]]:
    """Frame number and columns of every frame in which tshark sees a BTH or a pause."""
    options = ["-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE", "-n"]
    options += ["-d", "udp.port==8472,vxlan"]  # which it does not know by itself
    names = [word for name in FIELDS for word in ("-e", name)]
    done = subprocess.run(
        [tshark, "-r", str(path), *options, "-T", "fields", "-E", "occurrence=l", *names],
        capture_output=True,
        text=True,
        check=True,
    )
    for line in csv.reader(done.stdout.splitlines(), delimiter="\t"):
        row = {name: value for name, value in zip(FIELDS, line, strict=False) if value}
        if "infiniband.bth.opcode" in row:
            yield int(row["frame.number"]), packet(row)
        elif "macc.opcode" in row:
            yield int(row["frame.number"]), pause(row)


def packet(row: dict[str, str]) -> Columns:
    """The columns of a RoCE packet."""
    columns = {ours: int(row[name], base) for name, ours, base in NUMBERS if name in row}
    columns["bth1"] = (
        flag(row["infiniband.bth.se"]) << 7
        | flag(row["infiniband.bth.m"]) << 6
        | int(row["infiniband.bth.padcnt"]) << 4
        | int(row["infiniband.bth.tver"])
    )
    columns["ack_request"] = flag(row["infiniband.bth.a"])
    columns["extended"] = sum(header for name, header in EXTENDED.items() if name in row)
    if "infiniband.payload" in row:
        columns["payload"] = len(row["infiniband.payload"]) // 2
    return columns | network(row) | tag(row)


def network(row: dict[str, str]) -> Columns:
    """The IP header or GRH before the BTH; an outer one may be of another version."""
    layers = row["frame.protocols"].split(":")
    layers = layers[: layers.index("infiniband")]
    last = next((name for name in reversed(layers) if name in ("ip", "ipv6")), "")
    if layers[-1] != "udp":
        size = int(row["infiniband.grh.paylen"]) + 40
        found = {"ip_bytes": size, "ttl": int(row["infiniband.grh.hoplmt"]), "version": 0}
        ends = row["infiniband.grh.sgid"], row["infiniband.grh.dgid"]
        return found | {"tos": int(row["infiniband.grh.tclass"], 0)} | addresses(*ends)
    if last == "ip":
        found = {"ip_bytes": int(row["ip.len"]), "ip_id": int(row["ip.id"], 0), "version": 4}
        found |= {"ttl": int(row["ip.ttl"]), "tos": int(row["ip.dsfield"], 0)}
        return found | addresses(row["ip.src"], row["ip.dst"])
    found = {"ip_bytes": int(row["ipv6.plen"]) + 40, "ip_id": 0, "version": 6}
    found |= {"ttl": int(row["ipv6.hlim"]), "tos": int(row["ipv6.tclass"], 0)}
    return found | addresses(row["ipv6.src"], row["ipv6.dst"])


def tag(row: dict[str, str]) -> Columns:
    """The innermost 802.1Q tag, of the frame that holds the BTH."""
    layers = row["frame.protocols"].split(":")
    start = max((n for n, name in enumerate(layers) if name == "eth"), default=0)
    if "vlan" in layers[start:] or "ieee8021ad" in layers[start:]:
        return {"vlan": int(row["vlan.id"]), "priority": int(row["vlan.priority"])}
    return {"vlan": 0xFFFF, "priority": 255}


def pause(row: dict[str, str]) -> Columns:
    """The columns of a MAC control frame."""
    columns = {"src_lo": mac(row["eth.src"]), "dst_lo": mac(row["eth.dst"])}
    if int(row["macc.opcode"], 0) == 1:
        return columns | {"pause_vector": 0x100, "quanta_0": int(row["macc.pause_time"])}
    if "macc.cbfc.enbv" not in row:
        return columns
    columns["pause_vector"] = int(row["macc.cbfc.enbv"], 0) & 0xFF
    names = ((n, f"macc.cbfc.pause_time.c{n}") for n in range(8))
    return columns | {f"quanta_{n}": int(row[name]) for n, name in names if name in row}


def addresses(src: str, dst: str) -> Columns:
    """The four address columns."""
    columns = {}
    for name, text in (("src", src), ("dst", dst)):
        address = ipaddress.ip_address(text)
        number = int(address) | (0xFFFF << 32 if address.version == 4 else 0)
        columns |= {f"{name}_hi": number >> 64, f"{name}_lo": number & (1 << 64) - 1}
    return columns


def mac(text: str) -> int:
    return int(text.replace(":", ""), 16)


def flag(text: str) -> int:
    return int(text in ("1", "True"))
