"""What training runs might have measured, made by hand: the values that report, card and command line are tested on."""

from __future__ import annotations

from typing import Any

import numpy as np

from adaptertune_deploy.train.outcome.measured import (
    ADAPTER,
    HEAD,
    Calibration,
    Gate,
    Measure,
    Measured,
    NestedWidth,
    OutOfFold,
    Proofs,
    RankChoice,
    Repeat,
    Step,
    TriedRank,
)
from adaptertune_deploy.train.outcome.scores import Scores, calibration_error, cross_entropy, score
from tests.builders import make_widths

LABELS = ("ash", "elm", "oak")


def make_scores(right: int, images: int, classes: int = 3, first: int = 0) -> Scores:
    """Return scores of `images` answers, image i of class i % (classes - 1), so that the last class has none.

    Right are `right` of them, from image `first` on, wrapping round; a wrong answer names the next class.
    """
    return score(*_answers(right, images, classes, first))


def make_measure(
    right: int = 30, images: int = 40, classes: int = 3, first: int = 0, temperature: float = 1.5, parameters: int = 27
) -> Measure:
    """Return a candidate with the scores of make_scores and a temperature that divided its logits."""
    logits, targets = _answers(right, images, classes, first)
    raw = logits * np.float32(temperature)
    calibration = Calibration(
        temperature,
        cross_entropy(raw, targets),
        cross_entropy(logits, targets),
        calibration_error(raw, targets),
        calibration_error(logits, targets),
    )
    return Measure(score(logits, targets), calibration, parameters)


def make_gate(gain: float = 0.021, error: float = 0.018, images: int = 259, folds: int = 3) -> Gate:
    """Return a comparison out of fold that chooses by two standard errors."""
    head, adapter = OutOfFold(1.42, 0.561, 0.452, 0.84), OutOfFold(1.91, 0.702, 0.452 - gain, 0.85)
    ships = ADAPTER if gain >= 2 * error else HEAD
    return Gate(folds, images, head, adapter, gain, error, 2.0, ships)


def make_measured(classes: int = 3, **changes: Any) -> Measured:
    """Return a run with 30 and 33 of 40 test images right, 4 better and 1 worse, after which the head alone ships."""
    facts: dict[str, Any] = {
        "head": make_measure(30, 40, classes, first=0, temperature=1.5, parameters=7_141),
        "adapter": make_measure(33, 40, classes, first=1, temperature=2.0, parameters=39_264),
        "gate": make_gate(),
        "ships": HEAD,
        "chosen_by": "gate",
        "classes_unequal": False,
        "curve": tuple(Step(10 * number, 6e-3 / number, 1.2 / number) for number in range(1, 7)),
        "proofs": Proofs(8, 150, "f" * 64, 12),
        "frozen": 5_524_416,
        "seconds": 12.345,
    }
    return Measured(**{**facts, **changes})


def make_head_only(classes: int = 3) -> Measured:
    """Return a run of rank 0."""
    return make_measured(classes, adapter=None, gate=None, chosen_by="user", curve=(), proofs=None)


def make_repeats(*right: int, gates: bool = True) -> tuple[Repeat, ...]:
    """Return further seeds, from 1, with so many of 40 test images right; every second gate chooses the adapter."""
    return tuple(
        Repeat(seed, make_gate(0.05 if seed % 2 else 0.01) if gates else None, make_measure(count, 40))
        for seed, count in enumerate(right, start=1)
    )


def _answers(right: int, images: int, classes: int, first: int) -> tuple[np.ndarray, np.ndarray]:
    targets = np.arange(images) % max(1, classes - 1)
    hit = (np.arange(images) - first) % images < right
    answers = np.where(hit, targets, (targets + 1) % classes)
    return 2 * np.eye(classes, dtype=np.float32)[answers], targets


def make_rank_choice(*alike: int, picked: int = 4, search: str = "auto") -> RankChoice:
    """Return a search on 378 images and two folds that tried ranks 0, 2, 4, 8 and 32 in six of twelve seconds."""
    tried = tuple(
        TriedRank(rank, 0.51 + above, 0.8 + rank / 1000, above, error)
        for rank, above, error in (
            (0, 0.11, 0.02),
            (2, 0.025, 0.009),
            (4, 0.004, 0.006),
            (8, 0.0, 0.0),
            (32, 0.006, 0.007),
        )
    )
    return RankChoice(search, picked, 2, 378, tried, alike or (4, 8, 32), 8.0, 2.0)


def make_nested_widths() -> tuple[NestedWidth, ...]:
    """Return widths 1, 2 and 4 of nested adapters, each worse than rank 4 out of fold by more than its error."""
    return tuple(
        NestedWidth(record, make_measure(30 + place, parameters=1_000 * record.rank))
        for place, record in enumerate(make_widths(1, 2, 4))
    )
