"""Accuracies as a person reads them: with their counts, and with a word where a few images decide."""

from __future__ import annotations

from typing import Protocol

from adaptertune_deploy.cli import console, text

# With fewer classes the five best answers hold the right one almost by themselves.
FEWEST_CLASSES_FOR_TOP5 = 11
FEW_IMAGES = 100


class Scores(Protocol):
    """The part of train.evaluate.Scores that is printed, spelled here because torch stands behind that one."""

    @property
    def images(self) -> int:
        """Number of images."""

    @property
    def top1(self) -> float:
        """Accuracy, 0..1."""

    @property
    def top5(self) -> float:
        """Share of images whose class is among the first five, 0..1."""

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""


def columns(classes: int) -> tuple[str, ...]:
    """Return the names of the columns for a task of so many classes."""
    return ("top-1", "top-5", "loss") if classes >= FEWEST_CLASSES_FOR_TOP5 else ("top-1", "loss")


def cells(scores: Scores, classes: int) -> tuple[str, ...]:
    """Return one row's cells for `columns`."""
    top1, loss = text.accuracy(scores.top1, scores.images), f"{scores.loss:.3f}"
    return (top1, f"{scores.top5:.1%}", loss) if classes >= FEWEST_CLASSES_FOR_TOP5 else (top1, loss)


def tell_coarse(images: int, split: str) -> None:
    """Say how much one image weighs where there are few."""
    if images < FEW_IMAGES:
        counted = text.plural(images, f"{split} image")
        console.print_note(f"{counted}: one image is {100 / images:.1f} points; small differences mean nothing here")
