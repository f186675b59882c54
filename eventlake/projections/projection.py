"""Projections: code, a key, a level and, if declared, the schema of the rows."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from eventlake.caches import CACHES
from eventlake.core.documents.dataset import LEVELS, Parameter
from eventlake.core.names import DATASET_NAME, is_text
from eventlake.errors import InvalidProjectionError
from eventlake.features.feature_set import FeatureSet
from eventlake.projections.source import capture
from eventlake.public_calls import declaration, verbs

_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
# Recipes are canonical JSON, which has no floats.
_EXACT_PARAMETERS = (str, int, bool, type(None))
SQL_FILE = "query.sql"
FEATURES_FILE = "features.json"


@verbs
@dataclass(frozen=True, slots=True)
class Projection:
    """A definition that turns events into rows.

    Create one with ``Projection.sql``, ``Projection.features`` or the decorator ``projection``.

    Attributes:
        name: The dataset's name: lower-case letters, digits and underscores.
        kind: ``sql`` (DuckDB), ``python`` (Polars) or ``features`` (either).
        entry: The source file to run, with ``:function`` for Python.
        sources: The text of every file that defines the rows, by file name.
        key: Columns that identify a row; rows are stored in their order.
        level: The declared level: ``exact``, ``fixed`` or ``unproven``.
        schema: A ``pandera.polars`` schema or model that the rows must satisfy; None without one.
        parameters: Default values of the parameters.
        function: The Python function; None for other kinds.
        by: The column of the entity, in every table that is read, if each row depends on one entity
            alone; None otherwise. A build proves it. It is not part of the identity, for it does
            not change the rows.
        spine_by: The spine's column of the entity; None if it has the same name.
        runs_on: The engine of features; their rows are the same on both.
    """

    name: str
    kind: str
    entry: str
    sources: Mapping[str, str]
    key: tuple[str, ...]
    level: str = "exact"
    schema: Any = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    function: Callable[..., pl.LazyFrame] | None = None
    by: str | None = None
    spine_by: str | None = None
    runs_on: str = "duckdb"

    def __post_init__(self) -> None:
        if not re.fullmatch(DATASET_NAME, self.name):
            message = (
                "expected a name of lower-case letters, digits and underscores, "
                f"found {self.name!r}"
            )
            raise InvalidProjectionError(
                message, "write el.Projection.sql('late_loans', query, key=['loan'])."
            )
        if self.schema is not None and not hasattr(self.schema, "validate"):
            message = (
                f"projection {self.name}: expected schema as a pandera.polars schema or model, "
                f"found {type(self.schema).__name__}"
            )
            hint = (
                "write pandera.polars.DataFrameSchema({'loan': pandera.polars.Column(str)}), "
                "or leave it out."
            )
            raise InvalidProjectionError(message, hint)
        if not self.key or not all(isinstance(column, str) for column in self.key):
            message = (
                f"projection {self.name}: expected the key as a list of at least one column, "
                f"found {self.key!r}"
            )
            raise InvalidProjectionError(
                message, "the key identifies a row; rows are stored in its order."
            )
        if self.level not in LEVELS:
            message = (
                f"projection {self.name}: expected a level among {', '.join(LEVELS)}, "
                f"found {self.level!r}"
            )
            raise InvalidProjectionError(message, "write level='exact', or leave it out.")
        for file, text in self.sources.items():
            if not is_text(text):
                message = f"projection {self.name}: expected {file} as text without lone surrogates"
                raise InvalidProjectionError(message, "UTF-8 cannot hold half of a surrogate pair.")
            # The files are written to a folder when an archive runs: none may lead out of it.
            if not _FILE.fullmatch(file) or {"", ".", ".."} & set(file.split("/")):
                message = (
                    f"projection {self.name}: expected source files below its folder, "
                    f"found {file!r}"
                )
                raise InvalidProjectionError(
                    message, "a file name has letters, digits, '_', '-', '.' and '/'."
                )
        if self.by is not None and (
            not isinstance(self.by, str) or not self.by or self.level != "exact"
        ):
            message = (
                f"projection {self.name}: expected by as the name of a column, for the level "
                f"exact, found {self.by!r}"
            )
            raise InvalidProjectionError(
                message, "at other levels rows may depend on the other rows of the query."
            )
        _check_parameters(self.name, self.parameters)

    @classmethod
    def sql(
        cls,
        name: str,
        query: str,
        *,
        key: Sequence[str],
        level: str = "exact",
        schema: Any = None,
        parameters: Mapping[str, Parameter] | None = None,
        by: str | None = None,
        spine_by: str | None = None,
    ) -> "Projection":
        """A DuckDB query over ``events``, the event tables and, if the build has one, ``spine``.

        Args:
            name: The dataset's name: lower-case letters, digits and underscores.
            query: One SELECT. ``$name`` is a parameter. The table ``spine`` has the spine's columns
                and ``spine_row`` BIGINT, 0-based.
            key: Columns that identify a row: unique, without nulls, not floating point.
                ``["spine_row"]`` keeps the spine's order.
            level: What is promised of the rows. ``exact``: the same on any machine, proved by an
                allow-list. ``fixed``: the same under the recorded settings. ``unproven``: nothing.
            schema: A ``pandera.polars`` schema or model, checked before publication. Its types are
                the dataset's.
            parameters: Default values: text, integers, booleans or None.
            by: The column of the entity, such as ``subject``, in every table that is read, if each
                row depends on one entity alone. A build proves it. Then processes can share a build
                and incremental builds are possible.
            spine_by: The spine's column of the entity. Defaults to ``by``.

        Raises:
            InvalidProjectionError: The definition is invalid.
        """
        return cls(
            name,
            "sql",
            SQL_FILE,
            {SQL_FILE: query},
            _columns(key),
            level,
            schema,
            dict(parameters or {}),
            by=by,
            spine_by=spine_by,
        )

    @classmethod
    def features(cls, features: FeatureSet, *, schema: Any = None) -> "Projection":
        """A projection of the spine's rows with a column for each declared feature.

        Args:
            features: The feature set; its name is the dataset's.
            schema: A ``pandera.polars`` schema or model.
        """
        sources, by, spine_by = {FEATURES_FILE: features.text()}, features.by, features.spine_entity
        return cls(
            features.name,
            "features",
            FEATURES_FILE,
            sources,
            ("spine_row",),
            schema=schema,
            by=by,
            spine_by=spine_by,
        )

    @property
    def feature_set(self) -> FeatureSet:
        """The features that a projection of this kind declares.

        They are parsed from the archived text, even if the caller passed a feature set, so that a
        build reads exactly what a reproduction reads later.

        Raises:
            InvalidProjectionError: The text is not a feature set.
        """
        return _declared(self.name, self.sources[self.entry])

    @property
    def spine_entity(self) -> str:
        """The spine's column of the entity; empty text if no entity is declared."""
        return self.spine_by or self.by or ""

    @property
    def engine(self) -> str:
        """``duckdb`` or ``polars``."""
        return {"sql": "duckdb", "python": "polars"}.get(self.kind, self.runs_on)

    def with_parameters(self, values: Mapping[str, Parameter] | None) -> "Projection":
        """The same projection with some parameters set.

        Raises:
            InvalidProjectionError: A parameter is unknown, or a value has another type.
        """
        unknown = sorted(set(values or {}) - set(self.parameters))
        if unknown:
            message = f"projection {self.name} has no parameter {', '.join(unknown)}"
            raise InvalidProjectionError(
                message, f"declared are: {', '.join(sorted(self.parameters)) or 'none'}."
            )
        for name, value in (values or {}).items():
            if (
                self.parameters[name] is not None
                and value is not None
                # Exact types, because True is an integer in Python.
                and type(value) is not type(self.parameters[name])
            ):
                expected = type(self.parameters[name]).__name__
                message = f"projection {self.name}: parameter {name} is {expected}, found {value!r}"
                raise InvalidProjectionError(message)
        return replace(self, parameters={**self.parameters, **(values or {})})


@declaration
def projection(
    *,
    name: str,
    key: Sequence[str],
    level: str = "exact",
    schema: Any = None,
    parameters: Mapping[str, Parameter] | None = None,
    files: Iterable[str] = (),
) -> Callable[[Callable[..., pl.LazyFrame]], Projection]:
    """Make a projection from a function ``Snapshot → polars.LazyFrame``.

    The function is called with the snapshot, with ``spine=`` (a LazyFrame) if the build has a
    spine, and with the parameters by name. It is identified by the source of its module and of the
    declared ``files``. A function of a notebook is identified by its own source, and may use
    imported modules only.

    Args:
        name: The dataset's name: lower-case letters, digits and underscores.
        key: Columns that identify a row: unique, without nulls, not floating point.
        level: As for ``Projection.sql``.
        schema: A ``pandera.polars`` schema or model.
        parameters: Default values: text, integers, booleans or None.
        files: Further files that decide the rows, relative to the module's folder.

    Raises:
        InvalidProjectionError: It is a closure or a lambda, or the definition is invalid.
    """

    def define(function: Callable[..., pl.LazyFrame]) -> Projection:
        entry, sources = capture(function, files)
        return Projection(
            name,
            "python",
            entry,
            sources,
            _columns(key),
            level,
            schema,
            dict(parameters or {}),
            function,
        )

    return define


# By the text, not by the projection, whose sources a caller may change after they were parsed.
@CACHES.memo(8)
def _declared(name: str, text: str) -> FeatureSet:
    return FeatureSet.from_text(name, text)


def _columns(key: Iterable[str]) -> tuple[str, ...]:
    # A single column may be given as text, which would otherwise be split into characters.
    return (str(key),) if isinstance(key, str) else tuple(key)


def _check_parameters(name: str, parameters: Mapping[str, Any]) -> None:
    for parameter, value in parameters.items():
        if parameter in {"snapshot", "spine"}:
            message = (
                f"projection {name}: {parameter!r} is an argument that every function gets; "
                "a parameter needs another name"
            )
            raise InvalidProjectionError(message)
        if not isinstance(value, _EXACT_PARAMETERS):
            message = (
                f"projection {name}: parameter {parameter} must be text, an integer, a boolean or "
                f"None, found {value!r}"
            )
            raise InvalidProjectionError(
                message, "give a decimal or an instant as text and cast it in the projection."
            )
        for text in (parameter, value):
            if isinstance(text, str) and (
                "\0" in text or any("\ud800" <= character <= "\udfff" for character in text)
            ):
                message = (
                    f"projection {name}: expected a parameter without NUL characters and lone "
                    f"surrogates, found {text!r}"
                )
                raise InvalidProjectionError(message)
