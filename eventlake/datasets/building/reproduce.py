"""Making a dataset again from its manifest hash, from scratch, and comparing.

Nothing stored is believed: segments, sources and spine are re-hashed against the manifest before they are used, and the stored rows are
not looked at until new ones are there.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa

from eventlake.columns.hashing.content import column_digest, from_logical
from eventlake.core.card import Card
from eventlake.core.documents.dataset import DatasetManifest, Recipe
from eventlake.database import UNLIMITED, Limits
from eventlake.datasets.building.build import Work, circumstances, make, work_of
from eventlake.datasets.building.build_once import dataset_statement
from eventlake.datasets.building.isolated import isolated
from eventlake.datasets.dataset import Dataset
from eventlake.datasets.store.archive import SOURCE, Archive
from eventlake.errors import EventlakeError, InvalidInputError
from eventlake.history.pinned import PinnedHistory
from eventlake.projections.projection import Projection
from eventlake.projections.rows import Types
from eventlake.projections.source import load
from eventlake.verbs import helpful

_CAUSES = {
    "lake": {"checkpoint", "clock_hash", "schemas"},
    "code": {"declared_schema", "entry", "key", "kind", "parameters", "sources", "spine"},
    "environment": {"engine", "settings"},
}
"""What a difference in a part of the recipe is a difference of."""
_VERSION = re.compile(r"[0-9][0-9A-Za-z.!+_-]{0,60}")
"""The characters of PEP 440."""
_PYTHON = re.compile(r"3\.[0-9]{1,3}(?![0-9])")


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class Reproduction:
    """The outcome of making a dataset again.

    Attributes:
        dataset: The dataset; where the rows are identical it holds those made now, so that the stored ones may be lost.
        identical: Whether the rows made now have the same content hash.
        content_hash: Of the rows made now.
        differences: What differs between then and now, in words; versions are named even where the rows are identical.
        causes: Where the rows differ, which of ``lake``, ``code``, ``environment`` and ``data`` do: the history, what was run over it,
            the versions that ran it; and ``data`` alone where all of them are the same, and something decides the rows that no recipe
            knows of.
        command: Makes an environment with the versions of then.
    """

    dataset: Dataset
    identical: bool
    content_hash: str
    differences: tuple[str, ...]
    causes: tuple[str, ...] = ()
    command: str = ""

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
            *((("because of", ", ".join(self.causes)),) if self.causes else ()),
            *((("environment then", self.command),) if self.differences else ()),
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
        StorageError: See ``isolated``.
    """
    again: _Again = isolated(_made_again, history, archive, trust=trust)
    then = archive.manifest
    if again.manifest_hash == then.manifest_hash and not history.trust.believes:
        history.trust.ledger.note([dataset_statement(then.manifest_hash)])
    dataset = Dataset(archive, again.rows, trust=history.trust)
    command = environment_command(archive.provenance())
    return Reproduction(
        dataset,
        again.rows is not None,
        again.content_hash,
        again.differences,
        again.causes,
        command,
    )


class _Again(NamedTuple):
    """What a recipe makes now; ``rows`` if they are identical."""

    manifest_hash: str
    content_hash: str
    rows: pa.Table | None
    differences: tuple[str, ...]
    causes: tuple[str, ...]


def _made_again(history: PinnedHistory, archive: Archive, *, trust: bool) -> _Again:
    then = archive.manifest
    made = make(work_again(archive, history, archive.spine(), trust=trust))
    identical = made.manifest.content_hash == then.content_hash
    provenance = archive.provenance()
    moved = _moved_environment(provenance)
    differences = [*manifest_differences(then, made.manifest), *moved]
    causes: list[str] = []
    if not identical:
        changed = _changed(then.recipe, made.manifest.recipe)
        causes = [
            cause
            for cause, names in _CAUSES.items()
            if not names.isdisjoint(changed) or (cause == "environment" and moved)
        ]
        differences += _differing_columns(archive, made.rows)
    causes = causes or ([] if identical else ["data"])
    rows = made.rows if identical else None
    return _Again(
        made.manifest.manifest_hash,
        made.manifest.content_hash,
        rows,
        tuple(differences),
        tuple(causes),
    )


def environment_command(provenance: Mapping[str, Any]) -> str:
    """The command that makes an environment like the one in which a dataset was built; what depends on nothing else is left to pip.

    It will be pasted into a shell, and a stranger may have written the provenance: it names only packages that are recorded here too, and
    versions that are spelled as versions are; anything else is left out.
    """
    versions, python = (
        provenance["versions"],
        _PYTHON.match(str(provenance["environment"].get("python"))),
    )
    known = (
        (name, str(versions[name]))
        for name in sorted(circumstances()["versions"])
        if name in versions
    )
    packages = " ".join(
        shlex.quote(f"{name}=={version}") for name, version in known if _VERSION.fullmatch(version)
    )
    venv = f"python{python[0] if python else 3} -m venv then"
    return f"{venv} && then/bin/pip install {packages}" if packages else venv


def _moved_environment(provenance: Mapping[str, Any]) -> list[str]:
    """Which versions and machines are not what they were; those of the engine stand in the recipe."""
    then = {**provenance["versions"], **provenance["environment"]}
    here = circumstances()
    now = {**here["versions"], **here["environment"]}
    return [
        f"{name}: {then[name]} then, {now[name]} now"
        for name in now
        if name in then and then[name] != now[name] and name != "polars_threads"
    ]


def _changed(then: Recipe, now: Recipe) -> set[str]:
    before, after = then.document(), now.document()
    return {name for name in before if before[name] != after[name]}


def projection_of(archive: Archive) -> Projection:
    """The projection of an archived dataset, from the sources archived with it; a Python function is not loaded.

    Raises:
        CorruptionError: A source is missing or was changed.
    """
    recipe = archive.manifest.recipe
    return Projection(
        name=recipe.name,
        kind=recipe.kind,
        entry=recipe.entry,
        sources=archive.sources(),
        key=recipe.key,
        level=recipe.level,
        parameters=recipe.parameters,
    )


def declared(archive: Archive) -> Types:
    """The output types that were declared when an archived dataset was built."""
    schema = archive.manifest.recipe.declared_schema
    return None if schema is None else {name: from_logical(kind) for name, kind in schema}


def work_again(
    archive: Archive,
    history: PinnedHistory,
    spine: pa.Table | None,
    *,
    trust: bool = False,
    limits: Limits = UNLIMITED,
) -> Work:
    """What an archived dataset was made by, ready to be run again; no stored event table is read.

    Args:
        archive: The dataset's folder.
        history: The lake at the manifest's checkpoint, its root compared.
        spine: The archived one, its content hash compared.
        trust: Load archived Python.
        limits: When a SQL query is given up.

    Raises:
        InvalidInputError: A Python projection without ``trust``.
        CorruptionError: The archived source is not what the manifest names.
    """
    recipe, projection, types = archive.manifest.recipe, projection_of(archive), declared(archive)
    history = history.with_schemas(recipe.schemas, fresh=True)
    if recipe.kind in {"sql", "features"}:
        return work_of(projection, history, spine, types=types, as_in=recipe, limits=limits)
    if not trust:
        message = f"dataset {recipe.name} was made by Python code ({recipe.entry}), which is archived with it and would be run"
        raise InvalidInputError(
            message,
            "read it, then pass trust=True or --trust.",
            source=f"{archive.folder}/{SOURCE}",
        )
    projection = replace(projection, function=load(recipe.entry, projection.sources))
    return work_of(projection, history, spine, types=types, as_in=recipe)


def manifest_differences(then: DatasetManifest, now: DatasetManifest) -> list[str]:
    """What of the recipe and the output is not as it was; on the same recipe only the output can differ."""
    before, after = then.recipe.document(), now.recipe.document()
    changed = [name for name in before if name in _changed(then.recipe, now.recipe)]
    differences = [
        f"{name}: {_plain(before[name])} then, {_plain(after[name])} now" for name in changed
    ]
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
    return [
        f"column {name}"
        for name in common
        if column_digest(stored.column(name)) != column_digest(rows.column(name))
    ]
