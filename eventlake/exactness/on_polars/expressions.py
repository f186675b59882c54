"""Expressions of Polars over rows of a known shape: what they return, and what is not exact.

An expression returns one value, one value per row, or several values in an order that is total or
not. Values may be combined only if they belong to the same rows.
"""

from collections.abc import Callable
from dataclasses import replace

from eventlake.exactness.on_polars import aggregates, ordering
from eventlake.exactness.on_polars import functions as known
from eventlake.exactness.on_polars.conditions import narrowed
from eventlake.exactness.on_polars.context import ALIGNED, ONE, Context, Value
from eventlake.exactness.on_polars.findings import Findings
from eventlake.exactness.on_polars.json import READERS, check_json
from eventlake.exactness.on_polars.nodes import UNKNOWN, Expression, all_float, unknown_type
from eventlake.exactness.rows import is_float

_PARSED = frozenset({"Date", "Datetime", "Time"})
Rule = Callable[[Findings, Expression, Context], Value]


class Checker(Findings):
    """Check expressions by the rule of their kind."""

    def value(self, one: Expression, context: Context) -> Value:
        """What an expression returns; notes what is not exact in it."""
        unlisted = unknown_type(one.type) if one.kind != UNKNOWN else None
        if unlisted is not None:
            instead = "it cast to String or Enum" if unlisted == "Categorical" else ""
            return self.refuse(unlisted, "a type that is not known to be exact", "", instead)
        rule = _RULES.get(one.kind)
        if rule is None:
            return self.refuse(
                one.name if one.kind == UNKNOWN else one.kind,
                "an expression that is not known to be exact",
                "",
                'what docs/reference/exact-functions.md lists, or level="fixed"',
            )
        return rule(self, one, context)


# Row by row


def _column(findings: Findings, one: Expression, context: Context) -> Value:
    if one.name in context.names:
        return Value(ALIGNED)
    return findings.refuse(one.name, "a column that is not understood")


def _literal(findings: Findings, one: Expression, _: Context) -> Value:
    if one.name == "series":
        return findings.refuse(
            "a Series",
            "values from elsewhere than the history and the spine",
            "",
            "a list of constants, or the spine",
        )
    return Value(ONE)


def _binary(findings: Findings, one: Expression, context: Context) -> Value:
    floats = any(is_float(child.type) for child in one.children)
    if one.name not in known.OPERATORS:
        findings.refuse(one.name, "an operator that is not known to be exact")
    elif floats and one.name not in known.FLOAT_OPERATORS:
        findings.refuse(one.name, "of a float", "", "it over an exact value")
    return findings.combined(one.name, one.children, context)


def _cast(findings: Findings, one: Expression, context: Context) -> Value:
    source, target = one.children[0].type, one.type
    if is_float(source) and not all_float(target) and one.children[0].kind != "literal":
        findings.refuse(
            "cast()",
            f"a float becomes {target['id']}: how it is rounded depends on the engine, and later"
            " steps would treat the result as exact",
            "0.125 to two digits",
            "Decimal from the beginning, and floats in the last step alone",
        )
    if source["id"] == "String" and target["id"] in _PARSED:
        findings.refuse(
            "cast()",
            "text becomes a time in a format that is guessed from the first row",
            "01/02 and 13/02",
            'str.to_date("%Y-%m-%d"), or str.to_datetime with a format',
        )
    return findings.combined("cast()", one.children, context)


def _ternary(findings: Findings, one: Expression, context: Context) -> Value:
    condition, then, otherwise = one.children
    # A condition on the event type protects its branch: JSON of other events is not read there.
    chosen = replace(context, rows=narrowed(context.rows, context.names, [condition]))
    values = [
        findings.value(condition, context),
        findings.value(then, chosen),
        findings.value(otherwise, context),
    ]
    return findings.combined_values("when()", values)


def _filter(findings: Findings, one: Expression, context: Context) -> Value:
    what, condition = one.children
    value, by = findings.value(what, context), findings.value(condition, context)
    if by.state in {ONE, ALIGNED}:
        same_rows = by.state == ONE or by.filters == value.filters
        if value.state == ALIGNED and same_rows:
            return Value(ALIGNED, (*value.filters, condition))
        if value.state == ONE:
            # A single value is repeated for the rows of the condition, of which the filter keeps
            # some.
            return Value(ALIGNED, (*by.filters, condition))
    return findings.refuse(
        "filter()",
        "a condition that does not belong to the rows of the values",
        "",
        "filter() before sort_by() or unique()",
    )


# Functions by name


def _function(findings: Findings, one: Expression, context: Context) -> Value:
    name = one.name
    if name in known.AGGREGATES | known.COUNTING | known.ORDERED:
        return aggregates.aggregate(findings, one, context)
    for names, rule in _RULES_BY_FUNCTION:
        if name in names:
            return rule(findings, one, context)
    # A power of integers is exact; the maths library computes every other one.
    integer_power = name == "pow" and not any(is_float(part.type) for part in (one, *one.children))
    if not integer_power:
        if name not in known.SCALARS | known.FLOAT_STEPS | known.CARRIERS:
            return _unlisted(findings, one, context)
        floats = any(is_float(child.type) for child in one.children)
        if floats and name not in known.FLOAT_STEPS | known.CARRIERS:
            findings.refuse(f"{name}()", "of a float", "", "it over an exact value")
        elif name == "str.strptime" and one.options[:1] == (None,):
            findings.refuse(
                "str.to_date()",
                "a format that is guessed from the first row",
                "01/02 and 13/02",
                "the format",
            )
    if name in READERS:
        _note_json(findings, one, context)
    children = one.children
    if name == "is_in" and children[1].name == "implode" and children[1].kind == "aggregate":
        # Polars collects the column into a list first, whose order does not matter here.
        findings.value(children[1].children[0], context)
        children = children[:1]
    return findings.combined(f"{name}()", children, context)


def _unlisted(findings: Findings, one: Expression, context: Context) -> Value:
    refusal = known.refused(one.name)
    if one.name == "sum_horizontal":
        terms = [f"{findings.shown(child, context)}.fill_null(0)" for child in one.children]
        instead = findings.suggested([" + ".join(terms)], context, refusal.instead)
        refusal = replace(refusal, instead=instead)
    findings.refusals.append(refusal)
    for child in one.children:
        findings.value(child, context)
    return Value(ONE)  # combines with anything, so that it is refused once


def _note_json(findings: Findings, one: Expression, context: Context) -> None:
    payloads = [context.rows.payloads.get(place) for place in context.places(one.children[:1])]
    refusals, reads = check_json(one, payloads[0] if payloads else None)
    findings.refusals += refusals
    findings.reads |= reads


_RULES_BY_FUNCTION: tuple[tuple[frozenset[str], Rule], ...] = (
    (known.PICKING, ordering.pick),
    (known.POSITIONAL, ordering.positional),
    (known.WHOLE, ordering.whole_column),
    (known.UNORDERED, ordering.unordered),
)
_RULES: dict[str, Rule] = {
    "aggregate": aggregates.aggregate,
    "binary": _binary,
    "cast": _cast,
    "column": _column,
    "explode": ordering.explode,
    "filter": _filter,
    "function": _function,
    "gather": ordering.gather,
    "len": lambda _, __, ___: Value(ONE),
    "literal": _literal,
    "slice": ordering.slice_,
    "sort": ordering.sort,
    "sort_by": ordering.sort_by,
    "ternary": _ternary,
    "window": aggregates.window,
}
"""By the kind of an expression."""
