"""Writes ``docs/reference/benchmarks.md`` from ``bench-data/results``: python benchmarks/report.py. Nothing in it is typed by hand.

A row that was not measured here keeps what stands in the file.
"""

import json
import re
import textwrap
from typing import Any

from measure import DATA, ROOT, Figure
from run import ROWS

REPORT = ROOT / "docs" / "reference" / "benchmarks.md"
HEAD = """\
# Benchmarks

Written by `benchmarks/report.py` from what `benchmarks/run.py` measured; edits are lost. To measure again, in a clone:

    pip install -e . --group bench
    python benchmarks/run.py
    python benchmarks/report.py

Floors and peers run in the same run as what is compared with them, in turns; ratios are medians over rounds. Trust
the ratios more than the milliseconds. *Durable* means fsynced: every append of eventlake is; deltalake and lance never
call fsync on a local disk.
"""


def results() -> list[dict[str, Any]]:
    """The saved rows, in the order in which they are run."""
    paths = [DATA / "results" / f"{name}.json" for name in ROWS]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


def figure_lines(row: dict[str, Any]) -> list[str]:
    """The row's lines of the table of figures."""
    lines = []
    for number, given in enumerate(row["figures"]):
        figure = Figure(**given)
        name = f"[{row['name']}](#{row['name']})" if not number else ""
        verdict = f"**{figure.verdict}**" if figure.verdict.startswith("missed") else figure.verdict
        lines.append(
            f"| {name} | {figure.what} | {figure.against} | {figure.budget} | {figure.measured} | {verdict} |"
        )
    return lines


def section(row: dict[str, Any]) -> list[str]:
    """What stands behind a row's figures."""
    lines = [f"## {row['name']}", "", f"{row['work'][0].upper()}{row['work'][1:]}.", ""]
    for table in row["tables"]:
        lines += [f"{table['title']}; {table['rounds']} rounds:", ""]
        lines += [
            "| | wall ms | CPU ms | wall x | CPU x | worst wall x | events/s |",
            "|---|--:|--:|--:|--:|--:|--:|",
        ]
        for line in table["lines"]:
            times = f"{line['wall_ms']:,.1f} | {line['cpu_ms']:,.1f} | {line['x_wall']:.2f} | {line['x_cpu']:.2f}"
            lines.append(
                f"| {line['name']} | {times} | {line['worst_x_wall']:.2f} | {line['per_second']:,.0f} |"
            )
        lines.append("")
    lines += [_item(note) for note in row["notes"]]
    for kind in ("machine", "versions"):
        facts = (f"{key} {value}" for key, value in row[kind].items() if not key.startswith("load"))
        lines.append(_item(f"{kind.capitalize()}: {', '.join(facts)}."))
    load = row["machine"]["load average when the row ended"]
    lines += [
        _item(f"Measured {row['taken']} by `{row['command']}`; load average at the end {load}."),
        "",
    ]
    return lines


def _item(text: str) -> str:
    """A list item in lines that an editor shows whole."""
    return textwrap.fill(
        f"- {text}", 118, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def kept() -> dict[str, tuple[list[str], list[str]]]:
    """What stands in the file: by row, its lines of the table of figures and its section."""
    text = REPORT.read_text(encoding="utf-8") if REPORT.exists() else ""
    figures: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("| ") and (found := re.match(r"\| \[(\w+)\]\(#\w+\) \||\|  \| ", line)):
            name = found[1] or name
            figures.setdefault(name, []).append(line)
    sections = {
        one.partition("\n")[0]: [
            "## " + line if not at else line for at, line in enumerate(one.splitlines())
        ]
        for one in text.split("\n## ")[1:]
    }
    return {name: (figures[name], [*sections[name], ""]) for name in figures if name in sections}


def main() -> None:
    """Writes the file."""
    known = kept() | {row["name"]: (figure_lines(row), section(row)) for row in results()}
    chosen = [known[name] for name in ROWS if name in known]
    table = [
        "| row | work | floor or peer | budget | measured | met? |",
        "|---|---|---|---|--:|---|",
    ]
    table += [line for figures, _ in chosen for line in figures]
    lines = [HEAD, *table, "", *(line for _, told in chosen for line in told)]
    REPORT.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(f"wrote {REPORT}")


if __name__ == "__main__":
    main()
