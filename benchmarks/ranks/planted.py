"""The search of `--rank auto` where the right rank is known: a shift of planted rank before a frozen block.

    python -m benchmarks.ranks.planted
    python -m benchmarks.ranks.planted --cases 2

Labels follow from f(x + D x), where D has rank k and f is a frozen nonlinear block; the student is
head(f(x + up(GELU(down(x))))). 16 cases differ in k, the number of training images and the decay of D's singular
values. The oracle is the smallest rank whose test accuracy is within a point of the best rank's; the regret is what the
picked rank loses of the best accuracy. In three cases there is no shift at all, so that the head alone is right. The
rule and the order of the search are the product's (train.rank.rule), on held-out losses at a temperature of their own.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional

from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.train.comparison.gate import compared_losses
from adaptertune_deploy.train.rank.rule import FIRST, HEAD_ONLY, OCTAVES, following, pick
from benchmarks import documents
from benchmarks.documents import Facts

RESULTS = documents.results("planted_rank")
FEATURES, HIDDEN, CLASSES = 64, 128, 20
HELD_OUT = 4_000
STEPS, BATCH, RATE, DECAY = 1_200, 256, 5e-3, 1e-2
MOST = 4
PLANTED = (
    (2, 4_000, 1.0),
    (4, 4_000, 1.0),
    (8, 4_000, 1.0),
    (16, 4_000, 1.0),
    (32, 4_000, 0.85),
    (8, 800, 1.0),
    (8, 20_000, 1.0),
    (16, 20_000, 1.0),
)


@dataclass(frozen=True)
class Case:
    """rank: of the planted shift, 0 for none. images: to train on. decay: of its singular values. seed: of all."""

    rank: int
    images: int
    decay: float
    seed: int


@dataclass(frozen=True)
class Outcome:
    """tried: in the search's order. picked: by it. oracle: see the module. accuracies: on test, by rank, in percent."""

    case: Case
    tried: tuple[int, ...]
    picked: int
    oracle: int
    accuracies: dict[int, float]

    @property
    def regret(self) -> float:
        """Points of test accuracy below the best rank's."""
        return max(self.accuracies.values()) - self.accuracies[self.picked]

    @property
    def near(self) -> bool:
        """Whether the pick lies within one octave of the oracle; the head alone is one below rank 1."""
        ranks = (HEAD_ONLY, *OCTAVES)
        return abs(ranks.index(self.picked) - ranks.index(self.oracle)) <= 1


@dataclass(frozen=True, eq=False)
class Problem:
    """Inputs [train + validation + test, FEATURES], their labels, and the frozen block."""

    inputs: Tensor
    labels: Tensor
    weights: tuple[Tensor, Tensor, Tensor]
    train: int

    def block(self, inputs: Tensor) -> Tensor:
        """Return f(h) = h + 2 W2 tanh(W1 h + b1)."""
        first, bias, second = self.weights
        return inputs + 2 * torch.tanh(inputs @ first.T + bias) @ second.T


class Student(nn.Module):
    """The frozen block behind an adapter of a rank, and a head; rank 0 is the head alone."""

    def __init__(self, problem: Problem, rank: int, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.problem = problem
        self.down = nn.Linear(FEATURES, rank) if rank else None
        self.up = nn.Linear(rank, FEATURES) if rank else None
        self.head = nn.Linear(FEATURES, CLASSES)
        if self.down is not None and self.up is not None:
            nn.init.xavier_uniform_(self.down.weight)
            for zero in (self.down.bias, self.up.weight, self.up.bias):
                nn.init.zeros_(zero)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits [B, CLASSES]."""
        if self.down is not None and self.up is not None:
            inputs = inputs + self.up(functional.gelu(self.down(inputs)))
        logits: Tensor = self.head(self.problem.block(inputs))
        return logits


def draw(case: Case) -> Problem:
    """Return a case's images and labels, the same on every call."""
    generator = np.random.default_rng(case.seed)

    def normal(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape)

    mixing = np.linalg.qr(normal(FEATURES, FEATURES))[0] * np.logspace(0, -1, FEATURES)
    inputs = normal(case.images + 2 * HELD_OUT, FEATURES) @ mixing.T
    inputs /= inputs.std()
    shift = np.zeros((FEATURES, FEATURES))
    if case.rank:
        left, right = (np.linalg.qr(normal(FEATURES, case.rank))[0] for _ in range(2))
        shift = (left * (2.5 * case.decay ** np.arange(case.rank))) @ right.T
    first, bias = normal(HIDDEN, FEATURES) * 1.5 / np.sqrt(FEATURES), normal(HIDDEN) * 0.3
    second = normal(FEATURES, HIDDEN) / np.sqrt(HIDDEN)
    teacher = normal(CLASSES, FEATURES) * 3 / np.sqrt(FEATURES)
    shifted = inputs + inputs @ shift.T
    labels = (shifted + 2 * np.tanh(shifted @ first.T + bias) @ second.T) @ teacher.T
    weights = tuple(torch.tensor(value, dtype=torch.float32) for value in (first, bias, second))
    return Problem(
        torch.tensor(inputs, dtype=torch.float32),
        torch.tensor(labels.argmax(axis=1)),
        (weights[0], weights[1], weights[2]),
        case.images,
    )


def learn(problem: Problem, rank: int, seed: int, steps: int, looks: Sequence[int]) -> dict[int, Tensor]:
    """Train a student; return its logits [validation + test, CLASSES] after some of its steps.

    Args:
        problem: inputs, labels and the frozen block.
        rank: of the student; 0 is the head alone.
        seed: of its initialisation and of the order of the images, the same for every rank.
        steps: of the whole schedule, at whose end the learning rate is zero.
        looks: after how many steps; the last one ends the training.
    """
    student = Student(problem, rank, seed)
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(5 + seed)
    found = {}
    for step in range(1, looks[-1] + 1):
        rows = torch.randint(problem.train, (BATCH,), generator=generator)
        loss = functional.cross_entropy(student(problem.inputs[rows]), problem.labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step in looks:
            with torch.no_grad():
                found[step] = student(problem.inputs[problem.train :])
    return found


def answers(problem: Problem, rank: int, seed: int = 0) -> tuple[np.ndarray, float]:
    """Train a student to the end; return its validation logits, and its test accuracy in percent; see learn."""
    logits = learn(problem, rank, seed, STEPS, (STEPS,))[STEPS]
    right = logits[HELD_OUT:].argmax(dim=1) == problem.labels[problem.train + HELD_OUT :]
    return logits[:HELD_OUT].numpy(), 100 * float(right.float().mean())


def search(problem: Problem, seed: int = 0) -> dict[int, np.ndarray]:
    """Train the ranks that the search asks for; returns their losses on the validation images, in its order."""
    targets = problem.labels[problem.train : problem.train + HELD_OUT].numpy()
    tried = {HEAD_ONLY: compared_losses(answers(problem, HEAD_ONLY, seed)[0], targets)}
    while (asked := following(tried, MOST)) is not None:
        tried[asked] = compared_losses(answers(problem, asked, seed)[0], targets)
    return tried


def solve(case: Case) -> Outcome:
    """Train every rank of a case, and let the search pick among those that it asks for."""
    problem = draw(case)
    targets = problem.labels[problem.train : problem.train + HELD_OUT].numpy()
    losses, accuracies = {}, {}
    for rank in (HEAD_ONLY, *OCTAVES):
        logits, accuracies[rank] = answers(problem, rank)
        losses[rank] = compared_losses(logits, targets)
    tried = {HEAD_ONLY: losses[HEAD_ONLY]}
    while (asked := following(tried, MOST)) is not None:
        tried[asked] = losses[asked]
    best = max(accuracies.values())
    oracle = min(rank for rank, accuracy in accuracies.items() if accuracy >= best - 1.0)
    return Outcome(case, tuple(rank for rank in tried if rank), pick(tried), oracle, accuracies)


def cases() -> tuple[Case, ...]:
    """Return the planted cases, two draws of each, then those without a shift."""
    planted = [Case(rank, images, decay, seed) for rank, images, decay in PLANTED for seed in (1, 2)]
    return (*planted, *(Case(0, 4000, 1.0, seed) for seed in (1, 2, 3)))


def keep(path: Path, facts: Facts, console: Console) -> None:
    """Write what was found, and the machine, and say where."""
    documents.write(path, {**facts, "machine": dataclasses.asdict(describe_machine())})
    console.print(f"numbers written to {path}")


def main(arguments: list[str] | None = None) -> int:
    """Run all cases, or the first few, and write the results of a whole run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=len(cases()), help="how many of them")
    count = parser.parse_args(arguments).cases
    console = Console()
    torch.set_num_threads(1)
    outcomes = [solve(case) for case in track(cases()[:count], "cases", console=Console(stderr=True))]
    for one in outcomes:
        case = one.case
        console.print(
            f"rank {case.rank}, {case.images} images, decay {case.decay}, seed {case.seed}: tried {one.tried}, picked "
            f"{one.picked}, oracle {one.oracle}, regret {one.regret:.2f}"
        )
    if count == len(cases()):
        facts = {
            "cases": [dataclasses.asdict(one) | {"regret": one.regret, "near": one.near} for one in outcomes],
            "first": list(FIRST),
            "most": MOST,
        }
        keep(RESULTS, facts, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
