"""What is shown of the difference between two datasets: facts for a card, sections for text and HTML."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from eventlake.core.card import counted
from eventlake.core.format_value import shown_pair, shown_short
from eventlake.core.page import Section
from eventlake.datasets.comparing.row_diff import RowChange, RowsDiff

if TYPE_CHECKING:
    from eventlake.datasets.comparing.diff import DatasetDiff

_MOST_COLUMNS = 20
_HEADER = ("", "before", "after")


def facts(value: "DatasetDiff") -> tuple[tuple[str, str], ...]:
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


def columns_changed(value: "DatasetDiff") -> tuple[tuple[str, str], ...]:
    """The columns with changed values, and how many."""
    counts = value.rows.columns if value.rows else {}
    return tuple((name, f"{count:,}") for name, count in counts.items() if count)


def _watermark(value: "DatasetDiff") -> str:
    before, after = value.history.before.watermark, value.history.after.watermark
    if value.history.problem:
        return f"{before:,} → {after:,} ({value.history.problem})"
    if before == after:
        return f"{before:,} in both"
    return f"{before:,} → {after:,} ({counted(abs(after - before), 'event')} between)"


def _rows(value: "DatasetDiff") -> str:
    if value.identical:
        return f"the same ({counted(value.before.manifest.rows, 'row')}, content hash {value.before.content_hash})"
    return _counts(value.rows) if value.rows else str(value.refusal)


def _counts(rows: RowsDiff) -> str:
    figures = f"{rows.added:,} added, {rows.removed:,} removed, {rows.changed:,} changed, {rows.unchanged:,} unchanged"
    return f"{rows.before:,} → {rows.after:,}: {figures}"


def sections(value: "DatasetDiff") -> tuple[Section, ...]:
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


def _identity(value: "DatasetDiff") -> Iterator[tuple[str, str, str]]:
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


def _row_lines(value: "DatasetDiff") -> Iterator[str]:
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
