"""What a person sees: progress with time left, one-line notes and errors; quiet and unwrapped when nobody looks.

Where a whole path takes minutes, a log gets a line for each kind of work instead of bars: silence looks like a fault.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from rich.console import Console, ConsoleDimensions
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from adaptertune_deploy.cli.terminal.text import UNSAFE, visible
from adaptertune_deploy.core.progress import Progress

# Wider than any line: what is piped is never wrapped, folded or cut.
PIPE = ConsoleDimensions(100_000, 25)
NARROW = 80


class _Screen(Console):
    """A console that takes its width from the terminal, and none from a pipe."""

    @property  # type: ignore[misc]  # rich's may also be set, which nobody does here
    def size(self) -> ConsoleDimensions:
        """Columns and lines."""
        return super().size if self.is_terminal else PIPE


class _Aside(_Screen):
    """Standard error, which stands beside the results: where nothing can be written there, nothing fails for that."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Print, or drop what can't be written: to a disk that is full, for example."""
        try:
            super().print(*objects, **how)
        except OSError:
            self.quiet = True
            super().print()  # lets go of what waits to be written
            self.quiet = False

    def on_broken_pipe(self) -> None:
        """Say no more to nobody; the library's own version ends the program."""
        self.quiet = True


out = _Screen(highlight=False)
err = _Aside(highlight=False, stderr=True)


class _Bars:
    """Draws one bar for each kind of work, in the order in which the work begins."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` steps of `what` are finished."""
        kind = _kind(what)
        if kind not in self._tasks:
            self._tasks[kind] = self._bars.add_task(visible(what), total=total)
        self._bars.update(self._tasks[kind], description=visible(what), completed=done, total=total)


class _Lines:
    """Prints one line for each kind of work as it begins."""

    def __init__(self) -> None:
        self._met: set[str] = set()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say that work of this kind has begun, unless that was said."""
        kind = _kind(what)
        if kind not in self._met:
            self._met.add(kind)
            err.print(Text(visible(kind)))


def _kind(what: str) -> str:
    return what.split(",")[0]


@contextmanager
def progress_bars(lines: bool = False) -> Iterator[Progress]:
    """Yield a Progress that draws bars on the terminal's standard error.

    Args:
        lines: when that is no terminal, whether each kind of work gets a line there; nothing is said otherwise.
    """
    if lines and not err.is_terminal:
        yield _Lines()
        return
    what = TextColumn("{task.description}", markup=False)
    columns: tuple[ProgressColumn, ...]
    if err.width < NARROW:
        columns = (what, MofNCompleteColumn(), TimeRemainingColumn())
    else:
        count = MofNCompleteColumn()
        columns = (what, BarColumn(bar_width=20), count, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with RichProgress(*columns, console=err, disable=not err.is_terminal) as bars:
        yield _Bars(bars)


def print_json(value: Any) -> None:
    """Print one JSON document to standard output; characters that a terminal would obey are spelled \\uXXXX."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    spelled = UNSAFE.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)
    sys.stdout.write(spelled + "\n")


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Show on a terminal that libraries are being loaded, which takes seconds and can't tell how far it is."""
    with err.status(f"loading {what}") if err.is_terminal else nullcontext():
        yield


def print_note(note: str) -> None:
    """Print a sentence that a person should read to standard error, so that piped output stays clean."""
    err.print(Text.assemble(("note:", "yellow"), f" {visible(note)}"))


def print_error(message: str) -> None:
    """Print one line that says what went wrong; it may end with a command, so no line ends are put into it."""
    err.print(Text.assemble(("error:", "bold red"), f" {_one_line(message)}"), soft_wrap=True)


def print_stopped(message: str) -> None:
    """Print one line that says what an interrupt left."""
    err.print(Text(_one_line(message)))


def print_line(text: str, copied: bool = False) -> None:
    """Print a line of results, control characters spelled out.

    Args:
        text: the line.
        copied: whether it holds what a person may copy; then a terminal never gets line ends between its words.
    """
    out.print(Text(visible(text)), soft_wrap=copied)


def print_important(text: str) -> None:
    """Print the line of results that matters most, as print_line does."""
    out.print(Text(visible(text), style="bold"))


def print_next(*commands: str, why: str = "next") -> None:
    """Print the commands that a person may want now, as cli.next makes them, after a word that says what for."""
    for index, command in enumerate(commands):
        lead = f"{why}: "
        out.print(Text.assemble(lead if index == 0 else " " * len(lead), (visible(command), "cyan")), soft_wrap=True)


def drop_unwritten() -> None:
    """Drop what standard error did not take, which would else be the exit code: Python's 120."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)


def _one_line(message: str) -> str:
    return visible(" ".join(message.split()))
