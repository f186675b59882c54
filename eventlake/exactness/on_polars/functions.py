"""The allow-list of Polars' functions, and explanations for common functions that are not on it.

Names are those of Polars' plan. A function is listed if it returns the same value for the same rows
on every machine and build.
"""

from dataclasses import replace

from eventlake.exactness.refusals import ADDITION, CHANGES, TIES, Refusal, alike


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


REVIEWED = ("2.1",)
"""Versions of Polars for which these lists and the reading of plans were reviewed.

In other versions a function, or a step of a plan, may mean another thing.
"""

SCALARS = _names(
    """
    abs bitwise.count_ones bitwise.count_zeros bitwise.leading_ones bitwise.leading_zeros
    bitwise.trailing_ones bitwise.trailing_zeros ceil clip floor fill_null is_between is_close is_in
    is_not_null is_null max_horizontal min_horizontal negate not replace replace_strict round sign
    all_horizontal any_horizontal dt.base_utc_offset dt.cast_time_unit dt.century dt.combine
    dt.convert_time_zone dt.date dt.datetime dt.datetime_function dt.day dt.days_in_month
    dt.dst_offset dt.duration dt.hour dt.is_leap_year dt.iso_year dt.microsecond dt.millennium
    dt.millisecond dt.minute dt.month dt.month_end dt.month_start dt.nanosecond dt.offset_by
    dt.ordinal_day dt.quarter dt.replace dt.replace_time_zone dt.round dt.second dt.time
    dt.time_stamp dt.to_string dt.total_days dt.total_hours dt.total_microseconds
    dt.total_milliseconds dt.total_minutes dt.total_nanoseconds dt.total_seconds dt.truncate dt.week
    dt.week_day dt.with_time_unit dt.year str.base64_decode str.base64_encode str.concat_horizontal
    str.contains str.contains_any str.count_matches str.ends_with str.escape_regex str.extract
    str.extract_all str.extract_groups str.find str.format str.head str.hex_decode str.hex_encode
    str.json_decode str.json_path_match str.len_bytes str.len_chars str.lowercase str.normalize
    str.pad_end str.pad_start str.replace str.reverse str.slice str.split str.split_exact
    str.split_n str.starts_with str.strip_chars str.strip_chars_end str.strip_chars_start
    str.strip_prefix str.strip_suffix str.strptime str.tail str.titlecase str.to_decimal
    str.to_integer str.uppercase str.z_fill list.concat list.contains list.count_matches
    list.drop_nulls list.gather list.gather_every list.get list.join list.length list.max list.min
    list.shift list.slice list.sort list.to_struct struct.drop_fields struct.json_encode
    struct.rename_fields struct.with_fields struct.map_field_names
    """
)
"""Functions of exact values, row by row. What is not listed is refused."""

FLOAT_STEPS = _names(
    """
    abs ceil floor is_between is_finite is_infinite is_nan is_not_nan negate sqrt is_null
    is_not_null
    """
)
"""Functions of floats, row by row: IEEE 754 defines the result exactly."""

CARRIERS = _names("as_struct coalesce fill_null list.get struct.field_by_name str.json_decode")
"""Functions that pass values on without computing with them; floats are allowed."""

FLOAT_OPERATORS = _names("+ - * / == != < <= > >= eq_missing ne_missing")
OPERATORS = FLOAT_OPERATORS | _names("// div % & | ^ and or")
"""Operators between exact values."""

# Sums of integers are in here, and refused elsewhere if they can wrap around.
AGGREGATES = _names(
    """
    min max sum n_unique median quantile any all bitwise.and bitwise.or bitwise.xor
    """
)
"""Aggregates of exact values that do not depend on the order of rows."""

COUNTING = _names("count null_count has_nulls")
"""Aggregates that count values of any type."""

ORDERED = _names("first last implode str.concat_vertical")
"""Aggregates that are exact if the rows, or their values, are in a total order."""

PICKING = _names("max_by min_by")
"""Aggregates that are exact if no two rows of a group share the value they pick by."""

POSITIONAL = _names(
    """
    cum_sum cum_count cum_max cum_min shift diff is_first_distinct is_last_distinct rle_id
    forward_fill backward_fill int_range reverse
    """
)
"""Functions that depend on the rows before a row; exact if the rows are in a total order."""

WHOLE = _names("is_unique is_duplicated rank")
"""Functions that give a row a value that depends on all rows, in any order.

Of ``rank``, only the methods ``min``, ``max`` and ``dense``.
"""

UNORDERED = _names("unique drop_nulls top_k bottom_k")
"""Functions that return several values in no particular order, for ``sort()`` and aggregates."""

FRAMES = _names(
    """
    select with_columns filter group_by join join_asof sort slice head tail unique concat explode
    unpivot unnest with_row_index cache
    """
)
"""Methods of frames whose steps ``plan`` accepts, under its conditions."""

_UNCHECKED = "a claim about the rows that nobody checks"


# By function; ``refused`` fills in its name.
REFUSALS = {
    **alike(
        "mean ewm.mean rolling.mean list.mean",
        Refusal(
            "",
            f"{ADDITION}; of integers and decimals the engines divide differently",
            "the mean of 0.1, 0.2, 0.3 in two orders",
            "the sum as cast(pl.Int128), or of a Decimal, and the count as columns, and divide when"
            " the dataset is read",
        ),
    ),
    **alike(
        "std var skew kurtosis corr cov entropy product list.std list.var dot",
        Refusal(
            "",
            ADDITION,
            "0.1, 0.2, 0.3 in two orders",
            "sums of exact x and of x * x, and count(), as columns; and sqrt() of an expression"
            " over those when the dataset is read",
        ),
    ),
    "mode": Refusal(
        "",
        "of equally frequent values, any may come first",
        "the mode of a and b",
        'group_by(…).len() first, and of its rows sort_by("len", the value).last()',
    ),
    "value_counts": Refusal(
        "", "in the order of a hash table", "a and b, once each", "group_by(…).agg(pl.len())"
    ),
    **alike(
        "sample shuffle list.sample",
        Refusal("", CHANGES, "", "a filter by the key itself, such as sequence % 10 < 8"),
    ),
    **alike(
        "hash hash_rows",
        Refusal("", "the engine's hash changes with its version", "", "the value itself"),
    ),
    **alike(
        "log log1p exp pow cbrt sin cos tan",
        Refusal(
            "",
            "the maths library of the machine decides the last bit",
            "",
            "x * x for a square; else it after the dataset was read",
        ),
    ),
    "approx_n_unique": Refusal("", "an approximation", "", "n_unique()"),
    **alike(
        "arg_max arg_min arg_unique arg_sort",
        Refusal(
            "",
            f"a position among rows: {TIES}",
            "a and a",
            "the key of that row in place of its position, such as max_by() of it over a total"
            " order",
        ),
    ),
    "list.set_operation": Refusal(
        "", "in the order of a hash table", "", "unique().sort() over exploded rows"
    ),
    **alike("set_sorted hint_sorted", Refusal("", _UNCHECKED, "", "sort()")),
    "sum_horizontal": Refusal(
        "",
        "a sum that does not fit wraps around without an error",
        "",
        "fill_null(0) of each, and + between them",
    ),
    "mean_horizontal": Refusal(
        "",
        "it computes a float that later steps may aggregate",
        "",
        "the sum of the columns, and divide in the last step",
    ),
    "interpolate": Refusal(
        "",
        "it computes a float between rows",
        "",
        "it when the dataset is read; forward_fill() over a total order gives another value",
    ),
}


def refused(name: str) -> Refusal:
    """The refusal of a function that is not on the allow-list."""
    if name in REFUSALS:
        return replace(REFUSALS[name], what=f"{name}()")
    return Refusal(
        f"{name}()",
        "not known to return the same value on every build",
        "",
        'what docs/reference/exact-functions.md lists, or level="fixed"',
    )
