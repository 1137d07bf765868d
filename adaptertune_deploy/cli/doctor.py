"""atd doctor: what this machine has, what works, and what to mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from adaptertune_deploy.cli.parts import options
from adaptertune_deploy.cli.terminal import console, table, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adaptertune_deploy.doctor.finding import Finding

STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


def doctor(as_json: options.Json = False) -> None:
    """Examine this machine: what is installed, whether each engine really runs, and what to mend.

    A small graph runs on every engine in a process of its own, so a library that crashes is one line of the answer.
    Nothing is changed. The exit code is 1 where a problem was found; notes leave it 0.

    \b
    atd doctor
    atd doctor --json > machine.json    what to send along with a report
    """
    with console.loading("engines, each in a process of its own"):
        from adaptertune_deploy.doctor.examine import examine
        from adaptertune_deploy.doctor.machine import ThisMachine

        findings = examine(ThisMachine())
    if as_json:
        print_document(findings)
    else:
        print_findings(findings)
    if any(finding.status == "problem" for finding in findings):
        raise typer.Exit(1)


def print_document(findings: Sequence[Finding]) -> None:
    """Print the findings as one JSON document."""
    import dataclasses

    import adaptertune_deploy

    console.print_json(
        {
            "version": adaptertune_deploy.__version__,
            "problems": sum(finding.status == "problem" for finding in findings),
            "notes": sum(finding.status == "note" for finding in findings),
            "findings": [dataclasses.asdict(finding) for finding in findings],
        }
    )


def print_findings(findings: Sequence[Finding]) -> None:
    """Print every finding, then what to do about those that are not well, the problems last, where they are seen."""
    from rich.text import Text

    rows = [
        (Text(finding.status, STYLES[finding.status]), finding.what, text.visible(finding.found))
        for finding in findings
    ]
    table.show(console.out, "", (table.Words("status"), table.Words("what"), table.Words("found")), rows)
    for status in ("note", "problem"):
        for finding in findings:
            if finding.status == status and finding.fix:
                console.print_line("")
                console.print_line(
                    f"{status}: {finding.what}: {finding.found}; expected {finding.expected}", copied=True
                )
                console.print_next(finding.fix, why="  fix")
    count = {status: sum(finding.status == status for finding in findings) for status in STYLES}
    console.print_line("")
    console.print_important(f"{text.plural(count['problem'], 'problem')}, {text.plural(count['note'], 'note')}")
