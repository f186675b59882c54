"""The steps of a Polars plan, from the leaves up: what each needs to be exact, and what is known of the rows that it puts out."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from eventlake.exactness.on_duckdb.json_text import Read
from eventlake.exactness.on_polars import advice
from eventlake.exactness.on_polars import functions as known
from eventlake.exactness.on_polars.expressions import ALIGNED, ONE, Checker, Context, among, anded
from eventlake.exactness.on_polars.nodes import UNKNOWN, Expression, Leaf, Named, Step, strange
from eventlake.exactness.refusals import TIES, Refusal
from eventlake.exactness.rows import Payload, Rows, beside, either, is_float, is_loose

_ZEROS = "0.0 and -0.0"


@dataclass(frozen=True, slots=True)
class Table:
    """What is known of what a step puts out.

    Attributes:
        names: Of the columns.
        rows: Their types and keys.
        ordered: Whether the rows come in a total order.
        sorted_by: What they come sorted by, whether that is total or not.
        flags: ``descending`` and ``nulls_last`` of these.
    """

    names: tuple[str, ...]
    rows: Rows
    ordered: bool = False
    sorted_by: tuple[str, ...] = ()
    flags: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)

    def context(self) -> Context:
        """The rows, as expressions see them."""
        return Context(
            self.names, self.rows, self.ordered, sorted_by=self.sorted_by, flags=self.flags
        )

    def kept(self, names: tuple[str, ...], rows: Rows) -> "Table":
        """Other columns of the same rows, in their order."""
        known = set(self.sorted_by) <= set(names)
        return Table(names, rows, self.ordered, *((self.sorted_by, self.flags) if known else ()))

    def sort(self) -> str:
        """The sort before a step that counts rows, ending in a key."""
        key = advice.key_of(self.names, self.rows)
        return f"sort({advice.sorted_by(self.sorted_by, key, self.flags)})" if key else ""

    def place(self, expression: Expression) -> int | None:
        """The column that an expression is; None where it computes something."""
        return (
            self.names.index(expression.name)
            if expression.kind == "column" and expression.name in self.names
            else None
        )

    def places(self, outputs: Iterable[Named]) -> list[int]:
        """Of some expressions those that are columns."""
        return [place for _, one in outputs if (place := self.place(one)) is not None]


class Analysis:
    """One walk over one plan.

    Attributes:
        checker: Has what was found not to be exact.
    """

    def __init__(self, leaves: Sequence[Leaf], trial: advice.Trial | None = None) -> None:
        self.checker = Checker(trial)
        self._leaves = leaves

    def table(self, step: Step) -> Table:
        """The rows that a step puts out; what is not exact about it, or below, is noted."""
        for leaf in self._leaves:
            if step == leaf.step:
                keys = [
                    [step.names.index(part) for part in key]
                    for key in leaf.keys
                    if set(key) <= set(step.names)
                ]
                return Table(
                    step.names, Rows.of(step.types, keys, payloads=_payloads(step, leaf.payloads))
                )
        rule: Callable[[Step], Table] | None = (
            None if step.kind == UNKNOWN else getattr(self, f"_{step.kind}", None)
        )
        if rule is None:
            what = step.options[0] if step.options else step.kind
            refusal = known.refused(str(what))
            self.checker.refuse(
                str(what),
                f"a step that is {UNKNOWN}: {refusal.why}",
                refusal.example,
                refusal.instead,
            )
            for below in step.inputs:
                self.table(below)
            return _anew(step)
        return rule(step)

    # Leaves that nobody handed out

    def _scan(self, step: Step) -> Table:
        # Polars makes one scan of several that stand beneath each other: then every file must be
        # one of ours.
        bare = [
            leaf
            for leaf in self._leaves
            if leaf.step.kind == "scan" and leaf.step.options[1:] == step.options[1:]
        ]
        bare = [
            leaf for leaf in bare if (leaf.step.names, leaf.step.types) == (step.names, step.types)
        ]
        if step.options[0] and set(step.options[0]) <= {
            path for leaf in bare for path in leaf.step.options[0]
        }:
            payloads = set.intersection(*(set(leaf.payloads) for leaf in bare))
            return Table(step.names, Rows.of(step.types, payloads=_payloads(step, payloads)))
        self.checker.refuse(
            "a scan",
            "of files that are not the history's",
            "",
            "snapshot.scan(), snapshot.table(…) or the spine",
        )
        return _anew(step)

    def _frame(self, step: Step) -> Table:
        why = "a frame from elsewhere than the history and the spine, and nobody knows how it was made"
        self.checker.refuse(
            "a DataFrame",
            why,
            "collect().lazy()",
            "snapshot.scan(), snapshot.table(…) or the spine, without collect()",
        )
        return _anew(step)

    # One row after the other

    def _cache(self, step: Step) -> Table:
        return self.table(step.inputs[0])

    def _project(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        return below.kept(
            step.names, below.rows.cut([below.names.index(name) for name in step.names])
        )

    def _select(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        context = below.context()
        values = [self.checker.value(one, context) for _, one in step.outputs]
        several = [value for value in values if value.state != ONE]
        if not several:
            return Table(step.names, Rows.of(step.types, [()]), ordered=True)
        if any(value.state != ALIGNED for value in several) and len(several) > 1:
            self.checker.refuse(
                "select()",
                "values in orders of their own side by side",
                "",
                "one of them, or steps of their own",
            )
        elif any(value != several[0] for value in several):
            self.checker.refuse(
                "select()", "values of different rows side by side", "", "filter() of the frame"
            )
        if several[0].state != ALIGNED or several[0].rows:
            return Table(step.names, Rows.of(step.types))
        return below.kept(
            step.names, below.rows.taken([below.place(one) for _, one in step.outputs], step.types)
        )

    def _with_columns(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        context = below.context()
        made = dict(step.outputs)
        for one in made.values():
            self.checker.aligned("with_columns()", one, context)
        columns = [
            below.place(made[name]) if name in made else below.names.index(name)
            for name in step.names
        ]
        return below.kept(step.names, below.rows.taken(columns, step.types))

    def _filter(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        rows = among(below.rows, below.names, [condition for _, condition in step.outputs])
        for _, condition in step.outputs:
            self.checker.aligned("filter()", condition, replace(below.context(), rows=rows))
            for part in anded(condition):
                if part.kind == "binary" and part.name in {"==", "eq_missing"}:
                    left, right = part.children
                    one, other = below.place(left), below.place(right)
                    if one is not None and other is not None:
                        rows = rows.equated([(one, other)])
                    elif one is not None and right.kind == "literal" and not is_loose(right.type):
                        rows = rows.without([one])
        return below.kept(step.names, rows)

    def _map(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        name = step.options[0]
        if name == "row_index":
            if not below.ordered:
                self.checker.refuse(
                    "with_row_index()",
                    f"numbers of rows in no total order: {TIES}",
                    "two rows: either is 0",
                    self._right_before(below, f"with_row_index({json.dumps(step.names[0])})"),
                )
            rows = below.rows.taken([None, *range(len(below.names))], step.types)
            return Table(step.names, rows.added([], [[0]]), below.ordered)
        if name == "unnest":
            gone = set(step.options[1])
            kept = [
                below.names.index(one) if one in below.names and one not in gone else None
                for one in step.names
            ]
            return Table(step.names, below.rows.taken(kept, step.types), below.ordered)
        if name == "explode":
            return Table(step.names, Rows.of(step.types), below.ordered)
        if name != "unpivot":
            self.checker.refusals.append(known.refused(str(name)))
        return _anew(step)

    # Order

    def _sort(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        self.checker.keys("sort()", step.outputs, below.context())
        total = below.context().is_total([one for _, one in step.outputs])
        named = tuple(one.name for _, one in step.outputs if one.kind == "column")
        known = (
            (named, {"descending": step.options[1], "nulls_last": step.options[2]})
            if len(named) == len(step.outputs)
            else ()
        )
        return Table(step.names, below.rows, total, *known)

    def _slice(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        if not below.ordered and not below.rows.tells_apart(()):
            self.checker.refuse(
                "head(), tail(), slice()",
                f"of rows in no total order: {TIES}",
                "a and b: either of them",
                self._right_before(below, _sliced(*step.options[:2])),
            )
        rows = below.rows.added([], [()]) if step.options[1] == 1 else below.rows
        return Table(step.names, rows, below.ordered)

    def _unique(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        keep, subset, maintained = step.options[:3]
        by = (
            list(range(len(below.names)))
            if subset is None
            else [below.names.index(name) for name in subset]
        )
        if any(is_float(below.rows.types[place]) for place in by):
            self.checker.refuse(
                "unique()",
                "by a float: of values that are equal and not the same either may stay",
                _ZEROS,
                "a Decimal",
            )
        certain = (
            below.rows.are_told_by(by, range(len(below.names)))
            or keep == "none"
            or (keep != "any" and below.ordered)
        )
        if not certain:
            why = f"which row of several is kept: {TIES}"
            called = (
                [f"subset={[below.names[place] for place in by]}"] if subset is not None else []
            )
            called += [
                f'keep="{"last" if keep == "last" else "first"}"',
                *(["maintain_order=True"] if maintained else []),
            ]
            instead = self._right_before(below, f"unique({', '.join(called)})".replace("'", '"'))
            self.checker.refuse("unique()", why, "two rows of one subject", instead)
        return Table(step.names, below.rows.added([], [by]), bool(maintained) and below.ordered)

    def _right_before(self, below: Table, called: str) -> str:
        """A step that counts rows, right after a sort by a key; what is to be decided if nothing is known to be one."""
        sort = below.sort()
        return self.checker.suggested(
            [f"{sort}.{called}"] if sort else [], below.context(), advice.DECIDE
        )

    # Several rows

    def _group_by(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        context = below.context()
        self.checker.keys("group_by()", step.outputs, context)
        inside = replace(context, by=frozenset(below.places(step.outputs)), grouped=True)
        for _, one in step.others:
            before = len(self.checker.refusals)
            value = self.checker.value(one, inside)
            if value.state != ONE and len(self.checker.refusals) == before:
                self.checker.refuse(
                    "agg()",
                    f"a list of a group's rows in no order: {TIES}",
                    "[1, 2] and [2, 1]",
                    'implode() after sort_by("sequence")',
                )
        count = len(step.outputs)
        columns = [*(below.place(one) for _, one in step.outputs), *([None] * len(step.others))]
        return Table(step.names, below.rows.taken(columns, step.types).added([], [range(count)]))

    def _union(self, step: Step) -> Table:
        return Table(
            step.names,
            Rows.of(step.types, payloads=either([self.table(below).rows for below in step.inputs])),
        )

    def _join(self, step: Step) -> Table:
        left, right = (self.table(below) for below in step.inputs)
        kind, suffix, coalesced = step.options[:3]
        what = "join_asof()" if kind == "AsOf" else "join()"
        self.checker.keys(what, step.outputs, left.context())
        self.checker.keys(what, step.others, right.context())
        if kind in {"Semi", "Anti"}:
            return Table(step.names, left.rows)
        on_left, on_right = left.places(step.outputs), right.places(step.others)
        if kind == "AsOf":
            by_left, by_right = step.options[3:5]
            on_right += [right.names.index(name) for name in by_right]
            self._check_asof(left, right, by_left, by_right, on_right)
            for below, on in zip(step.inputs, (step.outputs, step.others), strict=True):
                if not _is_sorted(below, on[0][1]):
                    why = "rows that are not sorted by the column that is looked up in, right before: Polars takes them as they come"
                    self.checker.refuse(
                        "join_asof()", why, "10:00 after 11:00", 'sort("time") on both sides'
                    )
        left_once, right_once = left.rows.tells_apart(on_left), right.rows.tells_apart(on_right)
        outer_left, outer_right = kind in {"Left", "AsOf"}, kind == "Right"
        if kind == "AsOf":
            right_once = True
        made = beside(
            left.rows,
            right.rows,
            left_keys=right_once and not outer_right,
            right_keys=left_once and not outer_left,
        )
        start = len(left.names)
        if kind == "Inner" and len(on_left) == len(on_right) == len(step.outputs):
            made = made.equated(
                [(one, start + other) for one, other in zip(on_left, on_right, strict=True)]
            )
        shown = _shown(
            step, left, right, suffix=suffix, gone=_gone(step) if coalesced else (set(), set())
        )
        if kind not in {"Inner", "Left", "Right", "Cross", "AsOf"} or shown is None:
            if kind != "Full":
                self.checker.refuse(f"a {kind} join", "not known to be exact")
            return _anew(step)
        return Table(step.names, made.taken(shown, step.types))

    def _check_asof(
        self,
        left: Table,
        right: Table,
        by_left: Sequence[str],
        by_right: Sequence[str],
        on_right: Sequence[int],
    ) -> None:
        by = [(left, name) for name in by_left] + [(right, name) for name in by_right]
        if any(is_float(table.rows.types[table.names.index(name)]) for table, name in by):
            self.checker.refuse("join_asof()", "by a float", _ZEROS, "it by an exact value")
        if not right.rows.tells_apart(on_right):
            why = f"the right side may have several rows at one instant: {TIES}"
            key, on = (
                advice.key_of(right.names, right.rows),
                ", ".join(json.dumps(right.names[place]) for place in on_right),
            )
            instead = f"one row per key and instant on the right side: group_by({on}).agg(pl.all().max_by({json.dumps(next(iter(key), ''))}))"
            instead = (
                instead
                if len(key) == 1
                else "a group_by() with one row per key and instant on the right side: decide which counts"
            )
            self.checker.refuse(
                "join_asof()", why, "two events of one time, 1 and 2: either of them", instead
            )


def _sliced(offset: int, length: int) -> str:
    if offset == 0:
        return f"head({length})"
    return f"tail({length})" if length == -offset else f"slice({offset}, {length})"


def _anew(step: Step) -> Table:
    return Table(step.names, Rows.of(step.types))


def _payloads(step: Step, names: Iterable[str]) -> dict[int, Payload]:
    payload = Payload(step.names.index("type") if "type" in step.names else None)
    return {step.names.index(name): payload for name in names if name in step.names}


def _is_sorted(step: Step, on: Expression) -> bool:
    """Whether rows come sorted by a column, ascending."""
    if on.kind != "column":
        return False
    if step.kind == "sort":
        first = step.outputs[0][1]
        return first.kind == "column" and first.name == on.name and not step.options[0]
    if step.kind not in {"filter", "select", "with_columns", "project", "cache"}:
        return False
    made = dict(step.outputs) if step.kind in {"select", "with_columns"} else {}
    one = made.get(on.name, on)
    return _is_sorted(step.inputs[0], one)


def _gone(step: Step) -> tuple[set[str], set[str]]:
    """The columns of both sides that stand in the rows once, under the other side's name."""
    if step.options[0] == "Right":
        return {one.name for _, one in step.outputs}, set()
    by_right = step.options[4] if step.options[0] == "AsOf" else ()
    return set(), {one.name for _, one in step.others} | set(by_right)


def _shown(
    step: Step, left: Table, right: Table, *, suffix: str, gone: tuple[set[str], set[str]]
) -> list[int] | None:
    """Per column of a join its place in the columns of both sides; None where the names are not those that were expected."""
    start = len(left.names)
    places = [place for place, name in enumerate(left.names) if name not in gone[0]]
    names = [left.names[place] for place in places]
    for place, name in enumerate(right.names):
        if name not in gone[1]:
            names.append(name + suffix if name in names else name)
            places.append(start + place)
    return places if tuple(names) == step.names else None


def analyse(
    step: Step, leaves: Sequence[Leaf], trial: advice.Trial | None = None
) -> tuple[list[Refusal], set[Read]]:
    """Why the rows of a plan may not be exact, and what it reads of the JSON of events.

    Args:
        step: The last one.
        leaves: What it may be over.
        trial: Tries what is suggested.
    """
    analysis = Analysis(leaves, trial)
    table = analysis.table(step)
    for kind in table.rows.types:
        # Checked as a whole once more: a step may put out what no expression had.
        odd = strange(kind)
        if odd:
            analysis.checker.refuse(odd, "a type that is not known to be exact")
    return list(dict.fromkeys(analysis.checker.refusals)), analysis.checker.reads
