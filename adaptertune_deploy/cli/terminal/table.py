"""Tables: whole lines when piped, folded words on a terminal, one value a line where no table fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from adaptertune_deploy.cli.terminal.text import visible

GAP = 2
# A column of words may be folded down to this width; a number is never broken.
NARROWEST_WORDS = 14


@dataclass(frozen=True)
class Words:
    """The name of a column of words, which may be folded; any other column holds numbers."""

    name: str


Column: TypeAlias = str | Words
Row: TypeAlias = Sequence[str | Text]


def show(console: Console, title: str, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Print a table, or one block of lines a row where the console is too narrow for a table.

    Args:
        console: where to.
        title: printed above; may be empty.
        columns: names; the first one heads each block of the narrow form.
        rows: a cell for every column; text is printed as it is, control characters spelled out.
    """
    cells = [[cell if isinstance(cell, Text) else Text(visible(cell)) for cell in row] for row in rows]
    if title:
        console.print(Text(visible(title), style="bold"), soft_wrap=not console.is_terminal)
    if _needed(columns, cells) <= console.width:
        console.print(_table(columns, cells))
    else:
        console.print(Group(*(_block(columns, row) for row in cells)))


def _name(column: Column) -> str:
    return column.name if isinstance(column, Words) else column


def _needed(columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> int:
    total = GAP * (len(columns) - 1)
    for place, column in enumerate(columns):
        widest = max([len(_name(column)), *(row[place].cell_len for row in cells)])
        total += min(widest, NARROWEST_WORDS) if isinstance(column, Words) else widest
    return total


def _table(columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> RichTable:
    table = RichTable(header_style="dim", box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for column in columns:
        if isinstance(column, Words):
            table.add_column(Text(column.name), overflow="fold")
        else:
            table.add_column(Text(column), justify="right", no_wrap=True)
    for row in cells:
        table.add_row(*row)
    return table


def _block(columns: Sequence[Column], row: Sequence[Text]) -> Group:
    """Return a row as its first cell with "name  value" lines below, empty values left out."""
    facts = RichTable.grid(padding=(0, GAP, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for column, cell in zip(columns[1:], row[1:], strict=True):
        if cell.plain:
            facts.add_row(_name(column), cell)
    return Group(row[0], Padding(facts, (0, 0, 0, 2)))
