"""The difference between two datasets, rendered as a card, as text and as HTML."""

from collections.abc import Iterator
from dataclasses import dataclass

from eventlake.core import layout
from eventlake.core.card import Card, Shown, counted
from eventlake.core.format_value import shown_pair, shown_short
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.page import Section, as_html, as_text
from eventlake.datasets.comparing.row_diff import RowChange, RowsDiff
from eventlake.datasets.dataset import Dataset
from eventlake.public_calls import helpful

ABSENT = "absent"
_MOST_COLUMNS = 20
_HEADER = ("", "before", "after")


@dataclass(frozen=True, slots=True)
class Change:
    """One property that differs, such as ``engine version`` or ``parameter since``.

    Attributes:
        what: The property.
        before: The first dataset's value as text; ``absent`` if it has none.
        after: The second dataset's value as text; ``absent`` if it has none.
    """

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class SourceChange:
    """One source file that differs.

    Attributes:
        name: The file.
        kind: ``added``, ``removed`` or ``changed``.
        patch: Its unified diff.
    """

    name: str
    kind: str
    patch: str


@dataclass(frozen=True, slots=True)
class HistoryDiff:
    """How the histories of two datasets relate.

    Attributes:
        before: The first dataset's checkpoint.
        after: The second dataset's checkpoint.
        problem: Why the lake does not have both; None if it does. Then the shorter history is a
            prefix of the longer.
    """

    before: Checkpoint
    after: Checkpoint
    problem: str | None

    @property
    def events(self) -> int | None:
        """Events from the first watermark to the second, negative if the second is earlier.

        None if there is a ``problem``.
        """
        return None if self.problem else self.after.watermark - self.before.watermark


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class DatasetDiff(Shown):
    """The result of comparing two datasets.

    Attributes:
        before: The first dataset.
        after: The second dataset.
        identical: Whether the content hashes are equal; the rows are not read then.
        history: The two checkpoints, and the events between them.
        recipe: Recipe members that differ, except code and checkpoint.
        sources: Source files that differ.
        schema: Columns that only one dataset has, columns of other types, or another column order.
        rows: The rows, compared by key; None if they could not be compared.
        refusal: Why the rows could not be compared; None if they were.
        not_compared: Columns whose values were not compared, with the reason.
    """

    before: Dataset
    after: Dataset
    identical: bool
    history: HistoryDiff
    recipe: tuple[Change, ...]
    sources: tuple[SourceChange, ...]
    schema: tuple[Change, ...]
    rows: RowsDiff | None
    refusal: str | None
    not_compared: dict[str, str]

    @property
    def title(self) -> str:
        """The two datasets, and whether their rows are the same."""
        names = (
            f"{dataset.name} {dataset.manifest_hash[: layout.SHORT_HASH]}"
            for dataset in (self.before, self.after)
        )
        return f"{' → '.join(names)}: rows {'the same' if self.identical else 'differ'}"

    def __repr__(self) -> str:
        """The title."""
        return f"<DatasetDiff: {self.card().title}>"

    def card(self) -> Card:
        """The difference as a card: one line for each property that differs."""
        return Card(self.title, facts(self), ("column", "changed values"), columns_changed(self))

    def text(self) -> str:
        """Everything that differs, as plain text."""
        return as_text(self.title, sections(self))

    def html(self) -> str:
        """Everything that differs, as one self-contained HTML page without scripts."""
        return as_html(self.title, sections(self))


def facts(value: DatasetDiff) -> tuple[tuple[str, str], ...]:
    """One line for each property that differs."""
    lines = [
        ("before", value.before.manifest_hash),
        ("after", value.after.manifest_hash),
        ("watermark", _watermark(value)),
    ]
    lines += [(change.what, f"{change.before} → {change.after}") for change in value.recipe]
    lines += [("code", f"{source.name} {source.kind}") for source in value.sources]
    lines += [
        ("schema", f"{change.what}: {change.before} → {change.after}") for change in value.schema
    ]
    lines.append(("rows", _rows(value)))
    return tuple(lines)


def columns_changed(value: DatasetDiff) -> tuple[tuple[str, str], ...]:
    """The columns with changed values, and the number of changes."""
    counts = value.rows.columns if value.rows else {}
    return tuple((name, f"{count:,}") for name, count in counts.items() if count)


def _watermark(value: DatasetDiff) -> str:
    before, after = value.history.before.watermark, value.history.after.watermark
    if value.history.problem:
        return f"{before:,} → {after:,} ({value.history.problem})"
    if before == after:
        return f"{before:,} in both"
    return f"{before:,} → {after:,} ({counted(abs(after - before), 'event')} between)"


def _rows(value: DatasetDiff) -> str:
    if value.identical:
        rows = counted(value.before.manifest.rows, "row")
        return f"the same ({rows}, content hash {value.before.content_hash})"
    return _counts(value.rows) if value.rows else str(value.refusal)


def _counts(rows: RowsDiff) -> str:
    return (
        f"{rows.before:,} → {rows.after:,}: {rows.added:,} added, {rows.removed:,} removed, "
        f"{rows.changed:,} changed, {rows.unchanged:,} unchanged"
    )


def sections(value: DatasetDiff) -> tuple[Section, ...]:
    """Everything that differs, section by section; equal parts are listed in one line."""
    parts = [Section("datasets", header=_HEADER, rows=tuple(_identity(value)))]
    same = []
    for title, changes in (("recipe", value.recipe), ("schema", value.schema)):
        if changes:
            parts.append(
                Section(
                    title,
                    header=_HEADER,
                    rows=tuple((change.what, change.before, change.after) for change in changes),
                )
            )
        else:
            same.append(title)
    parts += [
        Section(f"code: {source.name} {source.kind}", patch=source.patch)
        for source in value.sources
    ]
    same += [] if value.sources else ["code"]
    if same:
        parts.append(Section("the same in both", (", ".join(same),)))
    parts.append(
        Section(
            "rows", tuple(_row_lines(value)), ("column", "changed values"), columns_changed(value)
        )
    )
    if value.rows:
        parts += _examples(value.rows)
    return tuple(parts)


def _identity(value: DatasetDiff) -> Iterator[tuple[str, str, str]]:
    before, after = value.before, value.after
    yield "name", before.name, after.name
    yield "manifest hash", before.manifest_hash, after.manifest_hash
    yield "content hash", before.content_hash, after.content_hash
    yield "watermark", f"{before.watermark:,}", f"{after.watermark:,}"
    if value.history.problem:
        yield "events between", value.history.problem, ""
    elif value.history.events:
        yield "events between", f"{abs(value.history.events):,}", ""
    yield "rows", f"{before.manifest.rows:,}", f"{after.manifest.rows:,}"


def _row_lines(value: DatasetDiff) -> Iterator[str]:
    yield _rows(value)
    if value.rows and value.rows.matched_by:
        columns = ", ".join(value.rows.matched_by)
        yield f"matched by {columns} of the spines, and by their occurrence"
    if not value.identical and value.rows and value.not_compared:
        yield "values not compared: " + ", ".join(
            f"{name} ({reason})" for name, reason in value.not_compared.items()
        )


def _examples(rows: RowsDiff) -> Iterator[Section]:
    kinds = (
        ("added", rows.added, rows.added_rows),
        ("removed", rows.removed, rows.removed_rows),
        ("changed", rows.changed, rows.changed_rows),
    )
    for kind, total, changes in kinds:
        if changes:
            first = f", the first {len(changes)}" if total > len(changes) else ""
            cells = tuple(cell for change in changes for cell in _cells(change))
            yield Section(
                f"{counted(total, 'row')} {kind}{first}",
                (),
                ("key", "column", "before", "after"),
                cells,
                data=True,
            )


def _cells(change: RowChange) -> Iterator[tuple[str, str, str, str]]:
    """One line for each column, with the key on the first line."""
    key = ", ".join(f"{name} {shown_short(value)}" for name, value in change.key.items())
    names = list(change.before if change.before is not None else change.after or {})
    for place, name in enumerate(names[:_MOST_COLUMNS]):
        yield (key if not place else "", name, *_values(change, name))
    if not names:
        yield key, "", "", ""
    if len(names) > _MOST_COLUMNS:
        yield "", f"… and {counted(len(names) - _MOST_COLUMNS, 'more column')}", "", ""


def _values(change: RowChange, name: str) -> tuple[str, str]:
    if change.before is None or change.after is None:
        value = shown_short((change.before or change.after or {})[name])
        return (value, "") if change.after is None else ("", value)
    return shown_pair(change.before[name], change.after[name])
