"""What was read of a file or folder: facts for a program, sheets for a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Size:
    """A number of bytes, in a cell."""

    bytes: int


Cell: TypeAlias = "str | Size"


@dataclass(frozen=True)
class Sheet:
    """A table. words: names of the columns that hold words; numbers: those of the columns after them."""

    title: str
    words: tuple[str, ...]
    numbers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Inspected:
    """What was read.

    what: what a person calls it: "adapter", "bundle", "graph".
    facts: all of it, of types that JSON has.
    summary: (name, value) of what a person wants to know first.
    sheets: the rest for a person.
    faults: what is absent, damaged or not what another file says of it, one line each.
    """

    what: str
    facts: Mapping[str, Any]
    summary: tuple[tuple[str, Cell], ...]
    sheets: tuple[Sheet, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One line of the table of kinds.

    what: see Inspected.
    means: how the help describes such a path.
    fits: whether a path is of this kind, by names alone.
    inspect: reads it; may raise FormatError where nothing of it can be read.
    """

    what: str
    means: str
    fits: Callable[[Path], bool] = field(repr=False)
    inspect: Callable[[Path], Inspected] = field(repr=False)
