"""Rewrite means, variances, correlations and rounded shares as quotients of exact values.

Sums and counts of exact values are exact. One division of them as doubles, in the last step, always
gives the same value. The formulas are the textbook ones over sums of powers; in exact integers they
do not cancel.
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import lcm
from typing import Any

from eventlake.exactness.on_duckdb.scope import (
    INTEGER,
    Scope,
    Tree,
    decimal_of,
    is_exact,
    renamed_call,
)

MEANS = frozenset({"avg", "mean"})
SPREADS = {
    "stddev": 1,
    "stddev_samp": 1,
    "stddev_pop": 0,
    "variance": 1,
    "var_samp": 1,
    "var_pop": 0,
    "sem": 0,
}
"""Aggregates of dispersion, with the degrees of freedom that are subtracted from the count."""
PAIRS = frozenset({"corr", "covar_pop", "covar_samp", "regr_slope", "regr_intercept", "regr_r2"})
SCALED = frozenset({"sum", "min", "max", "median", "quantile", "quantile_cont", "quantile_disc"})
"""Aggregates that commute with a multiplication by a positive constant."""
_INTERPOLATING = frozenset({"median", "quantile_cont"})
_VARIANCES = frozenset({"variance", "var_samp", "var_pop"})
_MOST_DIGITS = 38
_DOUBLES = frozenset({"DOUBLE", "FLOAT", "FLOAT8", "FLOAT4", "REAL"})


def quotient(node: Tree, scope: Scope) -> tuple[Tree, int] | None:
    """An exact expression and a positive integer whose quotient is the value of ``node``.

    None if ``node`` is not such a quotient.
    """
    name = str(node.get("function_name") or "").casefold()
    arguments = [one["expression"] for one in node.get("arguments", [])]
    if is_exact(scope.type_of(node)):
        return node, 1
    if node.get("class") == "CAST" and str(node["type_expr"].get("type_name")).upper() in _DOUBLES:
        return quotient(node["child"], scope)
    if name == "epoch" and arguments:
        return scope.fill("epoch_us(x_)", x_=arguments[0]), 1_000_000
    if name in {"+", "-"} and len(arguments) > 1:
        return _sum(name, quotient(arguments[0], scope), quotient(arguments[1], scope), scope)
    number = _number(arguments[1]) if name in {"*", "/"} else None
    inner = quotient(arguments[0], scope) if number else None
    if number is None or inner is None:
        return None
    factor = Fraction(inner[1]) / (number if name == "*" else 1 / number)
    template = f"x_ * {factor.denominator}" if factor.denominator > 1 else "x_"
    return scope.fill(template, x_=inner[0]), factor.numerator


def _sum(
    name: str, left: tuple[Tree, int] | None, right: tuple[Tree, int] | None, scope: Scope
) -> tuple[Tree, int] | None:
    if left is None or right is None:
        return None
    # Both over one denominator, so that the sum stays in integers.
    by = lcm(left[1], right[1])
    parts = [
        scope.fill(f"x_ * {by // one[1]}" if by != one[1] else "x_", x_=one[0])
        for one in (left, right)
    ]
    return scope.fill(f"a_ {name} b_", a_=parts[0], b_=parts[1]), by


def _number(node: Tree) -> Fraction | None:
    """The value of a positive literal; None for any other expression."""
    literal = node.get("literal", {})
    try:
        value = Fraction(literal["text"]) if literal.get("kind") in {"INTEGER", "NUMERIC"} else None
    except (KeyError, ValueError):
        return None
    return value or None


def means(node: Tree, scope: Scope, what: Tree) -> Iterator[Tree]:
    """A mean as the quotient of a sum and a count."""
    found = quotient(what, scope)
    if found is None:
        return
    total, number = _call_over(node, "sum", found[0]), renamed_call(node, "count")
    # The sum and the count are exact; doubles come in the last step.
    text = "CAST(total_ AS DOUBLE) / number_" + (f" / {found[1]}" if found[1] > 1 else "")
    yield scope.fill(text, total_=total, number_=number)


def scaled(node: Tree, name: str, scope: Scope, what: Tree) -> Iterator[Tree]:
    """An aggregate over a quotient as a quotient of the aggregate."""
    found = quotient(what, scope)
    if found is not None and found[0] is not what:
        exact, by = found
        unit = unit_of(exact, scope) if name in _INTERPOLATING else None
        # DuckDB truncates a value between two decimals to their scale.
        if unit is not None and unit[1]:
            exact, by = scope.fill(unit[0], x_=exact), by * 10 ** unit[1]
        inner = _call_over(node, name, exact)
        text = "CAST(inner_ AS DOUBLE)" + (f" / {by}" if by > 1 else "")
        # Several quantiles are a list, which cannot be divided.
        if not (scope.type_of(inner) or "").endswith("]"):
            yield scope.fill(text, inner_=inner)


def _call_over(node: Tree, name: str, what: Tree) -> Tree:
    """The call ``node`` of the function ``name`` over ``what``, with its filter and window."""
    call = renamed_call(node, name)
    call["arguments"][0]["expression"] = what
    return call


def spread(node: Tree, name: str, scope: Scope, what: Tree) -> Iterator[Tree]:
    """A standard deviation or variance, from the sum and the sum of squares."""
    found = quotient(what, scope)
    unit = unit_of(found[0], scope) if found else None
    if found is None or unit is None:
        return
    inner, by = found
    number = renamed_call(node, "count")
    total = _call_over(node, "sum", scope.fill(unit[0], x_=inner))
    squares = _call_over(node, "sum", scope.fill(f"{unit[0]} * {unit[0]}", x_=inner))
    # Of a single row the sample's variance is null, as the aggregate's is.
    below = "nullif(n_ * (n_ - 1), 0)" if SPREADS[name] else "(n_ * n_)"
    text = f"CAST(n_ * q_ - s_ * s_ AS DOUBLE) / {below}"
    if name not in _VARIANCES:
        text = f"sqrt({text})"
    if name == "sem":
        text = f"{text} / sqrt(n_)"
    # A variance has the square of the unit.
    divisor = (10 ** unit[1] * by) ** (2 if name in _VARIANCES else 1)
    text = f"{text} / {divisor}" if divisor > 1 else text
    yield scope.fill(text, n_=number, s_=total, q_=squares)


def unit_of(what: Tree, scope: Scope) -> tuple[str, int] | None:
    """SQL that turns ``x_`` into an integer number of units, and the scale: a unit is 10**-scale.

    None if the type is not exact, or if the integer might not fit.
    """
    kind = scope.type_of(what)
    decimal = decimal_of(kind)
    scale = decimal[1] if decimal else 0
    if not is_exact(kind) or (decimal and sum(decimal) > _MOST_DIGITS):
        return None
    # HUGEINT, because squares of 64-bit integers need 126 bits.
    return (f"CAST(x_ * {10**scale} AS HUGEINT)" if scale else "CAST(x_ AS HUGEINT)"), scale


def pairs(node: Tree, name: str, scope: Scope, arguments: Sequence[Tree]) -> Iterator[Tree]:
    """A correlation, covariance or regression, over the pairs without a null."""
    if len(arguments) != 2 or node.get("distinct"):  # noqa: PLR2004 - a pair
        return
    found = [quotient(one, scope) for one in arguments]
    units = [unit_of(one[0], scope) if one else None for one in found]
    if None in found or None in units:
        return
    y, x = (
        scope.fill(unit[0], x_=one[0])
        for one, unit in zip(found, units, strict=True)
        if one and unit
    )
    per_y, per_x = (
        one[1] * 10 ** unit[1] for one, unit in zip(found, units, strict=True) if one and unit
    )
    place = "filter_expr" if node.get("class") == "WINDOW" else "filter"
    conditions = [
        # All sums are over the same pairs: those in which neither side is null.
        *([node[place]] if node.get(place) else []),
        *(scope.fill("x_ IS NOT NULL", x_=one) for one in arguments),
    ]
    condition = scope.fill(
        " AND ".join(f"f{number}_" for number in range(len(conditions))),
        **{f"f{number}_": one for number, one in enumerate(conditions)},
    )

    def total(text: str) -> Tree:
        call = renamed_call(node, "sum") | {place: condition}
        call["arguments"] = [call["arguments"][0] | {"expression": scope.fill(text, x_=x, y_=y)}]
        return call

    sums = {
        "x_": total("x_"),
        "y_": total("y_"),
        "xx_": total("x_ * x_"),
        "yy_": total("y_ * y_"),
        "xy_": total("x_ * y_"),
    }
    number = renamed_call(node, "count") | {place: condition}
    number["arguments"] = number["arguments"][:1]
    both, own, other = (
        "CAST(n_ * xy_ - x_ * y_ AS DOUBLE)",
        "CAST(n_ * xx_ - x_ * x_ AS DOUBLE)",
        "CAST(n_ * yy_ - y_ * y_ AS DOUBLE)",
    )
    text = {
        "corr": f"{both} / (sqrt({own}) * sqrt({other}))",
        "covar_pop": f"{both} / (n_ * n_) / {per_x * per_y}",
        "covar_samp": f"{both} / nullif(n_ * (n_ - 1), 0) / {per_x * per_y}",
        "regr_slope": f"{both} / {own} * {per_x} / {per_y}",
        "regr_intercept": f"CAST(y_ * xx_ - x_ * xy_ AS DOUBLE) / nullif({own}, 0) / {per_y}",
        "regr_r2": (
            f"CASE WHEN {own} = 0 THEN NULL WHEN {other} = 0 THEN 1.0::DOUBLE"
            f" ELSE {both} / {own} * {both} / {other} END"
        ),
    }[name]
    # Advice is read by people: omit multiplications and divisions by 1.
    yield scope.fill(re.sub(r" [*/] 1(?= |$)", "", text), n_=number, **sums)


def rounded(scope: Scope, total: Tree, number: Tree, digits: Sequence[Tree]) -> Iterator[Tree]:
    """A rounded quotient of exact values, in integers up to the last step.

    Like DuckDB's ``round``, it rounds half away from zero: the integer quotient of
    ``2 * numerator + denominator`` and ``2 * denominator``, with the sign put aside.

    Args:
        scope: The context of the call.
        total: The numerator.
        number: The denominator, an integer.
        digits: The remaining arguments of ``round``.
    """
    total = total["child"] if total.get("class") == "CAST" else total
    places = digits[0].get("literal", {}).get("text", "") if digits else "0"
    if not INTEGER.fullmatch(scope.type_of(number) or "") or not places.isdecimal():
        return
    is_sum = total.get("function_name") == "sum"
    what = total["arguments"][0]["expression"] if is_sum else total
    unit = unit_of(what, scope)
    if unit is not None:
        units = scope.fill(unit[0], x_=what)
        by, shown = 10 ** unit[1], 10 ** int(places)
        sign = "sign(u_)" if _counts(number) else "sign(u_) * sign(n_)"
        size = "n_" if _counts(number) else "abs(n_)"
        numerator = f"abs(u_) * {2 * shown} + {size} * {by}"
        denominator = f"nullif({size}, 0) * {2 * by}"
        text = f"CAST({sign} * (({numerator}) // ({denominator})) AS DOUBLE) / {shown}"
        yield scope.fill(text, u_=_call_over(total, "sum", units) if is_sum else units, n_=number)


def _counts(node: Any) -> bool:
    return node.get("function_name") in {"count", "count_star"}
