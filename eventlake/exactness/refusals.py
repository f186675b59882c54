"""Why a query is not exact: what, where, an example of two rows, and what to write instead."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eventlake.errors import InvalidProjectionError
from eventlake.exactness.tree import nodes

_MOST_SHOWN = 10
TIES = "rows that are equal by it come in the order in which threads deliver them"
"""Why the result of an order that is not total is not determined."""
ENDS_IN_A_KEY = (
    "an ORDER BY that ends in columns which tell apart every two rows it is over: decide which of"
    " the equal ones comes first"
)
DECLARED = (
    "it over an exact value, such as the numerator of a quotient, and compute doubles last; or over"
    " DECIMAL: declare the field in a schema (multipleOf), or read its digits from events:"
    " (data ->> 'x')::DECIMAL(18, 6)"
)
ADDITION = "a + b + c depends on which two are added first, and threads decide that"
"""Why a sum of floats is not determined."""
ADDITION_EXAMPLE = "0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1"
ZEROS = "0.0 and -0.0"
"""Two floats that are equal and still differ."""
DIGITS = "90071992547409.93 becomes 90071992547409.94"
"""How a number changes that is read as a double."""
CHANGES = "it is another value at the next build"
"""Why a clock or a random number is not exact."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why a query is not exact.

    Attributes:
        what: The function or part of the query, as it is spelled there.
        why: Why its value can differ between two builds.
        example: Two rows on which it does; may be empty.
        instead: What to write in its place; may be empty.
    """

    what: str
    why: str
    example: str = ""
    instead: str = ""

    def text(self, line: int | None) -> str:
        """The refusal as a paragraph that begins with its line, if that is known."""
        where = f"line {line}: " if line is not None else ""
        parts = [f"{where}{self.what}: {self.why}"]
        parts += [f"for example {self.example}"] if self.example else []
        parts += [f"write {self.instead}"] if self.instead else []
        return "\n      ".join(parts)


def alike(names: str, refusal: Refusal) -> dict[str, Refusal]:
    """The same refusal for each of some functions, whose names are separated by spaces."""
    return dict.fromkeys(names.split(), refusal)


def check_version(name: str, engine: str, version: str, known: Sequence[str], hint: str) -> None:
    """Refuse an engine version whose plans were not reviewed.

    Args:
        name: The projection's name.
        engine: The engine's name as messages spell it.
        version: The engine's version.
        known: Reviewed versions, without the patch number.
        hint: What to do instead.

    Raises:
        InvalidProjectionError: The version is not among ``known``.
    """
    # Plans are no public interface of an engine: another version may write the same query
    # differently, with steps that nobody has reviewed.
    if not version.startswith(tuple(f"{one}." for one in known)):
        message = (
            f"projection {name}: nothing is proven of {engine} {version}, only of"
            f" {', '.join(known)}"
        )
        raise InvalidProjectionError(message, hint, projection=name)


def refuse(name: str, paragraphs: Sequence[str], hint: str) -> None:
    """Refuse a projection for the given reasons; do nothing if there are none.

    The message shows the first ten reasons.

    Raises:
        InvalidProjectionError: There is a reason.
    """
    if paragraphs:
        shown = "\n".join(f"  {paragraph}" for paragraph in paragraphs[:_MOST_SHOWN])
        left = len(paragraphs) - _MOST_SHOWN
        more = f"\n  … and {left} more" if left > 0 else ""
        message = f"projection {name} is declared exact and is not:\n{shown}{more}"
        raise InvalidProjectionError(message, hint, projection=name)


def line_of(what: str, query: str, tree: Any) -> int | None:
    """The line, from 1, on which ``what`` first occurs; None if it cannot be found.

    The syntax tree knows where functions are called. Keywords have no location there, so they are
    searched for in the text.
    """
    written = what.partition("(")[0].strip()
    for node in nodes(tree):
        function = str(node.get("function_name", "")).casefold()
        location = node.get("query_location")
        # DuckDB counts bytes, and a location may lie behind the text of a rewritten query.
        if (
            function == written.casefold()
            and isinstance(location, int)
            and location <= len(query.encode())
        ):
            return query.encode()[:location].count(b"\n") + 1
    if not written:
        return None
    word = rf"(?<![A-Za-z_]){re.escape(written)}(?![A-Za-z_])"
    match = re.search(word, query, re.IGNORECASE)
    return query[: match.start()].count("\n") + 1 if match else None
