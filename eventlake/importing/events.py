"""Convert rows of a table to events, and collect the problems of rows that cannot be converted."""

import json

import polars as pl

from eventlake.core.attributes import ATTRIBUTES
from eventlake.core.counts import MIN_INT64
from eventlake.importing.problems import ROW, Problems
from eventlake.importing.rules import Events, Field, Key, Time
from eventlake.importing.times import Wrong, dates, instants
from eventlake.importing.values import filled, integers, member, text_of

# Enough for 2^64, the number of values of an int64.
_DIGITS = 20


def events_of(frame: pl.DataFrame, rules: Events, keys: int, problems: Problems) -> pl.DataFrame:
    """Convert rows to events, leaving out rows with problems.

    Args:
        frame: The columns that the rules name, with the types of the table, and ``ROW``.
        rules: How rows become events.
        keys: Number of key columns of the result; those that the rules do not fill are null.
        problems: Collects the problems.

    Returns:
        Events in row order: ``block``, ``row``, ``time`` and ``recorded_at`` (int64 microseconds),
        the other attributes as text, and ``key0`` …, text whose bytes sort as the values do.
    """
    converter = _RowConverter(frame, rules, problems)
    time = converter.instant("time", rules.time)
    # The same rule is converted once, so that its problems are reported once.
    recorded_at = time
    if rules.recorded is not rules.time:
        recorded_at = converter.instant("recorded_at", rules.recorded)
    columns = {
        "block": pl.repeat(rules.number, frame.height, dtype=pl.Int32, eager=True),
        "row": frame[ROW],
        "time": time,
        "recorded_at": recorded_at,
    }
    columns |= {
        name: converter.attribute(name)
        for name in ATTRIBUTES
        if name not in {"time", "data", "extensions"}
    }
    columns |= {
        "extensions": converter.members("extensions", rules.extensions),
        "data": converter.members("data", rules.data),
    }
    columns |= {
        f"key{number}": converter.key(rules.order[number]) if number < len(rules.order) else None
        for number in range(keys)
    }
    series = []
    for name, column in columns.items():
        if column is not None:
            series.append(column.alias(name))
            continue
        kind = pl.Int64 if name in {"time", "recorded_at"} else pl.String
        series.append(pl.repeat(None, frame.height, dtype=kind, eager=True).alias(name))
    return pl.DataFrame(series).filter(~converter.bad)


class _RowConverter:
    """Converts columns of some rows; ``bad`` marks the rows that have a problem so far."""

    def __init__(self, frame: pl.DataFrame, rules: Events, problems: Problems) -> None:
        self._frame = frame
        self._rules = rules
        self._problems = problems
        self.bad = pl.repeat(value=False, n=frame.height, eager=True)

    def _note(self, field: str, wrong: list[Wrong], values: pl.Series | None) -> None:
        for one in wrong:
            if one.rows.any():
                self.bad |= one.rows
                self._problems.add_rows(self._rules.table, field, one, self._frame[ROW], values)

    def attribute(self, name: str) -> pl.Series | None:
        template = self._rules.attributes.get(name)
        if template is None:
            return None
        text, wrong, blamed = filled(self._frame, template)
        for one, column in zip(wrong, blamed, strict=True):
            self._note(f"{name} (column {column})", [one], self._frame[column])
        return text

    def instant(self, name: str, rule: Time | None) -> pl.Series | None:
        if rule is None:
            return None
        values, field = self._values(name, rule.value.columns, rule)
        found, wrong = instants(values, rule)
        self._note(
            field, [*wrong, Wrong(values.is_null(), "expected a time, the row has none")], values
        )
        return found

    def members(self, name: str, fields: tuple[Field, ...]) -> pl.Series | None:
        """The JSON object of the fields without missing values; None if there are no fields."""
        if not fields:
            return None
        parts = []
        for field in fields:
            values, where = self._values(f"{name}.{field.name}", field.value.columns, field)
            written, wrong = member(values, field)
            self._note(where, wrong, values)
            # Each member brings its comma, so that a missing one leaves no gap.
            parts.append((f",{json.dumps(field.name, ensure_ascii=False)}:", written))
        frame = pl.DataFrame(
            [written.alias(str(number)) for number, (_, written) in enumerate(parts)]
        )
        named = [
            pl.concat_str(pl.lit(label), pl.col(str(number)))
            for number, (label, _) in enumerate(parts)
        ]
        joined = pl.concat_str(named, ignore_nulls=True).str.strip_prefix(",")
        return frame.select(pl.concat_str(pl.lit("{"), joined, pl.lit("}")).alias("text"))["text"]

    def key(self, key: Key) -> pl.Series:
        """Text whose bytes sort as the column's values do."""
        values, kind = self._frame[key.column], key.kind.name
        wrong: list[Wrong]
        if kind == "utf8":
            text, wrong = text_of(values)
        elif kind == "date":
            text, wrong = dates(values, key.time)
        else:
            numbers, wrong = integers(values) if kind == "int64" else instants(values, key.time)
            # Shifted to start at 0 and padded with zeros, so that the texts sort like the numbers.
            above = pl.col("number").cast(pl.Int128) - pl.lit(MIN_INT64, pl.Int128)
            text = (
                numbers.alias("number")
                .to_frame()
                .select(above.cast(pl.String).str.zfill(_DIGITS))["number"]
            )
        # A null has no place in a total order.
        wrong.append(Wrong(values.is_null(), "expected a value to order by, the row has none"))
        self._note(f"order (column {key.column})", wrong, values)
        return text

    def _values(
        self, name: str, columns: tuple[str, ...], rule: Time | Field
    ) -> tuple[pl.Series, str]:
        """A column as it is, or a template's text; and the name for messages."""
        if rule.value.parts == (("", *columns),):
            return self._frame[columns[0]], f"{name} (column {columns[0]})"
        text, wrong, blamed = filled(self._frame, rule.value)
        for one, column in zip(wrong, blamed, strict=True):
            self._note(f"{name} (column {column})", [one], self._frame[column])
        return text, name
