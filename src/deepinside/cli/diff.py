"""`deepinside-results diff A B …`: what differs between results, in the terminal, as Markdown or as an HTML page."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deepinside.console.tables import SCREEN
from deepinside.errors import DeepInsideError
from deepinside.results.comparison import Difference, Result, Section, compare, labels, read_result
from deepinside.results.regression import read_tolerances

DESCRIPTION = """\
Show what differs between two or more results: configuration, provenance, claims, metrics and items; pictures with
--html. The results may be of different experiments and networks. The exit code is 0 whether or not they differ.
To check numbers against the committed reference within tolerances, with an exit code, use `compare`."""


def add_command(commands: Any) -> None:
    """Add `diff` to the subparsers of `deepinside-results`."""
    words = "what differs between two or more results, with pictures as an HTML page"
    command: argparse.ArgumentParser = commands.add_parser("diff", help=words, description=DESCRIPTION)
    command.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="the folder of a result; two or more")
    command.add_argument("--markdown", action="store_true", help="print Markdown, for an issue or a pull request")
    command.add_argument("--html", type=Path, metavar="FILE", help="also write a self-contained page with pictures")
    command.add_argument("--limit", type=int, default=20, metavar="N", help="lines per section (20); 0 for all")
    command.add_argument(
        "--tolerances", type=Path, metavar="FILE",
        help="leave out numbers within these tolerances, such as results/reference/tolerances.yaml",
    )  # fmt: skip


def print_differences(arguments: argparse.Namespace) -> None:
    """Print the differences between the results and write the page. Raises DeepInsideError for fewer than two."""
    if len(arguments.runs) < 2:
        raise DeepInsideError("diff: expected two or more folders of results, found one.")
    found = [read_result(folder) for folder in arguments.runs]
    sections = compare(found, read_tolerances(arguments.tolerances) if arguments.tolerances else None)
    if arguments.markdown:
        print("\n".join(markdown(found, sections, arguments.limit)))
    else:
        print_tables(found, sections, arguments.limit)
    if arguments.html is not None:
        from deepinside.html_report.comparison import write_comparison

        write_comparison(found, sections, arguments.html)
        if not arguments.markdown:
            SCREEN.print(f"page: {arguments.html}", markup=False)


def print_tables(found: Sequence[Result], sections: Sequence[Section], limit: int) -> None:
    """One table per section with differences, then the names of those without."""
    from rich.markup import escape
    from rich.table import Table

    for name, line in zip(labels(found), headings(found), strict=True):
        SCREEN.print(f"{name}  {line}", markup=False)
    for section in sections:
        if not section.differences:
            continue
        table = Table(title=section.name, box=None, pad_edge=False, title_justify="left")
        for head in heads(found):
            table.add_column(head, overflow="fold")
        for row in shown(section, limit):
            table.add_row(*map(escape, cells(row, found)))
        SCREEN.print("", table, sep="\n")
        if more := rest(section, limit):
            SCREEN.print(more, markup=False)
    for line in summary(sections):
        SCREEN.print(f"\n{line}", markup=False)


def markdown(found: Sequence[Result], sections: Sequence[Section], limit: int) -> Iterator[str]:
    """The same as lines of Markdown."""
    yield from (f"- {name}: `{line}`" for name, line in zip(labels(found), headings(found), strict=True))
    for section in sections:
        if section.differences:
            yield from ("", f"**{section.name}**", "", row_text(heads(found)), row_text(["---"] * len(heads(found))))
            yield from (row_text(cells(row, found)) for row in shown(section, limit))
            yield from filter(None, ["\n" * bool(rest(section, limit)) + rest(section, limit)])
    for line in summary(sections):
        yield from ("", line)


def headings(found: Sequence[Result]) -> list[str]:
    """The folder of every result, and when it was started."""
    return [f"{one.folder} · started {one.provenance.get('started', 'unknown')}" for one in found]


def heads(found: Sequence[Result]) -> list[str]:
    return ["", *labels(found), *(["B − A"] if len(found) == 2 else [])]


def cells(row: Difference, found: Sequence[Result]) -> list[str]:
    return [row.key, *row.texts, *([row.change] if len(found) == 2 else [])]


def row_text(texts: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(text.split()).replace('|', chr(92) + '|') for text in texts)} |"


def shown(section: Section, limit: int) -> Sequence[Difference]:
    return section.differences[:limit] if limit else section.differences


def rest(section: Section, limit: int) -> str:
    left = len(section.differences) - len(shown(section, limit))
    return f"… and {left} more; --limit 0 shows all" if left else ""


def summary(sections: Sequence[Section]) -> Iterator[str]:
    """The sections without differences, and how many numbers were within tolerances."""
    same = [section.name.lower() for section in sections if not section.differences and not section.close]
    if same:
        yield f"Equal: {', '.join(same)}"
    if close := sum(section.close for section in sections):
        yield f"{close} numbers differ within the tolerances"
