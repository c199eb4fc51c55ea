"""Addresses between their two forms: 128 bits in two halves, and text."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import polars as pl
from numpy.typing import NDArray

MAPPED = 0xFFFF  # ::ffff:0:0/96, RFC 4291 section 2.5.5.2: an IPv4 address as an IPv6 address


@lru_cache(maxsize=1 << 16)
def address(hi: int, lo: int) -> str:
    """Text of an IPv6 address or GID; of an IPv4-mapped one, the IPv4 address."""
    if hi == 0 and lo >> 32 == MAPPED:
        return str(IPv4Address(lo & 0xFFFFFFFF))
    return str(IPv6Address(hi << 64 | lo))


@lru_cache(maxsize=1 << 12)
def mac(number: int) -> str:
    """Text of a MAC address: ``02:00:00:00:00:01``."""
    return number.to_bytes(6, "big").hex(":")


def addresses(hi: NDArray[np.uint64], lo: NDArray[np.uint64]) -> pl.Series:
    """Texts of many addresses; each distinct one is written once."""
    halves = pl.DataFrame({"hi": hi, "lo": lo})
    distinct = halves.unique()
    texts = [address(*row) for row in distinct.iter_rows()]
    named = distinct.with_columns(text=pl.Series(texts, dtype=pl.String))
    return halves.join(named, on=["hi", "lo"], how="left", maintain_order="left")["text"]


def macs(numbers: pl.Series) -> pl.Series:
    """Texts of many MAC addresses."""
    distinct = numbers.unique()
    texts = pl.Series([mac(number) for number in distinct], dtype=pl.String)
    return numbers.replace_strict(distinct, texts, return_dtype=pl.String)
