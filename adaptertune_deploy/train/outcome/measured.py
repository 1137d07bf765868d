"""What one training run measured: the values that report, model card and command line are made of."""

from __future__ import annotations

from dataclasses import dataclass

from adaptertune_deploy.core.adapter.nested import WidthRecord
from adaptertune_deploy.data.duplicates import NO_COPIES, Told
from adaptertune_deploy.train.outcome.scores import Scores

HEAD, ADAPTER, FULL = "head", "adapter", "full"


@dataclass(frozen=True)
class Calibration:
    """What a temperature that was fitted out of fold does to a candidate's answers on the test images.

    temperature: logits are divided by it.
    loss_before, loss_after: mean cross-entropy in nats, without and with it.
    error_before, error_after: expected calibration error, 0..1, without and with it.
    """

    temperature: float
    loss_before: float
    loss_after: float
    error_before: float
    error_after: float


@dataclass(frozen=True)
class Measure:
    """One candidate, trained on every image that is not a test image, on the test images.

    scores: with its temperature.
    parameters: numbers that were trained.
    """

    scores: Scores
    calibration: Calibration
    parameters: int


@dataclass(frozen=True)
class OutOfFold:
    """One candidate on images that its fold's training did not see; losses weigh classes as the training does.

    temperature: fitted on these answers.
    loss_before, loss: mean cross-entropy in nats, without and with the temperature.
    top1: accuracy, 0..1.
    """

    temperature: float
    loss_before: float
    loss: float
    top1: float


@dataclass(frozen=True)
class Gate:
    """The comparison that decides which candidate ships.

    folds: 2 or more; 1 is one split.
    images: compared, each by models that were not trained on it; 0 where there were too few to compare.
    head, adapter: None where nothing was compared.
    gain: mean over the images of the head's loss minus the adapter's, in nats, each at its temperature.
    error: standard error of `gain`.
    threshold: the adapter ships when gain >= threshold * error.
    ships: "head" or "adapter", by this comparison alone.
    """

    folds: int
    images: int
    head: OutOfFold | None
    adapter: OutOfFold | None
    gain: float
    error: float
    threshold: float
    ships: str

    @property
    def temperature(self) -> float:
        """Of the adapter's logits; 1 where nothing was compared."""
        return self.adapter.temperature if self.adapter is not None else 1.0

    @property
    def standard_errors(self) -> float:
        """The gain in standard errors."""
        return self.gain / self.error if self.error > 0 else 0.0


@dataclass(frozen=True)
class Step:
    """One point of the training curve: the mean loss over the steps since the last one.

    step: from 1.
    lr: learning rate of the adapters.
    loss: training loss in nats, augmented images.
    """

    step: int
    lr: float
    loss: float


@dataclass(frozen=True)
class Proofs:
    """What was shown in the run.

    start_images: on so many images the adapted features equalled the backbone's bit for bit before the first step.
    frozen_tensors: parameters and buffers of the backbone whose bytes are unchanged at the end.
    frozen_sha256: their hash, before and after.
    adapters_with_gradient: adapters whose `up` received a gradient other than zero in the first step, nothing dropped.
    """

    start_images: int
    frozen_tensors: int
    frozen_sha256: str
    adapters_with_gradient: int


@dataclass(frozen=True)
class Repeat:
    """The same training with another seed: order, augmentation and initialisation of the adapters.

    gate: None where that seed decided nothing.
    adapter: on the test images.
    """

    seed: int
    gate: Gate | None
    adapter: Measure


@dataclass(frozen=True)
class TriedRank:
    """One rank that a search tried, on images that its fold's training did not see.

    rank: 0 is the head alone.
    loss: mean cross-entropy in nats at the rank's own temperature, classes weighed as the training does.
    top1: accuracy, 0..1.
    above, error: mean difference of the loss to that of the best rank, image by image, and its standard error.
    """

    rank: int
    loss: float
    top1: float
    above: float
    error: float


@dataclass(frozen=True)
class RankChoice:
    """How a rank was found.

    search: "auto" or "auto:fast".
    rank: the smallest within one standard error of the best; see train.rank.rule.
    folds: 2 or more; 1 is one split.
    images: that the ranks answered; too few to compare where `tried` is empty.
    tried: ranks ascending.
    alike: the ranks within one standard error of the best, ascending.
    seconds: of the search.
    instead: seconds, reckoned by steps, that a run whose rank is given spends in its place: on its own comparison, and
        where the search ends at rank 0, on the training that this run is spared.
    overruled: rank 0 was enough, but an adapter was asked for; `rank` and `alike` are then by the best above 0.
    """

    search: str
    rank: int
    folds: int
    images: int
    tried: tuple[TriedRank, ...]
    alike: tuple[int, ...]
    seconds: float
    instead: float
    overruled: bool = False


@dataclass(frozen=True)
class NestedWidth:
    """One width of nested adapters.

    record: what the artefact says of it: its rank, its temperature, and its worth out of fold.
    test: on the test images.
    """

    record: WidthRecord
    test: Measure


@dataclass(frozen=True)
class Measured:
    """Everything a training run measured.

    head: the careful linear probe, candidate number zero.
    adapter: adapters and head, or what full fine-tuning made; None when rank 0 was asked for.
    gate: None for rank 0; where --ship names the candidate, the two are compared all the same.
    ships: the candidate that ships: the gate's, or the one that --ship named; "head", or the method.
    method: "adapter", or "full" where the whole backbone was trained in the adapter's place.
    chosen_by: "gate" or "user".
    classes_unequal: whether classes differ so much in size that weights matter.
    curve: of the adapter's training on all images; empty for rank 0.
    proofs: None for rank 0.
    frozen: number of the backbone's parameters.
    seconds: of the whole run.
    repeats: further seeds, in ascending order.
    rank: how the rank was found; None where it was given.
    widths: of nested adapters, ascending to the full one; none where they are not nested.
    copies: what is known of images that are there more than once.
    """

    head: Measure
    adapter: Measure | None
    gate: Gate | None
    ships: str
    chosen_by: str
    classes_unequal: bool
    curve: tuple[Step, ...]
    proofs: Proofs | None
    frozen: int
    seconds: float
    repeats: tuple[Repeat, ...] = ()
    rank: RankChoice | None = None
    widths: tuple[NestedWidth, ...] = ()
    method: str = ADAPTER
    copies: Told = NO_COPIES

    @property
    def shipped(self) -> Measure:
        """The candidate that ships."""
        return self.adapter if self.ships != HEAD and self.adapter is not None else self.head
