"""A dataset's identity: the recipe (what went in) and the manifest (what came out), each with its hash."""

from dataclasses import dataclass, field
from typing import Any, Self

from eventlake.core.canonical import canonical_json, sha256_hex
from eventlake.core.checkpoint import Checkpoint
from eventlake.core.formats import check_format
from eventlake.errors import CorruptionError

FORMAT = 1
LEVELS = ("exact", "fixed", "unproven")
UNCHECKED = "declared, unchecked"
ALLOW_LIST = "allow-list"
CONSTRUCTION = "by construction"

Parameter = str | int | bool | None


@dataclass(frozen=True, slots=True)
class Spine:
    """The identity of the rows features were looked up for."""

    rows: int
    content_hash: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a dataset's rows, and nothing else. Two equal recipes make equal rows.

    Attributes:
        name: The dataset's name.
        checkpoint: The history it is made from.
        clock_hash: SHA-256 over the runs of ``recorded_at``, where the projection can see a ``recorded_at``; else None.
        kind: ``sql``, ``python`` or ``features``.
        entry: The file that is run, with ``:function`` for Python.
        sources: File name to SHA-256 of every declared file.
        parameters: Values the projection is given.
        spine: Identity of the spine, if there is one.
        engine: ``duckdb`` or ``polars``; ``eventlake`` for features, whose rows are the same on both.
        engine_version: Its version; of ``eventlake``, that of the compiler of features.
        settings: Engine settings that can touch the rows.
        level: ``exact``, ``fixed`` or ``unproven``, as declared.
        check: What the level rests on: ``allow-list`` where the query was held to it, ``by construction`` for features, else
            ``declared, unchecked``.
        key: Columns that identify a row and order the rows.
        schemas: Event type to hash of the schema it was read with, for every event table that is read.
        declared_schema: Declared output types as ``(name, logical type)``, or None where they are taken from the result.
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

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        checkpoint = self.checkpoint
        return {
            "check": self.check,
            "checkpoint": {"origin": checkpoint.origin, "root": checkpoint.root, "watermark": checkpoint.watermark},
            "clock_hash": self.clock_hash,
            "declared_schema": [list(pair) for pair in self.declared_schema] if self.declared_schema is not None else None,
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
            "spine": {"content_hash": self.spine.content_hash, "rows": self.spine.rows} if self.spine else None,
        }

    @property
    def recipe_hash(self) -> str:
        """SHA-256 of the canonical recipe, hex."""
        return sha256_hex(canonical_json(self.document()))

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """The inverse of ``document``."""
        schema, spine = document["declared_schema"], document["spine"]
        return cls(
            name=document["name"],
            checkpoint=Checkpoint(**document["checkpoint"]),
            clock_hash=document["clock_hash"],
            kind=document["kind"],
            entry=document["entry"],
            sources=document["sources"],
            parameters=document["parameters"],
            spine=Spine(spine["rows"], spine["content_hash"]) if spine else None,
            engine=document["engine"]["name"],
            engine_version=document["engine"]["version"],
            settings=document["settings"],
            level=document["level"],
            key=tuple(document["key"]),
            declared_schema=tuple((name, kind) for name, kind in schema) if schema is not None else None,
            schemas=document["schemas"],
            check=document["check"],
        )


@dataclass(frozen=True, slots=True)
class DatasetManifest:
    """A recipe and the rows it made, by their hash. It holds identity only, so a rebuild elsewhere has the same ``manifest_hash``.

    Attributes:
        recipe: What went in.
        content_hash: Of the rows in stored order.
        rows: Number of rows.
        schema: ``(name, logical type)`` of every column, in order.
    """

    recipe: Recipe
    content_hash: str
    rows: int
    schema: tuple[tuple[str, str], ...]

    def encode(self) -> bytes:
        """The bytes of ``manifest.json``; their SHA-256 is the ``manifest_hash``."""
        return canonical_json(
            {
                "format": FORMAT,
                "output": {"content_hash": self.content_hash, "rows": self.rows, "schema": [list(pair) for pair in self.schema]},
                "recipe": self.recipe.document(),
                "recipe_hash": self.recipe.recipe_hash,
            }
        )

    @property
    def manifest_hash(self) -> str:
        """SHA-256 of the manifest's bytes, hex."""
        return sha256_hex(self.encode())

    def has_hash(self, prefix: str) -> bool:
        """Whether the manifest's, the recipe's or the content's hash begins with ``prefix``."""
        return any(one.startswith(prefix) for one in (self.manifest_hash, self.recipe.recipe_hash, self.content_hash))

    @classmethod
    def decode(cls, document: dict[str, Any], where: str) -> Self:
        """Reads a parsed ``manifest.json``.

        Raises:
            UnsupportedFormatError: Written by a newer eventlake.
            CorruptionError: Not a dataset manifest, or its recipe hash is not that of its recipe.
        """
        check_format(document, where, FORMAT)
        try:
            output = document["output"]
            recipe = Recipe.from_document(document["recipe"])
            schema = tuple((name, kind) for name, kind in output["schema"])
            manifest = cls(recipe, output["content_hash"], output["rows"], schema)
            agrees = document["recipe_hash"] == recipe.recipe_hash
        except (KeyError, TypeError, ValueError) as error:
            message = f"{where} is not a dataset manifest: {error!r}"
            raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=where) from error
        if not agrees:
            message = f"{where}: its recipe hash is not that of its recipe"
            raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=where)
        return manifest
