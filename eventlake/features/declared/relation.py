"""Relations: events that say what belongs to what."""

from dataclasses import dataclass

from eventlake.errors import InvalidInputError
from eventlake.public_calls import declaration


@dataclass(frozen=True, slots=True)
class Relation:
    """Events that say what belongs to what: a loan to its account, an account to its client.

    Attributes:
        event_type: Type of the events.
        child: Column that names the child.
        parent: Column that names its parent; null if it has none from then on.
    """

    event_type: str
    child: str
    parent: str


@declaration
def relation(event_type: str, *, child: str, parent: str) -> Relation:
    """A relation between entities that events record, for ``FeatureSet(via=…)``.

    The last such event of the child before a cutoff, as it was known then, names its parent.

    Args:
        event_type: Type of the events, such as ``loan.granted``.
        child: Column that names the child: ``subject``, or a field of the payload.
        parent: Column that names its parent.

    Raises:
        InvalidInputError: An argument is not text.
    """
    if not all(isinstance(text, str) and text for text in (event_type, child, parent)):
        message = (
            f"expected a relation as an event type and two columns, found {event_type!r}, "
            f"{child!r}, {parent!r}"
        )
        raise InvalidInputError(message)
    return Relation(event_type, child, parent)
