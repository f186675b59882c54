"""``dataset.lock`` pins what a definition was last built to, like a package manager's lock."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Self

from msgspec import ValidationError, convert
from msgspec import field as msgspec_field

from eventlake.core.documents.formats import check_format
from eventlake.core.documents.stored import (
    Count,
    Document,
    FormatNumber,
    Name,
    Sha256,
    Text,
    explained,
    spelled,
)
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.datasets.dataset import Dataset
from eventlake.datasets.definitions.dataset_toml import Definition
from eventlake.errors import InvalidInputError, NotFoundError, StorageError
from eventlake.history.resolve import At
from eventlake.projections.projection import Projection
from eventlake.storage import toml
from eventlake.storage.files import write_file

FILE = "dataset.lock"
FORMAT = 1
_HEADER = (
    "# Written by 'eventlake build'; commit it to git, do not edit it. "
    "'eventlake build --locked' rebuilds exactly this.\n"
)


class LockDocument(Document):
    """The members of ``dataset.lock``; ``Lock`` documents them."""

    format: FormatNumber
    name: Name
    checkpoint: str
    engine: Annotated[
        str,
        spelled(
            r"(?:duckdb|eventlake|polars) [A-Za-z0-9_][A-Za-z0-9_.+!-]{0,99}",
            "an engine and its version",
        ),
    ]
    rows: Count
    content_hash: Sha256
    recipe_hash: Sha256
    manifest_hash: Sha256
    schemas: dict[Text, Sha256] = msgspec_field(default_factory=dict)


def check_lockable(name: str, level: str) -> None:
    """Check that a dataset of this level can be locked: a lock promises reproducible rows.

    Raises:
        InvalidInputError: ``level`` is ``unproven``.
    """
    if level == "unproven":
        message = f"dataset {name} is declared unproven; there is nothing to lock"
        raise InvalidInputError(
            message, "declare it exact or fixed, or build without a lock (--no-lock)."
        )


@dataclass(frozen=True, slots=True)
class Lock:
    """A dataset to which a definition is pinned.

    Attributes:
        name: The dataset's name.
        checkpoint: The history.
        engine: Engine and version that built it, such as ``duckdb 2.0.0``.
        rows: Number of rows.
        content_hash: The content hash that a locked build must give, on any engine.
        recipe_hash: The recipe hash on that engine.
        manifest_hash: The manifest hash on that engine.
        schemas: The hash of the schema by event type, for every event table that was read.
    """

    name: str
    checkpoint: Checkpoint
    engine: str
    rows: int
    content_hash: str
    recipe_hash: str
    manifest_hash: str
    schemas: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """The lock of a built dataset.

        Raises:
            InvalidInputError: Its level is ``unproven``.
        """
        recipe = dataset.manifest.recipe
        check_lockable(recipe.name, recipe.level)
        engine = f"{recipe.engine} {recipe.engine_version}"
        rows, content = dataset.manifest.rows, dataset.content_hash
        return cls(
            recipe.name,
            recipe.checkpoint,
            engine,
            rows,
            content,
            dataset.recipe_hash,
            dataset.manifest_hash,
            recipe.schemas,
        )

    def text(self) -> str:
        """The file's content: TOML."""
        lines: dict[str, str | int] = {
            "format": FORMAT,
            "name": self.name,
            "checkpoint": str(self.checkpoint),
            "engine": self.engine,
            "rows": self.rows,
            "content_hash": self.content_hash,
            "recipe_hash": self.recipe_hash,
            "manifest_hash": self.manifest_hash,
        }
        # Written by hand, because Python's standard library reads TOML but does not write it.
        text = _HEADER + "".join(
            f"{key} = {value if isinstance(value, int) else _quoted(value)}\n"
            for key, value in lines.items()
        )
        pins = "".join(
            f"{_quoted(name)} = {_quoted(schema_hash)}\n"
            for name, schema_hash in sorted(self.schemas.items())
        )
        return f"{text}\n[schemas]\n{pins}" if pins else text

    def write(self, folder: Path) -> None:
        """Write the lock into a definition's folder atomically.

        Raises:
            StorageError: The folder cannot be written.
        """
        # A definition may come from somebody else: a lock that is a link is not written through.
        write_file(
            folder / FILE, self.text(), "the dataset itself was built and published.", follow=False
        )

    def differences(self, dataset: Dataset) -> list[str]:
        """What differs from the lock in a build with the locked content hash, in words.

        Another engine with equal rows is no difference.
        """
        found = Lock.of(dataset)
        # Recipes name their engine, so they are compared on the same engine alone.
        if found.engine.split()[0] != self.engine.split()[0]:
            return []
        if found.engine != self.engine:
            return [f"engine: {self.engine} locked, {found.engine} now"]
        if found.recipe_hash != self.recipe_hash:
            return [f"recipe: {self.recipe_hash} locked, {found.recipe_hash} now"]
        return []

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the lock of a definition's folder.

        Raises:
            NotFoundError: There is none.
            InvalidInputError: It is not a valid lock.
            UnsupportedFormatError: It was written by a newer eventlake.
            StorageError: It cannot be read.
        """
        file = folder / FILE
        try:
            document = toml.read_in(folder, FILE)
        except FileNotFoundError:
            message = f"there is no {FILE} in {folder}"
            raise NotFoundError(
                message, "build once without --locked to write it.", path=str(file)
            ) from None
        except OSError as error:
            message = f"{file} cannot be read: {error.strerror}"
            raise StorageError(message, path=str(file)) from error
        except ValueError as error:
            raise _invalid_lock(file, str(error)) from error
        # Before the members, because a newer format may have members that are unknown here.
        check_format(document, str(file), FORMAT)
        try:
            found = convert(document, LockDocument)
            checkpoint = Checkpoint.parse(found.checkpoint)
        except ValidationError as error:
            raise _invalid_lock(file, explained(error, document)) from error
        except InvalidInputError as error:
            raise _invalid_lock(file, error.message) from error
        hashes = (found.content_hash, found.recipe_hash, found.manifest_hash)
        return cls(found.name, checkpoint, found.engine, found.rows, *hashes, found.schemas)


def _invalid_lock(file: Path, problem: str) -> InvalidInputError:
    return InvalidInputError(
        f"{file} is not a lock: {problem}",
        "restore it from git, or build without --locked.",
        path=str(file),
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def check_buildable(projection: object) -> None:
    """Check that the argument of a build is a projection or a dataset definition.

    Raises:
        InvalidInputError: It is neither.
    """
    if not isinstance(projection, Projection | Definition):
        message = f"expected a projection or a dataset definition, found {projection!r}"
        hint = (
            "make one with el.Projection.sql(…), with @el.projection(…) on a function, "
            "or with el.read_definition(folder)."
        )
        raise InvalidInputError(message, hint)


def pinned_by(projection: Projection | Definition, at: At) -> Lock:
    """The lock of a definition that is built with ``locked=True``.

    Raises:
        InvalidInputError: It is not a definition, ``at`` is given too, or the lock belongs to
            another dataset.
        NotFoundError: There is no lock.
    """
    if not isinstance(projection, Definition) or at is not None:
        message = "locked=True builds a dataset definition at the checkpoint of its own lock"
        raise InvalidInputError(message, "give el.read_definition(folder), and leave out at=.")
    lock = Lock.read(projection.folder)
    if lock.name != projection.name:
        message = (
            f"the lock in {projection.folder} is of dataset {lock.name}, "
            f"the definition's name is {projection.name}"
        )
        raise InvalidInputError(message, "build once without --locked to write its own lock.")
    return lock
