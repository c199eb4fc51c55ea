"""The telemetry kernels against their twin: random messages, spoiled bytes, hostile JSON."""

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from analyzers.telemetry.intern import NO_ROOM, entry_of, grown, number_of
from analyzers.telemetry.responses import decode_records, shortage
from analyzers.telemetry.rows import (
    MAX_DEPTH,
    SLACK,
    Count,
    EntryKind,
    Form,
    RecordFault,
    make_names,
    make_rows,
)
from analyzers.telemetry.rows import ValueKind as Kind
from collectors import messages as gnmi
from tests import twin_telemetry as twin

PEER = b"leaf1"


class Rig:
    """Kernels with their tables, small ones, that they may run full."""

    def __init__(self, entries: int = 4, blob: int = 300_000) -> None:
        self.names = make_names(entries, blob, 99)
        self.peer = number_of(self.names, PEER, 0, EntryKind.PEER)
        self.rows = make_rows(8)

    def decode(self, payloads: list[bytes], form: Form = Form.RESPONSE) -> list[Any]:
        """Per record its rows, or the name of its fault."""
        buffer = np.frombuffer(b"".join(payloads) + b"\xee" * SLACK, np.uint8)
        sizes = np.array([len(p) for p in payloads], np.int64)
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)[:-1]
        count = len(payloads)
        faults = np.zeros(count, np.uint8)
        parents = np.full(count, self.peer, np.int32)
        forms = np.full(count, form, np.uint8)
        clocks = np.full(count, 7, np.int64)
        found: list[Any] = [[] for _ in payloads]
        first = 0
        while first < count:
            self.names.counts[Count.ROWS] = 0
            stopped = decode_records(
                buffer, offsets, sizes, parents, forms, clocks, faults, first, self.rows, self.names
            )
            for i in range(self.names.counts[Count.ROWS]):
                found[self.rows.record[i]].append(self.row(i, buffer))
            if stopped == first:
                if shortage(self.names):
                    self.names = grown(self.names)
                else:
                    self.rows = make_rows(2 * len(self.rows.entry))
            first = stopped
        for i, fault in enumerate(faults):
            if fault:
                assert found[i] == []
                found[i] = RecordFault(fault).name.lower()
        return found

    def row(self, i: int, buffer: Any) -> twin.Row:
        kind, value, size = Kind(self.rows.kind[i]), int(self.rows.value[i]), int(self.rows.size[i])
        chain: list[bytes] = []
        entry = int(self.rows.entry[i])
        while entry >= 0:
            parent, what, name = entry_of(self.names, entry)
            chain.insert(0, name)
            if what == EntryKind.PEER:
                break
            entry = parent
        found: Any = value
        if kind in (Kind.TEXT, Kind.JSON, Kind.LEAFLIST, Kind.BYTES, Kind.BAD_JSON):
            found = buffer[value : value + size].tobytes()
        elif kind == Kind.DECIMAL:
            found = (value, size)
        return tuple(chain), int(self.rows.ts[i]), kind, found


def expected(payload: bytes) -> Any:
    try:
        return twin.response_rows(payload, PEER)
    except twin.FaultError as fault:
        return str(fault)


def anyhow(found: list[Any]) -> list[Any]:
    """Of several faults in a record either side may meet another first."""
    return ["fault" if isinstance(f, str) else f for f in found]


SCALARS = st.one_of(
    st.builds(lambda v: gnmi.TypedValue(uint_val=v), st.integers(0, 2**64 - 1)),
    st.builds(lambda v: gnmi.TypedValue(int_val=v), st.integers(-(2**63), 2**63 - 1)),
    st.builds(lambda v: gnmi.TypedValue(bool_val=v), st.booleans()),
    st.builds(lambda v: gnmi.TypedValue(string_val=v), st.text(max_size=30)),
    st.builds(lambda v: gnmi.TypedValue(string_val=str(v)), st.integers(-(10**20), 10**20)),
    st.builds(lambda v: gnmi.TypedValue(ascii_val=v), st.text("0123456789-.", max_size=20)),
    st.builds(lambda v: gnmi.TypedValue(float_val=v), st.floats(width=32)),
    st.builds(lambda v: gnmi.TypedValue(double_val=v), st.floats()),
    st.builds(lambda v: gnmi.TypedValue(bytes_val=v), st.binary(max_size=9)),
    st.builds(lambda v: gnmi.TypedValue(proto_bytes=v), st.binary(max_size=9)),
    st.builds(
        lambda d, p: gnmi.TypedValue(decimal_val={"digits": d, "precision": p}),
        st.integers(-(2**63), 2**63 - 1),
        st.integers(0, 2**32 - 1),
    ),
    st.builds(
        lambda v: gnmi.TypedValue(leaflist_val={"element": [{"uint_val": v}]}), st.integers(0, 9)
    ),
    st.just(gnmi.TypedValue()),
)
PLAIN_KEYS = st.text("abcdefghij/:-_ 0123456789", max_size=20)
JSON = st.recursive(
    st.one_of(
        st.integers(-(10**20), 10**20),
        st.integers(0, 10**15).map(str),
        st.floats(),
        st.booleans(),
        st.none(),
        st.text(max_size=8),
    ),
    lambda inner: st.one_of(
        st.dictionaries(PLAIN_KEYS, inner, max_size=5), st.lists(inner, max_size=2)
    ),
    max_leaves=12,
)
JSON_BYTES = st.builds(
    lambda value, indent, ascii_only: json.dumps(
        value, indent=indent, ensure_ascii=ascii_only
    ).encode(),
    JSON,
    st.sampled_from([None, 1]),
    st.booleans(),
)
VALUES = st.one_of(
    SCALARS,
    st.builds(lambda raw: gnmi.TypedValue(json_val=raw), JSON_BYTES),
    st.builds(lambda raw: gnmi.TypedValue(json_ietf_val=raw), JSON_BYTES),
)
PATHS = st.builds(
    lambda name, key, count: gnmi.path(f"/interfaces/interface[name={key}]/state/{name * count}"),
    st.sampled_from(["in-octets", "out-octets", "x"]),
    st.sampled_from(["Ethernet0", "Ethernet1/1", "é"]),
    st.integers(1, 3),
)
UPDATES = st.one_of(
    st.builds(
        lambda path, val, duplicates: gnmi.Update(path=path, val=val, duplicates=duplicates),
        st.one_of(st.none(), PATHS),
        VALUES,
        st.sampled_from([0, 0, 0, 1, 2**32 - 1]),
    ),
    st.builds(
        lambda path, raw, encoding: gnmi.Update(path=path, value={"value": raw, "type": encoding}),
        PATHS,
        st.one_of(JSON_BYTES, st.binary(max_size=20)),
        st.integers(0, 6),
    ),
)
RESPONSES = st.one_of(
    st.builds(
        lambda ts, prefix, updates, deletes, atomic: gnmi.SubscribeResponse(
            update=gnmi.Notification(
                timestamp=ts, prefix=prefix, update=updates, delete=deletes, atomic=atomic
            )
        ),
        st.integers(-(2**63), 2**63 - 1),
        st.one_of(st.none(), PATHS),
        st.lists(UPDATES, max_size=6),
        st.lists(PATHS, max_size=2),
        st.booleans(),
    ),
    st.just(gnmi.SubscribeResponse(sync_response=True)),
    st.just(gnmi.SubscribeResponse(error={"code": 3, "message": "no"}, extension=[b"x"])),
    st.just(gnmi.SubscribeResponse()),
).map(lambda message: message.SerializeToString())


@settings(max_examples=300, deadline=None)
@given(st.lists(RESPONSES, min_size=1, max_size=4))
def test_random_messages_decode_as_the_twin_says(payloads: list[bytes]) -> None:
    assert Rig().decode(payloads) == [expected(p) for p in payloads]


PLAIN = {
    "uint_val": lambda v: (
        Kind.INTEGER if v < 1 << 63 else Kind.UNSIGNED,
        v if v < 1 << 63 else v - (1 << 64),
    ),
    "int_val": lambda v: (Kind.INTEGER, v),
    "bool_val": lambda v: (Kind.INTEGER, int(v)),
}


@settings(max_examples=150, deadline=None)
@given(RESPONSES)
def test_protobuf_reads_the_same(payload: bytes) -> None:
    """The runtime's own messages, a path decoded for every update: the plain way."""
    note = gnmi.SubscribeResponse.FromString(payload).update
    wanted = []
    for update in note.update:
        which = update.val.WhichOneof("value")
        if which in PLAIN:
            place = gnmi.path_text(gnmi.elements_of(note.prefix, update.path))
            wanted.append((place, note.timestamp, *PLAIN[which](getattr(update.val, which))))
    (rows,) = Rig().decode([payload])
    found = []
    scalars = iter([u.val.WhichOneof("value") in PLAIN for u in note.update if _rows_of(u)])
    for chain, ts, kind, value in rows:
        if kind in (Kind.DELETED, Kind.DUPLICATES) or not next(scalars):
            continue
        paths = [gnmi.Path.FromString(name) for name in chain[1:3]]
        found.append((gnmi.path_text(gnmi.elements_of(*paths)), ts, kind, value))
    assert found == wanted


def _rows_of(update: Any) -> bool:
    """Whether an update makes exactly one row; the others are compared elsewhere."""
    which = update.val.WhichOneof("value")
    assume(which not in ("json_val", "json_ietf_val") and not update.HasField("value"))
    return which is not None


def samples(count: int) -> list[bytes]:
    """Ordinary messages, none of them too large."""
    random.seed(11)
    made = []
    for i in range(count):
        note = gnmi.Notification(
            timestamp=1_700_000_000_000_000_000 + i, prefix=gnmi.path("/a", target="t")
        )
        for k in range(random.randrange(5)):
            val = random.choice(
                [
                    gnmi.TypedValue(uint_val=random.getrandbits(random.randrange(64))),
                    gnmi.TypedValue(
                        json_ietf_val=json.dumps({"a": {"b": "12", "c": 3.5}}).encode()
                    ),
                    gnmi.TypedValue(leaflist_val={"element": [{"uint_val": 3}]}),
                    gnmi.TypedValue(decimal_val={"digits": 15, "precision": 2}),
                    gnmi.TypedValue(double_val=1.5),
                ]
            )
            note.update.add(path=gnmi.path(f"/b[k={k}]/c"), val=val, duplicates=k % 2)
        made.append(gnmi.SubscribeResponse(update=note).SerializeToString())
    return made


def spoil(data: bytes) -> bytes:
    spoiled = bytearray(data)
    for _ in range(random.randrange(1, 4)):
        if not spoiled:
            break
        at = random.randrange(len(spoiled))
        how = random.randrange(5)
        if how == 0:
            spoiled[at] = random.getrandbits(8)
        elif how == 1:
            del spoiled[at : at + random.randrange(1, 9)]
        elif how == 2:
            spoiled[at:at] = random.randbytes(random.randrange(1, 9))
        elif how == 3:
            del spoiled[at:]
        else:
            spoiled[at:at] = b"\xff" * random.randrange(1, 12)
    return bytes(spoiled)


def test_spoiled_messages_are_counted_faults_and_never_a_crash() -> None:
    good = samples(50)
    random.seed(12)
    payloads = [spoil(random.choice(good)) for _ in range(8_000)]
    found = Rig(1 << 12).decode(payloads)
    assert anyhow(found) == anyhow([expected(p) for p in payloads])
    assert {f for f in found if isinstance(f, str)} == {"truncated", "varint", "tag"}


def test_random_bytes() -> None:
    random.seed(13)
    payloads = [random.randbytes(random.randrange(40)) for _ in range(5_000)]
    assert anyhow(Rig(1 << 12).decode(payloads)) == anyhow([expected(p) for p in payloads])


TRICKY = [
    b"", b" ", b"{", b"}", b"{}", b"[]", b'""', b'"', b'"\\"', b"{,}", b'{"a"}', b'{"a":}', b'{"a":1,}',
    b'{"a":1 "b":2}', b'{"a":1}}', b'{"a":{"b":1}', b'{"a":1}x', b"1", b"-", b"-0", b"01", b"1.", b".5",
    b"1e", b"1e+", b"1E5", b"1.5e-7", b"+1", b"NaN", b"Infinity", b"nan", b"true", b"tru", b"truf",
    b"false", b"falsy", b"null", b"nulL", b'{"a":null}', b'{"a":"\\u0041"}', b'{"\\u0041":1}',
    b'{"a":"\xc3\xa9"}', b'{"a":"\x01"}', b'{"a":1,"a":2}', b'{"a" : "1" , "b" : { } }', b'{"a":[1,2]}',
    b'{"a":"999999999999999999"}', b'{"a":"9999999999999999999"}', b'{"a":"-5"}', b'{"a":"-"}',
    b'{"a":"N/A"}', b'{"a":"0x10"}', b'{"a":" 1"}', b'{"a":"1_0"}', b'{"a":true,"b":false}', b"{1:2}",
    b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH, b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
    b'{"a":' * 100_000, b"[" * 100_000, b'{"' + b"k" * 65_536 + b'":1}', b'{"' + b"k" * 65_535 + b'":1}',
    b"\xef\xbb\xbf{}", b'{"a":1}\n', b"\x00",
]  # fmt: skip


@pytest.mark.parametrize("form", Form)
def test_tricky_json(form: Form) -> None:
    if form == Form.OBJECT:
        wanted = [twin.json_rows(raw, (PEER, b""), 7) for raw in TRICKY]
        assert Rig().decode(TRICKY, form) == wanted
    else:
        payloads = [
            gnmi.SubscribeResponse(
                update=gnmi.Notification(update=[gnmi.Update(val=gnmi.TypedValue(json_val=raw))])
            ).SerializeToString()
            for raw in TRICKY
        ]
        assert Rig().decode(payloads) == [expected(p) for p in payloads]


def test_spoiled_json() -> None:
    good = b'{"Ethernet0": {"SAI_A": "123", "SAI_B": -5}, "x": {"y": true, "z": null, "w": 1.5e3}}'
    random.seed(14)
    payloads = [spoil(good) for _ in range(5_000)]
    assert Rig(1 << 12).decode(payloads, Form.OBJECT) == [
        twin.json_rows(raw, (PEER, b""), 7) for raw in payloads
    ]


@given(JSON_BYTES)
def test_the_twin_knows_json(raw: bytes) -> None:
    """What the twin refuses or passes on agrees with the standard library."""
    rows = twin.json_rows(raw, (), 0)
    kinds = {kind for _, _, kind, _ in rows}
    if Kind.BAD_JSON in kinds:
        assert b"NaN" in raw or b"Infinity" in raw
    elif Kind.JSON not in kinds:
        assert json.loads(raw) is not NotImplemented


def test_fields_in_any_order_and_twice() -> None:
    first = gnmi.SubscribeResponse(
        update=gnmi.Notification(timestamp=5, update=[gnmi.Update(val=gnmi.TypedValue(uint_val=1))])
    ).SerializeToString()
    # update, then prefix, then two timestamps
    note = b"\x22\x04\x1a\x02\x18\x07" + b"\x12\x03\x22\x01t" + b"\x08\x01\x08\x02"
    swapped = b"\x0a" + bytes([len(note)]) + note
    found = Rig().decode([first + swapped, swapped])
    assert found == [expected(first + swapped), expected(swapped)]
    assert found[1] == [((PEER, b"\x22\x01t", b""), 2, Kind.INTEGER, 7)]


def test_a_path_too_long_has_no_number() -> None:
    for long in (65_535, 65_536, 70_000):
        update = gnmi.Update(
            path=gnmi.Path(element=["x" * (long - 4)]), val=gnmi.TypedValue(uint_val=1)
        )
        note = gnmi.Notification(update=[update], delete=[update.path])
        payload = gnmi.SubscribeResponse(update=note).SerializeToString()
        (found,) = Rig().decode([payload])
        assert found == expected(payload)


def test_names_keep_their_numbers_when_tables_grow() -> None:
    rig = Rig(4, 300_000)
    random.seed(15)
    words = [random.randbytes(random.randrange(40)) for _ in range(500)]
    numbers: dict[bytes, int] = {}
    for word in words + words:
        while (n := number_of(rig.names, word, rig.peer, EntryKind.PATH)) == NO_ROOM:
            rig.names = grown(rig.names)
        assert numbers.setdefault(word, n) == n
    assert len(set(numbers.values())) == len(set(words))
    # the same bytes below another parent, or of another kind, are another name
    others = {
        number_of(rig.names, words[0], p, k)
        for p in (0, 1)
        for k in (EntryKind.KEY, EntryKind.PREFIX)
    }
    assert len(others - {NO_ROOM}) + (NO_ROOM in others) >= 1
    assert numbers[words[0]] not in others
