"""The notebook interface: draws cards as HTML and progress as a bar."""

from html import escape
from typing import Any

from eventlake.core.card import Card
from eventlake.core.table import Table

_STYLE = "border-collapse:collapse;font-size:13px;margin:4px 0"
_CELL = (
    "text-align:left;padding:2px 10px 2px 0;border:none;"
    "font-family:var(--jp-code-font-family,monospace)"
)
_LABEL = "text-align:left;padding:2px 14px 2px 0;border:none;opacity:.65;white-space:nowrap"
_STYLES = {"table": _STYLE, "th": _LABEL, "td": _CELL}
_MOST_ROWS = 30


def draw(card: Card) -> str:
    """A card as an HTML fragment without scripts or external files; all text is escaped."""
    facts = "".join(
        f'<tr><td style="{_LABEL}">{escape(label)}</td>'
        f'<td style="{_CELL}">{escape(value)}</td></tr>'
        for label, value in card.facts
    )
    parts = [f"<div><b>{escape(card.title)}</b>", f'<table style="{_STYLE}">{facts}</table>']
    parts.append(Table(card.header, card.rows[:_MOST_ROWS]).html(_STYLES))
    if len(card.rows) > _MOST_ROWS:
        parts.append(f"<i>… and {len(card.rows) - _MOST_ROWS:,} more</i>")
    return "".join(parts) + "</div>"


def attach(*classes: type) -> None:
    """Make notebooks show the cards of these classes."""
    for shown in classes:
        # Set from here, so that the classes themselves know nothing of notebooks.
        setattr(shown, "_repr_html_", _repr_html)  # noqa: B010 - mypy rejects the assignment


def _repr_html(self: Any) -> str:
    return draw(self.card())
