"""Reads the bound, unoptimized plan of a LazyFrame as nodes of ``exactness.on_polars.nodes``.

Polars shows its plans to other engines through a node visitor, which is not a public interface: it
is read only for the versions in ``REVIEWED``. What the visitor does not show becomes a node of
kind ``UNKNOWN``.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from eventlake.exactness.on_polars.nodes import UNKNOWN, Expression, Named, Step
from eventlake.exactness.rows import Type
from eventlake.projections.on_polars.frame_values import values_of
from eventlake.projections.on_polars.types import type_of

_OPERATORS = {
    "Plus": "+",
    "Minus": "-",
    "Multiply": "*",
    "Divide": "/",
    "TrueDivide": "/",
    "FloorDivide": "//",
    "Modulus": "%",
} | {
    "Eq": "==",
    "NotEq": "!=",
    "Lt": "<",
    "LtEq": "<=",
    "Gt": ">",
    "GtEq": ">=",
    "EqValidity": "eq_missing",
    "NotEqValidity": "ne_missing",
    "And": "&",
    "Or": "|",
    "Xor": "^",
    "LogicalAnd": "and",
    "LogicalOr": "or",
}
_FAMILIES = {
    "StringFunction": "str.",
    "ListFunction": "list.",
    "ArrayFunction": "arr.",
    "TemporalFunction": "dt.",
} | {
    "StructFunction": "struct.",
    "BooleanFunction": "",
    "RangeFunction": "",
    "BitwiseFunction": "bitwise.",
    "EwmFunction": "ewm.",
    "RollingFunction": "rolling.",
    "RollingFunctionBy": "rolling.",
}
_FIELDS = {
    "Cast": ("expr",),
    "Explode": ("expr",),
    "Filter": ("input", "by"),
    "Gather": ("expr", "idx"),
    "Slice": ("input", "offset", "length"),
    "Sort": ("expr",),
    "Ternary": ("predicate", "truthy", "falsy"),
}
"""Expressions that are what they are over."""
_BROKEN = (NotImplementedError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
_NOTHING: Type = {"id": UNKNOWN}


def read(frame: pl.LazyFrame) -> Step:
    """The last step of a frame's plan.

    Raises:
        polars.exceptions.PolarsError: The frame cannot be bound: a column that is not there, a type
            that does not fit.
    """
    traverser = frame._ldf.with_optimizations(pl.QueryOptFlags.none()._pyoptflags).visit()
    return _Reader(traverser).step(traverser.get_node())


class _Reader:
    def __init__(self, traverser: Any) -> None:
        self._at = traverser

    def step(self, number: int) -> Step:
        self._at.set_node(number)
        names, types = self._columns()
        try:
            node = self._at.view_current_node()
        except _BROKEN as error:
            return Step(UNKNOWN, names, types, (), options=(_reason(error),))
        rule = getattr(self, f"_{type(node).__name__}", None)
        if rule is None:
            inputs = tuple(self.step(one) for one in self._at.get_inputs())
            return Step(UNKNOWN, names, types, inputs, options=(_snake(type(node).__name__),))
        made: Step = rule(node, names, types)
        return made

    def _columns(self) -> tuple[tuple[str, ...], tuple[Type, ...]]:
        schema = self._at.get_schema()
        return tuple(schema), tuple(type_of(dtype) for dtype in schema.values())

    def _Scan(self, node: Any, names: Any, types: Any) -> Step:  # noqa: N802 - named like Polars' node
        # Everything that decides what a scan reads: a leaf is recognized by comparing plans.
        options = (
            tuple(map(str, node.paths)),
            repr(node.scan_type),
            *_facts(node.file_options),
            repr(node.hive_parts),
            node.predicate is None,
        )
        return Step("scan", names, types, options=options)

    def _DataFrameScan(self, node: Any, names: Any, types: Any) -> Step:  # noqa: N802
        return Step(
            "frame",
            names,
            types,
            options=(values_of(node.df), repr(node.projection), node.selection is None),
        )

    def _SimpleProjection(self, node: Any, names: Any, types: Any) -> Step:  # noqa: N802
        return Step("project", names, types, (self.step(node.input),))

    def _Cache(self, node: Any, names: Any, types: Any) -> Step:  # noqa: N802
        return Step("cache", names, types, (self.step(node.input),))

    def _Select(self, node: Any, names: Any, types: Any) -> Step:  # noqa: N802
        return Step(
            "select", names, types, (self.step(node.input),), self._named(node.expr, node.input)
        )

    def _HStack(self, node: Any, names: Any, types: Any) -> Step:  # noqa: N802
        return Step(
            "with_columns",
            names,
            types,
            (self.step(node.input),),
            self._named(node.exprs, node.input),
        )

    def _Filter(self, node: Any, names: Any, types: Any) -> Step:  # noqa: N802
        return Step(
            "filter",
            names,
            types,
            (self.step(node.input),),
            self._named([node.predicate], node.input),
        )

    def _Sort(self, node: Any, names: Any, types: Any) -> Step:  # noqa: N802
        below = (self.step(node.input),)
        if node.slice is not None:
            return Step(UNKNOWN, names, types, below, options=("sort with a slice",))
        return Step(
            "sort",
            names,
            types,
            below,
            self._named(node.by_column, node.input),
            options=(bool(node.sort_options[2][0]), *_directions(node)),
        )

    def _Slice(self, node: Any, names: Any, types: Any) -> Step:  # noqa: N802
        return Step(
            "slice", names, types, (self.step(node.input),), options=(node.offset, node.len)
        )

    def _Distinct(self, node: Any, names: Any, types: Any) -> Step:  # noqa: N802
        keep, subset, maintained, cut = node.options
        below = (self.step(node.input),)
        if cut is not None:
            return Step(UNKNOWN, names, types, below, options=("unique with a slice",))
        return Step(
            "unique",
            names,
            types,
            below,
            options=(keep, None if subset is None else tuple(subset), maintained),
        )

    def _MapFunction(self, node: Any, names: Any, types: Any) -> Step:  # noqa: N802
        options = tuple(tuple(one) if isinstance(one, list) else one for one in node.function)
        return Step("map", names, types, (self.step(node.input),), options=options)

    def _Union(self, node: Any, names: Any, types: Any) -> Step:  # noqa: N802
        inputs = tuple(self.step(one) for one in node.inputs)
        return Step(
            "union" if node.slice is None else UNKNOWN, names, types, inputs, options=("concat",)
        )

    def _GroupBy(self, node: Any, names: Any, types: Any) -> Step:  # noqa: N802
        below = (self.step(node.input),)
        options = node.options
        if options.dynamic is not None or options.rolling is not None:
            return Step(
                UNKNOWN,
                names,
                types,
                below,
                options=("group_by_dynamic" if options.rolling is None else "rolling",),
            )
        if node.apply not in {(), None} or options.slice is not None:
            return Step(UNKNOWN, names, types, below, options=("map_groups",))
        return Step(
            "group_by",
            names,
            types,
            below,
            self._named(node.keys, node.input),
            self._named(node.aggs, node.input),
        )

    def _Join(self, node: Any, names: Any, types: Any) -> Step:  # noqa: N802
        inputs = (self.step(node.input_left), self.step(node.input_right))
        how, nulls_equal, cut, suffix, coalesced, _ = node.options
        # As-of joins bring their options along with their name.
        kind, *rest = how if isinstance(how, tuple) else (how,)
        if cut is not None or node.predicate is not None:
            return Step(UNKNOWN, names, types, inputs, options=("join with a condition",))
        by: tuple[Any, ...] = ()
        if kind == "AsOf":
            strategy, tolerance, _, by_left, by_right, *others = rest
            by = (tuple(by_left or ()), tuple(by_right or ()), strategy, repr(tolerance), *others)
        outputs, others_ = (
            self._named(node.left_on, node.input_left),
            self._named(node.right_on, node.input_right),
        )
        return Step(
            "join",
            names,
            types,
            inputs,
            outputs,
            others_,
            (kind, suffix, bool(coalesced), *by, nulls_equal),
        )

    def _named(self, expressions: Iterable[Any], below: int) -> tuple[Named, ...]:
        """Named expressions over the step ``below``, whose columns decide their types."""
        self._at.set_node(below)
        return tuple((one.output_name, self.expression(one.node)) for one in expressions)

    def expression(self, number: int) -> Expression:
        try:
            # Viewed before its type is asked for: asking for the type of an expression that the
            # visitor does not show leaves the visitor unusable.
            node = self._at.view_expression(number)
            kind = type_of(self._at.get_dtype(number))
        except _BROKEN as error:
            return Expression(UNKNOWN, _reason(error), _NOTHING)
        name = type(node).__name__
        if name == "Alias":
            return self.expression(node.expr)
        if name in _FIELDS:
            return Expression(
                _snake(name),
                _snake(name),
                kind,
                self._all(getattr(node, one) for one in _FIELDS[name]),
            )
        rule = getattr(self, f"_of_{_snake(name)}", None)
        made: Expression = (
            Expression(UNKNOWN, _snake(name), kind) if rule is None else rule(node, kind)
        )
        return made

    @staticmethod
    def _of_column(node: Any, kind: Type) -> Expression:
        return Expression("column", node.name, kind)

    @staticmethod
    def _of_len(_: Any, kind: Type) -> Expression:
        return Expression("len", "len", kind)

    @staticmethod
    def _of_literal(node: Any, kind: Type) -> Expression:
        value = node.value
        if isinstance(value, pl._plr.PySeries):
            values = tuple(pl.Series._from_pyseries(value))
            return Expression("literal", "series", kind, options=(values,))
        plain = tuple(value) if isinstance(value, list) else value
        return Expression("literal", "", kind, options=(plain,))

    def _of_binary_expr(self, node: Any, kind: Type) -> Expression:
        operator = str(node.op).rpartition(".")[2]
        return Expression(
            "binary",
            _OPERATORS.get(operator, _snake(operator)),
            kind,
            self._all((node.left, node.right)),
        )

    def _of_agg(self, node: Any, kind: Type) -> Expression:
        return Expression("aggregate", node.name, kind, self._all(node.arguments), (node.options,))

    def _of_function(self, node: Any, kind: Type) -> Expression:
        called, *options = node.function_data
        return Expression(
            "function",
            _called(called, options),
            kind,
            self._all(node.input),
            tuple(map(_plain, options)),
        )

    def _of_sort_by(self, node: Any, kind: Type) -> Expression:
        return Expression(
            "sort_by", "sort_by", kind, self._all((node.expr, *node.by)), _directions(node)
        )

    def _of_window(self, node: Any, kind: Type) -> Expression:
        ordered = node.order_by is not None
        children = (node.function, *((node.order_by,) if ordered else ()), *node.partition_by)
        mapping = getattr(node.options, "kind", None)
        return Expression("window", "over", kind, self._all(children), (mapping, ordered))

    def _all(self, numbers: Iterable[int]) -> tuple[Expression, ...]:
        return tuple(self.expression(one) for one in numbers)


def _directions(node: Any) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """For each column of a sort, whether it is descending and whether nulls come last."""
    _, last, descending = node.sort_options
    return tuple(map(bool, descending)), tuple(map(bool, last))


def _called(name: object, options: Sequence[Any]) -> str:
    if name == "fill_null_with_strategy":
        return (
            f"{options[0]}_fill"
            if options[0] in {"forward", "backward"}
            else f"fill_null_{options[0]}"
        )
    if name == "arg_max" and options:
        return "arg_sort"  # the visitor calls it so
    family, dot, called = str(name).rpartition(".")
    return _FAMILIES.get(family, f"{family}.") + _snake(called) if dot else str(name)


def _snake(name: str) -> str:
    return (
        # Every capital starts a word, which would take the abbreviation DST apart.
        re.sub(r"(?<!^)(?=[A-Z])", "_", name).casefold().replace("d_s_t", "dst_").replace("__", "_")
    )


def _plain(value: Any) -> Any:
    """A value that can be compared and hashed."""
    if isinstance(value, list):
        return tuple(value)
    return value if isinstance(value, int | str | bool | type(None)) else repr(value)


def _facts(what: Any) -> tuple[str, ...]:
    return tuple(
        f"{name}={getattr(what, name)!r}"
        for name in dir(what)
        if not name.startswith("_") and not callable(getattr(what, name))
    )


def _reason(error: BaseException) -> str:
    words = {
        "anonymousfunction": "map_batches(), map_elements()",
        "opaque python mapfunction": "map_batches()",
        "row_encode": "over(order_by=[…])",
    }
    text = str(error).strip().partition("\n")[0]
    if text.startswith("apply inside GroupBy"):
        return "map_groups()"
    return words.get(text, text or type(error).__name__)
