"""Protobuf message classes from tables of fields: no generated code, no compiler, any runtime.

Generated modules tie a program to the range of protobuf releases their generator knew; a switch
carries whatever its distribution carries. Descriptors built at import are understood by every release
since 3.21. They live in a pool of their own, so another copy of the same messages in the process
(another client library's, say) does no harm.

A table is text, one field a line:

    number name type            as in ``4 duplicates uint32``
    number name type*           repeated
    number name string>string   a map of strings to strings
    number name type in group   a member of the oneof ``group``

A type is a scalar type of protobuf, the name of another message, or the name of an enumeration.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_NAMED = (_Field.TYPE_GROUP, _Field.TYPE_MESSAGE, _Field.TYPE_ENUM)
SCALARS = [name[5:].lower() for name, number in _Field.Type.items() if number not in _NAMED]


def build(
    package: str, messages: Mapping[str, str], enums: Iterable[type[IntEnum]] = ()
) -> dict[str, Any]:
    """Classes of the messages by name.

    ``messages`` maps a message's name to its table of fields. Raises ValueError for a line that is no
    field or names an unknown type.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3"
    )
    known = dict.fromkeys(messages, _Field.TYPE_MESSAGE)
    for enum in enums:
        known[enum.__name__] = _Field.TYPE_ENUM
        declared = file.enum_type.add(name=enum.__name__)
        for member in enum:
            declared.value.add(name=member.name, number=member.value)
    for name, table in messages.items():
        message = file.message_type.add(name=name)
        for line in table.strip().splitlines():
            _field(message, line.split(), f".{package}", known)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: _class(pool, f"{package}.{name}") for name in messages}


def _field(message: Any, words: list[str], scope: str, known: Mapping[str, int]) -> None:
    if len(words) not in (3, 5) or not words[0].isdigit() or words[3:4] not in ([], ["in"]):
        raise ValueError(f"{message.name}: no field: {' '.join(words)!r}")
    number, name, kind = words[:3]
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if kind.endswith("*"):
        kind = kind[:-1]
        field.label = _Field.LABEL_REPEATED
    if kind == "string>string":
        # A map is a repeated message of key and value under a name of its own.
        field.label, field.type = _Field.LABEL_REPEATED, _Field.TYPE_MESSAGE
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        field.type_name = f"{scope}.{message.name}.{entry.name}"
        for place, part in enumerate(("key", "value"), 1):
            _field(entry, [str(place), part, "string"], scope, {})
    elif kind in known:
        field.type, field.type_name = known[kind], f"{scope}.{kind}"
    elif kind in SCALARS:
        field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")
    else:
        raise ValueError(f"{message.name}.{name}: unknown type {kind!r}")
    if len(words) == 5:
        groups = [group.name for group in message.oneof_decl]
        if words[4] not in groups:
            message.oneof_decl.add(name=words[4])
            groups.append(words[4])
        field.oneof_index = groups.index(words[4])


def _class(pool: Any, name: str) -> Any:
    descriptor = pool.FindMessageTypeByName(name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)  # before protobuf 4.22
