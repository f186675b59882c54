"""Print cards for people and JSON for programs; errors, notes and progress go to stderr."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from eventlake.core.card import Card
from eventlake.errors import (
    EventlakeError,
    ForkedProcessError,
    InvalidEventsError,
    MissingDependencyError,
    StorageError,
)
from eventlake.progress import Advance, shown_by
from eventlake.visible import json_text, safe

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

REFUSED, ENVIRONMENT = 1, 3
MOST_PROBLEMS = 100
"""Maximum problems in a JSON document; it always has their total."""


@cache
def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    # Rich would break lines at the terminal's width, and hashes with them.
    return Console(stderr=stderr, soft_wrap=True, highlight=False)


def _print(*parts: str | tuple[str, str], stderr: bool = False) -> None:
    """Print one line of text and of pairs of text and style."""
    from rich.text import Text

    _console(stderr=stderr).print(Text.assemble(*parts))


def show(card: Card, document: Any, *, as_json: bool) -> None:
    """Print a card, or the same facts as one JSON document."""
    if as_json:
        write_json(document)
    else:
        draw(card)


def write_json(document: Any, *, indent: int | None = None) -> None:
    """Print one JSON document; characters that could control a terminal are escaped."""
    sys.stdout.write(
        json_text(json.dumps(document, ensure_ascii=False, default=str, indent=indent)) + "\n"
    )


def draw(card: Card, *, stderr: bool = False) -> None:
    """Print a card as text: a title, aligned facts, a table."""
    _print((card.title, "bold"), stderr=stderr)
    width = max((len(label) for label, _ in card.facts), default=0)
    for label, value in card.facts:
        _print((f"  {label.ljust(width)}  ", "dim"), value, stderr=stderr)
    for number, line in enumerate(card.table.lines()):
        _print((line, "" if number else "dim"), stderr=stderr)


def report(error: EventlakeError, *, as_json: bool) -> int:
    """Print an error to stderr and return its exit code."""
    if as_json:
        facts = {name: str(value) for name, value in error.facts.items()}
        document: dict[str, Any] = {
            "error": error.kind,
            "message": error.message,
            "hint": error.hint,
            "facts": facts,
        }
        if isinstance(error, InvalidEventsError):
            document |= {
                "problem_count": error.count,
                "problems": [asdict(problem) for problem in error.problems[:MOST_PROBLEMS]],
            }
        sys.stderr.write(json.dumps(document, default=str) + "\n")
    else:
        where = (
            f"{error.facts['file']}: "
            if isinstance(error, InvalidEventsError) and "file" in error.facts
            else ""
        )
        _print(("error: ", "bold red"), safe(where) + error.message, stderr=True)
        if error.hint:
            _print(("hint: ", "bold"), error.hint, stderr=True)
    return (
        ENVIRONMENT
        if isinstance(error, StorageError | MissingDependencyError | ForkedProcessError)
        else REFUSED
    )


def error_text(kind: str, message: str, hint: str | None = None, *, as_json: bool) -> str:
    """One line for an error of the command line itself."""
    document: dict[str, Any] = {"error": kind, "message": safe(message), "hint": hint, "facts": {}}
    return (json.dumps(document) if as_json else f"error: {safe(message)}") + "\n"


def note(message: str) -> None:
    """Print a remark about the result to stderr."""
    _print(("note: ", "bold"), safe(message), stderr=True)


class _Bars:
    """A progress reporter that shows each task as a bar of one rich display."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Advance]:
        """See ``progress.Reporter``."""
        line = self._progress.add_task(what, total=total)
        try:
            yield lambda steps: self._progress.advance(line, steps)
        finally:
            self._progress.remove_task(line)


@contextmanager
def progress() -> Iterator[None]:
    """Show progress bars while the block runs, if stderr is a terminal."""
    console = _console(stderr=True)
    if not console.is_terminal:
        yield
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars, shown_by(_Bars(bars)):
        yield
