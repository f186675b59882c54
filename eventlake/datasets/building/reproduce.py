"""Reproduces a dataset from scratch, and compares it with the stored one.

No stored result is trusted: segments, sources and spine are re-hashed before use, and the stored
rows are read only after the new ones exist.
"""

import re
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from eventlake.columns.hashing.content import column_digest
from eventlake.core.documents.dataset import DatasetManifest, Recipe
from eventlake.database import UNLIMITED, Limits
from eventlake.datasets.building.build_once import dataset_statement
from eventlake.datasets.building.environment import environment
from eventlake.datasets.building.isolated import isolated
from eventlake.datasets.building.ready import ReadyBuild, make, ready
from eventlake.datasets.store.archive import SOURCE, Archive
from eventlake.datasets.store.recorded import declared_types_of, projection_of
from eventlake.errors import EventlakeError, InvalidInputError
from eventlake.history.pinned import PinnedHistory
from eventlake.projections.computation import Computation
from eventlake.projections.kinds import kind_of

_CAUSES = {
    "lake": {"checkpoint", "clock_hash", "schemas"},
    "code": {"declared_schema", "entry", "key", "kind", "parameters", "sources", "spine"},
    "environment": {"engine", "settings"},
}
"""The cause of a difference, by the recipe members in which it shows."""
_VERSION = re.compile(r"[0-9][0-9A-Za-z.!+_-]{0,60}")
"""A version with the characters of PEP 440."""
_PYTHON = re.compile(r"3\.[0-9]{1,3}(?![0-9])")


class Reproduced(NamedTuple):
    """The result of reproducing a dataset.

    Attributes:
        manifest_hash: The manifest hash of the new dataset.
        content_hash: The content hash of the new rows.
        rows: The new rows if they are identical, else None.
        differences: What differs between then and now, in words; versions even if the rows are
            identical.
        causes: Why the rows differ: some of ``lake``, ``code``, ``environment`` and ``data``.
    """

    manifest_hash: str
    content_hash: str
    rows: pa.Table | None
    differences: tuple[str, ...]
    causes: tuple[str, ...]


def reproduce(history: PinnedHistory, archive: Archive, *, trust: bool = False) -> Reproduced:
    """Compute the rows of an archived dataset again and compare content hashes.

    Args:
        history: The lake at the manifest's checkpoint, its root verified.
        archive: The dataset's folder.
        trust: Run archived Python. SQL needs no trust, for it can read only the history.

    Raises:
        InvalidInputError: It is a Python projection and ``trust`` is false.
        CorruptionError: The history, the archived source or the spine is not what the manifest
            names.
        StorageError: See ``isolated``.
    """
    found: Reproduced = isolated(_reproduce, history, archive, trust=trust)
    then = archive.manifest.manifest_hash
    # Remembered, so that later builds may reuse the dataset.
    if found.manifest_hash == then and not history.trust.believes:
        history.trust.ledger.note([dataset_statement(then)])
    return found


def _reproduce(history: PinnedHistory, archive: Archive, *, trust: bool) -> Reproduced:
    then = archive.manifest
    built = make(prepare_reproduction(archive, history, archive.spine(), trust=trust))
    now = built.manifest
    identical = now.content_hash == then.content_hash
    environment_changes = _environment_changes(archive.provenance())
    differences = [*manifest_differences(then, now), *environment_changes]
    causes: list[str] = []
    if not identical:
        changed = _changed(then.recipe, now.recipe)
        causes = [
            cause
            for cause, names in _CAUSES.items()
            if not names.isdisjoint(changed) or (cause == "environment" and environment_changes)
        ] or ["data"]
        differences += _differing_columns(archive, built.rows.table())
    rows = built.rows.table() if identical else None
    return Reproduced(now.manifest_hash, now.content_hash, rows, tuple(differences), tuple(causes))


def environment_command(provenance: Mapping[str, Any]) -> str:
    """A shell command that installs the package versions with which a dataset was built.

    Users paste it into a shell, and an untrusted writer may have written the provenance. So it
    has only packages that this version records too, and text that is spelled like a version.
    """
    versions, python = (
        provenance["versions"],
        _PYTHON.match(str(provenance["environment"].get("python"))),
    )
    known = (
        (name, str(versions[name]))
        for name in sorted(environment()["versions"])
        if name in versions
    )
    packages = " ".join(
        shlex.quote(f"{name}=={version}") for name, version in known if _VERSION.fullmatch(version)
    )
    venv = f"python{python[0] if python else 3} -m venv then"
    return f"{venv} && then/bin/pip install {packages}" if packages else venv


def _environment_changes(provenance: Mapping[str, Any]) -> list[str]:
    """Packages and machine properties that differ from those of then, in words."""
    then = {**provenance["versions"], **provenance["environment"]}
    here = environment()
    now = {**here["versions"], **here["environment"]}
    return [
        f"{name}: {then[name]} then, {now[name]} now"
        for name in now
        if name in then and then[name] != now[name] and name != "polars_threads"
    ]


def _changed(then: Recipe, now: Recipe) -> set[str]:
    before, after = then.document(), now.document()
    return {name for name in before if before[name] != after[name]}


def prepare_reproduction(
    archive: Archive,
    history: PinnedHistory,
    spine: pa.Table | None,
    *,
    trust: bool = False,
    limits: Limits = UNLIMITED,
) -> ReadyBuild:
    """Prepare an archived dataset to be computed again, without reading stored event tables.

    Args:
        archive: The dataset's folder.
        history: The lake at the manifest's checkpoint, its root verified.
        spine: The archived spine, its content hash verified; None if there is none.
        trust: Import archived Python.
        limits: Time and memory limits of a SQL query.

    Raises:
        InvalidInputError: It is a Python projection and ``trust`` is false.
        CorruptionError: The archived source is not what the manifest names.
    """
    recipe, projection = archive.manifest.recipe, projection_of(archive)
    kind = kind_of(projection)
    if kind.needs_trust and not trust:
        message = (
            f"dataset {recipe.name} was made by Python code ({recipe.entry}), which is archived "
            "with it and would be run"
        )
        hint = "read it, then pass trust=True or --trust."
        raise InvalidInputError(message, hint, source=f"{archive.folder}/{SOURCE}")
    projection = kind.loaded(projection)
    history = history.with_schemas(recipe.schemas, ignore_stored=True)
    computation = Computation(projection, history, spine, declared_types_of(archive))
    return ready(computation, as_in=recipe, limits=limits)


def manifest_differences(then: DatasetManifest, now: DatasetManifest) -> list[str]:
    """Recipe members and output facts that differ, in words."""
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
    """The columns that differ from the stored rows, in words, if those can still be read."""
    try:
        stored = archive.rows()
    except EventlakeError as error:
        return [f"stored rows: {error.message}"]
    common = [name for name in stored.column_names if name in rows.column_names]
    return [
        f"column {name}"
        for name in common
        if column_digest(stored.column(name)) != column_digest(rows.column(name))
    ]
