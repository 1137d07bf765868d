"""atd data: look at a dataset before anything is trained on it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adaptertune_deploy.cli.parts import options
from adaptertune_deploy.cli.parts.options import DATA, OUTPUT, flag, value
from adaptertune_deploy.cli.terminal import completion, console, table
from adaptertune_deploy.cli.terminal.help import Command, Program
from adaptertune_deploy.cli.terminal.text import plural, visible
from adaptertune_deploy.core.errors import DatasetError

if TYPE_CHECKING:
    from adaptertune_deploy.data.check import Report
    from adaptertune_deploy.data.findings.finding import Finding

HELP = """Look at a dataset before anything is trained on it.

\b
atd data check --dataset photos    unreadable files, copies, unequal classes
"""
DATASETS = "A name (pets, cifar10, ...), a folder, a .csv, .tsv or .parquet list, or hf:OWNER/NAME."
STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
FOUND = 1

app = typer.Typer(cls=Program, help=HELP, rich_markup_mode=None, invoke_without_command=True)


@app.callback()
def data(ctx: typer.Context) -> None:
    """Without a command, show what there is."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(2)


@app.command("check", cls=Command)
def check(
    dataset: Annotated[str, value("--dataset", "NAME", DATA, DATASETS, complete=completion.datasets)],
    data_dir: options.DataDir = None,
    strict: Annotated[bool, flag("--strict", OUTPUT, "Fail on warnings too, not only on errors.")] = False,
    as_json: options.Json = False,
) -> None:
    """Read every image once and say what would stop or falsify training; exit code 1 when there is an error.

    Unreadable files, exact and near copies across and within splits, images under two labels, tiny, unequal and
    untested classes, sizes, orientation and how pixels are stored. Nothing is changed.

    \b
    atd data check --dataset photos
    atd data check --dataset pets --data-dir data/pets --json
    atd data check --dataset photos --strict && atd train --dataset photos
    """
    from adaptertune_deploy.data.datasets import check_dataset

    with contextlib.suppress(DatasetError):  # the check goes on as far as it can
        check_dataset(dataset, data_dir, "any")
    from adaptertune_deploy.data import check as checking
    from adaptertune_deploy.data.findings.opening import open_for_check

    with console.progress_bars() as progress:
        report = checking.check(open_for_check(dataset, data_dir, progress), progress)
    for note in report.notes:
        console.print_note(note)
    if as_json:
        console.print_json(document(report))
    else:
        show(report)
    raise typer.Exit(0 if report.passes(strict) else FOUND)


def show(report: Report) -> None:
    """Print the splits, what was found, and how many of each there are."""
    columns = ("split", "images", "classes", "images a class", "shorter side in pixels")
    total = sum(split.images for split in report.splits)
    title = f"{report.dataset}: {plural(total, 'image')}, {len(report.labels)} classes"
    table.show(console.out, title, columns, [_row(split) for split in report.splits])
    console.out.print()
    for finding in report.findings:
        _show(finding)
    counts = [plural(report.count(severity), severity) for severity in STYLES if report.count(severity)]
    console.print_line(", ".join(counts) if counts else "nothing found: every image can be read, none is there twice")


def _row(split: Any) -> tuple[str, ...]:
    least, usual, most = split.sides
    return (
        split.name,
        f"{split.images:,}",
        f"{split.classes:,}",
        _range(split.smallest, split.largest),
        f"{_range(least, most)}, median {usual:,}" if most > least else f"{least:,}",
    )


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _show(finding: Finding) -> None:
    """Print a finding: one line when piped; on a terminal its lines stand beside its severity."""
    from rich.table import Table
    from rich.text import Text

    text = Text(visible(finding.text))
    if finding.advice:
        text.append("; ").append(visible(finding.advice), "dim")
    severity = Text(f"{finding.severity}:", STYLES[finding.severity])
    if not console.out.is_terminal:
        console.out.print(Text.assemble(severity, " ", text), soft_wrap=True)
        return
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, min_width=len("warning:"))
    grid.add_column(overflow="fold")
    grid.add_row(severity, text)
    console.out.print(grid)


def document(report: Report) -> dict[str, Any]:
    """Return the report as JSON has it."""
    from dataclasses import asdict

    sides = ("least", "median", "most")
    splits = [{**asdict(split), "sides": dict(zip(sides, split.sides, strict=True))} for split in report.splits]
    duplicates = [
        {
            "kind": group.kind,
            "images": [
                {"split": member.split, "name": member.name, "label": report.labels[member.label]}
                for member in group.members
            ],
        }
        for group in report.duplicates.groups
    ]
    return {
        "dataset": report.dataset,
        "labels": report.labels,
        **{f"{severity}s": report.count(severity) for severity in STYLES},
        "splits": splits,
        "findings": [asdict(finding) for finding in report.findings],
        "duplicates": duplicates,
        "notes": report.notes,
    }
