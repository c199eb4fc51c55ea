"""Blind pairing: which flow carries the responses to which; see ``docs/sequence.md``.

Flows that carry requests and have no peer stand in the list of their host pair, the newest first.
A flow whose response finds no peer asks those of the reversed host pair: the ones not struck out before
and those that came since it asked last. Host pairs are found in an open-addressing hash table that
is rebuilt from the flows when it is half full.
"""

import numpy as np
from numpy.typing import NDArray

from analyzers.transport.psn import SMALLEST_PMTU, span_of, unwrap
from analyzers.transport.recovery import SLOW_UNJUDGED
from analyzers.transport.sequence_state import (
    CANDIDATES,
    DOUBTED,
    TOO_MANY_LIVES,
    Control,
    Flow,
    Record,
    Records,
    Sequences,
    i64,
)
from fabric.kernel import fold, helper, inline, lean

BIRTHS, PAIRS = i64(Control.BIRTHS), i64(Control.PAIRS)
WINDOW = 4096  # PSNs below nxt that a response may still name
AHEAD = 64  # and above it
HITS, FOREIGN_HITS = 3, 16
MOST_CANDIDATES = 1024
NOBODY = i64(-1)  # no slot
SURE, CHOSEN, LIKELY = 0.999, 0.99, 0.9
CONSISTENT, OPEN_QUESTION, STRUCK = 1, 0, -1


@fold
def flow_of(state: Sequences, slot: int) -> Flow:
    """The records of the flow in a slot."""
    peer = state.seq[slot].peer if state.seq[slot].peer >= 0 else slot
    return Flow(
        state.seq[slot],
        state.seq[peer],
        state.memory[slot],
        state.memory[peer],
        state.open[slot],
        state.ranges[slot],
        state.tap[0],
    )


@inline
def _start(key: int, mask: int) -> int:
    x = (key ^ (key >> 29)) * -0x40A7B892E31B1A47
    return ((x >> 32) ^ x) & mask


@helper
def find_pair(state: Sequences, key: int) -> int:
    """Place of a host pair in the table, or of the free place where it would stand."""
    mask = len(state.pairs) - 1
    at = _start(key, mask)
    while state.pairs[at].used and state.pairs[at].key != key:
        at = (at + 1) & mask
    return at


@helper
def enter_pair(state: Sequences, key: int) -> int:
    """Place of a host pair, entered where it is new; the caller has made sure that there is room."""
    at = find_pair(state, key)
    pair = state.pairs[at]
    if not pair.used:
        pair.used = 1
        pair.key = key
        pair.ifaces = 0
        pair.head = 0
        pair.count = 0
        state.control[PAIRS] += 1
    return at


@lean
def rebuild_pairs(state: Sequences) -> None:
    """Fill the table from the flows in memory: host pairs that left are forgotten."""
    state.control[PAIRS] = 0
    for n in range(len(state.pairs)):
        state.pairs[n].used = 0
    for slot in range(len(state.seq)):
        if state.seq[slot].known:
            pair = state.pairs[enter_pair(state, state.links[slot].key)]
            pair.ifaces |= 1 << (state.seq[slot].iface & 63)
            if state.links[slot].listed:
                pair.count += 1
                if state.links[slot].prev == 0:
                    pair.head = slot + 1


@helper
def meet(state: Sequences, slot: int, identity: Records) -> None:
    """The first packet of a flow: who it is."""
    who = identity[slot]
    s = state.seq[slot]
    s.known = 1
    s.peer = -1
    s.serial = who.serial
    s.iface = who.iface
    if who.epoch >= TOO_MANY_LIVES:
        s.slow = SLOW_UNJUDGED
    link = state.links[slot]
    link.sport = who.sport
    key = i64(who.src_id) << 32 | i64(who.dst_id)
    link.key = key
    link.reverse = i64(who.dst_id) << 32 | i64(who.src_id)
    if 2 * state.control[PAIRS] >= len(state.pairs):  # there are twice as many places as slots
        rebuild_pairs(state)
    state.pairs[enter_pair(state, key)].ifaces |= 1 << (s.iface & 63)


@helper
def enlist(state: Sequences, slot: int) -> None:
    """The flow carries requests and has no peer: it becomes a candidate."""
    link = state.links[slot]
    if link.listed:
        return
    pair = state.pairs[find_pair(state, link.key)]
    state.control[BIRTHS] += 1
    link.listed = 1
    link.birth = state.control[BIRTHS]
    link.prev = 0
    link.next = pair.head
    if pair.head:
        state.links[pair.head - 1].prev = slot + 1
    pair.head = slot + 1
    pair.count += 1


@helper
def strike_off(state: Sequences, slot: int) -> None:
    """The flow is a candidate no more."""
    link = state.links[slot]
    if not link.listed:
        return
    pair = state.pairs[find_pair(state, link.key)]
    link.listed = 0
    pair.count -= 1
    if link.prev:
        state.links[link.prev - 1].next = link.next
    else:
        pair.head = link.next
    if link.next:
        state.links[link.next - 1].prev = link.prev


@helper
def consistency(s: Record, o: Record, psn: int) -> int:
    """Whether a response that names ``psn`` may answer the requests of flow f."""
    nxt = s.nxt
    a = unwrap(psn, nxt)
    if o.provisional:
        nxt = o.span_u + span_of(o.span_bytes, SMALLEST_PMTU)
    low = max(s.base, nxt - WINDOW)
    if low <= a < nxt + AHEAD:
        return CONSISTENT
    return STRUCK if a < low - WINDOW or a >= nxt + WINDOW else OPEN_QUESTION


@helper
def ask_candidates(state: Sequences, g: int, head: int, psn: int, foreign: bool) -> bool:
    """Ask the candidates that are left and the new ones; False where too many are left."""
    link = state.links[g]
    kept = 0
    for n in range(link.candidate_count):
        c = state.links[g].candidates[n]
        alive = state.links[c.slot].listed and state.seq[c.slot].serial == c.serial
        home = state.seq[c.slot].iface == state.seq[g].iface
        if not alive or not (home or foreign):
            continue
        verdict = consistency(state.seq[c.slot], state.open[c.slot], psn)
        if verdict == STRUCK:
            continue
        hits = c.hits + (verdict == CONSISTENT)
        state.links[g].candidates[kept] = c
        state.links[g].candidates[kept].hits = hits
        kept += 1
    f = head - 1
    while f >= 0 and state.links[f].birth > link.asked_birth:
        home = state.seq[f].iface == state.seq[g].iface
        if f != g and (home or foreign):
            verdict = consistency(state.seq[f], state.open[f], psn)
            if verdict != STRUCK:
                if kept == CANDIDATES:
                    link.candidate_count = 0
                    link.asked_birth = 0
                    return False
                c = state.links[g].candidates[kept]
                c.slot = f
                c.serial = state.seq[f].serial
                c.hits = verdict == CONSISTENT
                kept += 1
        f = state.links[f].next - 1
    link.asked_birth = state.links[head - 1].birth if head else link.asked_birth
    link.candidate_count = kept
    return True


@helper
def find_peer(state: Sequences, g: int, psn: int) -> int:
    """A response in flow g names ``psn``: the flow that it answers, paired now, or -1."""
    s = state.seq[g]
    link = state.links[g]
    at = find_pair(state, link.reverse)
    pair = state.pairs[at]
    if not pair.used or pair.count == 0 or pair.count > MOST_CANDIDATES:
        return NOBODY
    foreign = not (pair.ifaces >> (s.iface & 63) & 1)
    if not ask_candidates(state, g, pair.head, psn, foreign):
        return NOBODY
    chosen = NOBODY
    ported = 0
    hits = FOREIGN_HITS if foreign else HITS
    least = FOREIGN_HITS if foreign else 1
    for n in range(link.candidate_count):
        c = state.links[g].candidates[n]
        same = link.sport != 0 and state.links[c.slot].sport == link.sport
        if same and c.hits >= least:
            ported += 1
            chosen = i64(c.slot)
    if link.candidate_count == 1 and (ported or state.links[g].candidates[0].hits >= hits):
        chosen = i64(state.links[g].candidates[0].slot)
        join(state, chosen, g, SURE)
        return chosen
    if ported == 1:
        join(state, chosen, g, CHOSEN)
        return chosen
    return NOBODY


@helper
def join(state: Sequences, f: int, g: int, confidence: float) -> None:
    """Flows f and g are the two directions of one queue pair."""
    attach(state, f, g, confidence)
    attach(state, g, f, confidence)


@helper
def attach(state: Sequences, slot: int, peer: int, confidence: float) -> None:
    """From now on the flow has a peer."""
    s = state.seq[slot]
    s.peer = peer
    s.peer_serial = state.seq[peer].serial
    s.peer_iface = state.seq[peer].iface
    s.pair_confidence = confidence
    state.links[slot].candidate_count = 0
    strike_off(state, slot)
    forget_reads(state.open[slot])


@helper
def doubt(state: Sequences, slot: int, carrier: int) -> None:
    """Responses of ``carrier`` asked for requests again while nobody knew whose: what is open stays so."""
    if not state.seq[carrier].unjudged:
        return
    state.seq[carrier].unjudged = 0
    o = state.open[slot]
    if state.seq[slot].asked:
        o.doubt = state.seq[slot].nxt
        for k in range(o.gap_count):
            state.ranges[slot].gaps[k].told = DOUBTED


@helper
def doubt_candidates(state: Sequences, carrier: int, psn: int) -> None:
    """A NAK asks for ``psn`` of one of the candidates: a gap of theirs that holds it is in doubt."""
    link = state.links[carrier]
    for n in range(link.candidate_count):
        c = state.links[carrier].candidates[n]
        if state.links[c.slot].listed and state.seq[c.slot].serial == c.serial:
            a = unwrap(psn, state.seq[c.slot].nxt)
            for k in range(state.open[c.slot].gap_count):
                g = state.ranges[c.slot].gaps[k]
                if g.lo <= a < g.hi:
                    g.told = DOUBTED


@inline
def forget_reads(o: Record) -> None:
    """What was asked for before the pair was found, or after it parted, cannot be judged."""
    o.span_count = 0
    o.span_head = 0
    o.response_gap_count = 0


@helper
def part(state: Sequences, slot: int) -> None:
    """The flow ends: it is no candidate, and its peer has none any more."""
    strike_off(state, slot)
    state.links[slot].candidate_count = 0
    peer = state.seq[slot].peer
    if peer < 0:
        return
    forget_reads(state.open[peer])
    state.seq[slot].peer = -1
    state.seq[peer].peer = -1
    state.links[peer].asked_birth = 0
    if state.seq[peer].asks:
        enlist(state, peer)


@helper
def last_candidate(state: Sequences, g: int) -> int:
    """The only candidate that flow g is left with, if it was consistent; else -1."""
    if not state.seq[g].known or state.seq[g].peer >= 0 or state.links[g].candidate_count != 1:
        return NOBODY
    c = state.links[g].candidates[0]
    alive = state.links[c.slot].listed and state.seq[c.slot].serial == c.serial
    home = state.seq[c.slot].iface == state.seq[g].iface
    return int(c.slot) if alive and home and c.hits > 0 else -1


@helper
def settle_last(state: Sequences, slots: NDArray[np.int32]) -> None:
    """The capture ends: pair flows with the one candidate left to them and to nobody else."""
    for n in range(len(slots)):
        f = last_candidate(state, i64(slots[n]))
        if f >= 0:
            state.links[f].claims += 1
    for n in range(len(slots)):
        f = last_candidate(state, i64(slots[n]))
        if f >= 0 and state.links[f].claims == 1:
            join(state, f, i64(slots[n]), LIKELY)
    for n in range(len(slots)):
        state.links[state.links[slots[n]].candidates[0].slot].claims = 0
