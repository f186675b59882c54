"""The rows that a Polars expression is computed over, and the kind of values that it returns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from eventlake.exactness.on_polars import advice
from eventlake.exactness.on_polars import functions as known
from eventlake.exactness.on_polars.nodes import Expression, Named, names_in, subexpressions
from eventlake.exactness.rows import Rows

ONE = "one value"
ALIGNED = "one value per row"
SEQUENCE = "values in a total order"
BAG = "values in no order"


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression returns.

    Attributes:
        state: ``ONE``, ``ALIGNED``, ``SEQUENCE`` or ``BAG``.
        filters: The conditions by which the rows of aligned values were filtered.
    """

    state: str
    filters: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """The rows that expressions are computed over.

    Attributes:
        names: The columns' names.
        rows: The columns' types, and the rows' keys.
        ordered: Whether the rows are in a total order.
        by: Columns that have one value in every group.
        grouped: Whether the expressions are computed per group, or inside a window.
        sorted_by: The columns by which the rows are sorted, whether that order is total or not.
        flags: ``descending`` and ``nulls_last`` of that sort.
        window: The window that contains the expressions; None if there is none.
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
        """Columns that are a key within every group; empty if none is known."""
        return advice.key_of(self.names, self.rows, self.by)

    def places(self, expressions: Iterable[Expression]) -> set[int]:
        """The columns among ``expressions``, and those inside structs of columns."""
        found: set[int] = set()
        for one in expressions:
            if one.kind == "column" and one.name in self.names:
                found.add(self.names.index(one.name))
            elif one.name == "as_struct":
                found |= self.places(one.children)
        return found

    def is_total(self, orders: Iterable[Expression], what: Expression | None = None) -> bool:
        """Whether rows of a group that are equal by ``orders`` give ``what`` the same value.

        Args:
            orders: What the rows are sorted by.
            what: The expression that is sorted; None for whole rows.
        """
        chosen = self.places(orders) | self.by
        if what is None:
            return self.rows.determines(chosen, range(len(self.names)))
        # A value that depends on a row's position can differ between rows with equal columns.
        if any(
            one.name in known.POSITIONAL or one.kind == "explode" for one in subexpressions(what)
        ):
            return self.rows.is_key(chosen)
        read = {self.names.index(name) for name in names_in(what) if name in self.names}
        return self.rows.determines(chosen, read)

    def in_order(self, value: Value) -> bool:
        """Whether a value's items are in a total order."""
        # A single value has nothing to be ordered.
        return value.state in {ONE, SEQUENCE} or (value.state == ALIGNED and self.ordered)


@dataclass(frozen=True, slots=True)
class Table:
    """The rows that a step returns.

    Attributes:
        names: The columns' names.
        rows: The columns' types, and the rows' keys.
        ordered: Whether the rows are in a total order.
        sorted_by: The columns by which the rows are sorted, whether that order is total or not.
        flags: ``descending`` and ``nulls_last`` of that sort.
    """

    names: tuple[str, ...]
    rows: Rows
    ordered: bool = False
    sorted_by: tuple[str, ...] = ()
    flags: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)

    def context(self) -> Context:
        """The context of expressions over these rows."""
        return Context(
            self.names, self.rows, self.ordered, sorted_by=self.sorted_by, flags=self.flags
        )

    def with_rows(self, names: tuple[str, ...], rows: Rows) -> "Table":
        """Other columns of the same rows, in the same order."""
        # Advice extends the sort, and can name only columns that are still there.
        sort_is_visible = set(self.sorted_by) <= set(names)
        order = (self.sorted_by, self.flags) if sort_is_visible else ()
        return Table(names, rows, self.ordered, *order)

    def total_sort(self) -> str:
        """A call of ``sort`` that extends the present sort by a key; empty if none is known."""
        key = advice.key_of(self.names, self.rows)
        return f"sort({advice.sorted_by(self.sorted_by, key, self.flags)})" if key else ""

    def place(self, expression: Expression) -> int | None:
        """The column that an expression is; None if it is computed."""
        is_column = expression.kind == "column" and expression.name in self.names
        return self.names.index(expression.name) if is_column else None

    def places(self, outputs: Sequence[Named]) -> list[int]:
        """The columns among some expressions."""
        return [place for _, one in outputs if (place := self.place(one)) is not None]
