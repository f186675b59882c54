"""The difference between two datasets, and how it is shown: facts for a card, sections for text and HTML."""

from collections.abc import Iterator
from dataclasses import dataclass

from eventlake.core import layout
from eventlake.core.card import Card, counted
from eventlake.core.format_value import shown_pair, shown_short
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.page import Section, as_html, as_text
from eventlake.datasets.comparing.row_diff import RowChange, RowsDiff
from eventlake.datasets.dataset import Dataset
from eventlake.verbs import helpful

ABSENT = "absent"
_MOST_COLUMNS = 20
_HEADER = ("", "before", "after")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not the same in both, such as ``engine version`` or ``parameter since``.

    Attributes:
        what: Its name.
        before: As text; ``absent`` where the first dataset has none.
        after: The same of the second.
    """

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class SourceChange:
    """One source file that is not the same in both.

    Attributes:
        name: The file.
        kind: ``added``, ``removed`` or ``changed``.
        patch: A unified diff of its lines.
    """

    name: str
    kind: str
    patch: str


@dataclass(frozen=True, slots=True)
class HistoryDiff:
    """How the histories of two datasets lie to each other.

    Attributes:
        before: Checkpoint of the first.
        after: Of the second.
        problem: Why the lake does not have both; None where it does, and so the shorter is the
            beginning of the longer.
    """

    before: Checkpoint
    after: Checkpoint
    problem: str | None

    @property
    def events(self) -> int | None:
        """Number of events between the two watermarks, below zero where the second is the earlier; None beside a ``problem``."""
        return None if self.problem else self.after.watermark - self.before.watermark


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class DatasetDiff:
    """The outcome of comparing two datasets.

    Attributes:
        before: The first dataset.
        after: The second.
        identical: Whether the rows have the same content hash; then they were not read.
        history: Their checkpoints, and the events between.
        recipe: What of the recipe differs, but for code and checkpoint.
        sources: Source files that differ.
        schema: Columns that only one has, whose types differ, or the order of columns.
        rows: Rows by key; None where they could not be compared.
        refusal: Why they could not; None where they were.
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
        """Which two, and whether their rows are the same."""
        names = (
            f"{dataset.name} {dataset.manifest_hash[: layout.SHORT_HASH]}"
            for dataset in (self.before, self.after)
        )
        return f"{' → '.join(names)}: rows {'the same' if self.identical else 'differ'}"

    def __repr__(self) -> str:
        """The title."""
        return f"<DatasetDiff: {self.card().title}>"

    def card(self) -> Card:
        """What to show: one line for each thing that differs, and the columns with changed values."""
        return Card(self.title, facts(self), ("column", "changed values"), columns_changed(self))

    def text(self) -> str:
        """Everything that differs, as text."""
        return as_text(self.title, sections(self))

    def html(self) -> str:
        """The same as one HTML file that needs nothing else: all text escaped, no scripts, for light and dark screens."""
        return as_html(self.title, sections(self))


def facts(value: DatasetDiff) -> tuple[tuple[str, str], ...]:
    """One line for each thing that differs."""
    told = [
        ("before", value.before.manifest_hash),
        ("after", value.after.manifest_hash),
        ("watermark", _watermark(value)),
    ]
    told += [(change.what, f"{change.before} → {change.after}") for change in value.recipe]
    told += [("code", f"{source.name} {source.kind}") for source in value.sources]
    told += [
        ("schema", f"{change.what}: {change.before} → {change.after}") for change in value.schema
    ]
    told.append(("rows", _rows(value)))
    return tuple(told)


def columns_changed(value: DatasetDiff) -> tuple[tuple[str, str], ...]:
    """The columns with changed values, and how many."""
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
        return f"the same ({counted(value.before.manifest.rows, 'row')}, content hash {value.before.content_hash})"
    return _counts(value.rows) if value.rows else str(value.refusal)


def _counts(rows: RowsDiff) -> str:
    figures = f"{rows.added:,} added, {rows.removed:,} removed, {rows.changed:,} changed, {rows.unchanged:,} unchanged"
    return f"{rows.before:,} → {rows.after:,}: {figures}"


def sections(value: DatasetDiff) -> tuple[Section, ...]:
    """Everything that differs, part by part; parts that are the same say so in one line, together."""
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
        yield f"matched by {', '.join(value.rows.matched_by)} of the spines, and by their occurrence"
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
    """One line for each column, the key on the first."""
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
