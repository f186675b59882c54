"""Expressions of Polars over rows of which something is known: what comes out, and what of it is left to luck.

An expression gives one value, or one for every row, or several in an order that means something or
nothing. Values stand side by side only where they belong to the same rows.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from eventlake.exactness.on_duckdb.json_text import Read
from eventlake.exactness.on_polars import advice
from eventlake.exactness.on_polars import functions as known
from eventlake.exactness.on_polars.json import READERS, check_json
from eventlake.exactness.on_polars.nodes import (
    UNKNOWN,
    Expression,
    Named,
    all_float,
    counts_rows,
    names_in,
    strange,
    within,
)
from eventlake.exactness.on_polars.source import source
from eventlake.exactness.refusals import TIES, Refusal
from eventlake.exactness.rows import Rows, is_float

ONE, ALIGNED, SEQUENCE, BAG = (
    "one value",
    "a value a row",
    "values in a total order",
    "values in no order",
)
_ZEROS = "0.0 and -0.0"
_NARROW = frozenset({"Boolean", "Int8", "Int16", "UInt8", "UInt16", "Int128", "Decimal", "Null"})
"""Sums of these are widened by Polars, or as wide as there is."""
_WIDE = frozenset({"UInt64", "UInt32", "Int32"})
"""Integers whose sums Polars gives the same type."""
_RANKS = frozenset({"min", "max", "dense"})
_INTERPOLATIONS = frozenset({"nearest", "lower", "higher", "equiprobable"})
_FEWER = frozenset({"explode", "filter", "slice"})
"""Expressions that give another number of values than there are rows."""
_PARSED = frozenset({"Date", "Datetime", "Time"})


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression gives.

    Attributes:
        state: ``ONE``, ``ALIGNED``, ``SEQUENCE`` or ``BAG``.
        rows: Of aligned values the conditions that their rows were filtered by.
    """

    state: str
    rows: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """The rows that expressions are over.

    Attributes:
        names: Of the columns.
        rows: What is known of them.
        ordered: Whether they come in a total order.
        by: Columns in which all rows of a group agree.
        grouped: Whether the expressions are over groups, or inside of a window.
        sorted_by: What the rows come sorted by, whether that is total or not.
        flags: ``descending`` and ``nulls_last`` of these.
        window: Of expressions inside of a window the whole of it.
    """

    names: tuple[str, ...]
    rows: Rows
    ordered: bool
    by: frozenset[int] = frozenset()
    grouped: bool = False
    sorted_by: tuple[str, ...] = ()
    flags: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)
    window: Expression | None = None

    def key(self) -> list[str]:
        """Columns that tell the rows of a group apart."""
        return advice.key_of(self.names, self.rows, self.by)

    def places(self, expressions: Iterable[Expression]) -> set[int]:
        """The columns among ``expressions``, and those in structs of columns."""
        found: set[int] = set()
        for one in expressions:
            if one.kind == "column" and one.name in self.names:
                found.add(self.names.index(one.name))
            elif one.name == "as_struct":
                found |= self.places(one.children)
        return found

    def is_total(self, orders: Iterable[Expression], what: Expression | None = None) -> bool:
        """Whether rows of a group that are equal by ``orders`` are one row, or give ``what`` the same value; None for the whole row."""
        # What depends on where a row stands is not the same for rows that have the same values.
        placed = what is None or any(
            one.name in known.POSITIONAL or one.kind == "explode" for one in within(what)
        )
        read = self.names if what is None or placed else names_in(what)
        chosen = self.places(orders) | self.by
        if placed and what is not None:
            return self.rows.tells_apart(chosen)
        return self.rows.are_told_by(
            chosen, {self.names.index(name) for name in read if name in self.names}
        )


class Checker:
    """Notes what is not exact in the expressions of one plan.

    Attributes:
        refusals: What was found.
        reads: What is read of the JSON of events.
    """

    def __init__(self, trial: advice.Trial | None = None) -> None:
        """``trial``: tries what is suggested."""
        self._trial = trial
        self.refusals: list[Refusal] = []
        self.reads: set[Read] = set()

    def refuse(self, what: str, why: str, example: str = "", instead: str = "") -> Value:
        """Notes a reason; what follows is judged as if it were not there."""
        self.refusals.append(Refusal(what, why, example, instead))
        return Value(ALIGNED)

    def shown(self, one: Expression, context: Context) -> str:
        """An expression as one writes it; three dots for one of which that is not known."""
        text = source(one)
        known = text is not None and (
            one.kind == "column" or self._trial is None or self._trial.gives(text, one, context)
        )
        return text if text is not None and known else "…"

    def suggested(
        self,
        candidates: Iterable[str],
        context: Context,
        otherwise: str,
        what: Expression | None = None,
    ) -> str:
        """The first of some suggestions that is exact; if there is none, what is to be decided.

        Args:
            candidates: Python, of an expression or of a method of the frame.
            context: What it is over.
            otherwise: What is said if none works.
            what: What three dots in a suggestion stand for.
        """
        kind = None if what is None else what.type
        return next(
            (
                one
                for one in candidates
                if self._trial is None or self._trial.tries(one, context, kind)
            ),
            otherwise,
        )

    def keys(self, what: str, expressions: Sequence[Named], context: Context) -> None:
        """Checks what rows are grouped, sorted or joined by: a value a row, of exact types."""
        for _, one in expressions:
            self.aligned(what, one, context)
            if is_float(one.type):
                self.refuse(
                    what,
                    f"by a float, of which two values can be equal and not the same: {_ZEROS}",
                    _ZEROS,
                    "it over a Decimal",
                )

    def aligned(self, what: str, one: Expression, context: Context) -> Value:
        """Checks an expression whose values must stand beside the rows that it is over."""
        value = self.value(one, context)
        if value.state not in {ONE, ALIGNED} or value.rows:
            self.refuse(
                what,
                "values that do not belong to the rows beside which they are put",
                "",
                "a join, or a step of its own",
            )
        return value

    def value(self, one: Expression, context: Context) -> Value:
        """What an expression gives; what is not exact about it is noted."""
        odd = strange(one.type) if one.kind != UNKNOWN else None
        if odd is not None:
            return self.refuse(
                odd,
                "a type that is not known to be exact",
                "",
                "it cast to String or Enum" if odd == "Categorical" else "",
            )
        rule = getattr(self, f"_{one.kind}", None)
        if rule is None or one.kind == UNKNOWN:
            name = one.name if one.kind == UNKNOWN else one.kind
            return self.refuse(
                name,
                "an expression that is not known to be exact",
                "",
                'what docs/reference/exact-functions.md lists, or level="fixed"',
            )
        made: Value = rule(one, context)
        return made

    # Leaves

    def _column(self, one: Expression, context: Context) -> Value:
        return (
            Value(ALIGNED)
            if one.name in context.names
            else self.refuse(one.name, "a column that is not understood")
        )

    def _literal(self, one: Expression, _: Context) -> Value:
        if one.name == "series":
            return self.refuse(
                "a Series",
                "values from elsewhere than the history and the spine",
                "",
                "a list of constants, or the spine",
            )
        return Value(ONE)

    def _len(self, _: Expression, __: Context) -> Value:
        return Value(ONE)

    # One value after the other

    def _beside(self, what: str, children: Sequence[Expression], context: Context) -> Value:
        return self._side_by_side(what, [self.value(child, context) for child in children])

    def _side_by_side(self, what: str, values: Sequence[Value]) -> Value:
        several = [value for value in values if value.state != ONE]
        if not several:
            return Value(ONE)
        if len(several) == 1 or all(
            value == several[0] and value.state == ALIGNED for value in several
        ):
            return several[0]
        return self.refuse(
            what,
            "of values that do not belong to the same rows",
            "",
            "values filtered by one condition, or a step before",
        )

    def _binary(self, one: Expression, context: Context) -> Value:
        if one.name not in known.OPERATORS:
            self.refuse(one.name, "an operator that is not known to be exact")
        elif (
            any(is_float(child.type) for child in one.children)
            and one.name not in known.FLOAT_OPERATORS
        ):
            self.refuse(one.name, "of a float", "", "it over an exact value")
        return self._beside(one.name, one.children, context)

    def _cast(self, one: Expression, context: Context) -> Value:
        given, target = one.children[0].type, one.type
        if is_float(given) and not all_float(target) and one.children[0].kind != "literal":
            why = f"a float becomes {target['id']}: how it is rounded is the engine's affair, and what follows would count as exact"
            self.refuse(
                "cast()",
                why,
                "0.125 to two digits",
                "Decimal from the beginning, and floats in the last step alone",
            )
        if given["id"] == "String" and target["id"] in _PARSED:
            why = "text becomes a time in a format that is guessed from the first row"
            self.refuse(
                "cast()",
                why,
                "01/02 and 13/02",
                'str.to_date("%Y-%m-%d"), or str.to_datetime with a format',
            )
        return self._beside("cast()", one.children, context)

    def _ternary(self, one: Expression, context: Context) -> Value:
        condition, then, otherwise = one.children
        # What is chosen by the type of the event says nothing of other events.
        chosen = replace(context, rows=among(context.rows, context.names, [condition]))
        values = [
            self.value(condition, context),
            self.value(then, chosen),
            self.value(otherwise, context),
        ]
        return self._side_by_side("when()", values)

    def _explode(self, one: Expression, context: Context) -> Value:
        value = self.value(one.children[0], context)
        return Value(SEQUENCE if self._in_order(value, context) else BAG)

    def _filter(self, one: Expression, context: Context) -> Value:
        what, condition = one.children
        value, by = self.value(what, context), self.value(condition, context)
        if (
            value.state == ALIGNED
            and by.state in {ONE, ALIGNED}
            and (by.state == ONE or by.rows == value.rows)
        ):
            return Value(ALIGNED, (*value.rows, condition))
        if value.state == ONE and by.state in {ONE, ALIGNED}:
            return Value(ALIGNED, (*by.rows, condition))
        return self.refuse(
            "filter()",
            "a condition that does not belong to the rows of the values",
            "",
            "filter() before sort_by() or unique()",
        )

    # Order

    @staticmethod
    def _in_order(value: Value, context: Context) -> bool:
        return value.state in {ONE, SEQUENCE} or (value.state == ALIGNED and context.ordered)

    def _sort(self, one: Expression, context: Context) -> Value:
        self.value(one.children[0], context)
        if is_float(one.type):
            self.refuse(
                "sort()",
                "of floats: 0.0 and -0.0 are equal, and either may come first",
                _ZEROS,
                "sort() of an exact value",
            )
        return Value(SEQUENCE)

    def _sort_by(self, one: Expression, context: Context) -> Value:
        what, *orders = one.children
        self._beside("sort_by()", one.children, context)
        named = [order.name for order in orders if order.kind == "column"]
        key = context.key() if len(named) == len(orders) else []
        if self._is_luck("sort_by()", what, orders, context):
            written = (
                [
                    f"{self.shown(what, context)}.sort_by({advice.sorted_by(named, key, _flags(one))})"
                ]
                if key
                else []
            )
            instead = next(
                (
                    code
                    for code in written
                    if self.suggested([f"{code}.first()"], context, "", what)
                ),
                advice.DECIDE,
            )
            self._ties("sort_by()", instead)
        return Value(SEQUENCE)

    def _is_luck(
        self, name: str, what: Expression, orders: Sequence[Expression], context: Context
    ) -> bool:
        """Whether some rows are equal by ``orders`` and not in ``what``; floats are refused."""
        if any(is_float(order.type) for order in orders):
            self.refuse(name, "by a float", _ZEROS, f"{name} of an exact value")
            return False
        return not context.is_total([_bare(order) for order in orders], what)

    def _ties(self, name: str, instead: str) -> None:
        why = f"by what two rows can have in common: {TIES}"
        self.refuse(name, why, "two rows of one time, 1 and 2: either of them", instead)

    def _slice(self, one: Expression, context: Context) -> Value:
        what, *bounds = one.children
        value = self.value(what, context)
        if any(bound.kind != "literal" for bound in bounds):
            self.refuse("slice()", "a number of rows that is computed", "", "a number")
        return self._placed("head(), tail(), slice()", value, context, one)

    def _gather(self, one: Expression, context: Context) -> Value:
        what, place = one.children
        value = self.value(what, context)
        if place.name in {"arg_max", "arg_min"} and place.children:
            codes = advice.picked(
                self.shown(what, context),
                place.children[0],
                context.key(),
                least=place.name == "arg_min",
            )
            self._ties(f"get({place.name}())", self.suggested(codes, context, advice.DECIDE, what))
            return Value(ONE)
        if place.kind != "literal" or place.name == "series":
            return self.refuse(
                "gather()", "a place that is computed", "", "get() of a number over a total order"
            )
        self._placed("get()", value, context, one)
        return Value(ONE)

    def _placed(self, name: str, value: Value, context: Context, one: Expression) -> Value:
        """Notes a call that depends on where rows stand, if they stand in no order."""
        if not self._in_order(value, context):
            self.refuse(
                name,
                f"in no total order: {TIES}",
                "two rows, 1 and 2: either of them first",
                self._in_place(one, context),
            )
        return Value(SEQUENCE)

    def _in_place(self, one: Expression, context: Context) -> str:
        """What to write in place of a call that depends on where rows stand."""
        key = context.key()
        orders = advice.sorted_by(context.sorted_by, key, context.flags)
        if not key:
            return advice.DECIDE
        if context.window is not None:
            several = set(context.sorted_by) | set(key) != set(key[:1])
            order = f"order_by={f'pl.struct({orders})' if several else orders}"
            inside, *rest = context.window.children
            partitions = rest[1:] if context.window.options[1] else rest
            whole = f"{self.shown(inside, context)}.over({', '.join(self.shown(part, context) for part in partitions)}, {order})"
            fits = self.suggested(
                [whole.replace("(, ", "(")],
                replace(context, by=frozenset(), grouped=False),
                "",
                inside,
            )
            return f"over(…, {order})" if fits else advice.DECIDE
        if context.grouped and not context.sorted_by:
            return self.suggested(
                self._sorted_first(one, orders, context), context, advice.DECIDE, one.children[0]
            )
        return (
            f"sort({orders}) of the frame right before"
            if self.suggested([f"sort({orders})"], context, "")
            else advice.DECIDE
        )

    def _sorted_first(self, one: Expression, orders: str, context: Context) -> Iterator[str]:
        """A call over values in an order, made of what it is over and what comes after it."""
        what = one.children[0]
        over, whole = source(what) or "", source(one) or ""
        called = whole.removeprefix(over) if over and whole.startswith(over) else f".{one.name}()"
        shown = self.shown(what, context)
        if not any(
            part.kind in _FEWER or part.name in known.LOOSE | {"unique_stable"}
            for part in within(what)
        ):
            yield f"{shown}.sort_by({orders}){called}"
        if what.name == "drop_nulls":
            yield f"{self.shown(what.children[0], context)}.sort_by({orders}).drop_nulls(){called}"
        if what.kind == "filter":
            kept = f".filter({self.shown(what.children[1], context)})"
            by = ", ".join(f"pl.col({json.dumps(name)}){kept}" for name in context.key())
            yield f"{self.shown(what.children[0], context)}{kept}.sort_by({by}){called}"
        if what.name == "unique" and not any(what.options):
            yield f"{shown}.sort(){called}"

    # Several rows

    def _aggregate(self, one: Expression, context: Context) -> Value:
        name, what = one.name, one.children[0]
        value = self.value(what, context)
        if name in known.ORDERED:
            self._placed(f"{name}()", value, context, one)
        elif name in known.COUNTING:
            pass
        elif name == "item":
            pass  # one row, or an error
        elif name not in known.AGGREGATES:
            self.refusals.append(self._quotient(one, context))
        elif is_float(what.type):
            self._of_floats(name)
        elif name == "sum" and what.type["id"] not in _NARROW | {UNKNOWN}:
            self._wraps("sum", what, context)
        elif name == "quantile" and not _INTERPOLATIONS & set(one.options):
            self.refuse(
                "quantile()",
                "between two values by a float",
                "",
                'interpolation="lower" and "higher", and what lies between them when read',
            )
        for rest in one.children[1:]:
            if rest.kind != "literal":
                self.refuse(f"{name}()", "an argument that is computed", "", "a number")
        return Value(ONE)

    def _quotient(self, one: Expression, context: Context) -> Refusal:
        """Why an aggregate that divides is refused, with a quotient that is exact."""
        told, what = known.refused(one.name), one.children[0]
        shown = self.shown(what, context)
        code = advice.mean(what, shown) if one.name == "mean" else ""
        if one.name in {"std", "var"} and one.options[0] in {0, 1}:
            code = advice.spread(what, shown, less=one.options[0], root=one.name == "std")
        if code.startswith(("pl.", shown)):
            code = self.suggested([code], context, told.instead, what)
        return replace(told, instead=code or told.instead)

    def _wraps(self, name: str, what: Expression, context: Context) -> None:
        kind = what.type["id"]
        why = f"of {kind}: what does not fit wraps around, and Polars says nothing"
        instead = f"{self.shown(what, context)}.cast(pl.Int128).{name}().cast(pl.{kind if kind in _WIDE else 'Int64'})"
        self.refuse(f"{name}()", why, "2**62 and 2**62: a negative number", instead)

    def _of_floats(self, name: str) -> None:
        if name == "sum":
            why = "of a float: a + b + c depends on which two are added first, and threads decide that"
            self.refuse(
                "sum()",
                why,
                "0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1",
                "sum() of a Decimal: keep money and measures as such",
            )
        else:
            self.refuse(
                f"{name}()",
                "of a float: 0.0 and -0.0 are equal, and either may come out",
                _ZEROS,
                f"{name}() of a Decimal",
            )

    def _window(self, one: Expression, context: Context) -> Value:
        inside, *rest = one.children
        order, partitions = (rest[0], rest[1:]) if one.options[1] else (None, rest)
        if context.grouped:
            return self.refuse(
                "over()", "a window inside of a group", "", "over() in a step before"
            )
        self.keys("over()", [("", part) for part in partitions], context)
        ordered = context.ordered
        by = frozenset(context.places(partitions))
        if order is not None and order.kind == UNKNOWN:
            self.refuse(
                order.name,
                "an order by several columns, which Polars does not show",
                "",
                "over(…, order_by=pl.struct(…)) of the same columns",
            )
            ordered = True
        elif order is not None:
            self.keys("over()", [("", order)], context)
            ordered = replace(context, by=by).is_total([order])
        given = (order.name,) if order is not None and order.kind == "column" else ()
        inner = replace(
            context, by=by, ordered=ordered, grouped=True, window=one, sorted_by=given, flags={}
        )
        value = self.value(inside, inner)
        if one.options[0] != "groups_to_rows" or value.state not in {ONE, ALIGNED} or value.rows:
            return self.refuse(
                "over()",
                "values that do not belong to the rows of the window",
                "",
                "one value a window, or one a row",
            )
        return Value(ALIGNED)

    # Functions by name

    def _function(self, one: Expression, context: Context) -> Value:
        name = one.name
        if name in known.AGGREGATES | known.COUNTING | known.ORDERED:
            return self._aggregate(one, context)
        for group, rule in (
            (known.PICKING, self._picking),
            (known.POSITIONAL, self._positional),
            (known.WHOLE, self._whole),
            (known.LOOSE, self._loose),
        ):
            if name in group:
                return rule(one, context)
        whole = name == "pow" and not any(is_float(kind.type) for kind in (one, *one.children))
        if not whole and name not in known.SCALARS | known.FLOAT_STEPS | known.CARRIERS:
            return self._not_known(one, context)
        if (
            not whole
            and any(is_float(child.type) for child in one.children)
            and name not in known.FLOAT_STEPS | known.CARRIERS
        ):
            self.refuse(f"{name}()", "of a float", "", "it over an exact value")
        elif name == "str.strptime" and one.options[:1] == (None,):
            self.refuse(
                "str.to_date()",
                "a format that is guessed from the first row",
                "01/02 and 13/02",
                "the format",
            )
        if name in READERS:
            self._json(one, context)
        children = one.children
        if name == "is_in" and children[1].name == "implode" and children[1].kind == "aggregate":
            # Polars makes a list of the column first; in which order does not matter here.
            self.value(children[1].children[0], context)
            children = children[:1]
        return self._beside(f"{name}()", children, context)

    def _not_known(self, one: Expression, context: Context) -> Value:
        told = known.refused(one.name)
        if one.name == "sum_horizontal":
            each = [f"{self.shown(child, context)}.fill_null(0)" for child in one.children]
            told = replace(told, instead=self.suggested([" + ".join(each)], context, told.instead))
        self.refusals.append(told)
        for child in one.children:
            self.value(child, context)
        return Value(ONE)  # what stands around it is judged as if it were not there

    def _json(self, one: Expression, context: Context) -> None:
        payloads = [context.rows.payloads.get(place) for place in context.places(one.children[:1])]
        refusals, reads = check_json(one, payloads[0] if payloads else None)
        self.refusals += refusals
        self.reads |= reads

    def _picking(self, one: Expression, context: Context) -> Value:
        self._beside(f"{one.name}()", one.children, context)
        what, by = one.children[:2]
        if self._is_luck(f"{one.name}()", what, one.children[1:], context):
            codes = advice.picked(
                self.shown(what, context), by, context.key(), least=one.name == "min_by"
            )
            self._ties(f"{one.name}()", self.suggested(codes, context, advice.DECIDE, what))
        return Value(ONE)

    def _positional(self, one: Expression, context: Context) -> Value:
        name, what = one.name, one.children[0]
        if name == "int_range":
            if not counts_rows(one):
                return self.refuse(
                    "int_range()",
                    "numbers that are not those of the rows",
                    "",
                    "int_range(pl.len()) over a total order",
                )
            value = Value(ALIGNED)
        else:
            value = self.value(what, context)
        for rest in one.children[1:]:
            if name != "int_range" and rest.kind != "literal":
                self.refuse(f"{name}()", "an argument that is computed", "", "a constant")
        if name in {
            "cum_sum",
            "cum_max",
            "cum_min",
            "is_first_distinct",
            "is_last_distinct",
            "rle_id",
        } and is_float(what.type):
            self._of_floats(name)
        elif name == "cum_sum" and what.type["id"] not in {"Int128", "Decimal"}:
            self._wraps(name, what, context)
        elif name == "diff" and is_float(what.type):
            self.refuse("diff()", "of a float", "", "x - x.shift(1)")
        self._placed(f"{name}()", value, context, one)
        return Value(SEQUENCE) if name == "reverse" or value.state == SEQUENCE else value

    def _whole(self, one: Expression, context: Context) -> Value:
        value = self.value(one.children[0], context)
        if is_float(one.children[0].type):
            self._of_floats(one.name)
        if one.name == "rank" and one.options[0] not in _RANKS:
            why = (
                "random"
                if one.options[0] == "random"
                else f"{one.options[0]}: of equal values by the order of rows, or by a float"
            )
            shown = self.shown(one.children[0], context)
            average = f'({shown}.rank("min") + {shown}.rank("max")) / 2'
            instead = (
                average
                if one.options[0] == "average"
                else 'rank("min"), rank("max") or rank("dense"): decide what equal values get'
            )
            self.refuse("rank()", why, "two rows of one value", instead)
        return value

    def _loose(self, one: Expression, context: Context) -> Value:
        value = self.value(one.children[0], context)
        if one.name == "drop_nulls":
            return Value(SEQUENCE if self._in_order(value, context) else BAG)
        if is_float(one.children[0].type):
            self._of_floats(one.name)
        if any(rest.kind != "literal" for rest in one.children[1:]):
            self.refuse(f"{one.name}()", "a number of rows that is computed", "", "a number")
        return Value(BAG)


def _flags(one: Expression) -> dict[str, tuple[bool, ...]]:
    """How an expression sorts."""
    return dict(zip(("descending", "nulls_last"), one.options, strict=False))


def anded(condition: Expression) -> list[Expression]:
    """The conditions that must all hold."""
    if condition.kind == "binary" and condition.name in {"and", "&"}:
        return [part for child in condition.children for part in anded(child)]
    return [condition]


def among(rows: Rows, names: Sequence[str], conditions: Iterable[Expression]) -> Rows:
    """Those of the rows for which the conditions hold: of events of fewer types, perhaps."""
    for part in [part for one in conditions for part in anded(one)]:
        found = _texts_of(part)
        if found is not None and found[0] in names:
            rows = rows.among(names.index(found[0]), found[1])
    return rows


def _texts_of(condition: Expression) -> tuple[str, frozenset[str]] | None:
    """The column, and the texts that it must be one of for a condition to hold; None if a condition says something else."""
    if condition.kind == "binary" and condition.name in {"==", "eq_missing"}:
        texts: Iterable[Expression] = condition.children
    elif condition.kind == "function" and condition.name == "is_in":
        texts = condition.children[:2]
    elif condition.kind == "binary" and condition.name in {"or", "|"}:
        found = [_texts_of(one) for one in condition.children]
        columns = {one[0] for one in found if one is not None}
        known = [one[1] for one in found if one is not None]
        return (
            (columns.pop(), frozenset().union(*known))
            if len(columns) == 1 and len(known) == len(found)
            else None
        )
    else:
        return None
    columns = {one.name for one in texts if one.kind == "column"}
    values = [value for one in texts if one.kind == "literal" for value in _flat(one.options[:1])]
    known_texts = frozenset(value for value in values if isinstance(value, str))
    return (
        (columns.pop(), known_texts)
        if len(columns) == 1 and known_texts and len(known_texts) == len(set(values))
        else None
    )


def _flat(values: Iterable[object]) -> Iterable[object]:
    for one in values:
        if isinstance(one, tuple | list):
            yield from _flat(one)
        else:
            yield one


def _bare(order: Expression) -> Expression:
    """What is sorted by, without a filter: of the rows that are left two are still one where the column tells them apart."""
    return _bare(order.children[0]) if order.kind == "filter" else order
