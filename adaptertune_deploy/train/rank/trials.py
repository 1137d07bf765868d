"""Ranks that answer the images of the gate's folds, each by models that were not trained on them."""

from __future__ import annotations

from collections.abc import Sequence

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.train.comparison.candidates import Frozen
from adaptertune_deploy.train.comparison.crossfit import adapter_answers, answers_at, head_answers
from adaptertune_deploy.train.comparison.gate import FEWEST_IMAGES, compare, compared_losses, judged
from adaptertune_deploy.train.outcome.measured import Gate, OutOfFold, TriedRank
from adaptertune_deploy.train.probe.probe import Folds, Probe
from adaptertune_deploy.train.rank import rule
from adaptertune_deploy.train.rank.rule import Losses
from adaptertune_deploy.train.run import Run


class RankTrials:
    """The head alone and every rank that was added.

    Attributes:
        folds: 2 or more; 1 is one split.
        images: that are compared.
        losses: by rank, see rule.Losses.
    """

    def __init__(self, run: Run, frozen: Frozen, probe: Probe, fold: Folds, seed: int) -> None:
        """Begin with the head alone.

        Args:
            run: the training images and the recipe.
            frozen: of all training images.
            probe: the careful probe, which is rank 0.
            fold: [images] the fold that holds each image out, -1 for images that always train.
            seed: of the adapters' trainings, the same for every rank: order and augmentation too.
        """
        self._run, self._frozen, self._probe, self._fold, self._seed = run, frozen, probe, fold, seed
        self._held = run.judged(fold)
        self.folds, self.images = int(fold.max()) + 1, len(self._held)
        self._targets = frozen.targets[self._held]
        self._weights = None if frozen.weights is None else frozen.weights[self._held]
        self._answers: dict[int, Array] = {}
        self.losses: dict[int, Losses] = {}
        if self.enough_images:
            self._take(rule.HEAD_ONLY, head_answers(run, frozen, probe, fold))

    @property
    def enough_images(self) -> bool:
        """Whether there are so many that their standard error means something."""
        return self.images >= FEWEST_IMAGES

    def add(self, rank: int) -> None:
        """Train a rank, fold by fold."""
        run = self._run.with_rank(rank)
        found = adapter_answers(run, self._frozen, self._probe, self._fold, self._seed, f"rank {rank}, ")
        self._take(rank, found)

    def apart(self, run: Run, ranks: Sequence[int], what: str) -> dict[int, tuple[OutOfFold, Losses]]:
        """Train otherwise, fold by fold; returns what that is worth at each rank, without adding it.

        Args:
            run: as it is to train.
            ranks: to which its adapters are cut.
            what: put before the names of the trainings.
        """
        found = answers_at(ranks, run, self._frozen, self._probe, self._fold, self._seed, what)
        return {rank: judged(logits[self._held], self._targets, self._weights) for rank, logits in found.items()}

    def tried(self) -> tuple[TriedRank, ...]:
        """Return all ranks so far, ascending."""
        return tuple(
            TriedRank(rank, float(self.losses[rank].mean()), self._top1(rank), above, error)
            for rank, (above, error) in rule.to_best(self.losses).items()
        )

    def gate(self, rank: int) -> Gate:
        """Return what the gate says of a rank that was added."""
        answers = self._answers[rule.HEAD_ONLY], self._answers[rank]
        return compare(*answers, self._targets, self.folds, self._weights)

    def _take(self, rank: int, answers: Array) -> None:
        self._answers[rank] = answers[self._held]
        self.losses[rank] = compared_losses(self._answers[rank], self._targets, self._weights)

    def _top1(self, rank: int) -> float:
        return float((self._answers[rank].argmax(axis=1) == self._targets).mean())
