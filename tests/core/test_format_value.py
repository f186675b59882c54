"""Values in messages and reports: one spelling for each, on one line, cut if they are long."""

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest

from eventlake.core.format_value import plain, shown, shown_pair, shown_short


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (0.5, "0.5"),
        (math.inf, "inf"),
        ("é\n", '"é\\n"'),
        (Decimal("1E+3"), "1000"),
        (Decimal("1.50"), "1.50"),
        (b"\x00\xff", "00ff"),
        (date(2026, 1, 31), "2026-01-31"),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00Z"),
        (time(12, 30), "12:30:00"),
        (timedelta(seconds=1), "1000000 µs"),
        ([1, (Decimal("2.0"), None)], '[1, ["2.0", null]]'),
        ({1: {"a": b"\x01"}}, '{"1": {"a": "01"}}'),
    ],
    ids=ascii,
)
def test_a_value_has_one_spelling(value, text):
    assert shown(value) == text


def test_numbers_that_json_has_stay_numbers_and_others_become_text():
    assert plain([0.5, math.nan, -math.inf, Decimal("0.5"), 1 << 70]) == [
        0.5,
        "nan",
        "-inf",
        "0.5",
        1 << 70,
    ]


def digits(count, at=None, digit="2"):
    """A number of so many ones, with another digit at one place."""
    text = "1" * count
    return int(text if at is None else text[:at] + digit + text[at + 1 :])


def test_a_value_of_200_characters_is_shown_whole_and_a_longer_one_is_cut():
    assert shown_short(digits(200)) == "1" * 200
    assert shown_short(digits(201)) == "1" * 200 + " … (1 more characters)"
    assert shown_short(digits(1_500)) == "1" * 200 + " … (1,300 more characters)"


def test_two_values_of_200_characters_are_shown_whole():
    pair = digits(200, 150), digits(200, 150, "3")
    assert shown_pair(*pair) == (str(pair[0]), str(pair[1]))


def test_two_long_values_that_differ_early_are_shown_from_their_beginning():
    first, second = digits(250, 100), digits(250, 100, "3")
    assert shown_pair(first, second) == (
        f"{str(first)[:200]} … (50 more characters)",
        f"{str(second)[:200]} … (50 more characters)",
    )


def test_two_long_values_that_differ_late_are_shown_from_20_characters_before_that():
    first, second = digits(250, 101), digits(250, 101, "3")
    assert shown_pair(first, second) == (f"… {str(first)[81:]}", f"… {str(second)[81:]}")


def test_a_long_value_that_continues_a_short_one_is_shown_from_the_end_of_the_short_one():
    assert shown_pair(digits(150), digits(250)) == (f"… {'1' * 20}", f"… {'1' * 120}")
    assert shown_pair(digits(250), digits(150)) == (f"… {'1' * 120}", f"… {'1' * 20}")
