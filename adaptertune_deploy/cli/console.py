"""What a person sees: progress with time left, tables, one-line errors; quiet when nobody looks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from adaptertune_deploy.core.progress import Progress

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class _Bars:
    """Draws one bar for each kind of work, in the order in which the work begins."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._open = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` steps of `what` are finished."""
        kind = what.split(",")[0]
        if kind not in self._tasks:
            self._tasks[kind] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[kind], description=what, completed=done, total=total)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Yield a Progress that draws bars on the terminal's standard error, and nothing when that is no terminal."""
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=err, disable=not err.is_terminal) as bars:
        yield _Bars(bars)


def print_json(value: Any) -> None:
    """Print one JSON document to standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Show on a terminal that libraries are being loaded, which takes seconds and can't tell how far it is."""
    with err.status(f"loading {what}") if err.is_terminal else nullcontext():
        yield


def print_note(note: str) -> None:
    """Print a sentence that a person should read to standard error, so that piped output stays clean."""
    err.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)


def print_error(message: str) -> None:
    """Print one line that says what went wrong."""
    err.print(f"[bold red]error:[/] {escape(' '.join(message.split()))}", soft_wrap=True)


def print_next(*commands: str) -> None:
    """Print the commands that a person may want now."""
    for index, command in enumerate(commands):
        out.print(f"{'next:' if index == 0 else '     '} [cyan]{escape(command)}[/]", soft_wrap=True)


def make_table(title: str, *columns: str) -> Table:
    """Return a table whose first column is left-aligned text and whose other columns are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=index == 0)
    return table


def escape(text: str) -> str:
    """Return text that rich prints as it is, brackets included."""
    return text.replace("[", "\\[")


def human_bytes(count: float) -> str:
    """Return a size in bytes as text with three digits, "11.4 MB" for example (1 MB = 10^6 bytes)."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if count < 100 else f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def human_seconds(seconds: float) -> str:
    """Return a duration as text: "4.2 s" or "3 min 05 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
