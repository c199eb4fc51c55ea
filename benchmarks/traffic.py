"""Synthetic RoCEv2 traffic in bulk: what the benchmarks read, made with numpy in seconds.

A tap on a 100 Gbit/s link sees queue pairs of which both ends send messages in turn: WRITE, SEND and
READ of 1 to 13 packets, each answered. One packet in a thousand is lost, half of them before the
tap and half behind it; the receiver answers with a NAK and the sender goes back. Some messages meet
congestion: packets marked CE, a CNP, and now and then a PFC XOFF with its XON.

Rows are made in segments, so that memory does not grow with the number of packets. Two things are
not as on a real wire: payloads are zeros and the ICRC is not computed.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fabric.codes import CNP_OPCODE, PAUSE_DESTINATION, Ecn, EtherType, MacControl, Operation

I64 = NDArray[np.int64]
Rows = dict[str, I64]

EPOCH_NS = 1_700_000_000 * 10**9
LINK_BPS = 100_000_000_000
ROUND_NS = 4_000_000  # every queue pair sends one message in it; longer for large packets
ROUNDS = 8  # in a segment
RTT_NS = 12_000
HOSTS = 64
MAX_PACKETS = 13  # of a message
LOSS, CONGESTED, MARKED = 0.001, 0.03, 0.5  # per packet, per message, per packet of such a message
SEND, WRITE, READ = range(3)
SHARES = (0.2, 0.7, 0.1)
DATA, ACK, NAK, CNP, REQUEST, RESPONSE, PFC = range(7)  # what a row is
RETH_BYTES, AETH_BYTES, CNP_BYTES = 16, 4, 16
UDP_BYTES, BTH_BYTES, ICRC_BYTES = 8, 12, 4
PFC_BYTES = 60

# A record of a nanosecond pcap and the headers of its frame, at their offsets.
FIELDS = {
    "seconds": ("<u4", 0), "fraction": ("<u4", 4), "captured": ("<u4", 8), "wire": ("<u4", 12),
    "dst_mac_hi": (">u2", 16), "dst_mac": (">u4", 18), "src_mac_hi": (">u2", 22),
    "src_mac": (">u4", 24), "ethertype": (">u2", 28), "ip": ("u1", 30), "tos": ("u1", 31),
    "ip_bytes": (">u2", 32), "ip_id": (">u2", 34), "fragment": (">u2", 36), "ttl": ("u1", 38),
    "protocol": ("u1", 39), "checksum": (">u2", 40), "src": (">u4", 42), "dst": (">u4", 46),
    "sport": (">u2", 50), "dport": (">u2", 52), "udp_bytes": (">u2", 54), "opcode": ("u1", 58),
    "pad": ("u1", 59), "pkey": (">u2", 60), "qpn": (">u4", 62), "psn": (">u4", 66),
    "va": (">u8", 70), "rkey": (">u4", 78), "dma": (">u4", 82), "aeth": (">u4", 70),
}  # fmt: skip
PAUSE = {
    "control": (">u2", 30), "vector": (">u2", 32), "quanta_3": (">u2", 40), "rest": ("V40", 34),
}  # fmt: skip
RECORD_BYTES = 16


def layout(snap: int) -> np.dtype[np.void]:
    """A record with ``snap`` captured bytes."""
    fields = FIELDS | PAUSE
    return np.dtype(
        {
            "names": list(fields),
            "formats": [kind for kind, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": RECORD_BYTES + max(snap, 90),
        }
    )


class Pairs(NamedTuple):
    """The queue pairs and where their counters stand; the last axis is the direction, 0 or 1."""

    host: I64  # shape (pairs, 2): the two ends
    qpn: I64  # shape (pairs, 2): the queue pair number at each end
    sport: I64  # shape (pairs,)
    psn: I64  # shape (pairs, 2): next request PSN
    msn: I64  # shape (pairs, 2): messages answered


def make_pairs(rng: np.random.Generator, pairs: int) -> Pairs:
    """Queue pairs between random hosts."""
    first = rng.integers(0, HOSTS, pairs)
    host = np.stack([first, (first + rng.integers(1, HOSTS, pairs)) % HOSTS], 1)
    qpn = rng.permutation(2 * pairs).reshape(pairs, 2) + 0x100
    psn = rng.integers(0, 1 << 24, (pairs, 2))
    return Pairs(host, qpn, rng.integers(0xC000, 0x10000, pairs), psn, np.zeros((pairs, 2), int))


def messages(
    rng: np.random.Generator, pairs: Pairs, number: int, start_ns: int, round_ns: int
) -> Rows:
    """One message of every pair; their counters move on."""
    count = len(pairs.sport)
    every = np.arange(count)
    direction = (every + number) & 1
    packets = rng.integers(1, MAX_PACKETS + 1, count)
    kind = rng.choice(3, count, p=SHARES)
    # Only a loss before the last packet is answered by a NAK.
    lost = (rng.random(count) < LOSS * packets) & (kind != READ) & (packets > 1)
    gap = rng.integers(500, 40_000, count)
    made = {
        "pair": every, "direction": direction, "kind": kind, "packets": packets, "lost": lost,
        "hole": rng.integers(0, np.maximum(packets - 1, 1)), "seen": lost & (rng.random(count) < 0.5),
        "congested": (rng.random(count) < CONGESTED) & (kind != READ), "gap": gap,
        "psn": pairs.psn[every, direction], "msn": pairs.msn[every, direction] + 1,
        "start": start_ns + rng.integers(0, round_ns // 2, count),
    }  # fmt: skip
    pairs.psn[every, direction] = made["psn"] + packets
    pairs.msn[every, direction] = made["msn"]
    return made


def rows_of(rng: np.random.Generator, made: Rows) -> Rows:
    """The packets of messages: first pass, NAK and resend where one was lost, CNP, answer."""
    read = made["kind"] == READ
    first_pass = np.where(read, 1, made["packets"] - (made["lost"] & ~made["seen"]))
    resend = np.where(made["lost"], 1 + made["packets"] - made["hole"], 0)
    answer = np.where(read, made["packets"], 1)
    total = first_pass + resend + made["congested"] + answer
    row = {name: np.repeat(column, total) for name, column in made.items()}
    first_pass, resend, answer = (np.repeat(each, total) for each in (first_pass, resend, answer))
    step = np.arange(len(first_pass)) - np.repeat(np.cumsum(total) - total, total)
    back = step - first_pass  # 0 is the NAK where a packet was lost
    left = np.repeat(total, total) - step  # 1 is the last row
    read = row["kind"] == READ
    what = np.where(read, np.where(step == 0, REQUEST, RESPONSE), DATA)
    what[~read & (left == 1)] = ACK
    what[~read & (left == 2) & (row["congested"] != 0)] = CNP
    what[(back == 0) & (resend > 0)] = NAK
    index = np.where(back < 0, step, row["hole"] + back - 1)
    index += (back < 0) & (row["lost"] != 0) & (row["seen"] == 0) & (step >= row["hole"])
    index = np.where(read, np.maximum(step - 1, 0), index)
    index = np.where(what == ACK, row["packets"] - 1, np.where(what == NAK, row["hole"], index))
    late = RTT_NS * ((back >= 0) + 0.5 * (back > 0)) * ((resend > 0) | read | (what == ACK))
    marked = (rng.random(len(what)) < MARKED) & (row["congested"] != 0) & (what == DATA)
    marked |= (row["congested"] != 0) & (step == 0)
    jitter = rng.integers(0, 300, len(what))
    ts = row["start"] + step * row["gap"] + late.astype(np.int64) + jitter
    return row | {"what": what, "index": index, "marked": marked, "ts": ts}


def pauses(rng: np.random.Generator, start_ns: int) -> Rows:
    """A burst of XOFF and XON frames."""
    count = 4
    at = start_ns + np.sort(rng.integers(0, ROUND_NS // 2, 2 * count))
    names = ("pair", "direction", "kind", "packets", "psn", "msn", "index", "marked")
    rows = {name: np.zeros(2 * count, np.int64) for name in names}
    quanta = np.tile(np.array([0xFFFF, 0]), count)
    return rows | {"what": np.full(2 * count, PFC), "ts": at, "quanta": quanta}


def segment(
    rng: np.random.Generator, pairs: Pairs, number: int, start_ns: int, payload: int
) -> Rows:
    """The rows of one segment in the order of their times."""
    round_ns = ROUND_NS * max(payload, 1024) // 1024
    parts = []
    for step in range(ROUNDS):
        begin = start_ns + step * round_ns
        rows = rows_of(rng, messages(rng, pairs, number * ROUNDS + step, begin, round_ns))
        parts += [rows | {"quanta": np.zeros_like(rows["ts"])}, pauses(rng, begin)]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[1]}
    order = np.argsort(rows["ts"], kind="stable")
    return sizes({name: column[order] for name, column in rows.items()}, payload)


def opcodes(row: Rows) -> I64:
    """BTH opcode of each row."""
    last = row["index"] == row["packets"] - 1
    first = row["index"] == 0
    place = np.where(first & last, 3, np.where(first, 0, np.where(last, 2, 1)))
    write = np.array([Operation.WRITE_FIRST, Operation.WRITE_MIDDLE, Operation.WRITE_LAST, Operation.WRITE_ONLY])  # fmt: skip
    send = np.array([Operation.SEND_FIRST, Operation.SEND_MIDDLE, Operation.SEND_LAST, Operation.SEND_ONLY])  # fmt: skip
    response = np.array([Operation.READ_RESPONSE_FIRST, Operation.READ_RESPONSE_MIDDLE, Operation.READ_RESPONSE_LAST, Operation.READ_RESPONSE_ONLY])  # fmt: skip
    data = np.where(row["kind"] == WRITE, write[place], send[place])
    what = row["what"]
    choices = [data, response[place], int(Operation.READ_REQUEST), CNP_OPCODE]
    return np.select(
        [what == DATA, what == RESPONSE, what == REQUEST, what == CNP],
        choices,
        int(Operation.ACKNOWLEDGE),
    )


def sizes(rows: Rows, payload: int) -> Rows:
    """The rows with opcodes, extended headers and lengths, at times the link can carry them."""
    what, opcode = rows["what"], opcodes(rows)
    reth = np.isin(opcode, (Operation.WRITE_FIRST, Operation.WRITE_ONLY, Operation.READ_REQUEST))
    responses = (Operation.READ_RESPONSE_FIRST, Operation.READ_RESPONSE_LAST, Operation.READ_RESPONSE_ONLY)  # fmt: skip
    aeth = np.isin(opcode, (Operation.ACKNOWLEDGE, *responses)) & (what != PFC)
    carries = (what == DATA) | (what == RESPONSE)
    extra = reth * RETH_BYTES + aeth * AETH_BYTES + (what == CNP) * CNP_BYTES
    udp_bytes = UDP_BYTES + BTH_BYTES + extra + payload * carries + ICRC_BYTES
    wire = np.where(what == PFC, PFC_BYTES, 34 + udp_bytes)
    made = {"opcode": opcode, "reth": reth, "aeth": aeth, "udp_bytes": udp_bytes, "wire": wire}
    return rows | made | {"ts": on_the_link(rows["ts"], wire)}


def records(rows: Rows, pairs: Pairs, snap: int, payload: int, ip_id: int) -> bytes:
    """The rows as records of a pcap file."""
    what, opcode, reth, aeth = rows["what"], rows["opcode"], rows["reth"], rows["aeth"]
    wire, udp_bytes = rows["wire"], rows["udp_bytes"]
    captured = np.minimum(wire, snap)
    out = np.zeros(len(what), layout(snap))
    out["seconds"], out["fraction"] = np.divmod(rows["ts"], 10**9)
    out["captured"], out["wire"] = captured, wire
    # Answers go the other way than requests.
    towards = rows["direction"] ^ np.isin(what, (ACK, NAK, CNP, RESPONSE))
    pair = rows["pair"]
    source, target = pairs.host[pair, towards], pairs.host[pair, 1 - towards]
    out["dst_mac_hi"] = out["src_mac_hi"] = 0x0200
    out["src_mac"] = out["src"] = 0x0A000001 + source
    out["dst_mac"] = out["dst"] = 0x0A000001 + target
    out["ethertype"], out["ip"], out["ttl"], out["protocol"] = EtherType.IPV4, 0x45, 64, 17
    out["tos"] = 26 << 2 | np.where(what == CNP, 0, np.where(rows["marked"], Ecn.CE, Ecn.ECT_0))
    out["ip_bytes"], out["ip_id"] = 20 + udp_bytes, (ip_id + np.arange(len(what))) & 0xFFFF
    out["fragment"] = 0x4000
    out["checksum"] = checksums(out)
    out["sport"], out["dport"], out["udp_bytes"] = pairs.sport[pair], 4791, udp_bytes
    asks = (what == DATA) & (rows["index"] == rows["packets"] - 1) | (what == REQUEST)
    out["opcode"], out["pkey"] = opcode, 0xFFFF
    out["qpn"] = pairs.qpn[pair, 1 - towards] | (what == CNP) << 30
    psn = np.where(what == CNP, 0, rows["psn"] + rows["index"])
    out["psn"] = psn & 0xFFFFFF | asks << 31
    out["va"] = np.where(reth, (pair << 32) + ((rows["psn"] & 0xFFFFFF) << 12), 0)
    out["rkey"], out["dma"] = reth * (pair + 1), reth * rows["packets"] * payload
    syndrome = np.where(what == NAK, 0x60, 0x1F) << 24
    number = np.where(what == NAK, rows["msn"] - 1, rows["msn"]) & 0xFFFFFF
    out["aeth"][aeth] = (syndrome | number)[aeth]
    pause_frames(out, rows, what == PFC)
    data = out.view(np.uint8).reshape(len(out), -1)
    return data[np.arange(data.shape[1]) < (RECORD_BYTES + captured)[:, None]].tobytes()


def pause_frames(out: NDArray[np.void], rows: Rows, chosen: NDArray[np.bool_]) -> None:
    """Turn the chosen records into PFC frames of priority 3 from the first host's switch port."""
    frames = out[chosen]
    frames["rest"] = b""
    frames["dst_mac_hi"], frames["dst_mac"] = (
        PAUSE_DESTINATION >> 32,
        PAUSE_DESTINATION & 0xFFFFFFFF,
    )
    frames["src_mac_hi"], frames["src_mac"] = 0x0200, 0x0B000001
    frames["ethertype"], frames["control"] = EtherType.MAC_CONTROL, MacControl.PFC
    frames["vector"], frames["quanta_3"] = 1 << 3, rows["quanta"][chosen]
    out[chosen] = frames


def on_the_link(ts: I64, wire: I64) -> I64:
    """Times at which the packets pass a link that carries one after the other (24 bytes between)."""
    busy = np.cumsum((wire + 24) * 8 * 10**9 // LINK_BPS)
    return np.maximum.accumulate(ts - busy) + busy


def checksums(out: NDArray[np.void]) -> I64:
    """IPv4 header checksums (RFC 1071), the checksum field being 0."""
    raw = out.view(np.uint8).reshape(len(out), -1)[:, 30:50]
    total = np.ascontiguousarray(raw).view(">u2").astype(np.int64).sum(1)
    total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - ((total & 0xFFFF) + (total >> 16))


def capture(
    packets: int, *, snap: int = 128, payload: int = 1024, pairs: int = 4096, seed: int = 1
) -> Iterator[bytes]:
    """The bytes of a nanosecond pcap file with exactly ``packets`` packets, piece by piece."""
    rng = np.random.default_rng(seed)
    state = make_pairs(rng, pairs)
    yield pcap_header(snap)
    number, done, start_ns = 0, 0, EPOCH_NS
    chunk = max(1, (64 << 20) // (RECORD_BYTES + snap))
    while done < packets:
        rows = segment(rng, state, number, start_ns, payload)
        number, start_ns = number + 1, int(rows["ts"][-1]) + ROUND_NS
        keep = min(len(rows["ts"]), packets - done)
        for low in range(0, keep, chunk):
            part = {name: column[low : min(low + chunk, keep)] for name, column in rows.items()}
            yield records(part, state, snap, payload, done + low)
        done += keep


def pcap_header(snap: int) -> bytes:
    """The header of a little-endian nanosecond pcap file of Ethernet frames."""
    words = np.array([0xA1B23C4D, 2 | 4 << 16, 0, 0, snap, 1], "<u4")
    return words.tobytes()
