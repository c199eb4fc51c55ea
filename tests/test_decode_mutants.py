"""The comparison with the twin notices every wrong number in the decoder.

Each integer in the sources of the decoder is raised by one, in turn, and the changed source is run
as plain Python over the corpus: some frame must decode to something else than the twin says. Numbers
whose change cannot be seen are listed with the reason.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from analyzers.capture import bth, cursor, decode, layers, tunnels
from tests import decoding

PARTS = (cursor, bth, tunnels, layers, decode)  # in the order of their imports
PREFIX = "plain_"

PLAIN = "only chooses between two ways that must give the same"
ANY_NEGATIVE = "stands for none, as every number below 0"
LARGER = "a longer array, of which the same part is used"

# A line of source, the numbers in it whose change nobody can see, and why.
UNSEEN = {
    "f = np.empty(1, CURSOR)[0]": ((0, 1), LARGER),
    "KIND: Final = np.zeros(ROCE_V1 + 1, np.uint8)": ((1,), LARGER),
    "FOLLOW: Final = np.array([int(headers_of(opcode) or 0) for opcode in range(256)], np.uint16)": (
        (256,),
        LARGER,
    ),
    "interface, point, link_type = -1, 0, 0": ((0, 1), "set with the first interface"),
    "f.first_fragment = 0": ((0,), "set by every IP header, read behind one only"),
    "f.source_at = -1": ((1,), ANY_NEGATIVE),
    "f.destination_at = -1": ((1,), ANY_NEGATIVE),
    "f.tag = -1": ((1,), ANY_NEGATIVE),
    "return -1": ((1,), ANY_NEGATIVE),
    "link_type = int(link_types[interface]) if described else -1": ((1,), ANY_NEGATIVE),
    "f.fragmented |= f.first_fragment | (fragment & 0xFFF8 != 0)": (
        (0xFFF8,),
        "the lowest bit was looked at already",
    ),
    "grh = Header.GRH.value if l3 >= 0 and version[row] == 0 else 0": (
        (0,),
        "a GRH stands behind a link header",
    ),
    "PLAIN_BYTES: Final = 14 + 20 + 8 + BTH_BYTES  # Ethernet, IPv4 without options, UDP, BTH": (
        (14, 20, 8),
        PLAIN,
    ),
    "IPV4_PLAIN: Final = 0x080045  # ethertype IPv4, version 4, a header of five words": (
        (0x080045,),
        PLAIN,
    ),
    "NO_FRAGMENT_UDP: Final = 0x00000011  # under the mask 3FFF00FF: not fragmented, protocol UDP": (
        (0x11,),
        PLAIN,
    ),
    "and be32(data, at + 12) >> 8 == IPV4_PLAIN": ((12, 8), PLAIN),
    "and be32(data, at + 20) & 0x3FFF00FF == NO_FRAGMENT_UDP": ((20, 0x3FFF00FF), PLAIN),
    "and be16(data, at + 36) == ROCE_V2_PORT": ((36,), PLAIN),
    "and u8(data, at + 43) & 0x0F == 0": ((43, 0x0F, 0), PLAIN),
    "and be16(data, at + 16) >= PLAIN_BYTES - 14 + ICRC_BYTES": ((16, 14), PLAIN),
}


def load(name: str, read: str) -> object:
    """A stand-in for a load: the bytes are an array, as the kernels take them."""
    size, order = int(read[2:]) // 8, "big" if read[0] == "b" else "little"
    return lambda data, at: int.from_bytes(data[at : at + size].tobytes(), order)


def plain_loads() -> ModuleType:
    module = ModuleType(PREFIX + "loads")
    names = {"u8": "be8", "be16": "be16", "be32": "be32", "be64": "be64"}
    module.__dict__.update({name: load(name, read) for name, read in names.items()})
    module.__dict__.update(memory=lambda data: data, Bytes=object, Memory=object)
    return module


def plain_kernel() -> ModuleType:
    module = ModuleType(PREFIX + "kernel")
    module.__dict__.update(kernel=lambda function: function, inline=lambda function: function)
    return module


def build(sources: dict[str, str]) -> decoding.Decode:
    """The decoder as plain Python from these sources."""
    modules = {m.__name__: m for m in (plain_loads(), plain_kernel())}
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        for name, source in sources.items():
            module = ModuleType(PREFIX + name)
            patch.setitem(sys.modules, module.__name__, module)
            for part in ("loads", *sources):
                source = source.replace(
                    f"from analyzers.capture.{part} import", f"from {PREFIX}{part} import"
                )
            source = source.replace("from fabric.kernel import", f"from {PREFIX}kernel import")
            source = source.replace("np.empty(1, CURSOR)[0]", "SimpleNamespace()")
            module.__dict__["SimpleNamespace"] = SimpleNamespace
            exec(compile(source, module.__name__, "exec"), module.__dict__)
    return module.decode


def sources() -> dict[str, str]:
    return {part.__name__.rpartition(".")[2]: Path(part.__file__).read_text() for part in PARTS}


def numbers(source: str) -> Iterator[ast.Constant]:
    """The integers of a source that are not part of an annotation."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            yield node


def mutants() -> Iterator[tuple[str, str, int, dict[str, str]]]:
    original = sources()
    for name, source in original.items():
        lines = source.splitlines(keepends=True)
        for node in numbers(source):
            line = lines[node.lineno - 1]
            changed = line[: node.col_offset] + str(node.value + 1) + line[node.end_col_offset :]
            text = "".join((*lines[: node.lineno - 1], changed, *lines[node.lineno :]))
            yield f"{name}:{node.lineno}", line.strip(), node.value, original | {name: text}


def survives(changed: dict[str, str], blocks: list[list[decoding.Frame]]) -> bool:
    """Whether the decoder built from these sources still says what the twin says."""
    try:
        decode = build(changed)
        return all(decoding.difference(decode, frames) == "" for frames in blocks)
    except (IndexError, ValueError, OverflowError, TypeError, KeyError):
        return False


def blocks() -> list[list[decoding.Frame]]:
    """Frames in batches that differ in what stands first."""
    frames = list(decoding.corpus(200))
    frames += decoding.spoiled(3, 1_000, frames)
    pause = next(frame for frame in frames if frame[1] == 1 and frame[0][12:14] == b"\x88\x08")
    np.random.default_rng(1).shuffle(frames)
    first = [[(decoding.PACKET4, 101), (b"", -1)], [pause, (decoding.PACKET4, 1)]]
    return first + [frames[low : low + 40] for low in range(0, len(frames), 40)]


def test_the_sources_run_as_plain_python_and_equal_the_twin() -> None:
    assert survives(sources(), blocks())


def test_every_number_counts() -> None:
    corpus = blocks()
    unseen = [
        (where, line, value)
        for where, line, value, changed in mutants()
        if value not in UNSEEN.get(line, ((), ""))[0] and survives(changed, corpus)
    ]
    assert unseen == []


def test_the_list_of_unseen_numbers_is_current() -> None:
    lines = {line.strip() for source in sources().values() for line in source.splitlines()}
    assert set(UNSEEN) <= lines
