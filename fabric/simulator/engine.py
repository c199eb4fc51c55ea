"""The event loop. One long kernel: a call per event would copy the state's array headers each time.

Every frame costs one ARRIVE event at the far end of its cable and at most one TRANSMIT event where
it had to wait. Frames in flight on a cable keep their order, so only the first is in the heap.
"""

import numpy as np

from fabric.kernel import kernel
from fabric.simulator.heap import Longs, pop, push
from fabric.simulator.nic import (
    POOL_EMPTY,
    REFUSED,
    ask_again,
    ask_missing,
    ask_ready,
    count_bytes,
    cut,
    idlest,
    may_send,
    seek_message,
    settle_rate,
    take_request,
)
from fabric.simulator.slow import drained, swallow
from fabric.simulator.state import (
    ACK,
    ARRIVE,
    CLOSES,
    CNP,
    CORRUPTED,
    DATA,
    DRAIN,
    DROP_N,
    EGRESS_FULL,
    FREE,
    FULL_PAUSE_BYTES,
    HEAP_N,
    HOPS,
    KIND_SHIFT,
    LINK_DOWN,
    NAK,
    NEVER,
    NO_HEADROOM,
    NOW,
    OPENS,
    OVERHEAD_BYTES,
    P_CNP_PS,
    P_ECHO,
    P_REFRESH,
    P_RESPONSE_PS,
    P_STORM_PS,
    P_WATCHDOG_PS,
    PACKETS_OUT,
    PAUSE_N,
    PFC,
    PFC_FRAME_BYTES,
    PRIORITIES,
    PROVENANCE_N,
    READY,
    REFRESH,
    REQUEST,
    RESPONSE,
    RNR,
    STORM,
    TAP_N,
    TIMEOUT,
    TRANSMIT,
    WATCHDOG,
    WATCHDOG_DROP,
    State,
)
from fabric.simulator.switch import (
    admit,
    append,
    hear_pause,
    log_drop,
    log_frame,
    log_reason,
    marks,
    may_resume,
    release,
    say,
    take,
    uniform,
    wake,
    wants_pause,
)
from fabric.simulator.watchdog import watch

HEADERS = 14 + 20 + 8 + 12 + 4  # Ethernet, IPv4, UDP, BTH, ICRC
RETH_BYTES = 16
AETH_BYTES = 4
IMMDT_BYTES = 4
CNP_BYTES = 16
LOG_RESERVE = 256  # rows an event may add to a log
INDEX_MASK = (1 << KIND_SHIFT) - 1
REACHED, FULL = 0, 1
RNR_PS = 1_000_000


@kernel
def run(state: State, until: int, rnr_timer_us: Longs) -> int:  # noqa: C901
    """Advance to ``until`` (ps). Long: one pass over events, each branch an event's meaning.

    Returns REACHED, FULL (a log, or the heap of events: make room and call again) or POOL_EMPTY (more
    packets in the network than the pool holds: an error).
    """
    (
        port, queue, node, packet, qp, message, active, paths, path_at, followers, share,
        times, codes, seen, tap, provenance, drop, pause, whole, parameter, random,
    ) = state  # fmt: skip
    while True:
        if (
            whole[TAP_N] + LOG_RESERVE > tap.shape[0]
            or whole[PROVENANCE_N] + LOG_RESERVE > provenance.shape[0]
            or whole[DROP_N] + LOG_RESERVE > drop.shape[0]
            or whole[PAUSE_N] + LOG_RESERVE > pause.shape[0]
            or whole[HEAP_N] + LOG_RESERVE > times.shape[0]
        ):
            return FULL
        if whole[HEAP_N] == 0 or times[0] > until:
            whole[NOW] = until
            return REACHED
        now = times[0]
        code = codes[0]
        pop(times, codes, whole)
        whole[NOW] = now
        what = code >> KIND_SHIFT
        at = code & INDEX_MASK
        kick = -1  # port to serve at the end of this event
        tell = -1  # port with news for its peer
        drop_at = -1  # packet to free
        drop_why = -1
        drop_port = -1
        answer = -1  # kind of reply
        answer_cnp = False
        echo = 0
        reply_qp = -1
        answer_syndrome = 0
        answer_psn = 0
        finish_from = finish_to = -1
        wake_qp = -1

        if what == ARRIVE:
            k = port[at].flight_head
            after = packet[k].next
            port[at].flight_head = after
            if after >= 0:
                push(times, codes, whole, packet[after].arrives, code)
            else:
                port[at].flight_tail = -1
            whole[HOPS] += 1
            ingress = port[at].peer
            device = port[ingress].node
            size = packet[k].bytes
            priority = packet[k].priority
            drop_at = k
            if port[at].down:
                drop_why = LINK_DOWN
                drop_port = ingress
            elif port[at].loss > 0.0 and uniform(random) < port[at].loss:
                port[ingress].rx_crc_errors += 1
                drop_why = CORRUPTED
                drop_port = ingress
            else:
                port[ingress].rx_bytes += size
                port[ingress].rx_packets += 1
                kind = packet[k].kind
                if port[ingress].tapped:
                    log_frame(tap, whole, packet, k, ingress, 1)
                if kind == PFC:
                    hear_pause(
                        port, queue, packet, pause, whole, ingress, k, parameter[P_REFRESH] > 0.0
                    )
                    kick = ingress
                else:
                    side = queue[ingress, priority]
                    side.rx_bytes += size
                    side.rx_packets += 1
                    if packet[k].ce:
                        port[ingress].rx_ce += 1
                    if kind == CNP:
                        port[ingress].rx_cnp += 1
                    elif kind == NAK:
                        port[ingress].rx_nak += 1
                    if not node[device].host:
                        out = paths[packet[k].path]
                        packet[k].path += 1
                        egress = queue[out, priority]
                        where = 2
                        if egress.blocked:
                            drop_why = WATCHDOG_DROP
                            egress.watchdog_drops += 1
                        elif not egress.lossless and egress.bytes + size > node[device].alpha * (
                            node[device].shared_bytes - node[device].shared_used
                        ):
                            drop_why = EGRESS_FULL
                            egress.egress_drops += 1
                        else:
                            where = admit(
                                node, queue, share, device, ingress, port[out].local, priority, size
                            )
                            if where == 2:
                                drop_why = NO_HEADROOM
                                side.ingress_drops += 1
                        if where == 2:
                            drop_port = ingress
                        else:
                            drop_at = -1
                            packet[k].ingress = ingress
                            append(packet, port, queue, out, priority, k)
                            kick = out
                        if (
                            side.lossless
                            and not side.xoff_told
                            and wants_pause(node, queue, device, ingress, priority)
                        ):
                            say(port, queue, ingress, priority, 1)
                            tell = ingress
                    elif kind in (DATA, RESPONSE):
                        i = packet[k].qp
                        reply_qp = i
                        kick = ingress
                        if node[device].drain_ps_per_byte > 0 and swallow(
                            port, queue, node, times, codes, whole, ingress, priority, size
                        ):
                            tell = ingress
                        psn = packet[k].psn
                        if packet[k].ce and not node[device].cnp_off:
                            if parameter[P_ECHO] > 0.0 and not qp[i].read:
                                echo = 1
                            elif now - qp[i].last_cnp >= parameter[P_CNP_PS]:
                                qp[i].last_cnp = now
                                answer_cnp = True
                        if psn == qp[i].expected and not (node[device].ready or qp[i].read):
                            if not qp[i].nak_open:
                                qp[i].nak_open = 1
                                port[ingress].out_of_buffer += 1
                                answer = RNR
                                answer_syndrome = 0x20 | node[device].rnr_code
                                answer_psn = psn
                        elif psn == qp[i].expected:
                            qp[i].expected += 1
                            qp[i].nak_open = 0
                            qp[i].unacked += 1
                            if node[device].selective:
                                while True:
                                    slot = qp[i].expected & 4095
                                    bit64 = seen[i, slot >> 6] >> np.uint64(slot & 63)
                                    if not bit64 & np.uint64(1):
                                        break
                                    seen[i, slot >> 6] ^= np.uint64(1) << np.uint64(slot & 63)
                                    qp[i].expected += 1
                                    qp[i].unacked += 1
                            last = qp[i].first_message + qp[i].messages
                            finish_from = qp[i].recv_message
                            m = finish_from
                            if psn == message[m].first and not qp[i].read:
                                port[ingress].write_requests += 1
                            while (
                                m < last and qp[i].expected >= message[m].first + message[m].packets
                            ):
                                m += 1
                            finish_to = m
                            qp[i].recv_message = m
                            qp[i].msn += finish_to - finish_from
                            if qp[i].read:
                                qp[i].progress_at = now
                                if finish_to > finish_from and not ask_ready(
                                    packet, port, queue, message, qp, path_at, whole, i
                                ):
                                    return POOL_EMPTY
                            elif packet[k].ack_request or qp[i].unacked >= qp[i].ack_every:
                                qp[i].unacked = 0
                                answer = ACK
                                answer_syndrome = 0x1F
                                answer_psn = qp[i].expected - 1
                        elif psn > qp[i].expected:
                            if node[device].selective and psn - qp[i].expected < 4096:
                                slot = psn & 4095
                                seen[i, slot >> 6] |= np.uint64(1) << np.uint64(slot & 63)
                            if not qp[i].nak_open:
                                qp[i].nak_open = 1
                                if qp[i].read:
                                    port[ingress].implied_nak += 1
                                    if not ask_missing(
                                        packet, port, queue, message, qp, path_at, whole, i,
                                        node[device].selective,
                                    ):  # fmt: skip
                                        return POOL_EMPTY
                                else:
                                    port[ingress].out_of_sequence += 1
                                    answer = NAK
                                    answer_syndrome = 0x60
                                    answer_psn = qp[i].expected
                                    if node[port[qp[i].source].node].go_back_zero:
                                        qp[i].expected = message[qp[i].recv_message].first
                        elif not qp[i].read:
                            port[ingress].duplicate_request += 1
                            if packet[k].ack_request:
                                answer = ACK
                                answer_syndrome = 0x1F
                                answer_psn = qp[i].expected - 1
                    elif kind == REQUEST:  # of a READ, at the host that has the data
                        i = packet[k].qp
                        outcome = take_request(
                            packet, port, queue, message, qp, path_at, whole, ingress, k
                        )
                        if outcome == POOL_EMPTY:
                            return POOL_EMPTY
                        if outcome == REFUSED:
                            kick = ingress
                        else:
                            wake_qp = i
                    elif qp[packet[k].qp].read and kind == NAK:  # a request did not get through
                        i = packet[k].qp
                        kick = ingress
                        if not ask_again(
                            packet, port, queue, message, qp, path_at, whole, i, packet[k].psn
                        ):
                            return POOL_EMPTY
                    else:  # a reply reaches the sender
                        i = packet[k].qp
                        psn = packet[k].psn
                        wake_qp = i
                        if kind == CNP or packet[k].ack_request:
                            qp[i].cnps += 1
                            if qp[i].rate_control:
                                cut(qp, i, now, parameter)
                        if kind != CNP:
                            below = psn + 1 if kind == ACK else psn
                            if below > qp[i].una:
                                qp[i].una = below
                                qp[i].progress_at = now
                                last = qp[i].first_message + qp[i].messages
                                m = qp[i].ack_message
                                while m < last and below >= message[m].first + message[m].packets:
                                    message[m].acked = now
                                    m += 1
                                qp[i].ack_message = m
                            if qp[i].next_psn < qp[i].una:
                                qp[i].next_psn = qp[i].una
                            if kind == NAK:
                                if node[device].selective:
                                    qp[i].repair = psn
                                elif node[device].go_back_zero:
                                    qp[i].next_psn = message[qp[i].ack_message].first
                                    qp[i].una = qp[i].next_psn
                                else:
                                    qp[i].next_psn = psn
                            elif kind == RNR:
                                port[ingress].rnr_nak_retry += 1
                                qp[i].next_psn = psn
                                qp[i].hold_until = (
                                    now + rnr_timer_us[packet[k].syndrome & 0x1F] * RNR_PS
                                )
        elif what == TRANSMIT:
            if port[at].transmit_at == now:
                port[at].transmit_at = NEVER
                kick = at
        elif what == READY:
            message[at].ready = 1
            i = message[at].qp
            last = qp[i].first_message + qp[i].messages
            m = qp[i].first_message + qp[i].ready_messages
            while m < last and message[m].ready:
                if not qp[i].read:
                    qp[i].limit += message[m].packets
                qp[i].ready_messages += 1
                m += 1
            if qp[i].read:
                kick = qp[i].target
                if not ask_ready(packet, port, queue, message, qp, path_at, whole, i):
                    return POOL_EMPTY
                if qp[i].timeout_ps > 0 and qp[i].timeout_at == NEVER:
                    qp[i].progress_at = now
                    qp[i].timeout_at = now + qp[i].timeout_ps
                    push(times, codes, whole, qp[i].timeout_at, (TIMEOUT << KIND_SHIFT) | i)
            else:
                wake_qp = i
        elif what == TIMEOUT:
            if qp[at].timeout_at == now:
                qp[at].timeout_at = NEVER
                if qp[at].read:
                    if qp[at].recv_message < qp[at].first_message + qp[at].asked_messages:
                        if qp[at].progress_at + qp[at].timeout_ps <= now:
                            port[qp[at].target].ack_timeout += 1
                            qp[at].progress_at = now
                            qp[at].nak_open = 0
                            kick = qp[at].target
                            if not ask_again(
                                packet, port, queue, message, qp, path_at, whole, at,
                                qp[at].expected,
                            ):  # fmt: skip
                                return POOL_EMPTY
                        qp[at].timeout_at = qp[at].progress_at + qp[at].timeout_ps
                        push(times, codes, whole, qp[at].timeout_at, code)
                elif qp[at].una < qp[at].top:
                    if qp[at].progress_at + qp[at].timeout_ps <= now:
                        port[qp[at].source].ack_timeout += 1
                        qp[at].next_psn = qp[at].una
                        if node[port[qp[at].source].node].go_back_zero:
                            qp[at].next_psn = message[qp[at].ack_message].first
                            qp[at].una = qp[at].next_psn
                        qp[at].progress_at = now
                        wake_qp = at
                    qp[at].timeout_at = qp[at].progress_at + qp[at].timeout_ps
                    push(times, codes, whole, qp[at].timeout_at, code)
        elif what == REFRESH:
            side = queue[at >> 3, at & 7]
            if side.refresh_at == now:
                side.refresh_at = NEVER
                if side.xoff_told:
                    port[at >> 3].pfc_tell |= 1 << (at & 7)
                    tell = at >> 3
        elif what == DRAIN:
            if drained(port, queue, node, times, codes, whole, at, code):
                tell = at >> 3
        elif what == STORM:
            device = port[at].node
            for q in range(PRIORITIES):
                if queue[at, q].lossless and (node[device].storming or queue[at, q].xoff_told):
                    say(port, queue, at, q, node[device].storming)
            tell = at
            if node[device].storming:
                push(times, codes, whole, now + int(parameter[P_STORM_PS]), code)
        elif what == WATCHDOG:
            watch(port, queue, node, packet, qp, share, drop, times, codes, whole)
            push(times, codes, whole, now + int(parameter[P_WATCHDOG_PS]), code)

        # messages delivered: who waits for them may begin
        for m in range(finish_from, finish_to):
            message[m].delivered = now
            for f in range(message[m].followers, message[m].followers + message[m].followers_n):
                w = followers[f]
                message[w].waits -= 1
                if message[w].waits == 0:
                    begin = max(now + message[w].think_ps, message[w].earliest_ps)
                    push(times, codes, whole, begin, (READY << KIND_SHIFT) | w)

        # replies of the receiving NIC wait in its own queues
        if reply_qp >= 0:
            i = reply_qp
            for turn in range(2):
                kind = -1
                if turn == 0 and answer_cnp:
                    kind = CNP
                elif turn == 1 and answer >= 0:
                    kind = answer
                if kind >= 0:
                    notice = kind == CNP
                    size = HEADERS + (CNP_BYTES if notice else AETH_BYTES)
                    priority = qp[i].cnp_priority if notice else qp[i].reply_priority
                    k = take(packet, whole, kind, i, size, priority)
                    if k < 0:
                        return POOL_EMPTY
                    if not notice:
                        packet[k].ack_request = echo
                        packet[k].psn = answer_psn
                        packet[k].syndrome = answer_syndrome
                    packet[k].msn = qp[i].msn & 0xFFFFFF
                    packet[k].path = path_at[qp[i].back] + 1
                    append(packet, port, queue, qp[i].target, packet[k].priority, k)

        # a queue pair with news joins the turn of its host
        if wake_qp >= 0:
            i = wake_qp
            kick = qp[i].source
            if not qp[i].active and (qp[i].next_psn < qp[i].limit or qp[i].repair >= 0):
                device = port[kick].node
                qp[i].active = 1
                active[device, node[device].active_n] = i
                node[device].active_n += 1

        if drop_at >= 0:
            if drop_why >= 0:
                log_drop(drop, whole, packet, drop_at, drop_port, drop_why)
                if packet[drop_at].qp >= 0:
                    qp[packet[drop_at].qp].dropped_packets += 1
            packet[drop_at].next = whole[FREE]
            whole[FREE] = drop_at
            whole[PACKETS_OUT] -= 1

        # pause news first: it may go out on a port other than the one that is served
        if tell >= 0:
            if not node[port[tell].node].host:
                for q in range(PRIORITIES):
                    if port[tell].pfc_tell & (1 << q) and queue[tell, q].refresh_at != now:
                        log_reason(
                            port, node, queue, share, provenance, whole, tell, q,
                            (port[tell].pfc_want >> q) & 1,
                        )  # fmt: skip
            wake(port, times, codes, whole, tell, now)

        if kick < 0:
            continue
        if port[kick].busy_until > now:
            wake(port, times, codes, whole, kick, now)
            continue

        # serve one frame on port ``kick``
        p = kick
        device = port[p].node
        chosen = -1
        chosen_queue = -1
        later = NEVER
        if port[p].pfc_tell:
            k = take(packet, whole, PFC, -1, PFC_FRAME_BYTES, 7)
            if k < 0:
                return POOL_EMPTY
            chosen = k
            packet[k].vector = port[p].pfc_tell
            packet[k].quanta_mask = port[p].pfc_tell & port[p].pfc_want
            for q in range(PRIORITIES):
                bit = 1 << q
                if port[p].pfc_tell & bit:
                    side = queue[p, q]
                    if port[p].pfc_want & bit:
                        side.tx_xoff += 1
                        if side.xoff_from == NEVER:
                            side.xoff_from = now
                        if parameter[P_REFRESH] > 0.0 and not node[device].storming:
                            span = FULL_PAUSE_BYTES * port[port[p].peer].ps_per_byte
                            side.refresh_at = now + int(parameter[P_REFRESH] * span)
                            push(
                                times, codes, whole, side.refresh_at,
                                (REFRESH << KIND_SHIFT) | (p * PRIORITIES + q),
                            )  # fmt: skip
                    else:
                        side.tx_xon += 1
                        side.refresh_at = NEVER
                        if side.xoff_from != NEVER:
                            side.tx_pause_ps += now - side.xoff_from
                            side.xoff_from = NEVER
            port[p].pfc_tell = 0
        if chosen < 0 and port[p].backlog > 0:
            for step in range(PRIORITIES):
                # 7 and 6 go first (network control, CNP), the others take turns
                q = 7 - step if step < 2 else (port[p].turn + step - 2) % 6
                side = queue[p, q]
                if side.head < 0:
                    continue
                if side.held_from != NEVER and not node[device].ignores_pfc:
                    if side.paused_until > now:
                        reacts = now - side.held_from < parameter[P_RESPONSE_PS]
                        if not reacts:
                            later = min(later, side.paused_until)
                            continue
                    else:
                        side.rx_pause_ps += side.paused_until - side.held_from
                        side.held_from = NEVER
                chosen = side.head
                chosen_queue = q
                if step >= 2:
                    port[p].turn = (q + 1) % 6
                break
        if chosen >= 0 and chosen_queue >= 0:
            side = queue[p, chosen_queue]
            k = chosen
            side.head = packet[k].next
            if side.head < 0:
                side.tail = -1
            if not node[device].host:
                if (
                    side.ecn
                    and packet[k].kind in (DATA, RESPONSE)
                    and not packet[k].ce
                    and marks(port, p, side.bytes, random)
                ):
                    packet[k].ce = 1
                    side.ecn_marked += 1
                up = packet[k].ingress
                release(
                    node, queue, share, device, up, port[p].local, chosen_queue, packet[k].bytes
                )
                if queue[up, chosen_queue].xoff_told and may_resume(
                    node, queue, device, up, chosen_queue
                ):
                    say(port, queue, up, chosen_queue, 0)
                    log_reason(port, node, queue, share, provenance, whole, up, chosen_queue, 0)
                    wake(port, times, codes, whole, up, now)
            side.bytes -= packet[k].bytes
            port[p].backlog -= 1
        if chosen < 0 and node[device].host:
            n = node[device].active_n
            step = 0
            while step < n:
                slot = (node[device].active_at + step) % n
                i = active[device, slot]
                if qp[i].source != p:
                    step += 1
                    continue
                if qp[i].repair < 0 and qp[i].next_psn >= qp[i].limit:
                    qp[i].active = 0
                    n -= 1
                    active[device, slot] = active[device, n]
                    node[device].active_n = n
                    if n > 0:
                        node[device].active_at %= n
                    continue
                side = queue[p, qp[i].priority]
                ready = max(qp[i].next_send, qp[i].hold_until)
                if side.held_from != NEVER and not node[device].ignores_pfc:
                    if side.paused_until > now:
                        if now - side.held_from >= parameter[P_RESPONSE_PS]:
                            ready = max(ready, side.paused_until)
                    else:
                        side.rx_pause_ps += side.paused_until - side.held_from
                        side.held_from = NEVER
                if qp[i].repair < 0 and not may_send(qp, i):
                    step += 1
                    continue
                if ready > now:
                    later = min(later, ready)
                    step += 1
                    continue
                node[device].active_at = (slot + 1) % n
                resume_at = qp[i].next_psn
                alone = qp[i].repair >= 0
                if alone:
                    qp[i].next_psn = qp[i].repair
                    resume_at = max(resume_at - 1, qp[i].repair)
                    qp[i].repair = -1
                psn = qp[i].next_psn
                seek_message(qp, message, i)
                qp[i].next_psn = resume_at + 1
                m = qp[i].send_message
                of = psn - message[m].first
                final = of == message[m].packets - 1
                payload = int(message[m].bytes - of * qp[i].mtu if final else qp[i].mtu)
                if of == 0 and message[m].started < 0:
                    message[m].started = now
                size = HEADERS + payload + (-payload & 3)  # the payload is padded to words
                bounds = 0
                if qp[i].read:
                    if alone or of == 0 or psn == qp[i].segment:
                        bounds |= OPENS
                    if alone or final:
                        bounds |= CLOSES
                    if bounds:
                        size += AETH_BYTES
                else:
                    if of == 0:
                        size += RETH_BYTES
                    if final and message[m].immediate:
                        size += IMMDT_BYTES
                kind = RESPONSE if qp[i].read else DATA
                k = take(packet, whole, kind, i, size, qp[i].priority)
                if k < 0:
                    return POOL_EMPTY
                chosen = k
                packet[k].message = m
                packet[k].payload = payload
                packet[k].psn = psn
                packet[k].ip_id = qp[i].ip_id
                qp[i].ip_id += 1
                packet[k].quanta_mask = bounds
                if not qp[i].read and (final or (psn + 1) % qp[i].ack_every == 0):
                    packet[k].ack_request = 1
                way = qp[i].path
                if qp[i].paths > 1 and node[device].adaptive:
                    way = idlest(queue, qp, paths, path_at, i)
                elif qp[i].paths > 1:
                    way += qp[i].spray_turn
                    qp[i].spray_turn = (qp[i].spray_turn + 1) % qp[i].paths
                packet[k].path = path_at[way] + 1
                qp[i].sent_packets += 1
                if psn < qp[i].top:
                    qp[i].resent_packets += 1
                else:
                    qp[i].top = psn + 1
                if qp[i].una == psn:
                    qp[i].progress_at = now
                if qp[i].rate_control:
                    settle_rate(qp, i, now, parameter)
                    count_bytes(qp, i, packet[k].bytes, parameter)
                    bits = (packet[k].bytes + OVERHEAD_BYTES) * 8
                    qp[i].next_send = now + int(bits * 1e12 / qp[i].rate)
                if qp[i].timeout_ps > 0 and qp[i].timeout_at == NEVER and not qp[i].read:
                    qp[i].timeout_at = now + qp[i].timeout_ps
                    push(times, codes, whole, qp[i].timeout_at, (TIMEOUT << KIND_SHIFT) | i)
                break
        if chosen < 0:
            if later < NEVER:
                wake(port, times, codes, whole, p, int(later))
            continue

        k = chosen
        size = packet[k].bytes
        port[p].tx_bytes += size
        port[p].tx_packets += 1
        if packet[k].kind != PFC:
            side = queue[p, packet[k].priority]
            side.tx_bytes += size
            side.tx_packets += 1
            if packet[k].ce:
                port[p].tx_ce += 1
            if packet[k].kind == CNP:
                port[p].tx_cnp += 1
            elif packet[k].kind == NAK:
                port[p].tx_nak += 1
        if port[p].tapped:
            log_frame(tap, whole, packet, k, p, 0)
        busy = (size + OVERHEAD_BYTES) * port[p].ps_per_byte
        port[p].busy_until = now + busy
        packet[k].arrives = now + busy + port[p].delay_ps
        packet[k].next = -1
        if port[p].flight_head < 0:
            port[p].flight_head = k
            push(times, codes, whole, packet[k].arrives, (ARRIVE << KIND_SHIFT) | p)
        else:
            packet[port[p].flight_tail].next = k
        port[p].flight_tail = k
        if (
            port[p].backlog > 0
            or port[p].pfc_tell
            or (node[device].host and node[device].active_n > 0)
        ):
            wake(port, times, codes, whole, p, now)
