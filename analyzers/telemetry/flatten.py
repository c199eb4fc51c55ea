"""Nested values to leaves: what the compiled pass hands over because it holds lists or odd texts."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError

from collectors import messages as gnmi
from collectors.messages import Elem

MAX_LEAVES: Final = 1_000_000  # of one value; more is not telemetry
_SCALARS = ("string_val", "ascii_val", "int_val", "uint_val", "bool_val", "float_val", "double_val")

Scalar = int | float | str | bytes | bool


class Leaf(NamedTuple):
    """A value and its elements below the path it came with."""

    elems: tuple[Elem, ...]
    value: Scalar


def json_leaves(raw: bytes, keys: Mapping[str, set[str]], of: str = "") -> list[Leaf]:
    """Leaves of a JSON value; ``keys`` says by which leaves the entries of a list are told apart.

    A list of scalars counts its members: the key ``#``. ``of`` is the element that a list at the top
    belongs to. ValueError where it is no JSON or too much.
    """
    try:
        value = json.loads(raw, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("JSON nested too deep") from error
    return tree_leaves(value, keys, of)


def tree_leaves(value: Any, keys: Mapping[str, set[str]], of: str = "") -> list[Leaf]:
    """The same of a value already read."""
    found: list[Leaf] = []
    for leaf in _leaves(value, (), keys, of):
        found.append(leaf)
        if len(found) > MAX_LEAVES:
            raise ValueError(f"more than {MAX_LEAVES} values in one")
    return found


def _leaves(
    value: Any, above: tuple[Elem, ...], keys: Mapping[str, set[str]], of: str
) -> Iterator[Leaf]:
    if len(above) > 64:
        raise ValueError("nested too deep")
    if isinstance(value, dict):
        told = above[-1][1] if above else {}
        for name, inner in value.items():
            if name.rpartition(":")[2] not in told:  # a key stands in the path already
                yield from _leaves(inner, (*above, (name, {})), keys, of)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, _member(above, number, inner, keys, of), keys, of)
    elif value is not None:
        yield Leaf(above, value)


def _member(
    above: tuple[Elem, ...], number: int, inner: Any, keys: Mapping[str, set[str]], of: str
) -> tuple[Elem, ...]:
    """The elements of an entry of a list: with its keys, or with its number."""
    name = above[-1][0] if above else ""
    told = {"#": str(number)}
    if isinstance(inner, dict):
        wanted = keys.get((name or of).rpartition(":")[2], set())
        plain = {key.rpartition(":")[2]: value for key, value in inner.items()}
        own = {key: str(plain[key]) for key in wanted if isinstance(plain.get(key), str | int)}
        told = own or told
    return (*above[:-1], (name, told))


def leaflist(raw: bytes) -> list[Leaf]:
    """Members of a gNMI ScalarArray, counted by the key ``#``; ValueError where it is none."""
    try:
        array = gnmi.TypedValue.FromString(b"\x42" + _varint(len(raw)) + raw).leaflist_val
    except DecodeError as error:
        raise ValueError("no ScalarArray") from error
    found = []
    for number, element in enumerate(array.element):
        which = element.WhichOneof("value")
        if which in _SCALARS:
            found.append(Leaf((("", {"#": str(number)}),), getattr(element, which)))
    return found


def join(above: list[Elem], below: tuple[Elem, ...]) -> list[Elem]:
    """One path; a first element without a name is a key of the last one above."""
    if below and below[0][0] == "" and above:
        name, keys = above[-1]
        return [*above[:-1], (name, {**keys, **below[0][1]}), *below[1:]]
    return [*above, *below]


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no JSON")
