"""What every step of a training run needs: images, backbone, device and the recipe with nothing left to choose."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adaptertune_deploy.core.errors import DatasetError, TrainingError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.core.spec import HEAD_ONLY, AdapterSpec, TaskSpec
from adaptertune_deploy.data.batches.loader import Batches, EvaluationLoader, evaluation_loader, training_loader
from adaptertune_deploy.data.batches.order import WHOLE
from adaptertune_deploy.data.division.folds import fold_of
from adaptertune_deploy.data.division.splits import Splits
from adaptertune_deploy.data.duplicates import NO_COPIES, Told
from adaptertune_deploy.data.pixels.cache import PixelCache
from adaptertune_deploy.data.samples import Dataset, Split
from adaptertune_deploy.model.backbone import Backbone
from adaptertune_deploy.train.device.device import Device
from adaptertune_deploy.train.logs.log import Logs
from adaptertune_deploy.train.loop.views import Views
from adaptertune_deploy.train.parallel.group import Group, LostError
from adaptertune_deploy.train.request.recipe import ADAPTER, GIVEN, NESTED, Recipe
from adaptertune_deploy.train.resume.checkpoint import LABELS_OF_IMAGES, Checkpoints
from adaptertune_deploy.train.resume.stopwatch import RUN, Stopwatch

EVALUATION_BATCH = 64
# Of the recipe: which candidate ships, how many trainings follow the first, and who reads images.
UNDECIDING = ("search", "ship", "seeds", "workers")
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Run:
    """What every step needs.

    task: as it is trained, without a temperature.
    pixels: the images of all splits, decoded.
    frozen_sha256: of the backbone's tensors before training.
    recipe: as it runs, with nothing left to choose.
    notes: sentences that a person should read before the training.
    copies: of these, what is said of images that are there more than once.
    contents: of the training images, equal for exact copies (data.duplicates.contents_of); () goes by their files.
    tell: called with those that come up while it trains.
    checkpoints: where the trainings are kept meanwhile; None keeps nothing.
    views: fixed ones of the training images, and the test images' tokens; None augments anew in every epoch.
    logs: of every step; None keeps none.
    group: the processes that train together; None trains alone.
    watch: of the run and its parts.
    """

    task: TaskSpec
    dataset: Dataset
    splits: Splits
    pixels: PixelCache
    backbone: Backbone
    frozen_sha256: str
    device: Device
    recipe: Recipe
    notes: tuple[str, ...]
    progress: Progress
    copies: Told = NO_COPIES
    contents: tuple[str, ...] = ()
    tell: Callable[[str], None] = lambda sentence: None
    checkpoints: Checkpoints | None = None
    views: Views | None = None
    logs: Logs | None = None
    group: Group | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def test(self) -> Split:
        """The images that are looked at once, at the end."""
        if self.splits.test is None:
            raise DatasetError(f"dataset '{self.dataset.name}' has no test images")
        return self.splits.test

    @property
    def exact(self) -> Device:
        """The device in float32, for everything that is measured or stored."""
        return Device(self.device.torch, "fp32")

    @property
    def seconds(self) -> float:
        """Of the run until now, those of the processes among them that were stopped."""
        return self.watch.seconds(RUN)

    @property
    def processor(self) -> str:
        """What trains, as a person would name it."""
        if self.device.torch.type == "cuda":
            return torch.cuda.get_device_name(self.device.torch)
        return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Remove what was kept of the trainings at the end, also at one that would come again.

        A stop leaves it, and so do the loss of another process and a full disk, which say nothing of the training.
        """
        try:
            yield
        except (LostError, OSError) as error:
            if self.checkpoints is None or not self.checkpoints.kept:
                raise
            if isinstance(error, LostError):
                raise LostError(f"{error}; to go on: the same command with --resume") from error
            place = f"{error.filename}: " if error.filename else ""
            raise TrainingError(
                f"{place}{error.strerror or error}; check the disk and the folder's permissions, then go on: the same "
                "command with --resume"
            ) from error
        except TrainingError:
            self._forget()
            raise
        finally:
            if self.logs is not None:
                self.logs.close()
        self._forget()

    def _forget(self) -> None:
        if self.checkpoints is not None:
            self.checkpoints.remove()

    def with_rank(self, rank: int) -> Run:
        """Return the same run with adapters of another rank; 0 is the head alone."""
        given = self.task.adapter
        shape = AdapterSpec(rank, given.alpha, given.blocks) if rank else HEAD_ONLY
        recipe = dataclasses.replace(self.recipe, rank=rank)
        return dataclasses.replace(self, task=dataclasses.replace(self.task, adapter=shape), recipe=recipe)

    def with_views(self) -> Run:
        """Return the same run with the fixed views that its recipe asks for, if any.

        Raises:
            UsageError: see Views.
        """
        blocks = self.task.adapter.blocks
        if not self.recipe.views or not blocks:
            return self
        train, tested = self.splits.train, len(self.splits.test or ())
        augment = self.dataset.augment
        views = Views(train, self.pixels, augment, self.backbone, blocks[0], self.recipe, self.device, tested)
        return dataclasses.replace(self, views=views)

    def fold(self, folds: int, what: str) -> Rows:
        """Return the fold that holds each training image out; see data.division.folds. `what` gives other ones."""
        return fold_of(self.splits.train, folds, f"adaptertune-deploy {what}", self.contents or None)

    def judged(self, fold: Rows) -> Rows:
        """Return the training images that judge what was trained without them: of copies the first, as one image.

        Images that are there many times would otherwise count as often, and a standard error shrink without cause.

        Args:
            fold: see fold.
        """
        contents = self.contents or self.splits.train.contents()
        first = dict(zip(reversed(contents), reversed(range(len(contents))), strict=True))
        return np.array([row for row in np.flatnonzero(fold >= 0).tolist() if first[contents[row]] == row], np.int64)

    def training_images(self, rows: Rows | None = None) -> Batches:
        """Return training images as they are served, all or these rows, in order; with fixed views their tokens."""
        if self.views is not None:
            return self.views.served_batches(rows, EVALUATION_BATCH, self.progress)
        return self._served(self.splits.train if rows is None else self.splits.train.take(rows))

    def test_images(self) -> Batches:
        """Return the test images as they are served, in order; with fixed views their tokens."""
        if self.views is not None:
            return self.views.test_batches(self.test, EVALUATION_BATCH, self.progress)
        return self._served(self.test)

    def batches(self, rows: Rows, steps: int, seed: int, start_step: int = 0) -> Batches:
        """Return shuffled and augmented batches of these training images, of `steps` in all those from `start_step`.

        Their rows count within `rows`. With fixed views they hold tokens in place of images.
        """
        part = self.group.part if self.group is not None else WHOLE
        if self.views is not None:
            return self.views.batches(rows, self.recipe, seed, steps, start_step, part, self.progress)
        return training_loader(
            self.splits.train.take(rows),
            self.pixels,
            self.dataset.augment,
            self.recipe.batch_size,
            seed,
            steps,
            served_view=self.recipe.served_view,
            start_step=start_step,
            part=part,
            workers=self.recipe.workers,
            pin=self.device.torch.type == "cuda",
            progress=self.progress,
        )

    def some_images(self, rows: Rows) -> Tensor:
        """Return a few training images [rows, 3, H, W] on the device, as they are served."""
        batch = next(iter(self._served(self.splits.train.take(rows))))
        return batch.images.to(self.device.torch)

    def _served(self, split: Split) -> EvaluationLoader:
        return evaluation_loader(
            split, self.pixels, EVALUATION_BATCH, workers=self.recipe.workers, progress=self.progress
        )


def decided(run: Run) -> dict[str, str]:
    """Return what decides the weights that a run ends in, by the name of its option or fact."""
    recipe = {
        f"--{name.replace('_', '-')}": str(value)
        for name, value in dataclasses.asdict(run.recipe).items()
        if name not in UNDECIDING
    }
    nested = recipe.pop("--nested")
    if run.recipe.method == ADAPTER:  # what only full fine-tuning looks at
        for name in ("--method", "--layer-decay"):
            recipe.pop(name)
    if run.recipe.search != GIVEN:
        recipe["--rank"] = run.recipe.search
    elif nested == str(True):
        recipe["--rank"] = f"{NESTED}:{run.recipe.rank}"
    return {
        "task": run.task.name,
        "labels": ", ".join(run.task.labels),
        "backbone": run.backbone.spec.name,
        "backbone weights": run.frozen_sha256,
        "image size": "x".join(map(str, run.backbone.spec.image_size)),
        "images": run.splits.sha256,
        LABELS_OF_IMAGES: run.splits.labels_sha256,
        "augmentation": run.dataset.augment,
        **recipe,
        "torch": torch.__version__,
    }
