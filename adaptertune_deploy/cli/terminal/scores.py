"""Candidates side by side, as a person reads them on the terminal: counts, intervals, what few images can't show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from adaptertune_deploy.cli.terminal import console, table

if TYPE_CHECKING:
    from adaptertune_deploy.train.outcome.measured import Measure


def show(title: str, candidates: Mapping[str, Measure], labels: Sequence[str], frozen: int) -> None:
    """Print one column a candidate and one row a fact.

    Args:
        title: printed above.
        candidates: what each is called -> what was measured, on the same images.
        labels: one a class.
        frozen: number of the backbone's parameters.
    """
    from adaptertune_deploy.train.outcome.score_rows import score_rows

    rows = score_rows(list(candidates.values()), labels, frozen)
    table.show(console.out, title, (table.Words(""), *candidates), rows)


def tell_coarse(images: int, split: str) -> None:
    """Say what a split of few images can't show."""
    from adaptertune_deploy.train.outcome.verdict import coarse

    note = coarse(images, split)
    if note is not None:
        console.print_note(note)
