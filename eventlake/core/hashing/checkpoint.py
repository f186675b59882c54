"""A checkpoint names one history: ``(origin, watermark, root)``."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Self

from eventlake.errors import InvalidInputError

# No leading zeros: a checkpoint has one spelling.
_FORM = re.compile(
    r"(?P<origin>[^\s+\x00-\x1f\x7f]{1,200}) "
    r"(?P<watermark>0|[1-9][0-9]{0,17})@(?P<root>[0-9a-f]{64})"
)
_ORIGIN = re.compile(r"[^\s+\x00-\x1f\x7f]{1,200}")

_SHOWN = 300
"""Maximum characters of an invalid checkpoint in a message."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The identity of a history, whatever its batching, compaction, compression and format.

    Attributes:
        origin: The lake's name, such as ``bank.example/loans``.
        watermark: Number of events; all events with ``sequence < watermark``.
        root: RFC 6962 Merkle tree hash over those events, 64 lower-case hex digits.
    """

    origin: str
    watermark: int
    root: str

    def __str__(self) -> str:
        """``origin watermark@root``, which ``parse`` reads."""
        return f"{self.origin} {self.watermark}@{self.root}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the one-line form or the note of three lines.

        Raises:
            InvalidInputError: The text is neither.
        """
        if text.count("\n") > 1:
            return cls.from_note(text)
        match = _FORM.fullmatch(text.strip())
        if match is None:
            message = f"not a checkpoint: {text.strip()[:_SHOWN]!r}"
            raise InvalidInputError(
                message,
                "a checkpoint is one line: ORIGIN WATERMARK@ROOT, as 'eventlake show' prints it.",
            )
        return cls(match["origin"], int(match["watermark"]), match["root"])

    def note(self) -> str:
        """The body of a C2SP checkpoint: lines with origin, size and root in base64.

        See https://c2sp.org/tlog-checkpoint.
        """
        root = base64.b64encode(bytes.fromhex(self.root)).decode()
        return f"{self.origin}\n{self.watermark}\n{root}\n"

    @classmethod
    def from_note(cls, text: str) -> Self:
        """Parse a C2SP checkpoint, ignoring extension lines and signatures.

        Raises:
            InvalidInputError: The first three lines are not origin, size and root.
        """
        origin, size, root, *_ = [*text.split("\n"), "", ""]
        try:
            digest = base64.b64decode(root, validate=True).hex()
        except binascii.Error:
            # ``parse`` refuses it, and its message shows the text.
            digest = "not base64"
        return cls.parse(f"{origin} {size}@{digest}")


def check_origin(origin: str) -> str:
    """Return ``origin`` if it is a valid name of a lake.

    Raises:
        InvalidInputError: It is not 1 to 200 characters without blanks, control characters and
            ``+``.
    """
    if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
        message = f"origin must be 1 to 200 characters without blanks or '+', found {origin!r}"
        raise InvalidInputError(
            message,
            "an origin is permanent; write it like a URL without scheme: 'bank.example/loans'.",
        )
    return origin
