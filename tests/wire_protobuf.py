"""The slow twin of a protobuf runtime: fields of a message as numbers and raw values, nothing else.

Knows the wire format only (protobuf.dev/programming-guides/encoding), no descriptor.
"""

import struct

Fields = list[tuple[int, int | bytes]]


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at


def fields(data: bytes) -> Fields:
    """(field number, value) in the order of the bytes; lengths-delimited values stay bytes."""
    found: Fields = []
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 1:
            value, at = data[at : at + 8], at + 8
        elif wire == 2:
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
            assert len(value) == length
        elif wire == 5:
            value, at = data[at : at + 4], at + 4
        else:
            raise AssertionError(f"wire type {wire}")
        found.append((number, value))
    return found


def path(data: bytes) -> str:
    """A gNMI Path as text with its keys in order of their names."""
    text = ""
    for number, elem in fields(data):
        if number != 3:
            continue
        name, keys = "", {}
        for part, value in fields(elem):
            if part == 1:
                name = value.decode()
            elif part == 2:
                entry = dict(fields(value))
                keys[entry.get(1, b"").decode()] = entry.get(2, b"").decode()
        text += "/" + name + "".join(f"[{k}={v}]" for k, v in sorted(keys.items()))
    return text


def typed_value(data: bytes) -> tuple[str, object]:
    """Which member of TypedValue is set, by its number in the specification, and its value."""
    ((number, raw),) = fields(data)
    if number in (1, 12):
        return ("string" if number == 1 else "ascii"), raw.decode()
    if number == 2:
        return "int", raw - (1 << 64) if raw >> 63 else raw
    if number == 3:
        return "uint", raw
    if number == 4:
        return "bool", bool(raw)
    if number == 6:
        return "float", struct.unpack("<f", raw)[0]
    if number == 7:
        part = dict(fields(raw))
        digits = part.get(1, 0)
        return "decimal", (digits - (1 << 64) if digits >> 63 else digits, part.get(2, 0))
    if number == 8:
        return "leaflist", [typed_value(value) for _, value in fields(raw)]
    if number == 14:
        return "double", struct.unpack("<d", raw)[0]
    return {5: "bytes", 9: "any", 10: "json", 11: "json_ietf", 13: "proto"}[number], raw
