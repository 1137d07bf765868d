"""Ways to train nested adapters, where the right rank is known: each width beside an adapter trained at it alone.

    python -m benchmarks.ranks.nested_widths

The problem is benchmarks.ranks.planted's. Every way is one training of a student of rank 32 whose first 1, 2, 4, ...
hidden units are to be good adapters too. "in turn" is the product's: the images of a batch take the widths in turn. Of
the others, "one a step" draws a width for the whole batch (DyLoRA, arXiv 2210.07558), "sandwich" adds up the losses at
the full width and at one drawn width, "all" averages the losses at every width (Matryoshka, arXiv 2205.13147); a step
of these two computes the batch twice and six times.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from adaptertune_deploy.train.request.recipe import nested_widths
from benchmarks import documents
from benchmarks.ranks.planted import BATCH, DECAY, HELD_OUT, RATE, STEPS, Case, Problem, Student, answers, draw, keep

RESULTS = documents.results("nested_widths")
RANK = 32
WIDTHS = nested_widths(RANK)
CASES = (Case(4, 4_000, 1.0, 1), Case(16, 4_000, 1.0, 1), Case(8, 20_000, 1.0, 1), Case(8, 800, 1.0, 1))
SEED = 0
# images [B, FEATURES], labels [B], step, a generator -> the loss
Loss = Callable[[Student, Tensor, Tensor, int, np.random.Generator], Tensor]


def logits(student: Student, inputs: Tensor, widths: Tensor) -> Tensor:
    """Return logits [B, CLASSES] where row b passes widths[b] hidden units, or all rows the same number."""
    assert student.down is not None
    assert student.up is not None
    open_units = torch.arange(RANK) < widths.reshape(-1, 1)
    hidden = functional.gelu(student.down(inputs)) * open_units
    found: Tensor = student.head(student.problem.block(inputs + student.up(hidden)))
    return found


def _at(student: Student, inputs: Tensor, labels: Tensor, width: int) -> Tensor:
    return functional.cross_entropy(logits(student, inputs, torch.tensor(width)), labels)


def _in_turn(student: Student, inputs: Tensor, labels: Tensor, step: int, _: np.random.Generator) -> Tensor:
    rows = torch.arange(len(inputs)) + step * len(inputs)
    return functional.cross_entropy(logits(student, inputs, torch.tensor(WIDTHS)[rows % len(WIDTHS)]), labels)


def _one_a_step(student: Student, inputs: Tensor, labels: Tensor, _: int, chance: np.random.Generator) -> Tensor:
    return _at(student, inputs, labels, int(chance.choice(WIDTHS)))


def _sandwich(student: Student, inputs: Tensor, labels: Tensor, _: int, chance: np.random.Generator) -> Tensor:
    drawn = int(chance.choice(WIDTHS[:-1]))
    return _at(student, inputs, labels, RANK) + _at(student, inputs, labels, drawn)


def _all(student: Student, inputs: Tensor, labels: Tensor, _: int, __: np.random.Generator) -> Tensor:
    return torch.stack([_at(student, inputs, labels, width) for width in WIDTHS]).mean()


WAYS: dict[str, Loss] = {"in turn": _in_turn, "one a step": _one_a_step, "sandwich": _sandwich, "all": _all}


def train(problem: Problem, loss: Loss, steps: int = STEPS) -> Student:
    """Train one student of the full rank, with the batches and the schedule of benchmarks.ranks.planted."""
    student = Student(problem, RANK)
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator, chance = torch.Generator().manual_seed(5), np.random.default_rng(SEED)
    for step in range(steps):
        rows = torch.randint(problem.train, (BATCH,), generator=generator)
        value = loss(student, problem.inputs[rows], problem.labels[rows], step, chance)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return student


@torch.no_grad()
def accuracies(student: Student) -> list[float]:
    """Return the test accuracy at every width, in percent."""
    problem, start = student.problem, student.problem.train + HELD_OUT
    labels = problem.labels[start:]
    found = [logits(student, problem.inputs[start:], torch.tensor(width)).argmax(dim=1) == labels for width in WIDTHS]
    return [100 * float(right.float().mean()) for right in found]


def main(arguments: list[str] | None = None) -> int:
    """Train every way on every case, print mean accuracies, and write all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(arguments)
    torch.set_num_threads(1)
    console, cases = Console(), []
    for case in CASES:
        problem = draw(case)
        found = {"trained alone": [answers(problem, width)[1] for width in WIDTHS]}
        found |= {name: accuracies(train(problem, loss)) for name, loss in WAYS.items()}
        cases.append({"case": dataclasses.asdict(case), "accuracies": found})
        for name, row in found.items():
            console.print(f"rank {case.rank}, {case.images} images: {name:14} {[round(value, 1) for value in row]}")
    keep(RESULTS, {"widths": WIDTHS, "cases": cases}, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
