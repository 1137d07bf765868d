"""Nested adapters: rows of a batch at widths of their own while they are trained, and a network cut to one width."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.nested import cut
from adaptertune_deploy.model import adapter as layers
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.adapter import device_of
from adaptertune_deploy.model.backbone import Backbone


@contextmanager
def at_widths(model: AdaptedViT, widths: Tensor | None) -> Iterator[None]:
    """Let row b of the next batch pass the first widths[b] hidden units of every adapter, while the context is open.

    Args:
        model: with adapters of one rank.
        widths: int64 [B] on the model's device; None lets every row pass them all.
    """
    own = [module for module in model.adapters.children() if isinstance(module, layers.Adapter)]
    closed = None
    if widths is not None:
        closed = (torch.arange(model.task.adapter.rank, device=widths.device) >= widths[:, None])[:, None, :]
    for adapter in own:
        adapter.closed = closed
    try:
        yield
    finally:
        for adapter in own:
            adapter.closed = None


def narrowed(backbone: Backbone, model: AdaptedViT, rank: int) -> AdaptedViT:
    """Return a network with the first `rank` hidden units of every adapter, in eval mode; the same one at its own rank.

    Args:
        backbone: the model's.
        model: a network with adapters.
        rank: 1 to that of the model.
    """
    shape = model.task.adapter
    if rank == shape.rank:
        return model
    task = replace(model.task, adapter=replace(shape, rank=rank))
    narrow = AdaptedViT(backbone, task)
    narrow.load(Adapter(task, cut(model.export_tensors(), rank)))
    return narrow.to(device_of(model)).eval()
