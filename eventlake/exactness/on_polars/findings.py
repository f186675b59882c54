"""What a check of expressions finds: refusals, with suggestions made of the user's expressions."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from eventlake.exactness.on_duckdb.json_text import Read
from eventlake.exactness.on_polars import advice
from eventlake.exactness.on_polars import functions as known
from eventlake.exactness.on_polars.context import ALIGNED, ONE, SEQUENCE, Context, Value
from eventlake.exactness.on_polars.nodes import Expression, Named, subexpressions
from eventlake.exactness.on_polars.source import source
from eventlake.exactness.refusals import ADDITION, ADDITION_EXAMPLE, TIES, ZEROS, Refusal
from eventlake.exactness.rows import is_float

OTHER_LENGTH = frozenset({"explode", "filter", "slice"})
"""Expressions that return another number of values than there are rows."""
_WIDE = frozenset({"UInt64", "UInt32", "Int32"})
"""Integers whose sum has their own type in Polars; that of other ones is Int64."""


class Findings(ABC):
    """Collects what is not exact in the expressions of one plan.

    Attributes:
        refusals: What is not exact.
        reads: What is read of the JSON of events.
    """

    def __init__(self, trial: advice.Trial | None = None) -> None:
        """``trial`` tries the suggestions; without it, all of them are made."""
        self._trial = trial
        self.refusals: list[Refusal] = []
        self.reads: set[Read] = set()

    @abstractmethod
    def value(self, one: Expression, context: Context) -> Value:
        """What an expression returns; notes what is not exact in it."""

    def refuse(self, what: str, why: str, example: str = "", instead: str = "") -> Value:
        """Note a refusal; the expression then counts as exact, so that it is reported once."""
        self.refusals.append(Refusal(what, why, example, instead))
        return Value(ALIGNED)

    def refuse_ties(self, name: str, instead: str) -> None:
        """Note an order that is not total."""
        self.refuse(
            name,
            f"by a value that two rows can share: {TIES}",
            "two rows of one time, 1 and 2: either of them",
            instead,
        )

    def refuse_float(self, name: str) -> None:
        """Note an aggregate of floats."""
        why, example = "of a float: 0.0 and -0.0 are equal, and either may be the result", ZEROS
        instead = f"{name}() of a Decimal"
        if name == "sum":
            why, example = f"of a float: {ADDITION}", ADDITION_EXAMPLE
            instead = "sum() of a Decimal: keep money and measures as such"
        self.refuse(f"{name}()", why, example, instead)

    def refuse_overflow(self, name: str, what: Expression, context: Context) -> None:
        """Note a sum of integers, which Polars lets overflow silently."""
        kind = what.type["id"]
        result = kind if kind in _WIDE else "Int64"
        shown = self.shown(what, context)
        self.refuse(
            f"{name}()",
            f"of {kind}: a sum that does not fit wraps around without an error",
            "2**62 and 2**62: a negative number",
            f"{shown}.cast(pl.Int128).{name}().cast(pl.{result})",
        )

    # Checks that several rules share

    def keys(self, what: str, expressions: Sequence[Named], context: Context) -> None:
        """Check what rows are grouped, sorted or joined by: one value per row, of exact types."""
        for _, one in expressions:
            self.aligned(what, one, context)
            if is_float(one.type):
                self.refuse(
                    what,
                    f"by a float, of which two values can be equal and still differ: {ZEROS}",
                    ZEROS,
                    "it over a Decimal",
                )

    def aligned(self, what: str, one: Expression, context: Context) -> Value:
        """Check an expression whose values become a column beside the rows of its context."""
        value = self.value(one, context)
        if value.state not in {ONE, ALIGNED} or value.filters:
            self.refuse(
                what,
                "values that do not belong to the rows beside which they are put",
                "",
                "a join, or a step of its own",
            )
        return value

    def combined(self, what: str, children: Sequence[Expression], context: Context) -> Value:
        """What an element-wise function of ``children`` returns."""
        return self.combined_values(what, [self.value(child, context) for child in children])

    def combined_values(self, what: str, values: Sequence[Value]) -> Value:
        """What an element-wise function of values returns; they must belong to the same rows."""
        several = [value for value in values if value.state != ONE]
        if not several:
            return Value(ONE)
        # Equal values have the same filters, so they belong to the same rows.
        same_rows = all(value == several[0] and value.state == ALIGNED for value in several)
        if len(several) == 1 or same_rows:
            return several[0]
        return self.refuse(
            what,
            "of values that do not belong to the same rows",
            "",
            "values filtered by one condition, or a step before",
        )

    def require_order(self, name: str, value: Value, context: Context, one: Expression) -> Value:
        """Check a call that depends on the position of rows: they must be in a total order."""
        if not context.in_order(value):
            self.refuse(
                name,
                f"in no total order: {TIES}",
                "two rows, 1 and 2: either of them first",
                self._ordered_call(one, context),
            )
        return Value(SEQUENCE)

    # Suggestions

    def shown(self, one: Expression, context: Context) -> str:
        """An expression as Python; an ellipsis if it cannot be written."""
        text = source(one)
        if text is None:
            return "…"
        # Code that is made from a plan is quoted only if Polars makes the same plan of it.
        if one.kind == "column" or self._trial is None or self._trial.gives(text, one, context):
            return text
        return "…"

    def suggested(
        self,
        candidates: Iterable[str],
        context: Context,
        otherwise: str,
        what: Expression | None = None,
    ) -> str:
        """The first candidate that runs and is exact.

        Args:
            candidates: Python of an expression, or of a frame's method.
            context: What the candidates are computed over.
            otherwise: The result if no candidate is exact.
            what: The expression that an ellipsis in a candidate stands for.
        """
        kind = None if what is None else what.type
        for code in candidates:
            if self._trial is None or self._trial.tries(code, context, kind):
                return code
        return otherwise

    def _ordered_call(self, one: Expression, context: Context) -> str:
        """What to write in place of a call over rows that are in no total order."""
        key = context.key()
        if not key:
            return advice.DECIDE
        orders = advice.sorted_by(context.sorted_by, key, context.flags)
        if context.window is not None:
            return self._ordered_window(context.window, key, orders, context)
        if context.grouped and not context.sorted_by:
            candidates = self._sorted_values(one, orders, context)
            return self.suggested(candidates, context, advice.DECIDE, one.children[0])
        if self.suggested([f"sort({orders})"], context, ""):
            return f"sort({orders}) of the frame right before"
        return advice.DECIDE

    def _ordered_window(
        self, window: Expression, key: Sequence[str], orders: str, context: Context
    ) -> str:
        # Polars hides an order_by of several columns from the plan, but shows a struct of them.
        several = set(context.sorted_by) | set(key) != set(key[:1])
        order = f"order_by={f'pl.struct({orders})' if several else orders}"
        inside, *rest = window.children
        partitions = rest[1:] if window.options[1] else rest
        shown = [self.shown(part, context) for part in partitions]
        whole = f"{self.shown(inside, context)}.over({', '.join([*shown, order])})"
        rows = replace(context, by=frozenset(), grouped=False)
        is_exact = self.suggested([whole], rows, "", inside)
        return f"over(…, {order})" if is_exact else advice.DECIDE

    def _sorted_values(self, one: Expression, orders: str, context: Context) -> Iterator[str]:
        """A call over sorted values: ``x.first()`` becomes ``x.sort_by(key).first()``."""
        what = one.children[0]
        over, whole = source(what) or "", source(one) or ""
        call = whole.removeprefix(over) if over and whole.startswith(over) else f".{one.name}()"
        shown = self.shown(what, context)
        # A sort by columns needs as many values as there are rows.
        if not any(
            part.kind in OTHER_LENGTH or part.name in known.UNORDERED | {"unique_stable"}
            for part in subexpressions(what)
        ):
            yield f"{shown}.sort_by({orders}){call}"
        if what.name == "drop_nulls":
            yield f"{self.shown(what.children[0], context)}.sort_by({orders}).drop_nulls(){call}"
        if what.kind == "filter":
            kept = f".filter({self.shown(what.children[1], context)})"
            by = ", ".join(f"{advice.column(name)}{kept}" for name in context.key())
            yield f"{self.shown(what.children[0], context)}{kept}.sort_by({by}){call}"
        if what.name == "unique" and not any(what.options):
            yield f"{shown}.sort(){call}"
