"""JSON objects of numbers to value rows, as one pass over the bytes (RFC 8259).

What telemetry sends as JSON is nearly always objects in objects with numbers, often written as
strings, at the leaves. Those become rows at once, the keys numbered as entries below their object.
An array, an escape, or anything beyond ASCII hands the whole value over to slower code; what is no
JSON is one row that says so.
"""

from typing import Final

from analyzers.capture.loads import Memory, u8
from analyzers.telemetry.intern import NO_ROOM, ROWS, emit, intern
from analyzers.telemetry.rows import MAX_DEPTH, MAX_NAME, EntryKind, Names, Rows, ValueKind
from fabric.kernel import helper

# How a walk ended.
DONE, SLOW, BAD, FULL = 0, 1, 2, 3
INTEGER, TEXT, JSON = int(ValueKind.INTEGER), int(ValueKind.TEXT), int(ValueKind.JSON)
BAD_JSON = int(ValueKind.BAD_JSON)
KEY = int(EntryKind.KEY)
QUOTE, BACKSLASH, OPEN, CLOSE, COMMA, COLON, MINUS, ZERO, NINE = (ord(c) for c in '"\\{},:-09')
BRACKET, TRUE, FALSE, NULL, DOT = (ord(c) for c in "[tfn.")
SPACE, TAB, NEWLINE, RETURN = 32, 9, 10, 13
SAFE_DIGITS: Final = 18  # as many always fit 63 bits


@helper
def json_rows(
    rows: Rows, names: Names, data: Memory, at: int, size: int, record: int, entry: int, ts: int
) -> bool:
    """Rows of the JSON value ``data[at : at + size]`` of ``entry``; False where there is no room."""
    before = names.counts[ROWS]
    how = walk_json(rows, names, data, at, at + size, record, entry, ts)
    if how == DONE:
        return True
    if how == FULL:
        return False
    names.counts[ROWS] = before
    kind = JSON if how == SLOW else BAD_JSON
    return emit(rows, names, record, entry, ts, kind, at, size)


@helper
def walk_json(
    rows: Rows, names: Names, data: Memory, at: int, end: int, record: int, entry: int, ts: int
) -> int:
    """The walk itself: one long function because the stack of open objects is its only state."""
    stack = names.stack
    depth = 0
    owner = entry  # whose value stands next
    while True:
        at = past_space(data, at, end)
        if at >= end:
            return BAD
        c = u8(data, at)
        if c == OPEN:
            stack[depth] = owner
            depth += 1
            if depth > MAX_DEPTH:
                return BAD
            at = past_space(data, at + 1, end)
            if at < end and u8(data, at) == CLOSE:
                at += 1
                depth -= 1
            else:
                at, owner = next_key(names, data, at, end, stack[depth - 1])
                if at < 0:
                    return owner
                continue
        else:
            at = leaf(rows, names, data, at, end, record, owner, ts)
            if at < 0:
                return -at
        # A value is over: a comma and the next key, or the end of objects.
        more = False
        while depth > 0 and not more:
            at = past_space(data, at, end)
            if at >= end:
                return BAD
            c = u8(data, at)
            at += 1
            if c == CLOSE:
                depth -= 1
            elif c == COMMA:
                more = True
            else:
                return BAD
        if not more:
            return DONE if past_space(data, at, end) == end else BAD
        at, owner = next_key(names, data, past_space(data, at, end), end, stack[depth - 1])
        if at < 0:
            return owner


@helper
def past_space(data: Memory, at: int, end: int) -> int:
    """Where the next character stands that is no white space."""
    while at < end:
        c = u8(data, at)
        if c > SPACE or (c not in (SPACE, TAB, NEWLINE, RETURN)):
            break
        at += 1
    return at


@helper
def past_string(data: Memory, at: int, end: int) -> int:
    """Where the closing quote of a string stands whose first character is at ``at``.

    Minus one of the ways a walk can end where it is not a plain string.
    """
    while at < end:
        c = u8(data, at)
        if c == QUOTE:
            return at
        if c < SPACE:
            return -BAD
        if c == BACKSLASH or c >= 0x7F:
            return -SLOW
        at += 1
    return -BAD


@helper
def next_key(names: Names, data: Memory, at: int, end: int, parent: int) -> tuple[int, int]:
    """Read a key and its colon: where the value starts, and the key's entry.

    A negative place where there is none; the second then says how the walk ends.
    """
    if at >= end or u8(data, at) != QUOTE:
        return -1, BAD
    close = past_string(data, at + 1, end)
    if close < 0:
        return -1, -close
    size = close - at - 1
    if size > MAX_NAME:
        return -1, BAD
    entry = intern(names, data, at + 1, size, parent, KEY)
    if entry == NO_ROOM:
        return -1, FULL
    at = past_space(data, close + 1, end)
    if at >= end or u8(data, at) != COLON:
        return -1, BAD
    return at + 1, entry


@helper
def leaf(
    rows: Rows, names: Names, data: Memory, at: int, end: int, record: int, entry: int, ts: int
) -> int:
    """Read a scalar: where it ends, or minus one of the ways a walk can end."""
    c = u8(data, at)
    if c == QUOTE:
        close = past_string(data, at + 1, end)
        if close < 0:
            return close
        fits = text_row(rows, names, data, at + 1, close - at - 1, record, entry, ts)
        return close + 1 if fits else -FULL
    if c == MINUS or ZERO <= c <= NINE:
        close = past_number(data, at, end)
        if close < 0:
            return -BAD
        fits = text_row(rows, names, data, at, close - at, record, entry, ts)
        return close if fits else -FULL
    if c == BRACKET:
        return -SLOW
    size = 5 if c == FALSE else 4
    if at + size > end or not is_word(data, at, c):
        return -BAD
    if c == NULL:
        return at + size
    fits = emit(rows, names, record, entry, ts, INTEGER, int(c == TRUE), 0)
    return at + size if fits else -FULL


@helper
def is_word(data: Memory, at: int, c: int) -> bool:
    """Whether ``true``, ``false`` or ``null`` stands here, as the first letter ``c`` says."""
    word = (u8(data, at + 1) << 16) | (u8(data, at + 2) << 8) | u8(data, at + 3)
    if c == TRUE:
        return word == 0x727565
    if c == FALSE:
        return word == 0x616C73 and u8(data, at + 4) == 0x65
    return c == NULL and word == 0x756C6C


@helper
def past_digits(data: Memory, at: int, end: int) -> int:
    """Where a run of digits ends."""
    while at < end and ZERO <= u8(data, at) <= NINE:
        at += 1
    return at


@helper
def past_number(data: Memory, at: int, end: int) -> int:
    """Where a number of RFC 8259 section 6 ends; -1 where it is none."""
    if u8(data, at) == MINUS:
        at += 1
    close = past_digits(data, at, end)
    if close == at or (close > at + 1 and u8(data, at) == ZERO):
        return -1
    at = close
    if at < end and u8(data, at) == DOT:
        close = past_digits(data, at + 1, end)
        if close == at + 1:
            return -1
        at = close
    if at < end and u8(data, at) | 0x20 == 0x65:  # e or E
        at += 1
        if at < end and u8(data, at) in (0x2B, MINUS):
            at += 1
        close = past_digits(data, at, end)
        if close == at:
            return -1
        at = close
    return at


@helper
def text_row(
    rows: Rows, names: Names, data: Memory, at: int, size: int, record: int, entry: int, ts: int
) -> bool:
    """A row of a text: a number where it is a whole one; False where there is no room."""
    first = at
    end = at + size
    negative = size > 0 and u8(data, at) == MINUS
    if negative:
        at += 1
    value = 0
    if 0 < end - at <= SAFE_DIGITS:
        while at < end:
            digit = u8(data, at) - ZERO
            if digit < 0 or digit > 9:
                break
            value = value * 10 + digit
            at += 1
        if at == end:
            value = -value if negative else value
            return emit(rows, names, record, entry, ts, INTEGER, value, 0)
    return emit(rows, names, record, entry, ts, TEXT, first, size)
