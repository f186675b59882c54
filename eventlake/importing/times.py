"""Convert texts and local times to instants in microseconds since 1970-01-01 UTC.

A local time that the clocks skip or show twice is reported, not guessed.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from eventlake.core.instants import MAX_US, MIN_US, micros
from eventlake.importing.rules import ERROR, LATER, UNIX, Time
from eventlake.importing.time_formats import FRACTION

_ISO = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}:[0-5][0-9](?::[0-5][0-9](?:\.[0-9]+)?)?)"
    r"\s?([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?$"
)
_ISO_EXPECTED = "expected an ISO 8601 date or time like 2026-01-31 or 2026-01-31T12:00:00+01:00"
_LOCAL = pl.Datetime("us")
_YEARS = "expected an instant in the years 1 to 9999 UTC"
_MINUTE_US = 60_000_000
DAY_US = 24 * 60 * _MINUTE_US
_TABLES_END = datetime(2100, 1, 1)  # noqa: DTZ001 - local by intent
"""Polars' tables have no daylight saving time from here on; the rules of ``zoneinfo`` never end."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """The rows of a column that break one rule.

    Attributes:
        rows: True for rows that break the rule; never null.
        message: What was expected.
    """

    rows: pl.Series
    message: str


def check_zone(name: str) -> bool:
    """Whether the time zone is known to both Polars and ``zoneinfo``."""
    try:
        pl.Series([datetime(2000, 1, 1)]).dt.replace_time_zone(name)  # noqa: DTZ001 - local by intent
        # Either may know a zone that the other does not, and both are asked.
        ZoneInfo(name)
    except (pl.exceptions.PolarsError, LookupError, ValueError, OSError):
        return False
    return True


def instants(values: pl.Series, rule: Time) -> tuple[pl.Series, list[Wrong]]:
    """Convert a column of text, dates (midnight) or timestamps with or without a zone to instants.

    Args:
        values: The column; null means no time.
        rule: The format, and the clock for times without an offset.

    Returns:
        int64 microseconds, null if the value is null or wrong; and the rules that rows break.
    """
    wrong: list[Wrong] = []
    if rule.format in UNIX:
        ticks = values.cast(pl.String).str.extract(r"^(-?[0-9]{1,18})$").cast(pl.Int64)
        wrong.append(
            Wrong(
                values.is_not_null() & ticks.is_null(), f"expected a whole number ({rule.format})"
            )
        )
        step = UNIX[rule.format or ""]
        # Clipped to twice the range: the product does not overflow, and is still out of range.
        return _within(ticks.clip(2 * MIN_US // step, 2 * MAX_US // step) * step, wrong), wrong
    if values.dtype == pl.String:
        local, found = _local(values, rule, wrong)
    elif values.dtype == pl.Date:
        local, found = in_range(values, DAY_US, wrong).cast(_LOCAL), _none(values)
    elif isinstance(values.dtype, pl.Datetime):
        timed = whole_microseconds(values, wrong)
        if values.dtype.time_zone is not None:
            return _within(timed.to_physical(), wrong), wrong
        local, found = in_range(timed, 1, wrong), _none(values)
    else:
        wrong.append(
            Wrong(
                values.is_not_null(),
                f"expected text, dates or timestamps, found a column of {values.dtype}",
            )
        )
        return _none(values), wrong
    rows = local.is_not_null()
    resolved = _resolve_local(local.filter(rows), rule, rows, wrong)
    return _within(found.scatter(rows.arg_true(), resolved), wrong), wrong


def dates(values: pl.Series, rule: Time) -> tuple[pl.Series, list[Wrong]]:
    """Convert a column of text, dates or timestamps at midnight to text like 2026-01-31."""
    wrong: list[Wrong] = []
    if values.dtype == pl.String:
        local, found = _local(values, rule, wrong)
        zoned = found.is_not_null()
    elif values.dtype == pl.Date or (
        isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is None
    ):
        day = values.dtype == pl.Date
        local = in_range(
            values if day else whole_microseconds(values, wrong), DAY_US if day else 1, wrong
        ).cast(_LOCAL)
        zoned = pl.repeat(value=False, n=len(values), eager=True)
    else:
        wrong.append(
            Wrong(values.is_not_null(), f"expected text or dates, found a column of {values.dtype}")
        )
        return pl.Series([None] * len(values), dtype=pl.String), wrong
    timed = ((local.dt.truncate("1d") != local) | zoned).fill_null(value=False)
    wrong.append(Wrong(timed, "expected a date without a time of day"))
    return local.dt.strftime("%Y-%m-%d"), wrong


def instant_text(found: pl.Series) -> pl.Series:
    """Format microseconds as RFC 3339 in UTC, with a fraction only if it is not zero."""
    timed = found.cast(pl.Datetime("us"))
    fraction = (found % 1_000_000).cast(pl.String).str.zfill(6)
    frame = pl.DataFrame({"text": timed.dt.strftime("%Y-%m-%dT%H:%M:%S"), "fraction": fraction})
    whole = pl.col("fraction") == "000000"
    tail = (
        pl.when(whole)
        .then(pl.lit("Z"))
        .otherwise(pl.concat_str(pl.lit("."), "fraction", pl.lit("Z")))
    )
    return frame.select(pl.concat_str("text", tail).alias("text"))["text"]


def whole_microseconds(values: pl.Series, wrong: list[Wrong]) -> pl.Series:
    """Convert timestamps to microseconds; a finer one becomes null and is reported."""
    kind = values.dtype
    assert isinstance(kind, pl.Datetime)  # noqa: S101 - callers check
    if kind.time_unit == "ns":
        fine = (values.to_physical() % 1_000 != 0).fill_null(value=False)
        wrong.append(_too_fine(fine))
        values = values.set(fine, None)
    return values.cast(pl.Datetime("us", kind.time_zone))


def in_range(values: pl.Series, step_us: int, wrong: list[Wrong]) -> pl.Series:
    """Replace values outside the years 1 to 9999, such as infinite dates, by null; report them."""
    ticks = values.to_physical()
    outside = ((ticks < MIN_US // step_us) | (ticks > MAX_US // step_us)).fill_null(value=False)
    wrong.append(Wrong(outside, _YEARS))
    return values.set(outside, None)


def _none(values: pl.Series) -> pl.Series:
    return pl.repeat(None, len(values), dtype=pl.Int64, eager=True)


def _too_fine(hit: pl.Series) -> Wrong:
    return Wrong(hit.fill_null(value=False), "expected microseconds at the finest")


def _shown(rule: Time) -> str:
    return f"a time of the format {rule.format!r}"


def _local(values: pl.Series, rule: Time, wrong: list[Wrong]) -> tuple[pl.Series, pl.Series]:
    """Parse texts as local times, or as instants if they have an offset.

    Returns:
        Two columns, at most one of which has a value in each row.
    """
    if rule.format is None:
        return _iso(values, wrong)
    shaped = values.set((~values.str.contains(rule.shape or "")).fill_null(value=False), None)
    parsed = shaped.str.strptime(pl.Datetime("us"), rule.format, strict=False)
    if "%.f" in rule.format:
        # %.f is the only directive that takes more than six digits. Polars would cut them.
        fraction = shaped.str.extract((rule.shape or "").replace(FRACTION, f"({FRACTION})"))
        wrong.append(_too_fine(fraction.str.strip_chars_end("0").str.len_bytes() > 7))  # noqa: PLR2004 - a point and microseconds
    zoned = isinstance(parsed.dtype, pl.Datetime) and parsed.dtype.time_zone is not None
    parsed = parsed.dt.replace_time_zone(None)
    if rule.century is not None:
        parsed = _of_century(parsed, rule.century)
    wrong.append(Wrong(values.is_not_null() & parsed.is_null(), f"expected {_shown(rule)}"))
    if zoned:
        return pl.Series([None] * len(values), dtype=_LOCAL), parsed.to_physical()
    return parsed, _none(values)


def _iso(values: pl.Series, wrong: list[Wrong]) -> tuple[pl.Series, pl.Series]:
    parts = values.str.extract_groups(_ISO)
    day, clock, zone = (parts.struct.field(str(number)) for number in (1, 2, 3))
    fraction = clock.str.extract(r"\.([0-9]+)$").fill_null("").str.strip_chars_end("0")
    frame = pl.DataFrame({"day": day, "clock": clock.str.slice(0, 8), "fraction": fraction})
    # Seconds, or the whole time of day, may be missing, and are filled up with zeros.
    text = pl.concat_str(
        "day",
        pl.lit("T"),
        pl.concat_str("clock", pl.lit(":00:00")).str.slice(0, 8).fill_null("00:00:00"),
    )
    parsed = frame.select(text.alias("text"))["text"].str.strptime(
        _LOCAL, "%Y-%m-%dT%H:%M:%S", strict=False
    )
    parsed += (
        frame["fraction"].str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64).cast(pl.Duration("us"))
    )
    offset = _offset_us(zone)
    unreadable = values.is_not_null() & (parsed.is_null() | (zone.is_not_null() & offset.is_null()))
    wrong.extend(
        (Wrong(unreadable, _ISO_EXPECTED), _too_fine(~unreadable & (fraction.str.len_bytes() > 6)))  # noqa: PLR2004
    )
    found = parsed.to_physical() - offset
    return parsed.set(offset.is_not_null() | unreadable, None), found.set(unreadable, None)


def _offset_us(zone: pl.Series) -> pl.Series:
    digits = zone.str.replace_all(":", "").str.replace(r"^[Zz]$", "+0000").str.pad_end(5, "0")
    hours, minutes = digits.str.slice(1, 2).cast(pl.Int64), digits.str.slice(3, 2).cast(pl.Int64)
    frame = pl.DataFrame({"sign": digits.str.slice(0, 1), "hours": hours, "minutes": minutes})
    size = (pl.col("hours") * 60 + pl.col("minutes")) * _MINUTE_US
    valid = (pl.col("hours") < 24) & (pl.col("minutes") < 60)  # noqa: PLR2004 - the clock
    return frame.select(
        pl.when(valid & (pl.col("sign") == "-")).then(-size).when(valid).then(size).alias("us")
    )["us"]


def _of_century(parsed: pl.Series, century: int) -> pl.Series:
    """Move two-digit years into a century; a February 29 that it does not have becomes null."""
    frame = parsed.alias("t").to_frame()
    year = century + pl.col("t").dt.year() % 100
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    exists = leap | (pl.col("t").dt.month() != 2) | (pl.col("t").dt.day() != 29)  # noqa: PLR2004 - the calendar
    return frame.with_columns(pl.when(exists).then(pl.col("t"))).select(
        pl.col("t").dt.replace(year=year)
    )["t"]


def _resolve_local(local: pl.Series, rule: Time, rows: pl.Series, wrong: list[Wrong]) -> pl.Series:
    """Convert local times, none of them null, to instants by the rule's clock."""
    clock = rule.clock
    if not len(local):
        return local.to_physical()
    if clock.zone is None:
        wrong.append(Wrong(rows, "expected a time with an offset, or a zone in the mapping"))
        return pl.repeat(None, len(local), dtype=pl.Int64, eager=True)
    first, last, gap = _readings(local, clock.zone)
    overlap = ~gap & (first != last)
    found = (last if clock.overlap == LATER else first).set(gap, None)
    if clock.overlap == ERROR and overlap.any():
        message = (
            f"expected a time that the clocks of {clock.zone} show once, "
            "this one is shown twice (overlap = 'earlier' or 'later' chooses)"
        )
        wrong.append(Wrong(_spread(overlap, rows), message))
        found = found.set(overlap, None)
    if not gap.any():
        return found
    if clock.gap == ERROR:
        message = (
            f"expected a time that the clocks of {clock.zone} show, "
            "this one is skipped (gap = 'earlier' or 'later' chooses)"
        )
        wrong.append(Wrong(_spread(gap, rows), message))
        return found
    return found.zip_with(~gap, last if clock.gap == LATER else first)


def _readings(local: pl.Series, zone: str) -> tuple[pl.Series, pl.Series, pl.Series]:
    """The earlier and the later instant of each local time, and whether the clocks skip it.

    Polars answers for most times. Times in a gap, and times after the end of its tables, are
    resolved one by one by ``zoneinfo``.
    """
    first = local.dt.replace_time_zone(
        zone, ambiguous="earliest", non_existent="null"
    ).to_physical()
    last = local.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null").to_physical()
    gap = first.is_null()
    by_rule = (gap | (local >= _TABLES_END)).arg_true()
    if not len(by_rule):
        return first, last, gap
    times = local.gather(by_rule)
    resolved = {value: _reading(value, ZoneInfo(zone)) for value in times.unique()}
    rows = [resolved[value] for value in times]
    return (
        first.scatter(by_rule, [row[0] for row in rows]),
        last.scatter(by_rule, [row[1] for row in rows]),
        gap.scatter(by_rule, [row[2] for row in rows]),
    )


def _reading(value: datetime, zone: ZoneInfo) -> tuple[int, int, bool]:
    # PEP 495: fold 0 is the offset before a change of the clocks, fold 1 the one after it.
    before, after = (
        value.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta() for fold in (0, 1)
    )
    wall = micros(value.replace(tzinfo=UTC))
    found = sorted(wall - offset // timedelta(microseconds=1) for offset in (before, after))
    return found[0], found[1], before < after


def _spread(hits: pl.Series, rows: pl.Series) -> pl.Series:
    """Expand a mask of the selected rows to a mask of all rows."""
    return pl.repeat(value=False, n=len(rows), eager=True).scatter(rows.arg_true(), hits)


def _within(found: pl.Series, wrong: list[Wrong]) -> pl.Series:
    outside = ((found < MIN_US) | (found > MAX_US)).fill_null(value=False)
    wrong.append(Wrong(outside, _YEARS))
    return found.set(outside, None)
