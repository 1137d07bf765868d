"""Measure answers that come from elsewhere, a graph for example, on the very split that a task's training made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from adaptertune_deploy.core.adapter.folder import AdapterConfig, read_adapter
from adaptertune_deploy.core.answers.significance import Paired, paired
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.data.batches.loader import evaluation_loader
from adaptertune_deploy.data.pixels.cache import PixelCache
from adaptertune_deploy.train.evaluation.reevaluate import EvaluateRequest, measured, open_split, trained_numbers
from adaptertune_deploy.train.outcome.measured import Measure

# images float32 [N, 3, H, W], preprocessed -> the task's logits as served, float32 [N, C]
Answer = Callable[[Array], Array]
BATCH = 8  # what graphs are asked at once


@dataclass(frozen=True)
class Answered:
    """Several ways to answer one split of one task.

    split: its name.
    measures: name of the way -> how good its answers are, on the same images.
    classes: name of the way -> the class that it names first, int64 [images].
    config: the adapter folder's.
    notes: what a person should read.
    """

    split: str
    measures: Mapping[str, Measure]
    classes: Mapping[str, np.ndarray[tuple[int], np.dtype[np.int64]]]
    config: AdapterConfig
    notes: tuple[str, ...]

    def against(self, first: str, second: str) -> Paired:
        """Compare two ways image by image."""
        return paired(*(self.measures[name].scores.hits for name in (first, second)))

    def same(self, first: str, second: str) -> int:
        """Return on how many images two ways name the same class."""
        return int((self.classes[first] == self.classes[second]).sum())


def answered(request: EvaluateRequest, answers: Mapping[str, Answer], progress: Progress = silent) -> Answered:
    """Ask every way about every image of the split that the request names.

    Args:
        request: of the task; its device and weights are not looked at.
        answers: name of the way -> how it answers.
        progress: told after every batch.

    Raises:
        FormatError, DatasetError, UsageError: see reevaluate.evaluate_task.
    """
    config, adapter = read_adapter(request.folder, request.ship)
    pixels = PixelCache(config.preprocess)
    part, notes = open_split(request, config, pixels, progress)
    logits: dict[str, list[Array]] = {name: [] for name in answers}
    targets = []
    loader = evaluation_loader(part, pixels, BATCH, progress=progress)
    for done, batch in enumerate(loader, start=1):
        images = batch.images.numpy()
        for name, answer in answers.items():
            logits[name].append(answer(images))
        targets.append(batch.targets.numpy())
        progress(f"evaluate on {request.split}", done, len(loader))
    truth, parameters = np.concatenate(targets), trained_numbers(request.folder, config, adapter)
    served = {name: np.concatenate(rows) for name, rows in logits.items()}
    temperature = adapter.task.temperature
    return Answered(
        split=request.split,
        measures={name: measured(rows, truth, temperature, parameters) for name, rows in served.items()},
        classes={name: rows.argmax(axis=1) for name, rows in served.items()},
        config=config,
        notes=(*notes, *pixels.notes),
    )
