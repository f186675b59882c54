"""The exceptions eventlake raises, grouped by what a caller does next.

    EventlakeError
    ├── ConflictError              somebody else was first: read again, then retry
    ├── CommitUnknownError         the store did not say whether a commit landed: look, then retry
    ├── NotFoundError              (also KeyError) no such lake, dataset, hash or watermark
    ├── AlreadyExistsError         there is one already
    ├── InvalidInputError          (also ValueError) fix what was given
    │   ├── InvalidEventsError     a batch breaks the event rules; nothing of it was appended
    │   ├── InvalidProjectionError a definition that cannot be built as declared
    │   ├── SchemaMismatchError    rows that do not have the declared columns, types or values
    │   └── UnsupportedOperationError  (also TypeError) an operator that an object does not have
    ├── NotIdenticalError          rebuilt rows are not the pinned ones: compare code and lake
    ├── CorruptionError            stored bytes are not what was written: stop, run verify
    ├── UnsupportedFormatError     written by a newer eventlake: upgrade
    ├── MissingDependencyError     an optional package is not installed
    ├── ForkedProcessError         start the process by spawn or forkserver
    └── StorageError               the environment: disk full, permission, network

Every error has ``kind``, a stable code for machines, and ``facts``, the values that the message
names. The message says what was expected, what was found and where; ``hint`` says what to do. Both
are safe to print: control characters are escaped, and URIs contain no passwords.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from eventlake.visible import redacted_values, safe


class EventlakeError(Exception):
    """Base of every exception that eventlake raises on purpose."""

    kind: ClassVar[str] = "error"

    def __init__(self, message: str, hint: str | None = None, **facts: Any) -> None:
        self.message = safe(message)
        self.hint = None if hint is None else safe(hint)
        self.facts = {name: redacted_values(fact) for name, fact in facts.items()}
        super().__init__(self.message, self.hint, self.facts)

    def __str__(self) -> str:
        """The message, then the hint on a line of its own."""
        return f"{self.message}\n\nHint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by state, so that an error crosses a process boundary with its facts."""
        return (_rebuild, (type(self), self.__dict__ | {}))


def _rebuild(cls: type[EventlakeError], state: dict[str, Any]) -> EventlakeError:
    # Without ``__init__``, whose arguments differ from class to class.
    error = cls.__new__(cls)
    error.__dict__.update(state)
    error.args = (state["message"], state["hint"], state["facts"])
    return error


class ConflictError(EventlakeError):
    """A precondition no longer holds because another writer committed first.

    Read again and retry.
    """

    kind = "conflict"


class CommitUnknownError(EventlakeError):
    """The store failed while publishing a commit, which may or may not be in the log.

    Look for its ``commit_id`` before retrying.
    """

    kind = "commit-unknown"


class NotFoundError(EventlakeError, KeyError):
    """The requested lake, dataset, hash, watermark or tag does not exist."""

    kind = "not-found"


class AlreadyExistsError(EventlakeError):
    """The object to create already exists; nothing was overwritten."""

    kind = "already-exists"


class InvalidInputError(EventlakeError, ValueError):
    """An argument, file or definition is invalid; the caller must change it."""

    kind = "invalid-input"


class InvalidEventsError(InvalidInputError):
    """A batch breaks the event rules. ``problems`` lists every problem; nothing was appended.

    ``count`` is their number. In an import, one problem may stand for many similar rows, and
    ``count`` counts each of these rows.
    """

    kind = "invalid-events"
    SHOWN: ClassVar[int] = 10

    def __init__(
        self,
        problems: Sequence[Any],
        hint: str | None = None,
        *,
        within: str = "batch",
        outcome: str = "nothing was appended",
        **facts: Any,
    ) -> None:
        self.problems = tuple(problems)
        self.count = sum(getattr(problem, "rows", 1) for problem in self.problems)
        lines = [f"  {problem}" for problem in self.problems[: self.SHOWN]]
        if len(self.problems) > self.SHOWN:
            lines.append(f"  … and {self.count - self.SHOWN:,} more (see .problems)")
        noun = "problem" if self.count == 1 else "problems"
        message = f"{self.count:,} {noun} in the {within}, {outcome}:\n" + "\n".join(lines)
        super().__init__(message, hint, **facts)


class InvalidProjectionError(InvalidInputError):
    """A projection or dataset definition cannot be built as declared."""

    kind = "invalid-projection"


class SchemaMismatchError(InvalidInputError):
    """Rows do not have the declared columns, types or values."""

    kind = "schema-mismatch"


class UnsupportedOperationError(InvalidInputError, TypeError):
    """An object does not support an operation such as ``len`` or ``[]``; the hint names another."""

    kind = "unsupported-operation"


class NotIdenticalError(EventlakeError):
    """Rebuilt rows differ from those that a lock or a manifest pins. Nothing was published."""

    kind = "not-identical"


class CorruptionError(EventlakeError):
    """Stored bytes are not the bytes that were written. Stop, and run ``verify``."""

    kind = "corruption"


class UnsupportedFormatError(EventlakeError):
    """The lake or dataset was written in a format that this version does not support."""

    kind = "unsupported-format"


class MissingDependencyError(EventlakeError):
    """The operation needs an optional package that is not installed."""

    kind = "missing-dependency"


class ForkedProcessError(EventlakeError):
    """The process was forked from one in which Polars ran, whose threads were not forked with it.

    Waiting for them would never end.
    """

    kind = "forked-process"


class StorageError(EventlakeError):
    """The storage failed: full, forbidden or unreachable. Nothing was half-written."""

    kind = "storage"
