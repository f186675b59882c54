"""Opening databases. Nothing else in the project calls ``duckdb.connect``.

A database is locked before it is handed out: it reads the files that were named and no others,
loads and installs no extension, looks at no Python variable, keeps no secret, and its configuration
cannot be changed. No text from a file, a manifest or a user is seen before that.
"""

import itertools
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from eventlake.core.sql import quoted
from eventlake.database.files import openable
from eventlake.errors import InvalidInputError, NotIdenticalError
from eventlake.storage.scratch import scratch

_MOST_THREADS = 256
_ROWS_AT_ONCE = 100_000
_MEGABYTES = {"MB": 1, "GB": 1_000}
_MEMORY = re.compile(r"([1-9][0-9]{0,6})(MB|GB)")
_MOST_MEGABYTES = 1_000_000
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "allow_community_extensions": False,
    "allow_extension_repositories": "forbidden",
    "allow_persistent_secrets": False,
    "allow_unsigned_extensions": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "home_directory": "/nowhere",
    "python_enable_replacements": False,
    "python_scan_all_frames": False,
}
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Resources:
    """What a database may use, and how it runs; checked, because recipes name some of it.

    Attributes:
        threads: From 1 to 256; None for one per processor.
        memory: Such as ``4GB`` or ``300MB``, up to 1 TB; None for DuckDB's own bound, 80 percent of
            the machine's memory.
        ordered: Whether rows without ORDER BY keep the order of their input.
        file_cache: Whether the contents of files are kept for the next query.

    Raises:
        InvalidInputError: A value is of another type or out of range.
    """

    threads: int | None = None
    memory: str | None = None
    ordered: bool = True
    file_cache: bool = True

    def __post_init__(self) -> None:
        if self.threads is not None and (
            type(self.threads) is not int or not 1 <= self.threads <= _MOST_THREADS
        ):
            message = f"expected threads from 1 to {_MOST_THREADS}, found {self.threads!r}"
            raise InvalidInputError(message)
        if self.memory is not None and not _is_memory(self.memory):
            message = f"expected a memory limit in whole MB or GB, up to 1000GB, such as '4GB', found {self.memory!r}"
            raise InvalidInputError(message)

    def config(self) -> dict[str, str | bool | int | float | list[str]]:
        """As DuckDB's configuration."""
        config: dict[str, str | bool | int | float | list[str]] = {
            "preserve_insertion_order": self.ordered,
            "enable_external_file_cache": self.file_cache,
        }
        if self.threads is not None:
            config["threads"] = self.threads
        if self.memory is not None:
            config["memory_limit"] = self.memory
        return config


DEFAULT = Resources()


@dataclass(frozen=True, slots=True)
class Limits:
    """When a query is given up.

    Attributes:
        rows: The most that it may return; None for any number.
        seconds: The longest that it may run; None for any time.
    """

    rows: int | None = None
    seconds: float | None = None


UNLIMITED = Limits()


def fetched(
    connection: duckdb.DuckDBPyConnection,
    relation: duckdb.DuckDBPyRelation,
    limits: Limits = UNLIMITED,
) -> pa.Table:
    """The rows of a query.

    Raises:
        InvalidInputError: It runs longer than it may.
        NotIdenticalError: It returns more rows than it may.
        duckdb.Error: DuckDB refuses it.
    """
    if limits == UNLIMITED:
        return relation.to_arrow_table()
    late = threading.Event()

    def give_up() -> None:
        late.set()
        connection.interrupt()

    timer = threading.Timer(
        threading.TIMEOUT_MAX if limits.seconds is None else limits.seconds, give_up
    )
    timer.daemon = True
    timer.start()
    try:
        return _up_to(relation, limits.rows)
    except duckdb.Error as error:
        if not late.is_set():
            raise
        message = f"the query was given up after {limits.seconds:,.0f} seconds"
        raise InvalidInputError(message, seconds=limits.seconds) from error
    finally:
        timer.cancel()


def _up_to(relation: duckdb.DuckDBPyRelation, most: int | None) -> pa.Table:
    reader = relation.to_arrow_reader(_ROWS_AT_ONCE)
    batches, rows = [], 0
    for batch in reader:
        rows += batch.num_rows
        if most is not None and rows > most:
            message = f"expected {most:,} rows of the query, found more"
            raise NotIdenticalError(message, expected=most)
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def _is_memory(text: object) -> bool:
    found = _MEMORY.fullmatch(text) if isinstance(text, str) else None
    return found is not None and int(found[1]) * _MEGABYTES[found[2]] <= _MOST_MEGABYTES


def open_database(
    files: Iterable[str | Path] = (),
    resources: Resources = DEFAULT,
    *,
    folders: Iterable[str | Path] = (),
    stored_in: Path | None = None,
) -> duckdb.DuckDBPyConnection:
    """A locked database in UTC.

    Spilled data goes to a private temporary folder, which ends with the process.

    Args:
        files: What it may read, besides what is registered with it; names are taken literally.
        resources: What it may use.
        folders: Whose files it may read as well, at any depth.
        stored_in: A file for its tables, which does not exist yet; None for memory.

    Raises:
        InvalidInputError: A file has a name that DuckDB cannot take, and there is no folder for
            temporary files.
    """
    folder = scratch()
    spilled = "" if folder is None else f"{folder}/{next(_numbers)}"
    config = {**_CONFIG, **resources.config(), "temp_directory": spilled}
    connection = duckdb.connect(":memory:" if stored_in is None else str(stored_in), config=config)
    connection.execute(
        f"SET TimeZone = 'UTC'; "
        f"SET allowed_paths = [{', '.join(quoted(openable(file)) for file in files)}]; "
        f"SET allowed_directories = [{', '.join(quoted(str(one)) for one in folders)}]; "
        f"SET enable_external_access = false; SET lock_configuration = true"
    )
    return connection
