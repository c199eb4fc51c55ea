"""Numbers out of raw bytes in kernels: one unaligned machine load instead of a chain of byte loads.

``be32(buffer, at)`` is the big-endian number in ``buffer[at : at + 4]``, ``le32`` the little-endian
one. Nothing is checked: the caller has proven that the bytes lie inside the buffer. Byte loads in
plain Python would say the same and cost about a third of the decoder's speed.

The buffer is an array, or what :func:`memory` makes of one: its bare address. Every array that is
handed to a helper costs the compiled code two atomic operations on its reference count, an address
costs nothing; the kernel that took the address holds the array while its helpers work.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

import fabric.kernel  # noqa: F401  sets numba's cache folder before anything is compiled

Bytes = NDArray[np.uint8]
Memory = Any  # Bytes, or the address of their first
Load = Callable[[Memory, int], int]
LoadWide = Callable[[Memory, int], np.uint64]


def _load(bits: int, order: str) -> Any:
    """Make an intrinsic that loads an unsigned number of ``bits`` bits and yields it as an int64.

    A 64-bit number is yielded as uint64. Shorter ones fit an int64, and staying signed keeps numba
    from turning sums of them with row numbers into floats.
    """
    result = types.uint64 if bits == 64 else types.int64

    def typing(_context: Any, buffer: Any, _at: Any) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            word = ir.IntType(bits)
            if isinstance(buffer, types.Array):
                array = context.make_array(signature.args[0])(context, builder, values[0])
                place = builder.bitcast(builder.gep(array.data, [values[1]]), word.as_pointer())
            else:
                place = builder.inttoptr(builder.add(values[0], values[1]), word.as_pointer())
            number = builder.load(place, align=1, typ=word)
            if order != sys.byteorder and bits > 8:
                number = builder.bswap(number)
            return builder.zext(number, ir.IntType(64)) if bits < 64 else number

        where = buffer if isinstance(buffer, types.Array) else types.int64
        return result(where, types.int64), generate

    return intrinsic(typing)


def _memory() -> Any:
    """Make the intrinsic :func:`memory`."""

    def typing(_context: Any, buffer: Any) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, values[0])
            return builder.ptrtoint(array.data, ir.IntType(64))

        return types.int64(buffer), generate

    return intrinsic(typing)


memory: Callable[[Bytes], Memory] = _memory()
u8: Load = _load(8, "big")
be16: Load = _load(16, "big")
be32: Load = _load(32, "big")
be64: LoadWide = _load(64, "big")
le16: Load = _load(16, "little")
le32: Load = _load(32, "little")
le64: LoadWide = _load(64, "little")
