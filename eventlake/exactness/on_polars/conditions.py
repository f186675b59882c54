"""Conditions of filters, and the event types that they restrict rows to."""

from collections.abc import Iterable, Iterator, Sequence

from eventlake.exactness.on_polars.nodes import Expression
from eventlake.exactness.rows import Rows


def conjuncts(condition: Expression) -> list[Expression]:
    """The conditions that an AND joins; the condition itself if it is not an AND."""
    if condition.kind == "binary" and condition.name in {"and", "&"}:
        return [part for child in condition.children for part in conjuncts(child)]
    return [condition]


def narrowed(rows: Rows, names: Sequence[str], conditions: Iterable[Expression]) -> Rows:
    """The rows for which the conditions hold; some conditions restrict the event types."""
    for part in [part for one in conditions for part in conjuncts(one)]:
        found = _accepted_texts(part)
        if found is not None and found[0] in names:
            rows = rows.of_types(names.index(found[0]), found[1])
    return rows


def _accepted_texts(condition: Expression) -> tuple[str, frozenset[str]] | None:
    """A column and the texts that a condition accepts for it.

    None if the condition does not compare one column with constant texts.
    """
    if condition.kind == "binary" and condition.name in {"or", "|"}:
        found = [_accepted_texts(one) for one in condition.children]
        known = [one for one in found if one is not None]
        columns = {column for column, _ in known}
        if len(columns) != 1 or len(known) < len(found):
            return None
        return columns.pop(), frozenset().union(*(texts for _, texts in known))
    is_equality = condition.kind == "binary" and condition.name in {"==", "eq_missing"}
    is_membership = condition.kind == "function" and condition.name == "is_in"
    if not is_equality and not is_membership:
        return None
    sides = condition.children[:2]
    columns = {one.name for one in sides if one.kind == "column"}
    values = [value for one in sides if one.kind == "literal" for value in _flat(one.options[:1])]
    texts = frozenset(value for value in values if isinstance(value, str))
    # A value that is not a text, such as null, accepts rows of other types.
    if len(columns) != 1 or not texts or len(texts) < len(set(values)):
        return None
    return columns.pop(), texts


def _flat(values: Iterable[object]) -> Iterator[object]:
    for one in values:
        if isinstance(one, tuple | list):
            yield from _flat(one)
        else:
            yield one
