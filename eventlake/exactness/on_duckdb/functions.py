"""The allow-list of DuckDB's functions, and explanations for common functions that are not on it.

A function is listed if it returns the same value for the same arguments on every machine and build.
"""

from dataclasses import replace

from eventlake.exactness.refusals import (
    ADDITION,
    ADDITION_EXAMPLE,
    CHANGES,
    DECLARED,
    DIGITS,
    Refusal,
    alike,
)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


REVIEWED = ("2.0",)
"""Versions of DuckDB for which these lists and the reading of plans were reviewed.

In other versions a function, or a step of a plan, may mean another thing.
"""

# Without exp, pow, sin and others: the machine's maths library computes them, and libraries differ
# in the last bit.
FLOAT_STEPS = _names(
    """
    + - * / sqrt subtract add multiply divide abs @ floor ceil ceiling isnan isfinite isinf
    epoch jaccard
    """
)
"""Functions that take or return doubles, value by value: IEEE 754 defines the result exactly."""

CARRIERS = _names(
    """
    array_extract if list_extract list_pack list_value row struct_extract struct_extract_at
    struct_pack unpivot_list
    """
)
"""Functions that pass values on without computing with them; doubles are allowed."""

SCALARS = _names(
    """
    % & + - * / // << >> @ | || ~~ !~~ ~~* !~~* ~~~ ^@ ~ ->> xor abs add bit_count ceil ceiling
    divide factorial floor fmod gcd greatest greatest_common_divisor lcm least least_common_multiple
    mod multiply round sign subtract trunc ascii base64 bar bin bit_length chr concat concat_ws
    contains ends_with from_base64 from_hex hex ilike_escape instr lcase left left_grapheme length
    len length_grapheme levenshtein like_escape lower lpad ltrim md5 not_ilike_escape
    not_like_escape octet_length ord position prefix regexp_escape regexp_extract regexp_extract_all
    regexp_full_match regexp_matches regexp_replace regexp_split_to_array repeat replace reverse
    right right_grapheme rpad rtrim sha1 sha256 split starts_with str_split str_split_regex
    string_split string_split_regex string_to_array strip_accents strlen strpos substr substring
    substring_grapheme suffix to_base64 to_binary to_hex translate trim ucase unbin unhex unicode
    upper nfc_normalize age century date_diff date_part date_sub date_trunc datediff datepart
    datesub datetrunc day dayname dayofmonth dayofweek dayofyear decade epoch_ms epoch_ns epoch_us
    era hour isodow isoyear last_day make_date make_time make_timestamp make_timestamp_ms
    make_timestamp_ns make_timestamptz microsecond millennium millisecond minute month monthname
    nanosecond quarter second strftime strptime time_bucket timezone timezone_hour timezone_minute
    to_centuries to_days to_decades to_hours to_microseconds to_millennia to_milliseconds to_minutes
    to_months to_quarters to_seconds to_weeks to_years try_strptime week weekday weekofyear year
    yearweek json_array_length json_exists json_extract json_extract_path json_extract_path_text
    json_extract_string json_keys json_type json_valid json_value json_array json_object json_quote
    to_json json_structure array_cat array_concat array_contains array_extract array_filter
    array_has array_has_all array_has_any array_indexof array_length array_position
    array_reverse_sort array_slice array_sort array_transform array_value array_zip apply filter
    flatten generate_series grade_up list_cat list_concat list_contains list_element list_extract
    list_filter list_grade_up list_has list_has_all list_has_any list_indexof list_pack
    list_position list_reverse_sort list_slice list_sort list_transform list_unique list_value
    list_where list_select list_resize list_zip range array_select array_where cardinality
    element_at map map_contains map_entries map_extract map_extract_value map_from_entries map_keys
    map_values row struct_extract struct_extract_at struct_insert struct_pack struct_concat
    struct_update error enum_code enum_first enum_last enum_range constant_or_null
    is_histogram_other_bin aggregate array_aggr array_aggregate list_aggr list_aggregate char_length
    character_length array_apply list_apply normalized_interval unpivot_list printf format
    list_reduce array_reduce reduce editdist3 hamming mismatches damerau_levenshtein
    """
)
"""Functions of exact values. What is not listed is refused."""

# Named here, because the text names them, while the plan has what they stand for.
MACROS = _names(
    """
    array_append array_pop_back array_pop_front array_prepend array_push_back array_push_front
    array_reverse array_to_string date_add fdiv fmod ifnull list_any_value list_append list_bit_and
    list_bit_or list_bit_xor list_bool_and list_bool_or list_count list_first list_last list_max
    list_median list_min list_prepend list_reverse list_sum nullif split_part
    """
)
"""Macros, which DuckDB replaces by expressions; those are checked too."""

AGGREGATES = _names(
    """
    bit_and bit_or bit_xor bool_and bool_or count count_if count_star countif max median min
    quantile quantile_cont quantile_disc sum histogram histogram_exact regr_count
    """
)
"""Aggregates of exact values that do not depend on the order of rows."""

ORDERED = _names(
    """
    any_value arbitrary array_agg first group_concat last list listagg string_agg
    """
)
"""Aggregates that are exact if their ORDER BY is total within each group."""

PICKING = _names(
    """
    arg_max arg_max_null arg_min arg_min_null argmax argmin max_by min_by arg_max_nulls_last
    arg_min_nulls_last
    """
)
"""Aggregates that are exact if no two rows of a group share the value they pick by."""

_TWO_ORDERS = "0.1, 0.2, 0.3 in two orders"


# By function; ``refused`` fills in its name.
REFUSALS = {
    **alike(
        "avg mean",
        Refusal(
            "",
            f"{ADDITION}; the engines round the division of decimals and integers differently",
            "the mean of 0.1, 0.2, 0.3 in two orders",
            "the sum and the count of an exact value, and divide the one by the other as doubles in"
            " the last step",
        ),
    ),
    **alike(
        "stddev stddev_samp stddev_pop variance var_samp var_pop sem",
        Refusal(
            "",
            ADDITION,
            _TWO_ORDERS,
            "count, sum, and sum of squares of an exact value as columns, and compute it from these"
            " when the dataset is read",
        ),
    ),
    **alike(
        "fsum kahan_sum sumkahan favg",
        Refusal("", f"compensated, and still not exact: {ADDITION}", ADDITION_EXAMPLE, DECLARED),
    ),
    **alike(
        """
        corr covar_pop covar_samp regr_slope regr_intercept regr_r2 regr_sxx regr_syy regr_sxy
        regr_avgx regr_avgy skewness kurtosis kurtosis_pop product geomean geometric_mean entropy
        mad
        """,
        Refusal(
            "",
            ADDITION,
            _TWO_ORDERS,
            'counts, sums and sums of products of exact values as columns; or level = "fixed"',
        ),
    ),
    "mode": Refusal(
        "",
        "of equally frequent values, the first that a thread meets wins",
        "the mode of a and b",
        "counts by value in a subquery, and last(value ORDER BY n, value) of those",
    ),
    **alike(
        "approx_count_distinct approx_quantile approx_top_k reservoir_quantile",
        Refusal(
            "",
            "an approximation, which depends on the order of rows",
            "the same rows in two orders",
            "count(DISTINCT …), quantile_disc(…) or counts by value, which are exact",
        ),
    ),
    **alike(
        "random setseed uuid gen_random_uuid uuidv4 uuidv7",
        Refusal(
            "",
            CHANGES,
            "",
            "a number from a key, such as ('0x' || left(md5(id), 8))::BIGINT % 100",
        ),
    ),
    **alike(
        """
        now today current_date current_timestamp current_localtime current_localtimestamp
        get_current_timestamp get_current_time transaction_timestamp current_time localtime
        localtimestamp
        """,
        Refusal(
            "",
            CHANGES,
            "",
            "an instant from the spine, or a declared parameter: $today::TIMESTAMPTZ, with"
            " parameters={'today': '2026-01-01 00:00:00+00'}",
        ),
    ),
    **alike(
        """
        getenv getvariable current_setting version current_schema current_database current_user
        in_search_path current_schemas txid_current nextval currval current_query
        """,
        Refusal(
            "",
            "it depends on the machine or the session, not on the events",
            "",
            "a declared parameter",
        ),
    ),
    **alike(
        "hash hash_combine",
        Refusal(
            "",
            "the engine's hash changes with its version",
            "",
            "('0x' || left(md5(…), 15))::BIGINT",
        ),
    ),
    **alike(
        """
        ln log log2 log10 exp ^ ** pow power sin cos tan asin acos atan atan2 cbrt gamma lgamma cot
        """,
        Refusal(
            "",
            "the maths library of the machine decides the last bit",
            "",
            'it after the dataset was read, or level = "fixed"',
        ),
    ),
    **alike(
        "from_json from_json_strict json_contains json_transform json_transform_strict",
        Refusal(
            "",
            "it reads JSON numbers as doubles",
            DIGITS,
            "(data ->> 'member')::TYPE, member by member: text keeps all digits",
        ),
    ),
    **alike(
        "printf format",
        Refusal(
            "",
            "it writes decimals as doubles",
            DIGITS,
            "CAST(… AS VARCHAR) and ||, which write every digit of a decimal",
        ),
    ),
    **alike(
        "json_each json_tree",
        Refusal(
            "",
            "it reads JSON numbers as doubles",
            DIGITS,
            "unnest(json_keys(data)) AS key, and data ->> key; of a list unnest(data ->>"
            " '$.member[*]')",
        ),
    ),
    **alike(
        "jaro_similarity jaro_winkler_similarity",
        Refusal(
            "",
            "the rounding of the processor decides the last bit",
            "",
            "levenshtein(…, …), which counts edits, or jaccard(…, …)",
        ),
    ),
    **alike(
        "list_distinct array_distinct",
        Refusal("", "in the order of a hash table", "['a', 'b'] and ['b', 'a']", "list_sort of it"),
    ),
}


def refused(name: str, *, aggregate: bool = False) -> Refusal:
    """The refusal of a function that is not on the allow-list."""
    if name in REFUSALS:
        return replace(REFUSALS[name], what=f"{name}()")
    kind = "aggregate" if aggregate else "function"
    return Refusal(
        f"{name}()",
        f"a {kind} that is not known to return the same value on every build",
        "",
        'what docs/reference/exact-functions.md lists, or level = "fixed"',
    )
