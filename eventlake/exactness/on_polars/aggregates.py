"""Aggregates and windows: over exact values, and in a total order if order matters."""

from dataclasses import replace

from eventlake.exactness.on_polars import advice
from eventlake.exactness.on_polars import functions as known
from eventlake.exactness.on_polars.context import ALIGNED, ONE, Context, Value
from eventlake.exactness.on_polars.findings import Findings
from eventlake.exactness.on_polars.nodes import UNKNOWN, Expression
from eventlake.exactness.refusals import Refusal
from eventlake.exactness.rows import is_float

_CANNOT_OVERFLOW = frozenset(
    {"Boolean", "Int8", "Int16", "UInt8", "UInt16", "Int128", "Decimal", "Null"}
)
"""Types whose sums Polars widens, or that have no wider type; a Decimal sum fails instead."""
_INTERPOLATIONS = frozenset({"nearest", "lower", "higher", "equiprobable"})
"""Interpolations of ``quantile`` that return one of the values."""


def aggregate(findings: Findings, one: Expression, context: Context) -> Value:
    """An aggregate over the rows of a group, or over all rows."""
    name, what = one.name, one.children[0]
    value = findings.value(what, context)
    if name in known.ORDERED:
        findings.require_order(f"{name}()", value, context, one)
    elif name in known.COUNTING or name == "item":
        pass  # item() fails unless there is exactly one value
    elif name not in known.AGGREGATES:
        findings.refusals.append(_refuse_division(findings, one, context))
    elif is_float(what.type):
        findings.refuse_float(name)
    elif name == "sum" and what.type["id"] not in _CANNOT_OVERFLOW | {UNKNOWN}:
        findings.refuse_overflow("sum", what, context)
    elif name == "quantile" and not _INTERPOLATIONS & set(one.options):
        findings.refuse(
            "quantile()",
            "between two values by a float",
            "",
            'interpolation="lower" and "higher", and what lies between them when read',
        )
    # A computed argument would be a value of some row.
    if any(argument.kind != "literal" for argument in one.children[1:]):
        findings.refuse(f"{name}()", "an argument is computed", "", "a number")
    return Value(ONE)


def _refuse_division(findings: Findings, one: Expression, context: Context) -> Refusal:
    """The refusal of an unlisted aggregate; for means and variances with an exact quotient."""
    refusal, what = known.refused(one.name), one.children[0]
    shown = findings.shown(what, context)
    code = advice.mean(what, shown) if one.name == "mean" else ""
    if one.name in {"std", "var"} and one.options[0] in {0, 1}:
        code = advice.spread(what, shown, less=one.options[0], root=one.name == "std")
    # Advice in words cannot be tried.
    if code.startswith(("pl.", shown)):
        code = findings.suggested([code], context, refusal.instead, what)
    return replace(refusal, instead=code or refusal.instead)


def window(findings: Findings, one: Expression, context: Context) -> Value:
    """``x.over(partitions, order_by=…)``: one value per row, or one per partition."""
    inside, *rest = one.children
    order, partitions = (rest[0], rest[1:]) if one.options[1] else (None, rest)
    if context.grouped:
        return findings.refuse("over()", "a window inside a group", "", "over() in a step before")
    findings.keys("over()", [("", part) for part in partitions], context)
    ordered = context.ordered
    by = frozenset(context.places(partitions))
    if order is not None and order.kind == UNKNOWN:
        findings.refuse(
            order.name,
            "an order by several columns, which Polars does not show",
            "",
            "over(…, order_by=pl.struct(…)) of the same columns",
        )
        ordered = True  # refused once is enough
    elif order is not None:
        findings.keys("over()", [("", order)], context)
        ordered = replace(context, by=by).is_total([order])
    sorted_by = (order.name,) if order is not None and order.kind == "column" else ()
    inner = replace(
        context, by=by, ordered=ordered, grouped=True, window=one, sorted_by=sorted_by, flags={}
    )
    value = findings.value(inside, inner)
    if one.options[0] != "groups_to_rows" or value.state not in {ONE, ALIGNED} or value.filters:
        return findings.refuse(
            "over()",
            "values that do not belong to the rows of the window",
            "",
            "one value per window, or one per row",
        )
    return Value(ALIGNED)
