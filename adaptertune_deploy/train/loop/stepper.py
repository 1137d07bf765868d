"""One optimiser step: the loss of a batch, its gradient, AdamW's update, and what it needs to go on elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptertune_deploy.core.errors import FormatError, TrainingError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.dropping import Dropping
from adaptertune_deploy.model.nested import at_widths
from adaptertune_deploy.model.tuned import TunedViT
from adaptertune_deploy.train.device.device import Device
from adaptertune_deploy.train.loop import proofs
from adaptertune_deploy.train.parallel.group import Group
from adaptertune_deploy.train.request.recipe import ADAPTER, Recipe, learning_rate, nested_widths

# What AdamW keeps of each tensor besides the number of its steps.
MOMENTS = ("exp_avg", "exp_avg_sq")
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory")


def make_optimizer(model: AdaptedViT, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW with every trained tensor in exactly one group: adapters or head, with or without decay.

    Biases have no weight decay; each group's peak learning rate is kept under the key "peak".
    """
    if isinstance(model, TunedViT):
        return _layered(model, recipe)
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.trainable().items():
        groups.setdefault((name.split(".")[0], name.endswith(".bias")), []).append(parameter)
    options = []
    for (part, is_bias), parameters in groups.items():
        peak = recipe.lr * (recipe.head_lr_scale if part == "head" else 1.0)
        decay = 0.0 if is_bias else recipe.weight_decay
        options.append({"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay})
    return torch.optim.AdamW(options)


def _layered(model: TunedViT, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW for full fine-tuning: a group for each layer, with or without decay, and those of the head."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    layers = model.layers(recipe.layer_decay)
    for name, parameter in model.trainable().items():
        scale, decays = layers[name]
        scale *= recipe.head_lr_scale if name.startswith("head.") else 1.0
        groups.setdefault((scale, decays), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": recipe.lr * scale,
                "peak": recipe.lr * scale,
                "weight_decay": recipe.weight_decay if decays else 0.0,
            }
            for (scale, decays), parameters in groups.items()
        ]
    )


class Stepper:
    """Model, optimiser, scaler and the position in the schedule.

    Attributes:
        done: steps taken.
        lr: the adapters' learning rate in the latest.
        adapters_with_gradient: see measured.Proofs.
    """

    def __init__(
        self,
        model: AdaptedViT,
        recipe: Recipe,
        device: Device,
        steps: int,
        tell: Callable[[str], None] = lambda sentence: None,
        group: Group | None = None,
    ) -> None:
        """Begin a schedule of `steps` steps; `tell` is called where a step must run in parts.

        With a group every process takes the same steps, each on its rows of a batch.
        """
        self.done = 0
        self.lr = 0.0
        self.adapters_with_gradient = 0
        self._model, self._recipe, self._device, self._steps, self._tell = model, recipe, device, steps, tell
        self._named = model.trainable()
        self._optimizer = make_optimizer(model, recipe)
        self._scaler = device.scaler()
        self._parts, self._group = 1, group
        self._first_row = self._images = 0
        self._widths = nested_widths(recipe.rank) if recipe.nested else ()
        if recipe.method == ADAPTER and (recipe.dropout or recipe.drop_path):
            model.dropping = Dropping(recipe.dropout, recipe.drop_path, recipe.seed)

    def step(self, images: Tensor, targets: Tensor, share: Tensor | None) -> Tensor:
        """Take one step; returns the loss, still on the device so that nothing waits for it.

        Args:
            images: float32 [B, 3, H, W].
            targets: int64 [B].
            share: [B] how much each image's loss counts; None counts them alike.

        Raises:
            TrainingError: no memory for a single image, or an adapter without a gradient.
        """
        factor = learning_rate(self.done, self._steps, self._recipe.warmup)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        self.lr = self._recipe.lr * factor
        if isinstance(self._model, TunedViT):  # stochastic depth draws the same after a stop
            torch.manual_seed(self._recipe.seed * self._steps + self.done)
        counts = self._group.counts(len(images)) if self._group else [len(images)]
        self._first_row = sum(counts[: self._group.rank]) if self._group else 0
        self._images = sum(counts)
        if self._model.dropping is not None:
            self._model.dropping.begin(self.done, self._images)
            if self.done == 0:
                self._prove_undropped(images, targets, share, counts)
        loss = self._gradient(images, targets, share, counts)
        self._scaler.unscale_(self._optimizer)
        if self.done == 0 and self._model.dropping is None:
            self.adapters_with_gradient = proofs.prove_gradients(self._model)
        nn.utils.clip_grad_norm_(list(self._named.values()), self._recipe.clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.done += 1
        return loss

    def tensors(self) -> dict[str, Array]:
        """Return a copy of the trained tensors, "model.<name>", and of what AdamW keeps, "exp_avg.<name>", float32."""
        kept = {f"model.{name}": parameter.detach() for name, parameter in self._named.items()}
        for name, parameter in self._named.items():
            kept |= {f"{key}.{name}": value for key, value in self._optimizer.state[parameter].items()}
        return {name: value.float().cpu().reshape(value.shape or (1,)).numpy().copy() for name, value in kept.items()}

    def scale(self) -> dict[str, float]:
        """Return what the loss scaler keeps, nothing unless the precision is fp16."""
        return dict(self._scaler.state_dict())

    @torch.no_grad()
    def load(self, done: int, tensors: Mapping[str, Array], scale: Mapping[str, float]) -> None:
        """Go on after `done` steps of another Stepper, with its `tensors()` and `scale()`.

        Raises:
            FormatError: they are of another network.
        """
        for name, parameter in self._named.items():
            value = tensors.get(f"model.{name}")
            if value is None or value.shape != tuple(parameter.shape):
                found = "is missing" if value is None else f"has shape {list(value.shape)}"
                raise FormatError(f"the stopped training's '{name}' {found}, expected {list(parameter.shape)}")
            parameter.copy_(torch.from_numpy(value))
            if f"step.{name}" in tensors:
                moments = {key: torch.from_numpy(tensors[f"{key}.{name}"]).to(parameter.device) for key in MOMENTS}
                self._optimizer.state[parameter] = {"step": torch.tensor(tensors[f"step.{name}"][0]), **moments}
        if scale:
            self._scaler.load_state_dict({key: type(old)(scale[key]) for key, old in self.scale().items()})
        self.done = done

    def _prove_undropped(self, images: Tensor, targets: Tensor, share: Tensor | None, counts: Sequence[int]) -> None:
        """Prove on the first batch that every adapter gets a gradient where nothing is dropped; takes no step.

        An adapter that all images of a small batch pass by gets none in that step, and learns all the same.
        """
        dropping, self._model.dropping = self._model.dropping, None
        try:
            self._gradient(images, targets, share, counts)
        finally:
            self._model.dropping = dropping
        self.adapters_with_gradient = proofs.prove_gradients(self._model)

    def _gradient(self, images: Tensor, targets: Tensor, share: Tensor | None, counts: Sequence[int]) -> Tensor:
        """Compute the gradient of the whole batch's mean loss; returns the loss. See step; counts of all processes."""
        loss = self._own_gradient(images, targets, share)
        return loss if self._group is None else self._group.mean(list(self._named.values()), loss, counts)

    def _own_gradient(self, images: Tensor, targets: Tensor, share: Tensor | None) -> Tensor:
        """Compute the gradient of this process's rows, in as many parts as fit into memory; returns the loss."""
        while True:
            self._optimizer.zero_grad(set_to_none=True)
            try:
                return self._in_parts(images, targets, share)
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
            self._halve(len(images))

    def _in_parts(self, images: Tensor, targets: Tensor, share: Tensor | None) -> Tensor:
        losses, count = [], len(images)
        if not count:  # more processes than images
            return torch.zeros((), device=self._device.torch)
        size = -(-count // self._parts)
        for start in range(0, count, size):
            part = slice(start, min(start + size, count))
            rows = slice(self._first_row + part.start, self._first_row + part.stop)
            if self._model.dropping is not None:
                self._model.dropping.rows = rows
            widths = self._turns(rows, self._images)
            loss = self._loss(images[part], targets[part], None if share is None else share[part], widths)
            loss = loss * ((part.stop - start) / count)
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _turns(self, part: slice, count: int) -> Tensor | None:
        """Return the widths [rows] of a part of the batch, whose images take the nested widths in turn; None for all.

        It follows from the step and the row alone, so that a training which goes on gives every image the same width.
        """
        if not self._widths:
            return None
        rows = torch.arange(part.start, part.stop) + self.done * count
        return torch.tensor(self._widths)[rows % len(self._widths)].to(self._device.torch)

    def _halve(self, images: int) -> None:
        """Let every step run in twice as many parts."""
        if 2 * self._parts > images:
            raise TrainingError(
                f"out of memory on {self._device.torch} with a single image at a time; use a smaller --image-size or "
                "--backbone, or --placement last:4"
            )
        self._parts *= 2
        if self._device.torch.type == "cuda":
            torch.cuda.empty_cache()
        self._tell(
            f"out of memory with {-(-images * 2 // self._parts)} images at once: each step now runs in {self._parts} "
            "parts, which gives the same gradient up to rounding"
        )

    def _loss(self, images: Tensor, targets: Tensor, share: Tensor | None, widths: Tensor | None) -> Tensor:
        images = images.to(self._device.torch, non_blocking=True)
        targets = targets.to(self._device.torch, non_blocking=True)
        with self._device.autocast(), at_widths(self._model, widths):
            logits = self._model(images)
        smoothing = self._recipe.label_smoothing
        if share is None:
            return functional.cross_entropy(logits.float(), targets, label_smoothing=smoothing)
        each = functional.cross_entropy(logits.float(), targets, label_smoothing=smoothing, reduction="none")
        return (each * share.to(self._device.torch, non_blocking=True)).mean()


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch had no memory; on a CPU only its words say so."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)
