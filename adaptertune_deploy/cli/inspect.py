"""atd inspect: what a file or folder holds, and whether it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptertune_deploy.cli.parts import options
from adaptertune_deploy.cli.terminal import completion, console, table, text

if TYPE_CHECKING:
    from adaptertune_deploy.inspection.inspected import Cell, Inspected, Sheet


def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="An adapter folder, a bundle, an ONNX graph, or a TensorRT plan.",
            autocompletion=completion.inspected,
        ),
    ],
    as_json: options.Json = False,
) -> None:
    """Show what a file or folder holds, and whether it is whole: sizes, operators, dtypes, slots, hashes.

    Nothing is run. Every hash is compared with the bytes it stands for; the exit code is 1 where something is absent,
    damaged or not what another file says of it. Which tasks a bundle answers, and how well, is shown by atd list.

    \b
    atd inspect bundle
    atd inspect adapters/pets
    atd inspect bundle/merged/pets-fp32-1a2b3c4d.onnx --json
    """
    from adaptertune_deploy.inspection import kinds

    found = kinds.inspect(path)
    if as_json:
        console.print_json({"path": str(path), "kind": found.what, **found.facts})
    else:
        show(path, found)
    if found.faults:
        raise typer.Exit(1)


def show(path: Path, found: Inspected) -> None:
    """Print the summary, the sheets and, last, the faults."""
    console.print_important(f"{path}: {found.what}")
    widest = max(len(name) for name, _ in found.summary)
    for name, value in found.summary:
        console.print_line(f"  {name:{widest}}  {_words(value)}", copied=True)
    for sheet in found.sheets:
        if sheet.rows:
            console.print_line("")
            _show_sheet(sheet)
    for fault in found.faults:
        console.print_error(fault)


def _show_sheet(sheet: Sheet) -> None:
    columns: list[table.Column] = [*map(table.Words, sheet.words), *sheet.numbers]
    table.show(console.out, sheet.title, columns, [[_words(cell) for cell in row] for row in sheet.rows])


def _words(value: Cell) -> str:
    return value if isinstance(value, str) else text.human_bytes(value.bytes)
