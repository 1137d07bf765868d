"""One thing that was found in a dataset, how much it matters, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)
NAMED = 3


@dataclass(frozen=True)
class Finding:
    """What was found.

    code: what kind of thing, for programs: "unreadable".
    severity: "error" stops training or falsifies what it measures, "warning" makes it worse, "note" is good to know.
    count: how many images, classes or files.
    text: one line that says it, with the count and the first names.
    advice: what to do, without a full stop; "" when there is nothing to do.
    names: of all of them.
    """

    code: str
    severity: str
    count: int
    text: str
    advice: str = ""
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES or self.count < 1 or "\n" in self.text:
            raise ValueError(f"{self.code}: {self.severity} of {self.count} can't be")


def first(names: Sequence[str]) -> str:
    """Return "(first: a, b, c)" for many names and "(a, b)" for a few."""
    return f"({'first: ' if len(names) > NAMED else ''}{', '.join(names[:NAMED])})"


def counted(count: int, noun: str, many: str | None = None) -> str:
    """Return "1 image" or "1,000 images".

    Args:
        count: how many.
        noun: for one of them.
        many: for several; the noun with an s by default.
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {many or noun + 's'}"


def by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return errors, then warnings, then notes, each in the order in which they came."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
