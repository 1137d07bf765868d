"""The reference of benchmarks.training.speed: adapters trained as research scripts do it, by torch and timm alone.

float32, adapters in modules around the blocks, gradients by autograd, every image decoded, cropped and normalised by
Pillow and torchvision whenever it is needed, the loss read after every step. Network, adapters, batch and optimiser are
the product's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from adaptertune_deploy.train.request.recipe import Recipe

Files = Sequence[tuple[Path, int]]


class AdaptedBlock(nn.Module):
    """A block and the adapter after it: x + up(GELU(down(x))), `up` zero at the start."""

    def __init__(self, block: nn.Module, width: int, rank: int) -> None:
        super().__init__()
        self.block = block
        self.down, self.up = nn.Linear(width, rank), nn.Linear(rank, width)
        nn.init.xavier_uniform_(self.down.weight)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)
        self.on = True

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, adapted unless that is off."""
        x = self.block(x)
        return x + self.up(functional.gelu(self.down(x))) if self.on else x


class Images(Dataset[tuple[Tensor, int]]):
    """Image files, augmented when they are asked for; classes are numbers from 0."""

    def __init__(self, files: Files, data: dict[str, Any]) -> None:
        self._files = files
        self._transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(
                    data["input_size"][-2:], scale=(0.35, 1.0), interpolation=transforms.InterpolationMode.BICUBIC
                ),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(data["mean"], data["std"]),
            ]
        )

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, target = self._files[index]
        with Image.open(path) as image:
            return self._transform(image.convert("RGB")), target


class PlainLoop:
    """The loop, a step at a time, and the parts of a step."""

    def __init__(self, architecture: str, weights: Path, files: Files, blocks: Sequence[int], recipe: Recipe) -> None:
        """Build the network; `files` are the training images, `blocks` those that get an adapter."""
        model: Any = timm.create_model(architecture, checkpoint_path=str(weights)).requires_grad_(False)
        model.reset_classifier(1 + max(target for _, target in files))
        for block in blocks:
            model.blocks[block] = AdaptedBlock(model.blocks[block], model.embed_dim, recipe.rank)
        self._adapted = [model.blocks[block] for block in blocks]
        for parameter in model.named_parameters():
            parameter[1].requires_grad_(any(word in parameter[0] for word in (".down.", ".up.", "head.")))
        self._model = model.train()
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
        self._clip = recipe.clip
        images = Images(files, resolve_model_data_config(model))  # type: ignore[no-untyped-call]
        self._loader = DataLoader(images, batch_size=recipe.batch_size, shuffle=True, drop_last=True)
        self._batches = self._forever()
        self._held = self.load()

    def load(self) -> Any:
        """Return the next batch: images float32 [B, 3, H, W] and targets [B]."""
        return next(self._batches)

    @torch.no_grad()
    def frozen(self) -> None:
        """Run the frozen part forward."""
        for block in self._adapted:
            block.on = False
        self._model(self._held[0])
        for block in self._adapted:
            block.on = True

    def forward(self) -> Tensor:
        """Return the loss of a batch that is held."""
        images, targets = self._held
        return functional.cross_entropy(self._model(images), targets)

    def gradient(self) -> Tensor:
        """Return that loss, its gradients computed."""
        self._optimizer.zero_grad()
        loss = self.forward()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def update(self) -> float:
        """Take a step on the batch that is held; returns its loss."""
        loss = self.gradient()
        nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._optimizer.step()
        return loss.item()

    def step(self) -> float:
        """Take a step on the next batch; returns its loss."""
        self._held = self.load()
        return self.update()

    def _forever(self) -> Iterator[Any]:
        while True:
            yield from self._loader
