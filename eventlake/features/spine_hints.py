"""What to write instead of a spine that lacks a column, or has one of another type."""

import pyarrow as pa

from eventlake.columns.intake.given import INDEX_HINT
from eventlake.columns.schema import INSTANT


def missing(spine: pa.Table, kind: pa.DataType, setting: str) -> str:
    """What to write if a spine has no column of a name that is wanted."""
    fitting = [one for one in spine.column_names[1:] if spine.column(one).type == kind]
    said = (
        f"name the column that it is: {setting}={fitting[0]!r}"
        if fitting
        else f"add it, or name another one with {setting}="
    )
    return f"{said}; {INDEX_HINT}"


def cast_hint(name: str, kind: pa.DataType, found: pa.DataType) -> str:
    """How a column of a spine becomes what it has to be, in Polars, and in pandas for instants."""
    column = f"pl.col({name!r})"
    if kind != INSTANT:
        return (
            f"cast it: {column}.cast({'pl.Int64' if pa.types.is_integer(kind) else 'pl.String'})."
        )
    if pa.types.is_large_string(found):
        return f"{column}.str.to_datetime(time_unit='us', time_zone='UTC'), in pandas pd.to_datetime(frame[{name!r}], utc=True)."
    if pa.types.is_timestamp(found):
        return f"say its zone: {column}.dt.replace_time_zone('UTC'), in pandas frame[{name!r}].dt.tz_localize('UTC')."
    if pa.types.is_date(found):
        return f"say the instant, such as the day's first: {column}.cast(pl.Datetime('us')).dt.replace_time_zone('UTC')."
    if pa.types.is_integer(found):
        return f"say what it counts: pl.from_epoch({name!r}, time_unit='us').dt.replace_time_zone('UTC')."
    return "give the cutoff as an instant with its zone, in UTC."
