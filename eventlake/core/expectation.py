"""What a writer expects of the history that its events will follow; checked at the very commit, so that nobody can come between."""

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
    """The newest event about ``subject`` (or, with ``subtree``, about something below it as well) has the id ``event_id``."""

    subject: str
    event_id: str
    subtree: bool = False


@dataclass(frozen=True, slots=True)
class AtWatermark:
    """The lake holds exactly ``watermark`` events."""

    watermark: int


Expectation = Pristine | Populated | OnEvent | AtWatermark


def pristine(subject: str, *, subtree: bool = False) -> Pristine:
    """Expects that no event is about ``subject``.

    Args:
        subject: Such as ``/loan/7``.
        subtree: Nor about anything below it, such as ``/loan/7/payment/1``.

    Raises:
        InvalidInputError: ``subject`` is no text.
    """
    return Pristine(_text("subject", subject), subtree)


def populated(subject: str, *, subtree: bool = False) -> Populated:
    """Expects that some event is about ``subject``.

    Args:
        subject: Such as ``/loan/7``.
        subtree: Or about something below it.

    Raises:
        InvalidInputError: ``subject`` is no text.
    """
    return Populated(_text("subject", subject), subtree)


def on_event(subject: str, event_id: str, *, subtree: bool = False) -> OnEvent:
    """Expects that the newest event about ``subject`` is the one that the writer has seen.

    Args:
        subject: Such as ``/loan/7``.
        event_id: Its ``id``.
        subtree: The newest one about ``subject`` or anything below it.

    Raises:
        InvalidInputError: One of them is no text.
    """
    return OnEvent(_text("subject", subject), _text("event id", event_id), subtree)


def at_watermark(watermark: int) -> AtWatermark:
    """Expects that the lake holds exactly ``watermark`` events, so that nothing at all came between.

    Raises:
        InvalidInputError: Not a number from 0.
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
    """Whether an event with ``subject`` is about ``wanted``, or about something below it."""
    if subject is None:
        return False
    return subject == wanted or (
        subtree and subject.startswith(wanted if wanted == "/" else f"{wanted}/")
    )
