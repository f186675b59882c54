"""Why a query is not exact: what, where, an example of two rows, and what to write instead."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eventlake.errors import InvalidProjectionError
from eventlake.exactness.tree import nodes

_SHOWN = 10
TIES = "rows that are equal by it come in the order in which threads deliver them"
"""Why an order that is not total is luck."""
ENDS_IN_A_KEY = "an ORDER BY that ends in columns which tell apart every two rows it is over: decide which of the equal ones comes first"
DECLARED = (
    "it over an exact value, and compute doubles last: over what a quotient is made of; or over DECIMAL, as which a schema declares a field"
    " (multipleOf), or as which its digits are read from events: (data ->> 'x')::DECIMAL(18, 6)"
)
DIGITS = "90071992547409.93 becomes 90071992547409.94"
"""What a double does to a number."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason.

    Attributes:
        what: A function, or a part of the query, as one would look for it.
        why: Why its value can differ from one build to the next.
        example: Two rows on which it does.
        instead: What to write in its place.
    """

    what: str
    why: str
    example: str = ""
    instead: str = ""

    def text(self, line: int | None) -> str:
        """As a paragraph."""
        where = f"line {line}: " if line is not None else ""
        parts = [f"{where}{self.what}: {self.why}"]
        parts += [f"for example {self.example}"] if self.example else []
        parts += [f"write {self.instead}"] if self.instead else []
        return "\n      ".join(parts)


def check_version(name: str, engine: str, version: str, known: Sequence[str], hint: str) -> None:
    """Refuses an engine whose plans nobody has looked at.

    Args:
        name: The projection's.
        engine: As it is written.
        version: Its own.
        known: The versions whose plans are known, without their last number.
        hint: What to do.

    Raises:
        InvalidProjectionError: As said.
    """
    if not version.startswith(tuple(f"{one}." for one in known)):
        message = f"projection {name}: nothing is proven of {engine} {version}, only of {', '.join(known)}"
        raise InvalidProjectionError(message, hint, projection=name)


def refuse(name: str, paragraphs: Sequence[str], hint: str) -> None:
    """Refuses a projection for reasons, of which the first ten are shown; nothing happens where there are none.

    Raises:
        InvalidProjectionError: As said.
    """
    if paragraphs:
        shown = "\n".join(f"  {paragraph}" for paragraph in paragraphs[:_SHOWN])
        more = f"\n  … and {len(paragraphs) - _SHOWN} more" if len(paragraphs) > _SHOWN else ""
        message = f"projection {name} is declared exact and is not:\n{shown}{more}"
        raise InvalidProjectionError(message, hint, projection=name)


def line_of(what: str, query: str, tree: Any) -> int | None:
    """The line, from 1, on which ``what`` stands first; None where it cannot be told."""
    name = what.partition("(")[0].strip().casefold()
    for node in nodes(tree):
        called = str(node.get("function_name", "")).casefold()
        place = node.get("query_location")
        if called == name and isinstance(place, int) and place <= len(query.encode()):
            return query.encode()[:place].count(b"\n") + 1
    match = (
        re.search(
            rf"(?<![A-Za-z_]){re.escape(what.partition('(')[0].strip())}(?![A-Za-z_])",
            query,
            re.IGNORECASE,
        )
        if name
        else None
    )
    return query[: match.start()].count("\n") + 1 if match else None
