"""The steps of a Polars plan, bottom-up: what each needs to be exact, and what it returns.

Every kind of step has a method of its name. A step without one is refused, so that a new version of
Polars cannot bring in steps that nobody has reviewed.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from eventlake.exactness.on_duckdb.json_text import Read
from eventlake.exactness.on_polars import advice
from eventlake.exactness.on_polars import functions as known
from eventlake.exactness.on_polars.conditions import conjuncts, narrowed
from eventlake.exactness.on_polars.context import ALIGNED, ONE, Table
from eventlake.exactness.on_polars.expressions import Checker
from eventlake.exactness.on_polars.joins import is_sorted, joined_rows
from eventlake.exactness.on_polars.nodes import UNKNOWN, Leaf, Step, unknown_type
from eventlake.exactness.refusals import TIES, ZEROS, Refusal
from eventlake.exactness.rows import Payload, Rows, common_payloads, is_ambiguous, is_float


class Analysis:
    """One traversal of one plan.

    Attributes:
        checker: Collects what is not exact.
    """

    def __init__(self, leaves: Sequence[Leaf], trial: advice.Trial | None = None) -> None:
        """See ``analyse`` for the arguments."""
        self.checker = Checker(trial)
        self._leaves = leaves

    def table(self, step: Step) -> Table:
        """The rows that a step returns; notes what in it, or below it, is not exact."""
        # Polars' frames have no names. A leaf is recognized by its whole plan: files, literals and
        # buffers.
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
            return _unknown_rows(step)
        return rule(step)

    # Sources other than the leaves

    def _scan(self, step: Step) -> Table:
        # Polars merges the scans of a concat into one: then every file must belong to a leaf.
        alike = [
            leaf
            for leaf in self._leaves
            if leaf.step.kind == "scan"
            and leaf.step.options[1:] == step.options[1:]
            and (leaf.step.names, leaf.step.types) == (step.names, step.types)
        ]
        files = {path for leaf in alike for path in leaf.step.options[0]}
        if step.options[0] and set(step.options[0]) <= files:
            payloads = set.intersection(*(set(leaf.payloads) for leaf in alike))
            return Table(step.names, Rows.of(step.types, payloads=_payloads(step, payloads)))
        self.checker.refuse(
            "a scan",
            "of files that are not the history's",
            "",
            "snapshot.scan(), snapshot.table(…) or the spine",
        )
        return _unknown_rows(step)

    def _frame(self, step: Step) -> Table:
        self.checker.refuse(
            "a DataFrame",
            "a frame from elsewhere than the history and the spine; its plan is not known",
            "collect().lazy()",
            "snapshot.scan(), snapshot.table(…) or the spine, without collect()",
        )
        return _unknown_rows(step)

    # Row by row

    def _cache(self, step: Step) -> Table:
        return self.table(step.inputs[0])

    def _project(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        return below.with_rows(
            step.names, below.rows.select([below.names.index(name) for name in step.names])
        )

    def _select(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        context = below.context()
        values = [self.checker.value(one, context) for _, one in step.outputs]
        several = [value for value in values if value.state != ONE]
        if not several:
            # Single values alone make one row.
            return Table(step.names, Rows.of(step.types, [()]), ordered=True)
        if any(value.state != ALIGNED for value in several) and len(several) > 1:
            self.checker.refuse(
                "select()",
                "columns that are each in an order of their own",
                "",
                "one of them, or steps of their own",
            )
        elif any(value != several[0] for value in several):
            self.checker.refuse(
                "select()", "columns of different rows", "", "filter() of the frame"
            )
        if several[0].state != ALIGNED or several[0].filters:
            return Table(step.names, Rows.of(step.types))
        return below.with_rows(
            step.names,
            below.rows.projected([below.place(one) for _, one in step.outputs], step.types),
        )

    def _with_columns(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        context = below.context()
        outputs = dict(step.outputs)
        for one in outputs.values():
            self.checker.aligned("with_columns()", one, context)
        columns = [
            below.place(outputs[name]) if name in outputs else below.names.index(name)
            for name in step.names
        ]
        return below.with_rows(step.names, below.rows.projected(columns, step.types))

    def _filter(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        rows = narrowed(below.rows, below.names, [condition for _, condition in step.outputs])
        for _, condition in step.outputs:
            self.checker.aligned("filter()", condition, replace(below.context(), rows=rows))
            for part in conjuncts(condition):
                if part.kind == "binary" and part.name in {"==", "eq_missing"}:
                    left, right = part.children
                    one, other = below.place(left), below.place(right)
                    if one is not None and other is not None:
                        rows = rows.equated([(one, other)])
                    elif (
                        one is not None and right.kind == "literal" and not is_ambiguous(right.type)
                    ):
                        rows = rows.with_constant([one])
        return below.with_rows(step.names, rows)

    def _map(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        name = step.options[0]
        if name == "row_index":
            if not below.ordered:
                self.checker.refuse(
                    "with_row_index()",
                    f"it numbers rows in no total order: {TIES}",
                    "two rows: either is 0",
                    self._after_sort(below, f"with_row_index({json.dumps(step.names[0])})"),
                )
            # The row's number is a key.
            rows = below.rows.projected([None, *range(len(below.names))], step.types)
            return Table(step.names, rows.with_columns([], [[0]]), below.ordered)
        if name == "unnest":
            structs = set(step.options[1])
            kept = [
                below.names.index(one) if one in below.names and one not in structs else None
                for one in step.names
            ]
            return Table(step.names, below.rows.projected(kept, step.types), below.ordered)
        if name == "explode":
            # A row comes out once per item, so no key survives.
            return Table(step.names, Rows.of(step.types), below.ordered)
        if name != "unpivot":
            self.checker.refusals.append(known.refused(str(name)))
        return _unknown_rows(step)

    # Order

    def _sort(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        self.checker.keys("sort()", step.outputs, below.context())
        total = below.context().is_total([one for _, one in step.outputs])
        named = tuple(one.name for _, one in step.outputs if one.kind == "column")
        # Advice names columns, and cannot repeat what was computed for the sort.
        if len(named) < len(step.outputs):
            return Table(step.names, below.rows, total)
        flags = {"descending": step.options[1], "nulls_last": step.options[2]}
        return Table(step.names, below.rows, total, named, flags)

    def _slice(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        if not below.ordered and not below.rows.is_key(()):
            self.checker.refuse(
                "head(), tail(), slice()",
                f"of rows in no total order: {TIES}",
                "a and b: either of them",
                self._after_sort(below, _slice_call(*step.options[:2])),
            )
        rows = below.rows.with_columns([], [()]) if step.options[1] == 1 else below.rows
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
                "by a float: of two values that are equal and still differ, either may be kept",
                ZEROS,
                "a Decimal",
            )
        determined = (
            below.rows.determines(by, range(len(below.names)))
            or keep == "none"
            or (keep != "any" and below.ordered)
        )
        if not determined:
            arguments = [f'keep="{"last" if keep == "last" else "first"}"']
            if subset is not None:
                columns = json.dumps([below.names[place] for place in by], ensure_ascii=False)
                arguments.insert(0, f"subset={columns}")
            if maintained:
                arguments.append("maintain_order=True")
            self.checker.refuse(
                "unique()",
                f"which row of several is kept: {TIES}",
                "two rows of one subject",
                self._after_sort(below, f"unique({', '.join(arguments)})"),
            )
        ordered = bool(maintained) and below.ordered
        return Table(step.names, below.rows.with_columns([], [by]), ordered)

    def _after_sort(self, below: Table, call: str) -> str:
        """What to write in place of a call that depends on the order of rows: a sort before it."""
        sort = below.total_sort()
        candidates = [f"{sort}.{call}"] if sort else []
        return self.checker.suggested(candidates, below.context(), advice.DECIDE)

    # Several rows

    def _group_by(self, step: Step) -> Table:
        below = self.table(step.inputs[0])
        context = below.context()
        self.checker.keys("group_by()", step.outputs, context)
        inside = replace(context, by=frozenset(below.places(step.outputs)), grouped=True)
        for _, one in step.others:
            before = len(self.checker.refusals)
            value = self.checker.value(one, inside)
            # An expression that was refused counts as aligned; it is not reported twice.
            if value.state != ONE and len(self.checker.refusals) == before:
                self.checker.refuse(
                    "agg()",
                    f"a list of a group's rows in no order: {TIES}",
                    "[1, 2] and [2, 1]",
                    'implode() after sort_by("sequence")',
                )
        # The group is a key. Groups come in no order that Polars promises.
        count = len(step.outputs)
        columns = [*(below.place(one) for _, one in step.outputs), *([None] * len(step.others))]
        return Table(
            step.names, below.rows.projected(columns, step.types).with_columns([], [range(count)])
        )

    def _union(self, step: Step) -> Table:
        return Table(
            step.names,
            Rows.of(
                step.types,
                payloads=common_payloads([self.table(below).rows for below in step.inputs]),
            ),
        )

    def _join(self, step: Step) -> Table:
        left, right = (self.table(below) for below in step.inputs)
        kind = step.options[0]
        what = "join_asof()" if kind == "AsOf" else "join()"
        self.checker.keys(what, step.outputs, left.context())
        self.checker.keys(what, step.others, right.context())
        if kind in {"Semi", "Anti"}:
            return Table(step.names, left.rows)
        on_left, on_right = left.places(step.outputs), right.places(step.others)
        if kind == "AsOf":
            on_right += [right.names.index(name) for name in step.options[4]]
            self._check_asof(step, left, right, on_right)
        rows = joined_rows(step, left, right, on_left, on_right)
        if rows is None and kind != "Full":
            self.checker.refuse(f"a {kind} join", "not known to be exact")
        # The rows of a join come in no order that Polars promises.
        return _unknown_rows(step) if rows is None else Table(step.names, rows)

    def _check_asof(self, step: Step, left: Table, right: Table, on_right: Sequence[int]) -> None:
        by_left, by_right = step.options[3:5]
        by = [(left, name) for name in by_left] + [(right, name) for name in by_right]
        if any(is_float(table.rows.types[table.names.index(name)]) for table, name in by):
            self.checker.refuse("join_asof()", "by a float", ZEROS, "it by an exact value")
        if not right.rows.is_key(on_right):
            key = advice.key_of(right.names, right.rows)
            columns = ", ".join(json.dumps(right.names[place]) for place in on_right)
            instead = (
                "a group_by() with one row per key and instant on the right side: decide which"
                " counts"
            )
            if len(key) == 1:
                latest = f"pl.all().max_by({json.dumps(key[0])})"
                call = f"group_by({columns}).agg({latest})"
                instead = f"one row per key and instant on the right side: {call}"
            self.checker.refuse(
                "join_asof()",
                f"the right side may have several rows at one instant: {TIES}",
                "two events of one time, 1 and 2: either of them",
                instead,
            )
        # Polars does not sort: it takes the rows as they come and finds other partners.
        for below, on in zip(step.inputs, (step.outputs, step.others), strict=True):
            if not is_sorted(below, on[0][1]):
                self.checker.refuse(
                    "join_asof()",
                    "rows that are not sorted by the column of the join right before it",
                    "10:00 after 11:00",
                    'sort("time") on both sides',
                )


def _slice_call(offset: int, length: int) -> str:
    if offset == 0:
        return f"head({length})"
    return f"tail({length})" if length == -offset else f"slice({offset}, {length})"


def _unknown_rows(step: Step) -> Table:
    return Table(step.names, Rows.of(step.types))


def _payloads(step: Step, names: Iterable[str]) -> dict[int, Payload]:
    payload = Payload(step.names.index("type") if "type" in step.names else None)
    return {step.names.index(name): payload for name in names if name in step.names}


def analyse(
    step: Step, leaves: Sequence[Leaf], trial: advice.Trial | None = None
) -> tuple[list[Refusal], set[Read]]:
    """Why a plan's rows may not be exact, and what the plan reads of the JSON of events.

    Args:
        step: The last step of the plan.
        leaves: The frames that the plan may read.
        trial: Tries suggestions.
    """
    analysis = Analysis(leaves, trial)
    table = analysis.table(step)
    for kind in table.rows.types:
        # Steps such as unpivot return types that no expression has.
        unlisted = unknown_type(kind)
        if unlisted:
            analysis.checker.refuse(unlisted, "a type that is not known to be exact")
    return list(dict.fromkeys(analysis.checker.refusals)), analysis.checker.reads
