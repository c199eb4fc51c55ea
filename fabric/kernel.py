"""One door to the compiler: every per-packet loop is a function under ``@kernel``.

numba compiles the function on its first call and keeps the machine code in a cache folder. Its
cache notices a change of the file a kernel stands in, but not of helpers and constants imported
from other files, so the folder's name ends in a hash of all sources a kernel can be built from:
a change anywhere simply starts a new folder.

Importing this module imports numba (about 0.2 s); modules that only *may* need a kernel import it
inside the function that does.
"""

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., object])

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("fabric", "analyzers")


def source_hash() -> str:
    """Twelve hex digits over every Python source that a kernel may be compiled from."""
    digest = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_bytes()
            if b"kernel" in text or path.name == "codes.py":
                digest.update(path.name.encode() + b"\0" + text)
    return digest.hexdigest()[:12]


def cache_folder() -> Path:
    """The folder of compiled kernels; ``FABRIC_CACHE_DIR`` moves it."""
    base = os.environ.get("FABRIC_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    folder = Path(base) if base else Path(home) / "roce-fabric"
    return folder / f"kernels-{source_hash()}"


if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = str(cache_folder())

import numba  # noqa: E402  the cache folder must be known before

# Whoever imported numba before this module had it look for no folder: it would keep machine code
# beside the sources, where a change of a helper goes unnoticed.
_config: Any = numba.config
_config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]

# A symbol's name holds the types of all arguments. Numba writes a record as its number, but a named
# tuple of records with every field of each: names of twelve thousand letters were nine tenths of
# the compiled code.
_named_tuples: Any = numba.types.NamedTuple
_named_tuples.mangling_args = property(lambda self: (self.instance_class.__name__, (self._code,)))

# Numba's published types leave out the options below that start with an underscore or "no_".
_compile = cast("Callable[..., Any]", partial(numba.njit, nogil=True, error_model="numpy"))


def kernel(function: F) -> F:
    """Compile ``function`` to machine code on first use; types stay what they are for the checker.

    Integer overflow wraps as in C, array bounds are not checked: a kernel proves its indices.
    """
    return cast("F", _compile(function, cache=True, no_cfunc_wrapper=True))


def lean(function: F) -> F:
    """As :func:`kernel`, without reference counts: for kernels that hand tuples of arrays to helpers.

    Numba counts the references to every array of a tuple at each call of a helper, atomically, even
    where the helper is folded in; that cost 1.8 us per packet where the work is 40 ns. Here nothing
    is counted, so nothing may be allocated either: no new arrays, none returned.
    """
    return cast("F", _compile(function, cache=True, _nrt=False, no_cfunc_wrapper=True))


def inline(function: F) -> F:
    """Compile a helper so that it is folded into the kernels that call it; Python cannot call it.

    It counts references where its caller does.
    """
    return cast(
        "F",
        _compile(function, forceinline=True, no_cfunc_wrapper=True, no_cpython_wrapper=True),
    )


def helper(function: F) -> F:
    """Compile a part of :func:`lean` kernels; Python cannot call it.

    It is not cached by itself: the machine code of the kernel holds it.
    """
    return cast("F", _compile(function, _nrt=False, no_cfunc_wrapper=True, no_cpython_wrapper=True))


def fold(function: F) -> F:
    """As :func:`inline`, but copied into the caller before types are known.

    For helpers that return records: numba can take them as arguments, but not return them.
    """
    return cast("F", _compile(function, inline="always", no_cfunc_wrapper=True))
