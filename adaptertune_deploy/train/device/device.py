"""Which device trains, and in which precision its steps gain from autocast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch.amp.grad_scaler import GradScaler

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.attention import plain_attention
from adaptertune_deploy.model.backbone import Backbone
from adaptertune_deploy.model.frozen_block import frozen_blocks
from adaptertune_deploy.model.last_block import class_token_last
from adaptertune_deploy.model.residual import residuals_at_once
from adaptertune_deploy.train.device.kept_memory import kept_memory
from adaptertune_deploy.train.device.names import check_device_name
from adaptertune_deploy.train.device.products import bf16_is_faster

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Among what torch says of a CPU; without any of them it computes bfloat16 in float32.
BF16_OF_CPUS = ("avx512_bf16", "amx_bf16", "sve_bf16", "bf16")
# Plain attention keeps products that grow with the square of the patches: for more of them memory decides.
PLAIN_PATCHES = 256


@dataclass(frozen=True)
class Device:
    """A device with the precision of its training steps; frozen weights, adapters and optimiser stay float32.

    precision: "fp32", "bf16" or "fp16".
    """

    torch: torch.device
    precision: str

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which a training step's forward runs."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.torch.type, dtype=AUTOCAST[self.precision])

    @contextmanager
    def fast_steps(self, backbone: Backbone, model: AdaptedViT | None = None) -> Iterator[None]:
        """Let a network compute what a training step needs of it, in the fastest way that this device has.

        The same function up to rounding. torch's fused attention gains less from a CPU's bf16 instructions than plain
        matrix products do.

        Args:
            backbone: of which only what is trained or read is computed.
            model: whose adapters train on it; None for the backbone alone.
        """
        spec = backbone.spec
        height, width = spec.image_size
        few = bool(spec.patch_size) and height * width <= PLAIN_PATCHES * spec.patch_size**2
        with ExitStack() as stack:
            stack.enter_context(class_token_last(backbone.module))
            stack.enter_context(self.keeping_memory())
            if self.torch.type == "cpu" and model is not None:
                stack.enter_context(residuals_at_once(model.adapters))
            if self.torch.type == "cpu" and self.precision == "bf16" and few:
                stack.enter_context(plain_attention(backbone.module))
                stack.enter_context(frozen_blocks(backbone.module, AUTOCAST[self.precision]))
            yield

    def keeping_memory(self) -> AbstractContextManager[object]:
        """Return the context in which a CPU's memory is taken from the system once for all batches."""
        return kept_memory() if self.torch.type == "cpu" else nullcontext()

    def scaler(self) -> GradScaler:
        """Return the loss scaler, which does nothing unless the precision is fp16."""
        return GradScaler(self.torch.type, enabled=self.precision == "fp16")


def choose_device(device: str, precision: str) -> Device:
    """Resolve "auto" and check what was named.

    "auto" on a CPU is bf16 where there are instructions for it and they are faster than float32's.

    Raises:
        UsageError: no such device here, or a precision that it does not have.
    """
    check_device_name(device, precision)
    cuda = torch.cuda.is_available()
    name = ("cuda" if cuda else "cpu") if device == "auto" else device
    check_device_name(name, precision)
    if name.startswith("cuda") and not cuda:
        raise UsageError(f"--device {device}: torch {torch.__version__} sees no CUDA device here; use --device cpu")
    chosen = torch.device(name)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {device}: this machine has cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    return Device(chosen, _best_precision(chosen) if precision == "auto" else precision)


def _best_precision(device: torch.device) -> str:
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if any(capabilities.get(name) for name in BF16_OF_CPUS) and bf16_is_faster() else "fp32"
