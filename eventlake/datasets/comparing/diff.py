"""Compares two datasets: history, recipe, code, schema and rows."""

import difflib
import re
from collections.abc import Iterator
from typing import Any

from eventlake.core.card import counted
from eventlake.core.documents.dataset import DatasetManifest, Recipe
from eventlake.core.format_value import shown
from eventlake.datasets.comparing.diff_report import (
    ABSENT,
    Change,
    DatasetDiff,
    HistoryDiff,
    SourceChange,
)
from eventlake.datasets.comparing.row_diff import RowsDiff, diff_matched, diff_rows, same_rows
from eventlake.datasets.comparing.spine_match import is_numbered, matched
from eventlake.datasets.dataset import Dataset, Pin
from eventlake.datasets.store.archive import Archive
from eventlake.errors import CorruptionError, NotFoundError

MOST_ALIGNED_LINES = 4_000
"""Maximum lines of all source files together that are compared by ``difflib``."""
_CONTEXT = 3
"""Unchanged lines shown around a change."""
_LINES = re.compile(r"[^\n]*\n|[^\n]+")


def diff(before: Archive, after: Archive, pin: Pin) -> DatasetDiff:
    """Compare two datasets of a lake.

    Rows are read only if the content hashes differ, and then as a stream. Rows that are numbered by
    different spines are held in memory, to be matched by entity, cutoff and occurrence.

    Args:
        before: The first dataset.
        after: The second dataset.
        pin: Looks a checkpoint up in the lake and verifies its root.

    Raises:
        CorruptionError: A stored file is missing or changed.
        StorageError: The store failed.
    """
    one, other = before.manifest, after.manifest
    identical = one.content_hash == other.content_hash
    refusal = None if identical else _refusal(one, other)
    compared, not_compared = _columns(one, other)
    rows = same_rows(before, compared) if identical else None
    if not identical and refusal is None:
        try:
            rows = _rows(before, after, compared)
            if rows is None:
                refusal = (
                    "not compared: rows are numbered, and no column of the spines identifies them"
                )
        except NotFoundError as error:
            refusal = f"not compared: {error.message}; {error.hint}"
    return DatasetDiff(
        before=Dataset(before, pin),
        after=Dataset(after, pin),
        identical=identical,
        history=HistoryDiff(
            one.recipe.checkpoint, other.recipe.checkpoint, _problem(one.recipe, other.recipe, pin)
        ),
        recipe=tuple(_recipe(one.recipe, other.recipe)),
        sources=tuple(_sources(before, after)),
        schema=tuple(_schema(one, other)),
        rows=rows,
        refusal=refusal,
        not_compared=not_compared,
    )


def _rows(before: Archive, after: Archive, compared: list[str]) -> RowsDiff | None:
    """Compare rows by key, or by the columns of their spines if the key is a spine's row number."""
    if not is_numbered(before, after):
        return diff_rows(before, after, compared)
    rows = matched(before, after)
    recipe = before.manifest.recipe
    return None if rows is None else diff_matched(rows, recipe.key, compared, recipe.name)


def _refusal(before: DatasetManifest, after: DatasetManifest) -> str | None:
    """Why rows cannot be matched by key; None if they can."""
    key, other = before.recipe.key, after.recipe.key
    if key != other:
        return f"not compared: the keys differ ({', '.join(key)}; {', '.join(other)})"
    types, others = dict(before.schema), dict(after.schema)
    for name in key:
        if types[name] != others[name]:
            return (
                f"not compared: key column {name} is {types[name]} in the first "
                f"and {others[name]} in the second"
            )
    return None


def _columns(before: DatasetManifest, after: DatasetManifest) -> tuple[list[str], dict[str, str]]:
    """The columns whose values are compared, and the reasons for the others by name."""
    types, others = dict(before.schema), dict(after.schema)
    keys = {*before.recipe.key, *after.recipe.key}
    compared = [name for name in types if name not in keys and types[name] == others.get(name)]
    reasons = {}
    for name in {**types, **others}:
        if name in types and name in others and types[name] != others[name]:
            reasons[name] = "other type"
        elif name not in types or name not in others:
            reasons[name] = "only in the first" if name in types else "only in the second"
    return compared, reasons


def _problem(before: Recipe, after: Recipe, pin: Pin) -> str | None:
    """Why the lake does not have both histories; None if it has.

    A lake is append-only: if it has both, one is a prefix of the other.
    """
    for checkpoint in (before.checkpoint, after.checkpoint):
        try:
            pin(checkpoint)
        except (CorruptionError, NotFoundError) as error:
            return error.message
    return None


def _recipe(before: Recipe, after: Recipe) -> Iterator[Change]:
    one, other = _labelled(before), _labelled(after)
    for what in {**one, **other}:
        if one.get(what) != other.get(what):
            yield Change(what, one.get(what, ABSENT), other.get(what, ABSENT))


def _labelled(recipe: Recipe) -> dict[str, str]:
    """A recipe's members by the labels that users read, except code and checkpoint."""
    labelled = {
        "name": recipe.name,
        "kind": recipe.kind,
        "entry": recipe.entry,
        "key": ", ".join(recipe.key),
        "level": recipe.level,
        "check": recipe.check,
        "engine": recipe.engine,
        "engine version": recipe.engine_version,
    }
    labelled |= _named("setting", recipe.settings) | _named("parameter", recipe.parameters)
    if recipe.spine:
        labelled["spine"] = (
            f"{counted(recipe.spine.rows, 'row')}, content hash {recipe.spine.content_hash}"
        )
    if recipe.clock_hash:
        labelled["clock hash"] = recipe.clock_hash
    for event_type, schema_hash in recipe.schemas.items():
        labelled[f"schema of {event_type}"] = schema_hash
    for name, kind in recipe.declared_schema or ():
        labelled[f"declared type of {name}"] = kind
    return labelled


def _named(noun: str, values: dict[str, Any]) -> dict[str, str]:
    return {f"{noun} {name}": shown(value) for name, value in values.items()}


def _sources(before: Archive, after: Archive) -> Iterator[SourceChange]:
    hashes, others = before.manifest.recipe.sources, after.manifest.recipe.sources
    if hashes == others:
        return
    texts, new, patches = before.sources(), after.sources(), _Patches()
    for name in sorted({**texts, **new}):
        if hashes.get(name) != others.get(name):
            kind = "changed" if name in texts and name in new else "added"
            kind = "removed" if name not in new else kind
            yield SourceChange(name, kind, patches.patch(name, texts.get(name), new.get(name)))


class _Patches:
    """Unified diffs of source files, of a bounded number of lines.

    The files may be untrusted, and ``difflib`` can take the cube of the number of lines.
    """

    def __init__(self, aligned_lines: int = MOST_ALIGNED_LINES) -> None:
        self._left = aligned_lines

    def patch(self, name: str, before: str | None, after: str | None) -> str:
        """The unified diff of one file; None stands for a file that does not exist."""
        lines, new = (_LINES.findall(text or "") for text in (before, after))
        names = (
            "/dev/null" if before is None else f"a/{name}",
            "/dev/null" if after is None else f"b/{name}",
        )
        # Files that only one side has need no alignment.
        self._left -= len(lines) + len(new) if before is not None and after is not None else 0
        align = difflib.unified_diff if self._left >= 0 else _replaced
        patch = align(lines, new, *names)
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in patch
        )


def _replaced(lines: list[str], new: list[str], old_name: str, new_name: str) -> Iterator[str]:
    """A unified diff with one hunk, between the common first and the common last lines."""
    most = min(len(lines), len(new))
    # The common end is searched for after the common beginning, so that they do not overlap.
    begin = next((place for place in range(most) if lines[place] != new[place]), most)
    end = next(
        (place for place in range(most - begin) if lines[-1 - place] != new[-1 - place]),
        most - begin,
    )
    first = max(0, begin - _CONTEXT)
    after = lines[len(lines) - end :][:_CONTEXT]
    kept = begin - first + len(after)
    counts = [len(one) - end - begin + kept for one in (lines, new)]
    yield from (f"--- {old_name}\n", f"+++ {new_name}\n")
    yield "@@ -{} +{} @@\n".format(
        *(f"{first + 1 if count else first},{count}" for count in counts)
    )
    yield from (f" {line}" for line in lines[first:begin])
    yield from (f"-{line}" for line in lines[begin : len(lines) - end])
    yield from (f"+{line}" for line in new[begin : len(new) - end])
    yield from (f" {line}" for line in after)


def _schema(before: DatasetManifest, after: DatasetManifest) -> Iterator[Change]:
    types, others = dict(before.schema), dict(after.schema)
    for name in {**types, **others}:
        if types.get(name) != others.get(name):
            yield Change(name, types.get(name, ABSENT), others.get(name, ABSENT))
    order, new_order = (
        [name for name in one if name in types and name in others] for one in (types, others)
    )
    if order != new_order:
        yield Change("order of columns", ", ".join(order), ", ".join(new_order))
