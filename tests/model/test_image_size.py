"""model.image_size: the same network for images of another size, or a line before any weights are looked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch import nn

from adaptertune_deploy.core.errors import BackboneError
from adaptertune_deploy.model.backbone import backbone_depth, load_backbone, reload_backbone, weights_sha256
from adaptertune_deploy.model.image_size import own_size, patch_size

NAME = "deit_tiny_patch16_224.fb_in1k"
SMALL = {"depth": 1, "embed_dim": 12, "num_heads": 2}
CREATE = timm.create_model


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let timm build every architecture with one narrow block."""
    monkeypatch.setattr(timm, "create_model", lambda *args, **given: CREATE(*args, **{**SMALL, **given}))


def write_weights(path: Path, name: str = NAME, **options: Any) -> Path:
    module: nn.Module = CREATE(name, num_classes=7, **{**SMALL, **options})
    generator = torch.Generator().manual_seed(5)
    state = {key: torch.randn(value.shape, generator=generator) for key, value in module.state_dict().items()}
    safetensors.torch.save_file(state, path)
    return path


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("size", [(96, 96), (64, 160)])
def test_position_embeddings_are_resampled_by_timm_and_nothing_else_changes(
    size: tuple[int, int], tmp_path: Path
) -> None:
    weights = write_weights(tmp_path / "weights.safetensors")
    own, other = load_backbone(NAME, weights), load_backbone(NAME, weights, image_size=size)
    before, after = own.module.state_dict(), other.module.state_dict()
    grid = [size[0] // 16, size[1] // 16]
    assert torch.equal(after["pos_embed"], resample_abs_pos_embed(before["pos_embed"], grid))
    assert all(torch.equal(before[name], after[name]) for name in before if name != "pos_embed")
    assert not any(parameter.requires_grad for parameter in other.module.parameters())
    assert (other.spec.image_size, other.preprocess.size) == (size, size)
    assert other.notes == (f"{NAME} takes images of {size[0]} x {size[1]} pixels here, its own are 224 x 224",)
    assert other.module(torch.zeros(2, 3, *size)).shape == (2, 12)


@pytest.mark.usefixtures("narrow")
def test_the_hash_names_the_weights_before_they_are_resampled(tmp_path: Path) -> None:
    """So a machine whose last bit of a resampled embedding differs still finds the same backbone."""
    weights = write_weights(tmp_path / "weights.safetensors")
    own, other = load_backbone(NAME, weights), load_backbone(NAME, weights, image_size=(96, 96))
    assert own.spec.sha256 == other.spec.sha256 == weights_sha256(own.module) != weights_sha256(other.module)
    assert own.spec != other.spec
    again = reload_backbone(other.spec)  # from the cache
    assert again.spec == other.spec
    assert weights_sha256(again.module) == weights_sha256(other.module)


@pytest.mark.usefixtures("narrow")
def test_a_file_for_the_asked_size_is_not_resampled_at_all(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "weights.safetensors", img_size=96)
    module = load_backbone(NAME, weights, image_size=(96, 96)).module
    assert torch.equal(module.state_dict()["pos_embed"], safetensors.torch.load_file(weights)["pos_embed"])


@pytest.mark.usefixtures("narrow")
def test_a_download_is_resampled_like_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = write_weights(tmp_path / "weights.safetensors")
    from_file = load_backbone(NAME, weights, image_size=(96, 96))

    def online(name: str, pretrained: bool = False, **given: Any) -> nn.Module:
        module: nn.Module = CREATE(name, **{**SMALL, **given}, **({"num_classes": 7} if pretrained else {}))
        if pretrained:
            module.load_state_dict(safetensors.torch.load_file(weights))
        return module

    monkeypatch.setattr(timm, "create_model", online)
    downloaded = load_backbone(NAME, image_size=(96, 96))
    assert downloaded.spec == from_file.spec
    assert weights_sha256(downloaded.module) == weights_sha256(from_file.module)


def test_the_own_size_is_no_resampling() -> None:
    own = load_backbone("vit_pico_patch8_64", image_size=(64, 64))
    assert own.notes == load_backbone("vit_pico_patch8_64").notes
    assert own.spec.sha256 == weights_sha256(own.module)


def test_random_weights_of_another_size_are_the_same_on_every_call() -> None:
    torch.manual_seed(1)
    first = load_backbone("vit_pico_patch8_64.random", image_size=(96, 64), allow_random=True)
    after = torch.rand(3)
    second = load_backbone("vit_pico_patch8_64.random", image_size=(96, 64), allow_random=True)
    assert weights_sha256(first.module) == weights_sha256(second.module)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), after)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("vit_small_patch14_dinov2", (225, 225), "cuts images into patches of 14 pixels, so it can't take 225; "
         "give --image-size 224 or 238"),
        ("vit_small_patch14_dinov2", (224, 230), "it can't take 224x230; give --image-size 224 or 224x238"),
        ("deit_tiny_patch16_224", (7, 7), "patches of 16 pixels, so it can't take 7; give --image-size 16"),
        ("deit_tiny_patch16_224", (4095, 4095), "can't take 4095; give --image-size 4080 or 4096"),
        ("cait_xxs24_224", (320, 320), "is made for images of 224 x 224 pixels and can't take 320; leave out --image-"),
        ("convit_tiny", (320, 320), "is made for images of 224 x 224 pixels and can't take 320"),
    ],
)  # fmt: skip
def test_a_size_that_does_not_fit_is_refused_before_weights(
    name: str, size: tuple[int, int], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(*args: Any, pretrained: bool = False, **given: Any) -> nn.Module:
        assert not pretrained
        with torch.device("meta"):
            return CREATE(*args, **given)

    monkeypatch.setattr(timm, "create_model", create)
    for ask in (load_backbone, backbone_depth):
        refused: Callable[..., Any] = ask
        with pytest.raises(BackboneError) as caught:
            refused(name, image_size=size)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "size", "own"),
    [
        ("vit_small_patch14_reg4_dinov2", (224, 224), (518, 518)),
        ("eva02_tiny_patch14_224", (168, 168), (224, 224)),
        ("vit_small_patch16_dinov3", (192, 256), (256, 256)),
        ("beit_base_patch16_224", (160, 160), (224, 224)),
        ("deit_tiny_distilled_patch16_224", (160, 160), (224, 224)),
        ("xcit_nano_12_p16_224", (160, 160), (224, 224)),
    ],
)
def test_a_size_that_fits_is_taken_on_shapes_alone(
    name: str, size: tuple[int, int], own: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.device("meta"):
        assert own_size(CREATE(name)) == own
    made: list[torch.device] = []

    def create(*args: Any, **given: Any) -> nn.Module:
        module: nn.Module = CREATE(*args, **given)
        made.append(next(module.parameters()).device)
        return module

    monkeypatch.setattr(timm, "create_model", create)
    assert backbone_depth(name, size) == 12
    assert {device.type for device in made} == {"meta"}


@pytest.mark.parametrize(
    ("name", "size"),
    [("vit_pico_patch8_64", 8), ("vit_small_patch14_dinov2", 14), ("xcit_nano_12_p16_224", 16),
     ("vit_tiny_r_s16_p8_224", 32), ("eva02_tiny_patch14_224", 14)],
)  # fmt: skip
def test_patches_are_counted_in_pixels_of_the_image(name: str, size: int) -> None:
    with torch.device("meta"):
        assert patch_size(CREATE(name)) == size


@pytest.mark.usefixtures("narrow")
def test_a_timm_that_makes_another_network_of_the_name_is_found(tmp_path: Path) -> None:
    import dataclasses

    spec = load_backbone(NAME, write_weights(tmp_path / "weights.safetensors")).spec
    assert (spec.pool, spec.patch_size, spec.timm) == ("token", 16, timm.__version__)
    then = dataclasses.replace(spec, pool="avg", timm="0.9.0")
    with pytest.raises(BackboneError, match=r"another network of .* \(pool token, not avg\); install timm 0\.9\.0$"):
        reload_backbone(then)
    assert reload_backbone(dataclasses.replace(spec, pool="", patch_size=0, timm="")).spec == spec
