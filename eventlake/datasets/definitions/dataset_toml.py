"""Dataset definitions: a folder ``datasets/<name>/`` beside the training code, with a TOML file."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from eventlake.errors import InvalidProjectionError, NotFoundError, StorageError
from eventlake.features.feature_set import FeatureSet
from eventlake.features.look_up import ENGINES
from eventlake.features.planned.plan import compiled
from eventlake.features.spines.spine_file import CSV, SUFFIXES, declared_types, read_spine
from eventlake.history.pinned import PinnedHistory
from eventlake.projections.computation import Query
from eventlake.projections.on_duckdb import run as duckdb_runner
from eventlake.projections.on_duckdb.exact import check_exact
from eventlake.projections.projection import Projection
from eventlake.projections.source import check_imports, load, load_value
from eventlake.public_calls import verb, verbs
from eventlake.storage import is_uri, toml
from eventlake.storage.files import check_below, read_below

FILE = "dataset.toml"
_MOST_BYTES = 16 << 20
"""Maximum size of a source file."""
_TEXT, _TEXTS, _TABLE, _TEXT_OR_TABLE = "text", "a list of text", "a table", "text or a table"
_SETTINGS = {
    "name": _TEXT,
    "engine": _TEXT,
    "key": _TEXTS,
    "level": _TEXT,
    "sql": _TEXT,
    "python": _TEXT,
    "features": _TEXT,
    "files": _TEXTS,
    "schema": _TEXT,
    "spine": _TEXT_OR_TABLE,
    "lake": _TEXT,
    "parameters": _TABLE,
    "by": _TEXT,
    "spine_by": _TEXT,
}


@verbs
@dataclass(frozen=True, slots=True)
class Definition:
    """A dataset definition, read from ``dataset.toml``.

    Attributes:
        folder: The folder of the definition.
        settings: The content of ``dataset.toml``, with keys and types checked.
    """

    folder: Path
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """The dataset's name."""
        return str(self.settings["name"])

    @property
    def level(self) -> str:
        """The promised level of the rows; defaults to ``exact``."""
        return str(self.settings.get("level", "exact"))

    @property
    def lake(self) -> str | None:
        """The URI or absolute path of the lake; None if ``dataset.toml`` names none."""
        uri = self.settings.get("lake")
        if uri is None or is_uri(uri):
            return uri
        return str((self.folder / uri).resolve())

    def projection(self, engine: str | None = None) -> Projection:
        """The projection for an engine.

        Args:
            engine: ``duckdb`` or ``polars``. Defaults to the setting ``engine``, else to
                ``duckdb`` if there is SQL.

        Raises:
            InvalidProjectionError: There is none for that engine, a file is missing, or a setting
                is invalid.
        """
        if "features" in self.settings:
            return self._features(engine or self.settings.get("engine") or "duckdb")
        engine = (
            engine
            or self.settings.get("engine")
            or ("duckdb" if "sql" in self.settings else "polars")
        )
        setting = {"duckdb": "sql", "polars": "python"}.get(engine)
        if setting is None or setting not in self.settings:
            message = f"{self._file}: there is nothing to run on {engine!r}"
            hint = (
                'give sql = "query.sql" for duckdb, python = "file.py:function" for polars, '
                'features = "file.py:name" for both.'
            )
            raise InvalidProjectionError(message, hint)
        entry = str(self.settings[setting])
        names = [entry.partition(":")[0], *self.settings.get("files", [])]
        sources = {name: self._text(name) for name in names}
        function: Callable[..., Any] | None = None
        if setting == "python":
            check_imports(sources)
            # From the archived text alone, as a reproduction will run it.
            function = load(entry, sources)
        return Projection(
            name=self.name,
            kind=setting,
            entry=entry,
            sources=sources,
            key=tuple(self.settings["key"]),
            level=self.level,
            schema=self._schema(),
            parameters=self.settings.get("parameters", {}),
            function=function,
            by=self.settings.get("by"),
            spine_by=self.settings.get("spine_by"),
        )

    def _features(self, engine: str) -> Projection:
        """The declared features, ready to run on an engine."""
        found = self._feature_set()
        if found.name != self.name or engine not in ENGINES:
            message = (
                f"{self._file}: the feature set is called {found.name}, the dataset {self.name}; "
                f"it runs on {' and '.join(ENGINES)}"
            )
            raise InvalidProjectionError(message, "give both one name.")
        return replace(Projection.features(found, schema=self._schema()), runs_on=engine)

    def _feature_set(self) -> FeatureSet:
        entry = str(self.settings["features"])
        names = [entry.partition(":")[0], *self.settings.get("files", [])]
        found = load_value(entry, {name: self._text(name) for name in names})
        if not isinstance(found, FeatureSet):
            message = f"{self._file}: expected {entry} as a FeatureSet, found {found!r}"
            raise InvalidProjectionError(message)
        return found

    def spine(self, history: PinnedHistory) -> pa.Table | None:
        """The rows of the spine, from a file or from a query over the history; None without one.

        Raises:
            InvalidProjectionError: The file cannot be read or has an unknown type, or the query is
                invalid.
        """
        name, columns = self._spine()
        if name is None:
            return None
        path = Path(name)
        if path.suffix == ".sql" and not columns:
            query = Query(f"{self.name} (its spine)", self._text(name), history)
            # The spine decides the rows, so it is held to the same level.
            if self.level == "exact":
                check_exact(query)
            return duckdb_runner.run(query)
        if path.suffix.lower() in SUFFIXES:
            needed = self._types_needed(history) if path.suffix.lower() == CSV else {}
            return read_spine(self._checked(name), columns, needed)
        message = f"{self._file}: expected the spine as a .sql, .parquet or .csv file, found {name}"
        raise InvalidProjectionError(message, path=name)

    def _spine(self) -> tuple[str | None, dict[str, str]]:
        """The spine's file and the declared types of its columns.

        It is written ``spine = "x.csv"``, or as a table with ``file`` and ``columns``.
        """
        setting = self.settings.get("spine")
        if not isinstance(setting, dict):
            return setting, {}
        columns = setting.get("columns", {})
        if (
            not isinstance(setting.get("file"), str)
            or not isinstance(columns, dict)
            or set(setting) - {"file", "columns"}
        ):
            message = (
                f"{self._file}: expected [spine] with file as text and columns as a table, "
                f"found {setting!r}"
            )
            raise InvalidProjectionError(
                message,
                'file = "labels.csv", and in [spine.columns] client = "int64".',
                path=str(self._file),
            )
        return setting["file"], declared_types(columns, str(self._file))

    def _types_needed(self, history: PinnedHistory) -> dict[str, str]:
        """The types that declared features need for the spine's entity and cutoff."""
        if "features" not in self.settings:
            return {}
        features = self._feature_set()
        return {
            features.spine_entity: compiled(features, history.catalogue).entity.kind,
            features.cutoff: "timestamp",
        }

    def _schema(self) -> Any:
        entry = self.settings.get("schema")
        if entry is None:
            return None
        names = [str(entry).partition(":")[0], *self.settings.get("files", [])]
        return load(str(entry), {name: self._text(name) for name in names})

    def _text(self, name: str) -> str:
        with self._readable(name):
            # Text mode turns line ends into \n, so that hashes are the same on every system.
            return io.TextIOWrapper(
                io.BytesIO(read_below(self.folder, name, _MOST_BYTES)), encoding="utf-8"
            ).read()

    def _checked(self, name: str) -> Path:
        with self._readable(name):
            return check_below(self.folder, name)

    @contextmanager
    def _readable(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, UnicodeDecodeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            message = f"{self._file} names {name}, which cannot be read: {reason}"
            hint = f"give a regular file below {self.folder}; links are not followed."
            raise InvalidProjectionError(message, hint, path=name) from error

    @property
    def _file(self) -> Path:
        return self.folder / FILE


@verb
def read_definition(folder: str | os.PathLike[str]) -> Definition:
    """Read the dataset definition of a folder.

    Raises:
        NotFoundError: The folder has no ``dataset.toml``.
        StorageError: It cannot be read.
        InvalidProjectionError: It is not TOML, a required setting is missing, or a setting is
            unknown or of the wrong type.
    """
    folder = Path(folder).expanduser().resolve()
    file = folder / FILE
    try:
        settings = toml.read_in(folder, FILE)
    except (FileNotFoundError, NotADirectoryError):
        message = f"there is no {FILE} in {folder}"
        raise NotFoundError(
            message,
            "give the folder of a dataset definition, such as datasets/overdue_loans.",
            path=str(file),
        ) from None
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}"
        raise StorageError(message, path=str(file)) from error
    except ValueError as error:
        message = f"{file} is not TOML: {error}"
        raise InvalidProjectionError(message, path=str(file)) from error
    # Checked by hand, unlike the lock: a person wrote this file, and wants to read of all unknown
    # and missing settings at once, where a schema library stops at the first.
    unknown, missing = (
        sorted(set(settings) - set(_SETTINGS)),
        sorted({"name", *([] if "features" in settings else ["key"])} - set(settings)),
    )
    if unknown or missing:
        problem = (
            f"unknown settings {', '.join(unknown)}"
            if unknown
            else f"missing settings {', '.join(missing)}"
        )
        message = f"{file}: {problem}"
        raise InvalidProjectionError(
            message, f"the settings are {', '.join(_SETTINGS)}.", path=str(file)
        )
    for setting, value in settings.items():
        if not _fits(value, _SETTINGS[setting]):
            message = f"{file}: expected {setting} as {_SETTINGS[setting]}, found {value!r}"
            raise InvalidProjectionError(message, path=str(file))
    return Definition(folder, settings)


# Checked by hand: messages name the setting and list those that exist.
def _fits(value: Any, kind: str) -> bool:
    if kind == _TEXTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, {_TABLE: dict, _TEXT_OR_TABLE: str | dict}.get(kind, str))
