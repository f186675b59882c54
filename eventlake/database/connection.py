"""Open locked databases. Nothing else in the project calls ``duckdb.connect``.

A database is locked before it is returned: it reads the files that were named and no others, loads
and installs no extension, looks at no Python variable, keeps no secret, and its configuration
cannot be changed. It parses no text from a file, a manifest or a user before that.
"""

import itertools
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from eventlake.core.sql import integer, quoted
from eventlake.database.files import openable
from eventlake.errors import InvalidInputError, NotIdenticalError
from eventlake.memory import engine_bytes
from eventlake.storage.scratch import scratch

_MOST_THREADS = 256
_ROWS_AT_ONCE = 100_000
_MEGABYTES = {"MB": 1, "GB": 1_000}
"""Megabytes per unit of a memory limit."""
_MEMORY = re.compile(r"([1-9][0-9]{0,6})(MB|GB)")
_MOST_MEGABYTES = 1_000_000
# Extensions and secrets would let a query reach the network. A home directory would tell a query
# who runs it.
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
    """What a database may use. Values are validated, since some come from recipes.

    Attributes:
        threads: From 1 to 256; None for one per processor.
        memory: The memory limit, such as ``4GB`` or ``300MB``, up to 1 TB; None for
            ``memory.engine_bytes()``, else DuckDB's default, 80 percent of the machine's memory.
        ordered: Whether rows keep the order of their input if there is no ORDER BY.
        file_cache: Whether the contents of files are cached for later queries.

    Raises:
        InvalidInputError: A value has another type or is out of range.
    """

    threads: int | None = None
    memory: str | None = None
    ordered: bool = True
    file_cache: bool = True

    def __post_init__(self) -> None:
        if self.threads is not None and (
            # ``True`` is an int too.
            type(self.threads) is not int or not 1 <= self.threads <= _MOST_THREADS
        ):
            message = f"expected threads from 1 to {_MOST_THREADS}, found {self.threads!r}"
            raise InvalidInputError(message)
        if self.memory is not None and not _is_memory(self.memory):
            message = (
                "expected a memory limit in whole MB or GB, up to 1000GB, such as '4GB',"
                f" found {self.memory!r}"
            )
            raise InvalidInputError(message)

    def config(self) -> dict[str, str | bool | int | float | list[str]]:
        """The settings of DuckDB that correspond to these values."""
        config: dict[str, str | bool | int | float | list[str]] = {
            "preserve_insertion_order": self.ordered,
            "enable_external_file_cache": self.file_cache,
        }
        if self.threads is not None:
            config["threads"] = self.threads
        if self.memory is not None:
            config["memory_limit"] = self.memory
        elif (most := engine_bytes()) is not None:
            config["memory_limit"] = f"{integer(most)}B"
        return config


DEFAULT = Resources()


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one query.

    Attributes:
        rows: The maximum number of rows; None for no limit.
        seconds: The maximum run time; None for no limit.
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
        InvalidInputError: The query exceeds its run time.
        NotIdenticalError: The query exceeds its number of rows.
        duckdb.Error: DuckDB refuses the query.
    """
    # The usual case needs neither a timer nor batches.
    if limits == UNLIMITED:
        return relation.to_arrow_table()
    timed_out = threading.Event()

    def interrupt() -> None:
        timed_out.set()
        connection.interrupt()

    timer = threading.Timer(
        threading.TIMEOUT_MAX if limits.seconds is None else limits.seconds, interrupt
    )
    # A process that ends must not wait for it.
    timer.daemon = True
    timer.start()
    try:
        return _read_rows(relation, limits.rows)
    except duckdb.Error as error:
        # DuckDB reports an interruption as an error of the query.
        if not timed_out.is_set():
            raise
        message = f"the query was given up after {limits.seconds:,.0f} seconds"
        raise InvalidInputError(message, seconds=limits.seconds) from error
    finally:
        timer.cancel()


def _read_rows(relation: duckdb.DuckDBPyRelation, limit: int | None) -> pa.Table:
    # Batch by batch: a query of too many rows must not fill the memory first.
    reader = relation.to_arrow_reader(_ROWS_AT_ONCE)
    batches, rows = [], 0
    for batch in reader:
        rows += batch.num_rows
        if limit is not None and rows > limit:
            message = f"expected {limit:,} rows of the query, found more"
            raise NotIdenticalError(message, expected=limit)
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def _is_memory(text: object) -> bool:
    match = _MEMORY.fullmatch(text) if isinstance(text, str) else None
    return match is not None and int(match[1]) * _MEGABYTES[match[2]] <= _MOST_MEGABYTES


def open_database(
    files: Iterable[str | Path] = (),
    resources: Resources = DEFAULT,
    *,
    folders: Iterable[str | Path] = (),
) -> duckdb.DuckDBPyConnection:
    """Open a locked database in UTC.

    It spills to a private temporary folder, which is deleted when the process ends.

    Args:
        files: Files that it may read; names are taken literally.
        resources: What it may use.
        folders: Folders whose files it may read too, at any depth.

    Raises:
        InvalidInputError: DuckDB cannot open a file by its name, and there is no folder for
            temporary files.
    """
    folder = scratch()
    # One folder each, because DuckDB deletes its folder when the database is closed. Empty means
    # that nothing is spilled.
    spill_folder = "" if folder is None else f"{folder}/{next(_numbers)}"
    config = {**_CONFIG, **resources.config(), "temp_directory": spill_folder}
    connection = duckdb.connect(":memory:", config=config)
    # The order matters: the lists of files can only be set before the lock.
    connection.execute(
        f"SET TimeZone = 'UTC'; "
        f"SET allowed_paths = [{', '.join(quoted(openable(file)) for file in files)}]; "
        f"SET allowed_directories = [{', '.join(quoted(str(one)) for one in folders)}]; "
        f"SET enable_external_access = false; SET lock_configuration = true"
    )
    return connection
