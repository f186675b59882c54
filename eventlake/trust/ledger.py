"""The ledger: statements that this user's processes have checked, shared in one SQLite file.

Without the ledger, everything is checked again. So it is written without fsync, its size is
bounded, and it never causes a failure: if the file is not usable, the process keeps its own.
"""

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from eventlake.trust.cache import VARIABLE, cache_folder

VERSION = 2
"""Increases if a check of a statement changes, which invalidates all older statements."""
MOST_STATEMENTS = 1_000_000
_FILE = "ledger.sqlite"
# Trimming costs a write, so it runs once in so many new statements.
TRIM_EVERY = 50_000
# SQLite limits the number of parameters of a statement.
_AT_ONCE = 500
_WAIT_SECONDS = 0.5
# ``json.dumps`` would make an encoder for every statement, which takes longer than to use it.
_JSON = json.JSONEncoder(separators=(",", ":"))

_inherited: list[sqlite3.Connection] = []
"""Connections of a parent process. SQLite forbids using and closing them after ``fork``."""


def statement(*parts: Any) -> bytes:
    """The digest of a statement, given as JSON values."""
    # As JSON, so that no two lists of parts have the same bytes.
    return hashlib.sha256(_JSON.encode([VERSION, *parts]).encode()).digest()


class Ledger:
    """A set of statements. Safe to share among threads and to use after ``fork``.

    Args:
        folder: The folder of its file; defaults to the user's cache folder.
        stored: Whether statements are stored in a file.
        most_statements: When the ledger holds more, the oldest are deleted.
        trim_every: Number of new statements after which the oldest are deleted.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        stored: bool = True,
        most_statements: int = MOST_STATEMENTS,
        trim_every: int = TRIM_EVERY,
    ) -> None:
        self._given = folder
        self._stored = stored
        self._most_statements = most_statements
        self._trim_every = trim_every
        self._known: set[bytes] = set()
        self._connection: sqlite3.Connection | None = None
        self._opened: str | None = None
        self._noted = 0
        self._lock = threading.Lock()
        if stored:
            os.register_at_fork(after_in_child=self._after_fork)

    @classmethod
    def in_memory(cls) -> Self:
        """An empty ledger, which no other process shares."""
        return cls(stored=False)

    def _after_fork(self) -> None:
        if self._connection is not None:
            _inherited.append(self._connection)
        # The lock too: a thread that was not forked may hold it.
        self._connection, self._opened, self._lock = None, None, threading.Lock()

    def knows(self, one: bytes) -> bool:
        """Whether the ledger holds a statement."""
        return not self.unknown([one])

    def unknown(self, statements: Iterable[bytes]) -> set[bytes]:
        """The statements that the ledger does not hold."""
        self._follow()
        # What this process has seen once needs no query.
        left = {one for one in statements if one not in self._known}
        if not left:
            return left
        with self._lock:
            connection = self._open()
            if connection is None:
                return left
            found: set[bytes] = set()
            # A ledger that cannot be read only means that everything is checked again.
            with suppress(sqlite3.Error):
                for some in _chunks(list(left)):
                    marks = ",".join("?" * len(some))
                    rows = connection.execute(
                        f"SELECT digest FROM known WHERE digest IN ({marks})", some
                    )
                    found |= {bytes(digest) for (digest,) in rows}
            self._remember(found)
        return left - found

    def note(self, statements: Iterable[bytes]) -> None:
        """Add statements, which the caller has checked."""
        self._follow()
        new = [one for one in dict.fromkeys(statements) if one not in self._known]
        if not new:
            return
        with self._lock:
            self._remember(new)
            connection = self._open()
            if connection is None:
                return
            # If another process holds the lock for too long, only this process knows them.
            with suppress(sqlite3.Error):
                for some in _chunks(new):
                    connection.execute(
                        "INSERT OR IGNORE INTO known (digest) "
                        f"VALUES {','.join(['(?)'] * len(some))}",
                        some,
                    )
                self._noted += len(new)
                if self._noted >= self._trim_every:
                    self._noted = 0
                    _trim(connection, self._most_statements)

    def _remember(self, statements: Iterable[bytes]) -> None:
        if len(self._known) > self._most_statements:
            # The file still has them, so forgetting costs a query.
            self._known.clear()
        self._known.update(statements)

    def _follow(self) -> None:
        """Forget everything if the environment names another folder than before."""
        named = os.environ.get(VARIABLE, "")
        if self._opened is not None and self._opened != named and self._given is None:
            with self._lock:
                if self._connection is not None:
                    self._connection.close()
                self._known, self._connection, self._opened = set(), None, None

    def _open(self) -> sqlite3.Connection | None:
        if self._opened is None:
            self._opened = os.environ.get(VARIABLE, "")
            folder = (self._given or cache_folder()) if self._stored else None
            self._connection = None
            if folder is not None:
                self._connection = _connection(folder / _FILE, self._most_statements)
        return self._connection


def _chunks(statements: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (statements[start : start + _AT_ONCE] for start in range(0, len(statements), _AT_ONCE))


def _connection(file: Path, most_statements: int) -> sqlite3.Connection | None:
    for _ in range(2):
        try:
            return _create_or_open(file, most_statements)
        except (sqlite3.OperationalError, OSError):
            return None
        except sqlite3.DatabaseError:
            # The file is damaged: start with a new one.
            for left in (
                file,
                *(file.with_name(file.name + suffix) for suffix in ("-wal", "-shm")),
            ):
                with suppress(OSError):
                    left.unlink()
    return None


def _create_or_open(file: Path, most_statements: int) -> sqlite3.Connection:
    # Created with these flags, so that no other user can read it and no link leads elsewhere.
    os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        file, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        # WAL lets processes read while another one writes.
        connection.execute("PRAGMA journal_mode = WAL")
        # A crash may lose statements, which costs checking them again.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS known "
            "(number INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE)"
        )
        _trim(connection, most_statements)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _trim(connection: sqlite3.Connection, most_statements: int) -> None:
    """Delete the oldest statements if there are too many."""
    newest = connection.execute("SELECT max(number) FROM known").fetchone()[0] or 0
    connection.execute("DELETE FROM known WHERE number <= ?", [newest - most_statements])
