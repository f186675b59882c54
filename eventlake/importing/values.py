"""Convert columns to text and to JSON values; numbers never pass through a double.

JSON is written as ``json.dumps(value, ensure_ascii=False, separators=(",", ":"))`` writes it, and
decimals with all the digits of their scale. So a value has one spelling whatever file it comes
from.
"""

import json
import math
from collections.abc import Callable
from string import punctuation

import polars as pl

from eventlake.columns.intake.json_scan import scan_one
from eventlake.importing.rules import Field, Template
from eventlake.importing.times import (
    DAY_US,
    Wrong,
    dates,
    in_range,
    instant_text,
    instants,
    whole_microseconds,
)

_INTEGER = r"^([+-]?)0*([0-9]+)$"
_DECIMAL = r"^([+-]?)0*([0-9]*)(?:\.([0-9]+))?$"
_FLOAT = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_ESCAPED = [chr(code) for code in (*range(0x20), ord('"'), ord("\\"))]
_ESCAPES = [json.dumps(character)[1:-1] for character in _ESCAPED]


def filled(frame: pl.DataFrame, template: Template) -> tuple[pl.Series, list[Wrong], list[str]]:
    """Fill a template for every row.

    Returns:
        The text, null if a column is null; the rules that rows break; and, for each of these, the
        column that breaks it.
    """
    wrong: list[Wrong] = []
    blamed: list[str] = []
    parts: list[pl.Series] = []
    for literal, column in template.parts:
        if column is None:
            parts.append(
                pl.repeat(literal, frame.height, dtype=pl.String, eager=True).alias(str(len(parts)))
            )
            continue
        text, found = text_of(frame[column])
        if template.required:
            found.append(Wrong(frame[column].is_null(), "expected a value, the row has none"))
        wrong += found
        blamed += [column] * len(found)
        parts.append(text.alias(str(len(parts))))
    joined = pl.DataFrame(parts).select(pl.concat_str(pl.all()).alias("text"))["text"]
    return joined, wrong, blamed


def text_of(values: pl.Series) -> tuple[pl.Series, list[Wrong]]:
    """Convert a column to text.

    Integers and decimals become digits, dates and times ISO 8601, booleans ``true`` and ``false``.
    """
    kind = values.dtype
    if kind == pl.String:
        return values, []
    if kind.is_integer() or kind.is_decimal() or kind in {pl.Boolean, pl.Null}:
        return values.cast(pl.String), []
    wrong: list[Wrong] = []
    if kind == pl.Date:
        return in_range(values, DAY_US, wrong).cast(pl.String), wrong
    if isinstance(kind, pl.Datetime):
        timed = in_range(whole_microseconds(values, wrong), 1, wrong)
        text = instant_text(timed.to_physical())
        return (text if kind.time_zone is not None else text.str.strip_suffix("Z")), wrong
    if isinstance(kind, pl.Enum | pl.Categorical):
        return values.cast(pl.String), []
    message = f"expected text, whole numbers, decimals, dates or times, found a column of {kind}"
    return _nothing(values), [Wrong(values.is_not_null(), message)]


def member(values: pl.Series, field: Field) -> tuple[pl.Series, list[Wrong]]:
    """The JSON values of a payload field, null if missing; and the rules that rows break."""
    wrong: list[Wrong] = []
    if field.nulls or field.codes is not None:
        values, wrong = text_of(values)
        values = values.set(values.is_in(list(field.nulls)).fill_null(value=False), None)
    if field.codes is not None:
        meant = values.replace_strict(
            list(field.codes), list(field.codes.values()), default=None, return_dtype=pl.String
        )
        unknown = values.is_not_null() & meant.is_null()
        wrong.append(
            Wrong(unknown, f"expected one of the codes {', '.join(map(repr, field.codes))}")
        )
        values = meant
    if field.required:
        missing = values.is_null()
        # A value that is wrong is reported once, not as missing too.
        for one in wrong:
            missing &= ~one.rows
        wrong.append(Wrong(missing, "required, but the row has no value"))
    written, found = _WRITERS[field.kind.name](values, field)
    return (quoted(written) if field.quoted else written), wrong + found


def quoted(text: pl.Series) -> pl.Series:
    """Encode text as JSON strings."""
    frame = text.alias("text").to_frame()
    return frame.select(
        pl.concat_str(pl.lit('"'), pl.col("text").str.replace_many(_ESCAPED, _ESCAPES), pl.lit('"'))
    )["literal"]


def integers(values: pl.Series) -> tuple[pl.Series, list[Wrong]]:
    """Convert text, integers, and decimals without a fraction to int64."""
    if values.dtype.is_float() or values.dtype.is_nested():
        return pl.repeat(None, len(values), dtype=pl.Int64, eager=True), [
            Wrong(values.is_not_null(), f"expected int64, found a column of {values.dtype}")
        ]
    text, wrong = text_of(values)
    found = (
        text.filter(text.str.contains(_INTEGER)).cast(pl.Int64, strict=False)
        if text.dtype == pl.String
        else text
    )
    whole = pl.repeat(None, len(values), dtype=pl.Int64, eager=True).scatter(
        text.str.contains(_INTEGER).arg_true(), found
    )
    return whole, [*wrong, Wrong(text.is_not_null() & whole.is_null(), "expected int64")]


def _texts(values: pl.Series, field: Field) -> tuple[pl.Series, list[Wrong]]:
    del field
    text, wrong = text_of(values)
    return quoted(text), wrong


def _whole(values: pl.Series, field: Field) -> tuple[pl.Series, list[Wrong]]:
    whole, wrong = integers(_plain(values, field))
    return whole.cast(pl.String), wrong


def _booleans(values: pl.Series, field: Field) -> tuple[pl.Series, list[Wrong]]:
    del field
    text, wrong = text_of(values)
    return text, [*wrong, Wrong(_unlike(text, "^(true|false)$"), "expected true or false")]


def _moments(values: pl.Series, field: Field) -> tuple[pl.Series, list[Wrong]]:
    assert field.time is not None  # noqa: S101 - the mapping gives one to these types
    if field.kind.name == "date":
        text, wrong = dates(values, field.time)
    else:
        found, wrong = instants(values, field.time)
        text = instant_text(found)
    return quoted(text), wrong


def _plain(values: pl.Series, field: Field) -> pl.Series:
    """Rewrite numbers in text with a decimal point and without thousands separators."""
    if values.dtype != pl.String:
        return values
    if field.thousands:
        # A separator is removed only between whole groups of three: 1,5 is not 15.
        grouped = values.str.contains(
            f"^[+-]?[1-9][0-9]{{0,2}}({_escaped(field.thousands)}[0-9]{{3}})+"
            f"({_escaped(field.decimal_separator)}|$)"
        )
        bare = values.str.replace_all(field.thousands, "", literal=True)
        values = values.zip_with(~grouped.fill_null(value=False), bare)
    if field.decimal_separator != ".":
        # A point that is not the separator must not become one.
        values = values.str.replace_all(".", "?", literal=True).str.replace(
            field.decimal_separator, ".", literal=True
        )
    return values


def _escaped(character: str) -> str:
    return "\\" + character if character in punctuation else character


def _decimals(values: pl.Series, field: Field) -> tuple[pl.Series, list[Wrong]]:
    kind, values = field.kind, _plain(values, field)
    if values.dtype.is_float() or values.dtype.is_nested():
        message = (
            f"expected {kind} as text, decimals or whole numbers, "
            f"found a column of {values.dtype}, which may have lost digits already"
        )
        return _nothing(values), [Wrong(values.is_not_null(), message)]
    text, wrong = text_of(values)
    parts = text.str.extract_groups(_DECIMAL)
    sign, whole, fraction = (parts.struct.field(str(number)) for number in (1, 2, 3))
    fraction = fraction.fill_null("")
    number = text.str.contains(_DECIMAL) & text.str.contains("[0-9]")
    kept = fraction.str.strip_chars_end("0")
    fits = (
        number
        & (whole.str.len_bytes() <= kind.precision - kind.scale)
        & (kept.str.len_bytes() <= kind.scale)
    )
    frame = pl.DataFrame(
        {
            "sign": sign,
            "whole": whole,
            "fraction": kept.str.pad_end(kind.scale, "0"),
            "fits": fits.fill_null(value=False),
        }
    )
    # A zero has no sign, so that equal numbers have one spelling.
    zero = (pl.col("whole") == "") & (pl.col("fraction").str.strip_chars("0") == "")
    minus = pl.when((pl.col("sign") == "-") & ~zero).then(pl.lit("-")).otherwise(pl.lit(""))
    point = pl.lit("." if kind.scale else "")
    digits = pl.when(pl.col("whole") == "").then(pl.lit("0")).otherwise("whole")
    written = frame.select(
        pl.when("fits").then(pl.concat_str(minus, digits, point, "fraction")).alias("text")
    )["text"]
    return written, [
        *wrong,
        Wrong(text.is_not_null() & written.is_null(), f"expected {kind}, no digit lost"),
    ]


def _floats(values: pl.Series, field: Field) -> tuple[pl.Series, list[Wrong]]:
    values = _plain(values, field)
    if values.dtype.is_float() or values.dtype.is_integer():
        numbers = values.cast(pl.Float64)
    else:
        text, wrong = text_of(values)
        if wrong:
            return text, wrong
        # Polars' cast would accept more, such as ``inf`` and ``nan``.
        numbers = text.set(_unlike(text, _FLOAT), None).cast(pl.Float64, strict=False)
    finite = [
        # Adding 0.0 turns -0.0 into 0.0, so that equal numbers have one spelling.
        None if number is None or not math.isfinite(number) else number + 0.0
        for number in numbers.to_list()
    ]
    written = pl.Series(
        [None if number is None else json.dumps(number) for number in finite], dtype=pl.String
    )
    return written, [Wrong(values.is_not_null() & written.is_null(), "expected a finite number")]


def _json(values: pl.Series, field: Field) -> tuple[pl.Series, list[Wrong]]:
    del field
    if values.dtype != pl.String:
        return _nothing(values), [
            Wrong(values.is_not_null(), f"expected JSON text, found a column of {values.dtype}")
        ]
    broken = pl.Series(
        [text is not None and scan_one(text.encode()) is not None for text in values.to_list()],
        dtype=pl.Boolean,
    )
    return values.set(broken, None), [Wrong(broken, "expected JSON text")]


def _unlike(text: pl.Series, pattern: str) -> pl.Series:
    return (~text.str.contains(pattern)).fill_null(value=False)


def _nothing(values: pl.Series) -> pl.Series:
    return pl.repeat(None, len(values), dtype=pl.String, eager=True)


_WRITERS: dict[str, Callable[[pl.Series, Field], tuple[pl.Series, list[Wrong]]]] = {
    "bool": _booleans,
    "int64": _whole,
    "utf8": _texts,
    "date": _moments,
    "timestamp": _moments,
    "float64": _floats,
    "decimal": _decimals,
    "json": _json,
}
