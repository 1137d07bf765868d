"""Pretrain the small backbone: tell the formulas apart and describe each image from half of its patches.

python -m pretraining.pretrain --images DIR --out DIR --steps 6000
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from timm.layers.attention import Attention
from timm.layers.patch_dropout import PatchDropout
from torch import Tensor, nn
from torch.nn import functional

from pretraining import network
from pretraining.augment import augment, cutmix
from pretraining.descriptor import LENGTH, describe


@dataclass(frozen=True)
class Settings:
    """Everything that decides the weights besides the images.

    Attributes:
        steps: optimiser steps.
        batch: images a step.
        rate: peak learning rate.
        warm_up: steps in which the rate rises from zero to its peak.
        decay: last steps, in which the rate falls to zero.
        weight_decay: on the blocks' matrices.
        patch_drop: share of the patches hidden from the network.
        whole: last steps, in which no patch is hidden.
        descriptor_weight: weight of the descriptor loss beside the cross entropy.
        cutmix: share of the steps with CutMix.
        seed: of weights, order and augmentation.
    """

    steps: int = 2700
    batch: int = 256
    rate: float = 2e-3
    warm_up: int = 100
    decay: int = 1000
    weight_decay: float = 0.05
    patch_drop: float = 0.5
    whole: int = 200
    descriptor_weight: float = 3.0
    cutmix: float = 0.2
    seed: int = 0


class Pretrainer(nn.Module):
    """The backbone with its two temporary heads."""

    def __init__(self, classes: int) -> None:
        """Start from random weights."""
        super().__init__()
        self.backbone = network.create()
        for module in self.backbone.modules():
            if isinstance(module, Attention):
                # On a CPU the backward pass of the fused kernel takes longer than all the rest of a step.
                module.fused_attn = False  # type: ignore[misc]
        self.classifier = nn.Linear(self.backbone.num_features, classes)
        self.describer = nn.Linear(self.backbone.num_features, LENGTH)

    def hide(self, share: float) -> None:
        """Choose the share of patches that a training pass leaves out."""
        self.backbone.patch_drop = PatchDropout(share, num_prefix_tokens=0)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return class logits [batch, classes] and descriptors [batch, 384]."""
        feature = self.backbone(images)
        return self.classifier(feature), self.describer(feature)


class Run:
    """A pretraining run that can stop after any step and go on from its checkpoint."""

    def __init__(self, images: Path, out: Path, settings: Settings) -> None:
        """Open the images and start, or go on from `out/checkpoint.pt`."""
        self.settings, self.out, self.step = settings, out, 0
        self.facts = json.loads((images / "images.json").read_text())
        self.images: NDArray[np.uint8] = np.load(images / "images.npy")
        torch.manual_seed(settings.seed)
        self.model = Pretrainer(self.facts["classes"])
        self.optimizers = make_optimizers(self.model, settings)
        self.mean, self.scale = self._descriptor_statistics()
        if self._checkpoint.exists():
            state = torch.load(self._checkpoint, weights_only=True)
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.step = state["step"]

    @property
    def _checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    def _descriptor_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and spread of every descriptor number over 2048 augmented images."""
        descriptors = torch.cat([describe(self._inputs(step)[0]) for step in range(-8, 0)])
        return descriptors.mean(dim=0), descriptors.std(dim=0) + 1e-3

    def _inputs(self, step: int) -> tuple[Tensor, Tensor, torch.Generator]:
        """Images, labels and random numbers of one step; they depend on the seed and the step alone."""
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + step + 1000)
        chosen = torch.randint(0, len(self.images), (self.settings.batch,), generator=generator)
        pixels = torch.from_numpy(self.images[chosen.numpy()])
        return augment(pixels, generator), chosen // self.facts["per_class"], generator

    def train_step(self) -> tuple[float, float]:
        """Take one optimiser step; return the classification and the descriptor loss."""
        settings = self.settings
        images, labels, generator = self._inputs(self.step)
        torch.manual_seed(settings.seed * 1_000_003 + self.step)
        self.model.hide(settings.patch_drop if self.step < settings.steps - settings.whole else 0.0)
        other, share = labels, 1.0
        if torch.rand((), generator=generator) < settings.cutmix:
            images, other, share = cutmix(images, labels, generator)
        target = (describe(images) - self.mean) / self.scale
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = learning_rate(self.step, settings)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, described = self.model(images * 2 - 1)
        logits = logits.float()
        classified = share * functional.cross_entropy(logits, labels, label_smoothing=0.1)
        classified = classified + (1 - share) * functional.cross_entropy(logits, other, label_smoothing=0.1)
        regressed = functional.mse_loss(described.float(), target)
        self.model.zero_grad()
        loss: Tensor = classified + settings.descriptor_weight * regressed
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        return classified.item(), regressed.item()

    def save(self) -> None:
        """Write the checkpoint and the weights so far, each by renaming a finished file."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
        }
        temporary = self.out / "checkpoint.tmp"
        torch.save(state, temporary)
        os.replace(temporary, self._checkpoint)
        write_weights(self.model.backbone, self.out / network.FILE, self._metadata())

    def _metadata(self) -> dict[str, str]:
        settings = json.dumps(asdict(self.settings), sort_keys=True)
        return {
            "format": "pt",
            "license": "Apache-2.0",
            "architecture": f"{network.NAME}.{network.TAG}",
            "data": "formula images only, drawn by pretraining/images.py",
            "generator_version": self.facts["generator_version"],
            "images_seed": str(self.facts["seed"]),
            "images": str(len(self.images)),
            "seed": str(self.settings.seed),
            "steps": str(self.step),
            "settings": settings,
        }


def make_optimizers(model: Pretrainer, settings: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for everything else.

    Muon's steps are scaled to the size of AdamW's, so both follow one learning rate.
    """
    inside = [p for p in model.backbone.blocks.parameters() if p.ndim == 2]
    chosen = {id(parameter) for parameter in inside}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(inside, lr=settings.rate, weight_decay=settings.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=settings.rate, weight_decay=0.0),
    ]


def learning_rate(step: int, settings: Settings) -> float:
    """Linear warm-up, then the peak, then linearly to zero over the last `decay` steps.

    Until the decay begins nothing depends on `steps`, so a run may be continued with another number of steps.
    """
    rise = (step + 1) / settings.warm_up
    fall = (settings.steps - step) / settings.decay
    return settings.rate * max(0.0, min(1.0, rise, fall))


def write_weights(backbone: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Write the backbone's tensors as float16, without a classifier, by renaming a finished file."""
    tensors = {
        name: tensor.detach().half().contiguous()
        for name, tensor in backbone.state_dict().items()
        if not name.startswith("head.")
    }
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(save(tensors, metadata))
    os.replace(temporary, path)


def pretrain(images: Path, out: Path, settings: Settings, log_every: int = 50, save_every: int = 100) -> None:
    """Train to the last step, printing losses and saving on the way."""
    out.mkdir(parents=True, exist_ok=True)
    run = Run(images, out, settings)
    losses: list[tuple[float, float]] = []
    started = time.perf_counter()
    while run.step < settings.steps:
        losses.append(run.train_step())
        if run.step % log_every == 0:
            classified, regressed = np.mean(losses, axis=0)
            seconds = (time.perf_counter() - started) / len(losses)
            print(f"step {run.step} class {classified:.4f} descriptor {regressed:.4f} {seconds:.3f} s", flush=True)
            losses, started = [], time.perf_counter()
        if run.step % save_every == 0 or run.step == settings.steps:
            run.save()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options and pretrain."""
    parser = argparse.ArgumentParser(description="Pretrain the small backbone on formula images.")
    parser.add_argument("--images", type=Path, required=True, help="folder that pretraining.images wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and the weights")
    for field in fields(Settings):
        option = "--" + field.name.replace("_", "-")
        parser.add_argument(option, type=type(field.default), default=field.default)
    options = vars(parser.parse_args(arguments))
    pretrain(options.pop("images"), options.pop("out"), Settings(**options))


if __name__ == "__main__":
    main()
