"""Tries what a refusal suggests: runs it over a few rows, and checks it against the allow-list."""

from typing import Any

import polars as pl

from eventlake.exactness.on_polars.context import Context
from eventlake.exactness.on_polars.nodes import Expression, Leaf
from eventlake.exactness.on_polars.plan import analyse
from eventlake.exactness.rows import Type
from eventlake.projections.on_polars.plan import read

_ROWS = 3
_TEXT = ("a", "b", "c")
_TYPES = {
    "FLOAT": pl.Float32(),
    "DOUBLE": pl.Float64(),
    "Decimal": pl.Decimal(38, 4),
    "Datetime": pl.Datetime("us", "UTC"),
} | {
    "Duration": pl.Duration("us"),
    "Enum": pl.Enum(_TEXT),
}
_GROUP = "the group"
OTHER = "…"
"""A column that stands for an expression that cannot be written as code."""


def tries(code: str, context: Context, other: Type | None = None) -> bool:
    """Whether an expression, or a method call on the frame, runs and is exact.

    Args:
        code: Python code of an expression, or of a method call from the method's name on; written
            by us from quoted names, types and operators only.
        context: The rows over which it is evaluated.
        other: The type of the expression that ``OTHER`` stands for in ``code``.
    """
    try:
        frame = _frame(context, other)
        result = _apply(frame, code, context)
        result.collect(engine="in-memory")
        keys = tuple(
            tuple(context.names[place] for place in sorted(key)) for key in context.rows.keys if key
        )
        refusals, _ = analyse(read(result), [Leaf(read(frame), keys)])
    except (Exception, pl.exceptions.PanicException):  # noqa: BLE001 - then it is not suggested
        return False
    return not refusals


def gives(code: str, one: Expression, context: Context) -> bool:
    """Whether the code evaluates to this very expression."""
    try:
        (found,) = read(_frame(context, None).select(_expression(code))).outputs
    except (Exception, pl.exceptions.PanicException):  # noqa: BLE001 - then it is not written so
        return False
    return found[1] == one


def _expression(code: str) -> pl.Expr:
    code = code.replace(OTHER, f'pl.col("{OTHER}")')
    # The code is our own text; names in it are quoted.
    found: pl.Expr = eval(code, {"pl": pl, "__builtins__": {}})  # noqa: S307
    return found


def _apply(frame: pl.LazyFrame, code: str, context: Context) -> pl.LazyFrame:
    if not code.startswith(("pl.", "(", OTHER)):
        called: pl.LazyFrame = eval(f"frame.{code}", {"frame": frame, "__builtins__": {}})  # noqa: S307 - likewise
        return called
    what = _expression(code)
    if not context.grouped or context.window is not None:
        return frame.select(what)
    by: list[str | pl.Expr] = [context.names[place] for place in sorted(context.by)] or [
        pl.lit(1).alias(_GROUP)
    ]
    return frame.group_by(by).agg(what.alias(_GROUP * 2))


def _frame(context: Context, other: Type | None) -> pl.LazyFrame:
    types = dict(zip(context.names, context.rows.types, strict=True)) | (
        {OTHER: other} if other else {}
    )
    keyed = {context.names[place] for key in context.rows.keys for place in key}
    return pl.DataFrame([_series(name, kind, keyed=keyed) for name, kind in types.items()]).lazy()


def _dtype(kind: Type) -> Any:
    name = str(kind["id"])
    if name in {"List", "Array"}:
        return pl.List(_dtype(kind["child_type"]))
    if name == "Struct":
        return pl.Struct({one["name"]: _dtype(one["type"]) for one in kind["child_types"]})
    return _TYPES.get(name) or getattr(pl, name)()


def _series(name: str, kind: Type, *, keyed: set[str]) -> pl.Series:
    # A null in every column that is not a key, so that advice about nulls is tried as well.
    values = [
        _value(kind, number) if number != 1 or name in keyed else None for number in range(_ROWS)
    ]
    plain = kind["id"] in {"Date", "Datetime", "Time", "Duration", "Decimal"}
    return (
        pl.Series(name, values, dtype=pl.Int64).cast(_dtype(kind))
        if plain
        else pl.Series(name, values, dtype=_dtype(kind))
    )


def _value(kind: Type, number: int) -> Any:
    name = str(kind["id"])
    if name in {"String", "Enum"}:
        return _TEXT[number]
    if name == "Binary":
        return _TEXT[number].encode()
    if name == "Boolean":
        return number == 0
    if name in {"List", "Array"}:
        return []
    if isinstance(kind.get("child_types"), list):
        return {one["name"]: None for one in kind["child_types"]}
    return None if name == "Null" else number
