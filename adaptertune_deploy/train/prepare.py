"""Open everything that can fail before any time is spent on training, and settle what was left to choose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from adaptertune_deploy.core import cores
from adaptertune_deploy.core.errors import DatasetError, UsageError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.core.spec import HEAD_ONLY, AdapterSpec, TaskSpec
from adaptertune_deploy.data.bad import drop_bad
from adaptertune_deploy.data.datasets import check_dataset, open_dataset
from adaptertune_deploy.data.division.splits import Splits, split
from adaptertune_deploy.data.duplicates import TRAIN, contents_of, placed, told
from adaptertune_deploy.data.looks.quick import look
from adaptertune_deploy.data.names.presets import AUTO
from adaptertune_deploy.data.names.task_names import check_task_option
from adaptertune_deploy.data.pixels.cache import PixelCache
from adaptertune_deploy.data.samples import Dataset
from adaptertune_deploy.model import weights_cache
from adaptertune_deploy.model.backbone import Backbone, backbone_depth, load_backbone, weights_sha256
from adaptertune_deploy.model.image_size import own_size
from adaptertune_deploy.train.comparison.crossfit import usual_folds
from adaptertune_deploy.train.device.device import Device, choose_device
from adaptertune_deploy.train.logs.log import usual_folder
from adaptertune_deploy.train.logs.table import open_logs
from adaptertune_deploy.train.probe.class_weights import are_unequal
from adaptertune_deploy.train.request.destination import check_destination
from adaptertune_deploy.train.request.placement import place
from adaptertune_deploy.train.request.preflight import CheckPlace
from adaptertune_deploy.train.request.recipe import FULL, Recipe
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.request.usual_backbone import Choice, choose_backbone, other_weights
from adaptertune_deploy.train.resume.checkpoint import Checkpoints, kept_setting
from adaptertune_deploy.train.resume.claim import claimed
from adaptertune_deploy.train.resume.stopped import folder_of
from adaptertune_deploy.train.resume.stopwatch import RUN, Stopwatch
from adaptertune_deploy.train.run import Run, decided


@contextmanager
def prepared(
    request: TrainRequest,
    progress: Progress,
    given: Dataset | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
    destination: CheckPlace = check_destination,
) -> Iterator[Run]:
    """Yield what `prepare` returns, and let no other training of this task into its --out until the block ends.

    Args:
        request: what to train.
        progress: told as the work goes on.
        given: see prepare.
        tell: see there.
        destination: looks at the place that will be written.

    Raises:
        UsageError: another one holds it, or it is no place for what will be written.
        DatasetError, BackboneError: see prepare.
    """
    task, folder = _named(request, given)
    destination(request.out, task, folder)
    with claimed(request.out, task):
        yield prepare(request, progress, given, tell)


def prepare(
    request: TrainRequest,
    progress: Progress,
    given: Dataset | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Run:
    """Return what a run needs; nothing is trained or written yet.

    Args:
        request: what to train.
        progress: told as the work goes on.
        given: the dataset itself, where it was made in Python (data.sources.torch_items.from_torch); None opens the one
            that the request names.
        tell: called with what comes up while the run trains.

    Raises:
        DatasetError, BackboneError, UsageError: what was asked can't be had.
    """
    watch = Stopwatch()
    watch.begin(RUN)
    task, _ = _named(request, given)
    device = _device(request, task)
    choice = choose_backbone(request.backbone, request.image_size, request.out, task)
    depth = backbone_depth(choice.name, choice.image_size)  # before anything is downloaded
    blocks = place(request.recipe.placement, depth)
    dataset = given or open_dataset(request.dataset, request.data_dir, task, request.allow_missing, progress)
    asked = request.recipe.augment
    dataset = replace(dataset, task=task, augment=dataset.augment if asked == AUTO else asked)
    backbone = _load(request, choice)
    if request.recipe.method == FULL and backbone.spec.image_size != own_size(backbone.module):
        height, width = own_size(backbone.module)
        raise UsageError(
            f"--method full: trains {backbone.spec.name} at its own image size, {height} x {width}; leave out "
            "--image-size, or give another --out than that of tasks of another size"
        )
    backbone.module.to(device.torch)
    pixels = PixelCache(backbone.preprocess)
    dataset = drop_bad(
        dataset,
        pixels,
        skip=request.skip_bad,
        reduced=request.recipe.rank > 0 or request.recipe.method == FULL,
        progress=progress,
    )
    looks = look(dataset.parts, progress)
    splits = split(dataset, progress, contents_of(looks, TRAIN))
    if splits.test is None:
        raise DatasetError(
            f"dataset '{dataset.name}' is too small to hold images back, so nothing could be measured; add images"
        )
    looks = placed(looks, splits.train, splits.test)
    copies = told(looks, progress, dataset.labels)
    recipe = _settled(request.recipe, len(splits.train), device)
    run = Run(
        task=TaskSpec(dataset.task, dataset.labels, _shape(recipe, blocks)),
        dataset=dataset,
        splits=splits,
        pixels=pixels,
        backbone=backbone,
        frozen_sha256=weights_sha256(backbone.module),
        device=device,
        recipe=recipe,
        notes=(*_notes(request, dataset, splits, backbone), *copies.sentences, *pixels.notes),
        copies=copies,
        contents=contents_of(looks, TRAIN),
        progress=progress,
        tell=tell,
        watch=watch,
    )
    usual = usual_folder(request.out, run.task.name)
    return replace(
        run.with_views(),
        checkpoints=_checkpoints(request, run),
        logs=open_logs(request.log, request.log_dir, usual, resume=request.resume),
    )


def _checkpoints(request: TrainRequest, run: Run) -> Checkpoints:
    """Return where the run's trainings are kept; those of a stopped one where the request goes on with it."""
    kept = Checkpoints(folder_of(request.out, run.task.name), decided(run), request.checkpoint_every, watch=run.watch)
    if request.resume:
        kept.resume()
    return kept


def _device(request: TrainRequest, task: str) -> Device:
    """Return where to train; a training that goes on keeps its precision, whichever this machine would choose."""
    precision = request.recipe.precision
    if request.resume and precision == AUTO:
        precision = kept_setting(folder_of(request.out, task), "--precision") or precision
    return choose_device(request.recipe.device, precision)


def _named(request: TrainRequest, given: Dataset | None) -> tuple[str, Path | None]:
    """Return the task's name, and the folder of the images where they are the user's own files."""
    if given is None:
        return check_dataset(request.dataset, request.data_dir, request.task)
    task = request.task or given.task
    check_task_option(task)
    return task, None


def _load(request: TrainRequest, choice: Choice) -> Backbone:
    """Load the backbone that was asked for, with the very weights of the tasks beside it where they are kept."""
    kept = choice.sha256 if choice.sha256 and not request.weights and weights_cache.find(choice.sha256) else None
    return load_backbone(
        choice.name,
        request.weights,
        image_size=choice.image_size,
        sha256=kept,
        allow_random=request.allow_random,
    )


def _shape(recipe: Recipe, blocks: tuple[int, ...]) -> AdapterSpec:
    return AdapterSpec(recipe.rank, recipe.alpha, blocks) if recipe.rank else HEAD_ONLY


def _settled(recipe: Recipe, images: int, device: Device) -> Recipe:
    """Return the recipe as it runs here on so many training images: what was left open is chosen."""
    return replace(
        recipe,
        folds=recipe.folds or usual_folds(images),
        batch_size=min(recipe.batch_size, images),
        precision=device.precision,
        device=str(device.torch),
        workers=_workers(recipe, device),
    )


def _workers(recipe: Recipe, device: Device) -> int:
    """Return the number of reading processes: none on a CPU, which has no cores to spare while it trains."""
    if recipe.workers >= 0:
        return recipe.workers
    return 0 if device.torch.type == "cpu" else min(8, cores.usable(cores.read_small))


def _notes(request: TrainRequest, dataset: Dataset, splits: Splits, backbone: Backbone) -> tuple[str, ...]:
    limit = "; non-commercial use only" if dataset.non_commercial else ""
    licence = f"licence of {dataset.name}: {dataset.licence}{limit}"
    others = other_weights(backbone.spec, request.out, dataset.task)
    unequal = _unequal(request.recipe, splits)
    return (licence, *others, *backbone.notes, *dataset.notes, *splits.notes, *unequal)


def _unequal(recipe: Recipe, splits: Splits) -> tuple[str, ...]:
    """Return what to say where classes differ so much in size that it matters how they count."""
    if not are_unequal(splits.train.targets):
        return ()
    if recipe.class_weights == "balanced":
        how = "every class counts the same; --class-weights none lets every image count the same"
    else:
        how = "every image counts the same, as --class-weights none asks; rare classes may never be named"
    return (f"the classes differ in size: {how}",)
