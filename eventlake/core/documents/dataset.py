"""A dataset's identity: the recipe (inputs) and the manifest (result), each with its hash."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self, get_args

from msgspec import Meta

from eventlake.core.documents.stored import (
    Column,
    Count,
    Document,
    FormatNumber,
    Name,
    Origin,
    Sequence,
    Sha256,
    SourceFile,
    Text,
    Word,
    canonical,
    damaged,
)
from eventlake.core.hashing.canonical import canonical_json, sha256_hex
from eventlake.core.hashing.checkpoint import Checkpoint

FORMAT = 1
Level = Literal["exact", "fixed", "unproven"]
LEVELS: tuple[str, ...] = get_args(Level)
UNCHECKED = "declared, unchecked"
ALLOW_LIST = "allow-list"
CONSTRUCTION = "by construction"
# Sums of floats differ between runs on two threads and, on one thread, under another memory limit.
# A recipe from a stranger cannot name other settings: they reach the engine's configuration.
SETTINGS: dict[str, dict[str, str | int | bool]] = {
    "features": {},
    "python": {"engine": "in-memory"},
    "sql": {"memory_limit": "4GB", "preserve_insertion_order": True, "threads": 1},
}
"""Engine settings by kind of projection; a recipe has all of them or none."""
# Declared features have the same rows on both engines, so their recipe names neither.
ENGINES = {"features": "eventlake", "python": "polars", "sql": "duckdb"}
"""The engine in a recipe, by kind of projection."""
MOST_SPELLED = 4_096
"""Maximum characters of a logical type."""

Parameter = str | int | bool | None
_NOUN = "dataset manifest"
_Typed = tuple[Column, Annotated[str, Meta(min_length=1, max_length=MOST_SPELLED)]]


class CheckpointDocument(Document):
    """A checkpoint in a recipe."""

    origin: Origin
    root: Sha256
    watermark: Sequence


class EngineDocument(Document):
    """An engine in a recipe."""

    name: Literal["duckdb", "eventlake", "polars"]
    version: Word


class SpineDocument(Document):
    """The identity of a spine."""

    content_hash: Sha256
    rows: Count


class RecipeDocument(Document):
    """A recipe as stored; ``Recipe`` documents the members."""

    check: Literal["declared, unchecked", "allow-list", "by construction"]
    checkpoint: CheckpointDocument
    clock_hash: Sha256 | None
    declared_schema: tuple[_Typed, ...] | None
    engine: EngineDocument
    entry: Annotated[str, Meta(min_length=1, max_length=500)]
    key: Annotated[tuple[Column, ...], Meta(min_length=1)]
    kind: Literal["features", "python", "sql"]
    level: Level
    name: Name
    parameters: dict[Column, Parameter]
    schemas: dict[Text, Sha256]
    settings: dict[Column, str | int | bool]
    sources: Annotated[dict[SourceFile, Sha256], Meta(min_length=1)]
    spine: SpineDocument | None


class OutputDocument(Document):
    """The result as stored."""

    content_hash: Sha256
    rows: Count
    schema: tuple[_Typed, ...]


class ManifestDocument(Document):
    """``manifest.json``."""

    format: FormatNumber
    output: OutputDocument
    recipe: RecipeDocument
    recipe_hash: Sha256


@dataclass(frozen=True, slots=True)
class Spine:
    """The identity of the rows for which features are computed."""

    rows: int
    content_hash: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that determines a dataset's rows, and nothing else; equal recipes make equal rows.

    Attributes:
        name: Name of the dataset.
        checkpoint: The history it is built from.
        clock_hash: SHA-256 over the runs of ``recorded_at`` if the projection can read
            ``recorded_at``, else None.
        kind: ``sql``, ``python`` or ``features``.
        entry: The file to run, with ``:function`` for Python.
        sources: SHA-256 of every declared file, by file name.
        parameters: Parameters of the projection.
        spine: Identity of the spine, if there is one.
        engine: ``duckdb`` or ``polars``; ``eventlake`` for features, which give the same rows on
            both.
        engine_version: Version of the engine; for ``eventlake`` that of the feature compiler.
        settings: Engine settings that can affect the rows.
        level: The declared level: ``exact``, ``fixed`` or ``unproven``.
        check: The basis of the level: ``allow-list`` if the query was checked against it, ``by
            construction`` for features, else ``declared, unchecked``.
        key: Columns that identify and order the rows.
        schemas: Hash of the schema by event type, for every event table that is read.
        declared_schema: Declared output columns as ``(name, logical type)``; None to take them from
            the result.
    """

    name: str
    checkpoint: Checkpoint
    clock_hash: str | None
    kind: str
    entry: str
    sources: dict[str, str]
    parameters: dict[str, Parameter]
    spine: Spine | None
    engine: str
    engine_version: str
    settings: dict[str, str | int | bool]
    level: str
    key: tuple[str, ...]
    declared_schema: tuple[tuple[str, str], ...] | None
    schemas: dict[str, str] = field(default_factory=dict)
    check: str = UNCHECKED
    _hash: str = field(default="", init=False, repr=False, compare=False)

    def document(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        checkpoint = self.checkpoint
        declared = self.declared_schema
        spine = self.spine
        return {
            "check": self.check,
            "checkpoint": {
                "origin": checkpoint.origin,
                "root": checkpoint.root,
                "watermark": checkpoint.watermark,
            },
            "clock_hash": self.clock_hash,
            "declared_schema": None if declared is None else [list(pair) for pair in declared],
            "engine": {"name": self.engine, "version": self.engine_version},
            "entry": self.entry,
            "key": list(self.key),
            "kind": self.kind,
            "level": self.level,
            "name": self.name,
            "parameters": self.parameters,
            "schemas": self.schemas,
            "settings": self.settings,
            "sources": self.sources,
            "spine": {"content_hash": spine.content_hash, "rows": spine.rows} if spine else None,
        }

    @property
    def recipe_hash(self) -> str:
        """SHA-256 of the canonical recipe in hex."""
        # Computed once: a recipe never changes, and its hash is asked for again and again.
        if not self._hash:
            object.__setattr__(self, "_hash", sha256_hex(canonical_json(self.document())))
        return self._hash

    @property
    def series_hash(self) -> str:
        """SHA-256 of what recipes share that differ in history and spine alone, in hex.

        One that reads the clock, or has a spine, is of another series than one that does not.
        """
        same = {
            "checkpoint": None,
            "clock_hash": self.clock_hash is not None,
            "spine": self.spine is not None,
        }
        return sha256_hex(canonical_json({"series": {**self.document(), **same}}))

    @classmethod
    def of(cls, document: RecipeDocument) -> Self:
        """The inverse of ``document``, from decoded members."""
        checkpoint, spine = document.checkpoint, document.spine
        return cls(
            name=document.name,
            checkpoint=Checkpoint(checkpoint.origin, checkpoint.watermark, checkpoint.root),
            clock_hash=document.clock_hash,
            kind=document.kind,
            entry=document.entry,
            sources=document.sources,
            parameters=document.parameters,
            spine=Spine(spine.rows, spine.content_hash) if spine else None,
            engine=document.engine.name,
            engine_version=document.engine.version,
            settings=document.settings,
            level=document.level,
            key=document.key,
            declared_schema=document.declared_schema,
            schemas=document.schemas,
            check=document.check,
        )

    def disagreement(self) -> str | None:
        """A problem that a recipe of no version has; None if there is none."""
        return next(self._disagreements(), None)

    def _disagreements(self) -> Iterator[str]:
        file, _, function = self.entry.partition(":")
        python = self.kind == "python"
        if (
            file not in self.sources
            or function.isidentifier() is not python
            or (":" in self.entry and not python)
        ):
            yield (
                f"expected the entry of a {self.kind} recipe among its sources, "
                f"found {self.entry!r}"
            )
        if self.kind == "features" and len(self.sources) > 1:
            yield f"expected one source of features, found {', '.join(self.sources)}"
        if self.engine != ENGINES[self.kind]:
            yield (
                f"expected the engine {ENGINES[self.kind]} of a {self.kind} recipe, "
                f"found {self.engine!r}"
            )
        settings = SETTINGS[self.kind]
        # Compared as JSON, because ``True == 1`` in Python, and ``threads`` is never ``true``.
        if canonical_json(self.settings) not in {b"{}", canonical_json(settings)}:
            yield (
                f"expected settings of a {self.kind} recipe as {settings} or none, "
                f"found {self.settings}"
            )
        if len(set(self.key)) != len(self.key):
            yield f"expected each column of the key once, found {self.key}"
        if any(isinstance(value, str) and "\0" in value for value in self.parameters.values()):
            yield "expected parameters without NUL, found one"


@dataclass(frozen=True, slots=True)
class DatasetManifest:
    """A recipe and the hash of the rows that it made.

    It contains identity only, so a rebuild elsewhere has the same ``manifest_hash``.

    Attributes:
        recipe: The inputs.
        content_hash: Content hash of the rows in stored order.
        rows: Number of rows.
        schema: ``(name, logical type)`` of every column, in order.
    """

    recipe: Recipe
    content_hash: str
    rows: int
    schema: tuple[tuple[str, str], ...]
    _hash: str = field(default="", init=False, repr=False, compare=False)

    def encode(self) -> bytes:
        """The bytes of ``manifest.json``; their SHA-256 is the ``manifest_hash``."""
        return canonical_json(
            {
                "format": FORMAT,
                "output": {
                    "content_hash": self.content_hash,
                    "rows": self.rows,
                    "schema": [list(pair) for pair in self.schema],
                },
                "recipe": self.recipe.document(),
                "recipe_hash": self.recipe.recipe_hash,
            }
        )

    @property
    def manifest_hash(self) -> str:
        """SHA-256 of the manifest's bytes in hex."""
        if not self._hash:
            object.__setattr__(self, "_hash", sha256_hex(self.encode()))
        return self._hash

    def has_hash(self, prefix: str) -> bool:
        """Whether the hash of the manifest, the recipe or the content starts with ``prefix``."""
        return any(
            one.startswith(prefix)
            for one in (self.manifest_hash, self.recipe.recipe_hash, self.content_hash)
        )

    @classmethod
    def decode(cls, data: bytes, where: str) -> Self:
        """Decode a ``manifest.json``.

        Raises:
            UnsupportedFormatError: A newer eventlake wrote it.
            CorruptionError: A member is invalid, or the recipe hash does not match the recipe.
        """
        document = canonical(data, where, ManifestDocument, _NOUN)
        recipe, output = Recipe.of(document.recipe), document.output
        problem = recipe.disagreement()
        if problem is None and len({name for name, _ in output.schema}) != len(output.schema):
            problem = (
                f"expected each column once, found {', '.join(name for name, _ in output.schema)}"
            )
        if problem is None and document.recipe_hash != recipe.recipe_hash:
            problem = f"expected the recipe hash {recipe.recipe_hash}, found {document.recipe_hash}"
        if problem:
            raise damaged(where, _NOUN, problem)
        return cls(recipe, output.content_hash, output.rows, output.schema)
