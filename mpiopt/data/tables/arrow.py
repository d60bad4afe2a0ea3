"""pyarrow, where it is installed, and its types in few words: number, boolean, date, text."""

from __future__ import annotations

import importlib
from typing import Any

NUMBER, BOOLEAN, DATE, TEXT, EMPTY = "number", "boolean", "date", "text", "empty"
ORDERED = "ordered"  # text whose levels have an order
ABSENT = "tables are read with pyarrow, which is not installed: pip install mpiopt[tables]"


def load(name: str = "pyarrow") -> Any:
    """Return pyarrow or one of its modules; ValueError, one line, if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ValueError(ABSENT) from None


def kind_of(kind: Any, where: str) -> str:
    """Return what a column of an Arrow type holds; `where` names it in the message.

    Raises
    ------
    ValueError
        If it holds neither numbers, words nor dates.
    """
    types = load().types
    if types.is_dictionary(kind):
        return kind_of(kind.value_type, where)
    if types.is_boolean(kind):
        return BOOLEAN
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return NUMBER
    if types.is_date(kind) or types.is_timestamp(kind):
        return DATE
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_time(kind):
        return TEXT
    if types.is_null(kind):
        return EMPTY
    if types.is_binary(kind):
        raise ValueError(f"{where} is not UTF-8 text; convert it: iconv -f latin1 -t UTF-8 FILE > NEW")
    raise ValueError(f"{where} has the type {kind}; columns of numbers, words, booleans and dates can be used")


def has_order(kind: Any) -> bool:
    """Return whether a column of an Arrow type has words in an order, as pandas' ordered categories have."""
    types = load().types
    return bool(types.is_dictionary(kind) and kind.ordered and kind_of(kind.value_type, "") == TEXT)


def order_in(columns: list[Any]) -> list[str] | None:
    """Return the order of the levels of an ordered column, from its chunks; None if these differ."""
    orders = [chunk.dictionary.to_pylist() for column in columns for chunk in getattr(column, "chunks", [column])]
    return orders[0] if orders and all(order == orders[0] for order in orders) else None
