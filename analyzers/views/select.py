"""Filter, sort and page a table of millions of rows for a grid that shows fifty of them."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import polars as pl

MOST_CONDITIONS: Final = 32


class Condition(NamedTuple):
    """One condition on a column.

    ``op``: contains, not_contains, equals, not_equals, starts, ends (text, whatever case), eq, ne, lt,
    le, gt, ge, between (numbers; ``to`` is the upper end), blank, not_blank.
    """

    column: str
    op: str
    value: str | float = ""
    to: float = 0.0


class Page(NamedTuple):
    """Rows of one page, and how many rows the filter let through."""

    rows: pl.DataFrame
    total: int


def matching(frame: pl.LazyFrame, conditions: Sequence[Condition]) -> pl.LazyFrame:
    """The rows that fulfil all conditions; ValueError for an unknown column or operator."""
    names = frame.collect_schema()
    if len(conditions) > MOST_CONDITIONS:
        raise ValueError(f"more than {MOST_CONDITIONS} conditions")
    for condition in conditions:
        if condition.column not in names:
            raise ValueError(f"no column {condition.column!r}")
        frame = frame.filter(_expression(condition))
    return frame


def page(
    frame: pl.LazyFrame,
    conditions: Sequence[Condition] = (),
    sort: Sequence[tuple[str, bool]] = (),
    first: int = 0,
    count: int = 100,
    key: str = "",
) -> Page:
    """One page: ``sort`` is (column, descending) pairs; equal rows stay in the order of the table.

    ``key`` names a column that is unique: then only it and the columns asked about are sorted, and the
    rest is read for the rows of the page alone.
    """
    kept = matching(frame, conditions)
    names = kept.collect_schema()
    if bad := [column for column, _ in sort if column not in names]:
        raise ValueError(f"no column {bad[0]!r}")
    if not sort:
        rows, total = pl.collect_all([kept.slice(first, count), kept.select(pl.len())])
        return Page(rows, int(total.item()))
    by = [column for column, _ in sort]
    narrow = kept.select(list(dict.fromkeys([key, *by]))) if key else kept
    whole = narrow.sort(
        by, descending=[down for _, down in sort], nulls_last=True, maintain_order=True
    ).collect()
    rows = whole.slice(first, count)
    if key:
        wanted = rows.select(key).with_row_index("_place")
        found = frame.filter(pl.col(key).is_in(wanted[key].to_list())).collect()
        rows = wanted.join(found, on=key).sort("_place").select(names.names())
    return Page(rows, whole.height)


def _expression(condition: Condition) -> pl.Expr:
    column, op, value, to = pl.col(condition.column), *condition[1:]
    if op == "blank":
        return column.is_null()
    if op == "not_blank":
        return column.is_not_null()
    if isinstance(value, str):
        return _text(column.cast(pl.String).str.to_lowercase(), op, value.lower())
    numbers = {
        "eq": column == value, "ne": column != value, "lt": column < value, "le": column <= value,
        "gt": column > value, "ge": column >= value, "between": column.is_between(value, to),
    }  # fmt: skip
    if op not in numbers:
        raise ValueError(f"no such comparison: {op!r}")
    return numbers[op]


def _text(column: pl.Expr, op: str, value: str) -> pl.Expr:
    texts = {
        "contains": column.str.contains(value, literal=True),
        "not_contains": ~column.str.contains(value, literal=True),
        "equals": column == value,
        "not_equals": column != value,
        "starts": column.str.starts_with(value),
        "ends": column.str.ends_with(value),
    }
    if op not in texts:
        raise ValueError(f"no such comparison: {op!r}")
    return texts[op]
