"""A dataset definition: the folder ``datasets/<name>/`` beside the training code, described by its ``dataset.toml``."""

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
from eventlake.storage import is_uri, toml
from eventlake.storage.files import check_below, read_below
from eventlake.verbs import verb, verbs

FILE = "dataset.toml"
_MOST_BYTES = 16 << 20
"""Of a source."""
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
    """What a ``dataset.toml`` says.

    Attributes:
        folder: Where it stands.
        settings: Its content, keys checked.
    """

    folder: Path
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """The dataset's name."""
        return str(self.settings["name"])

    @property
    def level(self) -> str:
        """What it promises of the rows; ``exact`` where nothing is said."""
        return str(self.settings.get("level", "exact"))

    @property
    def lake(self) -> str | None:
        """Where its lake is, if it says so: a URI, or a path relative to the folder."""
        uri = self.settings.get("lake")
        if uri is None or is_uri(uri):
            return uri
        return str((self.folder / uri).resolve())

    def projection(self, engine: str | None = None) -> Projection:
        """The projection for ``engine`` (None for the one that ``dataset.toml`` names first).

        Raises:
            InvalidProjectionError: There is none for that engine, a file is missing, or a setting
                is not usable.
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
            hint = 'give sql = "query.sql" for duckdb, python = "file.py:function" for polars, features = "file.py:name" for both.'
            raise InvalidProjectionError(message, hint)
        entry = str(self.settings[setting])
        names = [entry.partition(":")[0], *self.settings.get("files", [])]
        sources = {name: self._text(name) for name in names}
        function: Callable[..., Any] | None = None
        if setting == "python":
            check_imports(sources)
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
            message = f"{self._file}: the feature set is called {found.name}, the dataset {self.name}; it runs on {' and '.join(ENGINES)}"
            raise InvalidProjectionError(message, "give both one name.")
        return replace(Projection.features(found, schema=self._schema()), runs_on=engine)

    def _feature_set(self) -> FeatureSet:
        entry = str(self.settings["features"])
        names = [entry.partition(":")[0], *self.settings.get("files", [])]
        found = load_value(entry, {name: self._text(name) for name in names})
        if not isinstance(found, FeatureSet):
            message = f"{self._file}: {entry} is no FeatureSet, but {found!r}"
            raise InvalidProjectionError(message)
        return found

    def spine(self, history: PinnedHistory) -> pa.Table | None:
        """The spine: rows of a file, or of a query over the same history; None where the definition has none."""
        name, columns = self._spine()
        if name is None:
            return None
        path = Path(name)
        if path.suffix == ".sql" and not columns:
            query = Query(f"{self.name} (its spine)", self._text(name), history)
            if self.level == "exact":
                check_exact(query)
            return duckdb_runner.run(query)
        if path.suffix.lower() in SUFFIXES:
            needed = self._needed(history) if path.suffix.lower() == CSV else {}
            return read_spine(self._checked(name), columns, needed)
        message = f"{self._file}: expected the spine as a .sql, .parquet or .csv file, found {name}"
        raise InvalidProjectionError(message, path=name)

    def _spine(self) -> tuple[str | None, dict[str, str]]:
        """The spine's file and the types of its columns: ``spine = "x.csv"``, or a table with ``file`` and ``columns``."""
        said = self.settings.get("spine")
        if not isinstance(said, dict):
            return said, {}
        columns = said.get("columns", {})
        if (
            not isinstance(said.get("file"), str)
            or not isinstance(columns, dict)
            or set(said) - {"file", "columns"}
        ):
            message = f"{self._file}: expected [spine] with file as text and columns as a table, found {said!r}"
            raise InvalidProjectionError(
                message,
                'file = "labels.csv", and in [spine.columns] client = "int64".',
                path=str(self._file),
            )
        return said["file"], declared_types(columns, str(self._file))

    def _needed(self, history: PinnedHistory) -> dict[str, str]:
        """The types that declared features need of the spine's entity and cutoff."""
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
            # Hashed and archived is text whose lines end in \n on every system.
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
    """Reads ``dataset.toml`` in a folder.

    Raises:
        NotFoundError: ``folder`` has none.
        StorageError: It cannot be read.
        InvalidProjectionError: It is not TOML, a required setting is missing, or one is unknown.
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


def _fits(value: Any, kind: str) -> bool:
    if kind == _TEXTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, {_TABLE: dict, _TEXT_OR_TABLE: str | dict}.get(kind, str))
