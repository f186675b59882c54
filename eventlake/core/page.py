"""A page of titled sections, as text and as a self-contained HTML file."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from eventlake.core.table import Table
from eventlake.visible import escaped, one_line, redacted, safe

_STYLE = """
:root { color-scheme: light dark }
:root { --ink: #1b1b1f; --paper: #ffffff; --dim: #5f6370; --line: #d9dbe2 }
:root { --more: #11652b; --less: #a3201d }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7e7ea; --paper: #17181c; --dim: #a2a6b3; --line: #3a3c45 }
  :root { --more: #7fd694; --less: #ff9d96 }
}
body { color: var(--ink); background: var(--paper); font: 15px/1.45 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem }
.wide { overflow-x: auto } table { border-collapse: collapse }
th, td { text-align: left; vertical-align: top; padding: .2rem 1.2rem .2rem 0 }
th, td { border-bottom: 1px solid var(--line) }
th { color: var(--dim); font-weight: 500 }
td, pre { font-family: ui-monospace, monospace; font-size: .9rem }
td, pre { white-space: pre-wrap; overflow-wrap: anywhere }
.more { color: var(--more) } .less { color: var(--less) } .place { color: var(--dim) }
""".strip()


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a page.

    Attributes:
        title: The heading.
        lines: Sentences under the heading.
        header: Column names of a table.
        rows: Rows of the table, as text.
        patch: A unified diff.
        data: Whether the cells are values of a dataset. These are shown as stored; everything else
            is redacted.
    """

    title: str
    lines: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    patch: str = ""
    data: bool = False

    def table(self, *, keep: str = "") -> Table:
        """The table of the section, its text redacted and escaped.

        Args:
            keep: Unprintable characters to keep, such as line breaks.
        """

        def text(cell: str) -> str:
            return escaped(cell if self.data else redacted(cell), keep=keep)

        header = tuple(escaped(redacted(name), keep=keep) for name in self.header)
        return Table(header, tuple(tuple(map(text, row)) for row in self.rows))


def as_text(title: str, sections: Sequence[Section]) -> str:
    """Render the page as text that is safe for a terminal and ends in a line break."""
    parts = [one_line(title)]
    for section in sections:
        parts += [
            "",
            one_line(section.title),
            *(f"  {one_line(line)}" for line in section.lines),
            *section.table().lines(),
        ]
        parts += [f"  {safe(line)}" for line in _lines(section.patch)]
    return "\n".join(parts) + "\n"


def _lines(patch: str) -> list[str]:
    return patch.removesuffix("\n").split("\n") if patch else []


def as_html(title: str, sections: Sequence[Section]) -> str:
    """Render the page as an HTML document without scripts and external files.

    All text is escaped. Colours follow the reader's light or dark mode.
    """
    # No scripts and no files from elsewhere: a page may show values of a stranger.
    body = "\n".join(_html_section(section) for section in sections)
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f"{meta}<title>{_escape(title)}</title><style>\n{_STYLE}\n</style>"
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n'
        f"<body>\n<h1>{_escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _escape(text: str) -> str:
    return escape(safe(text))


def _html_section(section: Section) -> str:
    parts = [
        f"<h2>{_escape(section.title)}</h2>",
        *(f"<p>{_escape(line)}</p>" for line in section.lines),
    ]
    if table := section.table(keep="\n\t").html():
        parts.append(f'<div class="wide">{table}</div>')
    if section.patch:
        lines = "\n".join(_html_line(line) for line in _lines(section.patch))
        parts.append(f"<pre>{lines}</pre>")
    return "\n".join(parts)


def _html_line(line: str) -> str:
    kind = {"+": "more", "-": "less", "@": "place"}.get(line[:1])
    return f'<span class="{kind}">{_escape(line)}</span>' if kind else _escape(line)
