"""Making a dataset again from its manifest hash, from scratch, and comparing.

Nothing stored is believed: segments, sources and spine are re-hashed against the manifest before they are used, and the stored rows are
not looked at until new ones are there.
"""

from dataclasses import dataclass, replace

import pyarrow as pa

from eventlake.columns.content import column_digest, content_hash, from_logical
from eventlake.core.card import Card
from eventlake.core.dataset import DatasetManifest
from eventlake.datasets.archive import SOURCE, Archive
from eventlake.datasets.build import Made, make, work_of
from eventlake.datasets.dataset import Dataset
from eventlake.errors import CorruptionError, EventlakeError, InvalidInputError
from eventlake.history.pinned import PinnedHistory
from eventlake.projections.definition import Projection
from eventlake.projections.source import load


@dataclass(frozen=True, slots=True, repr=False)
class Reproduction:
    """The outcome of making a dataset again.

    Attributes:
        dataset: The dataset; where the rows are identical it holds those made now, so that the stored ones may be lost.
        identical: Whether the rows made now have the same content hash.
        content_hash: Of the rows made now.
        differences: What differs between then and now, in words; versions are named even where the rows are identical.
    """

    dataset: Dataset
    identical: bool
    content_hash: str
    differences: tuple[str, ...]

    def __repr__(self) -> str:
        """The card's title."""
        return f"<Reproduction: {self.card().title}>"

    def card(self) -> Card:
        """What to show."""
        facts = (
            ("manifest_hash", self.dataset.manifest_hash),
            ("content_hash then", self.dataset.content_hash),
            ("content_hash now", self.content_hash),
            *(("differs", difference) for difference in self.differences),
        )
        return Card("identical" if self.identical else "not identical", facts)


def reproduce(history: PinnedHistory, archive: Archive, *, trust: bool = False) -> Reproduction:
    """Makes the rows of an archived dataset again and compares content hashes.

    Args:
        history: The lake at the manifest's checkpoint, its root compared.
        archive: The dataset's folder.
        trust: Run archived Python; SQL needs no trust, it can read nothing but the history.

    Raises:
        InvalidInputError: A Python projection without ``trust``.
        CorruptionError: The history, the archived source or the spine is not what the manifest names.
    """
    then = archive.manifest
    spine = _checked_spine(archive)
    made = _make(archive, history.with_schemas(then.recipe.schemas, fresh=True), spine, trust=trust)
    identical = made.manifest.content_hash == then.content_hash
    differences = _differences(then, made.manifest)
    if not identical:
        differences += _differing_columns(archive, made.rows)
    dataset = Dataset(archive, made.rows if identical else None)
    return Reproduction(dataset, identical, made.manifest.content_hash, tuple(differences))


def _checked_spine(archive: Archive) -> pa.Table | None:
    spine, recorded = archive.spine(), archive.manifest.recipe.spine
    if spine is not None and recorded is not None:
        found = content_hash(spine)
        if found != recorded.content_hash:
            message = f"the archived spine of {archive.folder} hashes to {found}, its manifest says {recorded.content_hash}"
            raise CorruptionError(message, "run 'eventlake verify LAKE' and restore spine.parquet.", path=archive.folder)
    return spine


def _make(archive: Archive, history: PinnedHistory, spine: pa.Table | None, *, trust: bool) -> Made:
    recipe = archive.manifest.recipe
    sources = archive.sources()
    types = None if recipe.declared_schema is None else {name: from_logical(kind) for name, kind in recipe.declared_schema}
    projection = Projection(
        name=recipe.name,
        kind=recipe.kind,
        entry=recipe.entry,
        sources=sources,
        key=recipe.key,
        level=recipe.level,
        parameters=recipe.parameters,
    )
    if recipe.kind == "sql":
        return make(work_of(projection, history, spine, types=types, check=recipe.check))
    if not trust:
        message = f"dataset {recipe.name} was made by Python code ({recipe.entry}), which is archived with it and would be run"
        raise InvalidInputError(message, "read it, then pass trust=True or --trust.", source=f"{archive.folder}/{SOURCE}")
    projection = replace(projection, function=load(recipe.entry, sources))
    return make(work_of(projection, history, spine, types=types, check=recipe.check))


def _differences(then: DatasetManifest, now: DatasetManifest) -> list[str]:
    """What of the recipe and the output is not as it was; on the same recipe only the output can differ."""
    before, after = then.recipe.document(), now.recipe.document()
    changed = [name for name in before if before[name] != after[name]]
    differences = [f"{name}: {_plain(before[name])} then, {_plain(after[name])} now" for name in changed]
    if then.rows != now.rows:
        differences.append(f"rows: {then.rows:,} then, {now.rows:,} now")
    if then.schema != now.schema:
        differences.append(f"schema: {then.schema} then, {now.schema} now")
    return differences


def _plain(value: object) -> str:
    return " ".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def _differing_columns(archive: Archive, rows: pa.Table) -> list[str]:
    """Names the columns that differ from the stored rows, where those can still be read."""
    try:
        stored = Dataset(archive).arrow()
    except EventlakeError as error:
        return [f"stored rows: {error.message}"]
    common = [name for name in stored.column_names if name in rows.column_names]
    return [f"column {name}" for name in common if column_digest(stored.column(name)) != column_digest(rows.column(name))]
