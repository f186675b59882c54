"""The argument ``duplicates`` of an append."""

from typing import Any

from eventlake.errors import InvalidInputError

REFUSE = "refuse"
SKIP = "skip_identical"


def check_choice(duplicates: Any, *, positioned: bool) -> None:
    """Check the argument ``duplicates``.

    Raises:
        InvalidInputError: It is unknown, or would skip events of a batch with a position.
    """
    if not isinstance(duplicates, str) or duplicates not in (REFUSE, SKIP):
        message = f"expected duplicates={REFUSE!r} or {SKIP!r}, found {duplicates!r}"
        raise InvalidInputError(message)
    # A position stands for the whole batch: without some of its events it could not be compared
    # again.
    if duplicates == SKIP and positioned:
        raise whole_batch("a producer's position")


def whole_batch(what: str) -> InvalidInputError:
    """The refusal to leave out events of a batch with ``what``."""
    message = f"duplicates={SKIP!r} may leave rows out, but {what} is about the whole batch"
    return InvalidInputError(message, "a batch with a position can be sent again as it is.")
