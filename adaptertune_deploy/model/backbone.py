"""timm name -> frozen Vision Transformer with its BackboneSpec and PreprocessSpec."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.models import get_pretrained_cfg, load_state_dict, split_model_name_tag
from torch import Tensor, nn

from adaptertune_deploy.core.errors import BackboneError
from adaptertune_deploy.core.spec import BackboneSpec, PreprocessSpec
from adaptertune_deploy.model import weights_cache
from adaptertune_deploy.model.embedded import EMBEDDED_WEIGHTS
from adaptertune_deploy.model.names import CHOOSE, EMBEDDED_BACKBONE, RANDOM_TAG
from adaptertune_deploy.model.nearest import nearest
from adaptertune_deploy.model.tokens import check_blocks, measure

RANDOM_SEED = 0


@dataclass(frozen=True)
class Backbone:
    """A frozen Vision Transformer.

    module: the timm model without classifier, in eval mode, no parameter requires a gradient.
    notes: sentences a person should read, about the tag that was chosen for an untagged name for example.
    hub_id: the model on the Hugging Face Hub whose weights these are; None for weights that came from a file.
    """

    module: nn.Module
    spec: BackboneSpec
    preprocess: PreprocessSpec
    notes: tuple[str, ...] = ()
    hub_id: str | None = None


def load_backbone(
    name: str, weights: Path | None = None, *, sha256: str | None = None, allow_random: bool = False
) -> Backbone:
    """Load a timm Vision Transformer with pretrained weights and freeze it.

    Args:
        name: timm name, with or without a tag; the tag "random" asks for random weights, the same on every call.
        weights: a local weights file (safetensors or a torch checkpoint of plain tensors); None takes the embedded
            file, the weights cache (when `sha256` is given) or timm's download.
        sha256: the expected hash of the frozen weights; another one is refused.
        allow_random: whether the tag "random" may be used.

    Raises:
        BackboneError: unknown name, no transformer blocks, no weights, weights that do not fit, another hash.
    """
    full_name, notes = _resolve(name)
    hub_id: str | None = None
    if split_model_name_tag(full_name)[1] == RANDOM_TAG:
        _check_random(name, weights, allow_random)
        module = _create_random(full_name)
    elif source := weights or _known_file(full_name, sha256):
        _check_file(source)
        _check_architecture(full_name)
        module, found = _create_from_file(full_name, source)
        notes += found
    else:
        _check_architecture(full_name)
        module = _create_pretrained(full_name)
        hub_id = getattr(get_pretrained_cfg(full_name), "hf_hub_id", None)
    backbone = _describe(_freeze(module, name), full_name, notes, hub_id)
    if sha256 is not None and backbone.spec.sha256 != sha256:
        raise BackboneError(
            f"the weights of {backbone.spec.name} have sha256 {backbone.spec.sha256[:12]}..., expected "
            f"{sha256[:12]}...; give the file that the adapter was trained with: --weights FILE"
        )
    if weights is not None:
        weights_cache.remember(weights, backbone.spec.sha256)
    return backbone


def backbone_depth(name: str) -> int:
    """Return the number of blocks of a timm Vision Transformer; no weights are looked for.

    Raises:
        BackboneError: unknown name, or no sequence of tokens from block to block.
    """
    return _check_architecture(_resolve(name)[0])


def weights_sha256(module: nn.Module) -> str:
    """Return the hash of every parameter and buffer: name, shape and float32 bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{list(values.shape)}".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def _resolve(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the name with its tag, and notes; a name without a tag gets timm's own default."""
    architecture, tag = split_model_name_tag(name)
    if not timm.is_model(architecture):
        near = nearest(architecture, timm.list_models()) or f" {CHOOSE[0].upper()}{CHOOSE[1:]}"
        raise BackboneError(f"timm {timm.__version__} has no model '{architecture}'.{near}")
    if tag == RANDOM_TAG:
        return name, ()
    try:
        config = get_pretrained_cfg(name)
    except RuntimeError:  # timm's answer to a tag it does not know
        config = None
    if config is None:
        tags = sorted(split_model_name_tag(full)[1] for full in timm.list_models(f"{architecture}.*", pretrained=True))
        raise BackboneError(f"timm has no weights '{name}', only {architecture} with tag {', '.join(tags) or '(none)'}")
    if tag or not config.tag:
        return name, ()
    chosen = f"{architecture}.{config.tag}"
    return chosen, (f"'{name}' names no weights; using timm's default, {chosen}",)


def _known_file(name: str, sha256: str | None) -> Path | None:
    if name == EMBEDDED_BACKBONE:
        return EMBEDDED_WEIGHTS
    return weights_cache.find(sha256) if sha256 else None


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise BackboneError(f"{path}: no such weights file; give one with --weights FILE")


def _check_architecture(full_name: str) -> int:
    """Refuse what is no plain Vision Transformer before its weights are fetched, by shapes alone; returns its depth."""
    with torch.device("meta"):
        skeleton: Any = timm.create_model(split_model_name_tag(full_name)[0], num_classes=0)
    check_blocks(skeleton, full_name)
    # A network that can't run on shapes alone is measured once its weights are here.
    with contextlib.suppress(NotImplementedError, RuntimeError):
        measure(skeleton.eval(), _image_size(skeleton), full_name, device="meta")
    return len(skeleton.blocks)


def _check_random(name: str, weights: Path | None, allowed: bool) -> None:
    if not allowed:
        raise BackboneError(f"backbone '{name}' asks for random weights; they are for tests: --allow-random-backbone")
    if weights is not None:
        raise BackboneError(
            f"backbone '{name}' asks for random weights, so it can't load {weights}; leave one of them out"
        )


def _create_random(full_name: str) -> nn.Module:
    """Initialise by a fixed seed, so that every command finds the same weights; the caller's random state is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(RANDOM_SEED)
        model: nn.Module = timm.create_model(split_model_name_tag(full_name)[0], num_classes=0)
    return model


def _create_pretrained(full_name: str) -> nn.Module:
    """Let timm download the weights and load them with all keys matching; then drop the classifier."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it prints every retry; the error below says it once
    try:
        model: Any = timm.create_model(full_name, pretrained=True)
    except Exception as error:  # noqa: BLE001  huggingface_hub, requests and urllib each raise their own kinds
        raise BackboneError(
            f"no weights for {full_name}: timm could not download them ({_first_line(error)}); "
            "connect to the network once, or give a file: --weights FILE"
        ) from None
    model.reset_classifier(0)
    return model  # type: ignore[no-any-return]


def _create_from_file(full_name: str, path: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """Load every tensor of the network from a file; a missing tensor is an error, a classifier is dropped."""
    model: nn.Module = timm.create_model(full_name, pretrained=False, num_classes=0)
    try:
        stored = load_state_dict(str(path), weights_only=True)
        state = _converted(model, dict(stored))
    except Exception as error:  # noqa: BLE001  safetensors, zipfile and pickle errors for a file that is no checkpoint
        raise BackboneError(f"{path}: not a weights file for {full_name} ({_first_line(error)})") from None
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
    notes = (f"{path}: {', '.join(resampled)} resampled; it holds weights for another image or patch size",)
    return model, notes if resampled else ()


def _first_line(error: Exception) -> str:
    return f"{(str(error).splitlines() or [type(error).__name__])[0]:.120}"


def _converted(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Apply the architecture's own key conversion, which timm keeps beside the model class."""
    convert: Callable[..., dict[str, Tensor]] | None
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    return convert(state, model) if convert else state


def _classifier_names(model: nn.Module) -> tuple[str, ...]:
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))


def _freeze(module: nn.Module, name: str) -> nn.Module:
    check_blocks(module, name)
    return module.eval().requires_grad_(False)


def _describe(module: Any, name: str, notes: tuple[str, ...], hub_id: str | None) -> Backbone:
    data: dict[str, Any] = resolve_model_data_config(module)  # type: ignore[no-untyped-call]
    size = _image_size(module)
    try:
        width, features = measure(module, size, name)
    except NotImplementedError as error:
        raise BackboneError(f"'{name}' can't classify ({_first_line(error)}); {CHOOSE}") from None
    spec = BackboneSpec(
        name=name,
        width=width,
        depth=len(module.blocks),
        features=features,
        image_size=size,
        sha256=weights_sha256(module),
    )
    preprocess = PreprocessSpec(
        size=size,
        crop_pct=float(data["crop_pct"]),
        crop_mode=str(data["crop_mode"]),
        interpolation=str(data["interpolation"]),
        mean=_triple(data["mean"]),
        std=_triple(data["std"]),
        orientation="exif",
    )
    return Backbone(module, spec, preprocess, notes, hub_id)


def _image_size(module: nn.Module) -> tuple[int, int]:
    data: dict[str, Any] = resolve_model_data_config(module)  # type: ignore[no-untyped-call]
    return int(data["input_size"][1]), int(data["input_size"][2])


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
