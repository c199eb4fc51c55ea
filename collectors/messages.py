"""The messages of gNMI 0.10 (openconfig/gnmi: proto/gnmi/gnmi.proto), and its paths as text.

The field numbers are the protocol; the layout in protobuf descriptors is built from the tables below.
Deprecated fields stay, because devices still send them. Extensions are kept as the bytes they are.
:data:`Opaque` holds the same messages for those who take in many notifications: paths stay bytes
there, to be looked up in a table of paths already seen instead of being decoded each time.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from types import SimpleNamespace
from typing import Any, Final

from collectors.descriptors import build

SERVICE: Final = "gnmi.gNMI"
VERSION: Final = "0.10.0"


class Encoding(IntEnum):
    """How values are written (gNMI specification 2.3)."""

    JSON = 0
    BYTES = 1
    PROTO = 2
    ASCII = 3
    JSON_IETF = 4


class ListMode(IntEnum):
    """SubscriptionList.Mode: how long a subscription lasts (3.5.1.2)."""

    STREAM = 0
    ONCE = 1
    POLL = 2


class SubscriptionMode(IntEnum):
    """When a streamed path is sent (3.5.1.3)."""

    TARGET_DEFINED = 0
    ON_CHANGE = 1
    SAMPLE = 2


class DataType(IntEnum):
    """GetRequest.DataType: which part of the tree is asked for (3.3.1)."""

    ALL = 0
    CONFIG = 1
    STATE = 2
    OPERATIONAL = 3


TABLES: Final = {
    "Notification": """
        1 timestamp int64
        2 prefix Path
        3 alias string
        4 update Update*
        5 delete Path*
        6 atomic bool
    """,
    "Update": """
        1 path Path
        2 value Value
        3 val TypedValue
        4 duplicates uint32
    """,
    "TypedValue": """
        1 string_val string in value
        2 int_val int64 in value
        3 uint_val uint64 in value
        4 bool_val bool in value
        5 bytes_val bytes in value
        6 float_val float in value
        7 decimal_val Decimal64 in value
        8 leaflist_val ScalarArray in value
        9 any_val Any in value
        10 json_val bytes in value
        11 json_ietf_val bytes in value
        12 ascii_val string in value
        13 proto_bytes bytes in value
        14 double_val double in value
    """,
    "Path": """
        1 element string*
        2 origin string
        3 elem PathElem*
        4 target string
    """,
    "PathElem": """
        1 name string
        2 key string>string
    """,
    "Value": """
        1 value bytes
        2 type Encoding
    """,
    "Any": """
        1 type_url string
        2 value bytes
    """,
    "Decimal64": """
        1 digits int64
        2 precision uint32
    """,
    "ScalarArray": "1 element TypedValue*",
    "Error": """
        1 code uint32
        2 message string
        3 data Any
    """,
    "SubscribeRequest": """
        1 subscribe SubscriptionList in request
        3 poll Poll in request
        5 extension bytes*
    """,
    "Poll": "",
    "SubscribeResponse": """
        1 update Notification in response
        3 sync_response bool in response
        4 error Error in response
        5 extension bytes*
    """,
    "SubscriptionList": """
        1 prefix Path
        2 subscription Subscription*
        3 use_aliases bool
        4 qos QOSMarking
        5 mode ListMode
        6 allow_aggregation bool
        7 use_models ModelData*
        8 encoding Encoding
        9 updates_only bool
    """,
    "Subscription": """
        1 path Path
        2 mode SubscriptionMode
        3 sample_interval uint64
        4 suppress_redundant bool
        5 heartbeat_interval uint64
    """,
    "QOSMarking": "1 marking uint32",
    "ModelData": """
        1 name string
        2 organization string
        3 version string
    """,
    "GetRequest": """
        1 prefix Path
        2 path Path*
        3 type DataType
        5 encoding Encoding
        6 use_models ModelData*
        7 extension bytes*
    """,
    "GetResponse": """
        1 notification Notification*
        2 error Error
        3 extension bytes*
    """,
    "CapabilityRequest": "1 extension bytes*",
    "CapabilityResponse": """
        1 supported_models ModelData*
        2 supported_encodings Encoding*
        3 gNMI_version string
        4 extension bytes*
    """,
}
ENUMS: Final = (Encoding, ListMode, SubscriptionMode, DataType)

_gnmi = build("gnmi", TABLES, ENUMS)
Notification: Any = _gnmi["Notification"]
Update: Any = _gnmi["Update"]
TypedValue: Any = _gnmi["TypedValue"]
Path: Any = _gnmi["Path"]
PathElem: Any = _gnmi["PathElem"]
SubscribeRequest: Any = _gnmi["SubscribeRequest"]
SubscribeResponse: Any = _gnmi["SubscribeResponse"]
SubscriptionList: Any = _gnmi["SubscriptionList"]
Subscription: Any = _gnmi["Subscription"]
Poll: Any = _gnmi["Poll"]
ModelData: Any = _gnmi["ModelData"]
GetRequest: Any = _gnmi["GetRequest"]
GetResponse: Any = _gnmi["GetResponse"]
CapabilityRequest: Any = _gnmi["CapabilityRequest"]
CapabilityResponse: Any = _gnmi["CapabilityResponse"]

_PATHS_AS_BYTES = {
    name: table.replace(" Path*\n", " bytes*\n").replace(" Path\n", " bytes\n")
    for name, table in TABLES.items()
    if name in ("Notification", "Update")
}
Opaque: Any = SimpleNamespace(**build("gnmi", {**TABLES, **_PATHS_AS_BYTES}, ENUMS))

Elem = tuple[str, dict[str, str]]  # name of a path element and its keys


def path(text: str, *, target: str = "", origin: str = "") -> Any:
    r"""Path message of a text such as ``/interfaces/interface[name=Ethernet0]/state``.

    The conventions are gNMI's (openconfig/reference: rpc/gnmi/gnmi-path-strings.md): a backslash
    escapes a slash or bracket in a name and a bracket in a key's value; a leading ``origin:`` before
    the first slash names the origin. Raises ValueError with the place of what cannot be read.
    """
    head, colon, rest = text.partition(":/")
    if colon and "/" not in head and "[" not in head:
        origin, text = head, f"/{rest}"
    made = Path(origin=origin, target=target)
    for name, keys in elements(text):
        made.elem.add(name=name, key=keys)
    return made


def elements(text: str) -> list[Elem]:
    """Elements of a path's text, as in :func:`path`, without origin."""
    found: list[Elem] = []
    at, end = 1 if text.startswith("/") else 0, len(text)
    while at < end:
        name, at = _until(text, at, end, "/[")
        if not name:
            raise ValueError(f"path {text!r}: no name at character {at}")
        keys: dict[str, str] = {}
        while at < end and text[at] == "[":
            key, at = _until(text, at + 1, end, "=]")
            if not key or at >= end or text[at] != "=":
                raise ValueError(f"path {text!r}: a key needs '=' at character {at}")
            keys[key], at = _until(text, at + 1, end, "]")
            if at >= end:
                raise ValueError(f"path {text!r}: the key {key!r} is not closed")
            at += 1
        if at < end and text[at] != "/":
            raise ValueError(f"path {text!r}: '/' expected at character {at}")
        found.append((name, keys))
        at += 1
    return found


def _until(text: str, at: int, end: int, stops: str) -> tuple[str, int]:
    """Characters up to one of ``stops``, escapes resolved, and where it stands."""
    taken: list[str] = []
    while at < end and text[at] not in stops:
        if text[at] == "\\" and at + 1 < end:
            at += 1
        taken.append(text[at])
        at += 1
    return "".join(taken), at


def elements_of(*paths: Any) -> list[Elem]:
    """Elements of path messages, one below the other (a prefix and a path), the old form included."""
    found: list[Elem] = []
    for one in paths:
        if one.elem:
            found.extend((elem.name, dict(elem.key)) for elem in one.elem)
        else:
            for element in one.element:
                found.extend(elements(element))
    return found


def path_text(elems: Any | Iterable[Elem]) -> str:
    """Text of a path message or of its elements; :func:`path` reads it back."""
    if hasattr(elems, "elem"):
        elems = elements_of(elems)
    return "".join(f"/{_escape(name, '/[')}{_keys(keys)}" for name, keys in elems) or "/"


def _keys(keys: dict[str, str]) -> str:
    return "".join(f"[{_escape(k, '=]')}={_escape(v, ']')}]" for k, v in sorted(keys.items()))


def _escape(text: str, special: Sequence[str] | str) -> str:
    return "".join(f"\\{c}" if c == "\\" or c in special else c for c in text)
