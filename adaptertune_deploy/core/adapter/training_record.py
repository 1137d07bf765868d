"""What a training ran on and how: facts for people, which no answer depends on."""

from __future__ import annotations

from dataclasses import dataclass, field

from adaptertune_deploy.core.storage.records import LATER


@dataclass(frozen=True)
class DatasetRecord:
    """What a task was trained on.

    name: dataset name as given to `atd train`.
    train, test: number of images in each split; all that are not test images train.
    test_rule: the rule that made the test split: "official" or "stratified:0.2".
    split_sha256: hash of the sample names of every split, in order.
    licence: the dataset's terms as its publisher states them, or a sentence saying that they are unknown.
    labels_sha256: hash of the label of every image, in the same order; empty in records from before.
    """

    name: str
    train: int
    test: int
    test_rule: str
    split_sha256: str
    licence: str
    labels_sha256: str = field(default="", metadata=LATER)


def in_epochs(epochs: float) -> str:
    """Return passes over the training images as a person would name them: "4 epochs", "1 epoch", "5.5 epochs".

    Schedules end with a whole step, so that a few images more than was asked for are seen.
    """
    count = f"{epochs:.1f}".removesuffix(".0")
    return f"{count} epoch" if count == "1" else f"{count} epochs"


@dataclass(frozen=True)
class RecipeRecord:
    """The recipe as it really ran, for the candidate that was trained beside the head.

    epochs: passes over the training images; a last one may be partial.
    steps: optimiser steps.
    batch_size: images a step.
    lr, head_lr: peak learning rates of the adapters and of the head.
    weight_decay: of the optimiser.
    warmup: share of the steps in which the rates rise, 0..1.
    clip: largest norm of a step's gradient, 0 for no limit.
    label_smoothing: 0..1.
    served_view: share of the samples that were prepared as in serving instead of being augmented, 0..1.
    seed: of order, augmentation and initialisation.
    placement: which blocks were asked for: "all", "last:4", "every:2" or "3,7,11".
    augment: name of the augmentation.
    class_weights: "balanced" or "none".
    start_penalty: scikit-learn's C of the head that the training started from.
    folds: of the comparison between the candidates; 1 is one split, 0 none.
    precision: of the training's arithmetic.
    device: which ran it.
    seconds: wall time of the whole run.
    method: "adapter", or "full" for the whole backbone.
    layer_decay: of full fine-tuning, a block's learning rate over that of the block after it; 0 for adapters.
    views: fixed augmentations of each image, 0 where each epoch augmented anew.
    dropout: of the adapters, 0..1.
    drop_path: share of the images that pass by an adapter, or in full fine-tuning by a branch of the last block.
    """

    epochs: float
    steps: int
    batch_size: int
    lr: float
    head_lr: float
    weight_decay: float
    warmup: float
    clip: float
    label_smoothing: float
    served_view: float
    seed: int
    placement: str
    augment: str
    class_weights: str
    start_penalty: float
    folds: int
    precision: str
    device: str
    seconds: float
    method: str = field(default="adapter", metadata=LATER)
    layer_decay: float = field(default=0.0, metadata=LATER)
    views: int = field(default=0, metadata=LATER)
    dropout: float = field(default=0.0, metadata=LATER)
    drop_path: float = field(default=0.0, metadata=LATER)
