"""What AG Grid asks of the server, as conditions and sort orders of :mod:`analyzers.views.select`."""

from typing import Any

from analyzers.views.select import Condition

OPERATORS = {
    "text": {
        "contains": "contains", "notContains": "not_contains", "equals": "equals",
        "notEqual": "not_equals", "startsWith": "starts", "endsWith": "ends",
    },
    "number": {
        "equals": "eq", "notEqual": "ne", "lessThan": "lt", "lessThanOrEqual": "le",
        "greaterThan": "gt", "greaterThanOrEqual": "ge", "inRange": "between",
    },
}  # fmt: skip


def conditions(model: Any) -> list[Condition]:
    """Conditions of a filter model; ValueError for a form that is not understood.

    Two conditions on one column are joined by AND; the grid offers nothing else here.
    """
    return [
        _condition(str(column), part)
        for column, wanted in dict(model or {}).items()
        for part in wanted.get("conditions") or [wanted]
    ]


def _condition(column: str, part: dict[str, Any]) -> Condition:
    kind, name = str(part.get("filterType", "text")), str(part.get("type", ""))
    if name in ("blank", "notBlank"):
        return Condition(column, "blank" if name == "blank" else "not_blank")
    operator = OPERATORS.get(kind, {}).get(name)
    if operator is None:
        raise ValueError(f"filter on {column}: {kind} {name} is not understood")
    try:
        if kind == "number":
            return Condition(
                column, operator, float(part["filter"]), float(part.get("filterTo") or 0)
            )
        return Condition(column, operator, str(part["filter"]))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"filter on {column}: no value") from None


def order(model: Any) -> list[tuple[str, bool]]:
    """(column, descending) of a sort model."""
    return [(str(item.get("colId")), item.get("sort") == "desc") for item in model or []]
