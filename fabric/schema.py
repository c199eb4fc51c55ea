"""Every table that travels through the project, declared once: name, kind, unit, one sentence.

The standard library is enough here, so that an agent on a switch can read the declarations too.
Polars schemas are derived in :mod:`analyzers.frames`. A table that nobody collected is an empty
frame of the right schema. Clocks are int64 nanoseconds: ``ts`` is the device's, ``seen`` is ours.
Shares run from 0 to 1. ``point`` is the device:port at which a tap looked.
"""

from typing import Literal, NamedTuple

Kind = Literal[
    "i64", "i32", "u64", "u32", "u16", "u8", "f64", "bool", "str", "list[str]", "list[i64]"
]


class Column(NamedTuple):
    """One column: its name, storage kind, unit ("" where it has none) and what it says."""

    name: str
    kind: Kind
    unit: str
    text: str


class Table(NamedTuple):
    """A table: what one row is, and its columns in order."""

    name: str
    row: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The column names in order."""
        return tuple(column.name for column in self.columns)


C = Column

POINT = C("point", "str", "", "device:port at which the tap looked; the file's name where unknown")
FLOW = C(
    "flow",
    "i64",
    "",
    "number of the flow in this run: 2^32 times the input's number, plus a serial",
)

POINTS = Table(
    "POINTS",
    "an observation point: one interface of one capture (or of one set of rotated files)",
    (
        POINT,
        C("path", "str", "", "the input, as the user named it"),
        C("interface", "str", "", "interface name or number inside the file"),
        C("link_type", "i32", "", "LINKTYPE number of the capture"),
        C("first", "i64", "ns", "time of the first packet"),
        C("last", "i64", "ns", "time of the last packet"),
        C("packets", "i64", "packets", "all captured packets"),
        C(
            "bytes",
            "i64",
            "bytes",
            "all bytes on the wire as the capture states them, FCS not included",
        ),
        C("roce", "i64", "packets", "RoCEv1 and RoCEv2 packets, CNPs included"),
        C("cnp", "i64", "packets", "congestion notification packets"),
        C("pauses", "i64", "packets", "PFC and global pause frames"),
        C("ce", "i64", "packets", "RoCE packets that carry congestion experienced"),
        C("faults", "i64", "packets", "frames that could not be read to their end"),
        C("faults_by_kind", "list[i64]", "packets", "the same by number of Fault, NONE first"),
        C("dropped", "i64", "packets", "packets the capturing system says it dropped; -1 unknown"),
        C("unordered", "i64", "packets", "packets older than their predecessor in the file"),
        C(
            "untimed",
            "i64",
            "packets",
            "packets without a time of their own, given that of the one before; all of the input's "
            "count at its first point",
        ),
        C("speed_bps", "i64", "bit/s", "speed of the link"),
        C("speed_source", "str", "", "given, topology, inferred or unknown"),
        C("damage", "str", "", "why reading stopped early; empty where it did not"),
    ),
)

LINKS = Table(
    "LINKS",
    "a cable, as seen from one end",
    (
        C("device", "str", "", "name of the device"),
        C("port", "str", "", "name of the port on it"),
        C("peer_device", "str", "", "device at the other end"),
        C("peer_port", "str", "", "port at the other end"),
        C("speed_bps", "i64", "bit/s", "nominal speed"),
        C("length_m", "f64", "m", "cable length; NaN unknown"),
        C("role", "str", "", "role of the device: host, leaf, spine, core, ocs"),
        C("peer_role", "str", "", "role of the peer"),
        C("rail", "i32", "", "rail number; -1 none"),
        C("plane", "i32", "", "plane number; -1 none"),
        C("valid_from", "i64", "ns", "the cable exists from this time"),
        C("valid_to", "i64", "ns", "and up to this time, exclusive"),
    ),
)

QOS = Table(
    "QOS",
    "a port's QoS settings for one priority",
    (
        C("device", "str", "", "name of the device"),
        C("port", "str", "", "name of the port"),
        C("priority", "i32", "", "priority 0..7"),
        C("queue", "i32", "", "egress queue that serves it; -1 unknown"),
        C("dscp", "list[i64]", "", "DSCP values classified to this priority"),
        C("pfc", "bool", "", "PFC enabled for the priority"),
        C("ecn", "bool", "", "ECN marking enabled on the queue"),
        C("kmin_bytes", "i64", "bytes", "queue length at which marking starts; -1 unknown"),
        C(
            "kmax_bytes",
            "i64",
            "bytes",
            "queue length from which every packet is marked; -1 unknown",
        ),
        C("pmax", "f64", "share", "mark probability at kmax; NaN unknown"),
        C("xoff_bytes", "i64", "bytes", "headroom above XOFF; -1 unknown"),
        C("mtu_bytes", "i64", "bytes", "largest frame; -1 unknown"),
    ),
)

RANKS = Table(
    "RANKS",
    "a rank of a job and the queue pair it uses",
    (
        C("job", "str", "", "job identifier"),
        C("rank", "i32", "", "rank in the job"),
        C("device", "str", "", "host"),
        C("port", "str", "", "NIC port"),
        C("qpn", "i64", "", "queue pair number; -1 unknown"),
        C("valid_from", "i64", "ns", "from"),
        C("valid_to", "i64", "ns", "to"),
    ),
)

PACKETS = Table(
    "PACKETS",
    "a captured RoCE, CNP or pause frame, or one that could not be read to its end",
    (
        C("ts", "i64", "ns", "capture time"),
        POINT,
        C("frame", "i64", "", "number of the frame in its file, from 1"),
        C("kind", "u8", "", "FrameKind"),
        C("fault", "u8", "", "Fault; 0 none"),
        C("wire_bytes", "u32", "bytes", "frame length on the wire, FCS not included"),
        C("captured_bytes", "u32", "bytes", "captured part of it"),
        C("flow", "i64", "", "flow number; null for pauses"),
        C("src", "str", "", "source address: IP, GID, or MAC for a pause"),
        C("dst", "str", "", "destination address"),
        C("vlan", "u16", "", "innermost VLAN identifier; null untagged"),
        C("priority", "u8", "", "802.1p priority of the tag; null untagged"),
        C("wrap", "u8", "", "Wrap flags of the encapsulations around it"),
        C("dscp", "u8", "", "differentiated services code point"),
        C("ecn", "u8", "", "Ecn"),
        C("ttl", "u8", "", "time to live or hop limit"),
        C("ip_id", "u16", "", "IPv4 identification; null for IPv6"),
        C("ip_bytes", "u32", "bytes", "IP total length (RoCEv1: GRH and payload)"),
        C("sport", "u16", "", "UDP source port; null for RoCEv1"),
        C("opcode", "u8", "", "BTH opcode"),
        C("headers", "u16", "", "Header flags present"),
        C("solicited", "bool", "", "BTH solicited event"),
        C("pad", "u8", "bytes", "BTH pad count"),
        C("pkey", "u16", "", "BTH partition key"),
        C("fecn", "bool", "", "BTH FECN"),
        C("becn", "bool", "", "BTH BECN"),
        C("qpn", "u32", "", "BTH destination queue pair"),
        C("ack_request", "bool", "", "BTH acknowledge request"),
        C("psn", "u32", "", "BTH packet sequence number"),
        C("payload_bytes", "u32", "bytes", "payload without pad and ICRC, from the IP length"),
        C("syndrome", "u8", "", "AETH syndrome"),
        C("msn", "u32", "", "AETH message sequence number"),
        C("va", "u64", "", "RETH or AtomicETH virtual address"),
        C("rkey", "u32", "", "RETH, AtomicETH or IETH remote key"),
        C("dma_bytes", "u32", "bytes", "RETH DMA length"),
        C("immediate", "u32", "", "immediate data"),
        C("src_qpn", "u32", "", "DETH source queue pair"),
        C("qkey", "u32", "", "DETH queue key"),
        C("xrc_srq", "u32", "", "XRCETH shared receive queue"),
        C("atomic_swap", "u64", "", "AtomicETH swap or add data"),
        C("atomic_compare", "u64", "", "AtomicETH compare data"),
        C("atomic_original", "u64", "", "AtomicAckETH original remote data"),
        C("pause_vector", "u16", "", "PFC class-enable vector; null elsewhere"),
        C("quanta", "list[i64]", "quanta", "pause times: eight for PFC, one for a global pause"),
        C("icrc_ok", "bool", "", "ICRC check; null where not asked or the tail was not captured"),
    ),
)

PAUSE_FRAMES = Table(
    "PAUSE_FRAMES",
    "one PFC or global pause frame: what PAUSES is made of",
    (
        C("ts", "i64", "ns", "capture time"),
        POINT,
        C("frame", "i64", "", "number of the frame in its file"),
        C("src", "u64", "", "MAC address of the sender"),
        C("vector", "u16", "", "class-enable vector; 0x100 for a global pause"),
        *(C(f"quanta_{n}", "u16", "quanta", f"pause time of priority {n}") for n in range(8)),
    ),
)

PAUSES = Table(
    "PAUSES",
    "a pause episode: one sender holds one priority of its peer",
    (
        POINT,
        C(
            "held_device",
            "str",
            "",
            "device whose egress stops; its address where no topology names it; empty unknown",
        ),
        C("held_port", "str", "", "port whose egress stops; empty unknown"),
        C("sender", "str", "", "who sent the XOFF: MAC address or device:port; empty unknown"),
        C("priority", "i32", "", "priority held; -1 for a global pause"),
        C("start", "i64", "ns", "first XOFF"),
        C("end", "i64", "ns", "end of the hold"),
        C("paused_ns", "i64", "ns", "time held: the union of the asked-for spans"),
        C("end_reason", "str", "", "xon, expiry, end_of_capture; resumed where inferred"),
        C("frames", "i64", "packets", "pause frames in the episode, the XON included"),
        C("first_frame", "i64", "", "frame number of the first XOFF"),
        C("last_frame", "i64", "", "frame number of the last"),
        C("kind", "str", "", "observed, counted or inferred"),
    ),
)

PAUSE_WINDOWS = Table(
    "PAUSE_WINDOWS",
    "how long one sender held one priority inside one time bin",
    (
        POINT,
        C("sender", "str", "", "who sent the XOFF"),
        C("priority", "i32", "", "priority held; -1 for a global pause"),
        C("start", "i64", "ns", "begin of the bin"),
        C("width_ns", "i64", "ns", "width of the bin"),
        C("paused_ns", "i64", "ns", "time held in the bin"),
        C("duty", "f64", "share", "paused_ns / width_ns"),
        C("transitions", "i64", "", "XOFF transitions in the bin"),
    ),
)

PAUSE_BREACHES = Table(
    "PAUSE_BREACHES",
    "a hold that was not obeyed: frames of the priority went on when they had to stop",
    (
        POINT,
        C("sender", "str", "", "MAC address that asked for the hold"),
        C("held", "str", "", "MAC address that went on sending; empty where it was several"),
        C("src", "str", "", "source address of the first such frame: IP or GID"),
        C("priority", "i32", "", "priority held; -1 for a global pause"),
        C("tagged", "bool", "", "the first frame bears its priority in a tag; else by DSCP"),
        C("start", "i64", "ns", "XOFF that began the hold"),
        C("allowed_ns", "i64", "ns", "time from there on in which frames may still pass"),
        C("first", "i64", "ns", "first frame after that"),
        C("last", "i64", "ns", "last frame before XON or expiry"),
        C("packets", "i64", "packets", "frames in between"),
        C("bytes", "i64", "bytes", "their wire bytes with framing"),
        C("first_frame", "i64", "", "frame number of the first"),
        C("last_frame", "i64", "", "frame number of the last"),
    ),
)

FLOWS = Table(
    "FLOWS",
    "one direction of a queue pair seen at a point",
    (
        FLOW,
        POINT,
        C("src", "str", "", "source address"),
        C("dst", "str", "", "destination address"),
        C("qpn", "u32", "", "destination queue pair number"),
        C("epoch", "i32", "", "0, then counted up when the queue pair number is reused"),
        C("service", "u8", "", "Service"),
        C("peer_flow", "i64", "", "the other direction; null where not paired"),
        C("pair_confidence", "f64", "share", "how sure the pairing is; 0 where not paired"),
        C("sport", "u16", "", "UDP source port of the first packet"),
        C("sports", "u32", "", "UDP source ports seen, counted by change"),
        C("dscp", "u8", "", "DSCP of the first packet"),
        C("priority", "i32", "", "802.1p priority of the first packet; -1 untagged"),
        C("first", "i64", "ns", "first packet"),
        C("last", "i64", "ns", "last packet"),
        C("first_frame", "i64", "", "frame number of the first packet"),
        C("packets", "i64", "packets", "all packets, copies not included"),
        C("copies", "i64", "packets", "mirror copies of packets already seen at this point"),
        C("requests", "i64", "packets", "request packets (SEND, WRITE, READ request, atomics)"),
        C("responses", "i64", "packets", "acknowledgements and READ responses"),
        C("cnp", "i64", "packets", "congestion notification packets in this direction"),
        C("bytes", "i64", "bytes", "IP bytes of all packets"),
        C("wire_bytes", "i64", "bytes", "with Ethernet framing: preamble, gap and FCS included"),
        C("payload_bytes", "i64", "bytes", "payload of all packets"),
        C("unique_bytes", "i64", "bytes", "payload counted once: resent packets left out"),
        C("resent", "i64", "packets", "packets sent again"),
        C("ect", "i64", "packets", "packets able to be marked (ECT or CE)"),
        C("ce", "i64", "packets", "packets marked congestion experienced"),
        C("naks", "i64", "packets", "sequence-error NAKs carried in this direction"),
        C("rnr_naks", "i64", "packets", "receiver-not-ready NAKs carried in this direction"),
        C("messages", "i64", "", "messages completed"),
        C("pmtu", "u32", "bytes", "path MTU as learnt from the packets; 0 unknown"),
        C("first_psn", "u32", "", "first request PSN"),
        C("last_psn", "u32", "", "highest request PSN"),
        C("span_psn", "i64", "", "request PSNs from first to highest, unwrapped"),
        C("inflight_max_bytes", "i64", "bytes", "most bytes sent and not yet acknowledged"),
        C("rtt_samples", "i64", "", "round trips measured (Karn's rule, last covered PSN only)"),
        C("rtt_min_ns", "i64", "ns", "least round trip; null without samples"),
        C("rtt_p50_ns", "i64", "ns", "median, to 1/8 octave"),
        C("rtt_p99_ns", "i64", "ns", "99th percentile, to 1/8 octave"),
        C("rtt_max_ns", "i64", "ns", "longest round trip"),
        C("recovery", "str", "", "go_back_n, selective or empty: how lost packets were sent again"),
        C("fingerprint", "u64", "", "sum of a hash of every packet: equal sets, equal sums"),
    ),
)

FLOW_WINDOWS = Table(
    "FLOW_WINDOWS",
    "a flow in a time bin",
    (
        FLOW,
        C("start", "i64", "ns", "begin of the bin"),
        C("width_ns", "i64", "ns", "width of the bin: wider where bins would hold too little"),
        C("packets", "i64", "packets", "packets"),
        C("bytes", "i64", "bytes", "wire bytes with framing"),
        C("payload_bytes", "i64", "bytes", "payload"),
        C("ect", "i64", "packets", "packets able to be marked"),
        C("ce", "i64", "packets", "packets marked"),
        C("cnp", "i64", "packets", "CNPs carried in this direction"),
        C("resent", "i64", "packets", "packets sent again"),
        C("rtt_sum_ns", "i64", "ns", "sum of the round trips completed in the bin"),
        C("rtt_count", "i64", "", "round trips completed in the bin"),
        C("rtt_max_ns", "i64", "ns", "longest of them"),
        C("inflight_bytes", "i64", "bytes", "most bytes in flight"),
    ),
)

HOST_WINDOWS = Table(
    "HOST_WINDOWS",
    "what one destination received in a short time bin (kept where the load is worth a look)",
    (
        POINT,
        C("dst", "str", "", "destination address"),
        C("start", "i64", "ns", "begin of the bin"),
        C("width_ns", "i64", "ns", "width of the bin"),
        C("bytes", "i64", "bytes", "wire bytes with framing"),
        C("packets", "i64", "packets", "packets"),
        C("sources", "i64", "", "distinct sources of payload"),
        C("flows", "i64", "", "distinct flows with payload"),
        C("ce", "i64", "packets", "packets marked"),
    ),
)

TRAFFIC = Table(
    "TRAFFIC",
    "who sent how much to whom at a point: the traffic matrix",
    (
        POINT,
        C("src", "str", "", "source address"),
        C("dst", "str", "", "destination address"),
        C("flows", "i64", "", "flows"),
        C("packets", "i64", "packets", "packets"),
        C("bytes", "i64", "bytes", "wire bytes with framing"),
        C("payload_bytes", "i64", "bytes", "payload"),
        C("first", "i64", "ns", "first packet"),
        C("last", "i64", "ns", "last packet"),
    ),
)

CNPS = Table(
    "CNPS",
    "a congestion notification packet, explained",
    (
        C("ts", "i64", "ns", "capture time"),
        POINT,
        C("frame", "i64", "", "frame number"),
        FLOW,
        C("peer_flow", "i64", "", "the data flow it slows; null where not paired"),
        C("cause", "str", "", "ecn, nak or unexplained"),
        C(
            "since_mark_ns",
            "i64",
            "ns",
            "time since the last marked packet of the data flow; null none",
        ),
        C(
            "since_nak_ns",
            "i64",
            "ns",
            "time since the last sequence-error NAK of the data flow, negative where it came just "
            "after; null none",
        ),
        C("since_cnp_ns", "i64", "ns", "time since the previous CNP of the same flow; null none"),
    ),
)

RATE_CONTROL = Table(
    "RATE_CONTROL",
    "what DCQCN must have made of a flow in a time bin, rebuilt from its CNPs",
    (
        FLOW,
        C("start", "i64", "ns", "begin of the bin"),
        C("width_ns", "i64", "ns", "width of the bin"),
        C("profile", "str", "", "parameter set: the one named, or the one that fits best"),
        C("rate_bps", "f64", "bit/s", "rate the sender was allowed, mean over the bin"),
        C("alpha", "f64", "", "its estimate of congestion at the end of the bin"),
        C("sent_bps", "f64", "bit/s", "what it sent"),
        C("cnp", "i64", "packets", "CNPs it got in the bin"),
        C("error", "f64", "share", "median of |rate - sent| / sent of the flow's marked bins"),
    ),
)

EVENTS = Table(
    "EVENTS",
    "something that happened to a sequence, with its verdict and proof",
    (
        C("ts", "i64", "ns", "when it happened: the first packet concerned"),
        C("end", "i64", "ns", "when it was over or decided"),
        POINT,
        FLOW,
        C("kind", "str", "", "EventKind: what happened"),
        C("verdict", "str", "", "what it was, or undetermined"),
        C(
            "place",
            "str",
            "",
            "upstream, downstream, receiver, sender, tap, between A and B, or empty",
        ),
        C("psn", "u32", "", "first PSN concerned"),
        C("psns", "i64", "", "how many PSNs"),
        C("resent", "i64", "packets", "packets sent again because of it"),
        C("delay_ns", "i64", "ns", "time lost: to the resend, or lateness; null none"),
        C("limit_ns", "i64", "ns", "the timer the protocol named; null none"),
        C("extent", "i64", "packets", "greatest displacement of a reordered packet; 0 otherwise"),
        C("frame", "i64", "", "frame that showed it first"),
        C("original_frame", "i64", "", "frame of the original packet, if seen"),
        C("reply_frame", "i64", "", "frame of the NAK or ACK that decides"),
        C("resend_frame", "i64", "", "first frame of the resend"),
        C("proof", "str", "", "the argument in one sentence"),
    ),
)

MESSAGES = Table(
    "MESSAGES",
    "a WRITE, SEND or READ rebuilt from its packets",
    (
        FLOW,
        C("operation", "u8", "", "0 SEND, 1 WRITE, 2 READ, 3 atomic"),
        C("start", "i64", "ns", "first packet"),
        C("end", "i64", "ns", "last packet"),
        C("first_psn", "u32", "", "PSN of the first packet"),
        C("packets", "u32", "packets", "packets, each PSN once"),
        C("bytes", "i64", "bytes", "payload"),
        C("declared_bytes", "i64", "bytes", "RETH length; -1 for a SEND"),
        C("complete", "bool", "", "first to last packet seen, bytes as declared"),
        C("va", "u64", "", "remote address; 0 for a SEND"),
        C("immediate", "i64", "", "immediate data; -1 none"),
    ),
)

COUNTERS = Table(
    "COUNTERS",
    "one reading",
    (
        C("ts", "i64", "ns", "the device's clock"),
        C("seen", "i64", "ns", "our clock"),
        C("device", "str", "", "device"),
        C("port", "str", "", "port"),
        C("object", "str", "", "port, priority, queue, pg, pool, lane or qp"),
        C("index", "i32", "", "number of the object; -1 none"),
        C("counter", "str", "", "canonical name"),
        C("value", "i64", "", "reading, in the canonical unit of the counter"),
    ),
)

RATES = Table(
    "RATES",
    "counters made comparable: per second, or per interval",
    (
        C("ts", "i64", "ns", "end of the interval"),
        C("interval_ns", "i64", "ns", "measured interval"),
        C("device", "str", "", "device"),
        C("port", "str", "", "port"),
        C("object", "str", "", "port, priority, queue, pg, pool, lane or qp"),
        C("index", "i32", "", "number of the object; -1 none"),
        C("counter", "str", "", "canonical name"),
        C("delta", "i64", "", "increase in the interval, wraps and resets resolved"),
        C("rate", "f64", "/s", "increase per second of the measured interval"),
    ),
)

OPERATION = C("operation", "i64", "", "number of the operation in this run, from 0")

QUALITY = Table(
    "QUALITY",
    "what is wrong with readings themselves: a gap, a reset, a clock, a value that is none",
    (
        C("ts", "i64", "ns", "when, by the device's clock"),
        C("seen", "i64", "ns", "when, by ours"),
        C("device", "str", "", "device"),
        C("port", "str", "", "port; empty where it is about more"),
        C("object", "str", "", "as in COUNTERS; empty where it is about more"),
        C("index", "i32", "", "number of the object; -1 none"),
        C("counter", "str", "", "canonical name; empty where it is about more"),
        C(
            "kind",
            "str",
            "",
            "duplicates, gap, stale, reset, wrap, repeated, skew, deleted, off, fault...",
        ),
        C("value", "i64", "", "how many, or how long in ns"),
        C("text", "str", "", "one line"),
    ),
)

LOGS = Table(
    "LOGS",
    "what a device, a host or a collector said happened: a log line, a drop reason, a change",
    (
        C("ts", "i64", "ns", "when, by the clock of who says it"),
        C("seen", "i64", "ns", "when, by ours"),
        C("device", "str", "", "device it is about"),
        C("port", "str", "", "port it is about; empty where it is about more"),
        C("source", "str", "", "syslog, events, drops, config, collector..."),
        C("kind", "str", "", "one word for it; empty unknown"),
        C("text", "str", "", "one line"),
    ),
)

SERIES = Table(
    "SERIES",
    "where a counter of COUNTERS comes from",
    (
        C("device", "str", "", "device"),
        C("port", "str", "", "port"),
        C("object", "str", "", "port, priority, queue, pg, pool, lane or qp"),
        C("index", "i32", "", "number of the object; -1 none"),
        C("counter", "str", "", "canonical name"),
        C("dictionary", "str", "", "platform whose dictionary knows it"),
        C("path", "str", "", "pattern of the dictionary"),
        C("bits", "i32", "bits", "where it wraps"),
        C("provenance", "str", "", "seen on a device, yang, vendor document, or unverified"),
    ),
)

UNKNOWN_PATHS = Table(
    "UNKNOWN_PATHS",
    "a path that no dictionary knows",
    (
        C("device", "str", "", "device"),
        C("path", "str", "", "path, with its keys"),
        C("count", "i64", "", "readings"),
        C("example", "str", "", "a value"),
        C("last", "i64", "ns", "last reading, by our clock"),
    ),
)

COLLECTIVES = Table(
    "COLLECTIVES",
    "one collective operation on one communicator",
    (
        OPERATION,
        C("start", "i64", "ns", "start"),
        C("end", "i64", "ns", "end"),
        C("communicator", "str", "", "communicator: the job's name for it, or group N"),
        C("number", "i64", "", "the job's own count of operations; -1 unknown"),
        C("kind", "str", "", "all_reduce, all_gather, reduce_scatter, all_to_all, send_recv..."),
        C("algorithm", "str", "", "ring, tree, direct or empty"),
        C("bytes", "i64", "bytes", "bytes as the operation counts them"),
        C("ranks", "i32", "", "number of ranks"),
        C("members", "list[str]", "", "addresses of the NICs that take part, in ring order if one"),
        C("messages", "i64", "", "data messages"),
        C("expected_bytes", "i64", "bytes", "what algorithm and size put on the wire; -1 unknown"),
        C("measured_bytes", "i64", "bytes", "payload of its messages, each byte once"),
        C("resent_bytes", "i64", "bytes", "payload its flows sent again, by their share"),
        C("algbw_bps", "f64", "bit/s", "bytes over time"),
        C("busbw_bps", "f64", "bit/s", "bus bandwidth"),
        C("period_ns", "i64", "ns", "from the start of the one before; -1 the first"),
        C("skew_ns", "i64", "ns", "from the median rank's entry to the last one's"),
        C("late_rank", "i32", "", "the last rank; -1 unknown"),
        C("late", "str", "", "address of the rank that held the others up; empty nobody did"),
        C("transfer_ns", "i64", "ns", "critical path: moving bytes at the speed of the link"),
        C("network_wait_ns", "i64", "ns", "critical path: waiting for the network"),
        C("sender_wait_ns", "i64", "ns", "critical path: waiting for the sender"),
        C("receiver_wait_ns", "i64", "ns", "critical path: waiting for the receiver"),
        C("confidence", "f64", "share", "how sure kind and boundaries are"),
        C("evidence", "str", "", "job: its own data say so; traffic: recognised from packets"),
        C("missing", "str", "", "what was not seen and would have helped"),
    ),
)

CARRIED = Table(
    "CARRIED",
    "what one flow carried for one operation",
    (
        OPERATION,
        FLOW,
        C("src", "str", "", "address that sent the data"),
        C("dst", "str", "", "address that got it"),
        C("qpn", "u32", "", "destination queue pair"),
        C("sport", "u16", "", "UDP source port"),
        C("src_rank", "i32", "", "rank that sent; -1 unknown"),
        C("dst_rank", "i32", "", "rank that got it; -1 unknown"),
        C("start", "i64", "ns", "first packet"),
        C("end", "i64", "ns", "last packet"),
        C("messages", "i64", "", "messages"),
        C("bytes", "i64", "bytes", "payload"),
    ),
)

STALLS = Table(
    "STALLS",
    "a wait on the critical path of an operation, and who was late",
    (
        OPERATION,
        C("start", "i64", "ns", "start, on the clock of the host that waited"),
        C("end", "i64", "ns", "end"),
        C("cause", "str", "", "sender, receiver or network"),
        C("late", "str", "", "address of the late host; of the sender where the network was"),
        C("waits", "str", "", "address of the host at the other end"),
        FLOW,
        C("clear_to_send", "str", "", "seen, late, absent, or unused where the flow has none"),
        C("bytes", "i64", "bytes", "size of the message that waited"),
    ),
)

OPERATIONS = Table(
    "OPERATIONS",
    "a collective or point-to-point call as a job's own logs tell it, one row per rank",
    (
        C("job", "str", "", "job identifier"),
        C("communicator", "str", "", "communicator"),
        C("rank", "i32", "", "rank in the communicator; -1 unknown"),
        C("ranks", "i32", "", "ranks of the communicator; -1 unknown"),
        C("device", "str", "", "host"),
        C("number", "i64", "", "count of the operation on its communicator; -1 unknown"),
        C("kind", "str", "", "all_reduce, all_gather, ...; send and recv of a pair apart"),
        C("algorithm", "str", "", "ring, tree or empty"),
        C("bytes", "i64", "bytes", "bytes of the call as nccl-tests counts them; -1 unknown"),
        C("peer", "i32", "", "root or peer rank; -1 none"),
        C("start", "i64", "ns", "called or begun; -1 unknown"),
        C("end", "i64", "ns", "ended; -1 unknown"),
        C("exact", "bool", "", "the times are those of the operation, not of a later look at it"),
        C("path", "str", "", "file that says so"),
    ),
)

FINDINGS = Table(
    "FINDINGS",
    "what one detector says: a symptom",
    (
        C("id", "str", "", "detector:number, stable for the same tables"),
        C("detector", "str", "", "module that says it"),
        C("kind", "str", "", "symptom"),
        C("severity", "str", "", "info, warning or critical"),
        C("start", "i64", "ns", "start"),
        C("end", "i64", "ns", "end"),
        C("point", "str", "", "where it was observed"),
        C("device", "str", "", "device concerned; empty unknown"),
        C("port", "str", "", "port concerned; empty unknown"),
        C("priority", "i32", "", "priority concerned; -1 none"),
        C("flow", "i64", "", "flow concerned; null where it is not about one"),
        C("subject", "str", "", "what it is about in words: an address pair, a MAC, a link"),
        C("value", "f64", "", "measured value"),
        C("limit", "f64", "", "limit it was held against"),
        C("unit", "str", "", "unit of both"),
        C("lost_ns", "i64", "ns", "time the sufferers lost by it, summed; 0 where not known"),
        C("confidence", "f64", "share", "how sure"),
        C("evidence", "str", "", "observed, counted or inferred"),
        C("missing", "str", "", "what was not seen and would have helped"),
        C("frames", "list[i64]", "", "frame numbers that prove it"),
        C("summary", "str", "", "one sentence"),
        C("advice", "str", "", "what to look at or do next"),
    ),
)

INCIDENTS = Table(
    "INCIDENTS",
    "findings folded to one cause",
    (
        C("id", "str", "", "kept when the live window is looked at again"),
        C("cls", "str", "", "cause, from the vocabulary A1..A30"),
        C("scope", "str", "", "port, link, cycle or device"),
        C("roots", "list[str]", "", "device:port:priority, ranked"),
        C("start", "i64", "ns", "start"),
        C("end", "i64", "ns", "end"),
        C("confidence", "f64", "share", "how sure"),
        C("tier", "str", "", "what it was judged by: captures, counters, or both"),
        C("lost_ns", "f64", "ns", "time the sufferers were held or slowed, summed; NaN unknown"),
        C("evidence", "list[str]", "", "the readings that prove it and the limits they met"),
        C("missing", "list[str]", "", "evidence that was not there"),
        C("alternatives", "list[str]", "", "other classes and why not"),
        C("contributors", "list[str]", "", "who adds to it"),
        C("victims", "list[str]", "", "who suffers, with milliseconds lost"),
        C("tree", "list[str]", "", "edges of the pause tree"),
        C("advice", "str", "", "what to do"),
        C("findings", "list[str]", "", "finding ids"),
    ),
)

TABLES: tuple[Table, ...] = (
    POINTS, LINKS, QOS, RANKS, PACKETS, PAUSE_FRAMES, PAUSES, PAUSE_WINDOWS, PAUSE_BREACHES, FLOWS,
    FLOW_WINDOWS, HOST_WINDOWS, TRAFFIC, CNPS, RATE_CONTROL, EVENTS, MESSAGES, COUNTERS, RATES,
    QUALITY, LOGS, COLLECTIVES, CARRIED, STALLS, OPERATIONS, FINDINGS, INCIDENTS,
)  # fmt: skip
