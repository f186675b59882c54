"""Positions of producers, and their batches in a commit."""

from dataclasses import dataclass
from typing import Annotated, Any, Self

from msgspec import Meta

from eventlake.core.counts import MAX_INT64
from eventlake.core.documents.stored import Count, Document, Sequence
from eventlake.errors import InvalidInputError

MAX_PRODUCER = 200
MAX_POSITION = MAX_INT64


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a batch in its producer's stream.

    Attributes:
        producer: Name of the stream.
        position: One more than that of the previous batch; the first batch may have any position.
    """

    producer: str
    position: int

    def __post_init__(self) -> None:
        if (
            not isinstance(self.producer, str)
            or not 0 < len(self.producer) <= MAX_PRODUCER
            # A printable name has no 0x1F, which separates it from the position in keys.
            or not self.producer.isprintable()
        ):
            message = (
                f"expected a producer of 1 to {MAX_PRODUCER} printable characters, "
                f"found {self.producer!r}"
            )
            raise InvalidInputError(message)
        if type(self.position) is not int or not 0 <= self.position <= MAX_POSITION:
            message = f"expected a position from 0 to {MAX_POSITION}, found {self.position!r}"
            raise InvalidInputError(message)

    @classmethod
    def of(cls, producer: str | None, position: int | None) -> Self | None:
        """The position of a producer; None if neither is given.

        Raises:
            InvalidInputError: Only one is given, or one is invalid.
        """
        if producer is None and position is None:
            return None
        # Without a position, a batch that is sent again could not be recognized.
        if producer is None or position is None:
            message = (
                "expected a producer with a position, or neither, "
                f"found {producer!r} and {position!r}"
            )
            raise InvalidInputError(message)
        return cls(producer, position)

    def __str__(self) -> str:
        """``position 7 of core-bank``."""
        return f"position {self.position:,} of {self.producer}"


class DeliveryDocument(Document):
    """A delivery as stored in a commit."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_PRODUCER)]
    position: Count
    start: Sequence
    stop: Sequence


@dataclass(frozen=True, slots=True)
class Delivery:
    """A producer's batch in a commit: its position and its events ``[start, stop)``."""

    position: Position
    start: int
    stop: int

    def document(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        return {
            "name": self.position.producer,
            "position": self.position.position,
            "start": self.start,
            "stop": self.stop,
        }

    @classmethod
    def of(cls, document: DeliveryDocument) -> Self:
        """The inverse of ``document``, from decoded members."""
        return cls(Position(document.name, document.position), document.start, document.stop)
