"""timm name -> frozen Vision Transformer with its BackboneSpec and PreprocessSpec."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.models import get_pretrained_cfg, split_model_name_tag
from torch import Tensor, nn

from adaptertune_deploy.core.errors import BackboneError
from adaptertune_deploy.core.spec import BackboneSpec, PreprocessSpec
from adaptertune_deploy.model import weights_cache
from adaptertune_deploy.model.embedded import EMBEDDED_WEIGHTS
from adaptertune_deploy.model.image_size import (
    Size,
    check_size,
    own_size,
    patch_size,
    resized,
    timm_name,
)
from adaptertune_deploy.model.names import CHOOSE, EMBEDDED_BACKBONE, RANDOM_TAG
from adaptertune_deploy.model.nearest import nearest
from adaptertune_deploy.model.pretrained import check_file, downloaded, first_line, from_file
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
    name: str,
    weights: Path | None = None,
    *,
    image_size: Size | None = None,
    sha256: str | None = None,
    allow_random: bool = False,
) -> Backbone:
    """Load a timm Vision Transformer with pretrained weights and freeze it.

    Args:
        name: timm name, with or without a tag; the tag "random" asks for random weights, the same on every call.
        weights: a local weights file (safetensors or a torch checkpoint of plain tensors); None takes the embedded
            file, the weights cache (when `sha256` is given) or timm's download.
        image_size: (height, width) in pixels; None takes the size that the name stands for.
        sha256: the expected hash of the frozen weights; another one is refused.
        allow_random: whether the tag "random" may be used.

    Raises:
        BackboneError: unknown name, no transformer blocks, an image size that the network can't take, no weights,
            weights that do not fit, another hash.
    """
    full_name, notes = _resolve(name)
    hub_id: str | None = None
    stored: Mapping[str, Tensor] | None = None
    if split_model_name_tag(full_name)[1] == RANDOM_TAG:
        _check_random(name, weights, allow_random)
        if image_size is not None:
            _check_architecture(full_name, image_size)
        module = _create_random(full_name)
    elif source := weights or _known_file(full_name, sha256):
        check_file(source)
        _check_architecture(full_name, image_size)
        module, stored, found = from_file(full_name, source)
        notes += found
    else:
        _check_architecture(full_name, image_size)
        module = downloaded(full_name)
        hub_id = getattr(get_pretrained_cfg(full_name), "hf_hub_id", None)
    digest = weights_sha256(_checked(module, name))
    size, own = image_size or own_size(module), own_size(module)
    if size != own:
        module = resized(module, full_name, size, stored)
        notes += (f"{full_name} takes images of {size[0]} x {size[1]} pixels here, its own are {own[0]} x {own[1]}",)
    backbone = _describe(module.eval().requires_grad_(False), full_name, size, digest, notes, hub_id)
    if sha256 is not None and backbone.spec.sha256 != sha256:
        raise BackboneError(
            f"the weights of {backbone.spec.name} have sha256 {backbone.spec.sha256[:12]}..., expected "
            f"{sha256[:12]}...; give the file that the adapter was trained with: --weights FILE"
        )
    if weights is not None:
        weights_cache.remember(weights, backbone.spec.sha256)
    return backbone


def reload_backbone(spec: BackboneSpec, weights: Path | None = None, *, allow_random: bool = False) -> Backbone:
    """Load the very backbone that a spec describes: its name, image size and weights.

    Raises:
        BackboneError: see load_backbone; also a timm that makes another network of that name, as far as both specs
            know it.
    """
    backbone = load_backbone(
        spec.name, weights, image_size=spec.image_size, sha256=spec.sha256, allow_random=allow_random
    )
    if difference := spec.difference(backbone.spec):
        raise BackboneError(
            f"timm {timm.__version__} makes another network of {spec.name} ({difference}); install timm "
            f"{spec.timm or 'of the version that trained the adapter'}"
        )
    return backbone


def backbone_depth(name: str, image_size: Size | None = None) -> int:
    """Return the number of blocks of a timm Vision Transformer; no weights are looked for.

    Raises:
        BackboneError: unknown name, no sequence of tokens from block to block, or an image size that it can't take.
    """
    return _check_architecture(_resolve(name)[0], image_size)


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


def _check_architecture(full_name: str, image_size: Size | None) -> int:
    """Refuse what is no plain Vision Transformer before its weights are fetched, by shapes alone; returns its depth."""
    with torch.device("meta"):
        skeleton: Any = timm.create_model(split_model_name_tag(full_name)[0], num_classes=0).eval()
    check_blocks(skeleton, full_name)
    # A network that can't run on shapes alone is measured once its weights are here.
    with contextlib.suppress(NotImplementedError, RuntimeError):
        measure(skeleton, own_size(skeleton), full_name, device="meta")
    if image_size is not None:
        check_size(skeleton, full_name, image_size)
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
        model: nn.Module = timm.create_model(timm_name(full_name), num_classes=0)
    return model


def _checked(module: nn.Module, name: str) -> nn.Module:
    check_blocks(module, name)
    return module.eval()


def _describe(module: Any, name: str, size: Size, sha256: str, notes: tuple[str, ...], hub_id: str | None) -> Backbone:
    data: dict[str, Any] = resolve_model_data_config(module)  # type: ignore[no-untyped-call]
    try:
        width, features = measure(module, size, name)
    except NotImplementedError as error:
        raise BackboneError(f"'{name}' can't classify ({first_line(error)}); {CHOOSE}") from None
    spec = BackboneSpec(
        name=name,
        width=width,
        depth=len(module.blocks),
        features=features,
        image_size=size,
        sha256=sha256,
        pool=str(getattr(module, "global_pool", None) or ""),
        patch_size=patch_size(module),
        timm=timm.__version__,
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


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
