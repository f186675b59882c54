"""What to show of a thing, as plain data; the faces (CLI, notebook) draw it."""

from dataclasses import dataclass


def counted(number: int, noun: str) -> str:
    """``1 commit``, ``1,000 commits``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Card:
    """A titled list of facts, optionally followed by a small table.

    Attributes:
        title: What this is, such as ``lake bank.example/loans``.
        facts: ``(label, value)`` in reading order.
        header: Column names of the table.
        rows: Its rows, as text.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
