"""Splits rows into training and test rows, by entity or by time, by a reproducible rule."""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from eventlake.columns.hashing.content import content_hash
from eventlake.core.card import Card, Shown, counted
from eventlake.core.hashing.canonical import canonical_json, sha256_hex
from eventlake.errors import InvalidInputError, MissingDependencyError
from eventlake.features.aggregates.exact_columns import doubles
from eventlake.features.declared.window import Length, microseconds
from eventlake.history.resolve import checked_instant
from eventlake.public_calls import helpful

ENTITY, TIME = "entity", "time"
_UNKNOWN = ("refuse", "drop")
_NO_GAP = ("0d", timedelta(0))
# Sixty bits.
_DIGITS = 15
_PARTS = 10**6


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class Split(Shown):
    """Training and test rows of a dataset.

    Attributes:
        train: The training rows, in the dataset's order.
        test: The test rows, in the dataset's order.
        left_out: Rows in neither part: training rows whose labels look into the test period.
        rule: The rule of the split and the content hash of each part, as plain JSON values, to be
            stored with the model.
    """

    train: pl.DataFrame
    test: pl.DataFrame
    left_out: pl.DataFrame
    rule: dict[str, Any]

    @property
    def split_hash(self) -> str:
        """SHA-256 of the rule as canonical JSON, hex."""
        return sha256_hex(canonical_json(self.rule))

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """``train, test = dataset.split(…)``."""
        return iter((self.train, self.test))

    def __repr__(self) -> str:
        """The card's title."""
        return f"<Split: {self.card().title}>"

    def card(self) -> Card:
        """The split as a card."""
        facts = tuple((name, str(value)) for name, value in self.rule.items())
        title = f"{self.train.height:,} rows to train, {self.test.height:,} to test"
        if self.left_out.height:
            title += f", {self.left_out.height:,} left out: their labels look into the test period"
        return Card(title, (*facts, ("split_hash", self.split_hash)))


def split(
    rows: pl.DataFrame,
    manifest_hash: str,
    *,
    by: str,
    column: str,
    test: float,
    salt: str,
    since: datetime | str | None,
    gap: int,
) -> Split:
    """Split rows into training and test rows.

    By entity: all rows of an entity are in the same part. They are test rows if the first 60 bits
    of the SHA-256 of ``salt + "/" + entity`` (UTF-8; null is the empty text), as a big-endian
    number modulo 1,000,000, are less than ``test`` millionths.

    By time: test rows are those from an instant on, inclusive: ``since``, or the earliest instant
    that gives a share of at most ``test``; rows of one instant stay together. An earlier row is
    left out if it is less than ``gap`` before the first instant of the test.

    Args:
        rows: The rows, in the dataset's order.
        manifest_hash: The dataset's manifest hash.
        by: ``entity`` or ``time``.
        column: The column of the entity or of the instants.
        test: The share of the test, strictly between 0 and 1.
        salt: Changes the split by entity.
        since: By time, the first instant of the test, instead of a share.
        gap: By time, in microseconds.

    Raises:
        InvalidInputError: An argument is invalid.
    """
    if by not in {ENTITY, TIME}:
        message = f"expected by as 'entity' or 'time', found {by!r}"
        hint = (
            f"write by='entity', column={by!r}."
            if by in rows.columns
            else "by='entity' is drawn by a hash of its name, with a salt."
        )
        raise InvalidInputError(message, hint, by=by)
    if not isinstance(test, float) or not 0 < test < 1:
        message = f"expected test as a share between 0 and 1, found {test!r}"
        raise InvalidInputError(message, "write test=0.2 for a fifth of the rows.", test=test)
    if column not in rows.columns:
        message = f"there is no column {column!r} to split by {by}"
        raise InvalidInputError(
            message, f"the columns are {', '.join(rows.columns)}.", column=column
        )
    rule: dict[str, Any] = {"dataset": manifest_hash, "by": by, "column": column}
    if by == ENTITY:
        # A whole number, so that the rule is the same in JSON and on every machine.
        most = round(test * _PARTS)
        chosen = [_place(value, salt) < most for value in rows[column].to_list()]
        rule |= {"test_millionths": most, "salt": salt}
        near = [False] * len(chosen)
    else:
        kind = rows.schema[column]
        if not isinstance(kind, pl.Datetime) or rows[column].null_count():
            message = (
                f"expected {column} as instants, none of them null, found {rows.schema[column]}"
            )
            raise InvalidInputError(message, column=column)
        instants = rows[column].cast(pl.Int64)
        bound = (
            _bound(instants, test)
            if since is None
            else _instant(since, zoned=kind.time_zone is not None)
        )
        moments = instants.to_list()
        chosen = [moment >= bound for moment in moments]
        # The gap is counted from the first row of the test, which may be later than ``since``.
        first = min((moment for moment in moments if moment >= bound), default=bound + gap)
        near = [first - gap < moment < bound for moment in moments]
        rule |= {"since_us": int(bound)}
        rule |= {"gap_us": gap, "left_out": sum(near)} if gap else {}
    mask, gone = pl.Series(chosen, dtype=pl.Boolean), pl.Series(near, dtype=pl.Boolean)
    train, held = rows.filter(~mask & ~gone), rows.filter(mask)
    rule |= {"train": content_hash(train.to_arrow()), "test": content_hash(held.to_arrow())}
    return Split(train, held, rows.filter(gone), rule)


def gap_of(given: Length) -> int:
    """A gap in microseconds; ``0d`` is 0.

    Raises:
        InvalidInputError: It is not a valid length of time.
    """
    return 0 if given in _NO_GAP else microseconds(given, "gap")


def _place(value: object, salt: str) -> int:
    text = f"{salt}/{'' if value is None else value}"
    # A hash and not a random number: an entity stays in its part when the dataset grows.
    return int(hashlib.sha256(text.encode()).hexdigest()[:_DIGITS], 16) % _PARTS


def _instant(since: datetime | str, *, zoned: bool) -> int:
    """``since`` in exact microseconds; it has a time zone if and only if the column has one.

    Raises:
        InvalidInputError: It is not such an instant.
    """
    if not zoned and isinstance(since, datetime) and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    elif not zoned:
        message = f"since={since!r}: expected a datetime without a zone, as the column has them"
        raise InvalidInputError(message, since=since)
    return checked_instant(since, "since")


def _bound(instants: pl.Series, test: float) -> int:
    """The earliest instant from which on there is at most this share of the rows.

    If even the last instant has a larger share, it is one microsecond after all rows.
    """
    counted = instants.rename("instant").value_counts().sort("instant", descending=True)
    share = counted["count"].cum_sum() / max(len(instants), 1)
    fitting = counted.filter(share <= test)["instant"]
    return int(fitting[-1]) if len(fitting) else int(instants.max() or 0) + 1  # type: ignore[arg-type]


def matrix(rows: pl.DataFrame, left: Iterable[str], categories: Any = None) -> Any:
    """Features as a pandas frame; see ``Dataset.x``.

    Raises:
        InvalidInputError: There is no such column, or a feature is neither number nor text, or has
            no categories although some are given.
    """
    unknown = sorted(set(left) - set(rows.columns))
    if unknown:
        message = f"there is no column {', '.join(unknown)}"
        raise InvalidInputError(message, f"the columns are {', '.join(rows.columns)}.")
    columns, texts = [], {}
    for column in rows.drop(set(left)).iter_columns():
        if column.dtype == pl.String:
            texts[column.name] = _categories(column, categories)
            columns.append(column)
        elif column.dtype.is_numeric() or column.dtype == pl.Boolean:
            columns.append(_floats(column))
        else:
            message = f"{column.name} is {column.dtype}, which is neither number nor text"
            raise InvalidInputError(message, "leave it out with drop=.", column=column.name)
    frame = _pandas(pl.DataFrame(columns))
    return frame.assign(**{name: _categorical(frame[name], some) for name, some in texts.items()})


def target_of(rows: pl.DataFrame, target: str, unknown: str) -> pl.DataFrame:
    """The rows with a target; see ``Dataset.xy``.

    Raises:
        InvalidInputError: There is no such column, or a target is null and ``unknown`` is
            ``refuse``.
    """
    if target not in rows.columns:
        message = f"there is no column {target}"
        raise InvalidInputError(message, f"the columns are {', '.join(rows.columns)}.")
    if unknown not in _UNKNOWN:
        message = f"expected unknown as one of {', '.join(map(repr, _UNKNOWN))}, found {unknown!r}"
        raise InvalidInputError(message)
    missing = rows[target].null_count()
    if missing and unknown == _UNKNOWN[0]:
        total = counted(rows.height, "row")
        message = f"{target} is null in {missing:,} of {total}: it is not known there yet"
        raise InvalidInputError(
            message, f"leave these rows out with xy({target!r}, unknown='drop').", column=target
        )
    return rows.filter(rows[target].is_not_null()) if missing else rows


def series_of(rows: pl.DataFrame, column: str) -> Any:
    """One column as a pandas series."""
    return _pandas(rows.select(column))[column]


def _categories(column: pl.Series, given: Any) -> list[str]:
    """The categories of a text column: the given ones, or its sorted distinct values."""
    if given is None:
        return column.drop_nulls().unique().sort().to_list()
    try:
        found = given[column.name]
        some = list(found.cat.categories) if hasattr(found, "cat") else list(found)
    except (KeyError, TypeError, AttributeError) as error:
        message = f"{column.name} is text, and the given categories have none for it"
        hint = (
            "give the frame that x or xy made of the training rows, or a dict of lists by column."
        )
        raise InvalidInputError(message, hint, column=column.name) from error
    if (
        isinstance(found, str)
        or not all(isinstance(one, str) for one in some)
        or len(set(some)) < len(some)
    ):
        message = f"expected the categories of {column.name} as different texts, found {found!r}"
        raise InvalidInputError(message, column=column.name)
    return some


def _categorical(values: Any, categories: list[str]) -> Any:
    """Text as an unordered categorical; a value that is not among the categories is missing."""
    import pandas as pd  # noqa: PLC0415 - an optional dependency, imported before by Polars

    return pd.Categorical(
        values.where(values.isin(categories), None), categories=categories, ordered=False
    )


def _floats(column: pl.Series) -> pl.Series:
    """A column as float64; decimals become the nearest double, which Polars' cast does not give."""
    if isinstance(column.dtype, pl.Decimal):
        array = column.to_arrow()
        return pl.Series(column.name, np.where(array.is_null(), math.nan, doubles(array)))
    return column.cast(pl.Float64).fill_null(math.nan)


def _pandas(frame: pl.DataFrame) -> Any:
    try:
        return frame.to_pandas()
    except ModuleNotFoundError as error:
        message = "pandas is not installed"
        raise MissingDependencyError(
            message, "pip install 'eventlake[pandas]', or use .polars() or .arrow()."
        ) from error
