"""Ask for memory before it is needed.

Thousands of flows do not fit into the near caches, and each packet belongs to another one: without
help a kernel waits for memory most of its time. The rows of a batch say which records come next, so
a kernel asks for those of a later row while it works on this one.
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

import fabric.kernel  # noqa: F401  sets numba's cache folder before anything is compiled

AHEAD = 16  # rows: longer than a trip to memory, shorter than what the near cache holds


def _typing(_context: Any, array: types.Array, _offset: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        byte = ir.IntType(8).as_pointer()
        word = ir.IntType(32)
        place = builder.gep(builder.bitcast(data, byte), [values[1]])
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        call = builder.module.declare_intrinsic("llvm.prefetch", (byte,), kind)
        builder.call(call, [place, word(1), word(3), word(1)])  # for writing, to keep, data
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


# ``prefetch(array, offset)`` brings the cache line ``offset`` bytes into ``array`` nearer. It reads
# nothing: an offset outside the array does no harm.
prefetch = cast("Callable[[NDArray[Any], int], None]", intrinsic(_typing))
