"""Values of conditions in the one spelling of their field's type, or refused."""

from datetime import date, datetime
from decimal import Decimal

import polars as pl
import pytest

from eventlake.features.planned.literals import in_polars, in_python, spelled
from eventlake.schemas.schema import FieldType

TEXT, ONE_OF = FieldType("utf8"), FieldType("utf8", values=("card", "cash"))
INTEGER, TRUTH, DOUBLE = FieldType("int64"), FieldType("bool"), FieldType("float64")
DECIMAL, DATE, INSTANT = FieldType("decimal", 5, 2), FieldType("date"), FieldType("timestamp")


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("card", TEXT, "card"),
        ("card", ONE_OF, "card"),
        (7, INTEGER, 7),
        ("7.0", INTEGER, 7),
        (-(2**63), INTEGER, -(2**63)),
        (True, TRUTH, True),
        ("1.5", DECIMAL, "1.50"),
        ("-999.99", DECIMAL, "-999.99"),
        ("0.1", DOUBLE, "0.1"),
        ("2024-02-29", DATE, "2024-02-29"),
        ("2024-02-29T01:00:00+01:00", INSTANT, "2024-02-29T00:00:00+00:00"),
    ],
)
def test_a_value_has_one_spelling_in_the_type_of_its_field(value, kind, expected):
    found = spelled(value, kind, "==")
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (7, TEXT),
        (True, TEXT),
        ("check", ONE_OF),
        (1, ONE_OF),
        (True, INTEGER),
        ("x", INTEGER),
        ("7.5", INTEGER),
        (2**63, INTEGER),
        (1, TRUTH),
        ("true", TRUTH),
        ("1.005", DECIMAL),
        ("1000", DECIMAL),
        ("NaN", DOUBLE),
        ("Infinity", DOUBLE),
        ("2023-02-29", DATE),
        ("2024-02-29", INSTANT),
        ("x", FieldType("list", item=TEXT)),
        ("x", FieldType("struct")),
    ],
)
def test_a_value_of_another_type_is_refused(value, kind):
    with pytest.raises(ValueError, match=repr(value)):
        spelled(value, kind, "==")


def test_truth_values_have_no_order():
    assert spelled(True, TRUTH, "in") is True
    for sign in ("<", ">=", "between"):
        with pytest.raises(ValueError, match="True"):
            spelled(True, TRUTH, sign)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("ca'rd\n", TEXT),
        (7, INTEGER),
        (True, TRUTH),
        ("0.1", DOUBLE),
        ("1.50", DECIMAL),
        ("2024-02-29", DATE),
        ("2024-02-29T00:00:00.000001+00:00", INSTANT),
    ],
)
@pytest.mark.every_case
def test_the_source_of_a_literal_makes_the_literal(value, kind):
    names = {"pl": pl, "Decimal": Decimal, "date": date, "datetime": datetime}
    made = eval(in_python(value, kind), names)  # noqa: S307 - what is tested
    frame = pl.select(made.alias("made"), in_polars(value, kind).alias("expected"))
    assert frame["made"].dtype == frame["expected"].dtype
    assert frame["made"].to_list() == frame["expected"].to_list()
