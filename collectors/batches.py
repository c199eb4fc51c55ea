"""What our agent sends and a listener of ours takes apart: numbered batches inside ordinary gNMI.

A batch is a SubscribeResponse whose single update holds the readings as JSON; a registered extension
(gnmi_ext.proto: id 999, experimental) carries the agent's number of the batch. A listener that knows it
records the JSON itself and acknowledges the number once it is on disk, in PublishResponse.timestamp;
one that does not sees gNMI like any other.

``recorder`` and ``sequence`` also stand in the JSON, so that a batch which was sent twice, because its
acknowledgement was lost, is told apart when it is decoded.
"""

import json
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError

from collectors import messages as gnmi
from collectors.descriptors import build
from collectors.records import Method
from collectors.segments import SegmentReader, segments

AGENT: Final = "fabric-agent"  # metadata of an agent: the name of its recorder
EXPERIMENTAL: Final = 999
ROOT: Final = "fabric"
NUMBERED: Final = re.compile(rb'\{"recorder":"([^"\\]+)","sequence":(\d+),')
RECALL_S: Final = 900  # an agent repeats what it sent in the last seconds, not more
RECALL_BYTES: Final = 256 << 20

_ext = build(
    "gnmi_ext",
    {
        "Extension": "1 registered_ext RegisteredExtension",
        "RegisteredExtension": """
            1 id int32
            2 msg bytes
        """,
        "Batch": """
            1 recorder string
            2 sequence uint64
        """,
    },
)
Extension: Any = _ext["Extension"]
_Batch: Any = _ext["Batch"]


class Batch(NamedTuple):
    """Readings of an agent: whose and the how manieth they are, their form, the agent's clock."""

    recorder: str
    sequence: int
    method: Method
    ts: int
    payload: bytes

    def packed(self) -> bytes:
        """The SubscribeResponse."""
        made = gnmi.SubscribeResponse()
        made.update.timestamp = self.ts
        update = made.update.update.add(path=gnmi.path(f"/{ROOT}/{self.method.name}"))
        update.val.json_ietf_val = self.payload
        numbered = _Batch(recorder=self.recorder, sequence=self.sequence)
        extension = Extension()
        extension.registered_ext.id = EXPERIMENTAL
        extension.registered_ext.msg = numbered.SerializeToString()
        made.extension.append(extension.SerializeToString())
        return bytes(made.SerializeToString())


def compose(
    recorder: str, sequence: int, method: Method, ts: int, readings: dict[str, Any]
) -> Batch:
    """A batch of readings, with its number among them."""
    body = {"recorder": recorder, "sequence": sequence, **readings}
    payload = json.dumps(body, separators=(",", ":"), default=str).encode()
    return Batch(recorder, sequence, method, ts, payload)


def unpack(raw: bytes) -> Batch | None:
    """The batch in a SubscribeResponse; None where it is none of ours."""
    try:
        response = gnmi.SubscribeResponse.FromString(raw)
        extensions = [Extension.FromString(one) for one in response.extension]
        numbered = [e.registered_ext for e in extensions if e.registered_ext.id == EXPERIMENTAL]
        if len(numbered) != 1 or len(response.update.update) != 1:
            return None
        number = _Batch.FromString(numbered[0].msg)
        update = response.update.update[0]
        root, name = (elem.name for elem in update.path.elem)
        if root != ROOT or not number.recorder:
            return None
        method = Method[name]
    except (DecodeError, ValueError, KeyError):
        return None
    return Batch(
        number.recorder,
        number.sequence,
        method,
        response.update.timestamp,
        update.val.json_ietf_val,
    )


def recall(folder: Path) -> dict[str, int]:
    """The highest number of each agent up to which all batches are on disk, from the last segments.

    A listener that was killed between writing and answering would otherwise record those batches again.
    A gap ends the search: behind it may lie what failed to be written.
    """
    found: defaultdict[str, set[int]] = defaultdict(set)
    size, oldest = 0, time.time() - RECALL_S
    for path in reversed(segments(folder)):
        try:
            info = path.stat()
            size += info.st_size
            if info.st_mtime < oldest or size > RECALL_BYTES:
                break
            for record in SegmentReader(path):
                if record.method in (Method.SONIC, Method.RDMA, Method.NOTE):
                    number = NUMBERED.match(record.payload)
                    if number:
                        found[number[1].decode(errors="replace")].add(int(number[2]))
        except (OSError, ValueError):  # committed and gone meanwhile, or damaged
            continue
    return {recorder: _unbroken(numbers) for recorder, numbers in found.items()}


def _unbroken(numbers: set[int]) -> int:
    last = min(numbers)
    while last + 1 in numbers:
        last += 1
    return last
