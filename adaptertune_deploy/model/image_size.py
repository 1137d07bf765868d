"""A network for images of another size than its name stands for.

timm makes the network for that size and resamples what belongs to one size: position embeddings, tables of relative
positions. Rotary embeddings are computed for the size that is there.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.models import split_model_name_tag
from torch import Tensor, nn

from adaptertune_deploy.core.errors import BackboneError
from adaptertune_deploy.core.spec import MAX_SIDE
from adaptertune_deploy.model.names import RANDOM_TAG
from adaptertune_deploy.model.tokens import measure

Size = tuple[int, int]


def own_size(module: nn.Module) -> Size:
    """Return the image size (height, width) in pixels that a network's name stands for."""
    data: dict[str, Any] = resolve_model_data_config(module)  # type: ignore[no-untyped-call]
    return int(data["input_size"][1]), int(data["input_size"][2])


def patch_size(module: nn.Module) -> int:
    """Return the pixels of a patch's side as the image has them, or 0 where they have no one side."""
    embed: Any = getattr(module, "patch_embed", None) or getattr(module, "embeds", None)
    grid, image = (getattr(embed, name, None) for name in ("grid_size", "img_size"))
    if grid and image:  # a convolutional stem hands on a smaller image, and its patches are counted there
        sides = {-(-pixels // count) for pixels, count in zip(image, grid, strict=True)}
    else:
        found = getattr(embed, "patch_size", None) or 0
        sides = set(found) if isinstance(found, (tuple, list)) else {found}
    return int(sides.pop()) if len(sides) == 1 else 0


def check_size(skeleton: nn.Module, name: str, size: Size) -> None:
    """Refuse an image size before any weights are fetched.

    Args:
        skeleton: the network at its own size on torch's device "meta".
        name: of the network, with its tag.
        size: (height, width) in pixels.

    Raises:
        BackboneError: the size does not fit the patches, or the network is made for one size.
    """
    if size == own_size(skeleton):
        return
    patch = patch_size(skeleton)
    if patch and any(side % patch for side in size):
        near = " or ".join(_written(option) for option in _around(size, patch))
        raise BackboneError(
            f"'{name}' cuts images into patches of {patch} pixels, so it can't take {_written(size)}; "
            f"give --image-size {near}"
        )
    try:
        with torch.device("meta"):
            sized = _create(name, size).eval()
        _state_for(sized, _weightless(skeleton, sized), name)
        measure(sized, size, name, device="meta")
    except Exception as error:  # noqa: BLE001  each architecture refuses in its own way
        if isinstance(error, NotImplementedError):  # it can't run on shapes alone; it is measured once it has weights
            return
        height, width = own_size(skeleton)
        raise BackboneError(
            f"'{name}' is made for images of {height} x {width} pixels and can't take {_written(size)}; leave out "
            "--image-size, or choose another backbone"
        ) from None


def resized(module: nn.Module, name: str, size: Size, stored: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Return the network of a name for another image size, with the same weights but for what timm resamples.

    Args:
        module: the network at its own size, without classifier.
        name: its timm name with a tag.
        size: (height, width) in pixels.
        stored: the weights file's tensors, where they were not made for the network's own size: resampling them once
            loses less than twice.

    Raises:
        BackboneError: the network is made for one size.
    """
    with torch.random.fork_rng(devices=[]):
        sized = _create(name, size)
    sized.load_state_dict(_state_for(sized, stored or module.state_dict(), name))
    return sized


def converted(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Apply the architecture's own conversion of names and sizes, which timm keeps beside the model class."""
    convert: Callable[..., dict[str, Tensor]] | None
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    return convert(dict(state), model) if convert else dict(state)


def timm_name(name: str) -> str:
    """Return the name by which timm makes a network; the tag "random" is this project's own."""
    architecture, tag = split_model_name_tag(name)
    return architecture if tag == RANDOM_TAG else name


def _create(name: str, size: Size) -> nn.Module:
    model: nn.Module = timm.create_model(timm_name(name), num_classes=0, img_size=size)
    return model


def _state_for(sized: nn.Module, state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors for a network of another size.

    Buffers that belong to a size, as indices of relative positions do, are the network's own.
    """
    wanted = sized.state_dict()
    parameters = dict(sized.named_parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about how timm indexes a table of relative positions
        found = converted(sized, state)
    fitting = {key: value for key, value in found.items() if key in wanted and value.shape == wanted[key].shape}
    lacking = sorted(set(parameters) - set(fitting))
    if lacking:
        raise BackboneError(f"'{name}' is made for one image size: timm can't resample '{lacking[0]}'")
    return {**wanted, **fitting}


def _weightless(skeleton: nn.Module, sized: nn.Module) -> dict[str, Tensor]:
    """Return a network's tensors without values; those that another size resamples have some."""
    wanted = sized.state_dict()
    return {
        key: value if key in wanted and value.shape == wanted[key].shape else torch.zeros(value.shape, device="cpu")
        for key, value in skeleton.state_dict().items()
    }


def _around(size: Size, patch: int) -> list[Size]:
    """Return the nearest sizes below and above that are whole numbers of patches."""
    below, above = (tuple(patch * ((side + more) // patch) for side in size) for more in (0, patch - 1))
    return [
        (height, width) for height, width in (below, above) if min(height, width) > 0 and max(height, width) <= MAX_SIDE
    ]


def _written(size: Size) -> str:
    """Return a size as the option takes it: one number for a square."""
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"
