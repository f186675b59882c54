"""Preconditions of an append on the history, checked atomically with the commit."""

from dataclasses import dataclass

from eventlake.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Pristine:
    """No event is about ``subject`` (nor, with ``subtree``, about anything below it)."""

    subject: str
    subtree: bool = False


@dataclass(frozen=True, slots=True)
class Populated:
    """Some event is about ``subject`` (or, with ``subtree``, about something below it)."""

    subject: str
    subtree: bool = False


@dataclass(frozen=True, slots=True)
class OnEvent:
    """The newest event about ``subject`` has the id ``event_id``.

    With ``subtree``, events about anything below the subject count too.
    """

    subject: str
    event_id: str
    subtree: bool = False


@dataclass(frozen=True, slots=True)
class AtWatermark:
    """The lake holds exactly ``watermark`` events."""

    watermark: int


Expectation = Pristine | Populated | OnEvent | AtWatermark


def pristine(subject: str, *, subtree: bool = False) -> Pristine:
    """Expect that no event is about ``subject``.

    Args:
        subject: Such as ``/loan/7``.
        subtree: Include subjects below it, such as ``/loan/7/payment/1``.

    Raises:
        InvalidInputError: ``subject`` is not text.
    """
    return Pristine(_text("subject", subject), subtree)


def populated(subject: str, *, subtree: bool = False) -> Populated:
    """Expect that at least one event is about ``subject``.

    Args:
        subject: Such as ``/loan/7``.
        subtree: Include subjects below it.

    Raises:
        InvalidInputError: ``subject`` is not text.
    """
    return Populated(_text("subject", subject), subtree)


def on_event(subject: str, event_id: str, *, subtree: bool = False) -> OnEvent:
    """Expect that the newest event about ``subject`` is the one that the writer has seen.

    Args:
        subject: Such as ``/loan/7``.
        event_id: The ``id`` of that event.
        subtree: Include events about subjects below it.

    Raises:
        InvalidInputError: ``subject`` or ``event_id`` is not text.
    """
    return OnEvent(_text("subject", subject), _text("event id", event_id), subtree)


def at_watermark(watermark: int) -> AtWatermark:
    """Expect that the lake has exactly ``watermark`` events, so that nobody has appended since.

    Raises:
        InvalidInputError: ``watermark`` is not an integer of at least 0.
    """
    if type(watermark) is not int or watermark < 0:
        message = f"expected a watermark from 0, found {watermark!r}"
        raise InvalidInputError(message)
    return AtWatermark(watermark)


def _text(name: str, value: str) -> str:
    if not isinstance(value, str) or not value:
        message = f"expected a {name}, found {value!r}"
        raise InvalidInputError(message)
    return value


def is_about(subject: str | None, wanted: str, *, subtree: bool) -> bool:
    """Whether ``subject`` is ``wanted`` or, with ``subtree``, below it."""
    if subject is None:
        return False
    # ``/`` is above every subject that begins with it, and ends in the separator already.
    return subject == wanted or (
        subtree and subject.startswith(wanted if wanted == "/" else f"{wanted}/")
    )
