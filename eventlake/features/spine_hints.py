"""Hints for spines that lack a column, or have a column of another type."""

import pyarrow as pa

from eventlake.columns.intake.given import INDEX_HINT
from eventlake.columns.schema import INSTANT


def missing(spine: pa.Table, kind: pa.DataType, setting: str) -> str:
    """What to write if a spine lacks a column."""
    fitting = [one for one in spine.column_names[1:] if spine.column(one).type == kind]
    hint = (
        f"name the column that it is: {setting}={fitting[0]!r}"
        if fitting
        else f"add it, or name another one with {setting}="
    )
    return f"{hint}; {INDEX_HINT}"


def cast_hint(name: str, kind: pa.DataType, found: pa.DataType) -> str:
    """How to cast a column of a spine in Polars; for instants in pandas as well."""
    column = f"pl.col({name!r})"
    if kind != INSTANT:
        return (
            f"cast it: {column}.cast({'pl.Int64' if pa.types.is_integer(kind) else 'pl.String'})."
        )
    if pa.types.is_large_string(found):
        return (
            f"{column}.str.to_datetime(time_unit='us', time_zone='UTC'), in pandas "
            f"pd.to_datetime(frame[{name!r}], utc=True)."
        )
    if pa.types.is_timestamp(found):
        return (
            f"say its zone: {column}.dt.replace_time_zone('UTC'), in pandas "
            f"frame[{name!r}].dt.tz_localize('UTC')."
        )
    if pa.types.is_date(found):
        return (
            "say the instant, such as the day's first: "
            f"{column}.cast(pl.Datetime('us')).dt.replace_time_zone('UTC')."
        )
    if pa.types.is_integer(found):
        return (
            f"say what it counts: pl.from_epoch({name!r}, "
            "time_unit='us').dt.replace_time_zone('UTC')."
        )
    return "give the cutoff as an instant with its zone, in UTC."
