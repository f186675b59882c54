"""The facts that are shown about a thing, as plain data; the CLI and notebooks draw them."""

from dataclasses import dataclass
from html import escape

from eventlake.core.table import Table
from eventlake.visible import one_line, safe

_CELL = (
    "text-align:left;padding:2px 10px 2px 0;border:none;"
    "font-family:var(--jp-code-font-family,monospace)"
)
_LABEL = "text-align:left;padding:2px 14px 2px 0;border:none;opacity:.65;white-space:nowrap"
_TABLE = "border-collapse:collapse;font-size:13px;margin:4px 0"
_STYLES = {"table": _TABLE, "th": _LABEL, "td": _CELL}
_MOST_HTML_ROWS = 30


def counted(number: int, noun: str) -> str:
    """``1 commit``, ``1,000 commits``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Card:
    """A titled list of facts, optionally followed by a small table; its text is safe to print.

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

    def __post_init__(self) -> None:
        """Redact and escape every text; a value may have several lines."""
        # Here rather than in the faces, so that none of them can forget it.
        object.__setattr__(self, "title", one_line(self.title))
        object.__setattr__(
            self,
            "facts",
            tuple((one_line(label), safe(value)) for label, value in self.facts),
        )
        object.__setattr__(self, "header", tuple(one_line(name) for name in self.header))
        object.__setattr__(
            self, "rows", tuple(tuple(one_line(cell) for cell in row) for row in self.rows)
        )

    @property
    def table(self) -> Table:
        """The table below the facts."""
        return Table(self.header, self.rows)

    def html(self) -> str:
        """An HTML fragment without scripts or external files; all text is escaped."""
        facts = "".join(
            f'<tr><td style="{_LABEL}">{escape(label)}</td>'
            f'<td style="{_CELL}">{escape(value)}</td></tr>'
            for label, value in self.facts
        )
        parts = [f"<div><b>{escape(self.title)}</b>", f'<table style="{_TABLE}">{facts}</table>']
        parts.append(Table(self.header, self.rows[:_MOST_HTML_ROWS]).html(_STYLES))
        if len(self.rows) > _MOST_HTML_ROWS:
            parts.append(f"<i>… and {len(self.rows) - _MOST_HTML_ROWS:,} more</i>")
        return "".join(parts) + "</div>"


class Shown:
    """Base of the values that notebooks display as their card."""

    __slots__ = ()

    def card(self) -> Card:
        """A summary to display."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return self.card().html()
