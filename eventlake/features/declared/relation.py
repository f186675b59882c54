"""Relations: events that say to what something belongs."""

from dataclasses import dataclass

from eventlake.errors import InvalidInputError
from eventlake.verbs import declaration


@dataclass(frozen=True, slots=True)
class Relation:
    """Events that say to what something belongs: a loan to its account, an account to its client.

    Attributes:
        event_type: Of the events.
        child: The column that names what belongs.
        parent: The column that names what it belongs to; null for nothing any more.
    """

    event_type: str
    child: str
    parent: str


@declaration
def relation(event_type: str, *, child: str, parent: str) -> Relation:
    """A relation that is held in events, for ``FeatureSet(via=…)``.

    At a cutoff the last such event of the child before it says where the child belongs, as it was
    known then.

    Args:
        event_type: Such as ``loan.granted``.
        child: The column that names what belongs: ``subject``, or a field of the payload.
        parent: The column that names what it belongs to.

    Raises:
        InvalidInputError: One of them is no text.
    """
    if not all(isinstance(text, str) and text for text in (event_type, child, parent)):
        message = f"expected a relation as an event type and two columns, found {event_type!r}, {child!r}, {parent!r}"
        raise InvalidInputError(message)
    return Relation(event_type, child, parent)
