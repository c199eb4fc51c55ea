"""The gNMI messages are what the wire says: bytes worked out by hand, a decoder that knows no table."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors import messages as gnmi
from collectors.descriptors import build
from tests import wire_protobuf as wire


def hexed(text: str) -> bytes:
    return bytes.fromhex("".join(text.split()))


# Worked out by hand: tag = number << 3 | wire type, lengths in bytes, varints little-endian by sevens.
BY_HAND = {
    "an empty message": (gnmi.Notification(), ""),
    "a path with a key": (
        gnmi.path("/a[k=v]/b"),
        ("1a 0b  0a 01 61  12 06  0a 01 6b  12 01 76"  # elem {name: a, key {k: v}}
        "1a 03  0a 01 62"),  # elem {name: b}
    ),
    "origin and target": (
        gnmi.path("/a", origin="o", target="t"),
        "12 01 6f  1a 03 0a 01 61  22 01 74",
    ),
    "the old path form": (gnmi.Path(element=["a", "b"]), "0a 01 61  0a 01 62"),
    "time 1 ns before the epoch": (gnmi.Notification(timestamp=-1), "08 ff ff ff ff ff ff ff ff ff 01"),
    "a notification": (
        gnmi.Notification(
            timestamp=300,
            update=[gnmi.Update(path=gnmi.path("x"), val=gnmi.TypedValue(uint_val=150), duplicates=2)],
            delete=[gnmi.path("y")],
            atomic=True,
        ),
        ("08 ac 02"
        "22 0e  0a 05 1a 03 0a 01 78  1a 03 18 96 01  20 02"
        "2a 05 1a 03 0a 01 79"
        "30 01"),
    ),
    "the deprecated value": (
        gnmi.Update(value={"value": b"7", "type": gnmi.Encoding.PROTO}),
        "12 05 0a 01 37 10 02",
    ),
    "string": (gnmi.TypedValue(string_val="x"), "0a 01 78"),
    "int": (gnmi.TypedValue(int_val=-2), "10 fe ff ff ff ff ff ff ff ff 01"),
    "uint above 2^63": (gnmi.TypedValue(uint_val=2**64 - 1), "18 ff ff ff ff ff ff ff ff ff 01"),
    "a zero that is set": (gnmi.TypedValue(uint_val=0), "18 00"),
    "bool": (gnmi.TypedValue(bool_val=False), "20 00"),
    "bytes": (gnmi.TypedValue(bytes_val=b"\0"), "2a 01 00"),
    "float": (gnmi.TypedValue(float_val=1.0), "35 00 00 80 3f"),
    "decimal": (gnmi.TypedValue(decimal_val={"digits": 15, "precision": 1}), "3a 04 08 0f 10 01"),
    "leaf list": (
        gnmi.TypedValue(leaflist_val={"element": [{"uint_val": 1}, {"string_val": "a"}]}),
        "42 09  0a 02 18 01  0a 03 0a 01 61",
    ),
    "any": (gnmi.TypedValue(any_val={"type_url": "u", "value": b"v"}), "4a 06 0a 01 75 12 01 76"),
    "json": (gnmi.TypedValue(json_val=b"1"), "52 01 31"),
    "json_ietf": (gnmi.TypedValue(json_ietf_val=b"1"), "5a 01 31"),
    "ascii": (gnmi.TypedValue(ascii_val="x"), "62 01 78"),
    "proto bytes": (gnmi.TypedValue(proto_bytes=b"x"), "6a 01 78"),
    "double": (gnmi.TypedValue(double_val=1.0), "71 00 00 00 00 00 00 f0 3f"),
    "a subscription": (
        gnmi.SubscribeRequest(
            subscribe=gnmi.SubscriptionList(
                prefix=gnmi.Path(target="t"),
                subscription=[
                    gnmi.Subscription(
                        path=gnmi.path("a"),
                        mode=gnmi.SubscriptionMode.SAMPLE,
                        sample_interval=1000,
                        suppress_redundant=True,
                        heartbeat_interval=2000,
                    )
                ],
                qos={"marking": 10},
                mode=gnmi.ListMode.POLL,
                allow_aggregation=True,
                use_models=[gnmi.ModelData(name="m", organization="o", version="v")],
                encoding=gnmi.Encoding.JSON_IETF,
                updates_only=True,
            )
        ),
        ("0a 2f"
        "0a 03 22 01 74"
        "12 11  0a 05 1a 03 0a 01 61  10 02  18 e8 07  20 01  28 d0 0f"
        "22 02 08 0a  28 02  30 01"
        "3a 09 0a 01 6d 12 01 6f 1a 01 76"
        "40 04  48 01"),
    ),
    "a poll": (gnmi.SubscribeRequest(poll=gnmi.Poll()), "1a 00"),
    "an extension stays bytes": (gnmi.SubscribeRequest(extension=[b"\x2a\x02\x08\x01"]), "2a 04 2a 02 08 01"),
    "sync": (gnmi.SubscribeResponse(sync_response=True), "18 01"),
    "the deprecated error": (
        gnmi.SubscribeResponse(error={"code": 3, "message": "m"}),
        "22 05 08 03 12 01 6d",
    ),
    "a get": (
        gnmi.GetRequest(
            prefix=gnmi.Path(target="t"),
            path=[gnmi.path("a")],
            type=gnmi.DataType.STATE,
            encoding=gnmi.Encoding.PROTO,
            use_models=[gnmi.ModelData(name="m")],
        ),
        "0a 03 22 01 74  12 05 1a 03 0a 01 61  18 02  28 02  32 03 0a 01 6d",
    ),
    "what was got": (
        gnmi.GetResponse(notification=[gnmi.Notification(timestamp=1)], error={"code": 5}),
        "0a 02 08 01  12 02 08 05",
    ),
    "capabilities": (
        gnmi.CapabilityResponse(
            supported_models=[gnmi.ModelData(name="m")],
            supported_encodings=[gnmi.Encoding.PROTO, gnmi.Encoding.JSON_IETF],
            gNMI_version="0.10.0",
        ),
        "0a 03 0a 01 6d  12 02 02 04  1a 06 30 2e 31 30 2e 30",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_bytes_worked_out_by_hand(name: str) -> None:
    message, expected = BY_HAND[name]
    assert message.SerializeToString(deterministic=True) == hexed(expected)
    assert type(message).FromString(hexed(expected)) == message


def test_a_later_value_replaces_the_earlier() -> None:
    value = gnmi.TypedValue.FromString(hexed("18 01 0a 01 78"))
    assert value.WhichOneof("value") == "string_val"


def test_unknown_fields_and_numbers_survive() -> None:
    later = hexed("08 05  f8 06 07")  # field 111
    assert gnmi.Notification.FromString(later).SerializeToString() == later
    odd = hexed("40 63")  # encoding 99
    assert gnmi.SubscriptionList.FromString(odd).encoding == 99
    assert gnmi.SubscriptionList.FromString(odd).SerializeToString() == odd


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
ELEMENTS = st.lists(
    st.tuples(NAMES, st.dictionaries(NAMES, st.text(st.characters(codec="utf-8"), max_size=8), max_size=3)),
    max_size=5,
)  # fmt: skip
VALUES = st.one_of(
    st.tuples(st.just("uint"), st.integers(0, 2**64 - 1)),
    st.tuples(st.just("int"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("string"), st.text(st.characters(codec="utf-8"))),
    st.tuples(st.just("bool"), st.booleans()),
    st.tuples(st.just("bytes"), st.binary()),
    st.tuples(st.just("double"), st.floats(allow_nan=False)),
    st.tuples(st.just("json"), st.binary()),
)


@given(ELEMENTS)
def test_a_path_survives_its_text(elements: list[gnmi.Elem]) -> None:
    text = gnmi.path_text(elements)
    assert gnmi.elements(text) == elements
    assert gnmi.elements_of(gnmi.path(text)) == elements


@given(st.integers(-(2**63), 2**63 - 1), st.lists(st.tuples(ELEMENTS, VALUES), max_size=4))
def test_notifications_read_without_any_table(
    ts: int, updates: list[tuple[list[gnmi.Elem], tuple[str, object]]]
) -> None:
    message = gnmi.Notification(timestamp=ts)
    for elems, (kind, value) in updates:
        update = message.update.add()
        for name, keys in elems:
            update.path.elem.add(name=name, key=keys)
        setattr(update.val, f"{kind}_val", value)
    data = message.SerializeToString()
    assert gnmi.Notification.FromString(data) == message
    found = wire.fields(data)
    assert [value for number, value in found if number == 1] == ([ts % 2**64] if ts else [])
    seen = [dict(wire.fields(value)) for number, value in found if number == 4]
    assert [(wire.path(u.get(1, b"")), wire.typed_value(u[3])) for u in seen] == [
        ("".join(f"/{n}" + "".join(f"[{k}={v}]" for k, v in sorted(keys.items())) for n, keys in elems), value)
        for elems, value in updates
    ]  # fmt: skip
    opaque = gnmi.Opaque.Notification.FromString(data)
    assert [u.path for u in opaque.update] == [u.get(1, b"") for u in seen]
    assert opaque.SerializeToString() == data


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/", []),
        ("", []),
        ("a/b/", [("a", {}), ("b", {})]),
        ("/a[k=x/y]", [("a", {"k": "x/y"})]),
        (r"/a[k=\]]", [("a", {"k": "]"})]),
        (r"/a\/b", [("a/b", {})]),
        ("/a[k=]", [("a", {"k": ""})]),
        ("/a[k=l=m][n=o]", [("a", {"k": "l=m", "n": "o"})]),
        ("/COUNTERS/Ethernet*", [("COUNTERS", {}), ("Ethernet*", {})]),
    ],
)
def test_texts_of_paths(text: str, expected: list[gnmi.Elem]) -> None:
    assert gnmi.elements(text) == expected


def test_origin_before_the_path() -> None:
    assert gnmi.path("eos_native:/a/b").origin == "eos_native"
    assert gnmi.path("/a[k=b:/c]").origin == ""


@pytest.mark.parametrize(
    "text", ["/a//b", "//", "/a[k]", "/a[=v]", "/a[k=v", "/a[k=v]b", "/a[", "/[k=v]"]
)
def test_what_is_no_path_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="path") as refused:
        gnmi.path(text)
    assert "\n" not in str(refused.value)


def test_prefix_and_old_form_join() -> None:
    prefix = gnmi.Path(element=["interfaces", "interface[name=Ethernet1]"])
    assert gnmi.path_text(gnmi.elements_of(prefix, gnmi.path("state"))) == (
        "/interfaces/interface[name=Ethernet1]/state"
    )


@pytest.mark.parametrize(
    "table",
    ["1 name", "x name string", "1 name strang", "1 name string in", "1 name string of group"],
)
def test_a_table_that_is_none_is_refused(table: str) -> None:
    with pytest.raises(ValueError, match="M"):
        build("wrong", {"M": table})


def test_two_sets_of_the_same_names_live_side_by_side() -> None:
    twin = build("gnmi", gnmi.TABLES, gnmi.ENUMS)
    data = random.Random(7).randbytes(8)
    mine = gnmi.TypedValue(bytes_val=data).SerializeToString()
    assert twin["TypedValue"].FromString(mine).bytes_val == data
