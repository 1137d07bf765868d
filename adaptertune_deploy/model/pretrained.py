"""Pretrained weights in a timm network: from a file, or by timm's download."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from timm.models import load_state_dict
from torch import Tensor, nn

from adaptertune_deploy.core.errors import BackboneError
from adaptertune_deploy.model.image_size import converted


def check_file(path: Path) -> None:
    """Raise BackboneError when there is no such weights file."""
    if not path.is_file():
        raise BackboneError(f"{path}: no such weights file; give one with --weights FILE")


def downloaded(full_name: str) -> nn.Module:
    """Let timm download the weights and load them with all keys matching; then drop the classifier."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it prints every retry; the error below says it once
    try:
        model: Any = timm.create_model(full_name, pretrained=True)
    except Exception as error:  # noqa: BLE001  huggingface_hub, requests and urllib each raise their own kinds
        raise BackboneError(
            f"no weights for {full_name}: timm could not download them ({first_line(error)}); "
            "connect to the network once, or give a file: --weights FILE"
        ) from None
    model.reset_classifier(0)
    return model  # type: ignore[no-any-return]


def from_file(full_name: str, path: Path) -> tuple[nn.Module, Mapping[str, Tensor] | None, tuple[str, ...]]:
    """Load every tensor of the network from a file; a missing tensor is an error, a classifier is dropped.

    Returns:
        The network at its own image size, the file's tensors where they are for another size, and notes.
    """
    model: nn.Module = timm.create_model(full_name, pretrained=False, num_classes=0)
    try:
        stored = load_state_dict(str(path), weights_only=True)
        state = converted(model, stored)
    except Exception as error:  # noqa: BLE001  safetensors, zipfile and pickle errors for a file that is no checkpoint
        raise BackboneError(f"{path}: not a weights file for {full_name} ({first_line(error)})") from None
    heads = _classifier_names(model)
    state = {key: value for key, value in state.items() if not key.startswith(heads)}
    wanted = model.state_dict()
    missing = sorted(set(wanted) - set(state))
    unknown = sorted(set(state) - set(wanted))
    misfit = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    if missing or unknown or misfit:
        first = (missing or unknown or misfit)[0]
        raise BackboneError(
            f"{path}: does not fit {full_name}: {len(missing)} tensors missing, {len(unknown)} unknown, "
            f"{len(misfit)} of another shape, '{first}' for one; give the weights of this architecture"
        )
    model.load_state_dict(state)
    resampled = [key for key in state if key in stored and stored[key].numel() != state[key].numel()]
    if not resampled:
        return model, None, ()
    note = f"{path}: {', '.join(resampled)} resampled; it holds weights for another image or patch size"
    return model, stored, (note,)


def first_line(error: Exception) -> str:
    """Return what a library says, cut to a line."""
    return f"{(str(error).splitlines() or [type(error).__name__])[0]:.120}"


def _classifier_names(model: nn.Module) -> tuple[str, ...]:
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))
