"""Blind pairing, the slow way; see ``docs/sequence.md``, "Pairing, blind"."""

from collections.abc import Iterable

from tests.twin_state import FlowState

RC, XRC = 0, 5


def pair(flows: Iterable[FlowState], back: FlowState, psn: int) -> None:
    """A response with ``psn`` in flow ``back``, whose peer is not known: is it known now?"""
    src, dst, _ = back.key
    candidates = [
        flow for flow in flows
        if flow is not back and flow.key[:2] == (dst, src) and flow.nxt is not None
        and flow.service in (RC, XRC) and flow.peer is None
    ]  # fmt: skip
    back.left = []
    if len(candidates) > 1024:
        return
    for flow in candidates:
        _ask(flow, back, psn)
    left = [flow for flow in candidates if id(flow) not in back.struck]
    if len(left) > 16:
        back.hits.clear()
        back.struck.clear()
        return
    back.left = left
    chosen = _choose(left, back)
    if chosen is not None:
        chosen.peer, back.peer = back, chosen


def _ask(flow: FlowState, back: FlowState, psn: int) -> None:
    assert flow.nxt is not None
    nxt = flow.nxt
    if flow.provisional is not None:
        nxt = flow.provisional.p + flow.provisional.packets(256)
    a = flow.unwrap(psn)
    low = max(flow.first, nxt - 4096)
    if low <= a < nxt + 64:
        back.hits[id(flow)] = back.hits.get(id(flow), 0) + 1
    elif a < low - 4096 or a >= nxt + 4096:
        back.struck.add(id(flow))


def _choose(left: list[FlowState], back: FlowState) -> FlowState | None:
    def same(flow: FlowState) -> bool:
        return back.sport != 0 and flow.sport == back.sport and back.hits.get(id(flow), 0) > 0

    if len(left) == 1:
        return left[0] if same(left[0]) or back.hits.get(id(left[0]), 0) >= 3 else None
    ported = [flow for flow in left if same(flow)]
    return ported[0] if len(ported) == 1 else None
