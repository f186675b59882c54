"""Expressions that sort values, or that depend on the position of rows."""

from collections.abc import Sequence

from eventlake.exactness.on_polars import advice
from eventlake.exactness.on_polars.context import ALIGNED, BAG, ONE, SEQUENCE, Context, Value
from eventlake.exactness.on_polars.findings import Findings
from eventlake.exactness.on_polars.nodes import Expression, counts_rows
from eventlake.exactness.refusals import ZEROS
from eventlake.exactness.rows import is_float

# The ranks that equal values share.
_RANKS = frozenset({"min", "max", "dense"})
_COMPARING = frozenset(
    {"cum_sum", "cum_max", "cum_min", "is_first_distinct", "is_last_distinct", "rle_id"}
)
"""Positional functions that add or compare values, which is not exact for floats."""


def sort(findings: Findings, one: Expression, context: Context) -> Value:
    """``x.sort()``: in a total order, since equal values of exact types are the same."""
    findings.value(one.children[0], context)
    if is_float(one.type):
        findings.refuse(
            "sort()",
            "of floats: 0.0 and -0.0 are equal, and either may come first",
            ZEROS,
            "sort() of an exact value",
        )
    return Value(SEQUENCE)


def sort_by(findings: Findings, one: Expression, context: Context) -> Value:
    """``x.sort_by(…)``: the order must be total, or tied rows must have the same ``x``."""
    what, *orders = one.children
    findings.combined("sort_by()", one.children, context)
    if _has_ties(findings, "sort_by()", what, orders, context):
        named = [order.name for order in orders if order.kind == "column"]
        key = context.key() if len(named) == len(orders) else []
        instead = advice.DECIDE
        if key:
            orders_with_key = advice.sorted_by(named, key, sort_flags(one))
            code = f"{findings.shown(what, context)}.sort_by({orders_with_key})"
            # Sorted values alone are a list of a group's rows; first() makes the trial one value.
            if findings.suggested([f"{code}.first()"], context, "", what):
                instead = code
        findings.refuse_ties("sort_by()", instead)
    return Value(SEQUENCE)


def _has_ties(
    findings: Findings,
    name: str,
    what: Expression,
    orders: Sequence[Expression],
    context: Context,
) -> bool:
    """Whether rows that are equal by ``orders`` can differ in ``what``; refuses floats itself."""
    if any(is_float(order.type) for order in orders):
        findings.refuse(name, "by a float", ZEROS, f"{name} of an exact value")
        return False
    return not context.is_total([_unfiltered(order) for order in orders], what)


def _unfiltered(order: Expression) -> Expression:
    """What is sorted by, without its filter: a key stays a key of the rows that are left."""
    return _unfiltered(order.children[0]) if order.kind == "filter" else order


def sort_flags(one: Expression) -> dict[str, tuple[bool, ...]]:
    """``descending`` and ``nulls_last`` of a sort."""
    return dict(zip(("descending", "nulls_last"), one.options, strict=False))


def slice_(findings: Findings, one: Expression, context: Context) -> Value:
    """``head``, ``tail`` and ``slice``."""
    what, *bounds = one.children
    value = findings.value(what, context)
    # A computed number could come from any row, or from an inexact value.
    if any(bound.kind != "literal" for bound in bounds):
        findings.refuse("slice()", "the number of rows is computed", "", "a number")
    return findings.require_order("head(), tail(), slice()", value, context, one)


def gather(findings: Findings, one: Expression, context: Context) -> Value:
    """``x.get(n)``, and ``x.get(y.arg_max())``, which picks as ``max_by`` does."""
    what, place = one.children
    value = findings.value(what, context)
    if place.name in {"arg_max", "arg_min"} and place.children:
        candidates = advice.picked(
            findings.shown(what, context),
            place.children[0],
            context.key(),
            least=place.name == "arg_min",
        )
        instead = findings.suggested(candidates, context, advice.DECIDE, what)
        findings.refuse_ties(f"get({place.name}())", instead)
        return Value(ONE)
    if place.kind != "literal" or place.name == "series":
        instead = "get() of a number over a total order"
        return findings.refuse("gather()", "the position is computed", "", instead)
    findings.require_order("get()", value, context, one)
    return Value(ONE)


def explode(findings: Findings, one: Expression, context: Context) -> Value:
    """``x.explode()``: the items have the order of the rows."""
    value = findings.value(one.children[0], context)
    return Value(SEQUENCE if context.in_order(value) else BAG)


def pick(findings: Findings, one: Expression, context: Context) -> Value:
    """``x.max_by(y)`` and ``x.min_by(y)``."""
    findings.combined(f"{one.name}()", one.children, context)
    what, by = one.children[:2]
    if _has_ties(findings, f"{one.name}()", what, one.children[1:], context):
        candidates = advice.picked(
            findings.shown(what, context), by, context.key(), least=one.name == "min_by"
        )
        instead = findings.suggested(candidates, context, advice.DECIDE, what)
        findings.refuse_ties(f"{one.name}()", instead)
    return Value(ONE)


def positional(findings: Findings, one: Expression, context: Context) -> Value:
    """Functions that give a row a value that depends on the rows before it, such as ``shift``."""
    name = one.name
    if name != "int_range":
        value = findings.value(one.children[0], context)
        if any(argument.kind != "literal" for argument in one.children[1:]):
            findings.refuse(f"{name}()", "an argument is computed", "", "a constant")
    elif counts_rows(one):
        value = Value(ALIGNED)
    else:
        return findings.refuse(
            "int_range()",
            "numbers that are not those of the rows",
            "",
            "int_range(pl.len()) over a total order",
        )
    if name in _COMPARING and is_float(one.children[0].type):
        findings.refuse_float(name)
    elif name == "cum_sum" and one.children[0].type["id"] not in {"Int128", "Decimal"}:
        findings.refuse_overflow(name, one.children[0], context)
    elif name == "diff" and is_float(one.children[0].type):
        findings.refuse("diff()", "of a float", "", "x - x.shift(1)")
    findings.require_order(f"{name}()", value, context, one)
    return Value(SEQUENCE) if name == "reverse" or value.state == SEQUENCE else value


def whole_column(findings: Findings, one: Expression, context: Context) -> Value:
    """Functions that give a row a value that depends on all rows, in any order: ``rank``."""
    value = findings.value(one.children[0], context)
    if is_float(one.children[0].type):
        findings.refuse_float(one.name)
    if one.name == "rank" and one.options[0] not in _RANKS:
        method = one.options[0]
        why = f"{method}: of equal values by the order of rows, or by a float"
        instead = 'rank("min"), rank("max") or rank("dense"): decide what equal values get'
        if method == "average":
            shown = findings.shown(one.children[0], context)
            instead = f'({shown}.rank("min") + {shown}.rank("max")) / 2'
        findings.refuse(
            "rank()", "random" if method == "random" else why, "two rows of one value", instead
        )
    return value


def unordered(findings: Findings, one: Expression, context: Context) -> Value:
    """Functions that return several values in no particular order, such as ``unique``."""
    value = findings.value(one.children[0], context)
    if one.name == "drop_nulls":
        return Value(SEQUENCE if context.in_order(value) else BAG)
    if is_float(one.children[0].type):
        findings.refuse_float(one.name)
    if any(argument.kind != "literal" for argument in one.children[1:]):
        findings.refuse(f"{one.name}()", "the number of rows is computed", "", "a number")
    return Value(BAG)
