"""What a projection is: code, a key, a level and, if declared, the schema of its rows."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from eventlake.core.documents.dataset import LEVELS, Parameter
from eventlake.core.names import is_text
from eventlake.errors import InvalidProjectionError
from eventlake.features.feature_set import FeatureSet
from eventlake.projections.source import capture
from eventlake.verbs import declaration, verbs

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
_EXACT_PARAMETERS = (str, int, bool, type(None))
SQL_FILE = "query.sql"
FEATURES_FILE = "features.json"


@verbs
@dataclass(frozen=True, slots=True)
class Projection:
    """A definition events → rows. Made by ``Projection.sql`` or the decorator ``projection``.

    Attributes:
        name: Lower-case letters, digits and underscores; the dataset's name.
        kind: ``sql`` (DuckDB), ``python`` (Polars) or ``features`` (either).
        entry: The source file that is run, with ``:function`` for Python.
        sources: File name to text of everything that defines the rows.
        key: Columns that identify a row; rows are stored in their order.
        level: ``exact``, ``fixed`` or ``unproven``, as declared.
        schema: A ``pandera.polars`` schema or model the rows must satisfy, or None.
        parameters: Default values of the projection's parameters.
        function: The Python function; None for SQL.
        by: The column that names the entity whose rows the projection is a function of, in every
            table that it reads; None where it is no such function. It is proved, and is not a part
            of the identity: the rows are the same.
        spine_by: The column of the spine that names it; None where it has the same name.
        runs_on: Of features, the engine; their rows are the same on both.
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
        if not _NAME.fullmatch(self.name):
            message = f"expected a name of lower-case letters, digits and underscores, found {self.name!r}"
            raise InvalidProjectionError(
                message, "write el.Projection.sql('late_loans', query, key=['loan'])."
            )
        if self.schema is not None and not hasattr(self.schema, "validate"):
            message = f"projection {self.name}: expected schema as a pandera.polars schema or model, found {type(self.schema).__name__}"
            hint = "write pandera.polars.DataFrameSchema({'loan': pandera.polars.Column(str)}), or leave it out."
            raise InvalidProjectionError(message, hint)
        if not self.key or not all(isinstance(column, str) for column in self.key):
            message = f"projection {self.name}: expected the key as a list of at least one column, found {self.key!r}"
            raise InvalidProjectionError(
                message, "the key says what one row is about; rows are stored in its order."
            )
        if self.level not in LEVELS:
            message = f"projection {self.name}: expected a level among {', '.join(LEVELS)}, found {self.level!r}"
            raise InvalidProjectionError(message, "write level='exact', or leave it out.")
        for file, text in self.sources.items():
            if not is_text(text):
                message = f"projection {self.name}: expected {file} as text without lone surrogates"
                raise InvalidProjectionError(message, "UTF-8 cannot hold half of a surrogate pair.")
            if not _FILE.fullmatch(file) or {"", ".", ".."} & set(file.split("/")):
                message = f"projection {self.name}: expected source files below its folder, found {file!r}"
                raise InvalidProjectionError(
                    message, "a file name has letters, digits, '_', '-', '.' and '/'."
                )
        if self.by is not None and (
            not isinstance(self.by, str) or not self.by or self.level != "exact"
        ):
            message = f"projection {self.name}: expected by as the name of a column, for the level exact, found {self.by!r}"
            raise InvalidProjectionError(
                message, "of other levels the rows may depend on what else is in the query."
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
        """A DuckDB query over the tables ``events`` and, if the build has one, ``spine``.

        Args:
            name: The dataset's name.
            query: One SELECT. ``$name`` stands for a parameter; ``spine`` has the spine's columns
                and ``spine_row`` BIGINT, 0-based.
            key: Columns that identify a row: no nulls, no floats, unique. ``["spine_row"]`` keeps
                the spine's order.
            level: What is promised of the rows: ``exact``, ``fixed`` or ``unproven``.
            schema: A ``pandera.polars`` schema or model, checked before publication; its types are
                the dataset's.
            parameters: Default values: text, integers, booleans or None.
            by: The column that names the entity, such as ``subject``, in every table that is read,
                where each row is a function of one entity's rows. Proved at the build; then the
                work can be shared among processes, and only what has changed built anew.
            spine_by: The column of the spine that names it, where it is another.

        Raises:
            InvalidProjectionError: The definition is not usable.
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
        """The spine's rows, and a column for each declared feature.

        Args:
            features: The set; its name is the dataset's.
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
    def spine_entity(self) -> str:
        """The column of the spine that names the entity."""
        return self.spine_by or self.by or ""

    @property
    def engine(self) -> str:
        """``duckdb`` or ``polars``."""
        return {"sql": "duckdb", "python": "polars"}.get(self.kind, self.runs_on)

    def with_parameters(self, values: Mapping[str, Parameter] | None) -> "Projection":
        """The same projection with some parameters set.

        Raises:
            InvalidProjectionError: An unknown parameter, or a value of another type.
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
    """Makes a projection of a function ``Snapshot → polars.LazyFrame``.

    The function is called with the snapshot, with ``spine=`` (a LazyFrame) where the build has a
    spine, and with the parameters by name. It is identified by the source of its module and of the
    declared ``files``; a function of a notebook by its own source, and then may use imported
    modules only.

    Args:
        name: The dataset's name.
        key: Columns that identify a row.
        level: ``exact``, ``fixed`` or ``unproven``.
        schema: A ``pandera.polars`` schema or model.
        parameters: Default values: text, integers, booleans or None.
        files: Further files that decide the rows, relative to the module's folder.

    Raises:
        InvalidProjectionError: A closure, a lambda, or a definition that is not usable.
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


def _columns(key: Iterable[str]) -> tuple[str, ...]:
    return (str(key),) if isinstance(key, str) else tuple(key)


def _check_parameters(name: str, parameters: Mapping[str, Any]) -> None:
    for parameter, value in parameters.items():
        if parameter in {"snapshot", "spine"}:
            message = f"projection {name}: {parameter!r} is what the function is handed; a parameter needs another name"
            raise InvalidProjectionError(message)
        if not isinstance(value, _EXACT_PARAMETERS):
            message = f"projection {name}: parameter {parameter} must be text, an integer, a boolean or None, found {value!r}"
            raise InvalidProjectionError(
                message, "give a decimal or an instant as text and cast it in the projection."
            )
        for text in (parameter, value):
            if isinstance(text, str) and (
                "\0" in text or any("\ud800" <= character <= "\udfff" for character in text)
            ):
                message = f"projection {name}: expected a parameter without NUL characters and lone surrogates, found {text!r}"
                raise InvalidProjectionError(message)
