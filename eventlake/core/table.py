"""A table of text, as aligned lines and as HTML. Terminals, pages and notebooks all draw it."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

_NO_STYLES: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a header. The text is safe to print.

    Attributes:
        header: Names of the columns.
        rows: As many cells as the header has, in each.
    """

    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

    def lines(self) -> tuple[str, ...]:
        """The header and the rows as indented lines with aligned columns; none without rows."""
        if not self.rows:
            return ()
        table = (self.header, *self.rows)
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return tuple("  " + _aligned(cells, widths) for cells in table)

    def html(self, styles: Mapping[str, str] = _NO_STYLES) -> str:
        """An HTML table, or empty text without rows; all text is escaped.

        Args:
            styles: The style attribute by tag (``table``, ``th``, ``td``), for notebooks, which
                have no style sheet for it.
        """
        if not self.rows:
            return ""
        body = "\n".join(_html_row("td", cells, styles) for cells in self.rows)
        head = _html_row("th", self.header, styles)
        return f"<table{_style('table', styles)}>{head}\n{body}</table>"


def _aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def _html_row(tag: str, cells: tuple[str, ...], styles: Mapping[str, str]) -> str:
    style = _style(tag, styles)
    return "<tr>" + "".join(f"<{tag}{style}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _style(tag: str, styles: Mapping[str, str]) -> str:
    return f' style="{styles[tag]}"' if tag in styles else ""
