"""model.backbone: which weights a name stands for, and everything that must not load."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from adaptertune_deploy.core.errors import BackboneError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.model import weights_cache
from adaptertune_deploy.model.backbone import backbone_depth, load_backbone, weights_sha256
from adaptertune_deploy.model.names import FAMILIES
from tests.builders import make_image

NAME = "deit_tiny_patch16_224.fb_in1k"
SMALL = {"depth": 1, "embed_dim": 12, "num_heads": 2}
CREATE = timm.create_model
SIZES = "(x?small|tiny|base|mediumd?|x?large|huge|giant|gigantic|nano|xxs|xs|little|d?p?wee|betwixt|so)"


@pytest.fixture(autouse=True)
def _small_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let timm build every architecture with one narrow block, and start from an empty weights cache."""
    monkeypatch.setattr(timm, "create_model", lambda *args, **given: CREATE(*args, **{**SMALL, **given}))
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))


def make_state(name: str = NAME, classes: int = 1000, **options: Any) -> dict[str, torch.Tensor]:
    """Return what a checkpoint of an architecture's small form holds, classifier included."""
    module: nn.Module = CREATE(name, num_classes=classes, **{**SMALL, **options})
    generator = torch.Generator().manual_seed(5)
    return {key: torch.randn(value.shape, generator=generator) for key, value in module.state_dict().items()}


@pytest.fixture
def save(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    def write(state: dict[str, torch.Tensor], name: str = "weights.safetensors") -> Path:
        safetensors.torch.save_file(state, tmp_path / name)
        return tmp_path / name

    return write


# Names and tags.


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("vit_small_patch16_224", "augreg_in21k_ft_in1k"),
        ("vit_base_patch16_224", "augreg2_in21k_ft_in1k"),
        ("deit_tiny_patch16_224", "fb_in1k"),
    ],
)
def test_a_name_without_a_tag_means_timms_default_and_says_so(name: str, tag: str, save: Callable[..., Path]) -> None:
    backbone = load_backbone(name, save(make_state()))
    assert backbone.spec.name == f"{name}.{tag}" == f"{name}.{timm.models.get_pretrained_cfg(name).tag}"
    assert backbone.notes == (f"'{name}' names no weights; using timm's default, {name}.{tag}",)
    assert load_backbone(f"{name}.{tag}", save(make_state())).notes == ()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_smal_patch16_224", r"has no model 'vit_smal_patch16_224'\. Did you mean 'vit_small_patch16_224'\?"),
        ("deit_tny", r"has no model 'deit_tny'\. Did you mean 'deit_tiny_patch16_224'\?"),
        ("qqq", r"has no model 'qqq'\. Choose a plain Vision Transformer, one whose timm name begins with vit, "),
        ("vit_small_patch16_224.agreg", r"no weights 'vit_small_patch16_224\.agreg', only .* with tag augreg_in1k, "),
        ("test_vit_relpos.imagenet", r"no weights 'test_vit_relpos\.imagenet', only .* with tag \(none\)"),
    ],
)
def test_an_unknown_name_or_tag_is_refused(name: str, message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        load_backbone(name)


@pytest.mark.parametrize(
    "name",
    ["vit_small_patch16_224.augreg_in21k_ft_in1k", "deit_tiny_patch16_224.fb_in1k", "vit_base_patch16_clip_224.openai"],
)
def test_the_preprocessing_is_timms_own_for_these_weights(name: str, save: Callable[..., Path]) -> None:
    backbone = load_backbone(name, save(make_state(name)))
    config = timm.models.get_pretrained_cfg(name)
    spec = backbone.preprocess
    assert (spec.mean, spec.std) == (tuple(config.mean), tuple(config.std))
    assert (spec.crop_pct, spec.interpolation, spec.crop_mode) == (config.crop_pct, config.interpolation, "center")
    transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config.to_dict()))
    image = make_image(300, 260)
    np.testing.assert_array_equal(preprocess.transform(image, spec), transform(image).numpy())


def test_the_spec_says_what_the_network_is() -> None:
    spec = load_backbone("vit_pico_patch8_64.random", allow_random=True).spec
    assert (spec.name, spec.width, spec.depth, spec.features) == ("vit_pico_patch8_64.random", 12, 1, 12)
    assert spec.image_size == (64, 64)


# Random weights.


def test_random_weights_are_for_those_who_ask_twice() -> None:
    with pytest.raises(BackboneError, match="asks for random weights; they are for tests: --allow-random-backbone"):
        load_backbone("vit_pico_patch8_64.random")


def test_random_weights_and_a_file_contradict_each_other(save: Callable[..., Path]) -> None:
    with pytest.raises(BackboneError, match=r"asks for random weights, so it can't load .*weights\.safetensors"):
        load_backbone("vit_pico_patch8_64.random", save(make_state()), allow_random=True)


def test_random_weights_are_the_same_on_every_call_and_take_no_random_number() -> None:
    torch.manual_seed(1)
    first = load_backbone("vit_pico_patch8_64.random", allow_random=True)
    after = torch.rand(3)
    torch.manual_seed(2)
    second = load_backbone("vit_pico_patch8_64.random", sha256=first.spec.sha256, allow_random=True)
    assert second.spec == first.spec
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), after)
    weights = first.module.state_dict()["blocks.0.attn.qkv.weight"]
    assert weights.unique().numel() > 0.99 * weights.numel()


# Backbones without a sequence of tokens.


@pytest.mark.parametrize(
    "name", ["test_efficientnet", "test_resnet", "swin_tiny_patch4_window7_224", "tnt_s_legacy_patch16_224",
             "crossvit_tiny_240", "hiera_tiny_224", "samvit_base_patch16_224", "qwen3_vit_88m_enc"]
)  # fmt: skip
def test_a_network_that_is_no_plain_vision_transformer_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = {
        "tnt_s_legacy_patch16_224": {"depth": 1},
        "samvit_base_patch16_224": SMALL,
        "qwen3_vit_88m_enc": {"depth": 1, "embed_dim": 48, "num_heads": 2},
    }
    monkeypatch.setattr(timm, "create_model", lambda *args, **given: CREATE(*args, **{**narrow.get(name, {}), **given}))
    with pytest.raises(BackboneError, match=rf"^[^\n]*'{name}\.random'[^\n]*choose a plain Vision Transformer[^\n]*$"):
        load_backbone(f"{name}.random", allow_random=True)


@pytest.mark.parametrize("weights", [None, "weights.safetensors"])
@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b0", "swin_tiny_patch4_window7_224", "hiera_tiny_224"])
def test_no_weights_are_fetched_for_a_network_without_tokens(
    name: str, weights: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(*args: Any, pretrained: bool = False, **given: Any) -> nn.Module:
        assert not pretrained
        return CREATE(*args, **given)

    monkeypatch.setattr(timm, "create_model", create)
    if weights:
        (tmp_path / weights).write_bytes(b"")
    with pytest.raises(BackboneError, match=rf"^'{name}[^\n]*' is not a (plain )?Vision Transformer: [^\n]*$"):
        load_backbone(name, tmp_path / weights if weights else None)


@pytest.mark.parametrize(("name", "depth"), [("vit_pico_patch8_64.random", 8), ("deit_tiny_patch16_224", 12)])
def test_the_depth_is_known_without_weights(name: str, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", CREATE)
    assert backbone_depth(name) == depth


@pytest.mark.parametrize(
    "name", ["deit_tiny_patch16_224", "vit_tiny_patch16_224", "deit3_small_patch16_224", "eva02_tiny_patch14_224",
             "beit_base_patch16_224", "flexivit_small", "vit_small_patch14_reg4_dinov2", "vit_base_patch32_siglip_256",
             "vit_small_patch16_dinov3", "vit_pe_core_tiny_patch16_384", "vit_small_patch16_rope_mixed_224"]
)  # fmt: skip
def test_every_family_passes_the_look_at_its_shapes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(*args: Any, pretrained: bool = False, **given: Any) -> nn.Module:
        if pretrained:
            raise OSError("offline")
        return CREATE(*args, **given)

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(BackboneError, match="timm could not download them"):
        load_backbone(name)


@pytest.mark.slow
def test_every_name_that_begins_as_the_advice_says_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One name of each kind: those that differ in width, depth and sizes alone are as good as one another."""
    monkeypatch.setattr(timm, "create_model", CREATE)
    kinds = {re.sub(rf"{SIZES}|\d+", "#", name): name for name in timm.list_models() if name.startswith(FAMILIES)}
    assert len(kinds) > 60
    for name in kinds.values():
        assert backbone_depth(name) > 0


# Weights from a file.


@pytest.mark.parametrize("classes", [0, 7, 1000])
def test_every_tensor_of_a_file_is_loaded_but_its_classifier(classes: int, save: Callable[..., Path]) -> None:
    state = make_state(classes=classes)
    backbone = load_backbone(NAME, save(state))
    loaded = backbone.module.state_dict()
    assert set(state) - set(loaded) == ({"head.weight", "head.bias"} if classes else set())
    assert all(torch.equal(value, state[name]) for name, value in loaded.items())
    assert backbone.notes == ()


def test_the_network_is_frozen(save: Callable[..., Path]) -> None:
    module = load_backbone(NAME, save(make_state())).module
    assert not any(part.training for part in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("container", [None, "state_dict", "model"])
def test_a_torch_checkpoint_of_plain_tensors_is_read_too(tmp_path: Path, container: str | None) -> None:
    state = make_state()
    torch.save(state if container is None else {container: state, "epoch": 3}, tmp_path / "weights.pth")
    loaded = load_backbone(NAME, tmp_path / "weights.pth").module.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.items())


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": make_state(), "extra": Evil(tmp_path / "was here")}, tmp_path / "weights.pth")
    with pytest.raises(BackboneError, match=r"weights\.pth: not a weights file for deit_tiny_patch16_224\.fb_in1k \("):
        load_backbone(NAME, tmp_path / "weights.pth")
    assert not (tmp_path / "was here").exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
@pytest.mark.parametrize("content", [b"", b"<html>\nnot found\n</html>"])
def test_a_file_that_is_no_checkpoint_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BackboneError, match=rf"^{tmp_path / name}: not a weights file for {NAME} \([^\n]*\)$"):
        load_backbone(NAME, tmp_path / name)


def test_a_file_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=f"{tmp_path / 'none'}: no such weights file"):
        load_backbone(NAME, tmp_path / "none")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            {"blocks.0.mlp.fc1.bias": None},
            r"1 tensors missing, 0 unknown, 0 of another shape, 'blocks\.0\.mlp\.fc1\.bias'",
        ),
        (
            {"blocks.1.mlp.fc1.bias": torch.ones(2)},
            r"0 tensors missing, 1 unknown, 0 of another shape, 'blocks\.1\.mlp",
        ),
        ({"norm.weight": torch.ones(13)}, r"0 tensors missing, 0 unknown, 1 of another shape, 'norm\.weight'"),
        ({"norm.weight": torch.ones(1)}, r"0 tensors missing, 0 unknown, 1 of another shape, 'norm\.weight'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: dict[str, torch.Tensor | None], found: str, save: Callable[..., Path]
) -> None:
    state = {name: value for name, value in {**make_state(), **change}.items() if value is not None}
    with pytest.raises(BackboneError, match=f"does not fit {NAME}: {found}"):
        load_backbone(NAME, save(state))
    assert not (Path(os.environ["ATD_CACHE"])).exists()


def test_weights_for_another_image_size_are_resampled_and_said_to_be(save: Callable[..., Path]) -> None:
    state = make_state(img_size=160)
    backbone = load_backbone(NAME, save(state))
    assert len(backbone.notes) == 1
    assert "pos_embed resampled; it holds weights for another image or patch size" in backbone.notes[0]


# Identity.


def test_the_hash_is_over_name_shape_and_float32_bytes_in_the_order_of_the_names() -> None:
    module = nn.Sequential()
    module.b = nn.BatchNorm1d(2)
    module.a = nn.Linear(2, 3, bias=False).half()
    expected = hashlib.sha256()
    for name, shape in [("a.weight", "[3, 2]"), ("b.bias", "[2]"), ("b.num_batches_tracked", "[]"),
                        ("b.running_mean", "[2]"), ("b.running_var", "[2]"), ("b.weight", "[2]")]:  # fmt: skip
        expected.update(f"{name}{shape}".encode() + module.state_dict()[name].numpy().astype("<f4").tobytes())
    assert weights_sha256(module) == expected.hexdigest()
    module.b.running_mean[1] = 1e-3
    assert weights_sha256(module) != expected.hexdigest()


def test_the_hash_is_that_of_the_values_not_of_the_file(save: Callable[..., Path], tmp_path: Path) -> None:
    half = {name: value.half() for name, value in make_state().items()}
    from_half = load_backbone(NAME, save(half, "half.safetensors"))
    assert {value.dtype for value in from_half.module.state_dict().values()} == {torch.float32}
    wide = {name: value.float() for name, value in reversed(half.items()) if not name.startswith("head")}
    torch.save(wide, tmp_path / "again.pth")
    assert load_backbone(NAME, tmp_path / "again.pth").spec.sha256 == from_half.spec.sha256
    wide["norm.bias"][0] += 1e-3
    assert load_backbone(NAME, save(wide)).spec.sha256 != from_half.spec.sha256


def test_other_weights_than_expected_are_refused(save: Callable[..., Path]) -> None:
    weights = save(make_state())
    digest = load_backbone(NAME, weights).spec.sha256
    assert load_backbone(NAME, weights, sha256=digest).spec.sha256 == digest
    with pytest.raises(
        BackboneError, match=rf"have sha256 {digest[:12]}\.\.\., expected aaaaaaaaaaaa\.\.\.; give the file"
    ):
        load_backbone(NAME, weights, sha256="a" * 64)


def test_weights_given_once_are_found_again_by_their_hash(save: Callable[..., Path]) -> None:
    weights = save(make_state())
    digest = load_backbone(NAME, weights).spec.sha256
    weights.unlink()
    again = load_backbone(NAME, sha256=digest)
    assert again.spec.sha256 == digest
    assert again.hub_id is None  # they came from somebody's file, whatever it was
    assert weights_cache.find(digest) is not None


def test_a_damaged_cache_entry_is_repaired_by_giving_the_file_again(save: Callable[..., Path]) -> None:
    state = make_state()
    weights = save(state)
    digest = load_backbone(NAME, weights).spec.sha256
    entry = weights_cache.find(digest)
    assert entry is not None
    safetensors.torch.save_file({**state, "norm.bias": state["norm.bias"] + 1}, entry)
    with pytest.raises(BackboneError, match="--weights FILE"):
        load_backbone(NAME, sha256=digest)
    load_backbone(NAME, weights, sha256=digest)
    assert load_backbone(NAME, sha256=digest).spec.sha256 == digest


# timm's download.


def test_a_download_that_fails_is_one_line_and_never_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def offline(*args: Any, **options: Any) -> nn.Module:
        if not options.get("pretrained"):
            return CREATE(*args, **options)
        asked.append((*args, options))
        raise OSError("We couldn't connect to the hub,\nsee the documentation.\n")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(BackboneError) as caught:
        load_backbone("deit_tiny_patch16_224")
    assert str(caught.value) == (
        "no weights for deit_tiny_patch16_224.fb_in1k: timm could not download them (We couldn't connect to the hub,); "
        "connect to the network once, or give a file: --weights FILE"
    )
    assert asked == [(NAME, {"pretrained": True})]


def test_an_architecture_that_nobody_trained_is_refused() -> None:
    name = "test_vit_relpos.untrained"
    with pytest.raises(BackboneError, match=f"^no weights for {name}: timm could not .*No pretrained weights exist"):
        load_backbone(name)


def test_downloaded_weights_lose_their_classifier_and_have_the_hash_of_the_file(
    monkeypatch: pytest.MonkeyPatch, save: Callable[..., Path]
) -> None:
    state = make_state()

    def online(name: str, pretrained: bool = False, **given: Any) -> nn.Module:
        module: nn.Module = CREATE(name, **SMALL, **given)
        if not pretrained:
            return module
        module.load_state_dict(state)
        return module

    from_file = load_backbone(NAME, save(state))
    monkeypatch.setattr(timm, "create_model", online)
    downloaded = load_backbone(NAME)
    assert downloaded.spec == from_file.spec
    assert (downloaded.hub_id, from_file.hub_id) == (f"timm/{NAME}", None)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert torch.equal(downloaded.module(images), from_file.module(images))
    assert downloaded.module(images).shape == (2, 12)
