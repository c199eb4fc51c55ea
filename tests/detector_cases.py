"""What each detector must say: a table of (name, rows given, findings expected).

Rows name only the columns that matter; :func:`frame` fills the rest with zeros, empty text or null.
"""

from typing import Any, NamedTuple

import polars as pl

from analyzers.frames import schema
from analyzers.tables import Tables, tables
from fabric.schema import TABLES

Row = dict[str, Any]
MS = 1_000_000
US = 1_000
BLANK = {"str": "", "bool": False, "f64": 0.0, "list[str]": [], "list[i64]": []}
NULLS = {"peer_flow", "delay_ns", "limit_ns", "original_frame", "reply_frame", "resend_frame",
         "since_mark_ns", "since_nak_ns", "since_cnp_ns", "rtt_min_ns"}  # fmt: skip
A, B, C, D, E = (f"10.0.0.{n}" for n in range(1, 6))
NIC = "02:00:00:00:0c:01"


class Case(NamedTuple):
    """A detector's short name, what it is given, and (kind, severity) of what it must find."""

    detector: str
    name: str
    given: dict[str, list[Row]]
    expected: list[tuple[str, str]]
    says: str = ""  # a part of the first finding's summary or subject


def frame(table: str, rows: list[Row]) -> pl.LazyFrame:
    """Rows of a declared table, in its exact schema."""
    declared = next(t for t in TABLES if t.name.lower() == table)
    unknown = {name for row in rows for name in row} - set(declared.names)
    assert not unknown, f"{table} has no column {unknown}"
    blank = {c.name: None if c.name in NULLS else BLANK.get(c.kind, 0) for c in declared.columns}
    full = [{**blank, **row} for row in rows]
    return pl.DataFrame(full, schema=schema(declared)).lazy()


def given_tables(given: dict[str, list[Row]]) -> Tables:
    """All tables, those given filled."""
    return tables({name: frame(name, rows) for name, rows in given.items()})


def flow(number: int, src: str = A, dst: str = B, **more: Any) -> Row:
    """A flow of 1,000 packets at point tap, from 0 to 20 ms."""
    base = {"flow": number, "point": "tap", "src": src, "dst": dst, "qpn": 0x10 + number,
            "packets": 1000, "requests": 1000, "first": 0, "last": 20 * MS, "ect": 1000,
            "payload_bytes": 1_000_000, "unique_bytes": 1_000_000, "fingerprint": number}  # fmt: skip
    return {**base, **more}


def event(kind: str, verdict: str, place: str = "", **more: Any) -> Row:
    """An event of flow 1 at point tap."""
    base = {"ts": 5 * MS, "end": 6 * MS, "point": "tap", "flow": 1, "kind": kind, "verdict": verdict,
            "place": place, "psn": 7, "psns": 1, "frame": 50}  # fmt: skip
    return {**base, **more}


def point(**more: Any) -> Row:
    """A sound point of 100 Gb/s that saw 10,000 packets in 20 ms."""
    base = {"point": "tap", "path": "tap.pcap", "first": 0, "last": 20 * MS, "packets": 10_000,
            "roce": 10_000, "dropped": -1, "speed_bps": 100 * 10**9, "speed_source": "given"}  # fmt: skip
    return {**base, **more}


def pause(start: int, length: int, **more: Any) -> Row:
    """A hold of priority 3 by the NIC."""
    base = {"point": "tap", "sender": NIC, "priority": 3, "start": start, "end": start + length,
            "paused_ns": length, "end_reason": "xon", "frames": 2, "first_frame": 10,
            "last_frame": 11, "kind": "observed"}  # fmt: skip
    return {**base, **more}


def collective(number: int = 0, **more: Any) -> Row:
    """An AllReduce of four ranks that took 200 us, in a ring."""
    base = {"operation": number, "start": number * MS, "end": number * MS + 200 * US,
            "communicator": "group 0", "number": -1, "kind": "all_reduce", "algorithm": "ring",
            "bytes": 1 << 20, "ranks": 4, "members": [A, B, C, D], "late_rank": -1,
            "transfer_ns": 50 * US, "confidence": 0.9, "evidence": "traffic"}  # fmt: skip
    return {**base, **more}


LATE = {"late": B, "sender_wait_ns": 150 * US}
INFERRED = {
    "kind": "inferred",
    "held_device": A,
    "sender": "",
    "end_reason": "resumed",
    "frames": 0,
}


def breach(**more: Any) -> Row:
    """A hold by the switch that the NIC did not obey."""
    base = {"point": "tap", "sender": "02:00:00:00:0c:02", "held": NIC, "src": A, "priority": 3,
            "start": MS, "allowed_ns": 7 * US, "first": MS + 8 * US, "last": MS + 30 * US,
            "packets": 20, "bytes": 22_000, "first_frame": 50, "last_frame": 90}  # fmt: skip
    return {**base, **more}


def bins(duty: float, transitions: int, count: int = 20) -> list[Row]:
    """Pause windows of 1 ms."""
    base = {"point": "tap", "sender": NIC, "priority": 3, "width_ns": MS}
    one = {"paused_ns": int(duty * MS), "duty": duty, "transitions": transitions}
    return [{**base, **one, "start": n * MS} for n in range(count)]


def burst(sources: int, share: float, ce: float, **more: Any) -> Row:
    """A bin of 100 us towards B that fills ``share`` of 100 Gb/s."""
    base = {"point": "tap", "dst": B, "start": MS, "width_ns": 100 * US, "packets": 1000,
            "bytes": int(share * 1_250_000), "sources": sources, "flows": sources,
            "ce": int(ce * 1000)}  # fmt: skip
    return {**base, **more}


def edge(src: str, dst: str, payload: int = 1_000_000, **more: Any) -> Row:
    """Traffic between two hosts."""
    base = {"point": "tap", "src": src, "dst": dst, "flows": 1, "packets": 1000, "bytes": payload,
            "payload_bytes": payload, "first": 0, "last": 20 * MS}  # fmt: skip
    return {**base, **more}


def cnps(cause: str, count: int = 5) -> list[Row]:
    """CNPs from B to A, 50 us apart."""
    base = {"point": "tap", "flow": 2, "cause": cause}
    gap = {"since_cnp_ns": 50 * US}
    return [
        {**base, **(gap if n else {}), "ts": n * 50 * US, "frame": 100 + n} for n in range(count)
    ]


def loss(place: str, **more: Any) -> Row:
    """A lost packet that was sent again after 30 us."""
    proof = {"original_frame": 40, "reply_frame": 60, "resend_frame": 70}
    return event("loss", "lost", place, resent=12, delay_ns=30 * US, **proof, **more)


TWO_WAYS = [flow(1, peer_flow=2), flow(2, B, A, requests=0, responses=500, peer_flow=1)]
MANY = [flow(n, src=f"10.0.{n}.1", dst=f"10.1.{n}.1") for n in range(1, 9)]

MARKED = [{**row, "ce": 400 + 25 * n, "ect": 800} for n, row in enumerate(MANY)]

CASES = [
    Case("loss", "upstream", {"flows": [flow(1)], "events": [loss("upstream")]},
         [("loss_upstream", "warning")], "upstream of tap"),
    Case("loss", "downstream", {"flows": [flow(1)], "events": [loss("downstream")]},
         [("loss_downstream", "warning")], "1 packet lost downstream of tap in 1 queue pair"),
    Case("loss", "two taps tell of one loss: it lies between them, and is counted once",
         {"flows": [flow(1), flow(2, point="far", qpn=0x11)],
          "events": [loss("between tap and far"),
                     loss("between tap and far", point="far", flow=2, ts=5 * MS + 900)]},
         [("loss_between", "warning")], "1 packet lost between tap and far in 1 queue pair"),
    Case("loss", "two packets of one number are two losses",
         {"flows": [flow(1)], "events": [loss("upstream"), loss("upstream", ts=15 * MS)]},
         [("loss_upstream", "warning")], "2 packets lost"),
    Case("loss", "one percent of a flow is critical",
         {"flows": [flow(1)], "events": [loss("upstream", psn=n, frame=n) for n in range(10)]},
         [("loss_upstream", "critical")], "10 packets"),
    Case("loss", "many hosts are told in one finding",
         {"flows": MANY, "events": [loss("upstream", flow=n) for n in range(1, 9)]},
         [("loss_upstream", "warning")], "8 packets lost upstream of tap in 8 queue pairs"),
    Case("loss", "many senders to one receiver are told by the receiver",
         {"flows": [flow(n, src=f"10.0.{n}.1") for n in range(1, 9)],
          "events": [loss("downstream", flow=n) for n in range(1, 9)]},
         [("loss_downstream", "warning")], "→ 10.0.0.2 (8 queue pairs)"),
    Case("loss", "an undetermined loss is not ours",
         {"flows": [flow(1)], "events": [event("loss", "undetermined", "upstream")]}, []),
    Case("undecided", "open questions",
         {"flows": [flow(1)], "events": [event("loss", "undetermined", "upstream"),
                                         event("gap", "undetermined", psns=4)]},
         [("gap", "info"), ("loss_undetermined", "info")]),
    Case("timeouts", "tail loss, long", {"flows": [flow(1)], "events": [
            event("timeout", "tail_loss", "downstream", delay_ns=4_290 * MS, resent=2)]},
         [("tail_loss", "critical")], "silent for up to 4.29 s"),
    Case("timeouts", "ack loss and an open one", {"flows": TWO_WAYS, "events": [
            event("timeout", "ack_lost", "receiver", delay_ns=67 * MS, resent=1),
            event("timeout", "undetermined", delay_ns=67 * MS, resent=1, psn=9)]},
         [("ack_loss", "warning"), ("timeout", "warning")], "between tap and the receiver"),
    Case("timeouts", "two taps: the one that can decide tells it", {
            "flows": [flow(1), flow(2, point="far", qpn=0x11)], "events": [
            event("timeout", "undetermined", delay_ns=67 * MS),
            event("timeout", "tail_loss", "downstream", delay_ns=67 * MS, point="far", flow=2)]},
         [("tail_loss", "warning")], "1 timeout in 1 queue pair"),
    Case("timeouts", "two taps place it", {"flows": [flow(1)], "events": [
            event("timeout", "tail_loss", "between tap and far", delay_ns=67 * MS)]},
         [("tail_loss", "warning")], "were lost between tap and far;"),
    Case("retransmission", "spurious and unexplained", {"flows": TWO_WAYS, "events": [
            event("retransmission", "spurious", resent=16),
            event("retransmission", "undetermined", resent=2, psn=90)]},
         [("spurious_retransmission", "warning"), ("unexplained_retransmission", "warning")], "16"),
    Case("reordering", "one direction only", {"flows": [flow(1)], "events": [
            event("reorder", "reordered", extent=3, delay_ns=2 * US)]},
         [("reordering", "warning")], "displaced by up to 3 packets"),
    Case("reordering", "taken without complaint", {"flows": TWO_WAYS, "events": [
            event("reorder", "reordered", extent=3, delay_ns=2 * US)]}, [("reordering", "info")]),
    Case("reordering", "answered with a NAK", {"flows": TWO_WAYS, "events": [
            event("reorder", "reordered", extent=3, delay_ns=2 * US),
            event("retransmission", "spurious", resent=16)]}, [("reordering", "warning")]),
    Case("livelock", "go-back-0", {"flows": [
            flow(1, resent=900, payload_bytes=1_900_000, unique_bytes=100_000)]},
         [("retransmission_waste", "critical")], "only 5.3 % of the payload was new"),
    Case("livelock", "a tenth", {"flows": [flow(1, resent=120, unique_bytes=880_000)]},
         [("retransmission_waste", "warning")]),
    Case("livelock", "a few resends", {"flows": [flow(1, resent=20, unique_bytes=880_000)]}, []),
    Case("receiver_not_ready", "honoured and ignored", {"flows": TWO_WAYS, "events": [
            event("rnr", "timer_honoured", "receiver", delay_ns=650 * US, limit_ns=640 * US),
            event("rnr", "timer_ignored", "receiver", delay_ns=5 * US, limit_ns=640 * US, psn=9)]},
         [("receiver_not_ready", "warning"), ("rnr_timer_ignored", "warning")], "650 us lost"),
    Case("nak_errors", "remote access", {"flows": TWO_WAYS, "events": [
            event("nak", "remote_access", "receiver")]}, [("fatal_nak", "critical")],
         "remote access"),
    Case("pfc_storm", "20 ms without XON", {"points": [point()], "pauses": [
            pause(n * 300 * US, 300 * US, end_reason="expiry") for n in range(70)]},
         [("pfc_storm", "critical")], f"{NIC} held priority 3"),
    Case("pfc_storm", "cut by the end of the capture", {"points": [point()], "pauses": [
            pause(0, 2 * MS, end_reason="end_of_capture")]}, [("pfc_storm", "warning")]),
    Case("pfc_storm", "half the time is pressure, not a storm", {"points": [point()], "pauses": [
            pause(n * 300 * US, 150 * US) for n in range(70)]}, []),
    Case("pfc_storm", "a short hold", {"points": [point()], "pauses": [pause(0, 300 * US)]}, []),
    Case("pfc_ignored", "a host goes on", {"points": [point()], "pause_breaches": [
            breach(), breach(start=9 * MS, last=9 * MS + 50 * US)]},
         [("pfc_ignored", "critical")], "40 frames, 44 kB, up to 50 us after the XOFF, in 2 holds"),
    Case("pfc_ignored", "a global pause, by several", {"pause_breaches": [
            breach(priority=-1, held="")]}, [("pfc_ignored", "critical")], "went on with everything"),
    Case("pfc_ignored", "two frames that were on their way", {"points": [point()],
            "pause_breaches": [breach(packets=2)]}, []),
    Case("pauses_inferred", "12 ms in one go", {"points": [point()], "pauses": [
            pause(MS, 12 * MS, **INFERRED), pause(15 * MS, MS, **INFERRED)]},
         [("pause_inferred", "warning")], "2 times, 13 ms in all, 12 ms at most"),
    Case("pauses_inferred", "short ones", {"points": [point()], "pauses": [
            pause(MS, 2 * MS, **INFERRED)]}, [("pause_inferred", "info")]),
    Case("pauses_inferred", "where pauses are seen nothing is inferred", {
            "points": [point(pauses=9)], "pauses": [pause(MS, 12 * MS, **INFERRED)]}, []),
    Case("pause_pressure", "half the time", {"pause_windows": bins(0.5, 3)},
         [("pause_pressure", "warning")], "up to 50 % of 10 ms"),
    Case("pause_pressure", "flutter", {"pause_windows": bins(0.02, 4)},
         [("pause_flutter", "warning")], "4000 XOFF per second"),
    Case("pause_pressure", "a lossless fabric at work", {"pause_windows": bins(0.05, 1, 3)}, []),
    Case("pauses_seen", "two holds", {"points": [point(speed_source="inferred")],
            "pauses": [pause(0, 20 * US), pause(MS, 10 * US, end_reason="expiry")]},
         [("pauses", "info")], "2 holds by 4 pause frames, 30 us in all"),
    Case("global_pause", "on a RoCE link", {"points": [point()], "pauses": [
            pause(0, 20 * US, priority=-1)]}, [("global_pause", "warning")], "all priorities"),
    Case("global_pause", "where no RoCE runs", {"points": [point(roce=0)], "pauses": [
            pause(0, 20 * US, priority=-1)]}, [("global_pause", "info")]),
    Case("incast", "behind the last switch: full and marked", {"points": [point()],
            "host_windows": [burst(15, 0.97, 0.9)], "traffic": [edge(A, B)]},
         [("incast", "warning")], "up to 15 senders in 15 flows filled 97 %"),
    Case("incast", "before it: more than the line", {"points": [point()],
            "host_windows": [burst(5, 2.0, 0.0)], "traffic": [edge(A, B)]}, [("incast", "warning")]),
    Case("incast", "an exchange returned in kind", {"points": [point()],
            "host_windows": [burst(15, 0.97, 0.9)], "traffic": [edge(A, B), edge(B, A)]},
         [("incast", "info")], "as an all-to-all does"),
    Case("incast", "over before anybody could react", {"points": [point()],
            "host_windows": [burst(15, 0.97, 0.9, width_ns=40 * US, bytes=485_000)],
            "traffic": [edge(A, B)]}, [("incast", "info")]),
    Case("incast", "the receiver sends, but to somebody else", {"points": [point()],
            "host_windows": [burst(15, 0.97, 0.9)], "traffic": [edge(A, B), edge(B, C)]},
         [("incast", "warning")]),
    Case("incast", "full and unmarked", {"points": [point()], "host_windows": [burst(15, 0.97, 0.0)],
            "traffic": [edge(A, B)]}, []),
    Case("incast", "two senders are no incast", {"points": [point()],
            "host_windows": [burst(2, 0.97, 0.9)], "traffic": [edge(A, B)]}, []),
    Case("microburst", "full moments of an idle link", {"points": [point()],
            "host_windows": [burst(1, 0.95, 0.0)], "traffic": [edge(A, B)]},
         [("microburst", "info")], "0.4 % of 100 Gb/s on average"),
    Case("ecn_marking", "most packets", {"flows": [flow(1, ce=900), flow(2, C, B, ce=300), flow(3, D, B, ect=9)],
            "flow_windows": [{"flow": 1, "start": MS, "ce": 900}]},
         [("ecn_marking", "warning")], "most from 10.0.0.1 (90 %), 10.0.0.3 (30 %)"),
    Case("ecn_marking", "many receivers behind one queue", {"flows": MARKED},
         [("ecn_marking", "warning")], "most from 10.0.8.1 (72 %)"),
    Case("ecn_marking", "a few", {"flows": [flow(1, ce=30)]}, [("ecn_marking", "info")]),
    Case("cnp_starvation", "no CNP comes back", {"flows": [
            {**TWO_WAYS[0], "ce": 500}, TWO_WAYS[1]]}, [("cnp_starvation", "warning")], "500"),
    Case("cnp_starvation", "between switches one cannot be sure", {"flows": [
            {**TWO_WAYS[0], "ce": 500}, TWO_WAYS[1], flow(3, C, D)]}, [("cnp_starvation", "info")]),
    Case("cnp_starvation", "the receiver notifies somebody", {"flows": [
            {**TWO_WAYS[0], "ce": 500}, TWO_WAYS[1], flow(3, B, C, cnp=4)]}, []),
    Case("cnp_starvation", "responses take another path", {"flows": [flow(1, ce=500)]}, []),
    Case("rtt_inflation", "from 5 us to 500 us", {
            "flows": [flow(1, rtt_samples=100, rtt_min_ns=5 * US)],
            "flow_windows": [{"flow": 1, "start": n * MS, "rtt_count": 20, "rtt_max_ns": 900 * US,
                              "rtt_sum_ns": 20 * 500 * US} for n in range(4)]},
         [("rtt_inflation", "warning")], "500 us on average where 5 us is possible"),
    Case("rtt_inflation", "near the least", {
            "flows": [flow(1, rtt_samples=100, rtt_min_ns=5 * US)],
            "flow_windows": [{"flow": 1, "rtt_count": 90, "rtt_sum_ns": 90 * 9 * US}]}, []),
    Case("cnp", "each cause", {"flows": TWO_WAYS,
            "cnps": [*cnps("ecn"), *cnps("nak"), *cnps("unexplained")]},
         [("cnp_ecn", "info"), ("cnp_nak", "info"), ("cnp_unexplained", "info")],
         "never closer than 50 us"),
    Case("traffic_pattern", "ring", {"traffic": [edge(A, B), edge(B, C), edge(C, A),
            edge(B, A, 50_000)]}, [("traffic_pattern", "info")], "ring over 3 edges"),
    Case("traffic_pattern", "part of a ring", {"traffic": [edge(A, B), edge(B, C)]},
         [("traffic_pattern", "info")], "chain"),
    Case("traffic_pattern", "all to all", {"traffic": [edge(x, y) for x in (A, B, C, D)
            for y in (A, B, C, D) if x != y]}, [("traffic_pattern", "info")], "all to all"),
    Case("traffic_pattern", "tree", {"traffic": [edge(*pair) for x, y in
            ((A, B), (A, C), (B, D), (C, E)) for pair in ((x, y), (y, x))]},
         [("traffic_pattern", "info")], "tree"),
    Case("traffic_pattern", "many to one", {"traffic": [edge(A, D), edge(B, D), edge(C, D)]},
         [("traffic_pattern", "info")], "many to one"),
    Case("traffic_pattern", "two groups", {"traffic": [edge(A, B), edge(B, C), edge(C, A),
            edge("10.9.0.1", "10.9.0.2"), edge("10.9.0.2", "10.9.0.3")]},
         [("traffic_pattern", "info"), ("traffic_pattern", "info")]),
    Case("traffic_pattern", "two hosts have no shape", {"traffic": [edge(A, B), edge(B, A)]}, []),
    Case("top_talkers", "one point", {"points": [point()], "traffic": [edge(A, B), edge(C, D, 10**7)]},
         [("top_talkers", "info")], "most: 10.0.0.3 → 10.0.0.4 (91 %)"),
    Case("top_talkers", "more bytes than nanobits fit 64 bits", {"points": [point()],
            "traffic": [edge(A, B, 5 * 10**9, last=2 * 10**9)]}, [("top_talkers", "info")], "20 Gb/s"),
    Case("capture_loss", "acknowledged, not seen", {"flows": [flow(1)], "events": [
            event("capture_loss", "capture_loss", "tap", psns=5)]}, [("capture_loss", "info")]),
    Case("capture_loss", "two links of a bond share the packets", {
            "points": [point(), point(point="tap/1")],
            "flows": [flow(1, span_psn=2000), flow(2, qpn=0x11, point="tap/1", span_psn=1998)],
            "events": [event("capture_loss", "capture_loss", "tap", psns=1000),
                       event("capture_loss", "capture_loss", "tap", psns=998, flow=2, psn=8,
                             point="tap/1")]},
         [("spread", "info"), ("spread", "info")], "1,000 packets (50 %) not seen here took other links"),
    Case("capture_loss", "two taps in a row are no bond", {
            "points": [point(), point(point="tap/1")],
            "flows": [flow(1, span_psn=1100), flow(2, qpn=0x11, point="tap/1", span_psn=1100)],
            "events": [event("capture_loss", "capture_loss", "tap", psns=110)]},
         [("capture_loss", "warning")]),
    Case("capture_loss", "a tenth of the capture", {"flows": [flow(1)], "events": [
            event("capture_loss", "capture_loss", "tap", psns=110)]}, [("capture_loss", "warning")],
         "110 packets (9.9 %)"),
    Case("capture_faults", "all of them", {"points": [point(dropped=500, damage="cut at byte 99",
            unordered=3, faults=4, faults_by_kind=[0, 3, 0, 0, 0, 0, 1])]},
         [("bad_icrc", "warning"), ("capture_damaged", "info"), ("capture_drops", "warning"), ("clock_disorder", "info"),
          ("unreadable_frames", "info")], "3 frames not read to the end: 3 cut by the snap length"),
    Case("capture_faults", "no times", {"points": [point(untimed=10_000)]},
         [("untimed_packets", "info")], "10,000 packets without a time of their own, of 10000"),
    Case("capture_faults", "drops where nothing was to be judged", {"points": [point(dropped=500,
            roce=0)]}, [("capture_drops", "info")]),
    Case("capture_faults", "a sound capture", {"points": [point()]}, []),
    Case("one_sided", "no way back", {"flows": [flow(1), flow(2, C, D)]},
         [("one_sided", "info")], "2 of 2 flows"),
    Case("one_sided", "way back, not matched", {"flows": [flow(1), flow(2, B, A, requests=0,
            responses=9)]}, [("unpaired", "info")]),
    Case("one_sided", "paired", {"flows": TWO_WAYS}, []),
    Case("mirror_copies", "copies", {"flows": [flow(1, copies=900)]}, [("mirror_copies", "info")]),
    Case("mirror_copies", "the same at two points", {"flows": [flow(1), flow(2, point="far", qpn=0x11,
            fingerprint=1)]}, [("several_points", "info")], "1,000 packets of 1 flow"),
    Case("qp_reuse", "another life, and a silence", {"flows": [flow(1)], "events": [
            event("qpn_reuse", "reused"), event("hole", "undetermined", psn=8)]},
         [("qpn_reuse", "info"), ("silence", "info")]),
    Case("late_rank", "one rank is late every time",
         {"collectives": [collective(n, **LATE) for n in range(4)]},
         [("sender_late", "warning")], "10.0.0.2 sent late in 4 of 4 all-reduce operations"),
    Case("late_rank", "once is no pattern; with job data it has a number",
         {"collectives": [collective(**LATE, late_rank=5, evidence="job")]},
         [("sender_late", "info")], "10.0.0.2 (rank 5) sent late"),
    Case("late_rank", "a receiver is late",
         {"collectives": [collective(n, late=C, receiver_wait_ns=120 * US) for n in range(3)]},
         [("receiver_late", "warning")], "kept its senders waiting"),
    Case("late_rank", "ordinary skew", {"collectives": [collective(late=B, sender_wait_ns=9 * US)]},
         []),
    Case("late_rank", "the network was worse",
         {"collectives": [collective(**LATE, network_wait_ns=160 * US)]}, []),
    Case("collective_hotspot", "without a topology the link has no name",
         {"collectives": [collective(network_wait_ns=100 * US)]},
         [("collective_network_wait", "info")], "50 % of the time of 1 operation"),
    Case("collective_hotspot", "queues of a step",
         {"collectives": [collective(network_wait_ns=15 * US)]}, []),
    Case("rail_misplacement", "without a topology nothing can be said",
         {"collectives": [collective()]}, []),
]  # fmt: skip
